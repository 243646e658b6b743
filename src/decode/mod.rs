//! From lines to messages: container runtimes' formats taken off, split lines joined.
//!
//! A [`Decoder`] stands for one file and one group of destinations that move together. It is given raw lines
//! with their offsets and hands out [`Message`](crate::event::Message)s, most of which borrow from the line.
//!
//! **Split lines.** A container runtime splits long writes into parts (containerd and Docker at 16 KiB, CRI-O
//! at whatever one read returned). Parts are joined for each stream of the file, as the streams interleave.
//! A group of parts is known by the offset of its first part, has that part's time, and is bounded by
//! [`Limits::max_message`]: what goes beyond is dropped, and the message says so. A group without an end comes
//! out when it has been idle for long enough ([`Decoder::flush_older_than`]) or when its file has ended
//! ([`Decoder::flush`]).
//!
//! **Multiline.** Where a route says so ([`Multiline`]), whole lines of a stream are joined to records, such as a stack
//! trace. A record ends with a line, with its limits, or when nothing of its stream has come for a while.
//!
//! **Restarts.** The memory of an open group is never saved. What is saved is where each began
//! ([`Decoder::open`] as part of a [`Position`](crate::source::Position)); after a restart the file is read
//! again from the oldest of these, and a [`Decoder::resume`]d decoder ignores, stream by stream, the lines
//! whose messages are out already. So from any position the same messages follow as if there had been no
//! restart.
//!
//! **Nothing is refused.** A line that is not in the file's format becomes a message of
//! [`Stream::Plain`](crate::source::Stream) as it is, and is counted.

mod cri;
mod decoder;
mod docker;
mod group;
mod journald;
mod multiline;
mod rfc3339;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use memchr::memmem::Finder;

pub use decoder::{Counts, Decoder};
pub use multiline::{LinePatterns, Multiline, Preset};

/// Room for text that is kept between two lines; more is given back at once.
const KEPT_ROOM: usize = 32 << 10;

/// How a route's lines become messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoding {
    /// How they are written.
    pub format: Format,
    /// How long a message may be.
    pub limits: Limits,
    /// Which of them belong together.
    pub multiline: Option<Arc<Multiline>>,
}

/// Text by which lines are known that are no messages: those of kinetail's own log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Marker(Arc<Finder<'static>>);

impl Marker {
    /// Of this text. No format may write it in another way, so it is of letters and digits, or nearly so.
    pub fn new(text: &str) -> Self {
        Self(Arc::new(Finder::new(text).into_owned()))
    }

    /// Whether it is somewhere in there.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.find(bytes).is_some()
    }
}

/// How a file's lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, a message a line.
    #[default]
    Plain,
    /// The Kubernetes container runtime interface's: `<time> <stream> <P|F> <text>` (containerd, CRI-O).
    Cri,
    /// Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
    Docker,
    /// Entries of systemd's journal, each a whole message (see [`crate::journal`]).
    Journald,
}

/// The bounds of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a message's text, its parts joined. What goes beyond is cut off, marked and counted.
    pub max_message: usize,
}

impl Default for Limits {
    /// 1 MiB, as long as a line may be by default.
    fn default() -> Self {
        Self { max_message: 1 << 20 }
    }
}

/// What a line of a container runtime says: a whole message, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part<'a> {
    time: &'a str,
    stream: crate::source::Stream,
    text: &'a [u8],
    /// No further part follows.
    ends: bool,
}
