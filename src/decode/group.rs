//! The parts of a split line, or the lines of a record, on their way to one message.

use std::time::{Duration, Instant};

use super::Limits;
use crate::event::Message;
use crate::source::{OpenGroup, Stream};

/// Parts that wait for their last. Holds at most [`Limits::max_message`] bytes of text.
#[derive(Debug)]
pub(super) struct Group {
    stream: Stream,
    start: u64,
    time: Option<String>,
    text: Vec<u8>,
    cut: bool,
    last_part: Instant,
    /// Its text was given up, to be read again when it ends.
    aside: bool,
}

impl Group {
    /// Begins with the part at `start`, its text to be kept in `room`.
    pub(super) fn begin(
        start: u64,
        stream: Stream,
        time: Option<&str>,
        mut room: Vec<u8>,
        now: Instant,
    ) -> Self {
        room.clear();
        Self {
            stream,
            start,
            time: time.map(str::to_owned),
            text: room,
            cut: false,
            last_part: now,
            aside: false,
        }
    }

    /// Gives up its text; what is known of it from now on is where it began and when its last part came.
    pub(super) fn set_aside(&mut self) {
        (self.text, self.time, self.aside) = (Vec::new(), None, true);
    }

    pub(super) fn is_aside(&self) -> bool {
        self.aside
    }

    /// The bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.text.capacity()
    }

    pub(super) fn last_part(&self) -> Instant {
        self.last_part
    }

    /// Adds a part's text. Once something is missing (`cut`, or beyond the limit), nothing is added any more:
    /// a message may lack its end but has no hole.
    pub(super) fn add(&mut self, text: &[u8], cut: bool, limits: Limits, now: Instant) {
        self.last_part = now;
        if self.cut || self.aside {
            return;
        }
        let room = limits.max_message.saturating_sub(self.text.len());
        let kept = up_to(text, room);
        self.text.extend_from_slice(kept);
        self.cut = cut || kept.len() < text.len();
    }

    /// The last part is in, so a carriage return at the end belonged to the line's end.
    pub(super) fn end(&mut self) {
        if !self.cut && self.text.ends_with(b"\r") {
            self.text.pop();
        }
    }

    pub(super) fn stream(&self) -> Stream {
        self.stream
    }

    pub(super) fn open(&self) -> OpenGroup {
        OpenGroup { stream: self.stream, start: self.start }
    }

    /// When it will have been idle for `age`.
    pub(super) fn due(&self, age: Duration) -> Instant {
        self.last_part + age
    }

    pub(super) fn message(&self) -> Message<'_> {
        Message {
            start: self.start,
            stream: self.stream,
            time: self.time.as_deref(),
            body: &self.text,
            cut: self.cut,
        }
    }

    /// What it held its text in.
    pub(super) fn into_room(self) -> Vec<u8> {
        self.text
    }
}

/// The first `limit` bytes of a text, or a few less so that no UTF-8 character is cut through.
pub(super) fn up_to(text: &[u8], limit: usize) -> &[u8] {
    if text.len() <= limit {
        return text;
    }
    let is_continuation = |at: usize| text[at] & 0b1100_0000 == 0b1000_0000;
    // A character has at most three continuation bytes; more are not UTF-8 anyway.
    let end = (limit.saturating_sub(3)..=limit).rev().find(|&at| !is_continuation(at));
    &text[..end.unwrap_or(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_never_goes_through_a_character() {
        let text = "aé😀z".as_bytes();
        let kept: Vec<usize> = (0..=9).map(|limit| up_to(text, limit).len()).collect();
        assert_eq!(kept, [0, 1, 1, 3, 3, 3, 3, 7, 8, 8]);
        assert_eq!(up_to(&[0x80; 10], 5), [0x80; 5]);
    }
}
