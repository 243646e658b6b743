//! Encoded records: as the encoder makes them, and as they are read back from the buffer for delivery.

use std::mem;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

/// The identity of a record: a hash of the node's id, the file's incarnation, the line's offset and its
/// stream. The same line always has the same id, and two lines never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordId(pub u128);

impl RecordId {
    /// 32 lower-case hexadecimal digits, as records carry it.
    pub fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [0; 32];
        for (pair, byte) in out.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        out
    }
}

/// Records on their way into a buffer: their bytes one after the other, each ended by a newline, and where
/// each ends. Made once and reused, so that a record costs no allocation.
#[derive(Debug, Default)]
pub struct Records {
    data: Vec<u8>,
    /// Little-endian `u32`, one a record, as they stand in a chunk.
    ends: Vec<u8>,
}

impl Records {
    /// Appends one record, which `write` puts at the end of the given bytes, without a newline at its end.
    /// If `write` returns `false` or panics the record is taken back.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        let unfinished = Unfinished { start: self.data.len(), data: &mut self.data };
        if !write(unfinished.data) {
            return false;
        }
        mem::forget(unfinished);
        self.data.push(b'\n');
        let end = u32::try_from(self.data.len()).expect("a turn's records stay far below 4 GiB");
        self.ends.extend_from_slice(&end.to_le_bytes());
        true
    }

    /// Appends the last record of others, if there is one.
    pub fn push_last_of(&mut self, others: &Records) {
        let end = |at: usize| {
            others.ends.get(at..at + 4).and_then(|end| end.try_into().ok()).map(u32::from_le_bytes)
        };
        let Some(last) = others.ends.len().checked_sub(4).and_then(end) else { return };
        let start = others.ends.len().checked_sub(8).and_then(end).unwrap_or(0);
        // Without its newline, which is put there again.
        let record = &others.data[start as usize..last as usize - 1];
        self.push_with(|out| {
            out.extend_from_slice(record);
            true
        });
    }

    /// Forgets all records and keeps the room.
    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All records, each ended by a newline.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// One record, without its newline; empty if there are not so many.
    pub fn record(&self, index: usize) -> &[u8] {
        let end = |index: usize| {
            let end = self.ends.get(4 * index..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*end) as usize)
        };
        let start = index.checked_sub(1).map_or(Some(0), end);
        let record = start.zip(end(index)).and_then(|(start, end)| self.data.get(start..end - 1));
        record.unwrap_or_default()
    }

    /// Where each record ends in [`data`](Self::data), its newline included: little-endian `u32`.
    pub fn ends(&self) -> &[u8] {
        &self.ends
    }
}

/// Takes back what it was begun with, unless it is forgotten.
struct Unfinished<'a> {
    data: &'a mut Vec<u8>,
    start: usize,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.data.truncate(self.start);
    }
}

/// Neighbouring records of one chunk, as the buffer hands them out. Cheap to clone and to cut: the bytes
/// stay in the mapped chunk.
///
/// Records lie one after the other, each ended by a newline, so a run's [`data`](Self::data) is
/// newline-delimited JSON as it stands.
#[derive(Clone, Debug)]
pub struct Run {
    chunk: u64,
    first: u32,
    /// Little-endian `u32` ends, one a record, counted from `base`.
    ends: Bytes,
    base: u32,
    data: Bytes,
    appended: SystemTime,
}

impl Run {
    /// A run of the records that end at `ends` (little-endian `u32`, counted from the start of `data`), of
    /// which the first is number `first` in chunk `chunk`, appended to the buffer at `appended`.
    pub fn new(chunk: u64, first: u32, ends: Bytes, data: Bytes, appended: SystemTime) -> Self {
        debug_assert_eq!(ends.len() % 4, 0);
        Self { chunk, first, ends, base: 0, data, appended }
    }

    /// The number of the chunk that holds it.
    pub fn chunk(&self) -> u64 {
        self.chunk
    }

    /// The numbers of its records in the chunk.
    pub fn ordinals(&self) -> Range<u32> {
        self.first..self.first + self.len() as u32
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.ends.len() / 4
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All its records, each ended by a newline.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// When its records were appended to the buffer.
    pub fn appended(&self) -> SystemTime {
        self.appended
    }

    /// How long its records have been in the buffer.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.appended).unwrap_or_default()
    }

