//! Appending frames to a queue.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use super::acks::Ranges;
use super::frame::{self, CHUNK_HEADER, ChunkHeader, FOOTER, FRAME_HEADER, Footer, FrameHeader};
use super::queue::{Chunk, Queue, Shared, State};
use super::times::Times;
use crate::disk::DiskFile;
use crate::record::Records;
use crate::source::{Incarnation, Position};

/// Room for several frames, in bytes; a queue of less than four times that goes on with a quarter.
const RESUME: u64 = 1 << 20;

/// What a turn made of one file, the same for every destination. Made once: its checksum is computed once.
#[derive(Debug)]
pub struct Body<'a> {
    source: &'a [u8],
    records: &'a Records,
    crc: u32,
}

impl<'a> Body<'a> {
    /// Of records and the description of the file that they come from (its form is the caller's).
    pub fn new(source: &'a [u8], records: &'a Records) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        for part in [source, records.ends(), records.data()] {
            hasher.update(part);
        }
        Self { source, records, crc: hasher.finalize() }
    }

    fn len(&self) -> u64 {
        (self.source.len() + self.records.ends().len() + self.records.data().len()) as u64
    }
}

/// What a frame means for its file.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The number of the turn; grows over all destinations and restarts.
    pub turn: u64,
    /// The file.
    pub incarnation: Incarnation,
    /// Where it stood in this destination's buffer.
    pub from: &'a Position,
    /// Where it stands with these records.
    pub to: &'a Position,
    /// The records replace lost ones; the file's position is not moved.
    pub repair: bool,
}

/// What became of an append.
#[derive(Debug)]
pub enum Append {
    /// The frame is in the buffer: a kill of the process cannot take it away.
    Done,
    /// There is no room for so many bytes, and nothing was written. [`Wake`](super::Wake) is called when there may be.
    Full(u64),
    /// The disk failed, and nothing counts as written. The same frame may be tried again.
    Failed(io::Error),
}

/// The writing end of a queue; there is one.
pub struct Appender {
    queue: Queue,
    active: Option<Active>,
}

struct Active {
    number: u64,
    file: Arc<dyn DiskFile>,
    salt: u32,
    len: u64,
    records: u32,
    oldest: SystemTime,
    /// It is to be closed before anything else is written: recovery takes a chunk that is not closed for the
    /// last.
    closing: bool,
}

