//! Gauges of what is there now: a label that is there no more has no time series any more, and those that stay are never
//! away meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};

/// Gauges by their labels. Clones are the same.
#[derive(Debug)]
pub(super) struct Shown<L, N = i64, A = AtomicI64> {
    family: Family<L, Gauge<N, A>>,
    labels: Arc<Mutex<BTreeSet<L>>>,
}

impl<L, N, A> Clone for Shown<L, N, A> {
    fn clone(&self) -> Self {
        Self { family: self.family.clone(), labels: Arc::clone(&self.labels) }
    }
}

impl<L: Clone + Eq + Hash, N, A: Default> Default for Shown<L, N, A> {
    fn default() -> Self {
        Self { family: Family::default(), labels: Arc::default() }
    }
}

impl<L: Clone + Ord + Hash, N, A: Atomic<N> + Default> Shown<L, N, A> {
    /// To be registered.
    pub(super) fn family(&self) -> Family<L, Gauge<N, A>> {
        self.family.clone()
    }

    /// These are there now, and no others.
    pub(super) fn show(&self, now: BTreeMap<L, N>) {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *labels);
        for (label, value) in now {
            self.family.get_or_create(&label).set(value);
            labels.insert(label);
        }
        for gone in before.difference(&labels) {
            self.family.remove(gone);
        }
    }
}
