//! Reading a queue: records in order, out of mapped windows, each frame verified as it is read.
//!
//! Damage never stops the reader and never yields a wrong record: what does not match its checksum is passed
//! over, up to the next frame that does. What was lost shows as a break in the chain of its file's positions
//! (see [`frame`](super::frame)), whatever the damage was: a flipped bit, a chunk cut short, one that is
//! missing. Each break is told as [`Lost`], so that the lines are read again from their source.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use tracing::{error, warn};

use super::frame::{self, CHUNK_HEADER, FRAME_HEADER, FormatError, FrameHeader};
use super::queue::{Lost, Queue};
use super::window::{map, read_through};
use crate::disk::is_damage;
use crate::record::Run;
use crate::source::{Incarnation, Position};

/// The most that is mapped at once, unless a single frame is longer.
const WINDOW: u64 = 4 << 20;

/// Where files stand when reading begins, so that a break in the chain is noticed from the first frame on.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// How far each file was delivered: where its first frame in the queue must begin.
    pub delivered: HashMap<Incarnation, Position>,
    /// How far each file is in the queue as it was found: where its last recovered frame must end.
    pub buffered: HashMap<Incarnation, Position>,
}

/// The reading end of a queue; there is one.
pub struct Reader {
    queue: Queue,
    /// The chunk that is read, and how far.
    number: u64,
    offset: u64,
    file: Option<File>,
    window: Bytes,
    window_start: u64,
    pending: VecDeque<Run>,
    ends: HashMap<Incarnation, Position>,
    /// Checked when the reader comes to this chunk, the first that this process began.
    recovered: Option<(u64, HashMap<Incarnation, Position>)>,
}

/// The part of a chunk that a reader needs to know.
struct View {
    number: u64,
    len: u64,
    sealed: bool,
    own: bool,
    salt: u32,
    path: std::path::PathBuf,
}

impl Reader {
    pub(super) fn new(queue: Queue, chain: Chain) -> Self {
        let next = queue.shared.lock().next;
        Self {
            queue,
            number: 0,
            offset: 0,
            file: None,
            window: Bytes::new(),
            window_start: 0,
            pending: VecDeque::new(),
            ends: chain.delivered,
            recovered: Some((next, chain.buffered)),
        }
    }

    /// Waits until [`next_run`](Self::next_run) may give more than it did.
    pub async fn readable(&self) {
        self.queue.shared.readable.notified().await;
    }

    /// Forgets what was read and not handed out: the caller gives it up.
    pub fn forget(&mut self) {
        self.pending.clear();
    }

    /// The next records that were not acknowledged, or none for now.
    ///
    /// # Errors
    ///
    /// The disk could not be read; the same records are tried again with the next call.
    pub fn next_run(&mut self) -> io::Result<Option<Run>> {
        loop {
            if let Some(run) = self.pending.pop_front() {
                return Ok(Some(run));
            }
            let Some(view) = self.view() else {
                self.check_recovered(u64::MAX);
                return Ok(None);
            };
            if self.file.is_none() || view.number != self.number {
                self.enter(&view)?;
            }
            if self.offset < view.len {
                self.frame(&view)?;
            } else if view.sealed {
                self.leave();
            } else {
                return Ok(None);
            }
        }
    }

    /// The chunk to read: the one that was begun, or the next that is there.
    fn view(&mut self) -> Option<View> {
        let mut state = self.queue.shared.lock();
        self.ends.extend(state.skipped.drain(..));
        let at = state.chunks.partition_point(|chunk| chunk.number < self.number);
        let chunk = state.chunks.iter().skip(at).find(|chunk| !chunk.read)?;
        Some(View {
            number: chunk.number,
            len: chunk.len,
            sealed: chunk.sealed,
            own: chunk.own,
            salt: chunk.salt,
            path: chunk.path.clone(),
        })
    }

