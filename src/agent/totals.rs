//! What reading has done so far, for the summary and the metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::metric::register;
use crate::process::StepCounts;
use crate::source::{DestinationName, RouteName};

/// Counts since the start; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Lines read, over all routes.
    pub lines: Counter,
    /// Bytes read, over all routes.
    pub bytes: Counter,
    route_lines: Family<ByRoute, Counter>,
    route_bytes: Family<ByRoute, Counter>,
    /// Records encoded.
    pub records: Counter,
    /// Lines that were longer than `max_line`.
    pub cut: Counter,
    /// Lines that were their file's header.
    pub header_lines: Counter,
    /// Lines that were not in their route's format.
    pub malformed: Counter,
    /// Lines of kinetail's own log that were left out.
    pub own_log_lines: Counter,
    /// Split lines that ended without their last part.
    pub unfinished: Counter,
    /// Records of several lines that came out because of a limit of their route's `multiline`.
    pub limited: Counter,
    /// Times that a file had to wait because of its route's `rate_limit`.
    pub rate_pauses: Counter,
    /// Messages given up because of their route's `rate_limit`.
    pub rate_dropped: Counter,
    /// The bytes of their text.
    pub rate_dropped_bytes: Counter,
    /// Files whose open groups were given up for lack of memory, to be read again.
    pub groups_set_aside: Counter,
    /// Messages that were not valid UTF-8.
    pub invalid_utf8: Counter,
    /// Parsed fields that carried a name of the record's own.
    pub renamed_fields: Counter,
    /// Messages that a step could not be done on.
    step_failures: Family<ByStep, Counter>,
    /// Messages that a step dropped.
    dropped: Family<ByStep, Counter>,
    /// Messages in which a step took something out.
    redacted: Family<ByStep, Counter>,
    /// How long it took to sync the buffers, and to write a checkpoint.
    pub sync_duration: SyncDuration,
    /// Frames appended.
    pub frames: Counter,
    /// Rotations seen.
    pub rotations: Counter,
    /// Truncations seen.
    pub truncations: Counter,
    /// Files that were gone before they were read to their end.
    pub vanished: Counter,
    /// Deleted files that were left before they were read to their end.
    pub abandoned: Counter,
    /// The bytes in them that some destination had not read.
    pub abandoned_bytes: Counter,
    /// Entries of the journal that were removed before they were read, at most.
    pub entries_gone: Counter,
    /// Parts of files read once more because a chunk was damaged.
    pub repairs: Counter,
    /// Damaged parts that could not be read again, because their file is gone.
    pub unrepaired: Counter,
    /// Checkpoints written.
    pub checkpoints: Counter,
    /// Syncs or checkpoints that failed.
    pub sync_failures: Counter,
    /// Files that are open now.
    pub open_files: Gauge,
    /// Bytes in them that some destination has not read yet.
    pub behind: Gauge,
    lags: Arc<Mutex<Lags>>,
}

/// Upper bounds of the buckets for syncs, in seconds: a good disk takes a millisecond, a bad one many.
const SYNC_BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// How long things took to become durable.
#[derive(Clone, Debug)]
pub(super) struct SyncDuration(pub(super) Histogram);

impl Default for SyncDuration {
    fn default() -> Self {
        Self(Histogram::new(SYNC_BUCKETS))
    }
}

/// What was read of one route's files; clones share it.
#[derive(Clone, Debug)]
pub(super) struct RouteTotals {
    pub(super) lines: Counter,
    pub(super) bytes: Counter,
}

/// How far the files were behind when they were last measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Lags {
    /// How many files of each route are followed.
    pub(super) routes: BTreeMap<RouteName, u64>,
    pub(super) by: BTreeMap<(RouteName, DestinationName), Lag>,
}

/// What of some files was not read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lag {
    pub(super) bytes: u64,
    /// When the oldest of it came.
    pub(super) since: Option<Instant>,
}

impl Lag {
    pub(super) fn add(&mut self, bytes: u64, since: Option<Instant>) {
        self.bytes += bytes;
        self.since = self.since.into_iter().chain(since).min();
    }

    /// Its age in seconds.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: String,
}

/// A step of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStep {
    route: String,
    /// Its place in the route's list, from 0, as messages about the configuration count.
    step: usize,
    /// What it is called there.
    name: &'static str,
}

impl Totals {
    /// Those of one route; they exist from then on, at zero.
    pub(super) fn of_route(&self, name: &RouteName) -> RouteTotals {
        let by = ByRoute { route: name.to_string() };
        RouteTotals {
            lines: self.route_lines.get_or_create_owned(&by),
            bytes: self.route_bytes.get_or_create_owned(&by),
        }
    }

