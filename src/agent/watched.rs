//! What the agent tells of itself while it runs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::registry::Registry;
use tokio::sync::mpsc::WeakUnboundedSender;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::delivery::Order;
use super::gauges::Gauges;
use super::glance::Glance;
use super::limits::RateLimits;
use super::losses::Losses;
use super::rates::{self, Rates};
use super::standing::Standing;
use super::status::{Running, kind_and_target};
use super::top_files::TopFiles;
use super::totals::{RouteTotals, Totals};
use crate::buffer::{DeadLetters, Queue, QueueStats};
use crate::config::{Config, DestinationConfig};
use crate::deliver::DestinationMetrics;
use crate::source::{DestinationName, RouteName};
use crate::telemetry::{Summary, Sums, Suppressed};

/// Everything that can be looked at from outside. Clones look at the same.
#[derive(Clone)]
pub(super) struct Watched {
    destinations: Arc<Mutex<Vec<WatchedDestination>>>,
    routes: Arc<Mutex<Vec<WatchedRoute>>>,
    pub(super) totals: Totals,
    pub(super) glance: Glance,
    pub(super) running: Running,
    pub(super) rates: Rates,
    losses: Losses,
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

impl Watched {
    /// `top_files` is how many files have metrics of their own.
    pub(super) fn new(
        totals: Totals,
        glance: Glance,
        running: Running,
        top_files: usize,
        registry: &mut Registry,
    ) -> Self {
        let losses = Losses::default();
        losses.register(registry);
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
            losses,
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
            self.losses.show(queue.name(), &queue.stats(), &letters.stats());
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

/// What the rates of reading are kept under.
const READING: &str = "reading";

/// Of the oldest record that waits.
pub(super) fn age(stats: &QueueStats) -> Duration {
    stats.oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok()).unwrap_or_default()
}
