//! The stream that `journalctl --output=export` writes, cut into frames as it comes.
//!
//! However long a value is, no more of it is held than an entry may take. Fields that journald makes up for the reader
//! (their names begin with two underscores) are taken off, but for the time.

use std::fmt;

use super::header::Id128;
use crate::journal::{FRAME, REALTIME, frame};

/// The longest name of a field that is taken; journald's own limit is 64.
const NAME: usize = 256;
/// The longest value of a field that journald makes up; a cursor is some 130 bytes.
const MADE_UP: usize = 1024;
/// A field takes so many eighths of an entry at most, so that the others have room beside one that is too long.
const EIGHTHS: usize = 7;

/// What is not in the export format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the output is not in the journal's export format: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Cuts a stream in export format into entries, wherever the parts in which it comes end.
#[derive(Debug)]
pub struct Splitter {
    longest: usize,
    state: State,
    name: Vec<u8>,
    /// The value of a field that journald makes up.
    made_up: Vec<u8>,
    /// Where the entry's frame begins in the output; none between two entries.
    begins: Option<usize>,
    /// How much of the value may still be kept, and where its length stands, if it is told.
    left: usize,
    length_at: Option<usize>,
    skips: bool,
    number: Option<(Id128, u64)>,
    cut: bool,
    /// Entries are of this sequence and numbered from here on, if that is known.
    rising: Option<(Id128, u64)>,
    /// The number of the last entry.
    last: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Name,
    Text,
    /// So many bytes of the length were read.
    Length([u8; 8], usize),
    Binary(u64),
    End,
}

