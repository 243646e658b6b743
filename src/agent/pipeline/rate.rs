//! Whose turn it is, and how much of it: limits of reading, and each file's share of a buffer that is nearly full.

use std::time::Instant;

use tracing::warn;

use super::Pipeline;
use super::block::BLOCK;
use super::lane::Lane;
use crate::source::Incarnation;
use crate::tail::{Bucket, RatePer, WhenExceeded};

/// So many bytes are read at least, however small a share is: a frame has its price.
pub(super) const LEAST: usize = 16 << 10;
/// So many times as long as its lines a frame is taken to be: what a record carries beside the text is often longer
/// than the text.
const GROWTH: usize = 3;

/// What a route's rate limit let go.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GivenUp {
    pub(super) messages: u64,
    /// Of their texts.
    pub(super) bytes: u64,
}

impl Pipeline {
    /// Files that have waited for their share of time get a turn.
    pub(in crate::agent) fn rate_due(&mut self, now: Instant) {
        let due = self.limited.iter().filter(|(_, until)| **until <= now);
        for incarnation in due.map(|(incarnation, _)| *incarnation).collect::<Vec<_>>() {
            self.enqueue(incarnation);
        }
    }

    /// When the first of them will have.
    pub(in crate::agent) fn next_rate_due(&self) -> Option<Instant> {
        self.limited.values().min().copied()
    }

    /// What a file may read for a cursor now, where its route limits that. What another destination has read before is
    /// not limited.
    pub(super) fn bucket(
        &self,
        incarnation: Incarnation,
        lane: &Lane,
        index: usize,
        now: Instant,
    ) -> Option<Bucket> {
        let limit = self.plans[lane.route].rate?;
        let cursor = &lane.cursors[index];
        let furthest = self.tailer.entry(incarnation)?.proof.end;
        if self.hurried || cursor.is_repair() || cursor.position.offset < furthest {
            return None;
        }
        let bucket = match limit.per {
            RatePer::File => lane.bucket,
            RatePer::Route => self.buckets[lane.route],
        };
        Some(bucket.unwrap_or_else(|| Bucket::new(limit, now)))
    }

    /// Whether a file has read all that it may; it then waits.
    pub(super) fn must_wait(&mut self, incarnation: Incarnation, bucket: &mut Bucket, now: Instant) -> bool {
        if bucket.when_exceeded() == WhenExceeded::Drop {
            return false;
        }
        let until = bucket.empty_until(now);
        if let Some(until) = until {
            self.limited.insert(incarnation, until);
            self.totals.rate_pauses.inc();
            if let Some(entry) = self.tailer.entry(incarnation) {
                warn!(event = "rate_limited", path = %entry.path.display(), route = %entry.route,
                    "the file grows faster than its route's rate_limit; its lines wait");
            }
        }
        until.is_some()
    }

    /// Counts and tells what a limit let go.
    pub(super) fn count_given_up(&self, incarnation: Incarnation, given_up: GivenUp) {
        let GivenUp { messages, bytes } = given_up;
        if messages == 0 {
            return;
        }
        self.totals.rate_dropped.inc_by(messages);
        self.totals.rate_dropped_bytes.inc_by(bytes);
        if let Some(entry) = self.tailer.entry(incarnation) {
            warn!(event = "rate_limit_dropped", path = %entry.path.display(), route = %entry.route, messages, bytes,
                "messages were given up: the file grows faster than its route's rate_limit (when_exceeded: drop)");
        }
    }

    /// Notes what was read.
    pub(super) fn keep_bucket(&mut self, lane: &mut Lane, bucket: Bucket) {
        match self.plans[lane.route].rate.map(|limit| limit.per) {
            Some(RatePer::Route) => self.buckets[lane.route] = Some(bucket),
            _ => lane.bucket = Some(bucket),
        }
    }

    /// How much is read for a cursor in one turn: a block, or less where a buffer has little room left, of which each
    /// file that is ready gets the same.
    pub(super) fn share(&self, lane: &Lane, index: usize) -> usize {
        let scarce = lane.cursors[index].to.iter().filter_map(|out| self.outs[*out].scarce_room());
        let Some(room) = scarce.min() else { return BLOCK };
        let files = self.ready.len() + 1;
        (room as usize / files / GROWTH).clamp(LEAST, BLOCK)
    }
}
