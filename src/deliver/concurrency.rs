//! How many requests may be under way at once, between one and the user's limit.
//!
//! Errors halve it, and each success raises it by one, as long as more requests at once do not merely wait for each
//! other: where answers take several times as long as they can, there is one fewer instead.

use std::time::Duration;

use tokio::time::Instant;

/// Answers that take so many times as long as the quickest are slow.
const SLOW: u32 = 4;
/// And so much longer at least: small times vary for many reasons.
const NOTICEABLE: Duration = Duration::from_millis(200);
/// The quickest answer counts for at least so long, and at most twice: a service does not become slower for good often,
/// and a queue of our own making must not be taken for that.
const MEMORY: Duration = Duration::from_secs(600);

/// How many requests may be under way.
#[derive(Debug)]
pub(super) struct Concurrency {
    most: usize,
    allowed: usize,
    /// The quickest answers of this and of the last time span.
    quickest: [Option<Duration>; 2],
    span: Option<Instant>,
    /// A moving average.
    usual: Option<Duration>,
    lowered: Option<Instant>,
}

impl Concurrency {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, allowed: most, quickest: [None; 2], span: None, usual: None, lowered: None }
    }

    /// How many may be under way now.
    pub(super) fn allowed(&self) -> usize {
        self.allowed
    }

    /// The most that may ever be.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A request went well that was sent at this time.
    pub(super) fn succeeded(&mut self, sent: Instant, now: Instant) {
        let latency = now.saturating_duration_since(sent);
        if self.span.is_none_or(|span| now.saturating_duration_since(span) > MEMORY) {
            self.quickest = [None, self.quickest[0]];
            self.span = Some(now);
        }
        self.quickest[0] = Some(self.quickest[0].map_or(latency, |least| least.min(latency)));
        let usual = self.usual.map_or(latency, |usual| (usual * 7 + latency) / 8);
        self.usual = Some(usual);
        let quickest = self.quickest.into_iter().flatten().min().unwrap_or(latency);
        if usual > quickest * SLOW && usual > quickest + NOTICEABLE {
            // Requests that were sent before it was lowered tell nothing of what that did.
            if self.lowered.is_none_or(|lowered| sent >= lowered) {
                self.allowed = (self.allowed - 1).max(1);
                self.lowered = Some(now);
            }
        } else {
            self.allowed = (self.allowed + 1).min(self.most);
        }
    }

    /// Requests failed.
    pub(super) fn failed(&mut self) {
        self.allowed = (self.allowed / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that answers quickly up to four requests at once, and makes the others wait.
    #[test]
    fn requests_that_only_wait_for_each_other_become_fewer() {
        let mut concurrency = Concurrency::new(64);
        let mut now = Instant::now();
        let mut least = usize::MAX;
        for round in 0..2_000 {
            let (sent, requests) = (now, concurrency.allowed());
            now += Duration::from_millis(50) * u32::try_from(requests.div_ceil(4)).unwrap();
            for _ in 0..requests {
                concurrency.succeeded(sent, now);
            }
            if round == 5 {
                // The quickest answer is learned when there are few.
                concurrency.failed();
                (0..6).for_each(|_| concurrency.failed());
            }
            if round > 100 {
                least = least.min(concurrency.allowed());
            }
        }
        assert!(concurrency.allowed() <= 30 && least >= 4, "{} and {least}", concurrency.allowed());
    }

    #[test]
    fn it_grows_with_successes_and_is_halved_by_failures() {
        let mut concurrency = Concurrency::new(8);
        let now = Instant::now();
        concurrency.failed();
        concurrency.failed();
        concurrency.failed();
        concurrency.failed();
        assert_eq!(concurrency.allowed(), 1);
        for _ in 0..20 {
            concurrency.succeeded(now, now + Duration::from_millis(20));
        }
        assert_eq!(concurrency.allowed(), 8);
    }
}
