//! Markers: the text by which a line is known again wherever it turns up.

use std::fmt;

use memchr::memmem;

/// What stands between the writer's name and the line's number.
const INFIX: &[u8] = b" line ";

/// The fewest digits of a number, so that ordinary text is hardly ever taken for a marker.
const DIGITS: usize = 6;

/// One line of one writer, written `app-07 line 000123`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Marker {
    /// The writer: letters, digits, `.`, `_` and `-`.
    pub writer: String,
    /// The number of its line.
    pub line: u64,
}

impl Marker {
    /// The marker of this writer's line.
    pub fn new(writer: impl Into<String>, line: u64) -> Self {
        let writer = writer.into();
        assert!(
            !writer.is_empty() && writer.bytes().all(of_a_name),
            "{writer:?} cannot be told from the text around it"
        );
        Self { writer, line }
    }

    /// The first marker in a text, wherever it stands: in a bare line or inside of a JSON record.
    pub fn find(text: &[u8]) -> Option<Self> {
        memmem::find_iter(text, INFIX).find_map(|at| {
            let name = text[..at].iter().rev().take_while(|byte| of_a_name(**byte)).count();
            let rest = &text[at + INFIX.len()..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if name == 0 || digits < DIGITS {
                return None;
            }
            Some(Self {
                writer: String::from_utf8_lossy(&text[at - name..at]).into_owned(),
                line: str::from_utf8(&rest[..digits]).ok()?.parse().ok()?,
            })
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {:0DIGITS$}", self.writer, self.line)
    }
}

fn of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}
