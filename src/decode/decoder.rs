//! The decoder of one file.

use std::mem;
use std::time::{Duration, Instant};

use super::group::{Group, up_to};
use super::multiline::Joiner;
use super::{Decoding, Format, KEPT_ROOM, Limits, Marker, Part, cri, docker, journald};
use crate::event::Message;
use crate::source::{OpenGroup, Position, Stream};

/// Turns the lines of one file into messages.
///
/// While no group is open and after [`shrink`](Self::shrink) it holds no memory of its own.
#[derive(Debug)]
pub struct Decoder {
    decoding: Decoding,
    /// By the number of the stream: lines before this offset are out already.
    resume: [u64; Stream::ALL.len()],
    /// By the number of the stream: lines from this offset on are another's.
    until: [u64; Stream::ALL.len()],
    /// Of split lines, at most one a stream.
    groups: Vec<Group>,
    /// Where whole lines go that may be joined.
    joiner: Option<Joiner>,
    /// What the last group, or the last unescaped text, was held in.
    room: Vec<u8>,
    counts: Counts,
    /// Whole lines in which it is are no messages.
    left_out: Option<Marker>,
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
    /// Split lines that came out without their last part, by age or at the end of the file.
    pub unfinished: u64,
    /// Records of several lines that came out because they had reached a limit.
    pub limited: u64,
    /// Lines that were left out because of a marker.
    pub left_out: u64,
}

impl Decoder {
    /// A decoder for a file that is read from a place where no group is open, and whose lines are not joined.
    pub fn new(format: Format, limits: Limits) -> Self {
        Self::of(&Decoding { format, limits, multiline: None })
    }

    /// A decoder for a file that is read from a place where no group is open.
    pub fn of(decoding: &Decoding) -> Self {
        Self {
            decoding: decoding.clone(),
            resume: [0; Stream::ALL.len()],
            until: [u64::MAX; Stream::ALL.len()],
            groups: Vec::new(),
            joiner: decoding.multiline.clone().map(Joiner::new),
            room: Vec::new(),
            counts: Counts::default(),
            left_out: None,
            wants_text: false,
            came: [None; Stream::ALL.len()],
        }
    }

    /// A decoder for a file that is read again from [`position.reread_from()`](Position::reread_from). Lines
    /// whose messages are out by this position are ignored.
    pub fn resume(decoding: &Decoding, position: &Position) -> Self {
        Self { resume: Stream::ALL.map(|stream| position.resume(stream)), ..Self::of(decoding) }
    }

    /// Lines that were not in the buffer by this position are ignored. Groups that are open at its offset are whole
    /// then, and to be [flushed](Self::flush).
    pub fn until(self, position: &Position) -> Self {
        Self { until: Stream::ALL.map(|stream| position.resume(stream)), ..self }
    }

    /// A decoder to read the file again from [`position.reread_from()`](Position::reread_from), where this one
    /// [wants the text](Self::wants_text) of a group. The groups stay as old as they are.
    pub fn again(&self, position: &Position) -> Self {
        let mut again = Self { until: self.until, ..Self::resume(&self.decoding, position) };
        for (stream, last) in self.last_parts() {
            let came = &mut again.came[stream as usize];
            let last = came.map_or(last, |(_, other)| last.max(other));
            *came = Some((position.offset, last));
        }
        again
    }

    /// From now on whole lines in which this marker is are left out, as if they were not in the file.
    pub fn leave_out(&mut self, marker: &Marker) {
        if self.left_out.is_none() {
            self.left_out = Some(marker.clone());
        }
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
        match self.decoding.format {
            Format::Plain => self.as_it_is(offset, line, cut, now, &mut emit),
            Format::Cri => match cri::parse(line) {
                Some(part) => self.part(offset, part, cut, now, &mut emit),
                None => self.malformed(offset, line, cut, now, &mut emit),
            },
            Format::Docker => {
                let mut room = mem::take(&mut self.room);
                match docker::parse(line, &mut room) {
                    Some(part) => self.part(offset, part, cut, now, &mut emit),
                    None => self.malformed(offset, line, cut, now, &mut emit),
                }
                self.keep_room(room);
            }
            Format::Journald => self.entry(offset, line, cut, &mut emit),
        }
    }

