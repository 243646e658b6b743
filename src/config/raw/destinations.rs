//! `destinations`, as typed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::limits::{DeadLetters, Queue, RateLimits, RetryPauses};
use super::records::{
    AggregatedRecord, AggregationKind, OrderingKind, PackedRecord, PackingKind, RecordCompression,
};
use super::scalar::{FilePath, FirehoseStream, HashKey, Key, KinesisStream, Size, Time};
use super::service::aws_service;
use crate::units::ByteSize;

/// A place where records go, by its `type`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Destination {
    /// An Amazon Data Firehose delivery stream.
    Firehose(Firehose),
    /// An Amazon Kinesis data stream.
    Kinesis(Kinesis),
    /// Local files, laid out as Firehose writes S3: `YYYY/MM/DD/HH/…`.
    Directory(Directory),
}

aws_service! {
    /// An Amazon Data Firehose delivery stream.
    pub(crate) struct Firehose {
        "https://vpce-0a1b.firehose.eu-central-1.vpce.amazonaws.com",
        {
            /// The delivery stream's name: 1 to 64 of `A-Z a-z 0-9 _ . -`.
            #[schemars(
                required,
                example = &"app-archive",
                extend("x-missing" = "name the delivery stream")
            )]
            pub(crate) stream: Option<FirehoseStream>,
            /// How lines become Firehose records. There is no default, because a wrong guess breaks what
            /// reads them.
            #[schemars(
                required,
                extend(
                    "x-missing" = "there is no default, because a wrong guess breaks what reads the records. `packing: \
                    newline` puts many lines into a record, each ended by a newline: for S3, Redshift and \
                    Splunk, at a small part of the cost, since every record is billed in steps of 5 KB. \
                    `packing: none` sends one line a record: for OpenSearch, and for Lambda functions that \
                    expect one JSON object a record"
                )
            )]
            pub(crate) packing: Option<PackingKind>,
            /// How far `packing: newline` fills a record.
            pub(crate) packed_record: Option<PackedRecord>,
            /// How packed records are compressed. Firehose writes them to S3 one behind the other, which is one
            /// gzip file; but it cannot look into them: not with its own transformation, format conversion or
            /// dynamic partitioning by content, nor for any destination but S3.
            #[serde(default)]
            pub(crate) compression: RecordCompression,
        }
        {
            /// How records become requests.
            #[serde(default)]
            pub(crate) batch: FirehoseBatch,
            /// The most requests under way at once.
            #[schemars(range(min = 1, max = 256))]
            #[serde(default = "max_in_flight")]
            pub(crate) max_in_flight: usize,
            /// How fast the destination may be sent to. What the stream itself takes is learned from its answers.
            #[serde(default)]
            pub(crate) rate_limit: RateLimits,
            /// How failures are tried again: with exponential pauses, at random up to the bound (full jitter),
            /// without end unless limited here.
            #[serde(default)]
            pub(crate) retry: RetryPauses,
            /// The destination's own buffer.
            #[serde(default)]
            pub(crate) buffer: Queue,
            /// What becomes of records that the destination will never take.
            #[serde(default)]
            pub(crate) dead_letters: DeadLetters,
        }
    }
}

/// How records become requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FirehoseBatch {
    /// The most records in one request.
    #[schemars(
        range(min = 1, max = 500),
        extend("x-limits" = {"source": "the service's limit for a request"})
    )]
    pub(crate) max_records: usize,
    /// A request is sent once it holds this much, before base64. Larger ones cost memory and save nothing.
    #[schemars(
        extend("x-limits" = {"min": "1KiB", "max": "4MiB", "source": "the service's limit for a request"})
    )]
    pub(crate) target_size: Size,
    /// A line waits no longer than this for its record and request to fill.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "15m"}))]
    pub(crate) max_age: Time,
}

impl Default for FirehoseBatch {
    fn default() -> Self {
        Self { max_records: 500, target_size: Size(ByteSize(1 << 20)), max_age: Time(Duration::from_secs(1)) }
    }
}

