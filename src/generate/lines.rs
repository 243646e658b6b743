//! What lines say.

use std::fmt::Write as _;
use std::str::FromStr;

use fastrand::Rng;
use jiff::Timestamp;

use super::marker::Marker;
use crate::units::ByteSize;

/// The longest text that is made. Readers of logs cut lines far below.
const LONGEST: u64 = 64 << 20;

const WORDS: [&str; 24] = [
    "order",
    "accepted",
    "cart",
    "payment",
    "shard",
    "retry",
    "customer",
    "invoice",
    "shipped",
    "queue",
    "cache",
    "miss",
    "timeout",
    "user",
    "session",
    "opened",
    "closed",
    "warehouse",
    "item",
    "reserved",
    "price",
    "updated",
    "message",
    "published",
];
const LEVELS: [&str; 8] = ["info", "info", "info", "info", "debug", "debug", "warn", "error"];
const PATHS: [&str; 6] = ["/", "/api/orders", "/api/orders/42", "/api/cart", "/healthz", "/static/app.js"];

/// A kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON object, as services log.
    Json,
    /// The combined log format of web servers.
    Access,
    /// Time, level and words.
    Text,
    /// A stack trace: several lines that belong together, each with a marker of its own.
    Stack,
    /// A line of 20 to 60 KiB, which container runtimes split.
    Long,
}

impl Kind {
    const ALL: [(&'static str, Kind); 5] = [
        ("json", Kind::Json),
        ("access", Kind::Access),
        ("text", Kind::Text),
        ("stack", Kind::Stack),
        ("long", Kind::Long),
    ];
}

/// Kinds of lines, each with its weight: `json=6,access=3,text=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix(Vec<(Kind, u32)>);

impl Default for Mix {
    fn default() -> Self {
        Self(vec![(Kind::Json, 6), (Kind::Access, 2), (Kind::Text, 2)])
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let Some((_, kind)) = Kind::ALL.iter().find(|(known, _)| *known == name.trim()) else {
                let known: Vec<&str> = Kind::ALL.iter().map(|(name, _)| *name).collect();
                return Err(format!(
                    "{:?} is not a kind of line; there are {}",
                    name.trim(),
                    known.join(", ")
                ));
            };
            let weight = weight.trim().parse::<u32>().map_err(|_| {
                format!("{weight:?} is not a weight; write it like json=6,access=2,text=2 with whole numbers")
            })?;
            kinds.push((*kind, weight));
        }
        if kinds.iter().all(|(_, weight)| *weight == 0) {
            return Err("all weights are 0; no line would be written".to_owned());
        }
        Ok(Self(kinds))
    }
}

impl Mix {
    pub(super) fn draw(&self, rng: &mut Rng) -> Kind {
        let sum: u64 = self.0.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let mut at = rng.u64(..sum.max(1));
        for (kind, weight) in &self.0 {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return *kind,
            }
        }
        Kind::Text
    }
}

/// How long a line's text is, in bytes without what the runtime puts before it: `300`, or evenly `100-2KiB`. A line
/// is never shorter than its kind and its marker need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    min: usize,
    max: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { min: 300, max: 300 }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let size = |text: &str| {
            let size: ByteSize = text.parse().map_err(|error: crate::units::UnitError| error.to_string())?;
            match usize::try_from(size.0) {
                Ok(bytes) if size.0 <= LONGEST => Ok(bytes),
                _ => Err(format!("{size} is more than the longest line, {}", ByteSize(LONGEST))),
            }
        };
        let sizes = Self { min: size(min)?, max: size(max)? };
        if sizes.min > sizes.max {
            return Err(format!("{text:?} ends before it begins; write it like 100-2KiB"));
        }
        Ok(sizes)
    }
}

impl Sizes {
    fn draw(self, rng: &mut Rng) -> usize {
        rng.usize(self.min..=self.max)
    }
}

/// How many lines one draw of a kind makes.
pub(super) fn lines_of(kind: Kind, rng: &mut Rng) -> u64 {
    if kind == Kind::Stack { rng.u64(4..16) } else { 1 }
}