    /// The groups that are open, for the position; the earlier begun first. No allocation where there are none.
    pub fn open(&self) -> Vec<OpenGroup> {
        let Some(joiner) = &self.joiner else { return self.groups.iter().map(Group::open).collect() };
        let mut open: Vec<OpenGroup> = joiner.open().collect();
        for group in self.groups.iter().map(Group::open) {
            // Within a record of several lines its first tells where to begin.
            if open.iter().all(|record| record.stream != group.stream) {
                open.push(group);
            }
        }
        open.sort_unstable_by_key(|group| group.start);
        open
    }

    /// When the first of the open groups will have waited long enough, a split line for `age`, and
    /// [`flush_older_than`](Self::flush_older_than) has something to do.
    pub fn next_flush(&self, age: Duration) -> Option<Instant> {
        let split = self.groups.iter().map(|group| group.due(age)).min();
        let record = self.joiner.as_ref().and_then(|joiner| joiner.next_flush(self.busy()));
        split.into_iter().chain(record).min()
    }

    /// The bytes of text that open groups hold.
    pub fn held(&self) -> usize {
        let split: usize = self.groups.iter().map(Group::held).sum();
        split + self.joiner.as_ref().map_or(0, Joiner::held)
    }

    /// When the last part of any open group came.
    pub fn last_part(&self) -> Option<Instant> {
        self.last_parts().map(|(_, last)| last).max()
    }

    /// Gives up the text of all open groups. They stay open; once one of them ends, or is to come out for another
    /// reason, the decoder [wants its text](Self::wants_text).
    pub fn set_aside(&mut self) {
        self.groups.iter_mut().for_each(Group::set_aside);
        self.joiner.iter_mut().for_each(Joiner::set_aside);
        self.room = Vec::new();
    }

    /// Whether a group that was set aside is to come out. What came out since the last position is to be
    /// thrown away then, and the file to be read [`again`](Self::again).
    pub fn wants_text(&self) -> bool {
        self.wants_text || self.joiner.as_ref().is_some_and(Joiner::wants_text)
    }

    /// Hands out split lines whose last part came at least `age` ago, the earlier begun first, and records of several
    /// lines that have waited for as long as their route says.
    pub fn flush_older_than(&mut self, now: Instant, age: Duration, mut emit: impl FnMut(Message<'_>)) {
        self.flush_where(|group| group.due(age) <= now, &mut emit);
        let groups = &self.groups;
        if let Some(joiner) = &mut self.joiner {
            joiner.flush_due(now, |stream| groups.iter().any(|group| group.stream() == stream), emit);
        }
    }

    /// Hands out all open groups, the earlier begun first: the file has ended.
    pub fn flush(&mut self, mut emit: impl FnMut(Message<'_>)) {
        self.flush_where(|_| true, &mut emit);
        if let Some(joiner) = self.joiner.as_mut().filter(|_| !self.wants_text) {
            joiner.flush(emit);
        }
    }

    /// What was counted since this was last called.
    pub fn take_counts(&mut self) -> Counts {
        let limited = self.joiner.as_mut().map_or(0, Joiner::take_limited);
        Counts { limited, ..mem::take(&mut self.counts) }
    }

    /// Gives back the memory that is kept for the next line. For a file that has nothing more to read now.
    pub fn shrink(&mut self) {
        self.room = Vec::new();
        self.groups.shrink_to_fit();
        self.joiner.iter_mut().for_each(Joiner::shrink);
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
                return self.emit_line(message, now, emit);
            }
            None => {
                let room = mem::take(&mut self.room);
                self.groups.push(Group::begin(offset, part.stream, Some(part.time), room, now));
                self.groups.len() - 1
            }
        };
        let now = self.came(offset, part.stream, now);
        self.groups[at].add(part.text, cut, self.decoding.limits, now);
        if part.ends && self.groups[at].is_aside() {
            self.wants_text = true;
        } else if part.ends {
            self.groups[at].end();
            self.close(at, emit);
        }
    }

