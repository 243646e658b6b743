//! What the store holds, and how it is kept within its limits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::super::facts::{Names, weight_of};
use super::super::{KubernetesSettings, Pod, PodFacts};

#[derive(Default)]
pub(super) struct State {
    /// None where nobody wants to know anything.
    pub(super) settings: Option<Arc<KubernetesSettings>>,
    /// The node's name, as records carry it.
    pub(super) node: String,
    pub(super) standing: Standing,
    /// All pods were listed once.
    pub(super) complete: bool,
    pub(super) pods: HashMap<String, Kept>,
    /// By what kubelet names static pods.
    by_hash: HashMap<String, String>,
    /// The pods that have had a name, in the order in which they were first known under it.
    by_name: HashMap<(String, String), Vec<String>>,
    pub(super) namespaces: HashMap<String, (Arc<Names>, u64)>,
    /// What is expected beside pods, and was neither had nor refused yet.
    pub(super) expects_namespaces: bool,
    /// Pods are asked for something of which nothing was kept before.
    pub(super) expects_pods: bool,
    pub(super) expects_node: bool,
    pub(super) node_labels: (Arc<Names>, u64),
    /// Pods of which not all is known that is wanted, and since when somebody waits for it.
    pub(super) asked: HashMap<Asked, Instant>,
    /// Since when somebody waits and the API has told of no pod.
    pub(super) silent: Option<Instant>,
    /// What pods and namespaces take of `max_memory`.
    pub(super) bytes: usize,
    /// What namespaces take of it.
    of_namespaces: usize,
    refusing: bool,
    refusing_namespaces: bool,
    /// Pods for which there was no room, and what they would take: no more of them than `max_pods`.
    pub(super) refused: HashMap<String, usize>,
}

/// Who is waited for: a namespace, a name, and the UID or the container's id. A pod that is made again under its name is
/// another.
type Asked = (String, String, String);

pub(super) struct Kept {
    pub(super) facts: Arc<PodFacts>,
    /// The labels that it had when it was first known. By them it is decided where its files go: that must not change on
    /// the way.
    pub(super) first_labels: Arc<Names>,
    pub(super) bytes: usize,
    pub(super) deleted: Option<Instant>,
    pub(super) stamp: u64,
}

/// There is no room. Has the settings where nothing of the kind was refused since there was room the last time.
pub(super) type Refused = Option<Arc<KubernetesSettings>>;

/// How things are with the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not asked.
    #[default]
    Off,
    /// It has not answered yet.
    Starting,
    /// All pods are known, and changes come.
    Synced,
    /// It does not answer.
    Failing,
}

impl State {
    pub(super) fn kept(&self, pod: &Pod) -> Option<&Kept> {
        let Some(uid) = &pod.uid else { return self.linked(pod) };
        let kept = self.pods.get(self.by_hash.get(uid).unwrap_or(uid))?;
        // Whoever can write logs can name folders; nobody may borrow another's labels.
        (kept.facts.namespace == pod.namespace && kept.facts.name == pod.name).then_some(kept)
    }

    /// The pod behind a link, which has no UID: of those that have had the name, the one whose container has had the id. By
    /// the name alone a file would get the labels of a pod that was made again under it.
    fn linked(&self, pod: &Pod) -> Option<&Kept> {
        let id = pod.container_id.as_deref()?;
        let named = self.by_name.get(&(pod.namespace.clone(), pod.name.clone()))?;
        let mut named = named.iter().filter_map(|uid| self.pods.get(uid));
        named.find(|kept| kept.facts.container(pod).is_some_and(|container| container.had(id)))
    }

