//! Opening a queue as an earlier process left it.
//!
//! A checkpoint names the [`Mark`] up to which the queue was durable. Chunks before it are known by their
//! footers alone, so opening does not take longer with a longer backlog; their frames are verified when they are
//! read. From the mark on every frame is verified now: the unbroken run of valid frames counts, and what
//! comes after its first break is removed, because after a power loss a later page may be there without an
//! earlier one. The removed lines are read again from their files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tracing::{error, info, warn};

use super::acks::{self, AckLog, Ranges};
use super::append::Appender;
use super::folder::{self, acks_path, discard, unreadable};
use super::frame::{self, CHUNK_HEADER, FOOTER, FRAME_HEADER, Footer, FormatError, FrameHeader};
use super::queue::{Budget, Chunk, Queue, Shared, Wake};
use super::read::{Chain, Reader};
use super::report::put_aside;
use super::settings::QueueSettings;
use super::times::Times;
use super::walk::{Walked, header, salvage, walk};
use crate::disk::{Disk, DiskFile, Report};
use crate::source::{DestinationName, Incarnation, Mark, Position};

/// How to open a queue.
pub struct Open<'a> {
    /// The destination's name.
    pub name: DestinationName,
    /// `data_dir`; the queue is in `buffer/<name>` below it.
    pub data_dir: &'a Path,
    /// The destination's limits.
    pub settings: QueueSettings,
    /// The size at which a chunk is closed.
    pub chunk_size: u64,
    /// What the last checkpoint says of the queue; none if it cannot be read or does not know the queue.
    /// Then every frame that is whole counts.
    pub known: Option<Known>,
    /// The seam for durable I/O.
    pub disk: Arc<dyn Disk>,
    /// What all queues share.
    pub budget: Arc<Budget>,
    /// Called when the agent should look again.
    pub wake: Wake,
    /// Is told, while chunks are read through, how many bytes of how many were.
    pub progress: &'a mut dyn FnMut(u64, u64),
}

/// What a checkpoint says of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Chunks before this one were delivered.
    pub first: u64,
    /// Everything before it was durable.
    pub mark: Mark,
}

impl Known {
    /// The number of the first chunk that was begun after it.
    fn after(&self) -> u64 {
        self.mark.chunk + u64::from(self.mark.offset > 0)
    }
}

/// A queue as it was found.
pub struct Opened {
    /// A handle to the queue.
    pub queue: Queue,
    /// Its writing end.
    pub appender: Appender,
    /// What the frames after the mark say about the files they came from.
    pub files: HashMap<Incarnation, Recovered>,
    /// The highest turn number found.
    pub turn: u64,
}

/// What recovered frames tell of one file.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The turn of the last of them.
    pub turn: u64,
    /// Where the first of them began.
    pub from: Position,
    /// Where the last of them ended.
    pub to: Position,
    /// Repairs among them: each moved a repair from one position to another.
    pub repairs: Vec<(Position, Position)>,
    /// The description of the file in the last of them.
    pub source: Vec<u8>,
}

