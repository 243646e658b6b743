//! The agent: builds the stages from the configuration and runs them until it is told to stop.
//!
//! ```text
//!            one thread                 one task a destination
//! watcher ─► Pipeline ─► Queue ═══════► delivery ─► Service
//!               │  ▲                        │
//!      snapshot ▼  │ wake: room, lost       └─► acknowledgements, dead letters
//!            Keeper (one thread): sync, checkpoint, release
//! ```
//!
//! `pipeline` reads, decodes, processes, encodes and appends in one thread, a block of one file at a time, each
//! file in its turn: the only queue between it and delivery is the buffer on disk. `keeper` makes durable
//! what is there and then writes the checkpoint, so that neither reading nor sending waits for the disk's
//! sync. Whichever of them dies takes the process down: there is no half-dead agent.

mod bell;
mod burial;
mod casualties;
mod cloudwatch;
mod config_file;
mod controls;
#[cfg(test)]
mod crash;
mod data_dir;
mod delivery;
mod drive;
#[cfg(test)]
mod fairness;
mod gauges;
mod glance;
mod held;
mod instance;
mod keeper;
mod limits;
mod losses;
#[cfg(test)]
mod model;
mod once;
mod open;
mod outlets;
mod parts;
mod pipeline;
mod preflight;
mod rates;
mod reload;
#[cfg(test)]
mod routing;
mod run;
mod shown;
mod standing;
mod status;
#[cfg(test)]
mod tests;
mod top_files;
mod totals;
mod watched;

pub use config_file::ConfigFile;
pub use controls::replay_at_next_start;
pub use data_dir::{DataDirError, hold};
pub use run::{Failure, Options, run};
