//! When the records of a chunk came, to the second: so that the age of the oldest one that waits is its own, and not
//! that of a chunk which may have been open for hours.

use std::time::{Duration, SystemTime};

/// Between two notes.
const STEP: Duration = Duration::from_secs(1);
/// With more notes every other one is given up. What is between two is taken to be as old as the first.
const MOST: usize = 256;

/// The notes of one chunk: a record's number, and when its frame was appended.
#[derive(Debug, Default)]
pub(super) struct Times(Vec<(u32, SystemTime)>);

impl Times {
    /// Records from this one on were appended now.
    pub(super) fn note(&mut self, first: u32, now: SystemTime) {
        let due = |(_, last): &(u32, SystemTime)| now.duration_since(*last).is_ok_and(|since| since >= STEP);
        if !self.0.last().is_none_or(due) {
            return;
        }
        self.0.push((first, now));
        if self.0.len() > MOST {
            let mut place = 0;
            self.0.retain(|_| {
                place += 1;
                place % 2 == 1
            });
        }
    }

    /// When a record was appended, or a little earlier; none if nothing was noted by then.
    pub(super) fn of(&self, record: u32) -> Option<SystemTime> {
        let after = self.0.partition_point(|(first, _)| *first <= record);
        after.checked_sub(1).map(|at| self.0[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_record_is_as_old_as_the_note_before_it() {
        let mut times = Times::default();
        assert_eq!(times.of(0), None);
        times.note(0, at(10));
        times.note(5, at(10));
        times.note(7, at(3600));
        assert_eq!(
            [times.of(0), times.of(6), times.of(7), times.of(99)].map(Option::unwrap),
            [at(10), at(10), at(3600), at(3600)]
        );
    }

    #[test]
    fn notes_are_bounded_and_never_make_a_record_younger_than_it_is() {
        let mut times = Times::default();
        for second in 0..100_000 {
            times.note(second as u32, at(second));
        }
        assert!(times.0.len() <= MOST);
        for record in [0, 1, 777, 50_000, 99_999] {
            assert!(times.of(record).unwrap() <= at(u64::from(record)), "{record}");
        }
        assert!(times.of(99_999).unwrap() >= at(98_000));
    }
}
