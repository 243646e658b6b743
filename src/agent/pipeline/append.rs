//! What a block became goes to the buffers of its destinations.

use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error};

use super::Pipeline;
use super::block::Scratch;
use super::lane::Cursor;
use crate::agent::open::nowhere;
use crate::buffer::{Append, Body, Step};
use crate::source::{Incarnation, Position};
use crate::tail::identity::Proof;

/// Before a buffer that could not be written is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Destinations that did not take a frame.
#[derive(Default)]
pub(super) struct Stuck {
    pub(super) to: Vec<usize>,
    /// The room that it takes, in bytes.
    pub(super) room: u64,
    /// Nobody took it.
    pub(super) all: bool,
}

impl Pipeline {
    /// Appends what a block made to the buffers of the cursor's destinations, and moves their positions. Returns
    /// those that did not take it.
    #[expect(clippy::too_many_arguments, reason = "the state of one turn")]
    pub(super) fn append(
        &mut self,
        incarnation: Incarnation,
        cursor: &Cursor,
        position: &Position,
        proof: Proof,
        scratch: &mut Scratch,
        now: Instant,
        wall: SystemTime,
    ) -> Stuck {
        let mut stuck = Stuck::default();
        let Some(entry) = self.tailer.entry_mut(incarnation) else { return stuck };
        let furthest = entry.proof;
        if proof.end > entry.proof.end {
            entry.proof = proof;
        }
        if cursor.to.is_empty() {
            // Its lines go nowhere.
            let read = entry.progress.iter_mut().find(|progress| progress.to == nowhere());
            read.into_iter().for_each(|read| read.position = position.clone());
            return stuck;
        }
        let records = &scratch.records;
        scratch.source.clear();
        if !records.is_empty() {
            self.turn += 1;
            let bare = crate::tail::Entry { progress: Vec::new(), repairs: Vec::new(), ..entry.clone() };
            serde_json::to_writer(&mut scratch.source, &bare)
                .expect("an entry is always JSON, and memory takes it");
        }
        let all = Body::new(&scratch.source, records);
        for out in &cursor.to {
            // Before the position passes them.
            let casualties = &scratch.casualties;
            if !casualties.is_empty()
                && !self.graves.bury(*out, incarnation, &entry.path, casualties, now, wall)
            {
                stuck.to.push(*out);
                continue;
            }
            let selected =
                scratch.selected.iter().find(|(other, _)| other == out).map(|(_, records)| records);
            let body = selected.map(|records| Body::new(&scratch.source, records));
            let (records, body) = (selected.unwrap_or(records), body.as_ref().unwrap_or(&all));
            let appender = &mut self.outs[*out];
            let name = appender.queue().name().clone();
            let repair = entry
                .repairs
                .iter()
                .position(|repair| cursor.is_repair() && repair.to == name && repair.from == cursor.position);
            let progress = entry.progress.iter_mut().find(|progress| progress.to == name);
            if !records.is_empty() {
                let from = match (&progress, cursor.is_repair()) {
                    (Some(progress), false) => &progress.buffered,
                    _ => &cursor.position,
                };
                let step =
                    Step { turn: self.turn, incarnation, from, to: position, repair: cursor.is_repair() };
                match appender.append(body, &step, wall) {
                    Append::Done => {
                        self.paused[*out] = None;
                        self.totals.frames.inc();
                    }
                    Append::Full(room) => {
                        stuck.room = stuck.room.max(room);
                        debug!(event = "buffer_full", destination = %name, "no room in the buffer; its log files wait");
                        stuck.to.push(*out);
                        continue;
                    }
                    Append::Failed(error) => {
                        error!(event = "append_failed", destination = %name, %error, "the buffer cannot be written; it is tried again");
                        self.paused[*out] = Some(now + DISK_PAUSE);
                        stuck.to.push(*out);
                        continue;
                    }
                }
            }
            if !casualties.is_empty() {
                self.graves.passed(*out, incarnation);
            }
            if let Some(index) = repair {
                if cursor.until.as_ref().is_some_and(|until| position.offset >= until.offset) {
                    entry.repairs.remove(index);
                } else {
                    entry.repairs[index].from = position.clone();
                }
            } else if let Some(progress) = progress
                && !cursor.is_repair()
            {
                progress.position = position.clone();
                if !records.is_empty() {
                    progress.buffered = position.clone();
                }
            }
        }
        if stuck.to.len() == cursor.to.len() {
            entry.proof = furthest;
            stuck.all = true;
        } else {
            self.totals.records.inc_by(records.len() as u64);
        }
        stuck
    }
}
