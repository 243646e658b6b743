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
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{error, info, warn};

use super::acks::AckLog;
use super::append::Appender;
use super::frame::{self, CHUNK_HEADER, ChunkHeader, FOOTER, Footer, FormatError};
use super::queue::{Budget, Chunk, Queue, Shared, Wake, quarantine};
use super::read::{Chain, Reader, Walked, walk};
use super::settings::QueueSettings;
use crate::disk::Disk;
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
    /// Where the last checkpoint says that the queue was durable; none if there is no checkpoint.
    pub mark: Option<Mark>,
    /// The seam for durable I/O.
    pub disk: Arc<dyn Disk>,
    /// What all queues share.
    pub budget: Arc<Budget>,
    /// Called when the agent should look again.
    pub wake: Wake,
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
    let folder = open.data_dir.join("buffer").join(open.name.as_str());
    open.disk.create_folder(&folder)?;
    let shared = Shared::new(
        open.name,
        folder,
        open.data_dir.join("quarantine"),
        open.settings,
        open.chunk_size,
        open.disk,
        open.budget,
        open.wake,
    );
    let mut found = Found { files: HashMap::new(), turn: 0 };
    let mut numbers = list(&shared)?;
    numbers.sort_unstable();
    let mark = open.mark.unwrap_or_default();
    let mut broken = false;
    let mut previous = None;
    for number in numbers {
        let after_mark = number >= mark.chunk;
        // A chunk that is missing after the mark breaks the run as a damaged frame does.
        broken |=
            after_mark && previous.is_some_and(|previous| previous >= mark.chunk && number != previous + 1);
        previous = Some(number);
        let path = shared.chunk_path(number);
        if broken {
            match walk(&shared, number, &path, u64::MAX, |_, _| {})? {
                Walked::Unreadable(reason @ (FormatError::NotAChunk | FormatError::Version(_))) => {
                    unreadable(&shared, &path, reason)?;
                }
                _ => {
                    warn!(event = "unsynced_discarded", destination = %shared.name, chunk = number,
                        "a chunk follows a gap and was never synced: it is removed, its lines are read again");
                    discard(&shared, number)?;
                }
            }
        } else if after_mark {
            let trusted = if number == mark.chunk { mark.offset } else { 0 };
            broken = tail(&shared, number, &path, trusted, &mut found)?;
        } else {
            sealed(&shared, number, &path)?;
        }
    }
    let mut state = shared.lock();
    // Numbers of chunks that were removed are used again: a number left out would look like a lost chunk.
    let last = state.chunks.back().map_or(0, |last| last.number + 1);
    state.next = last.max(open.mark.map_or(0, |mark| mark.chunk + 1));
    let (chunks, bytes) = (state.chunks.len(), state.bytes);
    drop(state);
    if chunks > 0 {
        info!(event = "buffer_opened", destination = %shared.name, chunks, bytes, "records of an earlier run are waiting");
    }
    let queue = Queue::new(shared);
    Ok(Opened { appender: Appender::new(queue.clone()), queue, files: found.files, turn: found.turn })
}

/// The reading end of a queue that was just opened.
pub fn reader(queue: &Queue, chain: Chain) -> Reader {
    Reader::new(queue.clone(), chain)
}

struct Found {
    files: HashMap<Incarnation, Recovered>,
    turn: u64,
}

/// The numbers of the chunks in the folder; anything else there goes to quarantine.
fn list(shared: &Shared) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut acks = Vec::new();
    for entry in fs::read_dir(&shared.folder)? {
        let path = entry?.path();
        match named(&path) {
            Some((number, "chunk")) => numbers.push(number),
            Some((number, "acks")) => acks.push((number, path)),
            _ => {
                let kept = quarantine(shared, &path)?;
                warn!(event = "foreign_file", path = %path.display(), kept = %kept.display(),
                    "a file that does not belong into the buffer was moved away");
            }
        }
    }
    for (number, path) in acks {
        if !numbers.contains(&number) {
            shared.disk.remove(&path)?;
        }
    }
    Ok(numbers)
}

fn named(path: &Path) -> Option<(u64, &str)> {
    let stem = path.file_stem()?.to_str()?;
    let number = u64::from_str_radix(stem, 16).ok().filter(|number| format!("{number:016x}") == stem)?;
    Some((number, path.extension()?.to_str()?))
}