/// A line's text, without a newline; `index` is its place among the lines that belong together.
pub(super) fn text(
    kind: Kind,
    index: u64,
    marker: Marker,
    sizes: Sizes,
    now: Timestamp,
    rng: &mut Rng,
) -> String {
    let size = if kind == Kind::Long { rng.usize(20 << 10..60 << 10) } else { sizes.draw(rng) };
    let mut text = String::with_capacity(size + 128);
    // Writing to a string cannot fail.
    let _ = match kind {
        Kind::Json => write!(
            text,
            r#"{{"ts":"{now:.3}","level":"{}","marker":"{marker}","request":{},"msg":""#,
            pick(&LEVELS, rng),
            rng.u32(..)
        ),
        Kind::Access => write!(
            text,
            r#"10.{}.{}.{} - - [{}] "GET {}?marker={marker} HTTP/1.1" {} {} "-" ""#,
            rng.u8(..),
            rng.u8(..),
            rng.u8(1..),
            now.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            pick(&PATHS, rng),
            pick(&["200", "200", "200", "304", "404", "500"], rng),
            rng.u32(..100_000)
        ),
        Kind::Stack if index > 0 => write!(
            text,
            "\tat com.example.shop.{}.run({}.java:{}) {marker} ",
            pick(&WORDS, rng),
            pick(&WORDS, rng),
            rng.u16(1..2000)
        ),
        Kind::Stack => write!(text, "{now:.3} ERROR java.lang.IllegalStateException: {marker} "),
        Kind::Text | Kind::Long => write!(text, "{now:.3} {} {marker} ", pick(&LEVELS, rng).to_uppercase()),
    };
    let end = match kind {
        Kind::Json => "\"}",
        Kind::Access => "\"",
        _ => "",
    };
    pad(&mut text, size.saturating_sub(end.len()), rng);
    text.push_str(end);
    text
}

/// Lines without an end, for those who want no log of them.
#[derive(Clone, Debug)]
pub struct Lines {
    mix: Mix,
    sizes: Sizes,
    number: u64,
    /// What is left of lines that belong together: their kind, the place of the next one, and how many there are.
    together: (Kind, u64, u64),
}

impl Lines {
    /// Lines of this mix and these sizes.
    pub fn new(mix: Mix, sizes: Sizes) -> Self {
        Self { mix, sizes, number: 0, together: (Kind::Text, 0, 0) }
    }

    /// The next one, without a newline.
    pub fn next(&mut self, now: Timestamp, rng: &mut Rng) -> String {
        let (mut kind, mut index, mut count) = self.together;
        if index >= count {
            kind = self.mix.draw(rng);
            (index, count) = (0, lines_of(kind, rng));
        }
        self.together = (kind, index + 1, count);
        let marker = Marker { run: 0, log: 0, number: self.number };
        self.number += 1;
        text(kind, index, marker, self.sizes, now, rng)
    }
}

fn pick<'a>(of: &[&'a str], rng: &mut Rng) -> &'a str {
    of[rng.usize(..of.len())]
}

/// Words up to this length exactly.
fn pad(text: &mut String, size: usize, rng: &mut Rng) {
    while text.len() < size {
        let word = pick(&WORDS, rng);
        let room = size - text.len();
        if room <= word.len() {
            text.push_str(&word[..room]);
        } else {
            text.push_str(word);
            text.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: Marker = Marker { run: 1, log: 0, number: 5 };

    fn texts(kind: Kind, size: &str) -> Vec<String> {
        let mut rng = Rng::with_seed(3);
        let now = Timestamp::new(1_790_000_000, 0).unwrap();
        let sizes = size.parse().unwrap();
        (0..50).map(|index| text(kind, index % 5, MARKER, sizes, now, &mut rng)).collect()
    }

    #[test]
    fn every_kind_is_of_the_size_asked_for_and_carries_its_marker_once() {
        for (name, kind) in Kind::ALL {
            for text in texts(kind, "300") {
                assert!(kind == Kind::Long || text.len() == 300, "{name}: {text}");
                assert!(kind != Kind::Long || text.len() > 20 << 10);
                assert!(!text.contains('\n'));
                assert_eq!(text.matches(&MARKER.to_string()).count(), 1, "{text}");
            }
            assert!(texts(kind, "1").iter().all(|text| text.contains(&MARKER.to_string())));
        }
        let lengths: Vec<usize> = texts(Kind::Text, "100-1KiB").iter().map(String::len).collect();
        assert!(lengths.iter().all(|len| (100..=1024).contains(len)) && lengths[0] != lengths[1]);
    }

    #[test]
    fn json_lines_are_json_and_hold_the_marker_as_a_field() {
        for text in texts(Kind::Json, "200") {
            let json: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(json["marker"], MARKER.to_string());
        }
    }

    #[test]
    fn a_mix_is_drawn_by_its_weights() {
        let mix: Mix = "json=3,stack,long=0".parse().unwrap();
        let mut rng = Rng::with_seed(1);
        let drawn: Vec<Kind> = (0..4000).map(|_| mix.draw(&mut rng)).collect();
        let json = drawn.iter().filter(|kind| **kind == Kind::Json).count();
        assert!((2900..3100).contains(&json), "{json}");
        assert!(drawn.iter().all(|kind| *kind != Kind::Long));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_right() {
        assert!("jsn=1".parse::<Mix>().unwrap_err().contains("json, access, text"));
        assert!("json=x".parse::<Mix>().unwrap_err().contains("weight"));
        assert!("json=0".parse::<Mix>().unwrap_err().contains("all weights"));
        assert!("2KiB-100".parse::<Sizes>().unwrap_err().contains("before it begins"));
        assert!("1TiB".parse::<Sizes>().unwrap_err().contains("longest"));
        assert!("many".parse::<Sizes>().unwrap_err().contains("size"));
    }
}
