//! How fast files may be read, for neighbours that write too much.

use std::time::{Duration, Instant};

use crate::units::ByteSize;

/// A route's limit. At least one of the two rates is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Whether the limit is for each file or for all files of the route together.
    pub per: RatePer,
    /// Bytes of log a second.
    pub bytes: Option<ByteSize>,
    /// Lines a second.
    pub lines: Option<u32>,
    /// What happens above it.
    pub when_exceeded: WhenExceeded,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatePer {
    /// Each file's own.
    #[default]
    File,
    /// That of all files of the route together.
    Route,
}

/// What happens above a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenExceeded {
    /// Reading waits; the lines wait in their file.
    #[default]
    Pause,
    /// Lines are given up, and counted.
    Drop,
}

/// A token bucket for bytes and lines: a second's worth may come at once, and what is taken beyond has to be made
/// up for before anything more is taken.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    limit: RateLimit,
    bytes: f64,
    lines: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        let mut bucket = Self { limit, bytes: 0.0, lines: 0.0, filled: now };
        (bucket.bytes, bucket.lines) = bucket.rates();
        bucket
    }

    /// What happens when it is empty.
    pub fn when_exceeded(&self) -> WhenExceeded {
        self.limit.when_exceeded
    }

    /// Until when nothing may be taken, if so.
    pub fn empty_until(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        let (bytes, lines) = self.rates();
        // As long as it takes to make up for what was taken too much, and a little more, so that it is worth it.
        let wait = |left: f64, rate: f64| if left > 0.0 { 0.0 } else { (0.1 - left / rate).min(86_400.0) };
        let seconds = wait(self.bytes, bytes).max(wait(self.lines, lines));
        (seconds > 0.0).then(|| now + Duration::from_secs_f64(seconds))
    }

    /// How many bytes may be taken without having to make up for them.
    pub fn bytes(&self) -> usize {
        // Saturates.
        self.bytes.max(0.0) as usize
    }

    /// Takes what was read.
    pub fn take(&mut self, bytes: u64, lines: u64) {
        self.bytes -= bytes as f64;
        self.lines -= lines as f64;
    }

    fn fill(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.filled).as_secs_f64();
        let (bytes, lines) = self.rates();
        self.bytes = (self.bytes + seconds * bytes).min(bytes);
        self.lines = (self.lines + seconds * lines).min(lines);
        self.filled = self.filled.max(now);
    }

    /// Of bytes and of lines, a second.
    fn rates(&self) -> (f64, f64) {
        let bytes = self.limit.bytes.map_or(f64::MAX, |bytes| bytes.0 as f64);
        (bytes, self.limit.lines.map_or(f64::MAX, f64::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(bytes: Option<u64>, lines: Option<u32>, now: Instant) -> Bucket {
        let bytes = bytes.map(ByteSize);
        let limit = RateLimit { per: RatePer::File, bytes, lines, when_exceeded: WhenExceeded::Pause };
        Bucket::new(limit, now)
    }

    #[test]
    fn over_any_time_no_more_is_taken_than_the_rate_and_a_seconds_worth() {
        let start = Instant::now();
        for (bytes, lines) in [(Some(1000), None), (None, Some(10)), (Some(1000), Some(10))] {
            let mut bucket = bucket(bytes, lines, start);
            let (mut now, mut taken) = (start, 0);
            while now < start + Duration::from_secs(100) {
                match bucket.empty_until(now) {
                    Some(until) => now = until,
                    None => {
                        bucket.take(100, 1);
                        taken += 1;
                    }
                }
            }
            // Ten a second, and the ten that it began with; one may be under way at the end.
            assert!((990..=1012).contains(&taken), "{taken} with {bytes:?} bytes and {lines:?} lines");
        }
    }

    #[test]
    fn what_was_taken_too_much_is_made_up_for() {
        let start = Instant::now();
        let mut bucket = bucket(Some(1000), None, start);
        bucket.take(6000, 1);
        let until = bucket.empty_until(start).expect("it is empty");
        assert!(until >= start + Duration::from_secs(5) && until < start + Duration::from_secs(6));
        assert_eq!(bucket.empty_until(until), None);
        assert!((1..=200).contains(&bucket.bytes()));
        assert_eq!(bucket.empty_until(start), None, "a clock that goes back takes nothing away");
    }
}