    /// An entry of the journal, which nothing is joined with.
    fn entry(&mut self, offset: u64, entry: &[u8], cut: bool, emit: &mut impl FnMut(Message<'_>)) {
        if self.is_out(offset, Stream::Plain) {
            return;
        }
        if self.is_left_out(entry) {
            self.counts.left_out += 1;
            return;
        }
        self.counts.cut += u64::from(cut);
        let (time, body) = journald::parse(entry);
        if body.is_empty() {
            self.counts.malformed += 1;
        }
        emit(Message { start: offset, stream: Stream::Plain, time: time.as_deref(), body, cut });
    }

    fn malformed(
        &mut self,
        offset: u64,
        line: &[u8],
        cut: bool,
        now: Instant,
        emit: &mut impl FnMut(Message<'_>),
    ) {
        if !self.is_out(offset, Stream::Plain) {
            self.counts.malformed += 1;
            self.as_it_is(offset, line, cut, now, emit);
        }
    }

    fn as_it_is(
        &mut self,
        offset: u64,
        line: &[u8],
        cut: bool,
        now: Instant,
        emit: &mut impl FnMut(Message<'_>),
    ) {
        if self.is_out(offset, Stream::Plain) {
            return;
        }
        let message = Message { start: offset, stream: Stream::Plain, time: None, body: line, cut };
        self.emit_line(message, now, emit);
    }

    /// Emits a message that one line holds completely.
    fn emit_line(&mut self, mut message: Message<'_>, now: Instant, emit: &mut impl FnMut(Message<'_>)) {
        if self.is_left_out(message.body) {
            self.counts.left_out += 1;
            return;
        }
        if !message.cut {
            message.body = message.body.strip_suffix(b"\r").unwrap_or(message.body);
        }
        if message.body.len() > self.decoding.limits.max_message {
            message.body = up_to(message.body, self.decoding.limits.max_message);
            message.cut = true;
        }
        self.counts.cut += u64::from(message.cut);
        let came = self.came[message.stream as usize];
        match &mut self.joiner {
            None => emit(message),
            Some(joiner) => joiner.line(&message, as_it_came(came, message.start, now), emit),
        }
    }

    fn flush_where(&mut self, is_due: impl Fn(&Group) -> bool, emit: &mut impl FnMut(Message<'_>)) {
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
            self.close(at, emit);
        }
    }

    fn close(&mut self, at: usize, emit: &mut impl FnMut(Message<'_>)) {
        let group = self.groups.swap_remove(at);
        let message = group.message();
        if self.is_left_out(message.body) {
            self.counts.left_out += 1;
        } else {
            self.counts.cut += u64::from(message.cut);
            match &mut self.joiner {
                None => emit(message),
                Some(joiner) => joiner.line(&message, group.last_part(), emit),
            }
        }
        self.keep_room(group.into_room());
    }

    fn is_left_out(&self, line: &[u8]) -> bool {
        self.left_out.as_ref().is_some_and(|marker| marker.is_in(line))
    }

    /// The streams of which a line is open, and when the last part of each came; a stream may be there twice.
    fn last_parts(&self) -> impl Iterator<Item = (Stream, Instant)> {
        let split = self.groups.iter().map(|group| (group.stream(), group.last_part()));
        split.chain(self.joiner.iter().flat_map(Joiner::last_lines))
    }

    /// Whether the last part of a stream's line is still to come.
    fn busy(&self) -> impl Fn(Stream) -> bool {
        |stream| self.groups.iter().any(|group| group.stream() == stream)
    }

    fn keep_room(&mut self, room: Vec<u8>) {
        if (self.room.capacity()..=KEPT_ROOM).contains(&room.capacity()) {
            self.room = room;
        }
    }

    fn is_out(&self, offset: u64, stream: Stream) -> bool {
        !(self.resume[stream as usize]..self.until[stream as usize]).contains(&offset)
    }

    fn came(&self, offset: u64, stream: Stream, now: Instant) -> Instant {
        as_it_came(self.came[stream as usize], offset, now)
    }
}

/// When a line at an offset came: now, unless it is read again.
fn as_it_came(came: Option<(u64, Instant)>, offset: u64, now: Instant) -> Instant {
    match came {
        Some((until, came)) if offset < until => came,
        _ => now,
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
