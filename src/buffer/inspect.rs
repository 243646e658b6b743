//! Queues as they lie on disk, for people: nothing is opened for writing, no damage is put right, and a kinetail that runs
//! on them is not disturbed. Only [`give_up`] changes something, on a queue that nobody uses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::acks::{AckLog, Found, Ranges};
use super::folder::named;
use super::frame::{self, CHUNK_HEADER, ChunkHeader, FOOTER, FRAME_HEADER, Footer, FrameHeader};
use super::walk::{frame_at, next_header};
use crate::disk::{Disk, read_exact_at};
use crate::source::DestinationName;

/// A chunk file.
#[derive(Clone, Debug)]
pub struct ChunkFile {
    /// Its number; the lowest is the oldest.
    pub number: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its length on disk, its acknowledgements not counted.
    pub bytes: u64,
    /// When it was begun; none if its header cannot be read.
    pub created: Option<SystemTime>,
    /// It is closed: nothing is appended to it any more.
    pub closed: bool,
    salt: u32,
}

/// What a chunk holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Frames that are whole.
    pub frames: u64,
    /// Their records.
    pub records: u64,
    /// Those of them that were not acknowledged.
    pub waiting: u64,
    /// Where something begins that is not whole. Of a chunk that is being written the end is not looked at.
    pub damaged: Vec<u64>,
}

/// A frame of a chunk.
#[derive(Debug)]
pub struct Frame<'a> {
    /// Where it begins in the chunk.
    pub offset: u64,
    /// What it says of itself.
    pub header: &'a FrameHeader,
    /// The description of the file that its records came from, in JSON.
    pub source: &'a [u8],
    records: &'a [u8],
    acked: &'a Ranges,
}

impl Frame<'_> {
    /// Its records that were not acknowledged, each with its newline.
    pub fn waiting(&self) -> impl Iterator<Item = &[u8]> {
        let (ends, data) = self.records.split_at(4 * self.header.records as usize);
        let end = move |index: u32| {
            let at = 4 * index as usize;
            u32::from_le_bytes([ends[at], ends[at + 1], ends[at + 2], ends[at + 3]]) as usize
        };
        let first = self.header.first;
        let gaps = self.acked.gaps(first..first + self.header.records);
        gaps.into_iter().flatten().map(move |record| {
            let index = record - first;
            &data[if index == 0 { 0 } else { end(index - 1) }..end(index)]
        })
    }

    /// How many of its records were not acknowledged.
    pub fn waiting_records(&self) -> u64 {
        let first = self.header.first;
        let gaps = self.acked.gaps(first..first + self.header.records);
        gaps.iter().map(|gap| u64::from(gap.end - gap.start)).sum()
    }
}

/// The destinations that have a queue in `data_dir`.
///
/// # Errors
///
/// The folder cannot be read. That there is none is no error.
pub fn destinations(data_dir: &Path) -> io::Result<Vec<DestinationName>> {
    let mut names = Vec::new();
    for entry in entries(&data_dir.join("buffer"))? {
        if entry.file_type()?.is_dir()
            && let Some(name) = entry.file_name().to_str()
        {
            names.push(name.into());
        }
    }
    names.sort();
    Ok(names)
}

