//! What the API of Kubernetes tells of the pods behind files: the first records of a file wait for it, but not for long,
//! and later ones have what is known by then. It decides nothing but what records say: where a file stands and what its
//! records' ids are is the same with and without.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};
use tracing::warn;

use super::Pipeline;
use super::lane::Lane;
use super::wishes::ToldBy;
use crate::event::FileContext;
use crate::kubernetes::{Enriched, Pod, PodFacts, PodStore};
use crate::source::Incarnation;
use crate::tail::Entry;

/// What the reading thread notes of pods.
#[derive(Default)]
pub(super) struct Pods {
    pub(super) store: PodStore,
    /// What its version was when files that wait were last tried.
    tried: u64,
    /// Files of which nothing is known yet, and until when they wait.
    waiting: HashMap<Incarnation, Instant>,
    /// Files of which it was counted when their metadata were known.
    counted: HashSet<Incarnation>,
    /// Annotations that were told.
    pub(super) told: HashSet<u64>,
    pub(super) told_by: ToldBy,
}

/// The pod behind a file.
pub(super) struct PodOfLane {
    pub(super) pod: Pod,
    pub(super) facts: Option<Arc<PodFacts>>,
    /// The store's version when it was last asked.
    version: u64,
    /// Which answer records have. None as long as they have what the path tells.
    stamp: Option<u64>,
    /// What they carry of it.
    fields: Map<String, Value>,
}

impl Pods {
    /// Whether a file waits until more is known of its pod than is known now.
    fn must_wait(&mut self, incarnation: Incarnation, pod: &Pod, all_known: bool, now: Instant) -> bool {
        let until = if all_known { None } else { self.store.patience(pod, now) };
        match until {
            Some(until) => drop(self.waiting.insert(incarnation, until)),
            None => drop(self.waiting.remove(&incarnation)),
        }
        until.is_some()
    }

    pub(super) fn forget(&mut self, incarnation: Incarnation) {
        self.waiting.remove(&incarnation);
        self.counted.remove(&incarnation);
    }
}

impl Pipeline {
    /// Asks this store for pods from now on.
    pub(in crate::agent) fn know_pods(&mut self, store: PodStore) {
        self.pods.store = store;
        self.begin_excluded();
    }

    /// What routes leave out is counted from zero on.
    pub(super) fn begin_excluded(&self) {
        self.plans.iter().for_each(|plan| self.pods.store.metrics().excluded(plan.name.as_str(), 0));
    }

    /// Files that waited for what is known now, or for long enough, get a turn.
    pub(in crate::agent) fn pods_due(&mut self, now: Instant) {
        let version = self.pods.store.version();
        let news = std::mem::replace(&mut self.pods.tried, version) != version;
        if news {
            self.decide();
        }
        let due = self.pods.waiting.iter().filter(|(_, until)| news || **until <= now);
        for incarnation in due.map(|(incarnation, _)| *incarnation).collect::<Vec<_>>() {
            self.enqueue(incarnation);
        }
    }

    /// Files of which it is known now which routes take them are read from now on.
    pub(in crate::agent) fn decide(&mut self) {
        if self.tailer.unrouted() == 0 {
            return;
        }
        for incarnation in self.tailer.decide() {
            // What was decided is durable before the first line is read.
            self.named.remove(&incarnation);
            self.naming.retain(|other| *other != incarnation);
            self.lanes.remove(&incarnation);
            self.enqueue(incarnation);
            self.dirty = true;
        }
    }

    /// Says how many files wait for labels.
    pub(super) fn measure_pods(&self) {
        self.pods.store.metrics().files_waiting(self.tailer.unrouted());
    }

    /// At a stop: what waits for labels in deleted files is lost, and what waits in others is read by the next run.
    pub(in crate::agent) fn leave_unrouted(&mut self, wall: SystemTime) {
        for incarnation in self.tailer.leave_unrouted(wall) {
            self.leave(incarnation);
        }
        self.count_changes();
        let files = self.tailer.unrouted();
        if files > 0 {
            warn!(
                event = "files_unrouted",
                files,
                "{files} files were not read because labels of their pods are not known; the next run reads them once they are"
            );
        }
    }

    /// Whether a file waits for something that may still become known.
    pub(in crate::agent) fn awaits_pods(&self) -> bool {
        let awaited = |entry: &Entry| {
            entry.unrouted && Pod::from_path(&entry.path).is_some_and(|pod| self.pods.store.awaits(&pod))
        };
        !self.pods.waiting.is_empty() || self.tailer.entries().any(awaited)
    }

    /// When the first of them has waited long enough.
    pub(in crate::agent) fn next_pod_due(&self) -> Option<Instant> {
        self.pods.waiting.values().min().copied()
    }

    /// The pod behind a file that gets its first turn. None where the file has to wait.
    pub(super) fn pod_of(
        &mut self,
        incarnation: Incarnation,
        path: &Path,
        now: Instant,
    ) -> Option<Option<PodOfLane>> {
        let Some(pod) = Pod::from_path(path) else { return Some(None) };
        let version = self.pods.store.version();
        let known = self.pods.store.find(&pod);
        let all_known = known.as_ref().is_some_and(|known| known.complete);
        if !self.hurried && self.pods.must_wait(incarnation, &pod, all_known, now) {
            return None;
        }
        if self.pods.store.settings().is_some() && self.pods.counted.insert(incarnation) {
            let enriched = if known.is_some() { Enriched::InTime } else { Enriched::Missing };
            self.pods.store.metrics().file(enriched);
        }
        let stamp = known.as_ref().map(|known| known.stamp);
        let facts = known.as_ref().map(|known| Arc::clone(&known.pod));
        let fields = known.map_or_else(|| pod.fields(), |known| known.fields(&pod));
        Some(Some(PodOfLane { pod, facts, version, stamp, fields }))
    }

    /// What became known of a file's pod since its last turn is in its records from now on.
    pub(super) fn refresh_pod(&mut self, incarnation: Incarnation, lane: &mut Lane) {
        let Some(of_lane) = &mut lane.pod else { return };
        let version = self.pods.store.version();
        if std::mem::replace(&mut of_lane.version, version) == version {
            return;
        }
        // What is not known any more was true when it was.
        let Some(known) = self.pods.store.find(&of_lane.pod) else { return };
        let before = of_lane.stamp.replace(known.stamp);
        if before == Some(known.stamp) {
            return;
        }
        if before.is_none() {
            self.pods.store.metrics().file(Enriched::Late);
        }
        let Some(entry) = self.tailer.entry(incarnation) else { return };
        of_lane.fields = known.fields(&of_lane.pod);
        of_lane.facts = Some(known.pod);
        let context = FileContext { path: &entry.path, host: &self.host, kubernetes: Some(&of_lane.fields) };
        for branch in &mut lane.branches {
            branch.encoder.describe(context);
        }
        self.listen(lane);
    }

    /// Counts records by where what they say of their pod is from.
    pub(super) fn count_of_pod(&self, lane: &Lane, records: usize) {
        let Some(pod) = &lane.pod else { return };
        if records > 0 && (pod.stamp.is_some() || self.pods.store.settings().is_some()) {
            self.pods.store.metrics().records(pod.stamp.is_some(), records as u64);
        }
    }
}

impl PodOfLane {
    /// What records carry of it, as conditions ask for it.
    pub(super) fn in_conditions(&self) -> Option<&Map<String, Value>> {
        Some(&self.fields)
    }
}
