//! Making things durable, in a thread of its own: sync, then checkpoint, then let chunks go.
//!
//! The order is the promise: a checkpoint is written only when everything that it says is in the buffers was
//! synced (or delivered already), and a chunk is removed only when a durable checkpoint covers it; likewise dead letters that
//! are in the buffer again.
//!
//! Should a sync of a buffer fail, the kernel may have dropped what it could not write, and asking again would
//! wrongly answer success. So from then on that destination is *held*: until all that was in its buffer at that
//! time was delivered, checkpoints say of it what the last durable one said, and none of its chunks is
//! removed. A power loss then means reading those lines again, never losing them. The chunk that was being
//! written is closed, so that the hold can end. Other destinations go on.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::{error, info};

use super::bell::Bell;
use super::held::Held;
use super::totals::Totals;
use crate::buffer::{DeadLetters, Durability, Queue, SyncPoint};
use crate::disk::Disk;
use crate::source::{DestinationName, Incarnation};
use crate::tail::{Checkpoint, Replay, checkpoint};
use crate::telemetry::Heartbeat;

/// Everything as it was at one instant.
pub(super) struct Snapshot {
    pub(super) checkpoint: Checkpoint,
    pub(super) points: Vec<(Queue, SyncPoint)>,
    /// Files of dead letters of which all is in the buffer.
    pub(super) replayed: Vec<(Replay, DeadLetters)>,
}

/// What became of a snapshot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// A checkpoint of it is durable. Otherwise the one before still counts, and another is due.
    pub(super) saved: bool,
    /// Destinations whose buffers could not be made durable: what they are writing to is to be closed.
    pub(super) failed: Vec<DestinationName>,
    /// A destination is held, or the disk failed, so that not everything was let go that could have been.
    pub(super) held: bool,
    /// Files of dead letters that are gone, as all of them is durable in the buffer.
    pub(super) replayed: Vec<Incarnation>,
}

/// What the thread is given.
enum Task {
    Keep(Snapshot),
    Durability(Durability),
}

