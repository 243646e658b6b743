//! The mark of a generated line: `ktm.<run>.<log>.<number>.`, such as `ktm.5f3a9c01.3.120045.`
//!
//! Letters, digits and dots alone, so that JSON, URLs, partition keys and packed records hold it as it is. The dot at
//! the end tells a whole marker from one that was cut off: a number that lost digits is no number.

use std::fmt;

use memchr::memmem::Finder;

const BEGIN: &[u8] = b"ktm.";
/// No marker is longer: 4, a run of 16, a log of 10 and a number of 20 digits, and three dots.
pub(super) const LONGEST: usize = 4 + 16 + 1 + 10 + 1 + 20 + 1;

/// Which line of which log of which run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker {
    /// The run of the generator.
    pub run: u64,
    /// The log, from 0.
    pub log: u32,
    /// The line in its log, from 0 and without gaps.
    pub number: u64,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ktm.{:08x}.{}.{}.", self.run, self.log, self.number)
    }
}

impl Marker {
    /// Calls `found` for every whole marker, and returns where the last one ends (0 if there is none).
    pub(super) fn scan(bytes: &[u8], mut found: impl FnMut(Marker)) -> usize {
        let finder = Finder::new(BEGIN);
        let mut at = 0;
        let mut end = 0;
        while let Some(begin) = finder.find(&bytes[at..]) {
            at += begin + BEGIN.len();
            if let Some((marker, len)) = Marker::read(&bytes[at..]) {
                at += len;
                end = at;
                found(marker);
            }
        }
        end
    }

    /// What follows [`BEGIN`], and its length.
    fn read(bytes: &[u8]) -> Option<(Marker, usize)> {
        let bytes = &bytes[..bytes.len().min(LONGEST - BEGIN.len())];
        let mut dots = memchr::memchr_iter(b'.', bytes);
        let (first, second, third) = (dots.next()?, dots.next()?, dots.next()?);
        let text = |from: usize, to: usize| std::str::from_utf8(&bytes[from..to]).ok();
        let run = text(0, first).filter(|hex| hex.len() >= 8 && !hex.starts_with('+'))?;
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
        Some((
            Marker {
                run: u64::from_str_radix(run, 16).ok()?,
                log: u32::try_from(number(text(first + 1, second)?)?).ok()?,
                number: number(text(second + 1, third)?)?,
            },
            third + 1,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Vec<Marker> {
        let mut all = Vec::new();
        Marker::scan(bytes, |marker| all.push(marker));
        all
    }

    #[test]
    fn a_marker_is_found_in_whatever_its_line_became() {
        let marker = Marker { run: 0x5f3a_9c01, log: 3, number: 120_045 };
        assert_eq!(marker.to_string(), "ktm.5f3a9c01.3.120045.");
        let largest = Marker { run: u64::MAX, log: u32::MAX, number: u64::MAX };
        assert_eq!(largest.to_string().len(), LONGEST);
        let mut bytes = b"\x1a\x30{\"log\":\"GET /?m=".to_vec();
        bytes.extend_from_slice(marker.to_string().as_bytes());
        bytes.extend_from_slice(b"ktm.ktm.\xff ");
        bytes.extend_from_slice(largest.to_string().as_bytes());
        assert_eq!(found(&bytes), [marker, largest]);
        assert_eq!(Marker::scan(&bytes, |_| {}), bytes.len());
    }

    #[test]
    fn what_was_cut_off_is_no_marker() {
        let text = Marker { run: 0x5f3a_9c01, log: 3, number: 120_045 }.to_string();
        for end in 0..text.len() {
            assert!(found(&text.as_bytes()[..end]).is_empty(), "{}", &text[..end]);
        }
        assert!(
            found(b"ktm.zzzzzzzz.1.1. ktm.00000001.+1.1. ktm.00000001.1.99999999999999999999.").is_empty()
        );
    }
}