    /// Until when what is not known of a pod may be waited for; none where that makes no sense, or not any more. Each pod is
    /// waited for once. As long as the API tells nothing, all waits end when the first does: it may be out of reach though
    /// no connection has noticed yet.
    pub(super) fn until(&mut self, pod: &Pod, now: Instant) -> Option<Instant> {
        let settings = self.settings.as_ref()?;
        let (wait, most) = (settings.wait, settings.max_pods);
        if !matches!(self.standing, Standing::Starting | Standing::Synced) || wait.is_zero() {
            return None;
        }
        let silent = *self.silent.get_or_insert(now);
        if now >= silent + wait {
            return None;
        }
        let which = pod.uid.as_ref().or(pod.container_id.as_ref()).cloned().unwrap_or_default();
        let name = (pod.namespace.clone(), pod.name.clone(), which);
        if self.asked.len() >= most && !self.asked.contains_key(&name) {
            self.asked.retain(|_, since| now < *since + wait);
            if self.asked.len() >= most {
                return None;
            }
        }
        let since = *self.asked.entry(name).or_insert(now);
        Some(since.min(silent) + wait).filter(|until| now < *until)
    }

    /// Keeps a pod where there is room, and says whether an answer may be another now. Where there is none, what was known of
    /// it before stays: by its first labels it was decided where its files go.
    pub(super) fn put(&mut self, facts: PodFacts, stamp: u64) -> Result<bool, Refused> {
        let Some(settings) = self.settings.clone() else { return Ok(false) };
        let uid = facts.uid.clone();
        let mut first_labels = None;
        if let Some(kept) = self.pods.get_mut(&uid) {
            kept.deleted = None;
            if *kept.facts == facts {
                self.refused.remove(&uid);
                return Ok(false);
            }
            first_labels = Some(Arc::clone(&kept.first_labels));
        }
        let first_labels = first_labels.unwrap_or_else(|| Arc::new(facts.labels.clone()));
        let bytes = facts.weight() + weight_of(&first_labels);
        let Some(in_the_way) = self.in_the_way_of(&uid, bytes, &settings) else {
            if self.refused.len() < settings.max_pods || self.refused.contains_key(&uid) {
                self.refused.insert(uid, bytes);
            }
            let first = !std::mem::replace(&mut self.refusing, true);
            return Err(first.then_some(settings));
        };
        self.refusing = false;
        self.refused.remove(&uid);
        for uid in in_the_way.iter().chain([&uid]) {
            self.forget(uid);
        }
        self.bytes += bytes;
        if let Some(hash) = &facts.config_hash {
            self.by_hash.insert(hash.clone(), uid.clone());
        }
        self.by_name.entry((facts.namespace.clone(), facts.name.clone())).or_default().push(uid.clone());
        self.pods.insert(uid, Kept { facts: Arc::new(facts), first_labels, bytes, deleted: None, stamp });
        Ok(true)
    }

    /// The deleted pods that have to go so that there is room for one that takes so much, the longest deleted first. None
    /// where all of them would not be enough.
    fn in_the_way_of(&self, uid: &str, bytes: usize, settings: &KubernetesSettings) -> Option<Vec<String>> {
        let own = self.pods.get(uid);
        let mut pods = self.pods.len() + usize::from(own.is_none());
        let mut all = self.bytes - own.map_or(0, |own| own.bytes) + bytes;
        let (max_pods, max) = (settings.max_pods, most(settings));
        let mut gone = Vec::new();
        if pods <= max_pods && all <= max {
            return Some(gone);
        }
        let deleted = self.pods.iter().filter(|(other, _)| *other != uid);
        let mut deleted: Vec<_> =
            deleted.filter_map(|(uid, kept)| Some((kept.deleted?, uid, kept.bytes))).collect();
        deleted.sort_unstable();
        let mut deleted = deleted.into_iter();
        while pods > max_pods || all > max {
            let (_, uid, bytes) = deleted.next()?;
            gone.push(uid.clone());
            (pods, all) = (pods - 1, all - bytes);
        }
        Some(gone)
    }

    /// Whether there is room by now for a pod for which there was none.
    pub(super) fn has_room_again(&self) -> bool {
        let Some(settings) = self.settings.as_ref().filter(|_| !self.refused.is_empty()) else {
            return false;
        };
        let there = || self.pods.values().filter(|kept| kept.deleted.is_none());
        let (pods, of_pods) = (there().count(), there().map(|kept| kept.bytes).sum::<usize>());
        let bytes = of_pods + self.of_namespaces;
        self.refused.iter().any(|(uid, weight)| {
            let own = self.pods.get(uid).filter(|kept| kept.deleted.is_none());
            pods + usize::from(own.is_none()) <= settings.max_pods
                && bytes - own.map_or(0, |own| own.bytes) + weight <= most(settings)
        })
    }

