//! One destination's queue: the state that appender, reader and acknowledgements share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tracing::warn;

use super::acks::{AckLog, Ranges};
use super::recover;
use super::settings::{QueueSettings, WhenFull};
use super::times::Times;
use crate::disk::{Disk, DiskFile};
use crate::source::{DestinationName, Incarnation, Position};

/// What all queues may take on disk together, and have taken.
#[derive(Debug)]
pub struct Budget {
    max: AtomicU64,
    used: AtomicU64,
}

impl Budget {
    /// With a limit in bytes.
    pub fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max: AtomicU64::new(max), used: AtomicU64::new(0) })
    }

    /// Another limit, from now on.
    pub fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }

    /// The bytes that all queues take now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.used() + bytes <= self.max.load(Ordering::Relaxed)
    }
}

/// Called when the agent should look again: there is room, a chunk waits to be let go, or records were lost.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Lines whose records were in the buffer and can no longer be read: a chunk was damaged. They are to be
/// read again from their file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// The file.
    pub incarnation: Incarnation,
    /// Where the records that are missing begin.
    pub from: Position,
    /// Where they end.
    pub to: Position,
}

/// One chunk, as far as it must be known while it waits.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) salt: u32,
    /// Header and whole frames that were written without error; the footer is not counted.
    pub(super) len: u64,
    pub(super) records: u32,
    /// Nothing is appended to it any more.
    pub(super) sealed: bool,
    /// Written by this process, so that it need not be read through before it is mapped.
    pub(super) own: bool,
    pub(super) oldest: SystemTime,
    /// When its records came, where this process appended them.
    pub(super) times: Times,
    /// Not durable yet.
    pub(super) unsynced: Option<Arc<dyn DiskFile>>,
    pub(super) acked: Ranges,
    pub(super) acks: AckLog,
    /// The reader has passed its end; `readable` is final.
    pub(super) read: bool,
    /// Records that the reader found good. Others may be acknowledged too: by an earlier process, which could
    /// still read them.
    pub(super) readable: Ranges,
    /// Where the files stand at its end, as far as it moved them.
    pub(super) ends: HashMap<Incarnation, Position>,
    /// A part of it could not be read: it is kept in quarantine and not removed.
    pub(super) damaged: bool,
    /// Everything in it is settled.
    pub(super) done: bool,
}

impl Chunk {
    pub(super) fn bytes(&self) -> u64 {
        self.len + self.acks.len()
    }

    /// When the first record that was not acknowledged was appended.
    fn oldest_waiting(&self) -> SystemTime {
        let first = self.acked.gaps(0..self.records).first().map_or(0, |gap| gap.start);
        self.times.of(first).unwrap_or(self.oldest)
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) settings: QueueSettings,
    /// The size at which a chunk is closed.
    pub(super) chunk_size: u64,
    pub(super) chunks: VecDeque<Chunk>,
    /// The number of the next chunk.
    pub(super) next: u64,
    pub(super) lost: Vec<Lost>,
    pub(super) dropped_records: u64,
    pub(super) dropped_bytes: u64,
    pub(super) purged_records: u64,
    pub(super) purged_bytes: u64,
    /// Room was asked for and refused; [`Wake`] is due when there is some.
    pub(super) full: bool,
    /// On disk, all chunks and their acknowledgements.
    pub(super) bytes: u64,
    /// Where files stand at the end of chunks that the reader did not come to read.
    pub(super) skipped: Vec<(Incarnation, Position)>,
    pub(super) folder_unsynced: bool,
}

impl State {
    pub(super) fn chunk_mut(&mut self, number: u64) -> Option<&mut Chunk> {
        let at = self.chunks.binary_search_by_key(&number, |chunk| chunk.number).ok()?;
        self.chunks.get_mut(at)
    }

    /// Whether a checkpoint would let something go.
    pub(super) fn has_done(&self) -> bool {
        self.chunks.front().is_some_and(|chunk| chunk.done)
    }
}

/// A destination's queue. Clones are handles to the same queue.
#[derive(Clone)]
pub struct Queue {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) name: DestinationName,
    pub(super) folder: PathBuf,
    pub(super) data_dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) budget: Arc<Budget>,
    pub(super) wake: Wake,
    /// A reader may find more than before.
    pub(super) readable: Notify,
    state: Mutex<State>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.used.fetch_sub(state.bytes, Ordering::Relaxed);
    }
}

/// What a queue holds, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// On disk.
    pub bytes: u64,
    /// Chunk files.
    pub chunks: u64,
    /// Records not acknowledged yet.
    pub records: u64,
    /// When the oldest of them was appended, to the second where that is known; of a chunk that an earlier process
    /// wrote, when it got its first record.
    pub oldest: Option<SystemTime>,
    /// Records given up because the queue was full.
    pub dropped_records: u64,
    /// Bytes of chunks given up because the queue was full.
    pub dropped_bytes: u64,
    /// Records given up because somebody wanted it.
    pub purged_records: u64,
    /// Bytes of chunks given up with them.
    pub purged_bytes: u64,
}

