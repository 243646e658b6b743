//! `multiline` of a route, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::Regex;
use super::{List, OneOrMany, Size, Time};
use crate::decode;
use crate::units::ByteSize;

/// Which lines are one record.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum Multiline {
    /// The stack traces of a language.
    Preset(TraceName),
    /// Those of several.
    Presets(List<TraceName>),
    /// With settings.
    With(MultilineOptions),
}

/// Settings of `multiline`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MultilineOptions {
    /// The languages whose stack traces are joined; other lines are records by themselves.
    #[schemars(example = &["java"])]
    pub(crate) preset: OneOrMany<TraceName>,
    /// A regular expression that is found in the first line of a record, and in no other. Lines before the first such
    /// line are a record, too.
    #[schemars(example = &r"^\d{4}-\d{2}-\d{2} ")]
    pub(crate) start: Option<Regex>,
    /// A regular expression that is found in a record's further lines.
    #[serde(rename = "continue")]
    #[schemars(example = &r"^\s")]
    pub(crate) continuation: Option<Regex>,
    /// A regular expression that is found in the last line of a record.
    #[schemars(example = &";$")]
    pub(crate) end: Option<Regex>,
    /// How long no further line of the stream must have come before a record that may go on comes out.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "1h"}))]
    pub(crate) flush_after: Time,
    /// The most text of a record. A line that has no room any more begins another; a record's first line is kept whole.
    #[schemars(extend("x-limits" = {"min": "1KiB", "max": "64MiB"}))]
    pub(crate) max_size: Size,
    /// The most lines of a record; a further one begins another.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub(crate) max_lines: u32,
}

impl Default for MultilineOptions {
    fn default() -> Self {
        Self {
            preset: OneOrMany::default(),
            start: None,
            continuation: None,
            end: None,
            flush_after: Time(decode::Multiline::FLUSH_AFTER),
            max_size: Size(ByteSize(decode::Multiline::MAX_SIZE as u64)),
            max_lines: decode::Multiline::MAX_LINES as u32,
        }
    }
}

/// A language whose stack traces are known.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum TraceName {
    /// Java, Kotlin, Scala: causes and suppressed exceptions included
    Java,
    /// Python: chains and groups of exceptions included
    Python,
    /// Go: panics and fatal errors with their goroutines
    Go,
    /// Ruby: causes, and Rails' backtraces
    Ruby,
    /// .NET: inner and aggregate exceptions, and what its console logger writes
    Dotnet,
    /// Node.js: causes, properties and aggregate errors included
    Node,
}

impl From<TraceName> for decode::Preset {
    fn from(name: TraceName) -> Self {
        match name {
            TraceName::Java => Self::Java,
            TraceName::Python => Self::Python,
            TraceName::Go => Self::Go,
            TraceName::Ruby => Self::Ruby,
            TraceName::Dotnet => Self::Dotnet,
            TraceName::Node => Self::Node,
        }
    }
}
