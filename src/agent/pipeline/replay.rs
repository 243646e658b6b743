//! Dead letters that are put into their destination's buffer again.
//!
//! A file of letters that was set aside is read as a log file is: a block at a time, each one frame, whose position is under
//! the same checksums. So a crash at any instant finds each letter either still to come or in the buffer, and the file is
//! there until a durable checkpoint says that all of it is in the buffer. Letters are no hurry: they are put only into room that
//! lies below the buffer's high-water mark, so that no line waits for them and nothing is given up for them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::Pipeline;
use super::block::BLOCK;
use crate::buffer::{Append, Body, DeadLetters, Recovered, Step};
use crate::source::{DestinationName, Incarnation, Position};
use crate::tail::{Progress, Replay};
use crate::telemetry::control::Replayed;

/// Before a file of letters that cannot be read, or a buffer that cannot be written or has no room, is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Who asked for a replay is told here how it goes.
pub(in crate::agent) type Asker = Arc<watch::Sender<Replayed>>;

/// A file of letters on its way.
pub(super) struct Replaying {
    pub(super) replay: Replay,
    /// None if an earlier process was asked.
    asker: Option<Asker>,
    /// It failed, and is not tried before this.
    not_before: Option<Instant>,
}

/// What a frame tells of where its records came from.
#[derive(Serialize, Deserialize)]
struct Source {
    replay: Replay,
    /// For people who look at a chunk.
    path: String,
}

/// What the description of a replay begins with, and that of a file does not.
const BEGINS: &[u8] = b"{\"replay\":";

/// Takes those incarnations out of what frames say of a destination that are files of letters, and brings what a
/// checkpoint said of them up to that.
pub(in crate::agent) fn recovered(
    destination: &DestinationName,
    files: &mut HashMap<Incarnation, Recovered>,
    replays: &mut Vec<Replay>,
) {
    let letters = files.extract_if(|_, recovered| recovered.source.starts_with(BEGINS));
    for (incarnation, recovered) in letters {
        let source = match serde_json::from_slice::<Source>(&recovered.source) {
            Ok(source) => source,
            Err(error) => {
                warn!(event = "frame_source_unread", %destination, %incarnation, %error,
                    "a frame does not tell of which dead letters it is; they may be put into the buffer again");
                continue;
            }
        };
        let known = replays.iter_mut().find(|replay| replay.incarnation == incarnation);
        let replay = match known {
            Some(known) => known,
            None => {
                let progress = Progress::at(destination.clone(), recovered.from.clone());
                replays.push(Replay { progress, ..source.replay });
                replays.last_mut().expect("it was just put there")
            }
        };
        // Frames that a checkpoint covers tell of what was before it.
        if replay.progress.position.offset < recovered.to.offset {
            replay.progress.position = recovered.to.clone();
            replay.progress.buffered = recovered.to;
        }
    }
}

impl Pipeline {
    /// Goes on with what an earlier process left. Files of letters that were set aside and of which nothing came into a
    /// buffer get their names back.
    pub(in crate::agent) fn replaying(mut self, replays: Vec<Replay>) -> Self {
        let known: Vec<Incarnation> = replays.iter().map(|replay| replay.incarnation).collect();
        for letters in self.graves.all() {
            letters.take_back(&known);
        }
        for replay in replays {
            info!(event = "replay_resumed", destination = %replay.progress.to, file = replay.number, at = replay.progress.position.offset,
                of = replay.end, "dead letters go on being put into the buffer");
            self.replays.push(Replaying { replay, asker: None, not_before: None });
        }
        self
    }

    /// What frames of a destination that came back say of its letters.
    pub(super) fn take_over(&mut self, replays: &[Replay]) {
        for replay in replays {
            match self.replays.iter_mut().find(|of| of.replay.incarnation == replay.incarnation) {
                Some(of) => of.replay = replay.clone(),
                None => {
                    let (replay, asker, not_before) = (replay.clone(), None, None);
                    self.replays.push(Replaying { replay, asker, not_before });
                }
            }
        }
    }

    /// Puts these files of letters into the buffer from now on.
    pub(in crate::agent) fn begin_replay(&mut self, replays: Vec<Replay>, asker: &Asker) {
        self.dirty |= !replays.is_empty();
        self.replays.extend(replays.into_iter().map(|replay| Replaying {
            replay,
            asker: Some(Arc::clone(asker)),
            not_before: None,
        }));
    }

    /// Whether letters wait that could be put into a buffer.
    pub(in crate::agent) fn is_replaying(&self) -> bool {
        let there = |to: &DestinationName| self.outs.iter().any(|out| out.queue().name() == to);
        self.replays.iter().any(|of| !of.replay.is_over() && there(&of.replay.progress.to))
    }

