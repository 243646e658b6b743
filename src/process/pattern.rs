//! Regular expressions over texts that are not necessarily UTF-8.

use std::ops::Range;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// The most memory that one compiled pattern may take.
const MAX_SIZE: usize = 4 << 20;

/// A regular expression that compiles. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles it; the error is for people.
    pub fn new(text: &str) -> Result<Self, String> {
        match RegexBuilder::new(text).size_limit(MAX_SIZE).build() {
            Ok(regex) => Ok(Self(regex)),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err(format!("becomes larger than {} MiB; use less repetition", MAX_SIZE >> 20))
            }
            // The last line says what is wrong, those before show where.
            Err(error) => {
                let message = error.to_string();
                let reason = message.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(format!("{text:?} is not a regular expression: {reason}"))
            }
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What it was compiled to.
    pub fn as_regex(&self) -> &Regex {
        &self.0
    }

    /// How many groups it has.
    pub fn group_count(&self) -> usize {
        self.0.captures_len() - 1
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// Where it is found first, not before `from`.
    pub(super) fn find(&self, text: &[u8], from: usize) -> Option<Range<usize>> {
        if from > text.len() {
            return None;
        }
        self.0.find_at(text, from).map(|found| found.range())
    }

    pub(super) fn captures<'t>(&self, text: &'t [u8]) -> Option<Captures<'t>> {
        self.0.captures(text)
    }

    /// Its groups in order, each with its name if it has one.
    pub(super) fn groups(&self) -> Vec<Option<String>> {
        self.0.capture_names().skip(1).map(|name| name.map(str::to_owned)).collect()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}
