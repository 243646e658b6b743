//! Synthetic container logs for load tests and drills, and the count of what became of them.
//!
//! ```text
//! Pace ─► Mix (a line's text, with its Marker) ─► Log (frame, write, rotate) ─► Manifest
//!                                                                                  │
//! what arrived ─► Marker::scan ─► Count ◄──────────────────────────────────────────┘
//! ```
//!
//! Every line carries a [`Marker`]: the run, the log and the line's number in it. A marker has only characters that
//! no encoding changes, so it is found again in whatever the line became: JSON, packed or aggregated records, gzip.
//! The numbers of a log have no gaps, and the [`Manifest`] says how many there are: what is missing was lost, and
//! what comes twice is a copy.
//!
//! Nothing here knows the rest of kinetail: the logs are for any reader of logs, and the count for any destination.

mod count;
mod lines;
mod log;
mod manifest;
mod marker;
mod pace;
mod run;

pub use count::{Count, CountError};
pub use lines::{Kind, Lines, Mix, Sizes};
pub use log::{LogFormat, Rotation, RotationKind};
pub use manifest::{LogLines, Manifest};
pub use marker::Marker;
pub use pace::Pace;
pub use run::{Amount, GenerateError, Generator, Settings, run};