aws_service! {
    /// An Amazon Kinesis data stream.
    pub(crate) struct Kinesis {
        "https://vpce-0a1b.kinesis.eu-central-1.vpce.amazonaws.com",
        {
            /// The data stream's name (1 to 128 of `A-Z a-z 0-9 _ . -`) or ARN. An ARN moves the requests to
            /// a host name of the account's own: use the name unless that is wanted.
            #[schemars(required, example = &"audit-events", extend("x-missing" = "name the data stream"))]
            pub(crate) stream: Option<KinesisStream>,
            /// How lines become records of the stream. There is no default, because the consumers must agree.
            #[schemars(
                required,
                extend(
                    "x-missing" = "there is no default, because the consumers must agree. `aggregation: none` sends one \
                    line a record: every consumer understands it, at the highest cost. `aggregation: kpl` puts \
                    many lines into a record, in the format of the Kinesis Producer Library: for the Kinesis Client \
                    Library and Firehose, which take it apart by themselves, and for Lambda functions with AWS' \
                    de-aggregation module. `aggregation: newline` does the same with newlines, for consumers that \
                    split them again"
                )
            )]
            pub(crate) aggregation: Option<AggregationKind>,
            /// How far `aggregation: kpl` and `newline` fill a record.
            pub(crate) aggregated_record: Option<AggregatedRecord>,
            /// How each record's data is compressed; not with `aggregation: kpl`, which nobody could take apart then.
            /// Every consumer must know.
            #[serde(default)]
            pub(crate) compression: RecordCompression,
            /// What decides a record's shard: `random` spreads evenly over all shards; `content_hash` does the same
            /// by what is in the record; a text with `${field}` in it is a template; any other text is a fixed key
            /// of 1 to 256 characters, which puts everything into one shard.
            #[schemars(example = &"${kubernetes.namespace_name}/${kubernetes.pod_name}")]
            #[serde(default = "random_key")]
            pub(crate) partition_key: Key,
            /// What takes the place of the partition key's hash: a decimal number from 0 to 2^128 - 1, or a template
            /// of one. A record for which it gives no such number has its partition key's hash.
            #[schemars(example = &"${shard_hint}")]
            pub(crate) explicit_hash_key: Option<HashKey>,
            /// Which records come in their order.
            #[serde(default)]
            pub(crate) ordering: OrderingKind,
            /// The stream's MaxRecordSize, of data and partition key together. Raise it only where the
            /// stream's was raised.
            #[schemars(
                extend("x-limits" = {
                    "min": "1KiB", "max": "10MiB", "source": "the service's limit for a record"
                })
            )]
            #[serde(default = "max_record_size")]
            pub(crate) max_record_size: Size,
        }
        {
            /// How records become requests.
            #[serde(default)]
            pub(crate) batch: KinesisBatch,
            /// The most requests under way at once.
            #[schemars(range(min = 1, max = 256))]
            #[serde(default = "max_in_flight")]
            pub(crate) max_in_flight: usize,
            /// How fast the destination may be sent to. What the stream itself takes is learned from its answers.
            #[serde(default)]
            pub(crate) rate_limit: RateLimits,
            /// How failures are tried again: with exponential pauses, at random up to the bound (full jitter),
            /// without end unless limited here.
            #[serde(default)]
            pub(crate) retry: RetryPauses,
            /// The destination's own buffer.
            #[serde(default)]
            pub(crate) buffer: Queue,
            /// What becomes of records that the destination will never take.
            #[serde(default)]
            pub(crate) dead_letters: DeadLetters,
        }
    }
}

/// How records become requests.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KinesisBatch {
    /// The most records in one request.
    #[schemars(
        range(min = 1, max = 500),
        extend("x-limits" = {"source": "the service's limit for a request"})
    )]
    pub(crate) max_records: usize,
    /// A request is sent once it holds this much, partition keys counted, before base64. Some regions take no
    /// more than 5 MiB.
    #[schemars(
        extend("x-limits" = {"min": "1KiB", "max": "10MiB", "source": "the service's limit for a request"})
    )]
    pub(crate) target_size: Size,
    /// A line waits no longer than this for its record and request to fill.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "15m"}))]
    pub(crate) max_age: Time,
}

impl Default for KinesisBatch {
    fn default() -> Self {
        Self {
            max_records: 500,
            // Below the 5 MiB of older regions.
            target_size: Size(ByteSize(1 << 20)),
            max_age: Time(Duration::from_millis(100)),
        }
    }
}

/// Local files, laid out as Firehose writes S3.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Directory {
    /// The folder under which the files go. A relative path starts at the working directory.
    #[schemars(
        required,
        example = &"/var/spool/kinetail",
        extend("x-missing" = "name the folder under which the files go")
    )]
    pub(crate) path: Option<FilePath>,
    /// A file is closed at this size, before compression.
    #[schemars(extend("x-limits" = {"min": "1KiB", "max": "5TiB"}))]
    pub(crate) max_size: Size,
    /// A file is closed at this age.
    #[schemars(extend("x-limits" = {"min": "1s", "max": "1d"}))]
    pub(crate) max_age: Time,
    /// How the files are compressed.
    pub(crate) compression: CompressionKind,
    /// The destination's own buffer.
    pub(crate) buffer: Queue,
    /// What becomes of lines that no record could be made of.
    pub(crate) dead_letters: DeadLetters,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            path: None,
            // The largest and the usual buffering hints of a delivery stream to S3.
            max_size: Size(ByteSize(128 << 20)),
            max_age: Time(Duration::from_secs(300)),
            compression: CompressionKind::default(),
            buffer: Queue::default(),
            dead_letters: DeadLetters::default(),
        }
    }
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum CompressionKind {
    /// not at all
    #[default]
    None,
    /// gzip, with `.gz` at the end of the name
    Gzip,
}

fn max_in_flight() -> usize {
    4
}

fn random_key() -> Key {
    Key("random".to_owned())
}

fn max_record_size() -> Size {
    // MaxRecordSize of a data stream that was not raised.
    Size(ByteSize(1 << 20))
}
