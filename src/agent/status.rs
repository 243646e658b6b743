//! The [`Status`] of the agent, put together when somebody asks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::glance::Table;
use super::reload::{ConfigState, Current};
use super::standing::timestamp;
use super::totals::{Lag, Lags};
use super::watched::{Watched, WatchedDestination, WatchedRoute, age};
use crate::config::Config;
use crate::deliver::Destination as To;
use crate::telemetry::Liveness;
use crate::telemetry::status::{Backlog, Buffer, Configuration, Destination, Disk, Reading, Route, Status};

/// What the agent runs by. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Running {
    start: (Instant, SystemTime),
    state: ConfigState,
    settings: Arc<Mutex<Settings>>,
}

/// Of the configuration that counts.
#[derive(Debug, Default)]
struct Settings {
    buffer_max: u64,
    disk: Disk,
}

impl Running {
    /// From now on; this tells which configuration counts.
    pub(super) fn new(state: ConfigState) -> Self {
        Self { start: (Instant::now(), SystemTime::now()), state, settings: Arc::default() }
    }

    /// What all buffers may take together, and the least that the disk must have free.
    pub(super) fn limits(&self) -> (u64, u64) {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        (settings.buffer_max, settings.disk.min_free_bytes)
    }

    /// This configuration is the one that counts from now on.
    pub(super) fn follow(&self, config: &Config) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Settings {
            buffer_max: config.buffer.max_size.0,
            disk: Disk {
                path: config.data_dir.display().to_string(),
                free_bytes: None,
                min_free_bytes: config.buffer.min_disk_free.0,
            },
        };
    }

    fn configuration(&self) -> Configuration {
        let Current { loaded, problem, after_restart } = self.state.current();
        let after_restart = after_restart.into_iter().map(str::to_owned).collect();
        Configuration { loaded: timestamp(loaded), problem, after_restart }
    }
}

/// The kind of a destination as configurations name it, and where it is.
pub(super) fn kind_and_target(to: &To) -> (&'static str, String) {
    match to {
        To::Firehose(to) => ("firehose", to.stream.clone()),
        To::Kinesis(to) => ("kinesis", to.stream.clone()),
        To::Directory(to) => ("directory", to.path.display().to_string()),
    }
}

impl Watched {
    /// Everything that can be said now, `most` files of it at most. Where files are wanted it waits for the reading
    /// thread for a moment; not for async code.
    pub(super) fn snapshot(&self, liveness: &Liveness, most: usize) -> Status {
        let table = if most == 0 { Table::default() } else { self.glance.look() };
        let now = Instant::now();
        let wall = SystemTime::now();
        let lags = self.totals.lags();
        let destinations = self.destinations();
        let settings = self.running.settings.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, started) = self.running.start;
        let [lines_per_second, bytes_per_second] = self.reading_rates(now);
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: timestamp(started),
            uptime_seconds: now.saturating_duration_since(start).as_secs(),
            ready: false,
            problems: Vec::new(),
            configuration: self.running.configuration(),
            reading: Reading {
                following: self.glance.is_following(),
                open_files: unsigned(self.totals.open_files.get()),
                lines: self.totals.lines.get(),
                bytes: self.totals.bytes.get(),
                lines_per_second,
                bytes_per_second,
                behind_bytes: unsigned(self.totals.behind.get()),
            },
            routes: self.routes().iter().map(|route| self.route(route, &lags, now)).collect(),
            files: table.files.iter().take(most).cloned().collect(),
            files_age_seconds: table.made.map(|made| seconds(now, made)),
            destinations: destinations.iter().map(|to| self.destination(to, &lags, now, wall)).collect(),
            buffer: Buffer {
                bytes: destinations.iter().map(|to| to.queue.stats().bytes).sum(),
                max_bytes: settings.buffer_max,
            },
            disk: Disk { free_bytes: self.glance.free(), ..settings.disk.clone() },
        };
        drop(settings);
        status.judge(&liveness.stuck(now));
        status
    }

    fn route(&self, route: &WatchedRoute, lags: &Lags, now: Instant) -> Route {
        let counts = route.counts();
        let [lines_per_second, bytes_per_second] = self.rates.of(&route.key(), now, counts);
        let of_route = lags.by.iter().filter(|((name, _), _)| *name == route.name).map(|(_, lag)| lag);
        let behind = of_route.clone().map(|lag| lag.bytes).max();
        let ages = of_route.map(|lag| lag.seconds(now));
        Route {
            name: route.name.to_string(),
            to: route.to.iter().map(ToString::to_string).collect(),
            files: lags.routes.get(&route.name).copied().unwrap_or_default(),
            lines: counts[0],
            bytes: counts[1],
            lines_per_second,
            bytes_per_second,
            behind_bytes: behind.unwrap_or_default(),
            behind_seconds: ages.fold(0.0, f64::max),
        }
    }

    fn destination(
        &self,
        to: &WatchedDestination,
        lags: &Lags,
        now: Instant,
        wall: SystemTime,
    ) -> Destination {
        let stats = to.queue.stats();
        let oldest = age(&stats).as_secs_f64();
        let unread = unread(to, lags);
        let letters = to.letters.stats();
        let figures = to.metrics.figures();
        let counts = [figures.delivered_records, figures.delivered_bytes];
        let [records_per_second, bytes_per_second] = self.rates.of(&to.key(), now, counts);
        let standing = to.standing.view(tokio::time::Instant::from_std(now), wall);
        Destination {
            name: to.queue.name().to_string(),
            kind: to.kind.to_owned(),
            target: to.target.clone(),
            removed: to.removed,
            state: standing.state,
            state_seconds: standing.since,
            reason: standing.reason,
            findings: standing.findings,
            backlog: Backlog {
                records: stats.records,
                bytes: stats.bytes,
                max_bytes: to.queue.max_size(),
                chunks: stats.chunks,
                oldest_seconds: oldest,
            },
            lag_seconds: oldest.max(unread.seconds(now)),
            unread_bytes: unread.bytes,
            delivered_records: figures.delivered_records,
            delivered_bytes: figures.delivered_bytes,
            records_per_second,
            bytes_per_second,
            requests_in_flight: figures.in_flight,
            requests_allowed: figures.allowed,
            learned_bytes_per_second: Some(figures.learned_rate).filter(|rate| *rate > 0),
            retried_records: figures.retried_records,
            throttled_entries: figures.throttled_entries,
            dead_letters: letters.kept.values().sum(),
            dead_letter_bytes: letters.bytes,
            dropped_records: stats.dropped_records,
            purged_records: stats.purged_records,
            last_failure: standing.last_failure,
        }
    }
}

/// What of all files was not read for a destination.
pub(super) fn unread(to: &WatchedDestination, lags: &Lags) -> Lag {
    let mut sum = Lag::default();
    for (_, lag) in lags.by.iter().filter(|((_, name), _)| name == to.queue.name()) {
        sum.add(lag.bytes, lag.since);
    }
    sum
}

fn seconds(now: Instant, then: Instant) -> f64 {
    now.saturating_duration_since(then).as_secs_f64()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
