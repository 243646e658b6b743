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
//! Where the trouble is decides who waits. If the service took nothing, or throttled, the whole destination
//! pauses and fewer requests may be under way; a pause grows with the rounds that failed, not with the requests
//! that failed in one round. If it took some entries and failed others, only those wait. A request that was
//! refused for its content is halved, again and again, until the record that is the cause stands alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, Class, Failure, Outcome};
use super::batch::{Batcher, Linger};
use super::entry::{Entry, Part, Request};
use super::health::Health;
use super::refusal::{Reason, Refused};
use super::retry::Backoff;
use super::settings::RetryLimits;
use super::settled::Settled;
use super::shape::Shape;
use crate::record::Run;

/// Turns runs into requests, and answers into acknowledgements.
#[derive(Debug)]
pub struct Dispatcher {
    batcher: Batcher,
    backoff: Backoff,
    limits: RetryLimits,
    rng: fastrand::Rng,
    linger: Linger,
    max_in_flight: usize,
    /// How many requests may be under way now: halved by failures, one more with each success.
    allowed: usize,
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
}

/// What to do next.
#[derive(Debug)]
pub enum Next {
    /// Send this and report its [`Answer`] under the request's id.
    Send(Request),
    /// Nothing before this time, unless records are offered or an answer comes.
    Wait(Instant),
    /// Nothing until records are offered or an answer comes.
    Idle,
}