/// The chunks of a destination, the oldest first.
///
/// # Errors
///
/// The folder cannot be read.
pub fn chunks(data_dir: &Path, destination: &DestinationName) -> io::Result<Vec<ChunkFile>> {
    let mut chunks = Vec::new();
    for entry in entries(&data_dir.join("buffer").join(destination.as_str()))? {
        let path = entry.path();
        if let Some((number, "chunk")) = named(&path) {
            match ChunkFile::at(number, path.clone()) {
                // It was delivered meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                chunk => chunks.push(chunk?),
            }
        }
    }
    chunks.sort_by_key(|chunk| chunk.number);
    Ok(chunks)
}

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl ChunkFile {
    fn at(number: u64, path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut chunk = Self { number, path, bytes, created: None, closed: false, salt: 0 };
        let mut header = [0; CHUNK_HEADER];
        if bytes < CHUNK_HEADER as u64 || read_exact_at(&file, &mut header, 0).is_err() {
            return Ok(chunk);
        }
        // Where it would be even if the header is damaged: frames that match it prove it.
        chunk.salt = frame::salt_of(&header);
        let Ok(header) = ChunkHeader::decode(&header) else { return Ok(chunk) };
        chunk.created = Some(frame::from_millis(header.created));
        chunk.closed = chunk.footer(&file).is_some();
        Ok(chunk)
    }

    fn footer(&self, file: &File) -> Option<Footer> {
        let at = self.bytes.checked_sub(FOOTER as u64)?;
        let mut end = [0; FOOTER];
        read_exact_at(file, &mut end, at).ok()?;
        Footer::decode(&end, self.salt).ok().filter(|footer| footer.len == at)
    }

    fn acks(&self) -> AckLog {
        AckLog::new(self.path.with_extension("acks"), self.salt)
    }

    /// Reads it through, and gives every whole frame to `visit`.
    ///
    /// # Errors
    ///
    /// The disk failed. Damage is no error.
    pub fn read(&self, mut visit: impl FnMut(&Frame<'_>) -> io::Result<()>) -> io::Result<Contents> {
        let acked = self.acks().peek()?;
        let file = File::open(&self.path)?;
        let end = if self.closed { self.bytes - FOOTER as u64 } else { self.bytes };
        let mut contents = Contents::default();
        if self.created.is_none() {
            contents.damaged.push(0);
        }
        let (mut at, mut body) = (CHUNK_HEADER as u64, Vec::new());
        loop {
            if let Some(header) = frame_at(&file, at, end, self.salt, &mut body)? {
                let (source, records) = body.split_at(header.source_len as usize);
                let frame = Frame { offset: at, header: &header, source, records, acked: &acked };
                contents.frames += 1;
                contents.records += u64::from(header.records);
                contents.waiting += frame.waiting_records();
                visit(&frame)?;
                at += header.frame_len();
                continue;
            }
            match next_header(&file, at + 1, end, self.salt)? {
                Some(next) => {
                    contents.damaged.push(at);
                    at = next;
                }
                None => {
                    let rest = end.saturating_sub(at);
                    if self.closed && rest > 0 || rest >= FRAME_HEADER as u64 && self.is_torn(&file, at)? {
                        contents.damaged.push(at);
                    }
                    return Ok(contents);
                }
            }
        }
    }

    /// Whether what follows the last whole frame of a chunk that is not closed is more than the room that was reserved.
    fn is_torn(&self, file: &File, at: u64) -> io::Result<bool> {
        let mut bytes = [0; FRAME_HEADER];
        Ok(super::walk::read(file, &mut bytes, at)? && bytes.iter().any(|byte| *byte != 0))
    }
}

/// Gives up all records of a destination that were not delivered: they count as settled, and the next start removes their
/// chunks. The caller holds `data_dir`. Returns how many they were.
///
/// # Errors
///
/// The disk failed; what was given up by then stays so.
pub fn give_up(data_dir: &Path, destination: &DestinationName, disk: &dyn Disk) -> io::Result<u64> {
    let mut given_up = 0;
    for chunk in chunks(data_dir, destination)? {
        let mut ranges = Vec::new();
        let contents = chunk.read(|frame| {
            ranges.push(frame.header.first..frame.header.first + frame.header.records);
            Ok(())
        })?;
        if contents.waiting == 0 {
            continue;
        }
        let acks = chunk.path.with_extension("acks");
        let Found::Acks(mut log, _) = AckLog::open(disk, acks.clone(), chunk.salt)? else {
            return Err(io::Error::other(format!("{} is no list of acknowledgements", acks.display())));
        };
        log.append(disk, &ranges)?;
        if let Some(file) = log.take_unsynced() {
            file.sync()?;
        }
        if let Some(folder) = acks.parent() {
            disk.sync_folder(folder)?;
        }
        given_up += contents.waiting;
    }
    Ok(given_up)
}
