//! A turn of one cursor: a block of lines is read, decoded, processed and encoded.

use std::io;
use std::time::{Instant, SystemTime};

use tracing::{info, warn};

use super::Pipeline;
use super::append::Stuck;
use super::emit::Emit;
use super::lane::Lane;
use super::pods::PodOfLane;
use super::rate::{GivenUp, LEAST};
use super::tapped::Note;
use crate::agent::casualties::Casualties;
use crate::encode;
use crate::event::Fields;
use crate::process::StepCounts;
use crate::record::Records;
use crate::source::{Incarnation, Position};
use crate::tail::identity::Proof;
use crate::tail::{Lines, ReadOutcome, WhenExceeded};

/// What a turn reads at most. Large enough that a frame's fixed cost does not count, small enough that many
/// files get their turn soon.
pub(in crate::agent) const BLOCK: usize = 256 << 10;
/// What a runtime puts in front of a line's text, generously.
const LINE_OVERHEAD: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Scratch {
    pub(super) block: Vec<u8>,
    pub(super) records: Records,
    /// What of them goes to destinations that have a condition; of a file of several routes, to each.
    pub(super) selected: Vec<(usize, Records)>,
    /// Which of them they are, while somebody looks.
    pub(super) notes: Vec<Note>,
    pub(super) casualties: Casualties,
    pub(super) fields: Fields<'static>,
    pub(super) source: Vec<u8>,
}

/// What a turn of one cursor came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There may be more right now.
    More,
    /// The end of the file as it is now.
    End,
    /// It cannot be read now.
    Failed,
    /// Nothing can be done until there is room.
    Blocked,
    /// It has read as much as it may for now.
    Waits,
    /// The file is another now.
    Replaced,
}

