//! kinetail follows log files, turns their lines into JSON records, keeps the records in a chunk buffer on
//! disk and delivers them to Amazon Data Firehose delivery streams and Amazon Kinesis data streams.
//!
//! The way of a line:
//!
//! ```text
//! files ─► tail ─► decode ─► process ─► encode ─► buffer ─► deliver ─► AWS
//! ```
//!
//! The modules stand in the order in which a line passes them. A stage never imports its sibling: what two
//! of them share is a noun at the top ([`source`], [`event`], [`journal`], [`record`], [`units`], [`disk`], `metric`), and only
//! [`agent`] knows them all. `docs/design.md` tells what a user can rely on and why the parts are as they are.

pub mod cli;
pub mod config;

pub mod agent;

pub mod tail;

pub mod decode;

pub mod process;

pub mod encode;

pub mod buffer;

pub mod deliver;

pub mod kubernetes;
pub mod telemetry;

pub mod generate;
pub mod migrate;
pub mod plan;
pub mod trial;

pub mod disk;
pub mod event;
pub mod journal;
mod metric;
pub mod record;
pub mod source;
pub mod units;
