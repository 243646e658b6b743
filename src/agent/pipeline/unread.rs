//! Since when a file has something that was not read: its length is noted now and then, and the first note that goes
//! beyond what was read tells when that came.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Notes of one file. With more of them, every other one is given up: of a file that is hours behind nobody wants to
/// know it to the second.
const MOST: usize = 24;
/// Over at least so long a rate is measured.
const SPAN: Duration = Duration::from_secs(10);

/// What was noted of one file.
#[derive(Clone, Debug, Default)]
pub(super) struct Unread {
    /// Lengths, and when the file was first seen with them; growing, all beyond what was read.
    notes: VecDeque<(Instant, u64)>,
    /// How far it was read, at two times.
    read: Option<[(Instant, u64); 2]>,
}

impl Unread {
    /// The file has this length, and its slowest destination stands at `least`. It was last written at `written`.
    pub(super) fn note(&mut self, now: Instant, length: u64, least: u64, written: Option<Instant>) {
        while self.notes.front().is_some_and(|(_, length)| *length <= least) {
            self.notes.pop_front();
        }
        if length <= least {
            self.notes.clear();
            return;
        }
        // A file that nobody writes to any more was that long when it was written last.
        let at = written.map_or(now, |written| written.min(now));
        match self.notes.back() {
            Some((_, known)) if *known >= length => {}
            _ => self.notes.push_back((at, length)),
        }
        if self.notes.len() > MOST {
            let mut place = 0;
            let last = self.notes.len() - 1;
            self.notes.retain(|_| {
                place += 1;
                (place - 1) % 2 == 0 || place - 1 == last
            });
        }
    }

    /// When what follows this offset was first seen, if there is something.
    pub(super) fn since(&self, offset: u64) -> Option<Instant> {
        self.notes.iter().find(|(_, length)| *length > offset).map(|(at, _)| *at)
    }

    /// Notes how far the file was read, and tells how fast, in bytes a second.
    pub(super) fn rate(&mut self, now: Instant, read: u64) -> f64 {
        let [before, last] = self.read.get_or_insert([(now, read); 2]);
        if now.saturating_duration_since(last.0) >= SPAN {
            (*before, *last) = (*last, (now, read));
        }
        let seconds = now.saturating_duration_since(before.0).as_secs_f64();
        if seconds > 0.0 { read.saturating_sub(before.1) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_age_is_that_of_the_first_byte_that_was_not_read() {
        let (start, mut unread) = (Instant::now(), Unread::default());
        unread.note(at(start, 0), 100, 0, None);
        unread.note(at(start, 10), 300, 0, None);
        assert_eq!(unread.since(0), Some(start));
        assert_eq!(unread.since(100), Some(at(start, 10)));
        assert_eq!(unread.since(300), None);
        // Read up to there, what came later is younger.
        unread.note(at(start, 20), 400, 150, None);
        assert_eq!(unread.since(150), Some(at(start, 10)));
        unread.note(at(start, 30), 400, 400, None);
        assert_eq!(unread.since(0), None);
    }

    #[test]
    fn a_file_written_long_ago_has_been_unread_since_then() {
        let (start, mut unread) = (Instant::now(), Unread::default());
        unread.note(at(start, 90), 100, 0, Some(start));
        assert_eq!(unread.since(0), Some(start));
    }

    #[test]
    fn notes_are_bounded_and_the_oldest_stays() {
        let (start, mut unread) = (Instant::now(), Unread::default());
        for second in 1..10_000 {
            unread.note(at(start, second), second * 10, 5, None);
        }
        assert!(unread.notes.len() <= MOST);
        assert_eq!(unread.since(5), Some(at(start, 1)));
        assert!(unread.since(9_999 * 10 - 1).is_some());
    }

    #[test]
    fn a_rate_is_of_the_last_ten_to_twenty_seconds() {
        let (start, mut unread) = (Instant::now(), Unread::default());
        assert_eq!(unread.rate(start, 1000), 0.0);
        assert_eq!(unread.rate(at(start, 10), 2000), 100.0);
        assert_eq!(unread.rate(at(start, 15), 2000), 1000.0 / 15.0);
        unread.rate(at(start, 20), 2000);
        assert_eq!(unread.rate(at(start, 30), 2000), 0.0);
    }
}