impl Appender {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, active: None }
    }

    /// The queue that it appends to.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether it takes so many bytes now. Where it does not, [`Wake`](super::Wake) is called once it could.
    pub fn has_room(&mut self, bytes: u64) -> bool {
        let shared = Arc::clone(&self.queue.shared);
        let mut state = shared.lock();
        self.find_room(&shared, &mut state, bytes)
    }

    /// Whether a queue that was full has so much room that it is not full again at once.
    pub fn may_resume(&mut self) -> bool {
        let most = self.queue.shared.lock().settings.max_size.0;
        self.has_room(RESUME.min(most / 4))
    }

    /// The room that is left, in bytes, where the queue is above its high-water mark.
    pub fn scarce_room(&self) -> Option<u64> {
        let shared = &self.queue.shared;
        let state = shared.lock();
        let (used, most) = (state.bytes, state.settings.max_size.0);
        (used > most / 4 * 3).then(|| most.saturating_sub(used))
    }

    /// Appends one frame if that leaves the queue below its high-water mark and nothing has to go for it; into one that has
    /// nothing on disk in any case. Where nothing waits in the queue, what is in it is let go.
    pub fn append_at_leisure(&mut self, body: &Body<'_>, step: &Step<'_>, now: SystemTime) -> Append {
        let needed = FRAME_HEADER as u64 + body.len() + (CHUNK_HEADER + FOOTER) as u64;
        let shared = Arc::clone(&self.queue.shared);
        let mut state = shared.lock();
        let (used, most) = (state.bytes, state.settings.max_size.0);
        if used > 0 && (used + needed > most / 4 * 3 || !shared.budget.has_room(needed)) {
            if state.chunks.iter().all(|chunk| chunk.records == chunk.acked.count()) {
                state.full = true;
                let _ = self.seal(&shared, &mut state);
            }
            return Append::Full(needed);
        }
        drop(state);
        self.append(body, step, now)
    }

    fn find_room(&mut self, shared: &Shared, state: &mut State, bytes: u64) -> bool {
        let room = shared.room_for(state, bytes);
        if !room {
            // Closed, it can be let go once it is delivered, however small the limit.
            let _ = self.seal(shared, state);
        }
        room
    }

    /// Appends one frame.
    pub fn append(&mut self, body: &Body<'_>, step: &Step<'_>, now: SystemTime) -> Append {
        let frame = FRAME_HEADER as u64 + body.len();
        let shared = Arc::clone(&self.queue.shared);
        if body.len() > u64::from(frame::MAX_BODY) {
            return Append::Failed(io::Error::new(io::ErrorKind::InvalidInput, "a frame of more than 1 GiB"));
        }
        let mut state = shared.lock();
        let needed = frame + (CHUNK_HEADER + FOOTER) as u64;
        if !self.find_room(&shared, &mut state, needed) {
            return Append::Full(needed);
        }
        let chunk_size = state.chunk_size;
        let full = |active: &Active| {
            let begun = active.len > CHUNK_HEADER as u64;
            begun && active.len + frame > chunk_size
                || active.records.checked_add(body.records.len() as u32).is_none()
                || active.closing
        };
        if self.active.as_ref().is_some_and(full)
            && let Err(error) = self.seal(&shared, &mut state)
        {
            return Append::Failed(error);
        }
        match self.write(&shared, &mut state, body, step, now) {
            Ok(()) => {
                drop(state);
                shared.readable.notify_one();
                Append::Done
            }
            Err(error) => Append::Failed(error),
        }
    }

    /// Closes the chunk that is being written, so that the next frame begins another.
    pub fn finish_chunk(&mut self) {
        let shared = Arc::clone(&self.queue.shared);
        let mut state = shared.lock();
        let _ = self.seal(&shared, &mut state);
        drop(state);
        shared.readable.notify_one();
    }

    fn write(
        &mut self,
        shared: &Shared,
        state: &mut State,
        body: &Body<'_>,
        step: &Step<'_>,
        now: SystemTime,
    ) -> io::Result<()> {
        let active = match &mut self.active {
            Some(active) => active,
            None => {
                let active = begin(shared, state, now)?;
                self.active.insert(active)
            }
        };
        let records = body.records.len() as u32;
        let header = FrameHeader {
            body_len: body.len() as u32,
            body_crc: body.crc,
            turn: step.turn,
            appended: frame::millis(now),
            first: active.records,
            records,
            source_len: body.source.len() as u32,
            repair: step.repair,
            incarnation: step.incarnation,
            from: step.from.clone(),
            to: step.to.clone(),
        }
        .encode(active.salt);
        active
            .file
            .write_at(&[&header, body.source, body.records.ends(), body.records.data()], active.len)?;
        let written = FRAME_HEADER as u64 + body.len();
        active.len += written;
        active.records += records;
        let chunk = state.chunk_mut(active.number).expect("a chunk stays while it is written");
        chunk.len = active.len;
        chunk.times.note(chunk.records, now);
        chunk.records = active.records;
        chunk.unsynced = Some(Arc::clone(&active.file));
        shared.grow(state, written);
        Ok(())
    }

    /// Closes the chunk that is being written, if any. Where the disk refuses, it is tried again before the next
    /// frame.
    fn seal(&mut self, shared: &Shared, state: &mut State) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.closing = true;
        let footer =
            Footer { records: active.records, len: active.len, oldest: frame::millis(active.oldest) };
        active.file.write_at(&[&footer.encode(active.salt)], active.len)?;
        // What is left of a frame that failed, and of the room that was reserved.
        active.file.set_len(active.len + FOOTER as u64)?;
        if let Some(chunk) = state.chunk_mut(active.number) {
            chunk.sealed = true;
            chunk.unsynced = Some(Arc::clone(&active.file));
        }
        shared.settle(state, active.number);
        // A reader that has read all of it passes its end now: before, it cannot be let go.
        shared.readable.notify_one();
        self.active = None;
        Ok(())
    }
}

fn begin(shared: &Shared, state: &mut State, now: SystemTime) -> io::Result<Active> {
    let number = state.next;
    let path = shared.chunk_path(number);
    let salt = fastrand::u32(..);
    let header =
        ChunkHeader { salt, number, created: frame::millis(now), destination: shared.destination_hash() };
    if let Err(error) = shared.disk.remove(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let file = shared.disk.create(&path)?;
    let len = CHUNK_HEADER as u64;
    let begun =
        file.reserve(state.chunk_size + FOOTER as u64).and_then(|()| file.write_at(&[&header.encode()], 0));
    if let Err(error) = begun {
        // Should removing fail too, the next attempt removes it, or recovery, which finds it empty.
        let _ = shared.disk.remove(&path);
        return Err(error);
    }
    state.next += 1;
    state.folder_unsynced = true;
    state.chunks.push_back(Chunk {
        number,
        path,
        salt,
        len,
        records: 0,
        sealed: false,
        own: true,
        oldest: now,
        times: Times::default(),
        unsynced: Some(Arc::clone(&file)),
        acked: Ranges::default(),
        acks: shared.ack_log(number, salt),
        read: false,
        readable: Ranges::default(),
        ends: HashMap::new(),
        damaged: false,
        done: false,
    });
    shared.grow(state, len);
    Ok(Active { number, file, salt, len, records: 0, oldest: now, closing: false })
}
