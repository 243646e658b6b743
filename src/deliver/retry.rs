//! The one backoff: exponential with full jitter.

use std::time::Duration;

use super::settings::Retry;

/// Exponential backoff with full jitter: a pause is drawn evenly between nothing and a ceiling that doubles
/// with every failure. It spreads the retries of a cluster's nodes best of the usual kinds (AWS Architecture
/// Blog, "Exponential Backoff And Jitter").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    initial: Duration,
    max: Duration,
}

impl Backoff {
    /// The first ceiling, and the one that is never passed.
    pub fn new(initial: Duration, max: Duration) -> Self {
        Self { initial: initial.min(max), max }
    }

    /// How long to wait after this many failures in a row; the first has number 0.
    pub fn pause(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let doubled = 2u32.checked_pow(failures).and_then(|factor| self.initial.checked_mul(factor));
        jitter(Duration::ZERO, doubled.unwrap_or(self.max).min(self.max), rng)
    }

    /// How long to wait where only a person can help: between half of the longest pause and all of it.
    pub fn long_pause(&self, rng: &mut fastrand::Rng) -> Duration {
        jitter(self.max / 2, self.max, rng)
    }
}

impl From<&Retry> for Backoff {
    fn from(settings: &Retry) -> Self {
        Self::new(settings.initial_backoff, settings.max_backoff)
    }
}

/// Evenly between the two, both included, to the nanosecond.
fn jitter(low: Duration, high: Duration, rng: &mut fastrand::Rng) -> Duration {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(rng.u64(nanos(low)..=nanos(high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_pause() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut rng = fastrand::Rng::with_seed(1);
        for (failures, ceiling) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000)] {
            let longest =
                (0..1000).map(|_| backoff.pause(failures, &mut rng)).max().expect("a thousand pauses");
            let ceiling = Duration::from_millis(ceiling);
            assert!(longest <= ceiling && longest > ceiling * 9 / 10, "{failures}: {longest:?}");
        }
    }

    #[test]
    fn jitter_is_full() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));
        let mut rng = fastrand::Rng::with_seed(2);
        let early = (0..1000).filter(|_| backoff.pause(0, &mut rng) < Duration::from_millis(500)).count();
        assert!((400..600).contains(&early), "{early} of 1000 in the first half");
    }

    #[test]
    fn a_long_pause_is_at_least_half_of_the_longest() {
        let backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(30));
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..1000 {
            let pause = backoff.long_pause(&mut rng);
            assert!(pause >= Duration::from_secs(15) && pause <= Duration::from_secs(30));
        }
    }
}
