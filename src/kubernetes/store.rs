//! The pods that are known: written by the feed, asked by the reading thread.
//!
//! What must hold:
//!
//! - It takes no more than `max_pods` and `max_memory`, and namespaces no more than half of the latter. Where there is no
//!   room, the pods that were deleted longest ago go first; a pod for which there is still none is not kept, and its records
//!   have what the path tells, or what was known of it before. It is noted, so that it can be asked for again once there is
//!   room ([`has_room_again`](PodStore::has_room_again)).
//! - A deleted pod stays known for `keep_deleted`: what it wrote last is read after it is gone. An outage of the API
//!   deletes nothing.
//! - A pod is found by the UID in its log's path; a static pod by the hash of its configuration, which its path has in the
//!   UID's place; where the path has neither, by namespace and name and the id of its container. A name alone is not enough:
//!   another pod may have had it.
//! - [`version`](PodStore::version) changes with what could change an answer of [`find`](PodStore::find) or end a wait, and
//!   with nothing else: each change has every file that is read look again. It costs one load. That waits may be longer
//!   because the API told something is no such change: who waits asks again when the wait ends.

mod known;
mod state;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::warn;

pub use self::known::Known;
use self::state::{Standing, State};
use super::facts::{ContainerFacts, Names};
use super::{KubernetesSettings, Metrics, NamePattern, Pod, PodFacts, RecordFields, Wanted};

/// The pods that are known. Clones are the same.
#[derive(Clone)]
pub struct PodStore(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    version: AtomicU64,
    /// Tells the reader that there is something new.
    news: Box<dyn Fn() + Send + Sync>,
    metrics: Metrics,
}

/// What is known of a pod's labels.
#[derive(Clone, Debug)]
pub(super) enum Labels {
    /// These are what it had when it was first known.
    Known(Arc<Names>),
    /// They are not known yet, and may be soon.
    Awaited,
    /// They are not known, and not expected any more.
    Missing,
}

impl fmt::Debug for PodStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("PodStore")
            .field("standing", &state.standing)
            .field("pods", &state.pods.len())
            .finish()
    }
}

impl Default for PodStore {
    fn default() -> Self {
        Self::new(Metrics::default(), || {})
    }
}

impl PodStore {
    /// A store that knows nothing and is not asked. `news` is called after each change.
    pub fn new(metrics: Metrics, news: impl Fn() + Send + Sync + 'static) -> Self {
        let shared =
            Shared { state: Mutex::default(), version: AtomicU64::new(1), news: Box::new(news), metrics };
        Self(Arc::new(shared))
    }

