//! Entries of systemd's journal, as they pass from one stage to the next.
//!
//! An entry is in the journal's export format (<https://systemd.io/JOURNAL_EXPORT_FORMATS/>), field after field:
//!
//! ```text
//! NAME=value⏎                                  a value without a newline and other control characters
//! NAME⏎<length, 8 bytes, little-endian>value⏎  any value
//! ```
//!
//! In a block that was read, entries lie one behind the other, each as a *frame*: 13 bytes that tell which entry it is,
//! and the fields.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | the entry's number in its sequence, little-endian: where a log file's line has its offset |
//! | 8..12 | the length of the fields |
//! | 12 | 1 where a value was too long and its end is missing |

/// What stands in front of an entry's fields in a block.
pub const FRAME: usize = 13;

/// The field that tells when journald took the entry, in microseconds since 1970. It stands first in a frame.
pub const REALTIME: &[u8] = b"__REALTIME_TIMESTAMP";

/// What a frame in a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framed<'a> {
    /// The entry's number.
    pub number: u64,
    /// The end of a value is missing.
    pub cut: bool,
    /// Its fields.
    pub fields: &'a [u8],
}

impl<'a> Framed<'a> {
    /// The frame that a block begins with; none where there is no whole one.
    pub fn first(block: &'a [u8]) -> Option<Self> {
        let (number, rest) = block.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (cut, rest) = rest.split_first()?;
        let fields = rest.get(..usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        Some(Self { number: u64::from_le_bytes(*number), cut: *cut != 0, fields })
    }

    /// The room that it takes in a block.
    pub fn room(&self) -> usize {
        FRAME + self.fields.len()
    }
}

/// The first 13 bytes of a frame.
pub fn frame(number: u64, len: u32, cut: bool) -> [u8; FRAME] {
    let mut head = [0; FRAME];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..12].copy_from_slice(&len.to_le_bytes());
    head[12] = u8::from(cut);
    head
}

/// Walks over the fields of an entry. What is not in the format ends the walk.
#[derive(Clone, Debug)]
pub struct EntryFields<'a>(&'a [u8]);

impl<'a> EntryFields<'a> {
    /// Of an entry in export format.
    pub fn of(entry: &'a [u8]) -> Self {
        Self(entry)
    }

    /// What was not walked over yet.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }
}

impl<'a> Iterator for EntryFields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr2(b'=', b'\n', self.0)?;
        let (name, rest) = (&self.0[..end], &self.0[end + 1..]);
        if name.is_empty() {
            return None;
        }
        let (value, after) = if self.0[end] == b'=' {
            (&rest[..memchr::memchr(b'\n', rest)?], rest)
        } else {
            let (len, after) = rest.split_first_chunk::<8>()?;
            (after.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?, after)
        };
        self.0 = after[value.len()..].strip_prefix(b"\n")?;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_both_kinds_are_walked_over_and_what_is_no_field_ends_it() {
        let entry =
            [&b"A=1=2\nB\n\x03\0\0\0\0\0\0\0x\n=\nEMPTY=\n"[..], b"C\n\xff\0\0\0\0\0\0\0short\n"].concat();
        let mut fields = EntryFields::of(&entry);
        let all: Vec<_> = fields.by_ref().collect();
        assert_eq!(all, [(&b"A"[..], &b"1=2"[..]), (b"B", b"x\n="), (b"EMPTY", b"")]);
        assert!(fields.rest().starts_with(b"C\n"));
        for cut in 0..entry.len() {
            assert!(EntryFields::of(&entry[..cut]).count() <= 3);
        }
        assert_eq!(EntryFields::of(b"=no name\n").next(), None);
        assert_eq!(
            EntryFields::of(b"B\n\x01\0\0\0\0\0\0\0xy\n").next(),
            None,
            "a length that is not the value's"
        );
    }

    #[test]
    fn frames_lie_one_behind_the_other() {
        let mut block = frame(7, 4, false).to_vec();
        block.extend(b"A=1\n");
        block.extend(frame(u64::MAX, 0, true));
        let first = Framed::first(&block).expect("whole");
        assert_eq!((first.number, first.cut, first.fields), (7, false, &b"A=1\n"[..]));
        let second = Framed::first(&block[first.room()..]).expect("whole");
        assert_eq!((second.number, second.cut, second.room()), (u64::MAX, true, FRAME));
        for cut in 0..first.room() {
            assert_eq!(Framed::first(&block[..cut]), None);
        }
    }
}
