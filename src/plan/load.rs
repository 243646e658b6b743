//! What a destination is sent over some time, and what that comes to.

use std::time::Duration;

use crate::deliver::{SHARD_BYTES, SHARD_RECORDS};

/// The busiest of these decides how many shards are needed.
pub(super) const WINDOW: Duration = Duration::from_secs(60);

/// What a destination is sent over some time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Load {
    /// Our records.
    pub lines: u64,
    /// Their bytes, newlines not counted.
    pub payload: u64,
    /// The service's records.
    pub records: u64,
    /// Their bytes, partition keys counted, as they are sent.
    pub bytes: u64,
    /// Calls.
    pub requests: u64,
    /// Steps of 5 KB (Firehose), or PUT payload units of 25 KB (provisioned data streams).
    pub billed: u64,
    /// Bytes that an on-demand data stream bills.
    pub billed_on_demand: u64,
    /// Too large for the service: dead letters.
    pub refused: u64,
    /// Bytes and records in the busiest minute.
    pub busiest: (u64, u64),
    /// The time that all this covers.
    pub period: Duration,
}

/// How many shards a data stream needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shards {
    /// So many.
    pub count: u64,
    /// Bytes a second in the busiest minute.
    pub bytes: f64,
    /// Records a second in the busiest minute.
    pub records: f64,
}

impl Load {
    /// For the busiest minute of `nodes` nodes that all have it at once, with this much room on top (0.25 is a quarter).
    pub fn shards(&self, nodes: u64, headroom: f64) -> Shards {
        // What covers less than a minute is taken for a part of one.
        let seconds = WINDOW.min(self.period.max(Duration::from_millis(1))).as_secs_f64();
        let bytes = self.busiest.0 as f64 * nodes as f64 / seconds;
        let records = self.busiest.1 as f64 * nodes as f64 / seconds;
        let needed = (bytes / SHARD_BYTES as f64).max(records / SHARD_RECORDS as f64) * (1.0 + headroom);
        Shards { count: (needed.ceil() as u64).max(1), bytes, records }
    }

    /// A number of this load, for a day of so many nodes.
    pub fn a_day(&self, number: u64, nodes: u64) -> f64 {
        number as f64 * nodes as f64 * 86_400.0 / self.period.as_secs_f64().max(0.001)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_by_what_runs_out_first() {
        let load = |bytes: u64, records: u64| Load {
            busiest: (bytes * 60, records * 60),
            period: Duration::from_secs(3600),
            ..Load::default()
        };
        assert_eq!(load(0, 0).shards(1, 0.25).count, 1);
        assert_eq!(load(1 << 20, 10).shards(1, 0.0).count, 1);
        assert_eq!(load(1 << 20, 10).shards(1, 0.25).count, 2);
        assert_eq!(load(1000, 2500).shards(1, 0.25).count, 4);
        let shards = load(300_000, 50).shards(100, 0.25);
        assert_eq!((shards.count, shards.records), (36, 5000.0));
    }

    #[test]
    fn a_day_is_scaled_from_the_time_covered() {
        let load = Load { period: Duration::from_secs(3600), ..Load::default() };
        assert_eq!(load.a_day(10, 3), 720.0);
    }
}