impl Queue {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared) }
    }

    /// The destination's name.
    pub fn name(&self) -> &DestinationName {
        &self.shared.name
    }

    /// Other limits, from now on. Nothing of what it holds is touched by that.
    pub fn set_limits(&self, settings: QueueSettings, chunk_size: u64) {
        let mut state = self.shared.lock();
        (state.settings, state.chunk_size) = (settings, chunk_size);
        drop(state);
        // There may be room now for what waits for it.
        (self.shared.wake)();
    }

    /// Whether nothing of it is left on disk, nor told of that was lost.
    pub fn is_empty(&self) -> bool {
        let state = self.shared.lock();
        state.chunks.is_empty() && state.lost.is_empty()
    }

    /// The most that it may take on disk, in bytes.
    pub fn max_size(&self) -> u64 {
        self.shared.lock().settings.max_size.0
    }

    /// What it holds.
    pub fn stats(&self) -> QueueStats {
        let state = self.shared.lock();
        let waiting = |chunk: &Chunk| u64::from(chunk.records.saturating_sub(chunk.acked.count()));
        QueueStats {
            bytes: state.bytes,
            chunks: state.chunks.len() as u64,
            records: state.chunks.iter().map(waiting).sum(),
            oldest: state
                .chunks
                .iter()
                .find(|chunk| !chunk.done && waiting(chunk) > 0)
                .map(Chunk::oldest_waiting),
            dropped_records: state.dropped_records,
            dropped_bytes: state.dropped_bytes,
            purged_records: state.purged_records,
            purged_bytes: state.purged_bytes,
        }
    }

    /// Notes that records were delivered, or became dead letters. Durable against a kill when it returns.
    ///
    /// An error means that it could not be written down: the records are settled nevertheless, and it is tried
    /// again, but a restart before that would send them again.
    pub fn ack(&self, chunk_number: u64, ranges: &[Range<u32>]) -> io::Result<()> {
        let mut state = self.shared.lock();
        let Some(chunk) = state.chunk_mut(chunk_number) else {
            return Ok(());
        };
        for range in ranges {
            chunk.acked.insert(range.clone());
        }
        let before = chunk.acks.len();
        let written = chunk.acks.append(&*self.shared.disk, ranges);
        let grown = chunk.acks.len() - before;
        self.shared.grow(&mut state, grown);
        self.shared.settle(&mut state, chunk_number);
        written
    }

    /// Lines that were lost with a damaged chunk since the last call.
    pub fn take_lost(&self) -> Vec<Lost> {
        std::mem::take(&mut self.shared.lock().lost)
    }
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "called once, where a queue is opened")]
    pub(super) fn new(
        name: DestinationName,
        folder: PathBuf,
        data_dir: PathBuf,
        settings: QueueSettings,
        chunk_size: u64,
        disk: Arc<dyn Disk>,
        budget: Arc<Budget>,
        wake: Wake,
    ) -> Self {
        Self {
            name,
            folder,
            data_dir,
            disk,
            budget,
            wake,
            readable: Notify::new(),
            state: Mutex::new(State { settings, chunk_size, ..State::default() }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything in it can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `bytes` more fit. Where they do not, what can make room is set going. Into an empty queue everything
    /// fits, however small the limit: a frame above it would wait for ever.
    pub(super) fn room_for(&self, state: &mut State, bytes: u64) -> bool {
        let room = state.bytes == 0
            || state.bytes + bytes <= state.settings.max_size.0 && self.budget.has_room(bytes);
        if !room {
            state.full = true;
            if state.settings.when_full == WhenFull::DropOldest {
                self.drop_oldest(state, bytes);
            }
            if state.has_done() {
                (self.wake)();
            }
        }
        room
    }

    pub(super) fn chunk_path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:016x}.chunk"))
    }

    pub(super) fn ack_log(&self, number: u64, salt: u32) -> AckLog {
        AckLog::new(self.folder.join(format!("{number:016x}.acks")), salt)
    }

    pub(super) fn destination_hash(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(self.name.as_str().as_bytes())
    }

    /// Notes if a chunk has come to its end.
    pub(super) fn settle(&self, state: &mut State, number: u64) {
        let full = state.full;
        let Some(chunk) = state.chunk_mut(number) else {
            return;
        };
        if !chunk.done && chunk.sealed && chunk.read && chunk.acked.covers(&chunk.readable) {
            chunk.done = true;
            if full {
                (self.wake)();
            }
        }
    }

    /// Gives up oldest chunks until `bytes` more would fit. Their room is free once a checkpoint covers them:
    /// removed earlier, a kill would have their lines read again. Records that delivery has in hand go out all the
    /// same, unless the process is killed before: they do not count as given up.
    fn drop_oldest(&self, state: &mut State, bytes: u64) {
        let mut excess = (state.bytes + bytes).saturating_sub(state.settings.max_size.0);
        for chunk in &mut state.chunks {
            if excess == 0 || !chunk.sealed {
                break;
            }
            excess = excess.saturating_sub(chunk.bytes());
            if chunk.done {
                continue;
            }
            let under_way = chunk.readable.count_beyond(&chunk.acked);
            let records = chunk.records.saturating_sub(chunk.acked.count() + under_way);
            match recover::ends_of(self, chunk) {
                Ok(ends) => chunk.ends = ends,
                Err(_) => chunk.damaged = true,
            }
            if !chunk.read {
                // A reader that has passed it stands further on.
                state.skipped.extend(chunk.ends.iter().map(|(incarnation, to)| (*incarnation, to.clone())));
            }
            (chunk.done, chunk.read) = (true, true);
            state.dropped_records += u64::from(records);
            state.dropped_bytes += chunk.len;
            warn!(event = "oldest_dropped", destination = %self.name, records, under_way, bytes = chunk.len,
                "the buffer is full: its oldest records were given up (when_full: drop_oldest)");
        }
    }

    /// Counts bytes that were written to disk.
    pub(super) fn grow(&self, state: &mut State, bytes: u64) {
        state.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are no longer on disk.
    pub(super) fn shrink(&self, state: &mut State, bytes: u64) {
        state.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