/// Opens a queue, or makes an empty one.
///
/// # Errors
///
/// The folder cannot be made, read or written.
pub fn open(open: Open<'_>) -> io::Result<Opened> {
    let folder = folder::make(&*open.disk, open.data_dir, &open.name)?;
    let shared = Shared::new(
        open.name,
        folder,
        open.data_dir.to_owned(),
        open.settings,
        open.chunk_size,
        open.disk,
        open.budget,
        open.wake,
    );
    let mut found = Found { files: HashMap::new(), turn: 0 };
    let mut numbers = folder::list(&shared)?;
    numbers.sort_unstable();
    // Those before are known by their footers.
    let first = open.known.map_or(0, |known| known.mark.chunk);
    let mut through = Through::of(&shared, numbers.iter().filter(|number| **number >= first), open.progress);
    match &open.known {
        Some(known) => go_on(&shared, &numbers, known, &mut found, &mut through)?,
        None => {
            for number in numbers {
                believe(&shared, number, &mut found)?;
                through.read(number);
            }
        }
    }
    let mut state = shared.lock();
    // Numbers of chunks that were removed are used again: a number left out would look like a lost chunk.
    let last = state.chunks.back().map_or(0, |last| last.number + 1);
    state.next = last.max(open.known.map_or(0, |known| known.after()));
    // What was removed above must not come back, and what the last process made may not be durable yet.
    state.folder_unsynced = true;
    let (chunks, bytes) = (state.chunks.len(), state.bytes);
    drop(state);
    if chunks > 0 {
        info!(event = "buffer_opened", destination = %shared.name, chunks, bytes, "records of an earlier run are waiting");
    }
    let queue = Queue::new(shared);
    Ok(Opened { appender: Appender::new(queue.clone()), queue, files: found.files, turn: found.turn })
}

/// Goes on where a checkpoint says.
fn go_on(
    shared: &Shared,
    numbers: &[u64],
    known: &Known,
    found: &mut Found,
    through: &mut Through<'_>,
) -> io::Result<()> {
    let mut broken = false;
    let mut expected = known.after();
    for &number in numbers {
        let path = shared.chunk_path(number);
        if number < known.first {
            discard(shared, number)?;
            continue;
        }
        if number < known.mark.chunk {
            sealed(shared, number, &path)?;
            continue;
        }
        // A chunk that is missing after the mark breaks the run as a damaged frame does.
        broken |= number > expected;
        expected = number + 1;
        if !broken {
            let trusted = if number == known.mark.chunk { known.mark.offset } else { 0 };
            broken = tail(shared, number, &path, trusted, found)?;
            through.read(number);
            continue;
        }
        match header(shared, number, &path)? {
            Ok(_) | Err(FormatError::Short) => {
                warn!(event = "unsynced_discarded", destination = %shared.name, chunk = number,
                    "a chunk follows a gap and was never synced: it is removed, its lines are read again");
                discard(shared, number)?;
            }
            Err(reason) => unreadable(shared, number, &path, reason)?,
        }
    }
    Ok(())
}

/// The reading end of a queue that was just opened.
pub fn reader(queue: &Queue, chain: Chain) -> Reader {
    Reader::new(queue.clone(), chain)
}

/// How far chunks were read through.
struct Through<'a> {
    bytes: HashMap<u64, u64>,
    done: u64,
    of: u64,
    tell: &'a mut dyn FnMut(u64, u64),
}

impl<'a> Through<'a> {
    fn of<'n>(
        shared: &Shared,
        numbers: impl Iterator<Item = &'n u64>,
        tell: &'a mut dyn FnMut(u64, u64),
    ) -> Self {
        let len =
            |number: &u64| fs::metadata(shared.chunk_path(*number)).map_or(0, |metadata| metadata.len());
        let bytes: HashMap<u64, u64> = numbers.map(|number| (*number, len(number))).collect();
        let of = bytes.values().sum();
        Self { bytes, done: 0, of, tell }
    }

    /// This chunk was.
    fn read(&mut self, number: u64) {
        self.done += self.bytes.get(&number).copied().unwrap_or_default();
        (self.tell)(self.done, self.of);
    }
}

struct Found {
    files: HashMap<Incarnation, Recovered>,
    turn: u64,
}

impl Found {
    fn note(&mut self, frame: &FrameHeader, source: &[u8]) {
        self.turn = self.turn.max(frame.turn);
        let file = self.files.entry(frame.incarnation).or_insert_with(|| Recovered {
            turn: frame.turn,
            from: frame.from.clone(),
            to: frame.from.clone(),
            repairs: Vec::new(),
            source: Vec::new(),
        });
        if frame.repair {
            file.repairs.push((frame.from.clone(), frame.to.clone()));
            return;
        }
        file.turn = frame.turn;
        file.to = frame.to.clone();
        file.source = source.to_vec();
    }
}

