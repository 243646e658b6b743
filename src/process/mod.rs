//! What a route does with a message: parse it, add, remove and rename fields.

mod step;

pub use step::{ParseJson, Step};
