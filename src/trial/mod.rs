//! What a configuration does with lines, seen before it runs: the stages of one file put together without files that
//! move, buffers and services.
//!
//! ```text
//! path ─► look (which route takes it, and why the others do not) ─► Stages (decode, process, encode) ─► Made
//!                                                                       │
//!                                  `kinetail try` ─► report    `tests:` ─► run_tests    `kinetail plan`
//! ```
//!
//! The stages are the agent's own types, used in the agent's order, so what is shown is what will be sent. Different
//! are only what a running agent alone knows: the ids of records, and when a line without a time was read.

mod cases;
mod log;
mod report;
mod routing;
mod stages;

pub use cases::{Failed, run_tests};
pub use log::Log;
pub use report::{Shown, report};
pub use routing::{Look, Refusal, look, open, unrotated};
pub use stages::{Change, Did, Made, Stages};
