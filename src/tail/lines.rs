//! Splitting what was read into lines.

use crate::journal::Framed;

/// A line without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where it starts in the file.
    pub offset: u64,
    /// Its bytes; a `\r` before the newline is still there.
    pub bytes: &'a [u8],
    /// It was longer than the limit, and its end is missing.
    pub cut: bool,
}

/// Walks over the lines in a buffer. What has no newline yet is left, unless it is longer than a line may be:
/// then it is cut, and its rest is passed over, however long.
#[derive(Debug)]
pub struct Lines<'a> {
    buffer: &'a [u8],
    /// The offset of the buffer's first byte in the file.
    start: u64,
    at: usize,
    /// The bytes at `at` belong to a line that was cut.
    mid_line: bool,
    max_line: usize,
    /// Nothing will follow: what has no newline is a line too.
    last: bool,
    /// The buffer holds entries of the journal, and this is where the next one would be.
    entries: Option<u64>,
}

impl<'a> Lines<'a> {
    /// Of entries of the journal in frames (see [`crate::journal`]): an entry's number is its offset. After the last of
    /// them the offset is `end`.
    pub fn entries(buffer: &'a [u8], start: u64, end: u64) -> Self {
        let none = Self::new(buffer, start, false, usize::MAX, false);
        Self { entries: Some(end), ..none }
    }

    /// Of a buffer that was read at `start`; `mid_line` if it begins inside a line that was cut.
    pub fn new(buffer: &'a [u8], start: u64, mid_line: bool, max_line: usize, last: bool) -> Self {
        Self { buffer, start, at: 0, mid_line, max_line, last, entries: None }
    }

    /// Where the next line starts: everything before it was taken.
    pub fn offset(&self) -> u64 {
        match self.entries {
            Some(_) => self.start,
            None => self.start + self.at as u64,
        }
    }

    fn next_entry(&mut self, end: u64) -> Option<Line<'a>> {
        let Some(framed) = Framed::first(&self.buffer[self.at..]) else {
            self.start = self.start.max(end);
            return None;
        };
        self.at += framed.room();
        self.start = framed.number.saturating_add(1);
        Some(Line { offset: framed.number, bytes: framed.fields, cut: framed.cut })
    }

    /// How many bytes of the buffer were taken.
    pub fn consumed(&self) -> usize {
        self.at
    }

    /// Whether [`offset`](Self::offset) is inside a line that was cut.
    pub fn mid_line(&self) -> bool {
        self.mid_line
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        if let Some(end) = self.entries {
            return self.next_entry(end);
        }
        loop {
            let rest = &self.buffer[self.at..];
            let newline = memchr::memchr(b'\n', rest);
            if self.mid_line {
                self.at += newline.map_or(rest.len(), |newline| newline + 1);
                self.mid_line = newline.is_none() && !self.last;
                newline?;
                continue;
            }
            let offset = self.offset();
            let (len, taken) = match newline {
                Some(newline) => (newline, newline + 1),
                None if rest.len() > self.max_line => (rest.len(), rest.len()),
                None if self.last && !rest.is_empty() => (rest.len(), rest.len()),
                None => return None,
            };
            self.at += taken;
            self.mid_line = newline.is_none() && !self.last;
            return Some(Line { offset, bytes: &rest[..len.min(self.max_line)], cut: len > self.max_line });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(text: &[u8], max_line: usize, last: bool) -> (Vec<(u64, Vec<u8>, bool)>, u64) {
        let mut lines = Lines::new(text, 100, false, max_line, last);
        let taken = lines.by_ref().map(|line| (line.offset, line.bytes.to_vec(), line.cut)).collect();
        (taken, lines.offset())
    }

    #[test]
    fn a_line_without_its_newline_is_left_until_the_file_has_ended() {
        assert_eq!(
            lines(b"a\n\nbc", 10, false),
            (vec![(100, b"a".to_vec(), false), (102, vec![], false)], 103)
        );
        let (taken, end) = lines(b"a\nbc", 10, true);
        assert_eq!((taken.last().unwrap(), end), (&(102, b"bc".to_vec(), false), 104));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_once_and_its_rest_passed_over() {
        assert_eq!(
            lines(b"abcdef\ngh\n", 3, false).0,
            vec![(100, b"abc".to_vec(), true), (107, b"gh".to_vec(), false)]
        );
        assert_eq!(lines(b"abc\n", 3, false).0, vec![(100, b"abc".to_vec(), false)]);
    }

    proptest! {
        /// However the bytes arrive, the lines are the same.
        #[test]
        fn reading_in_pieces_gives_the_lines_of_reading_at_once(
            text in "([a-c]{0,12}\n){0,8}[a-c]{0,6}", cuts in proptest::collection::vec(0..100_usize, 0..6),
        ) {
            let text = text.as_bytes();
            let whole: Vec<_> = Lines::new(text, 0, false, 5, true).map(|line| (line.offset, line.bytes.to_vec(), line.cut)).collect();
            let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            ends.sort_unstable();
            ends.push(text.len());
            let (mut at, mut mid_line, mut seen) = (0, false, Vec::new());
            for (index, end) in ends.iter().enumerate() {
                let mut lines = Lines::new(&text[at..*end], at as u64, mid_line, 5, index + 1 == ends.len());
                seen.extend(lines.by_ref().map(|line| (line.offset, line.bytes.to_vec(), line.cut)));
                at += lines.consumed();
                mid_line = lines.mid_line();
            }
            prop_assert_eq!(seen, whole);
        }
    }
}
