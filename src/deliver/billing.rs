//! What the services bill for a record.

use super::settings::Destination;

/// A record of a delivery stream is billed in steps of so many bytes (Amazon Data Firehose pricing: 5 KB).
pub const FIREHOSE_STEP: usize = 5 << 10;
/// A record of a provisioned data stream is billed in PUT payload units of so many bytes (Kinesis Data Streams
/// pricing: 25 KB).
pub const KINESIS_STEP: usize = 25 << 10;
/// A record of an on-demand data stream is billed in steps of so many bytes (Kinesis Data Streams pricing: 1 KB).
pub const ON_DEMAND_STEP: usize = 1 << 10;

/// The units in which a record of so many bytes, its partition key counted, is billed: steps of a delivery stream, PUT
/// payload units of a provisioned data stream. Local files cost none.
pub fn units(to: &Destination, size: usize) -> u64 {
    let step = match to {
        Destination::Firehose(_) => FIREHOSE_STEP,
        Destination::Kinesis(_) => KINESIS_STEP,
        Destination::Directory(_) => return 0,
    };
    size.div_ceil(step).max(1) as u64
}

/// The bytes that an on-demand data stream bills for a record of so many bytes.
pub fn on_demand(size: usize) -> u64 {
    (size.div_ceil(ON_DEMAND_STEP).max(1) * ON_DEMAND_STEP) as u64
}
