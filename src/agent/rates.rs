//! How fast counters grow: each is looked at every few seconds, and its rate is that of the last quarter of a minute.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// Looks that are kept.
const KEPT: usize = 3;

/// The counters of one thing, such as lines and bytes of a route.
type Counts = [u64; 2];

/// What was seen of one thing, the oldest first.
type Looks = VecDeque<(Instant, Counts)>;

/// Of routes and destinations, by a name that the caller makes. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates(Arc<Mutex<HashMap<String, Looks>>>);

impl Rates {
    /// Notes all counters. What is not among them is forgotten.
    pub(super) fn note(&self, now: Instant, counters: impl Iterator<Item = (String, Counts)>) {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *looks);
        for (name, counts) in counters {
            let mut of = before.remove(&name).unwrap_or_default();
            of.push_back((now, counts));
            of.drain(..of.len().saturating_sub(KEPT));
            looks.insert(name, of);
        }
    }

    /// How much counters, which are these now, grow a second.
    pub(super) fn of(&self, name: &str, now: Instant, counts: Counts) -> [f64; 2] {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, then)) = looks.get(name).and_then(|of| of.front().copied()) else { return [0.0; 2] };
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        if seconds <= 0.0 {
            return [0.0; 2];
        }
        [0, 1].map(|index| counts[index].saturating_sub(then[index]) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_looks_and_ends_with_what_it_was_of() {
        let (rates, start) = (Rates::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rates.of("r", start, [5, 5]), [0.0; 2]);
        for look in 0..5 {
            rates.note(at(look * 5), [("r".to_owned(), [look * 100, look * 10])].into_iter());
        }
        // Of the last three looks, at 10, 15 and 20 s.
        assert_eq!(rates.of("r", at(20), [400, 40]), [20.0, 2.0]);
        assert_eq!(rates.of("r", at(30), [400, 40]), [10.0, 1.0]);
        rates.note(at(30), std::iter::empty());
        assert_eq!(rates.of("r", at(30), [400, 40]), [0.0; 2]);
    }
}
