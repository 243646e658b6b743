//! Throttling: token buckets as the services keep them, on a clock that is passed in.

use std::time::Duration;

use super::{firehose, kinesis};

/// What a shard of a data stream, or a delivery stream as a whole, takes in a second. Up to one second's worth
/// is saved up, with which every bucket starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Records a second.
    pub records: f64,
    /// Bytes a second, before base64, partition keys included.
    pub bytes: f64,
}

impl Rate {
    /// What a shard takes (Kinesis Data Streams developer guide, "Quotas and limits").
    pub const KINESIS_SHARD: Rate = Rate { records: 1_000.0, bytes: kinesis::DEFAULT_MAX_RECORD as f64 };
    /// What a delivery stream takes in the large regions (Amazon Data Firehose developer guide, "Quota").
    pub const FIREHOSE_STREAM: Rate =
        Rate { records: 500_000.0, bytes: (firehose::MAX_REQUEST + (1 << 20)) as f64 };
}

/// A bucket that fills at a rate and is drawn from by every record.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: Rate,
    records: f64,
    bytes: f64,
    filled: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, records: rate.records, bytes: rate.bytes, filled: now }
    }

    /// Draws what one record of this size takes, or nothing if it is not there.
    pub(super) fn take(&mut self, size: usize, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.records = (self.records + passed * self.rate.records).min(self.rate.records);
        self.bytes = (self.bytes + passed * self.rate.bytes).min(self.rate.bytes);
        let room = self.records >= 1.0 && self.bytes >= size as f64;
        if room {
            self.records -= 1.0;
            self.bytes -= size as f64;
        }
        room
    }
}
