//! How much may be under way, and when nothing may be sent.

use tokio::time::Instant;

use super::super::answer::{Class, Failure};
use super::super::health::Health;
use super::Dispatcher;

impl Dispatcher {
    /// The service takes what it is sent.
    pub(super) fn succeeded(&mut self, sent: Instant, now: Instant) {
        self.failed_rounds = 0;
        self.concurrency.succeeded(sent, now);
        self.health = Health::Fine;
    }

    /// Nothing is sent for a while, and then less at once.
    pub(super) fn pause(&mut self, failure: &Failure, round: u64, now: Instant) {
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

    /// Requests that were sent before belong to the round that failed: their failures tell nothing new.
    pub(super) fn begin_round(&mut self, at: Instant) {
        self.round += 1;
        self.concurrency.failed();
        self.paused_until = Some(at);
    }
}