    /// A store that knows the labels of one pod and nothing more, for looking at what becomes of its logs.
    pub fn knowing(settings: Arc<KubernetesSettings>, node: &str, pod: &Pod, labels: Names) -> Self {
        let store = Self::default();
        store.follow(&Some((settings, node.to_owned())));
        let container = ContainerFacts {
            name: pod.container.clone(),
            id: pod.container_id.clone(),
            ..ContainerFacts::default()
        };
        store.put(PodFacts {
            containers: vec![container],
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: pod.uid.clone().unwrap_or_else(|| "00000000-0000-0000-0000-000000000000".to_owned()),
            labels,
            ..PodFacts::default()
        });
        store
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// A number that grows with every change of what may be asked here.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    /// What the configuration says; none where the API is not to be asked.
    pub fn settings(&self) -> Option<Arc<KubernetesSettings>> {
        self.state().settings.clone()
    }

    /// What is known of the pod behind a path.
    pub fn find(&self, pod: &Pod) -> Option<Known> {
        let state = self.state();
        let settings = Arc::clone(state.settings.as_ref()?);
        let kept = state.kept(pod)?;
        let namespace = state.namespaces.get(&pod.namespace).cloned();
        let complete =
            !state.expects_pods && !state.expects_node && (namespace.is_some() || !state.expects_namespaces);
        let (namespace_labels, of_namespace) = namespace.unwrap_or_default();
        let (node_labels, of_node) = state.node_labels.clone();
        Some(Known {
            stamp: kept.stamp.max(of_namespace).max(of_node),
            pod: Arc::clone(&kept.facts),
            complete,
            namespace_labels,
            node_labels,
            node: state.node.clone(),
            settings,
        })
    }

    /// The labels that a pod had when it was first known. Those of one of which nothing is known count as awaited from when
    /// they are first asked for.
    pub(super) fn first_labels(&self, pod: &Pod) -> Labels {
        let mut state = self.state();
        if let Some(kept) = state.kept(pod) {
            return Labels::Known(Arc::clone(&kept.first_labels));
        }
        if state.until(pod, Instant::now()).is_some() { Labels::Awaited } else { Labels::Missing }
    }

    /// Whether a pod's labels are not known and may be soon.
    pub fn awaits(&self, pod: &Pod) -> bool {
        matches!(self.first_labels(pod), Labels::Awaited)
    }

    /// Until when to wait for what is not known of a pod; none where nothing can be expected to come. The wait begins with
    /// the first question for the pod, whatever that was about.
    pub fn patience(&self, pod: &Pod, now: Instant) -> Option<Instant> {
        self.state().until(pod, now)
    }

    /// Begins to know pods as these settings want it, or ceases to. What was known stays as far as it is wanted.
    pub fn follow(&self, wanted: &Wanted) {
        self.0.metrics.up.set(0);
        let (settings, node) = wanted.clone().unzip();
        self.change(|state, stamp| {
            let same = state.settings.as_ref().map(|settings| &settings.fields)
                == settings.as_ref().map(|settings| &settings.fields);
            state.standing = if settings.is_some() { Standing::Starting } else { Standing::Off };
            (state.complete, state.silent) = (false, None);
            state.asked.clear();
            state.refused.clear();
            if settings.is_none() {
                *state = State::default();
            } else if !same {
                // Records carry something else of the same facts.
                state.pods.values_mut().for_each(|kept| kept.stamp = stamp);
            }
            let annotations =
                |settings: &KubernetesSettings| (settings.wishes, settings.fields.annotations.clone());
            state.expects_pods = state
                .settings
                .as_ref()
                .zip(settings.as_ref())
                .is_some_and(|(before, now)| annotations(before) != annotations(now));
            let chosen = |settings: &Option<Arc<KubernetesSettings>>| {
                settings.as_ref().map(|settings| settings.fields.namespace_labels.clone())
            };
            if chosen(&state.settings) != chosen(&settings) {
                // They were chosen by other patterns: more of them may be wanted now, or none.
                state.only_namespaces(&HashSet::new());
            }
            let wants = |patterns: fn(&RecordFields) -> &Vec<NamePattern>| {
                settings.as_ref().is_some_and(|settings| !patterns(&settings.fields).is_empty())
            };
            state.expects_namespaces = wants(|fields| &fields.namespace_labels);
            state.expects_node = wants(|fields| &fields.node_labels);
            (state.settings, state.node) = (settings, node.unwrap_or_default());
            true
        });
    }

    /// The API does not answer.
    pub(super) fn failing(&self) {
        self.change(|state, _| {
            std::mem::replace(&mut state.standing, Standing::Failing) != Standing::Failing
        });
        self.0.metrics.up.set(0);
    }

    /// Something beside pods cannot be had: nobody waits for it.
    pub(super) fn goes_without(&self, resource: &str) {
        self.change(|state, _| {
            std::mem::take(match resource {
                "namespaces" => &mut state.expects_namespaces,
                _ => &mut state.expects_node,
            })
        });
    }

    /// A pod is, or has changed.
    pub(super) fn put(&self, facts: PodFacts) {
        let mut refused = Ok(false);
        self.change(|state, stamp| {
            state.silent = None;
            refused = state.put(facts, stamp);
            matches!(refused, Ok(true))
        });
        if let Err(settings) = refused {
            self.0.metrics.refused.inc();
            if let Some(settings) = settings {
                warn!(event = "pod_metadata_refused", max_pods = settings.max_pods, max_memory = %settings.max_memory,
                    "the metadata of a pod is not kept: there is no room within kubernetes.max_pods and \
                     kubernetes.max_memory. Its records have what the path tells, or what was known before; its files that a \
                     route may take by labels go where match.on_unknown says, and are not read where that is `wait`. It is \
                     asked for again once others were deleted");
            }
        }
    }

    /// Whether there is room by now for a pod for which there was none: it is worth a list.
    pub(super) fn has_room_again(&self) -> bool {
        self.state().has_room_again()
    }

    /// All pods were listed, and these are there: whoever is not among them is gone.
    pub(super) fn pods(&self, there: &HashSet<String>, now: Instant) {
        self.change(|state, _| {
            let fewer = state.only(there, now);
            let first = !std::mem::replace(&mut state.complete, true);
            fewer | first | std::mem::take(&mut state.expects_pods)
        });
        if there.is_empty() {
            let node = self.state().node.clone();
            // This process is mostly a pod of the node itself.
            warn!(
                event = "kubernetes_no_pods",
                node,
                "the API knows no pods of the node {node:?}; if there are some, kubernetes.node has to be the node's name as \
                 the API says it (spec.nodeName of its pods)"
            );
        }
        self.synced();
        self.0.metrics.listed("pods");
    }

    /// The API answers again: once its pods were listed, changes come.
    pub(super) fn answers(&self) {
        let complete = self.state().complete;
        if complete {
            self.synced();
        }
    }

    fn synced(&self) {
        let changed = {
            let mut state = self.state();
            let before = std::mem::replace(&mut state.standing, Standing::Synced);
            state.silent = None;
            before != Standing::Synced
        };
        self.0.metrics.up.set(1);
        if changed {
            (self.0.news)();
        }
    }

    /// A pod is gone from the API.
    pub(super) fn delete(&self, uid: &str, now: Instant) {
        self.change(|state, _| {
            state.silent = None;
            state.delete(uid, now)
        });
    }

    /// Forgets pods that were deleted too long ago.
    pub(super) fn expire(&self, now: Instant) {
        self.change(|state, _| state.expire(now));
    }

    /// The labels of a namespace; none where it is gone.
    pub(super) fn namespace(&self, name: &str, labels: Option<Names>) {
        let mut refused = Ok(());
        self.change(|state, stamp| {
            let changed;
            (changed, refused) = state.namespace(name, labels, stamp);
            changed
        });
        if let Err(settings) = refused {
            self.0.metrics.namespaces_refused.inc();
            if let Some(settings) = settings {
                warn!(event = "namespace_metadata_refused", namespace = name, max_memory = %settings.max_memory,
                    "the labels of the namespace {name:?} are not kept: those of all namespaces would take more than half of \
                     kubernetes.max_memory; records of its pods have none. Raise it, or keep fewer of the labels \
                     (kubernetes.namespace_labels)");
            }
        }
    }

    /// The namespaces that there are.
    pub(super) fn namespaces(&self, there: &HashSet<String>) {
        self.change(|state, _| state.only_namespaces(there) | std::mem::take(&mut state.expects_namespaces));
        self.0.metrics.listed("namespaces");
    }

    /// The labels of the node.
    pub(super) fn node_labels(&self, labels: Names) {
        self.change(|state, stamp| {
            let others = *state.node_labels.0 != labels;
            if others {
                state.node_labels = (Arc::new(labels), stamp);
            }
            others | std::mem::take(&mut state.expects_node)
        });
        self.0.metrics.listed("nodes");
    }

    /// Changes what is held. The change says whether an answer may be another now.
    fn change(&self, change: impl FnOnce(&mut State, u64) -> bool) {
        let (changed, pods, bytes) = {
            let mut state = self.state();
            let stamp = self.version() + 1;
            let changed = change(&mut state, stamp);
            if changed {
                self.0.version.store(stamp, Ordering::Release);
            }
            (changed, state.pods.len(), state.bytes)
        };
        self.0.metrics.pods.set(pods as i64);
        self.0.metrics.memory.set(bytes as i64);
        if changed {
            (self.0.news)();
        }
    }
}

#[cfg(test)]
mod tests;
