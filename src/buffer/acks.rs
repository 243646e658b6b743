//! Which records of a chunk were delivered, in memory and in the file beside the chunk.
//!
//! An acknowledgement is written before it counts, so that after `kill -9` only the requests that were under
//! way are sent again. After a power loss the ones not synced yet may be gone too; their records go out a
//! second time, with the same ids.
//!
//! ```text
//! acks file   magic "KTLACKS1" │ entry │ entry │ …
//! entry (12)  first record │ end (the record after the last) │ CRC-32 of both
//! ```
//!
//! Reading stops at the first entry that is cut or does not match: acknowledgements are independent of each
//! other, so what stands before it is good.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile};

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
    file: Option<Arc<dyn DiskFile>>,
    len: u64,
    unsynced: bool,
}

impl AckLog {
    /// For a chunk that has none yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, len: 0, unsynced: false }
    }

    /// Reads what an earlier process wrote.
    pub(super) fn open(disk: &dyn Disk, path: PathBuf) -> io::Result<(Self, Ranges)> {
        let mut acked = Ranges::default();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Self::new(path), acked)),
            Err(error) => return Err(error),
        };
        let mut good = MAGIC.len();
        if bytes.starts_with(MAGIC) {
            for entry in bytes[MAGIC.len()..].as_chunks::<ENTRY>().0 {
                let number =
                    |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
                if crc32fast::hash(&entry[..8]) != number(8) || number(0) > number(4) {
                    break;
                }
                acked.insert(number(0)..number(4));
                good += ENTRY;
            }
        }
        let file = disk.open(&path)?;
        if !bytes.starts_with(MAGIC) {
            file.write_at(&[MAGIC], 0)?;
        }
        Ok((Self { path, file: Some(file), len: good as u64, unsynced: false }, acked))
    }

    /// Writes acknowledgements down.
    pub(super) fn append(&mut self, disk: &dyn Disk, ranges: &[Range<u32>]) -> io::Result<()> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let file = disk.create(&self.path)?;
                file.write_at(&[MAGIC], 0)?;
                self.len = MAGIC.len() as u64;
                self.file.insert(file)
            }
        };
        let mut entries = Vec::with_capacity(ranges.len() * ENTRY);
        for range in ranges {
            let at = entries.len();
            entries.extend_from_slice(&range.start.to_le_bytes());
            entries.extend_from_slice(&range.end.to_le_bytes());
            let checksum = crc32fast::hash(&entries[at..]);
            entries.extend_from_slice(&checksum.to_le_bytes());
        }
        file.write_at(&[&entries], self.len)?;
        self.len += entries.len() as u64;
        self.unsynced = true;
        Ok(())
    }

    /// The file, if it holds something that was not synced; it counts as synced from here on.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<dyn DiskFile>> {
        std::mem::take(&mut self.unsynced).then(|| self.file.clone())?
    }

    /// Whether it holds something that was not synced.
    pub(super) fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// Where it is, if there is one.
    pub(super) fn path(&self) -> Option<&Path> {
        self.file.is_some().then_some(&*self.path)
    }

    /// Bytes on disk.
    pub(super) fn len(&self) -> u64 {
        self.len
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range of records is the usual acknowledgement")]
mod tests {
    use super::*;
    use crate::disk::HostDisk;
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

    #[test]
    fn acknowledgements_are_read_back_up_to_where_the_file_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1.acks");
        let mut log = AckLog::new(path.clone());
        log.append(&HostDisk, &[0..3, 5..6]).unwrap();
        log.append(&HostDisk, &[3..4]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..=whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let (mut log, acked) = AckLog::open(&HostDisk, path.clone()).unwrap();
            let entries = len.saturating_sub(MAGIC.len()) / ENTRY;
            assert_eq!(acked.count(), [0, 3, 4, 5][entries], "cut at {len}");
            log.append(&HostDisk, &[10..12]).unwrap();
            let (_, acked) = AckLog::open(&HostDisk, path.clone()).unwrap();
            assert_eq!(acked.count(), [2, 5, 6, 7][entries], "appended after a cut at {len}");
        }
    }
}