impl Pipeline {
    /// One block for one cursor: read, decode, encode, append.
    pub(super) fn advance(
        &mut self,
        incarnation: Incarnation,
        lane: &mut Lane,
        index: usize,
        now: Instant,
        wall: SystemTime,
        to_end: bool,
    ) -> Turn {
        if let Some(room) = lane.cursors[index].blocked {
            let mut waiting = lane.cursors[index].to.clone();
            waiting.retain(|out| !self.may_take(*out, room, now));
            // They take turns, in the order that `retry_blocked` gives.
            if !lane.retry || waiting.len() == lane.cursors[index].to.len() {
                return Turn::Blocked;
            }
            lane.leave_behind(index, &waiting, room, &self.plans);
        }
        lane.cursors[index].blocked = None;
        let mut scratch = std::mem::take(&mut self.scratch);
        let turn = loop {
            let rereading = lane.cursors[index].is_rereading();
            match self.block(incarnation, lane, index, now, wall, to_end, &mut scratch) {
                // What is read again up to the position, because a group was open, makes no frame of its own; and
                // its text must not be given up before it could come out.
                Turn::More if rereading || lane.cursors[index].is_rereading() => {}
                turn => break turn,
            }
        };
        self.scratch = scratch;
        turn
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one turn")]
    fn block(
        &mut self,
        incarnation: Incarnation,
        lane: &mut Lane,
        index: usize,
        now: Instant,
        wall: SystemTime,
        to_end: bool,
        scratch: &mut Scratch,
    ) -> Turn {
        let limit = lane.limit(index);
        lane.begin(index, &self.plans);
        let max_line = self.settings.max_line.0 as usize + LINE_OVERHEAD;
        let rereading = lane.cursors[index].is_rereading();
        let mut bucket = self.bucket(incarnation, lane, index, now);
        if let Some(bucket) = &mut bucket
            && !rereading
            && self.must_wait(incarnation, bucket, now)
        {
            return Turn::Waits;
        }
        let share = self.share(lane, index);
        let cursor = &mut lane.cursors[index];
        let at = cursor.proof.end;
        let limit = if rereading { Some(cursor.position.offset) } else { limit };
        let mid_line = cursor.position.mid_line && !rereading;
        let first_header = match self.header(incarnation, lane, at, mid_line, now) {
            Ok(header) => header,
            Err(error) => return self.unreadable(incarnation, &error),
        };
        let cursor = &mut lane.cursors[index];
        // Of the journal an offset is a number of entries.
        let is_journal = self.tailer.is_journal(incarnation);
        let mut room = limit.filter(|_| !is_journal).map_or(usize::MAX, |limit| (limit - at) as usize);
        let mut want = share.min(room);
        if let Some(bucket) = bucket.as_ref().filter(|bucket| bucket.when_exceeded() == WhenExceeded::Pause) {
            want = want.min(bucket.bytes().max(LEAST));
        }
        let before = bucket;
        let shown = self.taps.is_open();
        let (consumed, end, mid_line, full, count, given_up, header) = loop {
            bucket = before;
            let mut entries = None;
            let full = if is_journal {
                let read = self.tailer.read_entries(incarnation, at, limit, want, &mut scratch.block, now);
                entries = Some(read.end);
                read.more
            } else {
                match self.tailer.read(incarnation, &cursor.proof, want, &mut scratch.block, now) {
                    Ok(ReadOutcome::Bytes(read)) => read == want,
                    Ok(ReadOutcome::Replaced) => return Turn::Replaced,
                    Err(error) => return self.unreadable(incarnation, &error),
                }
            };
            // A look at the whole block, so that lines are not looked at where there is nothing.
            if let Some(own) = &self.own_log.marker
                && own.is_in(&scratch.block)
            {
                cursor.decoder.leave_out(own);
            }
            let last = !full
                && !rereading
                && !cursor.is_repair()
                && (to_end || self.tailer.has_ended(incarnation, now));
            scratch.records.clear();
            scratch.select(&lane.branches, &self.plans, &cursor.to);
            scratch.notes.clear();
            scratch.casualties.clear();
            let mut lines = match entries {
                Some(end) => Lines::entries(&scratch.block, at, end),
                None => Lines::new(&scratch.block, at, mid_line, max_line, last),
            };
            let time_read = encode::time_read(wall);
            let mut emit = Emit {
                branches: &mut lane.branches,
                stakes: &lane.stakes,
                plans: &self.plans,
                records: &mut scratch.records,
                selected: &mut scratch.selected,
                notes: shown.then_some(&mut scratch.notes),
                fields: &mut scratch.fields,
                time_read: &time_read,
                kubernetes: lane.pod.as_ref().and_then(PodOfLane::in_conditions),
                now,
                bucket: bucket.as_mut().filter(|bucket| bucket.when_exceeded() == WhenExceeded::Drop),
                given_up: GivenUp::default(),
            };
            let casualties = &mut scratch.casualties;
            let mut header = first_header;
            let count = casualties.lines(&mut lines, |casualties, line| {
                if header.holds(line.offset) {
                    return;
                }
                cursor.decoder.line(line.offset, line.bytes, line.cut, now, |message| {
                    emit.message(&message, casualties);
                });
            });
            let consumed = lines.consumed();
            let end = lines.offset();
            if consumed == 0 && full && !is_journal {
                // A line that is longer than what was read, or that another cursor took without its newline.
                if want == room {
                    room = usize::MAX;
                }
                want = (want * 4).clamp(BLOCK, max_line + 1).min(room);
                continue;
            }
            casualties.rest(|casualties| {
                // Where there is more to read, the rest of a group may be in it.
                if !full {
                    cursor.decoder.flush_older_than(now, self.settings.flush_after, |message| {
                        emit.message(&message, casualties);
                    });
                }
                if last || cursor.ends_at(end) {
                    cursor.decoder.flush(|message| {
                        emit.message(&message, casualties);
                    });
                }
            });
            let given_up = emit.given_up;
            if cursor.decoder.wants_text() {
                cursor.read_again();
                // What was made of this block is made once more.
                for branch in &mut lane.branches {
                    branch.encoder.take_counts();
                    self.plans[branch.route].take_counts();
                }
                return Turn::More;
            }
            if rereading {
                // They are dead letters already.
                casualties.clear();
            }
            break (consumed, end, lines.mid_line(), full, count, given_up, header);
        };
        self.count(incarnation, lane, index);
        lane.header_end = header.end;
        let cursor = &mut lane.cursors[index];
        let proof = match consumed {
            _ if is_journal => Proof { end, ..Proof::default() },
            0 => cursor.proof,
            _ => Proof::of(&scratch.block[..consumed], end),
        };
        let position = Position { offset: end, mid_line, open: cursor.decoder.open() };
        if rereading && end < cursor.position.offset {
            cursor.proof = proof;
            return if consumed == 0 { Turn::End } else { Turn::More };
        }
        if position == cursor.position && scratch.records.is_empty() && scratch.casualties.is_empty() {
            cursor.proof = proof;
            return if full && consumed > 0 { Turn::More } else { Turn::End };
        }
        self.dirty = true;
        let is_first = self.tailer.entry(incarnation).is_some_and(|entry| entry.proof.end < end);
        let Stuck { to, room, all } =
            self.append(incarnation, &lane.cursors[index], &position, proof, scratch, now, wall);
        if shown && !all {
            self.show(incarnation, lane, index, &to, scratch, now);
        }
        if !all {
            lane.served = self.turn;
            self.count_given_up(incarnation, given_up);
            if let Some(mut bucket) = bucket {
                if bucket.when_exceeded() == WhenExceeded::Pause {
                    bucket.take(consumed as u64, count);
                }
                self.keep_bucket(lane, bucket);
            }
        }
        if !all && is_first {
            self.count_of_pod(lane, scratch.records.len());
            self.totals.read(&self.routes[lane.route], count, consumed as u64);
            self.totals.header_lines.inc_by(header.skipped);
            for branch in &lane.branches {
                let plan = &self.plans[branch.route];
                if branch.excluded > 0 {
                    self.pods.store.metrics().excluded(plan.name.as_str(), branch.excluded);
                }
                let (step, dropped) = (plan.chain.len(), branch.nowhere);
                let counts = StepCounts { step, name: "to", failed: 0, dropped, redacted: 0 };
                self.totals.count_step(plan.name.as_str(), &counts);
            }
        }
        // They stay where they are; the log file is their buffer until there is room.
        if !lane.leave_behind(index, &to, room, &self.plans) {
            return Turn::Blocked;
        }
        let cursor = &mut lane.cursors[index];
        cursor.position = position;
        cursor.proof = proof;
        if full && consumed > 0 { Turn::More } else { Turn::End }
    }

    fn unreadable(&self, incarnation: Incarnation, error: &io::Error) -> Turn {
        let path = self.tailer.entry(incarnation).map(|entry| entry.path.clone()).unwrap_or_default();
        warn!(event = "read_failed", path = %path.display(), %error, "the file cannot be read; it is tried again");
        Turn::Failed
    }

    fn count(&mut self, incarnation: Incarnation, lane: &mut Lane, index: usize) {
        let decoded = lane.cursors[index].decoder.take_counts();
        self.totals.own_log_lines.inc_by(decoded.left_out);
        if decoded.left_out > 0 && !std::mem::replace(&mut self.own_log.met, true) {
            let path = self.tailer.entry(incarnation).map(|entry| entry.path.clone()).unwrap_or_default();
            info!(event = "own_log_met", path = %path.display(),
                "kinetail's own log is in this file: its lines are left out and counted, here and elsewhere");
        }
        self.totals.malformed.inc_by(decoded.malformed);
        self.totals.cut.inc_by(decoded.cut);
        self.totals.unfinished.inc_by(decoded.unfinished);
        self.totals.limited.inc_by(decoded.limited);
        for branch in &mut lane.branches {
            let encoded = branch.encoder.take_counts();
            self.totals.invalid_utf8.inc_by(encoded.invalid_utf8);
            self.totals.renamed_fields.inc_by(encoded.renamed_fields);
            let plan = &self.plans[branch.route];
            for counts in plan.take_counts() {
                self.totals.count_step(plan.name.as_str(), &counts);
            }
        }
    }
}
