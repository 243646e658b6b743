//! How fast a destination is sent to: what the stream is found to take, and what the user allows.
//!
//! A stream says only by throttling what it takes. Until it does, nothing is held back. From then on requests leave at
//! a rate that grows by the same amount each second (additive increase) and falls by a part of itself whenever the
//! stream throttles (multiplicative decrease). Nodes that share a stream come to equal shares that way: who sends
//! more gives up more, and all gain alike. Falls are small because a stream saves up what it was not sent for
//! a second, so that a rate that swings a little around what it takes loses nothing.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::settings::RateLimit;

/// What the rate falls to when a part of a request is throttled, of what was taken since it fell last.
const FALL: f64 = 0.85;
/// What the rate becomes when a whole request is throttled, and the least that it falls to otherwise.
const DEEP_FALL: f64 = 0.6;
/// What was taken in a shorter time says nothing.
const TELLING: Duration = Duration::from_millis(500);
/// How much faster it is after a second in which it was used up, in bytes a second.
const STEP: f64 = 64.0 * 1024.0;
/// After so long without throttling the step doubles, and again after as long: the stream may have got shards.
const DOUBLING: Duration = Duration::from_secs(10);
/// It doubles at most so often.
const MOST_DOUBLINGS: f64 = 10.0;
/// The least rate, in bytes a second.
const LEAST: f64 = 16.0 * 1024.0;
/// What was not sent in time may be made up for, up to so much.
const SLACK: Duration = Duration::from_millis(100);
/// The least first rate, in bytes a second: a stream that took nothing yet may take much.
const LEAST_AT_FIRST: f64 = 256.0 * 1024.0;
/// Over so long it is measured what a stream took that throttles for the first time.
const MEASURED: Duration = Duration::from_secs(1);
/// So much of a second's bytes go into a request: large ones are throttled in lumps.
const SHARE_OF_SECOND: f64 = 0.1;
/// But a request is not made smaller than this for it.
const SMALLEST_REQUEST: f64 = 64.0 * 1024.0;

/// The rate of one destination.
#[derive(Debug, Default)]
pub(super) struct Rate {
    limit: RateLimit,
    /// Bytes a second; none until the stream throttles.
    learned: Option<f64>,
    grown: Option<Instant>,
    fell: Option<Instant>,
    /// When the next request may leave.
    free: Option<Instant>,
    /// The last request had to wait for that.
    waited: bool,
    /// What was taken lately, and when, as long as nothing was throttled.
    recent: VecDeque<(Instant, usize)>,
    recent_bytes: usize,
    /// Bytes that were taken since the last fall.
    taken: usize,
}

impl Rate {
    pub(super) fn limited(limit: RateLimit) -> Self {
        Self { limit, ..Self::default() }
    }

