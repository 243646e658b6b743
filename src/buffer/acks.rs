//! Which records of a chunk were delivered, in memory and in the file beside the chunk.
//!
//! An acknowledgement is written before it counts, so that after `kill -9` only the requests that were under
//! way are sent again. After a power loss the ones not synced yet may be gone too; their records go out a
//! second time, with the same ids.
//!
//! ```text
//! acks file   magic "KTLACKS1" │ entry │ entry │ …
//! entry (12)  first record │ end (the record after the last) │ CRC-32 of both and the chunk's salt
//! ```
//!
//! The salt ties them to their chunk: after a power loss an older file may be back under a number that was used
//! again.
//!
//! The digit of the magic is the format's version. Reading stops at the first entry that is cut or does not match: acknowledgements are independent of each
//! other, so what stands before it is good.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

/// The last byte of the magic is the version.
const MAGIC: &[u8; 8] = b"KTLACKS1";
const ENTRY: usize = 12;

/// A set of record numbers, as ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Range<u32>>);

impl Ranges {
    /// Adds a range.
    pub(super) fn insert(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|held| held.end < range.start);
        let last = self.0.partition_point(|held| held.start <= range.end);
        let merged = match self.0.get(first..last) {
            Some([only]) => only.start.min(range.start)..only.end.max(range.end),
            Some([from, .., to]) => from.start.min(range.start)..to.end.max(range.end),
            _ => range,
        };
        self.0.splice(first..last, [merged]);
    }

    /// Whether it holds all of another set.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.0.iter().all(|range| self.gaps(range.clone()).is_empty())
    }

    /// How many numbers it holds that the other does not.
    pub(super) fn count_beyond(&self, other: &Self) -> u32 {
        let beyond = self.0.iter().flat_map(|range| other.gaps(range.clone()));
        beyond.map(|gap| gap.end - gap.start).sum()
    }

    /// How many numbers it holds.
    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// The parts of `whole` that are not in it, in order.
    pub(super) fn gaps(&self, whole: Range<u32>) -> Vec<Range<u32>> {
        let mut gaps = Vec::new();
        let mut at = whole.start;
        for held in &self.0[self.0.partition_point(|held| held.end <= whole.start)..] {
            if held.start >= whole.end {
                break;
            }
            if held.start > at {
                gaps.push(at..held.start);
            }
            at = held.end;
        }
        if at < whole.end {
            gaps.push(at..whole.end);
        }
        gaps
    }
}

/// The file that keeps the acknowledgements of one chunk. Made with the first of them.
#[derive(Debug)]
pub(super) struct AckLog {
    path: PathBuf,
    salt: u32,
    file: Option<Arc<dyn DiskFile>>,
    len: u64,
    /// What the disk did not take yet.
    pending: Vec<Range<u32>>,
    unsynced: bool,
    folder_unsynced: bool,
}

/// What was found in the place of a chunk's acknowledgements.
#[derive(Debug)]
pub(super) enum Found {
    /// Those of an earlier process, as far as they can be read. They may not be durable yet.
    Acks(AckLog, Ranges),
    /// Something else; in words, why.
    Foreign(String),
}

impl AckLog {
    /// For a chunk that has none yet.
    pub(super) fn new(path: PathBuf, salt: u32) -> Self {
        Self { path, salt, file: None, len: 0, pending: Vec::new(), unsynced: false, folder_unsynced: false }
    }

    /// Reads what an earlier process wrote.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf, salt: u32) -> io::Result<Found> {
        let mut log = Self::new(path, salt);
        let mut acked = Ranges::default();
        let bytes = match std::fs::read(&log.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Acks(log, acked)),
            Err(error) => return Err(error),
        };
        let Some(len) = log.read(&bytes, &mut acked) else { return Ok(Found::Foreign(foreign(&bytes))) };
        log.len = len;
        log.file = Some(disk.open(&log.path)?);
        (log.unsynced, log.folder_unsynced) = (true, true);
        Ok(Found::Acks(log, acked))
    }

    /// What is acknowledged in a file, as far as that can be read; nothing is touched.
    pub(super) fn peek(&self) -> io::Result<Ranges> {
        let mut acked = Ranges::default();
        match std::fs::read(&self.path) {
            Ok(bytes) => drop(self.read(&bytes, &mut acked)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(acked)
    }

    /// Reads what a file holds, and returns how much of it is whole; none if it holds something else.
    fn read(&self, bytes: &[u8], acked: &mut Ranges) -> Option<u64> {
        let magic = &bytes[..bytes.len().min(MAGIC.len())];
        if !bytes.starts_with(MAGIC) {
            return (MAGIC.starts_with(magic) || magic.iter().all(|byte| *byte == 0)).then_some(0);
        }
        let mut len = MAGIC.len() as u64;
        for entry in bytes[MAGIC.len()..].as_chunks::<ENTRY>().0 {
            let number =
                |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            if self.checksum(&entry[..8]) != number(8) || number(0) > number(4) {
                break;
            }
            acked.insert(number(0)..number(4));
            len += ENTRY as u64;
        }
        Some(len)
    }

    /// Writes acknowledgements down. Those that the disk does not take are tried again with the next.
    pub(super) fn append(&mut self, disk: &dyn Disk, ranges: &[Range<u32>]) -> io::Result<()> {
        self.pending.extend_from_slice(ranges);
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = match disk.create(&self.path) {
                    // Of a chunk that had this number before, or of an attempt that failed.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => disk.open(&self.path)?,
                    made => made?,
                };
                self.folder_unsynced = true;
                Arc::clone(self.file.insert(file))
            }
        };
        let mut bytes = Vec::with_capacity(MAGIC.len() + self.pending.len() * ENTRY);
        if self.len == 0 {
            bytes.extend_from_slice(MAGIC);
        }
        for range in &self.pending {
            let at = bytes.len();
            bytes.extend_from_slice(&range.start.to_le_bytes());
            bytes.extend_from_slice(&range.end.to_le_bytes());
            let checksum = self.checksum(&bytes[at..]);
            bytes.extend_from_slice(&checksum.to_le_bytes());
        }
        file.write_at(&[&bytes], self.len)?;
        self.pending.clear();
        self.len += bytes.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    /// Tries again what the disk did not take.
    pub(super) fn retry(&mut self, disk: &dyn Disk) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.append(disk, &[]) }
    }

    /// The file, if it holds something that was not synced; it counts as synced from here on.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<dyn DiskFile>> {
        std::mem::take(&mut self.unsynced).then(|| self.file.clone())?
    }

    /// Whether the file's name was not synced; it counts as synced from here on.
    pub(super) fn take_folder_unsynced(&mut self) -> bool {
        std::mem::take(&mut self.folder_unsynced)
    }

    /// Whether it holds something that was not synced, or not written.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced || !self.pending.is_empty()
    }

    /// Where it is, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.is_some().then_some(&*self.path)
    }

    /// Bytes on disk.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    fn checksum(&self, entry: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(entry);
        hasher.update(&self.salt.to_le_bytes());
        hasher.finalize()
    }
}

