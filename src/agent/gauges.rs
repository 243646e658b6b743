//! What is measured only when somebody looks: lag, limits and the disk.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::shown::Shown;
use super::status::unread;
use super::totals::Lags;
use super::watched::{Watched, age};
use crate::source::DestinationName;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByRouteAndDestination {
    route: String,
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: String,
}

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Gauges {
    lag_bytes: Shown<ByRouteAndDestination>,
    lag_seconds: Family<ByDestination, Gauge<f64, AtomicU64>>,
    buffer_limit: Family<ByDestination, Gauge>,
    buffers_limit: Gauge,
    disk_free: Gauge,
    disk_min_free: Gauge,
}

impl Gauges {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "lag",
            "Age of the oldest record that the destination has not taken, in its buffer or still in a file",
            Unit::Seconds,
            self.lag_seconds.clone(),
        );
        registry.register_with_unit(
            "lag",
            "Bytes in the route's open files that were not read for the destination yet",
            Unit::Bytes,
            self.lag_bytes.family(),
        );
        registry.register_with_unit(
            "buffer_limit",
            "The most that a destination's buffer may take on disk",
            Unit::Bytes,
            self.buffer_limit.clone(),
        );
        registry.register_with_unit(
            "buffers_limit",
            "The most that the buffers of all destinations may take on disk together (buffer.max_size)",
            Unit::Bytes,
            self.buffers_limit.clone(),
        );
        registry.register_with_unit(
            "disk_free",
            "Bytes that are free on the file system of data_dir; -1 where it cannot be asked",
            Unit::Bytes,
            self.disk_free.clone(),
        );
        registry.register_with_unit(
            "disk_min_free",
            "Below so many free bytes reading pauses (buffer.min_disk_free)",
            Unit::Bytes,
            self.disk_min_free.clone(),
        );
    }

    pub(super) fn refresh(&self, watched: &Watched) {
        let (now, lags) = (Instant::now(), watched.totals.lags());
        for to in &watched.destinations() {
            let by = ByDestination { destination: to.queue.name().to_string() };
            let oldest = age(&to.queue.stats()).as_secs_f64();
            self.lag_seconds.get_or_create(&by).set(oldest.max(unread(to, &lags).seconds(now)));
            self.buffer_limit.get_or_create(&by).set(signed(to.queue.max_size()));
        }
        self.lags(&lags);
        let (most, least) = watched.running.limits();
        self.buffers_limit.set(signed(most));
        self.disk_min_free.set(signed(least));
        self.disk_free.set(watched.glance.free().map_or(-1, signed));
    }

    /// There is no such destination any more.
    pub(super) fn forget(&self, destination: &DestinationName) {
        let by = ByDestination { destination: destination.to_string() };
        self.lag_seconds.remove(&by);
        self.buffer_limit.remove(&by);
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