fn discard(shared: &Shared, number: u64) -> io::Result<()> {
    shared.disk.remove(&shared.chunk_path(number))?;
    match shared.disk.remove(&acks_path(shared, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn acks_path(shared: &Shared, number: u64) -> PathBuf {
    shared.folder.join(format!("{number:016x}.acks"))
}

/// A chunk that a checkpoint covers: its footer is enough. Without one it is walked, as far as it goes; the
/// reader will find out what is missing.
fn sealed(shared: &Shared, number: u64, path: &Path) -> io::Result<()> {
    match footer(shared, number, path)? {
        Some((salt, footer)) => add(shared, number, path, salt, &footer),
        None => {
            let len = fs::metadata(path)?.len();
            match walk(shared, number, path, 0, |_, _| {})? {
                Walked::Unreadable(reason) => unreadable(shared, path, reason),
                // The reader goes over all of it: valid frames may follow the damage.
                Walked::To { salt, records, oldest, .. } => {
                    add(shared, number, path, salt, &Footer { records, len, oldest })
                }
            }
        }
    }
}

/// A chunk at or after the mark. Returns whether the run is broken in it.
fn tail(shared: &Shared, number: u64, path: &Path, trusted: u64, found: &mut Found) -> io::Result<bool> {
    let walked = walk(shared, number, path, trusted, |frame, source| {
        found.turn = found.turn.max(frame.turn);
        let file = found.files.entry(frame.incarnation).or_insert_with(|| Recovered {
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
    })?;
    let (salt, len, records, oldest) = match walked {
        Walked::Unreadable(FormatError::Short | FormatError::Checksum) if trusted == 0 => {
            // Its header was never synced.
            discard(shared, number)?;
            return Ok(true);
        }
        Walked::Unreadable(reason) => {
            unreadable(shared, path, reason)?;
            return Ok(true);
        }
        Walked::To { salt, len, records, oldest, .. } => (salt, len, records, oldest),
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
    file.write_at(&[&footer.encode(salt)], len)?;
    add(shared, number, path, salt, &footer)?;
    if let Some(chunk) = shared.lock().chunk_mut(number) {
        chunk.unsynced = Some(file);
    }
    // Nothing valid follows an end that was torn; a chunk that merely was not closed is the last one anyway.
    Ok(true)
}

fn count(shared: &Shared, number: u64, path: &Path) -> io::Result<u32> {
    Ok(match walk(shared, number, path, 0, |_, _| {})? {
        Walked::To { records, .. } => records,
        Walked::Unreadable(_) => 0,
    })
}

/// The footer of a chunk, if header and footer are good and agree with the file.
fn footer(shared: &Shared, number: u64, path: &Path) -> io::Result<Option<(u32, Footer)>> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    if len < (CHUNK_HEADER + FOOTER) as u64 {
        return Ok(None);
    }
    let mut header = [0; CHUNK_HEADER];
    crate::disk::read_exact_at(&file, &mut header, 0)?;
    let mut end = [0; FOOTER];
    crate::disk::read_exact_at(&file, &mut end, len - FOOTER as u64)?;
    let Ok(header) = ChunkHeader::decode(&header) else {
        return Ok(None);
    };
    if header.number != number || header.destination != shared.destination_hash() {
        return Ok(None);
    }
    let footer = Footer::decode(&end, header.salt).ok().filter(|footer| footer.len == len - FOOTER as u64);
    Ok(footer.map(|footer| (header.salt, footer)))
}

fn add(shared: &Shared, number: u64, path: &Path, salt: u32, footer: &Footer) -> io::Result<()> {
    let (acks, acked) = AckLog::open(&*shared.disk, acks_path(shared, number))?;
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
        unsynced: None,
        acked,
        acks,
        read: false,
        readable: 0,
        ends: HashMap::new(),
        damaged: false,
        done: false,
    });
    shared.grow(&mut state, bytes);
    Ok(())
}

fn unreadable(shared: &Shared, path: &Path, reason: FormatError) -> io::Result<()> {
    let kept = quarantine(shared, path)?;
    error!(event = "chunk_quarantined", destination = %shared.name, path = %path.display(), kept = %kept.display(), %reason,
        "a chunk cannot be read and was moved away; its lines are read again where their files still have them");
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
