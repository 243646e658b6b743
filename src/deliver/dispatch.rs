//! What to send when, and what an answer means for the records in it: a state machine without a clock or a
//! socket of its own.
//!
//! Invariants:
//!
//! - every record that was offered is held until it is acknowledged or refused, and comes out exactly once;
//! - an entry that the service took is never sent again, and one that it did not take always is, unless the
//!   service will never take it or it is past the user's own limits;
//! - no request passes the limits of its [`Shape`](super::Shape);
//! - what is held is bounded as long as nothing is offered without [`room`](Dispatcher::room).
//!
//! Where the trouble is decides who waits. If the service took nothing, or throttled most, the whole destination
//! pauses and fewer requests may be under way; a pause grows with the rounds that failed, not with the requests
//! that failed in one round. Throttled in part, it goes on at a lower rate. If the service took some entries and failed others, only those wait. A request that was
//! refused for its content is halved, again and again, until the record that is the cause stands alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::batch::{Batcher, Linger};
use super::concurrency::Concurrency;
use super::entry::{Entry, Part, Request};
use super::health::Health;
use super::rate::Rate;
use super::refusal::{Reason, Refused};
use super::retry::Backoff;
use super::settings::{RateLimit, RetryLimits};
use super::shape::Shape;
use super::shards::Shards;
use crate::record::Run;

/// Turns runs into requests, and answers into acknowledgements.
#[derive(Debug)]
pub struct Dispatcher {
    batcher: Batcher,
    backoff: Backoff,
    limits: RetryLimits,
    rng: fastrand::Rng,
    linger: Linger,
    concurrency: Concurrency,
    rate: Rate,
    shards: Shards,
    in_flight: HashMap<u64, InFlight>,
    next_id: u64,
    /// Entries that the service failed while it took others, by the time of their next attempt.
    delayed: BTreeMap<(Instant, u64), Part>,
    next_delayed: u64,
    /// Halves of requests that were refused for their content. They are sent as they are: mixed with other
    /// records again, the search would start anew.
    suspects: VecDeque<Vec<Entry>>,
    /// Nothing is sent before this.
    paused_until: Option<Instant>,
    /// Rounds that failed in a row. A round is what was sent between two pauses.
    failed_rounds: u32,
    round: u64,
    held_bytes: usize,
    held_records: usize,
    health: Health,
}

#[derive(Debug)]
struct InFlight {
    entries: Arc<[Entry]>,
    suspect: bool,
    round: u64,
    sent: Instant,
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send this and report its [`Answer`](super::Answer) under the request's id.
    Send(Request),
    /// Nothing before this time, unless records are offered or an answer comes.
    Wait(Instant),
    /// Nothing until records are offered or an answer comes.
    Idle,
}

impl Dispatcher {
    /// For a destination of this shape. At most `max_in_flight` requests are under way at once.
    pub fn new(shape: Shape, max_in_flight: usize, backoff: Backoff, mut rng: fastrand::Rng) -> Self {
        Self {
            shards: Shards::of(&shape),
            batcher: Batcher::new(shape, rng.fork()),
            backoff,
            limits: RetryLimits::default(),
            rng,
            linger: Linger::On,
            concurrency: Concurrency::new(max_in_flight),
            rate: Rate::default(),
            in_flight: HashMap::new(),
            next_id: 0,
            delayed: BTreeMap::new(),
            next_delayed: 0,
            suspects: VecDeque::new(),
            paused_until: None,
            failed_rounds: 0,
            round: 0,
            held_bytes: 0,
            held_records: 0,
            health: Health::Fine,
        }
    }