    /// Where the record `index` of this run ends in [`data`](Self::data), its newline included.
    pub fn end(&self, index: usize) -> usize {
        let at = index * 4;
        let end: [u8; 4] = self.ends[at..at + 4].try_into().expect("four bytes");
        (u32::from_le_bytes(end) - self.base) as usize
    }

    /// Where the record `index` of this run starts in [`data`](Self::data).
    pub fn start(&self, index: usize) -> usize {
        if index == 0 { 0 } else { self.end(index - 1) }
    }

    /// The record `index` of this run, without its newline.
    pub fn record(&self, index: usize) -> &[u8] {
        &self.data[self.start(index)..self.end(index) - 1]
    }

    /// The records of this range alone.
    pub fn slice(&self, range: Range<usize>) -> Run {
        let (start, end) = (
            self.start(range.start),
            if range.is_empty() { self.start(range.start) } else { self.end(range.end - 1) },
        );
        Run {
            chunk: self.chunk,
            first: self.first + range.start as u32,
            ends: self.ends.slice(range.start * 4..range.end * 4),
            base: self.base + start as u32,
            data: self.data.slice(start..end),
            appended: self.appended,
        }
    }

    /// Takes the first `count` records off, which are returned.
    pub fn split_to(&mut self, count: usize) -> Run {
        let head = self.slice(0..count);
        *self = self.slice(count..self.len());
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_of(records: &[&str]) -> Run {
        let mut made = Records::default();
        for record in records {
            made.push_with(|out| {
                out.extend_from_slice(record.as_bytes());
                true
            });
        }
        let ends: Vec<u8> = made.ends().iter().flat_map(|end| end.to_le_bytes()).collect();
        Run::new(7, 10, ends.into(), Bytes::copy_from_slice(made.data()), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_run_cut_anywhere_keeps_its_records_and_their_numbers() {
        let records = ["a", "", "ccc", "dd"];
        for cut in 0..=records.len() {
            let mut tail = run_of(&records);
            let head = tail.split_to(cut);
            assert_eq!((head.len(), tail.len()), (cut, records.len() - cut));
            assert_eq!(head.ordinals(), 10..10 + cut as u32);
            assert_eq!(tail.ordinals(), 10 + cut as u32..14);
            let seen: Vec<&[u8]> = (0..head.len())
                .map(|i| head.record(i))
                .chain((0..tail.len()).map(|i| tail.record(i)))
                .collect();
            assert_eq!(seen, records.map(str::as_bytes));
            assert_eq!([&head.data()[..], &tail.data()[..]].concat(), b"a\n\nccc\ndd\n");
        }
    }

    #[test]
    fn a_record_taken_back_leaves_no_trace() {
        let mut records = Records::default();
        assert!(!records.push_with(|out| {
            out.extend_from_slice(b"half");
            false
        }));
        assert!(records.is_empty() && records.data().is_empty());
        let writing = std::panic::AssertUnwindSafe(|| {
            records.push_with(|out| {
                out.extend_from_slice(b"half");
                panic!("over it")
            })
        });
        assert!(std::panic::catch_unwind(writing).is_err());
        assert!(records.is_empty() && records.data().is_empty());
    }

    #[test]
    fn the_last_record_of_others_is_appended() {
        let (mut from, mut to) = (Records::default(), Records::default());
        to.push_last_of(&from);
        assert!(to.is_empty());
        for record in ["a", "", "ccc"] {
            from.push_with(|out| {
                out.extend_from_slice(record.as_bytes());
                true
            });
            to.push_last_of(&from);
        }
        assert_eq!((to.data(), to.ends()), (from.data(), from.ends()));
        assert_eq!(to.data(), b"a\n\nccc\n");
        let each: Vec<&[u8]> = (0..4).map(|index| to.record(index)).collect();
        assert_eq!(each, [&b"a"[..], b"", b"ccc", b""]);
    }

    #[test]
    fn an_id_is_written_as_32_hex_digits() {
        assert_eq!(&RecordId(0xab).hex(), b"000000000000000000000000000000ab");
    }
}
