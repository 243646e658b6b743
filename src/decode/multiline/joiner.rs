//! The records that are open in a file's streams.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::super::group::Group;
use super::super::{KEPT_ROOM, Limits};
use super::{Multiline, State};
use crate::event::Message;
use crate::source::{OpenGroup, Stream};

/// Lines come as they are whole anyway.
const UNLIMITED: Limits = Limits { max_message: usize::MAX };

/// Joins whole lines to records.
#[derive(Debug)]
pub(in crate::decode) struct Joiner {
    multiline: Arc<Multiline>,
    /// At most one a stream.
    open: Vec<Record>,
    /// What the last one was held in.
    room: Vec<u8>,
    /// Records that came out because they had reached a limit.
    limited: u64,
    /// A record that was set aside has ended.
    wants_text: bool,
}

#[derive(Debug)]
struct Record {
    lines: Group,
    /// None if it has ended, and is about to come out.
    state: Option<State>,
    /// The bytes of its text, also while that is set aside.
    len: usize,
    /// How many lines it has.
    count: usize,
}

impl Joiner {
    pub(in crate::decode) fn new(multiline: Arc<Multiline>) -> Self {
        Self { multiline, open: Vec::new(), room: Vec::new(), limited: 0, wants_text: false }
    }

    /// Takes a whole line, and hands out the record that it ends, and the one that it is, if so. A record is given up
    /// by this before it is handed out, and the line is kept by then: a panic over a record costs no other.
    pub(in crate::decode) fn line(
        &mut self,
        line: &Message<'_>,
        now: Instant,
        mut emit: impl FnMut(Message<'_>),
    ) {
        let open = self.open.iter().position(|record| record.lines.stream() == line.stream);
        let state = open.and_then(|at| self.open[at].state);
        let mut verdict = self.multiline.judge(state, line.body);
        if let (true, Some(at)) = (verdict.continues, open) {
            let record = &mut self.open[at];
            let len = record.len + 1 + line.body.len();
            if len <= self.multiline.max_size && record.count < self.multiline.max_lines {
                record.lines.add(b"\n", false, UNLIMITED, now);
                record.lines.add(line.body, line.cut, UNLIMITED, now);
                (record.len, record.count) = (len, record.count + 1);
                // What follows a line that is not whole would stand behind a hole.
                record.state = verdict.then.filter(|_| !line.cut);
                if record.state.is_none() {
                    self.close(at, &mut emit);
                }
                return;
            }
            self.limited += 1;
            verdict = self.multiline.judge(None, line.body);
        }
        let then = verdict.then.filter(|_| !line.cut);
        match open {
            None if then.is_none() => emit(*line),
            None => self.begin(line, then, now),
            Some(at) if self.open[at].lines.is_aside() => self.wants_text = true,
            Some(at) => {
                let ended = self.open.swap_remove(at);
                self.begin(line, then, now);
                emit(ended.lines.message());
                self.keep_room(ended);
                if then.is_none() {
                    self.close(self.open.len() - 1, &mut emit);
                }
            }
        }
    }

    /// The records that are open.
    pub(in crate::decode) fn open(&self) -> impl Iterator<Item = OpenGroup> {
        self.open.iter().map(|record| record.lines.open())
    }

    /// When the last line of each of them came.
    pub(in crate::decode) fn last_lines(&self) -> impl Iterator<Item = (Stream, Instant)> {
        self.open.iter().map(|record| (record.lines.stream(), record.lines.last_part()))
    }

    /// When the first of them will have waited long enough, of streams that are not `busy` with a line of which parts
    /// are to come.
    pub(in crate::decode) fn next_flush(&self, busy: impl Fn(Stream) -> bool) -> Option<Instant> {
        let waiting = self.open.iter().filter(|record| !busy(record.lines.stream()));
        waiting.map(|record| self.due(record)).min()
    }

    /// Hands out those that have waited long enough, of streams that are not `busy`.
    pub(in crate::decode) fn flush_due(
        &mut self,
        now: Instant,
        busy: impl Fn(Stream) -> bool,
        emit: impl FnMut(Message<'_>),
    ) {
        let due: Vec<Stream> = self
            .open
            .iter()
            .filter(|record| self.due(record) <= now && !busy(record.lines.stream()))
            .map(|record| record.lines.stream())
            .collect();
        self.flush_where(|stream| due.contains(&stream), emit);
    }

    /// Hands out all of them.
    pub(in crate::decode) fn flush(&mut self, emit: impl FnMut(Message<'_>)) {
        self.flush_where(|_| true, emit);
    }

    /// The bytes of text that they hold.
    pub(in crate::decode) fn held(&self) -> usize {
        self.open.iter().map(|record| record.lines.held()).sum()
    }

    /// Gives up their texts. They go on, and end where they would have ended.
    pub(in crate::decode) fn set_aside(&mut self) {
        self.open.iter_mut().for_each(|record| record.lines.set_aside());
        self.room = Vec::new();
    }

    /// Whether one that was set aside is to come out.
    pub(in crate::decode) fn wants_text(&self) -> bool {
        self.wants_text
    }

    pub(in crate::decode) fn take_limited(&mut self) -> u64 {
        mem::take(&mut self.limited)
    }

    pub(in crate::decode) fn shrink(&mut self) {
        self.room = Vec::new();
        self.open.shrink_to_fit();
    }

    fn due(&self, record: &Record) -> Instant {
        record.lines.due(self.multiline.flush_after)
    }

    fn begin(&mut self, line: &Message<'_>, state: Option<State>, now: Instant) {
        let room = mem::take(&mut self.room);
        let mut lines = Group::begin(line.start, line.stream, line.time, room, now);
        lines.add(line.body, line.cut, UNLIMITED, now);
        self.open.push(Record { lines, state, len: line.body.len(), count: 1 });
    }

    fn flush_where(&mut self, is_due: impl Fn(Stream) -> bool, mut emit: impl FnMut(Message<'_>)) {
        loop {
            let due = self.open.iter().enumerate().filter(|(_, record)| is_due(record.lines.stream()));
            let Some((at, _)) = due.min_by_key(|(_, record)| record.lines.open().start) else { return };
            self.close(at, &mut emit);
            if self.wants_text {
                return;
            }
        }
    }

    fn close(&mut self, at: usize, emit: &mut impl FnMut(Message<'_>)) {
        if self.open[at].lines.is_aside() {
            self.wants_text = true;
            return;
        }
        let ended = self.open.swap_remove(at);
        emit(ended.lines.message());
        self.keep_room(ended);
    }

    fn keep_room(&mut self, ended: Record) {
        let room = ended.lines.into_room();
        if (self.room.capacity()..=KEPT_ROOM).contains(&room.capacity()) {
            self.room = room;
        }
    }
}