    /// When the next request may leave, if that is later than now.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Instant> {
        let until = self.free.filter(|free| *free > now);
        self.waited |= until.is_some();
        until
    }

    /// A request leaves.
    pub(super) fn sent(&mut self, bytes: usize, records: usize, now: Instant) {
        self.grow(now);
        let limit = &self.limit;
        let seconds = [
            self.learned.map(|rate| bytes as f64 / rate),
            limit.bytes.map(|rate| bytes as f64 / rate as f64),
            limit.records.map(|rate| records as f64 / rate as f64),
            limit.requests.map(|rate| 1.0 / rate as f64),
        ];
        let seconds = seconds.into_iter().flatten().fold(0.0, f64::max);
        if seconds > 0.0 {
            let from =
                self.free.map_or(now, |free| now.checked_sub(SLACK).map_or(free, |least| free.max(least)));
            self.free = Some(from + Duration::from_secs_f64(seconds));
        }
    }

    /// Bytes of a request were taken.
    pub(super) fn taken(&mut self, bytes: usize, now: Instant) {
        self.taken += bytes;
        if self.learned.is_none() {
            self.recent.push_back((now, bytes));
            self.recent_bytes += bytes;
            self.forget(now);
        }
    }

    /// The stream throttled bytes of a request that left at `sent`, or the `whole` of a request.
    pub(super) fn throttled(&mut self, whole: bool, sent: Instant, now: Instant) {
        // What left before the last fall tells nothing new.
        if self.fell.is_some_and(|fell| sent < fell) {
            return;
        }
        self.forget(now);
        let rate = match (self.learned, self.fell) {
            (Some(rate), _) if whole => rate * DEEP_FALL,
            (Some(rate), Some(fell)) => {
                let since = now.saturating_duration_since(fell);
                // It grew beyond what the stream takes, as long as that had something saved up.
                let taken = match since < TELLING {
                    true => rate,
                    false => self.taken as f64 / since.as_secs_f64(),
                };
                (taken.min(rate) * FALL).max(rate * DEEP_FALL)
            }
            _ => (self.recent_bytes as f64 / MEASURED.as_secs_f64() * FALL).max(LEAST_AT_FIRST),
        };
        self.learned = Some(rate.max(LEAST));
        self.fell = Some(now);
        self.grown = Some(now);
        self.taken = 0;
        self.recent.clear();
        self.recent_bytes = 0;
    }

    /// The most bytes that the next request should have.
    pub(super) fn request_size(&self) -> Option<usize> {
        let limit = self.limit.bytes.map_or(f64::INFINITY, |limit| limit as f64);
        let rate = self.learned.unwrap_or(f64::INFINITY).min(limit);
        rate.is_finite().then(|| (rate * SHARE_OF_SECOND).max(SMALLEST_REQUEST) as usize)
    }

    /// What it is found to take, in bytes a second.
    pub(super) fn learned(&self) -> Option<f64> {
        self.learned
    }

    /// Only a rate that holds requests back is too low.
    fn grow(&mut self, now: Instant) {
        let waited = std::mem::take(&mut self.waited);
        let since = self.grown.replace(now).map(|then| now.saturating_duration_since(then));
        if let (Some(rate), Some(since), Some(fell), true) = (&mut self.learned, since, self.fell, waited) {
            let quiet = now.saturating_duration_since(fell).as_secs_f64() / DOUBLING.as_secs_f64();
            let step = STEP * 2f64.powf(quiet.floor().min(MOST_DOUBLINGS));
            *rate += step * since.as_secs_f64().min(1.0);
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((at, bytes)) = self.recent.front()
            && *at + MEASURED < now
        {
            self.recent_bytes -= bytes;
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Requests of 10 kB that leave in ten seconds.
    fn in_ten_seconds(rate: &mut Rate, begun: Instant) -> usize {
        let mut requests = 0;
        for milli in 0..10_000 {
            let now = begun + MILLI * milli;
            while rate.wait(now).is_none() && requests < 100_000 {
                rate.sent(10_000, 20, now);
                requests += 1;
            }
        }
        requests
    }

    #[test]
    fn the_users_limits_hold_whichever_is_reached_first() {
        for (bytes, records, requests, expected) in [
            (Some(100_000), None, None, 100),
            (None, Some(100), None, 50),
            (None, None, Some(7), 70),
            (Some(100_000), Some(100), Some(7), 50),
        ] {
            let mut rate = Rate::limited(RateLimit { bytes, records, requests });
            let sent = in_ten_seconds(&mut rate, Instant::now());
            assert!((expected..=expected + 1).contains(&sent), "{sent}, not {expected}");
        }
    }

    #[test]
    fn nothing_is_held_back_before_the_stream_throttles() {
        let mut rate = Rate::default();
        assert_eq!(in_ten_seconds(&mut rate, Instant::now()), 100_000);
        assert_eq!(rate.request_size(), None);
    }

    #[test]
    fn nodes_that_share_a_stream_come_to_equal_shares() {
        let begun = Instant::now();
        let mut rates = [Rate::default(), Rate::default(), Rate::default()];
        for (rate, learned) in rates.iter_mut().zip([20_000.0, 200_000.0, 900_000.0]) {
            rate.learned = Some(learned);
            rate.fell = Some(begun);
            rate.grown = Some(begun);
        }
        let (mut stored, mut shares) = (1_000_000.0_f64, [0usize; 3]);
        for milli in 1..120_000 {
            let now = begun + MILLI * milli;
            stored = (stored + 1_000.0).min(1_000_000.0);
            for (rate, share) in rates.iter_mut().zip(&mut shares) {
                if rate.wait(now).is_some() {
                    continue;
                }
                rate.sent(10_000, 20, now);
                if stored >= 10_000.0 {
                    stored -= 10_000.0;
                    rate.taken(10_000, now);
                    *share += if milli > 60_000 { 10_000 } else { 0 };
                } else {
                    rate.throttled(false, now, now);
                }
            }
        }
        let total: usize = shares.iter().sum();
        assert!(total > 57_000_000, "{shares:?}");
        assert!(
            shares.iter().all(|share| share * 3 > total * 3 / 4 && share * 3 < total * 5 / 4),
            "{shares:?}"
        );
    }
}