    /// Counts what was read.
    pub(super) fn read(&self, route: &RouteTotals, lines: u64, bytes: u64) {
        for (sum, part, by) in [(&self.lines, &route.lines, lines), (&self.bytes, &route.bytes, bytes)] {
            sum.inc_by(by);
            part.inc_by(by);
        }
    }

    /// How far files are behind, as it was measured.
    pub(super) fn tell_lags(&self, lags: Lags) {
        *self.lags.lock().unwrap_or_else(PoisonError::into_inner) = lags;
    }

    /// The same, for whoever looks.
    pub(super) fn lags(&self) -> Lags {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what a step of a route did.
    pub(super) fn count_step(&self, route: &str, counts: &StepCounts) {
        let by = ByStep { route: route.to_owned(), step: counts.step, name: counts.name };
        if counts.failed > 0 {
            self.step_failures.get_or_create(&by).inc_by(counts.failed);
        }
        if counts.dropped > 0 {
            self.dropped.get_or_create(&by).inc_by(counts.dropped);
        }
        if counts.redacted > 0 {
            self.redacted.get_or_create(&by).inc_by(counts.redacted);
        }
    }

    /// What is counted of messages that were dropped, as the admin port tells it.
    #[cfg(test)]
    pub(super) fn told_of_dropped(&self) -> Vec<String> {
        let mut registry = Registry::default();
        self.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("memory takes it");
        let counted = text.lines().filter_map(|line| line.strip_prefix("messages_dropped_total"));
        counted.map(str::to_owned).collect()
    }

    /// Puts them under their names.
    pub(super) fn register(&self, registry: &mut Registry) {
        register!(registry, {
            "records": self.records, "Records put into buffers, each counted once however many destinations";
            "lines_cut": self.cut, "Lines longer than tail.max_line, of which the end is missing";
            "lines_skipped": self.header_lines,
                "Lines passed over as their file's header (skip_header_lines)";
            "lines_malformed": self.malformed,
                "Lines that are not in their route's format; their text is kept as it is";
            "own_log_lines": self.own_log_lines,
                "Lines of kinetail's own log in followed files, which are left out";
            "lines_unfinished": self.unfinished, "Split lines whose last part never came";
            "multiline_limited": self.limited,
                "Records that ended at max_size or max_lines of their route's multiline, with more to come";
            "rate_limit_pauses": self.rate_pauses,
                "Times that a file waited because of its route's rate_limit";
            "rate_limit_dropped_messages": self.rate_dropped,
                "Messages given up because of their route's rate_limit (when_exceeded: drop)";
            "groups_set_aside": self.groups_set_aside,
                "Files whose unfinished lines were given up above tail.group_memory, to be read again";
            "messages_invalid_utf8": self.invalid_utf8, "Messages in which bytes were replaced by U+FFFD";
            "fields_renamed": self.renamed_fields, "Parsed fields that carried a name of the record's own";
            "frames": self.frames, "Frames appended to buffers";
            "rotations": self.rotations, "Files that were renamed or deleted";
            "truncations": self.truncations, "Files whose content was truncated or replaced";
            "files_vanished": self.vanished,
                "Files whose content was gone before kinetail had read it to its end";
            "files_abandoned": self.abandoned,
                "Deleted files left unread because of tail.max_held_deleted or tail.max_open_files";
            "journal_entries_gone": self.entries_gone,
                "Entries of the journal that were removed before kinetail had read them: at most so many, of all units";
            "repairs": self.repairs, "Parts of files read once more because a chunk was damaged";
            "repairs_impossible": self.unrepaired, "Damaged parts whose file is gone: their lines are lost";
            "checkpoints": self.checkpoints, "Checkpoints written";
            "sync_failures": self.sync_failures, "Syncs or checkpoints that failed";
            "abandoned_bytes": self.abandoned_bytes, "Bytes of deleted files left unread";
            "rate_limit_dropped_bytes": self.rate_dropped_bytes,
                "Bytes of messages given up because of their route's rate_limit";
            "lines": self.route_lines, "Lines read";
            "read_bytes": self.route_bytes, "Bytes read";
            "step_failures": self.step_failures, "Messages on which a process step could not be done";
            "messages_dropped": self.dropped,
                "Messages that a process step dropped, or that no destination of their route wanted";
            "messages_redacted": self.redacted, "Messages in which a redact step took something out";
            "sync_duration_seconds": self.sync_duration.0,
                "How long syncing the buffers and writing the checkpoint took, together";
            "open_files": self.open_files, "Files that are open";
            "behind_bytes": self.behind, "Bytes in open files that some destination has not read yet";
        });
    }
}