    fn enter(&mut self, view: &View) -> io::Result<()> {
        self.check_recovered(view.number);
        self.number = view.number;
        let file = match File::open(&view.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                error!(event = "chunk_vanished", destination = %self.queue.name(), path = %view.path.display(),
                    "a chunk was removed by somebody else; its lines are read again where their files still have them");
                self.offset = view.len;
                return Ok(());
            }
            opened => opened?,
        };
        self.offset = CHUNK_HEADER as u64;
        self.file = Some(file);
        self.drop_window();
        Ok(())
    }

    fn leave(&mut self) {
        self.drop_window();
        self.file = None;
        let shared = Arc::clone(&self.queue.shared);
        let mut state = shared.lock();
        if let Some(chunk) = state.chunk_mut(self.number) {
            chunk.read = true;
        }
        shared.settle(&mut state, self.number);
    }

    fn drop_window(&mut self) {
        self.window = Bytes::new();
        self.window_start = 0;
    }

    /// Reads one frame, or passes over what is damaged.
    fn frame(&mut self, view: &View) -> io::Result<()> {
        let header = match self.bytes(view, FRAME_HEADER as u64) {
            Err(error) if is_damage(&error) => {
                // Where the next frame begins is not known either.
                self.damaged(&FormatError::Unreadable);
                self.offset = view.len;
                return Ok(());
            }
            bytes => bytes?,
        };
        let outcome = FrameHeader::decode(&header, view.salt).and_then(|header| {
            if header.frame_len() > view.len - self.offset { Err(FormatError::Short) } else { Ok(header) }
        });
        let header = match outcome {
            Ok(header) => header,
            Err(reason) => return self.resync(view, reason),
        };
        let whole = match self.bytes(view, header.frame_len()) {
            Err(error) if is_damage(&error) => Err(FormatError::Unreadable),
            bytes => Ok(bytes?.slice(FRAME_HEADER..)),
        };
        self.offset += header.frame_len();
        let checked = whole.and_then(|body| frame::check_body(&header, &body).map(|()| body));
        let body = match checked {
            Ok(body) => body,
            Err(reason) => {
                self.damaged(&reason);
                if header.repair {
                    self.lost(header.incarnation, header.from, header.to);
                }
                return Ok(());
            }
        };
        if !header.repair && !self.follow(&header) {
            return Ok(());
        }
        let shared = Arc::clone(&self.queue.shared);
        let mut state = shared.lock();
        // One that was given up meanwhile has been counted.
        let Some(chunk) = state.chunk_mut(self.number).filter(|chunk| !chunk.read) else {
            return Ok(());
        };
        chunk.readable.insert(header.first..header.first + header.records);
        if !header.repair {
            chunk.ends.insert(header.incarnation, header.to);
        }
        let gaps = chunk.acked.gaps(header.first..header.first + header.records);
        drop(state);
        let ends_at = header.source_len as usize;
        let data_at = ends_at + 4 * header.records as usize;
        let run = Run::new(
            self.number,
            header.first,
            body.slice(ends_at..data_at),
            body.slice(data_at..),
            frame::from_millis(header.appended),
        );
        self.pending
            .extend(gaps.into_iter().map(|gap| {
                run.slice((gap.start - header.first) as usize..(gap.end - header.first) as usize)
            }));
        Ok(())
    }

    /// Holds a frame against the one before it of the same file. Returns whether it is news: what a power loss
    /// brings back of a chunk that was removed has been delivered.
    fn follow(&mut self, header: &FrameHeader) -> bool {
        if let Some(before) = self.ends.get(&header.incarnation)
            && *before != header.from
        {
            let before = before.clone();
            if header.to.offset <= before.offset {
                return false;
            }
            if header.from.offset >= before.offset {
                self.lost(header.incarnation, before, header.from.clone());
            }
        }
        self.ends.insert(header.incarnation, header.to.clone());
        true
    }

    /// Once, past everything that an earlier process wrote: the end of each file's chain.
    fn check_recovered(&mut self, number: u64) {
        let Some((_, buffered)) = self.recovered.take_if(|(first, _)| number >= *first) else {
            return;
        };
        for (incarnation, expected) in buffered {
            if let Some(found) = self.ends.get(&incarnation)
                && *found != expected
            {
                let found = found.clone();
                self.ends.insert(incarnation, expected.clone());
                self.lost(incarnation, found, expected);
            }
        }
    }

    fn lost(&self, incarnation: Incarnation, from: Position, to: Position) {
        warn!(event = "records_lost", destination = %self.queue.name(), %incarnation, from = from.offset, to = to.offset,
            "buffered records could not be read; their lines are read again from the file where it still has them");
        self.queue.shared.lock().lost.push(Lost { incarnation, from, to });
        (self.queue.shared.wake)();
    }

    fn damaged(&self, reason: &FormatError) {
        error!(event = "chunk_damaged", destination = %self.queue.name(), chunk = self.number, offset = self.offset, %reason,
            "a part of a chunk is damaged; the chunk will be kept in quarantine");
        if let Some(chunk) = self.queue.shared.lock().chunk_mut(self.number) {
            chunk.damaged = true;
        }
    }

    /// Goes on at the next frame that can be made out, or at the end of the chunk.
    fn resync(&mut self, view: &View, reason: FormatError) -> io::Result<()> {
        self.damaged(&reason);
        let mut from = self.offset + 1;
        while from < view.len {
            let end = view.len.min(from + WINDOW);
            self.offset = from;
            let bytes = match self.bytes(view, end - from) {
                Err(error) if is_damage(&error) => break,
                bytes => bytes?,
            };
            if let Some(at) = frame::find_frame(&bytes, view.salt) {
                self.offset = from + at as u64;
                return Ok(());
            }
            if end == view.len {
                break;
            }
            // A header may lie across the end of what was searched.
            from = end - FRAME_HEADER as u64;
        }
        self.offset = view.len;
        Ok(())
    }

    /// The next `len` bytes of the chunk, or what is left of it.
    fn bytes(&mut self, view: &View, len: u64) -> io::Result<Bytes> {
        let len = len.min(view.len - self.offset);
        let held = self.window_start..self.window_start + self.window.len() as u64;
        if !(held.contains(&self.offset) && self.offset + len <= held.end) {
            let file = self.file.as_ref().expect("a chunk is entered before it is read");
            // A map begins at a page.
            let start = self.offset & !4095;
            let wide = view.len.min(self.offset + len.max(WINDOW));
            self.window = match window(file, start, wide, view.own) {
                // What is damaged further on is no reason not to read what is here.
                Err(error) if is_damage(&error) => window(file, start, self.offset + len, view.own)?,
                window => window?,
            };
            self.window_start = start;
        }
        let at = (self.offset - self.window_start) as usize;
        Ok(self.window.slice(at..at + len as usize))
    }
}

/// Maps a part of a chunk, after reading it through unless this process wrote it.
fn window(file: &File, start: u64, end: u64, own: bool) -> io::Result<Bytes> {
    if !own {
        read_through(file, start, end)?;
    }
    map(file, start, end)
}
