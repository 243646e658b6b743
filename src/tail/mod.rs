//! Following files: discovery, identity, rotation, reading, checkpoints.

mod pattern;
mod settings;

pub use pattern::{Pattern, PatternError};
pub use settings::{StartAt, TailSettings, Watch};