/// Why these bytes are no acknowledgements for this kinetail.
fn foreign(bytes: &[u8]) -> String {
    let (name, known) = MAGIC.split_at(MAGIC.len() - 1);
    match bytes.strip_prefix(name).and_then(|rest| rest.first()) {
        Some(version @ b'2'..=b'9') => format!(
            "they are of version {}, and kinetail {} reads none above {}",
            char::from(*version),
            env!("CARGO_PKG_VERSION"),
            char::from(known[0])
        ),
        _ => "it does not begin as a list of acknowledgements does".into(),
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range of records is the usual acknowledgement")]
mod tests {
    use super::*;
    use crate::disk::HostDisk;
    use crate::disk::sim::{SimDisk, Weather};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn ranges_are_the_set_that_was_inserted(ranges in proptest::collection::vec((0..60_u32, 0..9_u32), 0..20)) {
            let (mut set, mut expected) = (Ranges::default(), BTreeSet::new());
            for (start, len) in ranges {
                set.insert(start..start + len);
                expected.extend(start..start + len);
            }
            prop_assert_eq!(set.count() as usize, expected.len());
            prop_assert!(set.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            let missing: Vec<u32> = set.gaps(5..65).into_iter().flatten().collect();
            let expected: Vec<u32> = (5..65).filter(|n| !expected.contains(n)).collect();
            prop_assert_eq!(missing, expected);
        }
    }

    fn open(path: &Path, salt: u32) -> (AckLog, u32) {
        match AckLog::open(&HostDisk, path.to_owned(), salt).unwrap() {
            Found::Acks(log, acked) => (log, acked.count()),
            Found::Foreign(reason) => panic!("these are acknowledgements: {reason}"),
        }
    }

    #[test]
    fn acknowledgements_are_read_back_up_to_where_the_file_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.acks");
        let mut log = AckLog::new(path.clone(), 7);
        log.append(&HostDisk, &[0..3, 5..6]).unwrap();
        log.append(&HostDisk, &[3..4]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut log, acked) = open(&path, 7);
            let entries = len.saturating_sub(MAGIC.len()) / ENTRY;
            assert_eq!(acked, [0, 3, 4, 5][entries], "cut at {len}");
            log.append(&HostDisk, &[10..12]).unwrap();
            assert_eq!(open(&path, 7).1, [2, 5, 6, 7][entries], "appended after a cut at {len}");
        }
    }

    #[test]
    fn acknowledgements_of_another_chunk_count_for_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.acks");
        AckLog::new(path.clone(), 7).append(&HostDisk, &[0..3]).unwrap();
        assert_eq!(open(&path, 8).1, 0);
        let mut log = AckLog::new(path.clone(), 8);
        log.append(&HostDisk, &[5..6]).unwrap();
        assert_eq!(open(&path, 8).1, 1);
    }

    #[test]
    fn acknowledgements_that_a_full_disk_refused_are_written_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let disk = SimDisk::over(folder.path(), 1);
        let path = folder.path().join("1.acks");
        let mut log = AckLog::new(path.clone(), 7);
        disk.set(Weather::Full);
        assert!(log.append(&disk, &[0..3]).is_err() && log.is_unsynced());
        disk.set(Weather::Fine);
        log.append(&disk, &[7..8]).unwrap();
        assert_eq!(open(&path, 7).1, 4);
    }

    #[test]
    fn what_is_no_list_of_acknowledgements_is_told_from_one_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.acks");
        let cases = [
            (&b"KTL"[..], ""),
            (&[0; 20], ""),
            (b"", ""),
            (b"garbage", "does not begin"),
            (b"KTLACKS2 and more", "of version 2"),
        ];
        for (bytes, expected) in cases {
            std::fs::write(&path, bytes).unwrap();
            let reason = match AckLog::open(&HostDisk, path.clone(), 7).unwrap() {
                Found::Foreign(reason) => reason,
                Found::Acks(..) => String::new(),
            };
            assert_eq!(
                (reason.is_empty(), reason.contains(expected)),
                (expected.is_empty(), true),
                "{bytes:?}: {reason}"
            );
        }
    }
}
