//! How many lines are due.

use std::time::Duration;

/// Of lines that were not due for a while (the machine slept, the disk was slow) at most this much time's are made
/// up for: a rate is not to become a burst.
const CATCH_UP: Duration = Duration::from_secs(1);
/// At once, where there is no rate.
const UNPACED: u64 = 10_000;

/// Lines at a steady rate. Knows no clock: it is told the time.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Lines a second; none: as many as can be written.
    rate: Option<f64>,
    /// Lines that are due and were not given yet, whole and in part.
    due: f64,
    last: Duration,
}

impl Pace {
    /// So many lines a second, or as many as can be written.
    pub fn new(rate: Option<f64>) -> Self {
        Self { rate, due: 0.0, last: Duration::ZERO }
    }

    /// Whether there is a rate.
    pub fn is_paced(&self) -> bool {
        self.rate.is_some()
    }

    /// The lines to write at this time since the start.
    pub fn due(&mut self, now: Duration) -> u64 {
        let Some(rate) = self.rate else { return UNPACED };
        let passed = now.saturating_sub(self.last).min(CATCH_UP);
        self.last = now;
        self.due += rate * passed.as_secs_f64();
        let whole = self.due.floor();
        self.due -= whole;
        whole as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_whatever_the_ticks_are() {
        for rate in [0.5, 3.0, 333.3, 100_000.0] {
            let mut pace = Pace::new(Some(rate));
            let mut rng = fastrand::Rng::with_seed(7);
            let (mut now, mut lines) = (Duration::ZERO, 0);
            while now < Duration::from_secs(1000) {
                now += Duration::from_micros(rng.u64(1..50_000));
                lines += pace.due(now);
            }
            let expected = rate * now.as_secs_f64();
            assert!((lines as f64 - expected).abs() < 1.5, "{lines} of {expected}");
        }
    }

    #[test]
    fn a_pause_does_not_become_a_burst() {
        let mut pace = Pace::new(Some(100.0));
        assert_eq!(pace.due(Duration::from_millis(10)), 1);
        assert_eq!(pace.due(Duration::from_secs(3600)), 100);
    }
}
