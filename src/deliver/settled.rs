//! What an answer settled.

use super::answer::Failure;
use super::batch::Refused;
use crate::record::Run;

/// What an answer settled.
#[derive(Debug, Default)]
pub struct Settled {
    /// Taken by the service: they may leave the buffer.
    pub acked: Vec<Run>,
    /// Never to be taken: they become dead letters, and then leave the buffer.
    pub refused: Vec<Refused>,
    /// Records that were taken.
    pub delivered_records: usize,
    /// Their payload's bytes.
    pub delivered_bytes: usize,
    /// Records that will be sent again.
    pub retried_records: usize,
    /// The failures by code, with the number of the service's records that each concerns, for metrics and logs.
    pub failures: Vec<(Failure, usize)>,
}

impl Settled {
    /// Counts entries that failed, by code.
    pub(super) fn note(&mut self, failure: &Failure, entries: usize) {
        match self.failures.iter_mut().find(|(known, _)| known.code == failure.code) {
            Some((_, count)) => *count += entries,
            None => self.failures.push((failure.clone(), entries)),
        }
    }
}
