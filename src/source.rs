//! Where a record came from: the file's incarnation, its stream, and positions in it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One life of a log file's content: minted when the file is first seen and again whenever it is truncated,
/// kept when it is renamed or compressed. Random, so that no two are ever alike.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Incarnation(pub u128);

impl Incarnation {
    /// A fresh one.
    pub fn mint() -> Self {
        Self(fastrand::u128(..))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for Incarnation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Incarnation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The stream of a container that a line was written to. Files that are not a container runtime's have only
/// [`Stream::Plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Stream {
    /// A file without streams.
    Plain = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

impl Stream {
    /// All of them, in the order of their numbers.
    pub const ALL: [Stream; 3] = [Stream::Plain, Stream::Stdout, Stream::Stderr];

    /// The name that records carry; none for a plain file.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Stream::Plain => None,
            Stream::Stdout => Some("stdout"),
            Stream::Stderr => Some("stderr"),
        }
    }

    /// The stream with this number, as stored in a chunk.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// A group of lines (the parts of a split line, or a multiline record) that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenGroup {
    /// The stream that it belongs to; a stream has at most one.
    pub stream: Stream,
    /// The offset of its first line.
    pub start: u64,
}

/// How far a file was read, and what of it has to be read again after a restart.
///
/// Invariant: every `open` group starts before `offset`. A line at `at` of stream `s` is already in the buffer
/// exactly if `at < self.resume(s)`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes of (uncompressed) content that were consumed. Always the start of a line, unless `mid_line`.
    #[serde(rename = "at")]
    pub offset: u64,
    /// `offset` lies inside a line that was too long; its rest, up to the newline, is to be skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mid_line: bool,
    /// Groups whose lines were consumed but whose record is not in the buffer yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<OpenGroup>,
}

impl Position {
    /// At the start of a line, with nothing open.
    pub fn at(offset: u64) -> Self {
        Self { offset, mid_line: false, open: Vec::new() }
    }

    /// Where reading has to start again: at the oldest open group, or at the offset.
    pub fn reread_from(&self) -> u64 {
        self.open.iter().map(|group| group.start).min().unwrap_or(self.offset)
    }

    /// Lines of this stream that start before the returned offset are in the buffer already.
    pub fn resume(&self, stream: Stream) -> u64 {
        self.open.iter().find(|group| group.stream == stream).map_or(self.offset, |group| group.start)
    }
}

/// How far a destination's buffer was written: everything before it was handed to the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// The number of the chunk.
    pub chunk: u64,
    /// The length of its part that counts.
    pub offset: u64,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as the user wrote it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

name! {
    /// The name of a destination: the key under `destinations` in the configuration. It is also the name of
    /// the destination's folder in `data_dir`, so configuration allows only `[A-Za-z0-9_.-]`, at most 64.
    DestinationName
}
name! {
    /// The name of a route in the configuration.
    RouteName
}

/// Whether a route takes a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Takes,
    /// It leaves it to others.
    Leaves,
    /// That depends on what is not known yet. Until it is, no route takes the file.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_without_an_open_group_resumes_at_the_offset() {
        let position = Position {
            offset: 100,
            mid_line: false,
            open: vec![OpenGroup { stream: Stream::Stdout, start: 40 }],
        };
        assert_eq!(position.resume(Stream::Stdout), 40);
        assert_eq!(position.resume(Stream::Stderr), 100);
        assert_eq!(position.reread_from(), 40);
    }

    #[test]
    fn incarnations_survive_json() {
        let incarnation = Incarnation::mint();
        let json = serde_json::to_string(&incarnation).expect("a string");
        assert_eq!(serde_json::from_str::<Incarnation>(&json).expect("read back"), incarnation);
    }
}
