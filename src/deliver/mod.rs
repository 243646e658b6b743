//! Delivery: records become requests within the service's limits, and every entry of an answer is looked at.
//!
//! ```text
//! runs ─► Dispatcher (batch, retry) ─► Request ─► Service (Firehose, Kinesis, directory) ─► Answer ─┐
//!              ▲                                                                                    │
//!              └──────────────────────── acked, refused, again ◄────────────────────────────────────┘
//! ```
//!
//! The [`Dispatcher`] decides and does nothing: it has neither a clock nor a socket. A [`Service`] sends one
//! request and tells what became of it. The loop that joins them, and the buffer, is the agent's:
//!
//! - while [`Dispatcher::room`], offer it runs from the buffer;
//! - do what [`Dispatcher::next`] says;
//! - give each [`Answer`] to [`Dispatcher::answered`] and acknowledge in the buffer what it settled. A request
//!   whose answer is never given stays in flight for ever: a task that dies must be answered for.
//!
//! What was not settled when the process ends is still in the buffer, and is offered again at the next start.

mod aggregate;
mod answer;
mod aws;
mod batch;
pub mod body;
mod cloudwatch;
mod concurrency;
mod directory;
mod dispatch;
mod entry;
mod firehose;
mod gzip;
mod health;
mod key;
mod kinesis;
mod lots;
mod metrics;
pub mod policy;
mod preflight;
mod rate;
mod refusal;
mod retry;
mod service;
mod settings;
mod settled;
mod shape;
mod shards;
mod template;
#[cfg(test)]
mod testing;

pub use answer::{Answer, Class, Failure, Outcome, classify};
pub use aws::{ConnectError, HttpClients, InstanceDescription, InstanceMetadata};
pub use cloudwatch::{CloudWatch, CloudWatchClient, Datum, Measured, MetricPattern, MetricUnit, batches};
pub use directory::LocalDirectory;
pub use dispatch::{Dispatcher, Next};
pub use entry::{Entry, Request};
pub use firehose::DeliveryStream;
pub use health::Health;
pub use kinesis::DataStream;
pub use metrics::{DestinationMetrics, Figures, Metrics};
pub use preflight::{Finding, Level, TestRecord};
pub use refusal::{Reason, Refused};
pub use retry::Backoff;
pub use service::Service;
pub use settings::{
    Aggregation, Aws, Batch, Compression, Destination, Directory, ExplicitHashKey, Firehose, Kinesis,
    Ordering, Packing, PartitionKey, RateLimit, Retry, RetryLimits, Role,
};
pub use settled::{RequestOutcome, Settled};
pub use shape::{
    FIREHOSE_RECORD_SIZE, FIREHOSE_REQUEST_SIZE, FIREHOSE_STEP, KINESIS_REQUEST_SIZE, KINESIS_STEP,
    MAX_ENTRIES, Shape,
};
pub use shards::{HotKey, HotShard, SHARD_BYTES, SHARD_RECORDS, Shard, ShardCount};
pub use template::Template;
