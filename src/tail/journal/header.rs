//! The header of a journal file, as far as it tells which entries are in it.
//!
//! The layout is fixed (<https://systemd.io/JOURNAL_FILE_FORMAT/>, "Header"); all numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | `LPKSHHRH` |
//! | 56..72 | `tail_entry_boot_id`: the boot in which it was written last |
//! | 72..88 | `seqnum_id`: the sequence that its entries are numbered in |
//! | 152..160 | `n_entries` |
//! | 160..168 | `tail_entry_seqnum` |
//! | 168..176 | `head_entry_seqnum` |
//! | 184..192 | `head_entry_realtime` |
//! | 192..200 | `tail_entry_realtime` |
//!
//! Entries themselves are journalctl's to read: their layout depends on what wrote them.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// What is read of a file: all that each version has.
const LEN: usize = 208;

/// An id of systemd's: the name of a sequence of entries, or of a boot. journald numbers the entries of files that follow
/// each other by rotation in one sequence, and begins another where it does not know the last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id128(pub u128);

impl fmt::Display for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Id128 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Id128 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Id128 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Which entries a journal file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The sequence in which they are numbered.
    pub sequence: Id128,
    /// The boot in which it was written last.
    pub boot: Id128,
    /// The number of the first.
    pub head: u64,
    /// The highest number that was given out. Its entry may be about to be written.
    pub tail: u64,
    /// How many entries are wholly written.
    pub entries: u64,
    /// When the first and the last were written, microseconds since 1970.
    pub times: (u64, u64),
}

impl Header {
    /// Reads it. None where the file is no journal or has no entries yet.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub fn read(file: &File) -> io::Result<Option<Self>> {
        let mut bytes = [0; LEN];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => Ok(Self::of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Of a file's first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
        let id = |at: usize| Some(Id128(u128::from_be_bytes(*bytes.get(at..)?.first_chunk::<16>()?)));
        let (boot, sequence) = (id(56)?, id(72)?);
        let times = (number(184)?, number(192)?);
        let (entries, tail, head) = (number(152)?, number(160)?, number(168)?);
        let is_journal = bytes.starts_with(b"LPKSHHRH");
        let has_entries = entries > 0 && head > 0 && tail >= head && tail < u64::MAX;
        (is_journal && has_entries).then_some(Self { sequence, boot, head, tail, entries, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(entries: u64, tail: u64, head: u64) -> Vec<u8> {
        let mut bytes = vec![0; LEN];
        bytes[..8].copy_from_slice(b"LPKSHHRH");
        bytes[72..88].copy_from_slice(&0x0102_u128.to_be_bytes());
        for (at, number) in [(152, entries), (160, tail), (168, head)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_header_tells_the_sequence_and_its_entries() {
        let read = Header::of(&header(5, 20, 11)).expect("a journal");
        let (sequence, boot) = (Id128(0x0102), Id128(0));
        assert_eq!(read, Header { sequence, boot, head: 11, tail: 20, entries: 5, times: (0, 0) });
        assert_eq!(read.sequence.to_string(), "00000000000000000000000000000102");
    }

    #[test]
    fn what_is_no_journal_or_has_no_entries_is_none() {
        let good = header(5, 20, 11);
        for cut in 0..200 {
            assert_eq!(Header::of(&good[..cut]), None);
        }
        for (entries, tail, head) in [(0, 0, 0), (1, 10, 11), (1, u64::MAX, 1), (1, 1, 0)] {
            assert_eq!(Header::of(&header(entries, tail, head)), None);
        }
        let mut other = good;
        other[0] = b'X';
        assert_eq!(Header::of(&other), None);
    }
}