    /// A pod is gone. Says whether an answer may be another now.
    pub(super) fn delete(&mut self, uid: &str, now: Instant) -> bool {
        self.refused.remove(uid);
        if let Some(kept) = self.pods.get_mut(uid) {
            kept.deleted.get_or_insert(now);
        }
        self.expire(now)
    }

    /// These are all the pods that there are. Says whether an answer may be another now.
    pub(super) fn only(&mut self, there: &HashSet<String>, now: Instant) -> bool {
        self.refused.retain(|uid, _| there.contains(uid));
        for (_, kept) in self.pods.iter_mut().filter(|(uid, _)| !there.contains(*uid)) {
            kept.deleted.get_or_insert(now);
        }
        self.expire(now)
    }

    pub(super) fn forget(&mut self, uid: &str) -> Option<Kept> {
        let kept = self.pods.remove(uid)?;
        self.bytes -= kept.bytes;
        if let Some(hash) = &kept.facts.config_hash
            && self.by_hash.get(hash).is_some_and(|other| other == uid)
        {
            self.by_hash.remove(hash);
        }
        let name = (kept.facts.namespace.clone(), kept.facts.name.clone());
        if let Some(named) = self.by_name.get_mut(&name) {
            named.retain(|other| other != uid);
            if named.is_empty() {
                self.by_name.remove(&name);
            }
        }
        Some(kept)
    }

    /// Forgets pods that were deleted too long ago, and says whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let Some(keep) = self.settings.as_ref().map(|settings| settings.keep_deleted) else { return false };
        let over =
            |kept: &Kept| kept.deleted.is_some_and(|deleted| now.saturating_duration_since(deleted) >= keep);
        let gone: Vec<String> =
            self.pods.iter().filter(|(_, kept)| over(kept)).map(|(uid, _)| uid.clone()).collect();
        gone.iter().for_each(|uid| drop(self.forget(uid)));
        !gone.is_empty()
    }

    /// Keeps the labels of a namespace, or forgets them, and says whether an answer may be another now. They may take half of
    /// the memory, so that a cluster of very many namespaces leaves room for this node's pods.
    pub(super) fn namespace(
        &mut self,
        name: &str,
        labels: Option<Names>,
        stamp: u64,
    ) -> (bool, Result<(), Refused>) {
        let Some(settings) = self.settings.clone() else { return (false, Ok(())) };
        if labels.as_ref() == self.namespaces.get(name).map(|(labels, _)| &**labels) {
            return (false, Ok(()));
        }
        let known = self.forget_namespace(name);
        let Some(labels) = labels else { return (known, Ok(())) };
        let weight = weight_of(&labels) + name.len();
        let max = most(&settings);
        if self.of_namespaces + weight > max / 2 || self.bytes + weight > max {
            let first = !std::mem::replace(&mut self.refusing_namespaces, true);
            return (known, Err(first.then_some(settings)));
        }
        self.refusing_namespaces = false;
        (self.bytes, self.of_namespaces) = (self.bytes + weight, self.of_namespaces + weight);
        self.namespaces.insert(name.to_owned(), (Arc::new(labels), stamp));
        (true, Ok(()))
    }

    /// Whether it was known.
    fn forget_namespace(&mut self, name: &str) -> bool {
        let Some((labels, _)) = self.namespaces.remove(name) else { return false };
        let weight = weight_of(&labels) + name.len();
        (self.bytes, self.of_namespaces) = (self.bytes - weight, self.of_namespaces - weight);
        true
    }

    /// Forgets all namespaces but these, and says whether there were others.
    pub(super) fn only_namespaces(&mut self, there: &HashSet<String>) -> bool {
        let gone: Vec<String> =
            self.namespaces.keys().filter(|name| !there.contains(*name)).cloned().collect();
        gone.iter().filter(|name| self.forget_namespace(name)).count() > 0
    }
}

/// `max_memory` in bytes.
fn most(settings: &KubernetesSettings) -> usize {
    usize::try_from(settings.max_memory.0).unwrap_or(usize::MAX)
}
