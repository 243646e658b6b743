//! What delivery will cost, and what it needs, told before it is paid for: records, requests and billed units a day,
//! and the shards of a data stream.
//!
//! ```text
//! Sample (real log files) ─┐
//!                          ├─► Records in time ─► simulate (the Dispatcher itself, its clock told) ─► Load ─► report
//! Rate (synthetic lines) ──┘                          for each way to pack, aggregate and compress
//! ```
//!
//! Lines are decoded, processed and encoded as the agent does it, and go through the very code that makes requests of
//! them, at the times at which they were written. Only the service is missing: every request is answered at once. So
//! what is told is what a healthy service would be sent; one that is slow gets fuller requests, and less of them.

mod load;
mod records;
mod report;
mod sample;
mod simulate;
mod synthetic;
mod variants;

use crate::config::Config;

pub use load::{Load, Shards};
pub use records::Recorded;
pub use report::{Scale, report};
pub use sample::{SampleError, sample};
pub use synthetic::{Rate, synthetic};

/// One way to deliver to a destination, and what it comes to.
#[derive(Clone, Debug)]
pub struct Way {
    /// As the configuration says it: `packing: newline`.
    pub name: &'static str,
    /// Whether the configuration says so.
    pub configured: bool,
    /// What it comes to over the time of the records.
    pub load: Load,
}

/// What each destination of AWS would be sent, in the order of the configuration, with the name of each.
pub fn plan(config: &Config, recorded: &Recorded) -> Vec<(String, Vec<Way>)> {
    let destinations = config.destinations.iter().enumerate();
    destinations
        .filter_map(|(index, entry)| {
            let ways = variants::of(&entry.to)?;
            let ways = ways.into_iter().map(|(name, to)| Way {
                name,
                configured: to == entry.to,
                load: simulate::run(&to, recorded, index),
            });
            Some((entry.name.to_string(), ways.collect()))
        })
        .collect()
}
