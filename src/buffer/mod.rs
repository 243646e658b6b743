//! The chunk buffer: for each destination one queue of chunk files, and nothing else between reading a line and
//! sending it.
//!
//! What holds, at every instant:
//!
//! 1. Bytes of a chunk up to its committed length are never written again, so they can be mapped.
//! 2. A frame carries its records together with the positions that they move, under the same checksums: after
//!    a kill either both are there or neither.
//! 3. A record leaves the queue only through [`Queue::ack`]; a chunk's file is removed only by
//!    [`Queue::release`], after a durable checkpoint that covers it.
//! 4. What cannot be read is never taken for a record; it is reported as [`Lost`] so that its lines are
//!    read again.
//!
//! The folder of a destination holds `<number>.chunk` (the layout stands in [`frame`]) and beside it
//! `<number>.acks`, what of it was delivered. How a queue is found again after a crash is told in `recover`.

mod acks;
mod append;
mod dead_letters;
mod folder;
#[expect(missing_docs, reason = "the tables at the top of the module document every field")]
pub mod frame;
mod give_up;
pub mod inspect;
mod queue;
mod read;
mod recover;
mod release;
mod report;
mod settings;
#[cfg(test)]
mod tests;
mod times;
mod walk;
mod window;

pub use append::{Append, Appender, Body, Step};
pub use dead_letters::{Aside, AsideBlock, DeadLetterStats, DeadLetters, Letter, NotKept, Origin, SetAside};
pub use folder::others;
pub use give_up::GivenUp;
pub use queue::{Budget, Lost, Queue, QueueStats, Wake};
pub use read::{Chain, Reader};
pub use recover::{Known, Open, Opened, Recovered, open, reader};
pub use release::SyncPoint;
pub use settings::{
    BufferSettings, DeadLetterSettings, Durability, QueueSettings, RemovedDestinations, WhenFull,
};