impl Splitter {
    /// For entries that take so many bytes at most, of whatever sequences. One that does not tell its number has that
    /// after the last.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            state: State::Name,
            name: Vec::new(),
            made_up: Vec::new(),
            begins: None,
            left: 0,
            length_at: None,
            skips: false,
            number: None,
            cut: false,
            rising: None,
            last: 0,
        }
    }

    /// Of one sequence, read from a number on: an entry whose number is not above that of the one before it was there
    /// already, and is passed over. One of another sequence is none that was asked for.
    pub fn rising(longest: usize, sequence: Id128, from: u64) -> Self {
        Self { rising: Some((sequence, from)), ..Self::new(longest) }
    }

    /// Takes the next part of the stream, and appends frames to the output. Returns the number of the last entry that is
    /// whole now, if there is one. After an error there is nothing more to be had of this stream.
    ///
    /// # Errors
    ///
    /// The stream is not in export format.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<Option<u64>, Malformed> {
        let mut last = None;
        while let Some(&first) = bytes.first() {
            match self.state {
                State::Name => {
                    let end = memchr::memchr2(b'=', b'\n', bytes);
                    self.name.extend_from_slice(&bytes[..end.unwrap_or(bytes.len()).min(NAME + 1)]);
                    if self.name.len() > NAME {
                        return Err(Malformed("the name of a field is too long"));
                    }
                    let Some(end) = end else { return Ok(last) };
                    let by = bytes[end];
                    bytes = &bytes[end + 1..];
                    match (by, self.name.is_empty()) {
                        (b'\n', true) => last = self.finish(out)?.or(last),
                        (_, true) => return Err(Malformed("a field has no name")),
                        (b'=', false) => {
                            self.begin_field(false, out);
                            self.state = State::Text;
                        }
                        (_, false) => self.state = State::Length([0; 8], 0),
                    }
                }
                State::Text => {
                    let end = memchr::memchr(b'\n', bytes);
                    self.value(&bytes[..end.unwrap_or(bytes.len())], out);
                    let Some(end) = end else { return Ok(last) };
                    bytes = &bytes[end + 1..];
                    self.end_field(out);
                }
                State::Length(mut length, read) => {
                    length[read] = first;
                    bytes = &bytes[1..];
                    self.state = State::Length(length, read + 1);
                    if read + 1 == length.len() {
                        self.begin_field(true, out);
                        self.after(u64::from_le_bytes(length));
                    }
                }
                State::Binary(left) => {
                    let part = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    self.value(&bytes[..part], out);
                    bytes = &bytes[part..];
                    self.after(left - part as u64);
                }
                State::End => {
                    if first != b'\n' {
                        return Err(Malformed("a value does not end where its length says"));
                    }
                    bytes = &bytes[1..];
                    self.end_field(out);
                }
            }
        }
        Ok(last)
    }

    /// The stream has ended. What is there of an entry that did not end is taken off again. Returns whether there was
    /// something.
    pub fn end(&mut self, out: &mut Vec<u8>) -> bool {
        let begun = self.begins.take();
        begun.iter().for_each(|begins| out.truncate(*begins));
        let within = begun.is_some() || self.state != State::Name || !self.name.is_empty();
        *self = Self { rising: self.rising, ..Self::new(self.longest) };
        within
    }

    /// What was put out was taken away up to here, with the entry that is not whole moved to the front.
    pub fn moved(&mut self, by: usize) {
        self.begins = self.begins.map(|begins| begins.saturating_sub(by));
        self.length_at = self.length_at.map(|at| at.saturating_sub(by));
    }

    /// Where the entry that is not whole yet begins in the output.
    pub fn unfinished(&self) -> Option<usize> {
        self.begins
    }

    fn after(&mut self, left: u64) {
        self.state = if left == 0 { State::End } else { State::Binary(left) };
    }

    fn begin_field(&mut self, binary: bool, out: &mut Vec<u8>) {
        let begins = *self.begins.get_or_insert_with(|| {
            let at = out.len();
            out.extend_from_slice(&[0; FRAME]);
            at
        });
        self.length_at = None;
        self.made_up.clear();
        self.skips = self.name.starts_with(b"__");
        if self.skips {
            self.left = MADE_UP;
            return;
        }
        let overhead = self.name.len() + if binary { 10 } else { 2 };
        let room = (begins + FRAME + self.longest).saturating_sub(out.len() + overhead);
        if room == 0 {
            // Not even the name has room any more.
            (self.skips, self.left) = (true, 0);
            self.cut = true;
            return;
        }
        self.left = room.min(self.longest / 8 * EIGHTHS);
        out.extend_from_slice(&self.name);
        out.push(if binary { b'\n' } else { b'=' });
        if binary {
            self.length_at = Some(out.len());
            out.extend_from_slice(&[0; 8]);
        }
    }

    fn value(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let kept = &bytes[..bytes.len().min(self.left)];
        if self.skips {
            self.made_up.extend_from_slice(kept);
        } else {
            out.extend_from_slice(kept);
            self.cut |= kept.len() < bytes.len();
        }
        self.left -= kept.len();
    }

    fn end_field(&mut self, out: &mut Vec<u8>) {
        self.state = State::Name;
        if self.skips {
            if self.name == b"__CURSOR" {
                self.number = number_of(&self.made_up);
            } else if self.name == REALTIME {
                out.extend_from_slice(REALTIME);
                out.push(b'=');
                out.extend_from_slice(&self.made_up);
                out.push(b'\n');
            }
        } else {
            if let Some(at) = self.length_at {
                let len = (out.len() - at - 8) as u64;
                out[at..at + 8].copy_from_slice(&len.to_le_bytes());
            }
            out.push(b'\n');
        }
        self.name.clear();
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<Option<u64>, Malformed> {
        // More than one empty line may stand between two entries.
        let Some(begins) = self.begins else { return Ok(None) };
        let number = match (self.number.take(), self.rising) {
            (None, Some(_)) => return Err(Malformed("an entry has no cursor with a number")),
            (Some((of, _)), Some((sequence, _))) if of != sequence => {
                return Err(Malformed("an entry is of another sequence"));
            }
            (Some((_, number)), _) => number,
            (None, None) => self.last.saturating_add(1),
        };
        self.last = number;
        self.begins = None;
        if let Some((_, from)) = &mut self.rising {
            if number < *from {
                out.truncate(begins);
                self.cut = false;
                return Ok(None);
            }
            *from = number.checked_add(1).ok_or(Malformed("a number is too high"))?;
        }
        let len = u32::try_from(out.len() - begins - FRAME).map_err(|_| Malformed("an entry is too long"))?;
        let cut = std::mem::take(&mut self.cut);
        out[begins..begins + FRAME].copy_from_slice(&frame(number, len, cut));
        Ok(Some(number))
    }
}

