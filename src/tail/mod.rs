//! Following files: discovery, identity, rotation, reading, checkpoints.
//!
//! A file is followed by its content, not by its name: an [`Incarnation`](crate::source::Incarnation) is one life
//! of a file's content, kept through rename and compression, and ended by truncation. [`Tailer`] holds all of
//! them and answers three questions: which are there ([`Tailer::scan`]), what comes next in one of them
//! ([`Tailer::read`]), and when one has come to its end ([`Tailer::has_ended`]).
//!
//! What holds:
//!
//! 1. No byte is handed out before the bytes in front of it are proven to be those that were read before
//!    (see [`identity`]).
//! 2. A file is left only when its path no longer leads to it, nothing can be appended any more (it was
//!    deleted, compressed, or has a successor), and its end was stable for `rotate_wait`.
//! 3. `start_at` applies at a route's first ever start and never again: what appears later is read from its
//!    beginning, rotated siblings included.

pub mod amend;
pub mod checkpoint;
pub mod content;
pub mod discovery;
pub mod identity;
pub mod journal;
pub mod lines;
mod pattern;
mod rate;
mod settings;
pub mod siblings;
mod tailer;
mod watch;

pub use checkpoint::{Checkpoint, Entry, Progress, Repair, Replay, Status};
pub use content::ReadOutcome;
pub use discovery::{Only, Roots, Selection, routes_of, walk};
pub use journal::{Journal, JournalSettings};
pub use lines::{Line, Lines};
pub use pattern::{Pattern, PatternError};
pub use rate::{Bucket, RateLimit, RatePer, WhenExceeded};
pub use settings::{StartAt, TailSettings, Watch};
pub use tailer::{Counts, Looked, Route, Scan, Tailer, View};
pub use watch::{Changes, Watcher};
