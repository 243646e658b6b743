//! The durable core under attack: the real pipeline, buffers, acknowledgements and checkpoints over a simulated
//! disk that fails, fills up, or stops at any operation.
//!
//! [`story`] is what happens: container logs are written and rotated, two destinations read them, one has
//! hardly any room; traces are held open, lines are dropped or become dead letters. [`node`] is a process without
//! threads, so that the order of operations is the same in every run. [`account`] holds what was sent against what was
//! written.

mod account;
mod corruption;
mod every_operation;
mod full_disk;
mod logs;
mod node;
mod replay;
mod story;
