//! What is known of the pod that wrote a file: what the file's path tells, with no API at all.

mod matching;
mod pod;

pub use matching::{Mismatch, NamePattern, PodPattern};
pub use pod::Pod;