/// The thread's handle. Dropped, it finishes what it was given and ends.
pub(super) struct Keeper {
    tasks: Option<SyncSender<Task>>,
    done: Receiver<Kept>,
    busy: bool,
    heart: Heartbeat,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(mut work: Work, bell: Bell, heart: Heartbeat) -> io::Result<Self> {
        // It waits for work.
        heart.rest();
        work.heart = Some(heart.clone());
        let (tasks, receiver) = sync_channel(1);
        let (sender, done): (Sender<Kept>, _) = channel();
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            for task in receiver {
                match task {
                    Task::Durability(durability) => work.durability = durability,
                    Task::Keep(snapshot) => {
                        if sender.send(work.keep(snapshot)).is_err() {
                            break;
                        }
                        bell.ring();
                    }
                }
            }
        })?;
        Ok(Self { tasks: Some(tasks), done, busy: false, heart, thread: Some(thread) })
    }

    /// Whether it is at work on a snapshot, as far as was told.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// What became of the last snapshot, once, when that is known. Its death is the caller's death.
    pub(super) fn finished(&mut self) -> Option<Kept> {
        match self.done.try_recv() {
            Ok(kept) => {
                self.busy = false;
                Some(kept)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => panic!("the thread that writes checkpoints died"),
        }
    }

    /// Hands a snapshot over; it was not busy.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        self.busy = true;
        // Before it is handed over: afterwards it may be at rest again already.
        self.heart.called();
        self.give(Task::Keep(snapshot));
    }

    /// What is handed over from now on is synced like this.
    pub(super) fn set_durability(&self, durability: Durability) {
        self.give(Task::Durability(durability));
    }

    fn give(&self, task: Task) {
        let sender = self.tasks.as_ref().expect("taken only when dropped");
        sender.send(task).expect("the thread that writes checkpoints lives as long as its handle");
    }

    /// Waits until what was handed over is done, and tells what became of it.
    pub(super) fn wait(&mut self) -> Option<Kept> {
        if !std::mem::take(&mut self.busy) {
            return None;
        }
        Some(self.done.recv().expect("the thread that writes checkpoints died"))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread does, without the thread.
pub(super) struct Work {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    durability: Durability,
    totals: Totals,
    held: HashMap<DestinationName, Held>,
    /// Of the thread, if there is one.
    heart: Option<Heartbeat>,
}

impl Work {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        data_dir: PathBuf,
        durability: Durability,
        totals: Totals,
    ) -> Self {
        Self { disk, data_dir, durability, totals, held: HashMap::new(), heart: None }
    }

    /// Makes a snapshot durable, then lets chunks go.
    pub(super) fn keep(&mut self, snapshot: Snapshot) -> Kept {
        let start = Instant::now();
        self.heart.iter().for_each(Heartbeat::beat);
        let kept = self.make_durable(snapshot);
        self.totals.sync_duration.0.observe(start.elapsed().as_secs_f64());
        // Until there is more to do.
        self.heart.iter().for_each(Heartbeat::rest);
        kept
    }

    /// Something that waits for the disk, however long that takes.
    fn on_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.heart.iter().for_each(Heartbeat::rest);
        let done = work();
        self.heart.iter().for_each(Heartbeat::beat);
        done
    }

    fn make_durable(&mut self, mut snapshot: Snapshot) -> Kept {
        let mut kept = Kept { saved: false, failed: Vec::new(), held: false, replayed: Vec::new() };
        for (queue, point) in &snapshot.points {
            // The file that a letter came from will be gone, whatever is wanted of log lines.
            let replays =
                snapshot.checkpoint.replays.iter().any(|replay| replay.progress.to == *queue.name());
            if let Err(error) = self.on_disk(|| self.sync(point, replays)) {
                kept.failed.push(queue.name().clone());
                self.totals.sync_failures.inc_by(1);
                error!(event = "sync_failed", destination = %queue.name(), %error,
                    "the buffer could not be made durable; no chunk of it is removed until its records are delivered");
                let until = point.mark;
                self.held.entry(queue.name().clone()).or_insert_with(|| Held::new(until)).until = until;
            }
        }
        let mut known = true;
        let heart = self.heart.clone();
        self.held.retain(|name, held| {
            let queue = snapshot.points.iter().find(|(queue, _)| queue.name() == name);
            let settled = queue.is_none_or(|(queue, _)| queue.is_settled_to(held.until));
            if settled {
                info!(event = "sync_recovered", destination = %name, "what could not be made durable was delivered");
            } else {
                // The last checkpoint is read.
                heart.iter().for_each(Heartbeat::rest);
                known &= held.restore(name, &self.data_dir, &mut snapshot.checkpoint);
                heart.iter().for_each(Heartbeat::beat);
            }
            !settled
        });
        kept.held = !self.held.is_empty();
        if !known {
            error!(event = "checkpoint_failed", path = %checkpoint::path_in(&self.data_dir).display(),
                "the last checkpoint cannot be read, so none is written while a buffer may not be durable");
            return kept;
        }
        match self.on_disk(|| checkpoint::save(&*self.disk, &self.data_dir, &snapshot.checkpoint)) {
            Ok(()) => {
                kept.saved = true;
                self.totals.checkpoints.inc_by(1);
                for (queue, point) in &snapshot.points {
                    if !self.held.contains_key(queue.name()) {
                        self.on_disk(|| queue.release(&point.release));
                    }
                }
                self.let_letters_go(&snapshot, &mut kept);
            }
            Err(error) => {
                self.totals.sync_failures.inc_by(1);
                error!(event = "checkpoint_failed", path = %checkpoint::path_in(&self.data_dir).display(), %error,
                    "the checkpoint could not be written; the last one still counts, and it is tried again");
            }
        }
        kept
    }

    /// Removes letters that the checkpoint that was just written has in the buffer.
    fn let_letters_go(&self, snapshot: &Snapshot, kept: &mut Kept) {
        for (replay, letters) in &snapshot.replayed {
            let saved = snapshot.checkpoint.replays.iter();
            let durable = saved.clone().any(|it| it.incarnation == replay.incarnation && it.is_over());
            if !durable {
                continue;
            }
            let removed = self.on_disk(|| letters.finish(replay.number, replay.incarnation, &replay.reasons));
            match removed {
                Ok(()) => kept.replayed.push(replay.incarnation),
                Err(error) => {
                    kept.held = true;
                    error!(event = "letters_not_removed", destination = %replay.progress.to, %error,
                        "dead letters that are in the buffer again could not be removed; it is tried again");
                }
            }
        }
    }

    /// Every file is tried, even after one has failed: what can be made durable is.
    fn sync(&self, point: &SyncPoint, in_any_case: bool) -> io::Result<()> {
        if self.durability == Durability::Never && !in_any_case {
            return Ok(());
        }
        let mut outcome = Ok(());
        for file in &point.files {
            outcome = outcome.and(file.sync());
        }
        outcome.and(point.folder.as_ref().map_or(Ok(()), |folder| self.disk.sync_folder(folder)))
    }
}
