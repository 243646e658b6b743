//! The decoder of one file.

use std::mem;
use std::time::{Duration, Instant};

use super::group::{Group, up_to};
use super::{Format, Limits, Part, cri, docker};
use crate::event::Message;
use crate::source::{OpenGroup, Position, Stream};

/// Room for text that is kept between two lines; more is given back at once.
const KEPT_ROOM: usize = 32 << 10;

/// Turns the lines of one file into messages.
///
/// While no group is open and after [`shrink`](Self::shrink) it holds no memory of its own.
#[derive(Debug)]
pub struct Decoder {
    format: Format,
    limits: Limits,
    /// By the number of the stream: lines before this offset are out already.
    resume: [u64; Stream::ALL.len()],
    /// At most one a stream.
    groups: Vec<Group>,
    /// What the last group, or the last unescaped text, was held in.
    room: Vec<u8>,
    counts: Counts,
    /// A group that was set aside has ended.
    wants_text: bool,
    /// By the number of the stream, for a group that is read again: its lines before this offset came at that time.
    came: [Option<(u64, Instant)>; Stream::ALL.len()],
}

/// What a decoder saw since it was last asked. Lines that are read again after a restart are not counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that were not in the file's format; each came out as it was.
    pub malformed: u64,
    /// Messages whose end is missing, because the line or the joined message was too long.
    pub cut: u64,
    /// Groups that came out without their last part, by age or at the end of the file.
    pub unfinished: u64,
}

impl Decoder {
    /// A decoder for a file that is read from a place where no group is open.
    pub fn new(format: Format, limits: Limits) -> Self {
        Self {
            format,
            limits,
            resume: [0; Stream::ALL.len()],
            groups: Vec::new(),
            room: Vec::new(),
            counts: Counts::default(),
            wants_text: false,
            came: [None; Stream::ALL.len()],
        }
    }

    /// A decoder for a file that is read again from [`position.reread_from()`](Position::reread_from). Lines
    /// whose messages are out by this position are ignored.
    pub fn resume(format: Format, limits: Limits, position: &Position) -> Self {
        Self { resume: Stream::ALL.map(|stream| position.resume(stream)), ..Self::new(format, limits) }
    }

    /// A decoder to read the file again from [`position.reread_from()`](Position::reread_from), where this one
    /// [wants the text](Self::wants_text) of a group. The groups stay as old as they are.
    pub fn again(&self, position: &Position) -> Self {
        let mut again = Self::resume(self.format, self.limits, position);
        for group in &self.groups {
            again.came[group.stream() as usize] = Some((position.offset, group.last_part()));
        }
        again
    }

