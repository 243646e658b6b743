//! What the agent tells of itself while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::delivery::Order;
use super::gauges::Gauges;
use super::glance::Glance;
use super::limits::RateLimits;
use super::rates::{self, Rates};
use super::standing::Standing;
use super::status::{Running, kind_and_target};
use super::top_files::TopFiles;
use super::totals::{RouteTotals, Totals};
use crate::buffer::{DeadLetterStats, DeadLetters, Queue, QueueStats};
use crate::config::{Config, DestinationConfig};
use crate::deliver::DestinationMetrics;
use crate::source::{DestinationName, RouteName};
use crate::telemetry::{Summary, Sums, Suppressed};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: String,
}

/// Everything that can be looked at from outside. Clones look at the same.
#[derive(Clone)]
pub(super) struct Watched {
    destinations: Arc<Mutex<Vec<WatchedDestination>>>,
    routes: Arc<Mutex<Vec<WatchedRoute>>>,
    pub(super) totals: Totals,
    pub(super) glance: Glance,
    pub(super) running: Running,
    pub(super) rates: Rates,
    buffer: BufferMetrics,
    dead: DeadLetterMetrics,
    gauges: Gauges,
    limits: RateLimits,
    top_files: TopFiles,
}

/// What can be looked at of a destination.
#[derive(Clone)]
pub(super) struct WatchedDestination {
    /// `firehose`, `kinesis` or `directory`.
    pub(super) kind: &'static str,
    /// The stream or folder.
    pub(super) target: String,
    /// It is not in the configuration any more.
    pub(super) removed: bool,
    pub(super) queue: Queue,
    pub(super) letters: DeadLetters,
    pub(super) metrics: DestinationMetrics,
    pub(super) standing: Standing,
    /// Where its delivery takes orders, as long as it runs.
    pub(super) orders: WeakUnboundedSender<Order>,
}

impl WatchedDestination {
    /// What its rates are kept under.
    pub(super) fn key(&self) -> String {
        format!("to {}", self.queue.name())
    }

    fn counts(&self) -> [u64; 2] {
        [self.metrics.delivered_records(), self.metrics.delivered_bytes()]
    }
}

/// What can be looked at of a route.
#[derive(Clone)]
pub(super) struct WatchedRoute {
    pub(super) name: RouteName,
    pub(super) to: Vec<DestinationName>,
    pub(super) totals: RouteTotals,
}

impl WatchedRoute {
    /// What its rates are kept under.
    pub(super) fn key(&self) -> String {
        format!("of {}", self.name)
    }

    /// Lines and bytes.
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.totals.lines.get(), self.totals.bytes.get()]
    }
}

/// Why records were given up.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    destination: String,
    reason: &'static str,
}

#[derive(Clone, Default)]
struct BufferMetrics {
    bytes: Family<ByDestination, Gauge>,
    records: Family<ByDestination, Gauge>,
    chunks: Family<ByDestination, Gauge>,
    oldest: Family<ByDestination, Gauge<f64, AtomicU64>>,
    dropped: Family<ByCause, Counter>,
    dropped_bytes: Family<ByCause, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    destination: String,
    reason: String,
}

/// The reasons that dead letters have. Their counters exist from the start, at zero: a time series that begins with
/// its first event shows no increase, and an alert would miss it.
const REASONS: [&str; 5] = ["too_large", "refused", "max_attempts", "max_record_age", "panic"];

#[derive(Clone, Default)]
struct DeadLetterMetrics {
    kept: Family<ByReason, Counter>,
    dropped: Family<ByDestination, Counter>,
    replayed: Family<ByDestination, Counter>,
    bytes: Family<ByDestination, Gauge>,
}

impl DeadLetterMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "dead_letters",
            "Records that a destination will not get, and lines that became none, by reason",
            self.kept.clone(),
        );
        let sub = registry.sub_registry_with_prefix("dead_letters");
        sub.register(
            "dropped",
            "Dead letters given up because they were at their limit",
            self.dropped.clone(),
        );
        sub.register(
            "replayed",
            "Dead letters that were put into the buffer again, and are none any more",
            self.replayed.clone(),
        );
        sub.register_with_unit(
            "size",
            "Bytes that a destination's dead letters take on disk, as far as they were looked at",
            Unit::Bytes,
            self.bytes.clone(),
        );
    }

    fn refresh(&self, destination: &str, stats: &DeadLetterStats) {
        let by = ByDestination { destination: destination.to_owned() };
        self.bytes.get_or_create(&by).set(i64::try_from(stats.bytes).unwrap_or(i64::MAX));
        let dropped = self.dropped.get_or_create(&by);
        rise_to(&dropped, stats.dropped);
        rise_to(&self.replayed.get_or_create(&by), stats.replayed);
        let kept = |reason: &str| {
            let by = ByReason { destination: destination.to_owned(), reason: reason.to_owned() };
            self.kept.get_or_create_owned(&by)
        };
        REASONS.iter().for_each(|reason| drop(kept(reason)));
        for (reason, count) in &stats.kept {
            rise_to(&kept(reason), *count);
        }
    }
}

