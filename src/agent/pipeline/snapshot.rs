//! What checkpoints have to know, and what became of them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::Pipeline;
use crate::agent::keeper::{Kept, Snapshot};
use crate::source::DestinationName;
use crate::tail::Checkpoint;

impl Pipeline {
    /// Whether a checkpoint would say more than the last one.
    pub(in crate::agent) fn wants_checkpoint(&self) -> bool {
        self.dirty || self.outs.iter().any(|out| out.queue().wants_checkpoint())
    }

    /// Whether files wait for a checkpoint that knows them.
    pub(in crate::agent) fn wants_names(&self) -> bool {
        !self.nameless.is_empty()
    }

    /// Whether a buffer could take more if a checkpoint let chunks go.
    pub(in crate::agent) fn wants_release(&self) -> bool {
        self.outs.iter().any(|out| out.queue().wants_release())
    }

    /// Everything as it is now, between two turns.
    pub(in crate::agent) fn snapshot(&mut self, wall: SystemTime) -> Snapshot {
        self.dirty = false;
        self.tailer.forget(wall);
        let mut points = Vec::new();
        let mut marks: BTreeMap<DestinationName, _> = BTreeMap::new();
        let mut first: BTreeMap<DestinationName, _> = BTreeMap::new();
        for out in &self.outs {
            let queue = out.queue().clone();
            let point = queue.sync_point();
            for (incarnation, position) in &point.delivered {
                let progress = self.tailer.entry_mut(*incarnation).and_then(|entry| {
                    entry.progress.iter_mut().find(|progress| progress.to == *queue.name())
                });
                let replay = self.replays.iter_mut().find(|of| of.replay.incarnation == *incarnation);
                if let Some(progress) = progress.or(replay.map(|of| &mut of.replay.progress)) {
                    progress.delivered = position.clone();
                }
            }
            marks.insert(queue.name().clone(), point.mark);
            first.insert(queue.name().clone(), point.first);
            points.push((queue, point));
        }
        self.naming = self.tailer.entries().map(|entry| entry.incarnation).collect();
        let saved = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64;
        let checkpoint = Checkpoint {
            saved,
            turn: self.turn,
            known_until: self.tailer.known_until(),
            routes: self.tailer.started().cloned().collect(),
            marks,
            first,
            files: self.tailer.entries().cloned().collect(),
            replays: self.replays(),
        };
        Snapshot { checkpoint, points, replayed: self.replays_over() }
    }

    /// What became of a snapshot.
    pub(in crate::agent) fn kept(&mut self, kept: &Kept) {
        self.dirty |= !kept.saved;
        if kept.saved {
            self.named = self.naming.drain(..).collect();
            for incarnation in std::mem::take(&mut self.nameless) {
                self.enqueue(incarnation);
            }
        }
        self.replayed(&kept.replayed);
        for out in &mut self.outs {
            if kept.failed.contains(out.queue().name()) {
                out.finish_chunk();
            }
        }
    }
}
