//! What an answer settled.

use std::collections::BTreeMap;

use super::answer::Failure;
use super::entry::{Entry, Request};
use super::refusal::Refused;
use super::shape::Shape;
use super::shards::{HotShard, Shard, ShardCount};
use crate::record::Run;

/// Records of an on-demand data stream are billed in steps of so many bytes (Kinesis Data Streams pricing: 1 KB).
const ON_DEMAND_STEP: usize = 1 << 10;

/// What an answer settled.
#[derive(Debug, Default)]
pub struct Settled {
    /// Taken by the service: they may leave the buffer.
    pub acked: Vec<Run>,
    /// Never to be taken: they become dead letters, and then leave the buffer.
    pub refused: Vec<Refused>,
    /// Records that were taken.
    pub delivered_records: usize,
    /// Their payload's bytes, before compression.
    pub delivered_bytes: usize,
    /// What the service bills for them: steps of 5 KB a record (Firehose), PUT payload units of 25 KB a record
    /// (provisioned data streams).
    pub billed_units: usize,
    /// What an on-demand data stream bills for them: bytes, each record rounded up to the next KB.
    pub billed_on_demand: usize,
    /// Records that will be sent again.
    pub retried_records: usize,
    /// The failures by code, with the number of the service's records that each concerns, for metrics and logs.
    pub failures: Vec<(Failure, usize)>,
    /// The request failed as a whole, and not because there was too much of it.
    pub service_error: bool,
    /// What went to each shard of a data stream; under none what went to shards beyond those that are counted alone.
    pub shards: BTreeMap<Option<Shard>, ShardCount>,
    /// Shards that are not counted alone any more, as no answer named them for long.
    pub silent_shards: Vec<Shard>,
    /// A shard that is found to be hot.
    pub hot_shard: Option<HotShard>,
}

/// What became of a request as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// All of it was taken.
    Taken,
    /// Some of it was not.
    Partial,
    /// Nothing was taken.
    Failed,
}

impl RequestOutcome {
    /// As metrics and the log have it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Partial => "partial",
            Self::Failed => "failed",
        }
    }
}

impl Settled {
    /// How many of the service's records were not taken.
    pub fn failed_entries(&self) -> usize {
        self.failures.iter().map(|(_, entries)| entries).sum()
    }

    /// What became of the request, of whose answer this came.
    pub fn outcome(&self, request: &Request) -> RequestOutcome {
        match self.failed_entries() {
            0 => RequestOutcome::Taken,
            failed if failed < request.entries.len() => RequestOutcome::Partial,
            _ => RequestOutcome::Failed,
        }
    }

    /// An entry was taken.
    pub(super) fn take(&mut self, entry: &Entry, shape: &Shape) {
        self.delivered_records += entry.records();
        self.delivered_bytes += entry.payload_size();
        self.acked.extend(entry.runs().cloned());
        let size = entry.sent_size();
        self.billed_units += shape.billed_step.map_or(0, |step| size.div_ceil(step).max(1));
        if shape.key.is_some() {
            self.billed_on_demand += size.div_ceil(ON_DEMAND_STEP) * ON_DEMAND_STEP;
        }
    }

    /// Counts entries that failed, by code.
    pub(super) fn note(&mut self, failure: &Failure, entries: usize) {
        match self.failures.iter_mut().find(|(known, _)| known.code == failure.code) {
            Some((_, count)) => *count += entries,
            None => self.failures.push((failure.clone(), entries)),
        }
    }
}
