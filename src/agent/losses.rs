//! What was given up, as metrics: records and dead letters that found no room, and dead letters themselves.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::buffer::{DeadLetterStats, QueueStats};
use crate::metric::{ByDestination, families, register};
use crate::source::DestinationName;

families! {
    /// Of all destinations.
    struct Destinations by ByDestination => OfDestination {
        letters: Counter, "dead_letters_dropped", "Dead letters given up because they were at their limit";
        replayed: Counter, "dead_letters_replayed",
            "Dead letters that were put into the buffer again, and are none any more";
        size: Gauge, "dead_letters_size_bytes",
            "Bytes that a destination's dead letters take on disk, as far as they were looked at";
    }
}

families! {
    /// Of all destinations and causes.
    struct Causes by ByCause => OfCause {
        records: Counter, "buffer_dropped_records",
            "Records given up because the buffer was full, or because somebody purged it";
        bytes: Counter, "buffer_dropped_bytes", "Bytes of the chunks that were given up with them";
    }
}

/// Why records were given up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    destination: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    destination: String,
    reason: String,
}

/// The reasons that dead letters have. Their counters exist from the start, at zero: a time series that begins with
/// its first event shows no increase, and an alert would miss it.
const REASONS: [&str; 5] = ["too_large", "refused", "max_attempts", "max_record_age", "panic"];

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Losses {
    destinations: Destinations,
    causes: Causes,
    letters: Family<ByReason, Counter>,
}

impl Losses {
    pub(super) fn register(&self, registry: &mut Registry) {
        self.destinations.register(registry);
        self.causes.register(registry);
        register!(registry, {
            "dead_letters": self.letters,
                "Records that a destination will not get, and lines that became none, by reason";
        });
    }

    /// So it is with a destination now.
    pub(super) fn show(&self, destination: &DestinationName, queue: &QueueStats, letters: &DeadLetterStats) {
        let of = self.destinations.of(&destination.into());
        for (reason, records, bytes) in [
            ("full", queue.dropped_records, queue.dropped_bytes),
            ("purge", queue.purged_records, queue.purged_bytes),
        ] {
            let of = self.causes.of(&ByCause { destination: destination.to_string(), reason });
            rise_to(&of.records, records);
            rise_to(&of.bytes, bytes);
        }
        rise_to(&of.letters, letters.dropped);
        rise_to(&of.replayed, letters.replayed);
        of.size.set(i64::try_from(letters.bytes).unwrap_or(i64::MAX));
        let by_reason = |reason: &str| {
            let by = ByReason { destination: destination.to_string(), reason: reason.to_owned() };
            self.letters.get_or_create_owned(&by)
        };
        REASONS.iter().for_each(|reason| drop(by_reason(reason)));
        for (reason, count) in &letters.kept {
            rise_to(&by_reason(reason), *count);
        }
    }
}

/// Shows what was counted elsewhere. Several may look at once, and none of them counts it twice.
fn rise_to(counter: &Counter, total: u64) {
    counter.inner().fetch_max(total, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn every_reason_of_dead_letters_has_a_counter_before_there_is_a_letter() {
        let mut registry = Registry::with_prefix("kinetail");
        let metrics = Losses::default();
        metrics.register(&mut registry);
        let mut stats = DeadLetterStats::default();
        metrics.show(&"archive".into(), &QueueStats::default(), &stats);
        stats.kept.insert("refused".into(), 3);
        metrics.show(&"archive".into(), &QueueStats::default(), &stats);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for (reason, count) in [("panic", 0), ("refused", 3)] {
            let line =
                format!(r#"kinetail_dead_letters_total{{destination="archive",reason="{reason}"}} {count}"#);
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn what_several_look_at_at_once_is_counted_once() {
        let counters: Vec<Counter> = (0..5000).map(|_| Counter::default()).collect();
        let here = AtomicU64::new(0);
        let look = || {
            for (counter, both) in counters.iter().zip((2..).step_by(2)) {
                here.fetch_add(1, Ordering::SeqCst);
                while here.load(Ordering::SeqCst) < both {
                    std::thread::yield_now();
                }
                rise_to(counter, 7);
            }
        };
        std::thread::scope(|threads| {
            threads.spawn(look);
            look();
        });
        assert!(counters.iter().all(|counter| counter.get() == 7));
    }
}