impl Dispatcher {
    /// For a destination of this shape. At most `max_in_flight` requests are under way at once.
    pub fn new(shape: Shape, max_in_flight: usize, backoff: Backoff, mut rng: fastrand::Rng) -> Self {
        let max_in_flight = max_in_flight.max(1);
        Self {
            batcher: Batcher::new(shape, rng.fork()),
            backoff,
            limits: RetryLimits::default(),
            rng,
            linger: Linger::On,
            max_in_flight,
            allowed: max_in_flight,
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

    /// Whether more records are wanted: while less is held than what one request more than may be under way
    /// would take. A single run may go beyond.
    pub fn room(&self) -> bool {
        let shape = self.batcher.shape();
        let requests = self.in_flight.len()
            + self.batcher.ready()
            + self.suspects.len()
            + self.delayed.len() / shape.max_entries();
        requests <= self.max_in_flight
            && self.held_bytes < shape.request_size().saturating_mul(self.max_in_flight + 1)
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

    /// How the destination does.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// What to do next. To be asked again after each answer, each offer, and at the time it said.
    pub fn next(&mut self, now: Instant) -> Next {
        self.release_delayed(now);
        if self.in_flight.len() >= self.allowed {
            return Next::Idle;
        }
        if let Some(until) = self.paused_until {
            if now < until {
                return if self.held_records == 0 { Next::Idle } else { Next::Wait(until) };
            }
            self.paused_until = None;
        }
        if let Some(entries) = self.suspects.pop_front() {
            let size = entries.iter().map(Entry::size).sum();
            return self.send(entries, size, true);
        }
        if let Some(draft) = self.batcher.take(now, self.linger) {
            return self.send(draft.entries, draft.size, false);
        }
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        match self.batcher.due().into_iter().chain(delayed).min() {
            Some(at) => Next::Wait(at),
            None => Next::Idle,
        }
    }

    /// What became of a request. An id that is not under way settles nothing.
    pub fn answered(&mut self, id: u64, answer: Answer, now: Instant) -> Settled {
        let mut settled = Settled::default();
        let Some(request) = self.in_flight.remove(&id) else {
            return settled;
        };
        match answer.outcome {
            Outcome::Failed(failure) => self.failed(request, failure, now, &mut settled),
            Outcome::Judged(failures) => self.judged(request, failures, now, &mut settled),
        }
        let refused = settled.refused.iter().map(|refused| &refused.run);
        for run in settled.acked.iter().chain(refused) {
            self.let_go(run);
        }
        settled
    }

    /// The request failed as a whole.
    fn failed(&mut self, request: InFlight, failure: Failure, now: Instant, settled: &mut Settled) {
        settled.note(&failure, request.entries.len());
        match failure.class {
            Class::Poison => {
                // The service answers; it is this request that it does not like.
                self.succeeded();
                self.halve(request.entries.to_vec(), &failure, settled);
            }
            Class::Throttled | Class::Retry | Class::Hold => {
                self.pause(&failure, request.round, now);
                let again: Vec<Entry> = request
                    .entries
                    .iter()
                    .filter_map(|entry| self.spend(entry.clone(), &failure, now, settled))
                    .collect();
                self.requeue(again, request.suspect);
            }
        }
    }

    /// The service looked at every entry.
    fn judged(
        &mut self,
        request: InFlight,
        failures: Vec<(usize, Failure)>,
        now: Instant,
        settled: &mut Settled,
    ) {
        let sent = request.entries.len();
        let mut failures: BTreeMap<usize, Failure> = failures.into_iter().collect();
        let mut worst: Option<Failure> = None;
        let mut again = Vec::new();
        let mut taken = 0;
        for (index, entry) in request.entries.iter().enumerate() {
            let Some(failure) = failures.remove(&index) else {
                taken += 1;
                settled.take(entry, self.batcher.shape());
                continue;
            };
            settled.note(&failure, 1);
            if failure.class == Class::Poison {
                self.halve(vec![entry.clone()], &failure, settled);
                continue;
            }
            again.extend(self.spend(entry.clone(), &failure, now, settled));
            if worst.as_ref().is_none_or(|known| rank(failure.class) > rank(known.class)) {
                worst = Some(failure);
            }
        }
        match worst {
            None => self.succeeded(),
            // Some were taken: the destination goes on, and only what failed waits.
            Some(failure) if failure.class == Class::Retry && taken > 0 => {
                self.succeeded();
                return self.delay(again, request.suspect, now);
            }
            Some(failure) if failure.class == Class::Throttled && taken * 2 >= sent => {
                self.slow_down(&failure, request.round, now);
            }
            Some(failure) => self.pause(&failure, request.round, now),
        }
        self.requeue(again, request.suspect);
    }

    /// What of an entry that was not taken is sent again; what is past the limits is given up.
    fn spend(&self, entry: Entry, failure: &Failure, now: Instant, settled: &mut Settled) -> Option<Entry> {
        let left = if self.limits == RetryLimits::default() {
            Some(entry)
        } else {
            let counts = u32::from(failure.class != Class::Hold);
            entry.spend(|part| {
                part.attempts = part.attempts.saturating_add(counts);
                let reason = match (self.limits.max_attempts, self.limits.max_record_age) {
                    (Some(most), _) if part.attempts >= most => {
                        Reason::Attempts { attempts: part.attempts, last: failure.to_string() }
                    }
                    (_, Some(limit)) if part.expires.is_some_and(|at| at <= now) => Reason::Age { limit },
                    _ => return false,
                };
                settled.refused.push(Refused { run: part.run.clone(), reason });
                true
            })
        };
        settled.retried_records += left.as_ref().map_or(0, Entry::records);
        left
    }

    /// The service takes what it is sent.
    fn succeeded(&mut self) {
        self.failed_rounds = 0;
        self.allowed = (self.allowed + 1).min(self.max_in_flight);
        self.health = Health::Fine;
    }

    /// Nothing is sent for a while, and then less at once.
    fn pause(&mut self, failure: &Failure, round: u64, now: Instant) {
        let pause = match failure.class {
            Class::Hold => self.backoff.long_pause(&mut self.rng),
            _ => self.backoff.pause(self.failed_rounds, &mut self.rng),
        };
        self.health.worsen(failure, now);
        if round == self.round {
            self.failed_rounds = self.failed_rounds.saturating_add(1);
            self.begin_round(now + pause);
        }
    }

    /// Most was taken, yet the service throttles: a short pause, and less at once.
    fn slow_down(&mut self, failure: &Failure, round: u64, now: Instant) {
        let pause = self.backoff.pause(0, &mut self.rng);
        self.health.worsen(failure, now);
        if round == self.round {
            self.failed_rounds = 0;
            self.begin_round(now + pause);
        }
    }

    /// Requests that were sent before belong to the round that failed: their failures tell nothing new.
    fn begin_round(&mut self, at: Instant) {
        self.round += 1;
        self.allowed = (self.allowed / 2).max(1);
        self.paused_until = Some(at);
    }

    /// Entries that were refused for their content: half of them in a request of its own, and the other half;
    /// a single entry by its records; a single record is the culprit.
    fn halve(&mut self, mut entries: Vec<Entry>, failure: &Failure, settled: &mut Settled) {
        let records: usize = entries.iter().map(Entry::records).sum();
        if records == 1 {
            let reason = Reason::Invalid { code: failure.code.clone(), message: failure.message.clone() };
            settled.refused.extend(
                entries
                    .iter()
                    .flat_map(Entry::runs)
                    .map(|run| Refused { run: run.clone(), reason: reason.clone() }),
            );
            return;
        }
        settled.retried_records += records;
        let (head, tail) = if entries.len() > 1 {
            let tail = entries.split_off(entries.len() / 2);
            (entries, tail)
        } else {
            let Some(entry) = entries.pop() else { return };
            let (head, tail) = entry.split_at(records / 2);
            (vec![head], vec![tail])
        };
        self.suspects.push_front(tail);
        self.suspects.push_front(head);
    }

    /// Entries to be sent as soon as the destination may be sent something.
    fn requeue(&mut self, entries: Vec<Entry>, suspect: bool) {
        if entries.is_empty() {
            return;
        }
        if suspect {
            self.suspects.push_front(entries);
            return;
        }
        for part in entries.into_iter().flat_map(|entry| entry.parts) {
            self.offer_again(part);
        }
    }

    /// Entries that failed while others were taken: each waits by how often that happened to it.
    fn delay(&mut self, entries: Vec<Entry>, suspect: bool, now: Instant) {
        if suspect {
            return self.requeue(entries, suspect);
        }
        // One draw for all that failed equally often, so that they can travel together again.
        let mut pauses = BTreeMap::new();
        for mut part in entries.into_iter().flat_map(|entry| entry.parts) {
            let pause = *pauses
                .entry(part.failures)
                .or_insert_with(|| self.backoff.pause(part.failures, &mut self.rng));
            part.failures = part.failures.saturating_add(1);
            self.delayed.insert((now + pause, self.next_delayed), part);
            self.next_delayed += 1;
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

    fn send(&mut self, entries: Vec<Entry>, size: usize, suspect: bool) -> Next {
        let id = self.next_id;
        self.next_id += 1;
        let entries: Arc<[Entry]> = entries.into();
        self.in_flight.insert(id, InFlight { entries: entries.clone(), suspect, round: self.round });
        Next::Send(Request { id, entries, size })
    }

    fn let_go(&mut self, run: &Run) {
        self.held_bytes -= run.data().len();
        self.held_records -= run.len();
    }
}

/// Which failure of several decides what the destination does.
fn rank(class: Class) -> u8 {
    match class {
        Class::Poison => 0,
        Class::Retry => 1,
        Class::Throttled => 2,
        Class::Hold => 3,
    }
}

#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;
