//! Sizes and times as people write them: `64MiB`, `500ms`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written with a unit: `512`, `64KiB`, `4MiB`, `1.5GiB`, `2TiB`, or decimal `kB`, `MB`,
/// `GB`, `TB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// What a size or time could not be read as, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

const SIZES: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError(format!("{text:?} is not a size; write it like 512KiB, 64MiB or 4GiB"));
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" => 1,
            unit => SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?.1,
        };
        Ok(Self(scale(number, factor).ok_or_else(wrong)?))
    }
}

impl fmt::Display for ByteSize {
    /// The shortest exact writing for configuration values, else one decimal: `64 MiB` reads back as is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, factor) =
            SIZES[..4].iter().rev().find(|(_, factor)| self.0 >= *factor).copied().unwrap_or(("B", 1));
        if self.0.is_multiple_of(factor) {
            write!(f, "{}{name}", self.0 / factor)
        } else {
            write!(f, "{:.1}{name}", self.0 as f64 / factor as f64)
        }
    }
}

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a time: a number with `ms`, `s`, `m`, `h` or `d`, to the millisecond.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let wrong = || UnitError(format!("{text:?} is not a time; write it like 500ms, 5s, 2m, 1h or 7d"));
    let (number, unit) = split_unit(text);
    let factor = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1;
    scale(number, factor).map(Duration::from_millis).ok_or_else(wrong)
}

/// Writes a time so that [`parse_duration`] reads it back, to the millisecond.
pub fn format_duration(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (name, factor) = TIMES
        .iter()
        .rev()
        .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
        .copied()
        .unwrap_or(("ms", 1));
    format!("{}{name}", millis / factor)
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..at], text[at..].trim_start())
}

fn scale(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let scaled = number.parse::<f64>().ok()? * factor as f64;
    (scaled >= 0.0 && scaled < u64::MAX as f64).then_some(scaled.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("64KiB", 65_536),
            ("4 MiB", 4 << 20),
            ("1.5GiB", 3 << 29),
            ("5MB", 5_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_read_back_what_they_print() {
        for bytes in [0, 1, 1023, 1024, 1 << 20, 3 << 29, 5 << 40] {
            assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for text in ["", "MiB", "4XiB", "-1", "1e3", "..", "99999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
        for text in ["", "5", "5 years", "s", "-1s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("5").unwrap_err().to_string().contains("500ms"));
    }

    #[test]
    fn times_read_back_what_they_print() {
        for millis in [0, 1, 500, 1000, 1500, 60_000, 86_400_000] {
            let time = Duration::from_millis(millis);
            assert_eq!(parse_duration(&format_duration(time)), Ok(time));
        }
    }
}
