//! Records by patterns of their lines.

use regex::bytes::Regex;

use super::{State, Verdict};

/// Patterns that tell where records of several lines begin, go on and end. At least one is there.
///
/// | given | a record |
/// |---|---|
/// | `start` | begins with a line that matches, and goes on until the next that does |
/// | `continuation` | begins with a line that does not match, and goes on with those that do |
/// | `end` | goes on until a line that matches, which is its last |
/// | `start`, `continuation` | begins with a line that matches the one and goes on with lines that match the other |
/// | `start`, `end` | begins and ends with lines that match |
///
/// With `start` and another, a line that is none of a record's is a record by itself, at once. A line that matches
/// `continuation` continues the open record, whatever else it matches; where none is open it begins one. With
/// `continuation` and `end`, a record's last line matches `end` and need not match `continuation`.
#[derive(Clone, Debug, Default)]
pub struct LinePatterns {
    /// The first line of a record.
    pub start: Option<Regex>,
    /// A line that is not a record's first.
    pub continuation: Option<Regex>,
    /// The last line of a record.
    pub end: Option<Regex>,
}

impl LinePatterns {
    pub(super) fn judge(&self, open: bool, line: &[u8]) -> Verdict {
        let matches =
            |pattern: &Option<Regex>| pattern.as_ref().is_some_and(|pattern| pattern.is_match(line));
        let ends = matches(&self.end);
        let then = (!ends).then_some(State::Open);
        let continued = Verdict { continues: true, then };
        let first = Verdict { continues: false, then };
        let is_continuation = matches(&self.continuation);
        if open && is_continuation {
            return continued;
        }
        let starts = matches(&self.start);
        if open && !starts && (self.continuation.is_none() || ends) {
            return continued;
        }
        let begins = match (&self.start, &self.continuation, &self.end) {
            (None, ..) | (Some(_), None, None) => true,
            _ => starts || is_continuation,
        };
        if begins { first } else { Verdict { then: None, ..first } }
    }

    fn texts(&self) -> [Option<&str>; 3] {
        [&self.start, &self.continuation, &self.end].map(|pattern| pattern.as_ref().map(Regex::as_str))
    }
}

/// Two are equal if their texts are.
impl PartialEq for LinePatterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts() == other.texts()
    }
}