impl Watched {
    /// `top_files` is how many files have metrics of their own.
    pub(super) fn new(
        totals: Totals,
        glance: Glance,
        running: Running,
        top_files: usize,
        registry: &mut Registry,
    ) -> Self {
        let buffer = BufferMetrics::default();
        let sub = registry.sub_registry_with_prefix("buffer");
        sub.register_with_unit(
            "size",
            "Bytes that a destination's buffer takes on disk",
            Unit::Bytes,
            buffer.bytes.clone(),
        );
        sub.register(
            "records",
            "Records in a destination's buffer that it has not acknowledged",
            buffer.records.clone(),
        );
        sub.register("chunks", "Chunk files in a destination's buffer", buffer.chunks.clone());
        sub.register_with_unit(
            "oldest",
            "Age of the oldest record that waits in a destination's buffer",
            Unit::Seconds,
            buffer.oldest.clone(),
        );
        sub.register(
            "dropped_records",
            "Records given up because the buffer was full, or because somebody purged it",
            buffer.dropped.clone(),
        );
        sub.register_with_unit(
            "dropped",
            "Bytes of the chunks that were given up with them",
            Unit::Bytes,
            buffer.dropped_bytes.clone(),
        );
        let dead = DeadLetterMetrics::default();
        dead.register(registry);
        let gauges = Gauges::default();
        gauges.register(registry);
        let limits = RateLimits::default();
        limits.register(registry);
        let top_files = TopFiles::new(top_files, registry);
        let (destinations, routes) = (Arc::default(), Arc::default());
        Self {
            destinations,
            routes,
            totals,
            glance,
            running,
            rates: Rates::default(),
            buffer,
            dead,
            gauges,
            limits,
            top_files,
        }
    }

    /// There is one more.
    pub(super) fn add(&self, destination: WatchedDestination) {
        lock(&self.destinations).push(destination);
        self.measure();
    }

    /// One goes somewhere else, or comes back.
    pub(super) fn change(&self, config: &DestinationConfig, standing: Standing) {
        let (kind, target) = kind_and_target(&config.to);
        for to in lock(&self.destinations).iter_mut().filter(|to| *to.queue.name() == config.name) {
            (to.kind, to.target, to.removed) = (kind, target.clone(), false);
            to.standing = standing.clone();
        }
    }

    /// One is not in the configuration any more; what is in its buffer may still be.
    pub(super) fn removed(&self, name: &DestinationName) {
        let mut destinations = lock(&self.destinations);
        destinations.iter_mut().filter(|to| to.queue.name() == name).for_each(|to| to.removed = true);
    }

    /// These are not there any more.
    pub(super) fn forget(&self, gone: &[DestinationName]) {
        lock(&self.destinations).retain(|to| !gone.contains(to.queue.name()));
        for name in gone {
            let by = ByDestination { destination: name.to_string() };
            self.buffer.bytes.remove(&by);
            self.buffer.records.remove(&by);
            self.buffer.chunks.remove(&by);
            self.buffer.oldest.remove(&by);
            self.gauges.forget(name);
        }
    }

    /// This configuration counts from now on.
    pub(super) fn follow(&self, config: &Config) {
        let routes = config.routes.iter().map(|route| WatchedRoute {
            name: route.name.clone(),
            to: route.to.clone(),
            totals: self.totals.of_route(&route.name),
        });
        *lock(&self.routes) = routes.collect();
        self.running.follow(config);
        self.limits.follow(config);
    }

    pub(super) fn destinations(&self) -> Vec<WatchedDestination> {
        lock(&self.destinations).clone()
    }

    pub(super) fn routes(&self) -> Vec<WatchedRoute> {
        lock(&self.routes).clone()
    }

    /// Measures the files and the buffers. Waits for the reading thread for a moment; not for async code.
    pub(super) fn refresh(&self) {
        self.top_files.show(&self.glance.look().files);
        self.measure();
    }

