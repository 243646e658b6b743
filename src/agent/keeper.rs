//! Making things durable, in a thread of its own: sync, then checkpoint, then let chunks go.
//!
//! The order is the promise: a checkpoint is written only when everything that it says is in the buffers was
//! synced (or delivered already), and a chunk is removed only when a durable checkpoint covers it. Should a
//! sync fail, the kernel may have dropped what it could not write, and asking again would wrongly answer
//! success. So from then on no checkpoint is written until all that was in the buffer at that time was
//! delivered: until then a power loss means reading those lines again, never losing them.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;

use tracing::{error, info};

use super::bell::Bell;
use super::totals::Totals;
use crate::buffer::{Queue, SyncPoint};
use crate::disk::Disk;
use crate::source::{DestinationName, Mark};
use crate::tail::{Checkpoint, checkpoint};

/// Everything as it was at one instant.
pub(super) struct Snapshot {
    pub(super) checkpoint: Checkpoint,
    pub(super) points: Vec<(Queue, SyncPoint)>,
}

/// The thread's handle. Dropped, it finishes what it was given and ends.
pub(super) struct Keeper {
    snapshots: Option<SyncSender<Snapshot>>,
    done: Receiver<()>,
    busy: bool,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        data_dir: PathBuf,
        totals: Totals,
        bell: Bell,
    ) -> io::Result<Self> {
        let (snapshots, receiver) = sync_channel(1);
        let (sender, done): (Sender<()>, _) = channel();
        let mut work = Work { disk, data_dir, totals, held: HashMap::new() };
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            for snapshot in receiver {
                work.keep(snapshot);
                if sender.send(()).is_err() {
                    break;
                }
                bell.ring();
            }
        })?;
        Ok(Self { snapshots: Some(snapshots), done, busy: false, thread: Some(thread) })
    }

    /// Whether it can take a snapshot now. Its death is the caller's death.
    pub(super) fn is_free(&mut self) -> bool {
        match self.done.try_recv() {
            Ok(()) => self.busy = false,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => panic!("the thread that writes checkpoints died"),
        }
        !self.busy
    }

    /// Hands a snapshot over; [`is_free`](Self::is_free) was true.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        self.busy = true;
        let sender = self.snapshots.as_ref().expect("taken only when dropped");
        sender.send(snapshot).expect("the thread that writes checkpoints lives as long as its handle");
    }

    /// Waits until what was handed over is done.
    pub(super) fn wait(&mut self) {
        if self.busy {
            self.done.recv().expect("the thread that writes checkpoints died");
            self.busy = false;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.snapshots = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    totals: Totals,
    /// Destinations with a failed sync, and up to where they must be delivered before they count again.
    held: HashMap<DestinationName, Mark>,
}

impl Work {
    fn keep(&mut self, snapshot: Snapshot) {
        for (queue, point) in &snapshot.points {
            if let Err(error) = self.sync(point) {
                self.totals.sync_failures.inc_by(1);
                error!(event = "sync_failed", destination = %queue.name(), %error,
                    "the buffer could not be made durable; no checkpoint is written until its records are delivered");
                self.held.insert(queue.name().clone(), point.mark);
            }
            if self.held.get(queue.name()).is_some_and(|mark| queue.is_settled_to(*mark)) {
                info!(event = "sync_recovered", destination = %queue.name(), "what could not be made durable was delivered");
                self.held.remove(queue.name());
            }
        }
        if !self.held.is_empty() {
            return;
        }
        match checkpoint::save(&*self.disk, &self.data_dir, &snapshot.checkpoint) {
            Ok(()) => {
                self.totals.checkpoints.inc_by(1);
                for (queue, point) in &snapshot.points {
                    queue.release(&point.release);
                }
            }
            Err(error) => {
                self.totals.sync_failures.inc_by(1);
                error!(event = "checkpoint_failed", path = %checkpoint::path_in(&self.data_dir).display(), %error,
                    "the checkpoint could not be written; the last one still counts, and it is tried again");
            }
        }
    }

    fn sync(&self, point: &SyncPoint) -> io::Result<()> {
        for file in &point.files {
            file.sync()?;
        }
        point.folder.as_ref().map_or(Ok(()), |folder| self.disk.sync_folder(folder))
    }
}