    /// Takes the line that starts at `offset`, without its newline, and hands out the message that it is or
    /// ends, if any. `cut` tells that the line was longer than what is passed here. A carriage return at the
    /// end of a line is taken off.
    pub fn line(
        &mut self,
        offset: u64,
        line: &[u8],
        cut: bool,
        now: Instant,
        mut emit: impl FnMut(Message<'_>),
    ) {
        match self.format {
            Format::Plain => self.as_it_is(offset, line, cut, emit),
            Format::Cri => match cri::parse(line) {
                Some(part) => self.part(offset, part, cut, now, &mut emit),
                None => self.malformed(offset, line, cut, emit),
            },
            Format::Docker => {
                let mut room = mem::take(&mut self.room);
                match docker::parse(line, &mut room) {
                    Some(part) => self.part(offset, part, cut, now, &mut emit),
                    None => self.malformed(offset, line, cut, emit),
                }
                self.keep_room(room);
            }
        }
    }

    /// The groups that are open, for the position. No allocation where there are none.
    pub fn open(&self) -> Vec<OpenGroup> {
        self.groups.iter().map(Group::open).collect()
    }

    /// When the first of the open groups will have been idle for `age`, and
    /// [`flush_older_than`](Self::flush_older_than) has something to do.
    pub fn next_flush(&self, age: Duration) -> Option<Instant> {
        self.groups.iter().map(|group| group.due(age)).min()
    }

    /// The bytes of text that open groups hold.
    pub fn held(&self) -> usize {
        self.groups.iter().map(Group::held).sum()
    }

    /// When the last part of any open group came.
    pub fn last_part(&self) -> Option<Instant> {
        self.groups.iter().map(Group::last_part).max()
    }

    /// Gives up the text of all open groups. They stay open; once one of them ends, or is to come out for another
    /// reason, the decoder [wants its text](Self::wants_text).
    pub fn set_aside(&mut self) {
        self.groups.iter_mut().for_each(Group::set_aside);
        self.room = Vec::new();
    }

    /// Whether a group that was set aside is to come out. What came out since the last position is to be
    /// thrown away then, and the file to be read [`again`](Self::again).
    pub fn wants_text(&self) -> bool {
        self.wants_text
    }

    /// Hands out the groups whose last part came at least `age` ago, the earlier begun first.
    pub fn flush_older_than(&mut self, now: Instant, age: Duration, emit: impl FnMut(Message<'_>)) {
        self.flush_where(|group| group.due(age) <= now, emit);
    }

    /// Hands out all open groups, the earlier begun first: the file has ended.
    pub fn flush(&mut self, emit: impl FnMut(Message<'_>)) {
        self.flush_where(|_| true, emit);
    }

    /// What was counted since this was last called.
    pub fn take_counts(&mut self) -> Counts {
        mem::take(&mut self.counts)
    }

    /// Gives back the memory that is kept for the next line. For a file that has nothing more to read now.
    pub fn shrink(&mut self) {
        self.room = Vec::new();
        self.groups.shrink_to_fit();
    }

    fn part(
        &mut self,
        offset: u64,
        part: Part<'_>,
        cut: bool,
        now: Instant,
        emit: &mut impl FnMut(Message<'_>),
    ) {
        if self.is_out(offset, part.stream) {
            return;
        }
        let open = self.groups.iter().position(|group| group.stream() == part.stream);
        let at = match open {
            Some(at) => at,
            None if part.ends => {
                let message = Message {
                    start: offset,
                    stream: part.stream,
                    time: Some(part.time),
                    body: part.text,
                    cut,
                };
                return self.emit_line(message, emit);
            }
            None => {
                let room = mem::take(&mut self.room);
                self.groups.push(Group::begin(offset, &part, room, now));
                self.groups.len() - 1
            }
        };
        let now = match self.came[part.stream as usize] {
            Some((until, came)) if offset < until => came,
            _ => now,
        };
        self.groups[at].add(part.text, cut, self.limits, now);
        if part.ends && self.groups[at].is_aside() {
            self.wants_text = true;
        } else if part.ends {
            self.groups[at].end();
            self.close(at, emit);
        }
    }

    fn malformed(&mut self, offset: u64, line: &[u8], cut: bool, emit: impl FnMut(Message<'_>)) {
        if !self.is_out(offset, Stream::Plain) {
            self.counts.malformed += 1;
            self.as_it_is(offset, line, cut, emit);
        }
    }

    fn as_it_is(&mut self, offset: u64, line: &[u8], cut: bool, mut emit: impl FnMut(Message<'_>)) {
        if self.is_out(offset, Stream::Plain) {
            return;
        }
        let message = Message { start: offset, stream: Stream::Plain, time: None, body: line, cut };
        self.emit_line(message, &mut emit);
    }

    /// Emits a message that one line holds completely.
    fn emit_line(&mut self, mut message: Message<'_>, emit: &mut impl FnMut(Message<'_>)) {
        if !message.cut {
            message.body = message.body.strip_suffix(b"\r").unwrap_or(message.body);
        }
        if message.body.len() > self.limits.max_message {
            message.body = up_to(message.body, self.limits.max_message);
            message.cut = true;
        }
        self.counts.cut += u64::from(message.cut);
        emit(message);
    }

    fn flush_where(&mut self, is_due: impl Fn(&Group) -> bool, mut emit: impl FnMut(Message<'_>)) {
        if self.groups.iter().any(|group| group.is_aside() && is_due(group)) {
            self.wants_text = true;
            return;
        }
        loop {
            let due = self.groups.iter().enumerate().filter(|(_, group)| is_due(group));
            let Some((at, _)) = due.min_by_key(|(_, group)| group.open().start) else {
                return;
            };
            self.counts.unfinished += 1;
            self.close(at, &mut emit);
        }
    }

    fn close(&mut self, at: usize, emit: &mut impl FnMut(Message<'_>)) {
        let group = self.groups.swap_remove(at);
        let message = group.message();
        self.counts.cut += u64::from(message.cut);
        emit(message);
        self.keep_room(group.into_room());
    }

    fn keep_room(&mut self, room: Vec<u8>) {
        if (self.room.capacity()..=KEPT_ROOM).contains(&room.capacity()) {
            self.room = room;
        }
    }

    fn is_out(&self, offset: u64, stream: Stream) -> bool {
        offset < self.resume[stream as usize]
    }
}

#[cfg(test)]
impl Decoder {
    pub(super) fn groups_room(&self) -> usize {
        self.groups.capacity()
    }

    pub(super) fn text_room(&self) -> usize {
        self.room.capacity()
    }
}
