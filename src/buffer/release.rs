//! What a checkpoint has to know of a queue, and what is let go once it is durable.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tracing::warn;

use super::queue::{Chunk, Queue, Shared};
use super::report::put_aside_chunk;
use crate::disk::DiskFile;
use crate::source::{Incarnation, Mark, Position};

/// What a checkpoint has to know of a queue, taken at one instant.
#[derive(Debug)]
pub struct SyncPoint {
    /// Everything before it is durable once `files` are synced.
    pub mark: Mark,
    /// What to sync first. Chunks whose records were all delivered are left out: nobody reads them again.
    pub files: Vec<Arc<dyn DiskFile>>,
    /// The folder to sync too, if files were made in it.
    pub folder: Option<PathBuf>,
    /// How far files were delivered, in order; for files whose chunks are to be removed.
    pub delivered: Vec<(Incarnation, Position)>,
    /// Chunks to remove once the checkpoint is durable: the first ones of the queue, up to one that waits. Were
    /// a chunk removed before an earlier one, the next process would take its absence for damage.
    pub release: Vec<u64>,
    /// The first chunk that is not among them.
    pub first: u64,
}

impl Queue {
    /// What the next checkpoint has to know. The caller has stopped appending until this returns.
    pub fn sync_point(&self) -> SyncPoint {
        let mut state = self.shared.lock();
        let mark = match state.chunks.back() {
            Some(chunk) => Mark { chunk: chunk.number, offset: chunk.len },
            None => Mark { chunk: state.next, offset: 0 },
        };
        let mut point = SyncPoint {
            mark,
            files: Vec::new(),
            folder: None,
            delivered: Vec::new(),
            release: Vec::new(),
            first: mark.chunk + u64::from(mark.offset > 0),
        };
        let mut grown = 0;
        let mut folder_unsynced = std::mem::take(&mut state.folder_unsynced);
        // What is lost has to be known to a checkpoint before the chunks go whose frames show it.
        let mut front = state.lost.is_empty();
        for chunk in &mut state.chunks {
            front &= chunk.done;
            folder_unsynced |= chunk.acks.take_folder_unsynced();
            if front {
                point.delivered.extend(chunk.ends.drain());
                point.release.push(chunk.number);
                chunk.unsynced = None;
                chunk.acks.take_unsynced();
                continue;
            }
            point.first = point.first.min(chunk.number);
            // What the disk still does not take stays pending.
            let before = chunk.acks.len();
            let _ = chunk.acks.retry(&*self.shared.disk);
            grown += chunk.acks.len() - before;
            point.files.extend(chunk.unsynced.take());
            point.files.extend(chunk.acks.take_unsynced());
        }
        self.shared.grow(&mut state, grown);
        point.folder = folder_unsynced.then(|| self.shared.folder.clone());
        point
    }

    /// Whether a checkpoint would have something to make durable or to remove.
    pub fn wants_checkpoint(&self) -> bool {
        let state = self.shared.lock();
        let unsynced = |chunk: &Chunk| chunk.unsynced.is_some() || chunk.acks.is_unsynced();
        state.has_done() || state.chunks.iter().any(unsynced)
    }

    /// Whether nothing before this mark is waiting to be delivered.
    pub fn is_settled_to(&self, mark: Mark) -> bool {
        let state = self.shared.lock();
        state.chunks.iter().all(|chunk| chunk.done || chunk.number > mark.chunk)
    }

    /// Whether removing chunks would make room that is wanted.
    pub fn wants_release(&self) -> bool {
        let state = self.shared.lock();
        state.full && state.has_done()
    }

    /// Removes chunks that a durable checkpoint covers.
    pub fn release(&self, numbers: &[u64]) {
        for number in numbers {
            let removed = {
                let mut state = self.shared.lock();
                let Ok(at) = state.chunks.binary_search_by_key(number, |chunk| chunk.number) else {
                    continue;
                };
                let chunk = state.chunks.remove(at).expect("it was found there");
                self.shared.shrink(&mut state, chunk.bytes());
                if std::mem::take(&mut state.full) {
                    (self.shared.wake)();
                }
                chunk
            };
            if let Err(error) = self.shared.remove(&removed) {
                warn!(event = "chunk_not_removed", path = %removed.path.display(), %error,
                    "a delivered chunk could not be removed; it is tried again after the next start");
            }
        }
    }
}

impl Shared {
    /// Removes a chunk's files, or keeps what was damaged.
    fn remove(&self, chunk: &Chunk) -> io::Result<()> {
        if chunk.damaged {
            put_aside_chunk(self, &chunk.path, "a part of it was damaged".into())?;
        } else {
            self.disk.remove(&chunk.path)?;
        }
        match chunk.acks.path() {
            Some(path) => self.disk.remove(path),
            None => Ok(()),
        }
    }
}