    fn measure(&self) {
        self.gauges.refresh(self);
        for WatchedDestination { queue, letters, .. } in self.destinations() {
            self.dead.refresh(queue.name().as_str(), &letters.stats());
            let by = ByDestination { destination: queue.name().to_string() };
            let stats = queue.stats();
            let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            self.buffer.bytes.get_or_create(&by).set(signed(stats.bytes));
            self.buffer.records.get_or_create(&by).set(signed(stats.records));
            self.buffer.chunks.get_or_create(&by).set(signed(stats.chunks));
            self.buffer.oldest.get_or_create(&by).set(age(&stats).as_secs_f64());
            for (reason, records, bytes) in [
                ("full", stats.dropped_records, stats.dropped_bytes),
                ("purge", stats.purged_records, stats.purged_bytes),
            ] {
                let by = ByCause { destination: by.destination.clone(), reason };
                rise_to(&self.buffer.dropped.get_or_create(&by), records);
                rise_to(&self.buffer.dropped_bytes.get_or_create(&by), bytes);
            }
        }
    }

    /// Notes how fast everything goes, for ever.
    pub(super) async fn keep_rates(self) {
        let mut ticks = interval(rates::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (routes, destinations) = (self.routes(), self.destinations());
            let routes = routes.iter().map(|route| (route.key(), route.counts()));
            let destinations = destinations.iter().map(|to| (to.key(), to.counts()));
            let reading = [(READING.to_owned(), self.reading())];
            self.rates.note(Instant::now(), routes.chain(destinations).chain(reading));
        }
    }

    /// Lines and bytes a second, over all routes.
    pub(super) fn reading_rates(&self, now: Instant) -> [f64; 2] {
        self.rates.of(READING, now, self.reading())
    }

    fn reading(&self) -> [u64; 2] {
        [self.totals.lines.get(), self.totals.bytes.get()]
    }

    /// Tells how it goes, for ever.
    pub(super) async fn summarise(self, suppressed: Suppressed) {
        let mut summary = Summary::default();
        let mut ticks = interval(Summary::EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            summary.tell(self.sums());
            suppressed.tell();
        }
    }

    /// How it goes, in a line.
    pub(super) fn status(&self) -> String {
        let Sums { lines, delivered, buffered, oldest, .. } = self.sums();
        let oldest = oldest.as_secs();
        format!(
            "{lines} lines read, {delivered} records delivered, {buffered} wait, the oldest for {oldest} s"
        )
    }

    /// Tells how it ended.
    pub(super) fn say_stopped(&self) {
        let Sums { lines, delivered, buffered, .. } = self.sums();
        info!(
            event = "stopped",
            lines,
            delivered,
            buffered,
            "{lines} lines read, {delivered} records delivered, {buffered} left in the buffer for the next start"
        );
    }

    /// The same after a look at all files. Waits for the reading thread for a moment; not for async code.
    pub(super) fn measured(&self) -> Sums {
        self.glance.look();
        self.sums()
    }

    fn sums(&self) -> Sums {
        let destinations = self.destinations();
        let stats: Vec<QueueStats> = destinations.iter().map(|to| to.queue.stats()).collect();
        Sums {
            lines: self.totals.lines.get(),
            bytes: self.totals.bytes.get(),
            delivered: destinations.iter().map(|to| to.metrics.delivered_records()).sum(),
            delivered_bytes: destinations.iter().map(|to| to.metrics.delivered_bytes()).sum(),
            buffered: stats.iter().map(|stats| stats.records).sum(),
            behind: self.totals.behind.get().max(0) as u64,
            oldest: stats.iter().map(age).max().unwrap_or_default(),
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shows what was counted elsewhere. Several may look at once, and none of them counts it twice.
fn rise_to(counter: &Counter, total: u64) {
    counter.inner().fetch_max(total, Ordering::Relaxed);
}

/// What the rates of reading are kept under.
const READING: &str = "reading";

/// Of the oldest record that waits.
pub(super) fn age(stats: &QueueStats) -> Duration {
    stats.oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_dead_letters_has_a_counter_before_there_is_a_letter() {
        let mut registry = Registry::with_prefix("kinetail");
        let metrics = DeadLetterMetrics::default();
        metrics.register(&mut registry);
        let mut stats = DeadLetterStats::default();
        metrics.refresh("archive", &stats);
        stats.kept.insert("refused".into(), 3);
        metrics.refresh("archive", &stats);
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
