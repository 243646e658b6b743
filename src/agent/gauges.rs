//! What is measured only when somebody looks: lag, limits and the disk.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::shown::Shown;
use super::status::unread;
use super::totals::Lags;
use super::watched::{Watched, age};
use crate::metric::{ByDestination, families, register};
use crate::source::DestinationName;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByRouteAndDestination {
    route: String,
    destination: String,
}

families! {
    /// What is measured of destinations.
    struct Destinations by ByDestination => OfDestination {
        lag: Gauge<f64, AtomicU64>, "lag_seconds",
            "Age of the oldest record that the destination has not taken, in its buffer or still in a file";
        bytes: Gauge, "buffer_size_bytes", "Bytes that a destination's buffer takes on disk";
        limit: Gauge, "buffer_limit_bytes", "The most that a destination's buffer may take on disk";
        records: Gauge, "buffer_records", "Records in a destination's buffer that it has not acknowledged";
        chunks: Gauge, "buffer_chunks", "Chunk files in a destination's buffer";
        oldest: Gauge<f64, AtomicU64>, "buffer_oldest_seconds",
            "Age of the oldest record that waits in a destination's buffer";
    }
}

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    destinations: Destinations,
    lag_bytes: Shown<ByRouteAndDestination>,
    buffers_limit: Gauge,
    disk_free: Gauge,
    disk_min_free: Gauge,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        self.destinations.register(registry);
        register!(registry, {
            "lag_bytes": self.lag_bytes.family(),
                "Bytes in the route's open files that were not read for the destination yet";
            "buffers_limit_bytes": self.buffers_limit,
                "The most that the buffers of all destinations may take on disk together (buffer.max_size)";
            "disk_free_bytes": self.disk_free,
                "Bytes that are free on the file system of data_dir; -1 where it cannot be asked";
            "disk_min_free_bytes": self.disk_min_free,
                "Below so many free bytes reading pauses (buffer.min_disk_free)";
        });
    }

    pub(super) fn refresh(&self, watched: &Watched) {
        let (now, lags) = (Instant::now(), watched.totals.lags());
        for to in &watched.destinations() {
            let of = self.destinations.of(&to.queue.name().into());
            let stats = to.queue.stats();
            let oldest = age(&stats).as_secs_f64();
            of.lag.set(oldest.max(unread(to, &lags).seconds(now)));
            of.bytes.set(signed(stats.bytes));
            of.limit.set(signed(to.queue.max_size()));
            of.records.set(signed(stats.records));
            of.chunks.set(signed(stats.chunks));
            of.oldest.set(oldest);
        }
        self.lags(&lags);
        let (most, least) = watched.running.limits();
        self.buffers_limit.set(signed(most));
        self.disk_min_free.set(signed(least));
        self.disk_free.set(watched.glance.free().map_or(-1, signed));
    }

    /// There is no such destination any more.
    pub(super) fn forget(&self, destination: &DestinationName) {
        self.destinations.remove(&destination.into());
    }

    fn lags(&self, lags: &Lags) {
        // A route without destinations has a lag under an empty name.
        let known = lags.by.iter().filter(|((_, destination), _)| !destination.as_str().is_empty());
        let by = known.map(|((route, destination), lag)| {
            let (route, destination) = (route.to_string(), destination.to_string());
            (ByRouteAndDestination { route, destination }, signed(lag.bytes))
        });
        self.lag_bytes.show(by.collect());
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::totals::Lag;
    use super::*;

    #[test]
    fn a_route_without_files_any_more_has_no_lag_any_more() {
        let gauges = Gauges::default();
        let mut registry = Registry::with_prefix("kinetail");
        gauges.register(&mut registry);
        let text = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            text
        };
        let mut lags = Lags::default();
        lags.by.insert(("web".into(), "archive".into()), Lag { bytes: 7, since: None });
        lags.by.insert(("noise".into(), "".into()), Lag { bytes: 9, since: None });
        gauges.lags(&lags);
        assert!(text().contains(r#"kinetail_lag_bytes{route="web",destination="archive"} 7"#), "{}", text());
        assert!(!text().contains("noise"), "{}", text());
        gauges.lags(&Lags::default());
        assert!(!text().contains("web"), "{}", text());
    }
}
