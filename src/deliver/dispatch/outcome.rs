//! What an answer means for the records in its request.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::super::answer::{Answer, Class, Failure, Outcome};
use super::super::entry::{Entry, Part};
use super::super::refusal::{Reason, Refused};
use super::super::settings::RetryLimits;
use super::super::settled::Settled;
use super::{Dispatcher, InFlight};

impl Dispatcher {
    /// What became of a request. An id that is not under way settles nothing.
    pub fn answered(&mut self, id: u64, answer: Answer, now: Instant) -> Settled {
        let mut settled = Settled::default();
        let Some(request) = self.in_flight.remove(&id) else {
            return settled;
        };
        self.shards.answered(&request.entries, &answer, now, &mut settled);
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
        settled.service_error = failure.class != Class::Throttled;
        match failure.class {
            Class::Poison => {
                // The service answers; it is this request that it does not like.
                self.succeeded(request.sent, now);
                self.halve(request.entries.to_vec(), &failure, settled);
            }
            Class::Throttled | Class::Retry | Class::Hold => {
                if failure.class == Class::Throttled {
                    self.rate.throttled(true, request.sent, now);
                }
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
        let mut throttled = 0;
        let mut failures: BTreeMap<usize, Failure> = failures.into_iter().collect();
        let mut worst: Option<Failure> = None;
        let mut again = Vec::new();
        let mut taken = 0;
        for (index, entry) in request.entries.iter().enumerate() {
            let Some(failure) = failures.remove(&index) else {
                taken += 1;
                self.rate.taken(entry.size(), now);
                settled.take(entry, self.batcher.shape());
                self.free(entry);
                continue;
            };
            settled.note(&failure, 1);
            if failure.class == Class::Throttled {
                throttled += 1;
            }
            if failure.class == Class::Poison {
                self.halve(vec![entry.clone()], &failure, settled);
                continue;
            }
            again.extend(self.spend(entry.clone(), &failure, now, settled));
            if worst.as_ref().is_none_or(|known| rank(failure.class) > rank(known.class)) {
                worst = Some(failure);
            }
        }
        if throttled > 0 {
            self.rate.throttled(throttled == sent && sent > 1, request.sent, now);
        }
        match worst {
            None => self.succeeded(request.sent, now),
            // Some were taken: the destination goes on, and only what failed waits.
            Some(failure) if failure.class == Class::Retry && taken > 0 => {
                self.succeeded(request.sent, now);
                return self.delay(again, request.suspect, now);
            }
            Some(failure) if failure.class == Class::Throttled && (taken * 2 >= sent || sent == 1) => {
                // The rate is lower now, which is all that it takes.
                self.succeeded(request.sent, now);
            }
            Some(failure) => self.pause(&failure, request.round, now),
        }
        self.requeue(again, request.suspect);
    }

    /// What of an entry that was not taken is sent again; what is past the limits is given up.
    fn spend(
        &mut self,
        mut entry: Entry,
        failure: &Failure,
        now: Instant,
        settled: &mut Settled,
    ) -> Option<Entry> {
        entry.was_sent();
        let limits = &self.limits;
        let whole = Entry::new(entry.framing, entry.key.clone());
        let left = if *limits == RetryLimits::default() {
            Some(entry)
        } else {
            let counts = u32::from(failure.class != Class::Hold);
            entry.spend(|part| {
                part.attempts = part.attempts.saturating_add(counts);
                let reason = match (limits.max_attempts, limits.max_record_age) {
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
        if left.is_none() {
            self.free(&whole);
        }
        settled.retried_records += left.as_ref().map_or(0, Entry::records);
        left
    }

    /// Entries that were refused for their content: half of them in a request of its own, and the other half;
    /// a single entry by its records; a single record is the culprit.
    fn halve(&mut self, mut entries: Vec<Entry>, failure: &Failure, settled: &mut Settled) {
        entries.iter_mut().for_each(Entry::was_sent);
        let records: usize = entries.iter().map(Entry::records).sum();
        if records == 1 {
            let reason = Reason::Invalid { code: failure.code.clone(), message: failure.message.clone() };
            settled.refused.extend(
                entries
                    .iter()
                    .flat_map(Entry::runs)
                    .map(|run| Refused { run: run.clone(), reason: reason.clone() }),
            );
            for entry in &entries {
                self.free(entry);
            }
            return;
        }
        settled.retried_records += records;
        let (head, tail) = if entries.len() > 1 {
            let tail = entries.split_off(entries.len() / 2);
            (entries, tail)
        } else {
            let Some(entry) = entries.pop() else { return };
            let (head, tail) = entry.split_at(records / 2);
            if let (Some((lots, _)), Some(key)) = (self.batcher.ordered(), &tail.key) {
                // It follows when the head is settled.
                lots.put_back(key, tail.parts);
                self.suspects.push_front(vec![head]);
                return;
            }
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
        if let Some((lots, shape)) = self.batcher.ordered() {
            for entry in entries {
                let Some(key) = entry.key else { continue };
                lots.put_back(&key, entry.parts);
                lots.release(&key, shape);
            }
            return;
        }
        for part in entries.into_iter().flat_map(|entry| entry.parts) {
            self.offer_again(part);
        }
    }

    /// Entries that failed while others were taken: each waits by how often that happened to it.
    fn delay(&mut self, mut entries: Vec<Entry>, suspect: bool, now: Instant) {
        if suspect {
            return self.requeue(entries, suspect);
        }
        // One draw for all that failed equally often, so that they can travel together again.
        let mut pauses = BTreeMap::new();
        for entry in &mut entries {
            for part in &mut entry.parts {
                pauses
                    .entry(part.failures)
                    .or_insert_with(|| now + self.backoff.pause(part.failures, &mut self.rng));
            }
        }
        let mut later = |part: &mut Part| {
            let at = pauses.get(&part.failures).copied().unwrap_or(now);
            part.failures = part.failures.saturating_add(1);
            at
        };
        if let Some((lots, _)) = self.batcher.ordered() {
            for mut entry in entries {
                let at = entry.parts.iter_mut().map(&mut later).max().unwrap_or(now);
                let Some(key) = entry.key else { continue };
                lots.put_back(&key, entry.parts);
                lots.release_at(key, at);
            }
            return;
        }
        for mut part in entries.into_iter().flat_map(|entry| entry.parts) {
            let at = later(&mut part);
            self.delayed.insert((at, self.next_delayed), part);
            self.next_delayed += 1;
        }
    }

    /// Where each key's order is kept: nothing of this entry is under way any more.
    fn free(&mut self, entry: &Entry) {
        if let (Some((lots, shape)), Some(key)) = (self.batcher.ordered(), &entry.key) {
            lots.release(key, shape);
        }
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
