//! The chunk buffer: one queue of chunk files for each destination.

mod settings;

pub use settings::{BufferSettings, QueueSettings, WhenFull};
