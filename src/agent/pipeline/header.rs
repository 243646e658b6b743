//! The lines at the beginning of a file that are a header and no messages.
//!
//! Which they are is a matter of their place in the file alone, so nothing of it is kept: where reading begins behind
//! the beginning, after a restart, what lies before is looked at once more.

use std::io;
use std::time::Instant;

use super::Pipeline;
use super::block::BLOCK;
use super::lane::Lane;
use crate::source::Incarnation;
use crate::tail::ReadOutcome;
use crate::tail::identity::Proof;

/// How far the header of a file reaches, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Where the first line behind it begins.
    pub(super) end: Option<u64>,
    /// How many lines it has, of which none were seen yet.
    left: u64,
    /// How many were passed over here.
    pub(super) skipped: u64,
}

impl Header {
    /// Whether the line that begins here belongs to it. To be asked of one line after the other.
    pub(super) fn holds(&mut self, offset: u64) -> bool {
        let holds = match self.end {
            Some(end) => offset < end,
            None if self.left > 0 => {
                self.left -= 1;
                true
            }
            None => {
                self.end = Some(offset);
                false
            }
        };
        self.skipped += u64::from(holds);
        holds
    }

    /// Passes over text that was read before; `at` is where it begins.
    fn pass(&mut self, text: &[u8], at: u64) {
        for newline in memchr::memchr_iter(b'\n', text) {
            self.left -= 1;
            if self.left == 0 {
                self.end = Some(at + newline as u64 + 1);
                return;
            }
        }
    }
}

impl Pipeline {
    /// The header of a file of which reading goes on at an offset, inside of a line that was cut or not.
    ///
    /// # Errors
    ///
    /// What lies before cannot be read.
    pub(super) fn header(
        &mut self,
        incarnation: Incarnation,
        lane: &Lane,
        at: u64,
        mid_line: bool,
        now: Instant,
    ) -> io::Result<Header> {
        let lines = u64::from(self.plans[lane.route].header_lines);
        let known = lane.header_end.or((lines == 0).then_some(0));
        let mut header = Header { end: known, left: lines, skipped: 0 };
        let (mut passed, mut text) = (0, Vec::new());
        while header.end.is_none() && passed < at {
            let want = usize::try_from(at - passed).unwrap_or(BLOCK).min(BLOCK);
            let before = Proof { end: passed, ..Proof::default() };
            match self.tailer.read(incarnation, &before, want, &mut text, now)? {
                ReadOutcome::Bytes(1..) => header.pass(&text, passed),
                // What follows is no better to be had, and that is told there.
                ReadOutcome::Bytes(_) | ReadOutcome::Replaced => break,
            }
            passed += text.len() as u64;
        }
        if mid_line && header.end.is_none() {
            header.left = header.left.saturating_sub(1);
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which lines of a text belong to its header, told in two parts that meet at an offset.
    fn told(lines: u64, text: &[u8], at: usize) -> Vec<bool> {
        let mut header = Header { end: None, left: lines, skipped: 0 };
        header.pass(&text[..at], 0);
        let mut offset = at as u64;
        let rest = text[at..].split_inclusive(|byte| *byte == b'\n').map(|line| {
            let holds = header.holds(offset);
            offset += line.len() as u64;
            holds
        });
        rest.collect()
    }

    #[test]
    fn a_line_is_the_headers_by_its_place_wherever_reading_goes_on() {
        let text = b"h1\nh2\n\nm1\nm2\n";
        let whole = told(3, text, 0);
        assert_eq!(whole, [true, true, true, false, false]);
        for (skip, at) in [(1, 3), (2, 6), (3, 7), (4, 10)] {
            assert_eq!(told(3, text, at), whole[skip..], "from {at}");
        }
    }

    #[test]
    fn a_place_behind_the_header_knows_it_when_it_is_asked_of_what_lies_before() {
        let mut header = Header { end: None, left: 2, skipped: 0 };
        header.pass(b"h1\nh2\nm1\n", 0);
        assert_eq!(header.end, Some(6));
        assert!(header.holds(3) && !header.holds(6), "a part that is read once more is told by its offset");
        assert_eq!(header.skipped, 1);
    }
}