    /// Gives records up at these limits; without, never.
    pub fn limited(mut self, limits: RetryLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sends no faster than this.
    pub fn rate_limited(mut self, limit: RateLimit) -> Self {
        self.rate = Rate::limited(limit);
        self
    }

    /// Whether more records are wanted: while less is held than what one request more than may be under way
    /// would take. A single run may go beyond.
    pub fn room(&self) -> bool {
        let shape = self.batcher.shape();
        let requests = self.in_flight.len()
            + self.batcher.ready()
            + self.suspects.len()
            + self.delayed.len() / shape.max_entries();
        requests <= self.concurrency.most()
            && self.held_bytes < shape.request_size().saturating_mul(self.concurrency.most() + 1)
    }

    /// Takes records in that have been in the buffer for `age`. What is too large for the service, or too old,
    /// comes back.
    pub fn offer(&mut self, run: Run, age: Duration, now: Instant) -> Vec<Refused> {
        if run.is_empty() {
            return Vec::new();
        }
        let mut part = Part::new(run, now);
        if let Some(limit) = self.limits.max_record_age {
            if age >= limit {
                return vec![Refused { run: part.run, reason: Reason::Age { limit } }];
            }
            part.expires = now.checked_add(limit - age);
        }
        self.held_bytes += part.run.data().len();
        self.held_records += part.run.len();
        let refused = self.batcher.offer(part);
        for Refused { run, .. } in &refused {
            self.let_go(run);
        }
        refused
    }

    /// How many records lacked what their partition key is made of, since this was last asked.
    pub fn take_key_fallbacks(&mut self) -> u64 {
        self.batcher.take_key_fallbacks()
    }

    /// From now on no request waits to be filled: for a stop, or a run that ends with its input.
    pub fn drain(&mut self) {
        self.linger = Linger::Off;
    }

    /// How many records were offered and are not settled.
    pub fn held_records(&self) -> usize {
        self.held_records
    }

    /// Bytes of the records that were offered and are not settled.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// How many requests are under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How full a request is, from 0 to 1: by its bytes or by its entries, whichever is more.
    pub fn fill(&self, request: &Request) -> f64 {
        let shape = self.batcher.shape();
        let bytes = request.size as f64 / self.batcher.request_size() as f64;
        bytes.max(request.entries.len() as f64 / shape.max_entries() as f64)
    }

    /// How many requests may be under way now.
    pub fn allowed_in_flight(&self) -> usize {
        self.concurrency.allowed()
    }

    /// What the stream is found to take, in bytes a second; none as long as it does not throttle.
    pub fn learned_rate(&self) -> Option<f64> {
        self.rate.learned()
    }

    /// The limits of its requests.
    #[cfg(test)]
    pub(super) fn shape(&self) -> &Shape {
        self.batcher.shape()
    }

    /// How the destination does.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Everything that was offered and is not settled, in the order of the buffer: for another dispatcher in this one's
    /// place. What is under way comes back too, so that nothing is left out; wait for its answers before, or it is sent
    /// twice.
    pub fn into_runs(self) -> Vec<Run> {
        let under_way = self.in_flight.into_values().flat_map(|request| request.entries.to_vec());
        let entries = self.suspects.into_iter().flatten().chain(under_way);
        let parts = entries.flat_map(|entry| entry.parts).chain(self.delayed.into_values());
        let mut runs: Vec<Run> = parts.chain(self.batcher.into_parts()).map(|part| part.run).collect();
        runs.sort_by_key(|run| (run.chunk(), run.ordinals().start));
        runs
    }

    /// Gives up everything that was offered and is not settled. Nothing is under way. What is known of the service stays.
    pub fn forget(&mut self) {
        debug_assert!(self.in_flight.is_empty(), "an answer would come for what nobody holds");
        self.batcher.forget();
        self.delayed.clear();
        self.suspects.clear();
        (self.held_bytes, self.held_records) = (0, 0);
    }

    /// What to do next. To be asked again after each answer, each offer, and at the time it said.
    pub fn next(&mut self, now: Instant) -> Next {
        self.release_delayed(now);
        if self.in_flight.len() >= self.concurrency.allowed() {
            return Next::Idle;
        }
        if let Some(until) = self.paused_until {
            if now < until {
                return if self.held_records == 0 { Next::Idle } else { Next::Wait(until) };
            }
            self.paused_until = None;
        }
        if self.held_records > 0
            && let Some(until) = self.rate.wait(now)
        {
            return Next::Wait(until);
        }
        self.batcher.limit_requests(self.rate.request_size());
        if let Some(entries) = self.suspects.pop_front() {
            let size = entries.iter().map(Entry::size).sum();
            return self.send(entries, size, true, now);
        }
        if let Some(draft) = self.batcher.take(now, self.linger) {
            return self.send(draft.entries, draft.size, false, now);
        }
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        match self.batcher.due().into_iter().chain(delayed).min() {
            Some(at) => Next::Wait(at),
            None => Next::Idle,
        }
    }

    fn release_delayed(&mut self, now: Instant) {
        while let Some(first) = self.delayed.first_entry() {
            if first.key().0 > now {
                break;
            }
            let mut part = first.remove();
            // It lingers anew: a request for a handful of records would cost more than it gains.
            part.since = now;
            self.offer_again(part);
        }
    }

    fn offer_again(&mut self, part: Part) {
        let refused = self.batcher.offer(part);
        debug_assert!(refused.is_empty(), "what was in a request fits into one");
    }

    fn send(&mut self, entries: Vec<Entry>, size: usize, suspect: bool, now: Instant) -> Next {
        self.rate.sent(size, entries.len(), now);
        let id = self.next_id;
        self.next_id += 1;
        let entries: Arc<[Entry]> = entries.into();
        self.in_flight
            .insert(id, InFlight { entries: entries.clone(), suspect, round: self.round, sent: now });
        Next::Send(Request { id, entries, size })
    }

    fn let_go(&mut self, run: &Run) {
        self.held_bytes -= run.data().len();
        self.held_records -= run.len();
    }
}

#[cfg(test)]
mod backlog;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod ordering;
mod outcome;
mod pace;
#[cfg(test)]
mod tests;
