//! Delivery: records become requests within the service's limits, and every entry of an answer is looked at.

mod settings;

pub use settings::{
    Aggregation, Aws, Batch, Compression, Destination, Directory, Firehose, Kinesis, Packing, PartitionKey,
    Retry,
};