    /// Puts a block of letters into each buffer that has some to come and room for them. Returns whether one had.
    pub(in crate::agent) fn replay(&mut self, now: Instant, wall: SystemTime) -> bool {
        let (mut busy, mut tried) = (false, Vec::new());
        for index in 0..self.replays.len() {
            let Replaying { replay, not_before, .. } = &self.replays[index];
            let to = &replay.progress.to;
            // One file after the other.
            if replay.is_over() || tried.contains(to) {
                continue;
            }
            tried.push(to.clone());
            let out = self.outs.iter().position(|out| out.queue().name() == to);
            if let Some(out) = out.filter(|_| not_before.is_none_or(|time| time <= now)) {
                busy |= self.replay_block(index, out, now, wall);
            }
        }
        busy
    }

    fn replay_block(&mut self, index: usize, out: usize, now: Instant, wall: SystemTime) -> bool {
        let letters = self.graves.of(out).clone();
        let Replaying { replay, .. } = &mut self.replays[index];
        let (to, from) = (replay.progress.to.clone(), replay.progress.position.offset);
        let scratch = &mut self.scratch;
        scratch.records.clear();
        let most = BLOCK.min((self.outs[out].queue().max_size() / 8) as usize);
        let named = (replay.number, replay.incarnation);
        let read = letters.read_aside(named, &replay.reasons, (from, replay.end), most, |record| {
            scratch.records.push_with(|out| {
                out.extend_from_slice(record.as_bytes());
                true
            });
        });
        let block = match read {
            // Not whole, though it was when it was set aside.
            Ok(block) if block.to == from => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        let block = match block {
            Ok(block) => block,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {
                warn!(event = "replay_gone", destination = %to, file = replay.number,
                    "dead letters were removed by somebody else before they were put into the buffer");
                replay.end = from;
                self.dirty = true;
                return true;
            }
            Err(error) => {
                error!(event = "replay_failed", destination = %to, file = replay.number, %error, "dead letters cannot be read; it is tried again");
                self.replays[index].not_before = Some(now + PAUSE);
                return false;
            }
        };
        let position = Position::at(block.to);
        if !scratch.records.is_empty() {
            let path = letters.path_aside(replay.number, replay.incarnation).display().to_string();
            let progress = Progress::at(to.clone(), Position::default());
            let source = Source { replay: Replay { progress, ..replay.clone() }, path };
            scratch.source.clear();
            serde_json::to_writer(&mut scratch.source, &source)
                .expect("a source is always JSON, and memory takes it");
            let body = Body::new(&scratch.source, &scratch.records);
            self.turn += 1;
            let step = Step {
                turn: self.turn,
                incarnation: replay.incarnation,
                from: &replay.progress.buffered,
                to: &position,
                repair: false,
            };
            match self.outs[out].append_at_leisure(&body, &step, wall) {
                Append::Done => self.totals.frames.inc(),
                Append::Full(_) => {
                    self.tell(index, |replayed| replayed.waits = true);
                    self.replays[index].not_before = Some(now + PAUSE);
                    return false;
                }
                Append::Failed(error) => {
                    error!(event = "append_failed", destination = %to, %error, "the buffer cannot be written; it is tried again");
                    self.replays[index].not_before = Some(now + PAUSE);
                    return false;
                }
            };
            self.replays[index].replay.progress.buffered = position.clone();
        }
        self.replays[index].replay.progress.position = position;
        self.dirty = true;
        self.tell(index, |replayed| {
            replayed.letters += block.letters;
            replayed.waits = false;
        });
        true
    }

    fn tell(&self, index: usize, change: impl FnOnce(&mut Replayed)) {
        let Some(asker) = &self.replays[index].asker else { return };
        asker.send_if_modified(|replayed| {
            let before = replayed.clone();
            change(replayed);
            *replayed != before
        });
    }

    /// What checkpoints have to know.
    pub(super) fn replays(&self) -> Vec<Replay> {
        self.replays.iter().map(|of| of.replay.clone()).collect()
    }

    /// Those files of which all is in the buffer: they may go once that is durable.
    pub(super) fn replays_over(&self) -> Vec<(Replay, DeadLetters)> {
        let over = self.replays.iter().map(|of| &of.replay).filter(|replay| replay.is_over());
        over.filter_map(|replay| {
            let out = self.outs.iter().position(|out| *out.queue().name() == replay.progress.to)?;
            Some((replay.clone(), self.graves.of(out).clone()))
        })
        .collect()
    }

    /// These files are gone.
    pub(super) fn replayed(&mut self, gone: &[Incarnation]) {
        for index in (0..self.replays.len()).rev() {
            if !gone.contains(&self.replays[index].replay.incarnation) {
                continue;
            }
            self.tell(index, |replayed| replayed.files = replayed.files.saturating_sub(1));
            let Replaying { replay, .. } = self.replays.remove(index);
            self.dirty = true;
            info!(event = "replayed", destination = %replay.progress.to, file = replay.number,
                "dead letters are in the buffer again and no longer among the dead letters");
        }
        // Tried again with the next checkpoint.
        self.dirty |= self.replays.iter().any(|of| of.replay.is_over());
    }
}