/// A chunk that a checkpoint covers: its footer is enough. Without one it is walked, as far as it goes; the
/// reader will find out what is missing.
fn sealed(shared: &Shared, number: u64, path: &Path) -> io::Result<()> {
    if let Some((salt, footer)) = footer(shared, number, path)? {
        return add(shared, number, path, salt, &footer);
    }
    let on_disk = fs::metadata(path)?.len();
    match walk(shared, number, path, 0, |_, _| {})? {
        Walked::Unreadable(reason) => unreadable(shared, number, path, reason),
        Walked::To { salt, records, oldest, len } => {
            add(shared, number, path, salt, &Footer { records, len: readable_to(len, on_disk), oldest })
        }
    }
}

/// A chunk of which nothing is known: all of its frames that are whole count.
fn believe(shared: &Shared, number: u64, found: &mut Found) -> io::Result<()> {
    let path = shared.chunk_path(number);
    let header = match header(shared, number, &path)? {
        Ok(header) => header,
        Err(FormatError::Short) => return discard(shared, number),
        Err(reason) => return unreadable(shared, number, &path, reason),
    };
    let mut end = Footer { records: 0, len: 0, oldest: header.created };
    salvage(&path, header.salt, |frame, source| {
        end.records = end.records.max(frame.first + frame.records);
        found.note(frame, source);
    })?;
    end.len = match footer(shared, number, &path)? {
        Some((_, footer)) => footer.len,
        None => {
            let whole = match walk(shared, number, &path, 0, |_, _| {})? {
                Walked::To { len, .. } => len,
                Walked::Unreadable(_) => 0,
            };
            readable_to(whole, fs::metadata(&path)?.len())
        }
    };
    add(shared, number, &path, header.salt, &end)?;
    unsynced(shared, number, shared.disk.open(&path)?);
    Ok(())
}

/// Up to where the reader goes over a chunk without a footer: to its end, for valid frames may follow damage;
/// but what is too short for a frame is the rest of a footer and no damage.
fn readable_to(whole: u64, on_disk: u64) -> u64 {
    if on_disk < whole + FRAME_HEADER as u64 { whole } else { on_disk }
}

/// A chunk at or after the mark. Returns whether the run is broken in it.
fn tail(shared: &Shared, number: u64, path: &Path, trusted: u64, found: &mut Found) -> io::Result<bool> {
    let walked = walk(shared, number, path, trusted, |frame, source| found.note(frame, source))?;
    let (salt, len, records, oldest) = match walked {
        Walked::Unreadable(FormatError::Short) if trusted == 0 => {
            // Its header was never synced.
            discard(shared, number)?;
            return Ok(true);
        }
        Walked::Unreadable(reason) => {
            unreadable(shared, number, path, reason)?;
            return Ok(true);
        }
        Walked::To { salt, len, records, oldest } => (salt, len, records, oldest),
    };
    let on_disk = fs::metadata(path)?.len();
    if len < trusted || on_disk < trusted {
        // Durable bytes are missing. The reader tells which records they were.
        error!(event = "chunk_damaged", destination = %shared.name, chunk = number, "a chunk lost its synced end");
        add(shared, number, path, salt, &Footer { records, len: on_disk, oldest })?;
        return Ok(true);
    }
    if let Some((salt, footer)) = footer(shared, number, path)?
        && footer.len == len
    {
        add(shared, number, path, salt, &footer)?;
        unsynced(shared, number, shared.disk.open(path)?);
        return Ok(false);
    }
    let torn = on_disk - len;
    if torn > 0 {
        info!(event = "torn_end_removed", destination = %shared.name, chunk = number, bytes = torn,
            "a frame was cut by the end of the last run; its lines are read again");
    }
    // Records are counted over the whole chunk, the trusted part included.
    let records = if records == 0 && len == trusted { count(shared, number, path)? } else { records };
    if records == 0 {
        discard(shared, number)?;
        return Ok(false);
    }
    let footer = Footer { records, len, oldest };
    let file = shared.disk.open(path)?;
    file.set_len(len)?;
    if let Err(error) = file.write_at(&[&footer.encode(salt)], len) {
        // A full disk is no reason not to start. A part of a footer would look like a torn frame.
        file.set_len(len)?;
        warn!(event = "chunk_without_footer", destination = %shared.name, %error,
            "a chunk could not be closed; it will be read through at the next start");
    }
    add(shared, number, path, salt, &footer)?;
    unsynced(shared, number, file);
    // Only a closed chunk is followed by another: what follows a torn end is there without what was before it.
    Ok(torn > 0)
}