/// The sequence and the number in a cursor, `s=<sequence>;i=<number>;…`, both hexadecimal.
fn number_of(cursor: &[u8]) -> Option<(Id128, u64)> {
    let cursor = str::from_utf8(cursor).ok()?;
    let part = |name: &str| cursor.split(';').find_map(|part| part.strip_prefix(name));
    let sequence = u128::from_str_radix(part("s=")?, 16).ok()?;
    Some((Id128(sequence), u64::from_str_radix(part("i=")?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::{EntryFields, Framed};

    const LONGEST: usize = 4096;

    fn binary(name: &str, value: &[u8]) -> Vec<u8> {
        [name.as_bytes(), b"\n", &(value.len() as u64).to_le_bytes(), value, b"\n"].concat()
    }

    fn entry(number: u64, fields: &[u8]) -> Vec<u8> {
        let head = format!(
            "__CURSOR=s=5f;i={number:x};b=0;m=1;t=2;x=3\n__REALTIME_TIMESTAMP=17\n__MONOTONIC_TIMESTAMP=1\n"
        );
        [head.as_bytes(), fields, b"\n"].concat()
    }

    /// What comes of a stream that is given in parts of these lengths.
    fn split(stream: &[u8], parts: impl Iterator<Item = usize>) -> Result<Vec<u8>, Malformed> {
        let (mut splitter, mut out, mut at) = (Splitter::new(LONGEST), Vec::new(), 0);
        for part in parts {
            let end = (at + part).min(stream.len());
            splitter.feed(&stream[at..end], &mut out)?;
            at = end;
        }
        splitter.feed(&stream[at..], &mut out)?;
        splitter.end(&mut out);
        Ok(out)
    }

    fn frames(mut block: &[u8]) -> Vec<Framed<'_>> {
        let mut all = Vec::new();
        while let Some(framed) = Framed::first(block) {
            block = &block[framed.room()..];
            all.push(framed);
        }
        assert!(block.is_empty());
        all
    }

    fn fields<'a>(framed: &Framed<'a>) -> Vec<(&'a [u8], &'a [u8])> {
        let mut fields = EntryFields::of(framed.fields);
        let all = fields.by_ref().collect();
        assert!(fields.rest().is_empty());
        all
    }

    #[test]
    fn entries_with_text_and_binary_values_come_out_whole_wherever_the_stream_is_cut() {
        let blob = b"two\nlines\n\n\0\xff=";
        let stream = [
            entry(9, b"MESSAGE=one\nPRIORITY=6\n"),
            entry(10, &[binary("MESSAGE", blob), b"_PID=1\n".to_vec(), binary("EMPTY", b"")].concat()),
            entry(0x1f, b"MESSAGE=\n"),
        ]
        .concat();
        let whole = split(&stream, std::iter::empty()).unwrap();
        let all = frames(&whole);
        assert_eq!(all.iter().map(|framed| framed.number).collect::<Vec<_>>(), [9, 10, 31]);
        assert!(all.iter().all(|framed| !framed.cut));
        let time = (&b"__REALTIME_TIMESTAMP"[..], &b"17"[..]);
        assert_eq!(fields(&all[0]), [time, (b"MESSAGE", b"one"), (b"PRIORITY", b"6")]);
        assert_eq!(fields(&all[1]), [time, (b"MESSAGE", blob), (b"_PID", b"1"), (b"EMPTY", b"")]);
        for cut in 1..stream.len() {
            assert_eq!(split(&stream, std::iter::once(cut)).unwrap(), whole, "cut at {cut}");
        }
        assert_eq!(split(&stream, std::iter::repeat_n(1, stream.len())).unwrap(), whole);
    }

    #[test]
    fn an_entry_that_was_there_already_is_passed_over() {
        let stream: Vec<u8> = [3, 5, 5, 4, 6].into_iter().flat_map(|i| entry(i, b"A=1\n")).collect();
        let (mut splitter, mut out) = (Splitter::rising(LONGEST, Id128(0x5f), 4), Vec::new());
        assert_eq!(splitter.feed(&stream, &mut out), Ok(Some(6)));
        assert_eq!(frames(&out).iter().map(|framed| framed.number).collect::<Vec<_>>(), [5, 6]);
    }

    #[test]
    fn an_entry_that_did_not_end_is_none() {
        let first = entry(1, b"A=1\n");
        let stream = [first.clone(), entry(2, &binary("B", b"x\ny"))].concat();
        for cut in first.len()..stream.len() {
            let out = split(&stream[..cut], std::iter::empty()).unwrap();
            assert_eq!(frames(&out).len(), 1, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_marked_and_the_other_fields_are_there() {
        let long = vec![b'x'; 3 * LONGEST];
        for field in [binary("BIG", &long), [b"BIG=", &long[..], b"\n"].concat()] {
            let stream = [entry(1, &[&field[..], b"MESSAGE=here\n"].concat()), entry(2, b"A=1\n")].concat();
            let out = split(&stream, std::iter::repeat_n(100, 200)).unwrap();
            let all = frames(&out);
            assert_eq!(all.iter().map(|framed| framed.cut).collect::<Vec<_>>(), [true, false]);
            let of_first = fields(&all[0]);
            assert_eq!(of_first[1], (&b"BIG"[..], &long[..LONGEST / 8 * EIGHTHS]));
            assert_eq!(of_first[2], (&b"MESSAGE"[..], &b"here"[..]));
            assert!(all[0].fields.len() <= LONGEST + REALTIME.len() + MADE_UP);
        }
        // Nor do many fields take more.
        let many: Vec<u8> = (0..10_000).flat_map(|i| format!("F{i}=value\n").into_bytes()).collect();
        let out = split(&entry(1, &many), std::iter::empty()).unwrap();
        let all = frames(&out);
        assert!(all[0].cut && all[0].fields.len() <= LONGEST + REALTIME.len() + MADE_UP);
        assert!(fields(&all[0]).len() > 100);
    }

    #[test]
    fn what_is_not_in_the_format_is_told() {
        let mut of_one = Splitter::rising(LONGEST, Id128(1), 0);
        for stream in [&b"A=1\n\n"[..], b"__CURSOR=s=1\nA=1\n\n"] {
            let error = of_one.feed(stream, &mut Vec::new()).unwrap_err().to_string();
            assert!(error.contains("no cursor"), "{error}");
            of_one.end(&mut Vec::new());
        }
        let error = of_one.feed(b"__CURSOR=s=2;i=1\nA=1\n\n", &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("of another sequence"), "{error}");
        let out = split(b"A=1\n\nA=2\n\n", std::iter::empty()).unwrap();
        assert_eq!(frames(&out).iter().map(|framed| framed.number).collect::<Vec<_>>(), [1, 2]);
        for (stream, what) in [
            (b"=x\n".to_vec(), "no name"),
            (b"B\n\x01\0\0\0\0\0\0\0xy\n".to_vec(), "its length"),
            (vec![b'N'; NAME + 1], "name of a field is too long"),
        ] {
            let error = split(&stream, std::iter::empty()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_the_values_are_they_come_out_as_they_went_in(
            values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
            parts in prop::collection::vec(1_usize..50, 0..60),
        ) {
            let stream: Vec<u8> = values.iter().zip(1..).flat_map(|(value, i)| entry(i, &binary("V", value))).collect();
            let out = split(&stream, parts.into_iter()).unwrap();
            let all = frames(&out);
            prop_assert_eq!(all.len(), values.len());
            for (framed, value) in all.iter().zip(&values) {
                prop_assert_eq!(fields(framed)[1].1, &value[..]);
            }
        }

        #[test]
        fn no_stream_is_held_beyond_its_limit(stream in prop::collection::vec(any::<u8>(), 0..2000)) {
            let (mut splitter, mut out) = (Splitter::new(64), Vec::new());
            let _ = splitter.feed(&stream, &mut out);
            splitter.end(&mut out);
            let all = frames(&out);
            prop_assert!(all.iter().all(|framed| framed.fields.len() <= 64 + REALTIME.len() + MADE_UP));
        }
    }
}