/// A kill leaves with the kernel what it has not written yet, and this process' checkpoint may cover it only
/// once it is durable.
fn unsynced(shared: &Shared, number: u64, file: Arc<dyn DiskFile>) {
    if let Some(chunk) = shared.lock().chunk_mut(number) {
        chunk.unsynced = Some(file);
    }
}

fn count(shared: &Shared, number: u64, path: &Path) -> io::Result<u32> {
    Ok(match walk(shared, number, path, 0, |_, _| {})? {
        Walked::To { records, .. } => records,
        Walked::Unreadable(_) => 0,
    })
}

/// The footer of a chunk, if header and footer are good and agree with the file.
fn footer(shared: &Shared, number: u64, path: &Path) -> io::Result<Option<(u32, Footer)>> {
    let Ok(header) = header(shared, number, path)? else { return Ok(None) };
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    if len < (CHUNK_HEADER + FOOTER) as u64 {
        return Ok(None);
    }
    let mut end = [0; FOOTER];
    crate::disk::read_exact_at(&file, &mut end, len - FOOTER as u64)?;
    let footer = Footer::decode(&end, header.salt).ok().filter(|footer| footer.len == len - FOOTER as u64);
    Ok(footer.map(|footer| (header.salt, footer)))
}

fn add(shared: &Shared, number: u64, path: &Path, salt: u32, footer: &Footer) -> io::Result<()> {
    let acks_path = acks_path(shared, number);
    let (acks, acked) = match AckLog::open(&*shared.disk, acks_path.clone(), salt)? {
        acks::Found::Acks(acks, acked) => (acks, acked),
        acks::Found::Foreign(reason) => {
            let report = Report { kind: "acknowledgements", reason, found: Value::Null };
            let kept = put_aside(shared, &acks_path, &report)?;
            error!(event = "acks_quarantined", destination = %shared.name, chunk = number, kept = %kept.display(), reason = report.reason,
                "what was delivered of a chunk cannot be read and was moved away; its records are sent again");
            (shared.ack_log(number, salt), Ranges::default())
        }
    };
    let bytes = footer.len + acks.len();
    let mut state = shared.lock();
    state.chunks.push_back(Chunk {
        number,
        path: path.to_owned(),
        salt,
        len: footer.len,
        records: footer.records,
        sealed: true,
        own: false,
        oldest: frame::from_millis(footer.oldest),
        times: Times::default(),
        unsynced: None,
        acked,
        acks,
        read: false,
        readable: Ranges::default(),
        ends: HashMap::new(),
        damaged: false,
        done: false,
    });
    shared.grow(&mut state, bytes);
    Ok(())
}

/// Where files stand at the end of a chunk that is given up unread.
pub(super) fn ends_of(shared: &Shared, chunk: &Chunk) -> io::Result<HashMap<Incarnation, Position>> {
    let mut ends = chunk.ends.clone();
    walk(shared, chunk.number, &chunk.path, 0, |frame, _| {
        if !frame.repair {
            ends.insert(frame.incarnation, frame.to.clone());
        }
    })?;
    Ok(ends)
}
