//! How lines become records of the services, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::Size;
use crate::units::ByteSize;

/// How lines become Firehose records.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum PackingKind {
    /// many lines in one record, each ended by a newline (S3, Redshift, Splunk)
    Newline,
    /// one line a record, without a newline (OpenSearch, Lambda functions that expect one object a record)
    None,
}

/// How far a record is filled.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PackedRecord {
    /// The most bytes in one record, newlines counted. A record is billed in steps of 5 KB, so a large one
    /// wastes least. A line that alone is longer than the service's limit becomes a dead letter.
    #[schemars(
        extend("x-limits" = {"min": "1KiB", "max": "1000KiB", "source": "the service's limit for a record"})
    )]
    pub(crate) max_size: Size,
    /// The most lines in one record: 500 unless said, or 100000 with `compression: gzip`. Firehose takes at most 500
    /// out of one record where dynamic partitioning de-aggregates; elsewhere more is possible, and saves little.
    #[schemars(range(min = 1, max = 100_000), example = &500)]
    pub(crate) max_lines: Option<usize>,
}

impl Default for PackedRecord {
    fn default() -> Self {
        Self {
            // PutRecordBatch: 1,000 KiB a record, before base64.
            max_size: Size(ByteSize(1_000 << 10)),
            max_lines: None,
        }
    }
}

/// How lines become records of a data stream.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum AggregationKind {
    /// one line a record, without a newline
    None,
    /// many lines in one record, in the format of the Kinesis Producer Library
    Kpl,
    /// many lines in one record, each ended by a newline
    Newline,
}

/// Which records come in their order.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum OrderingKind {
    /// none: what failed is sent again while others go on
    #[default]
    None,
    /// those of one partition key, which then wait for each other
    PerKey,
}

/// How far a record is filled.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AggregatedRecord {
    /// The most bytes in one record before compression, all that belongs to it counted; never more than
    /// `max_record_size`. Provisioned streams bill a record in units of 25 KB. 50KiB unless said, or 500KiB with
    /// `compression: gzip`.
    #[schemars(
        example = &"50KiB",
        extend("x-limits" = {"min": "1KiB", "max": "10MiB", "source": "the service's limit for a record"})
    )]
    pub(crate) max_size: Option<Size>,
}

/// How a record is compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum RecordCompression {
    /// not at all
    #[default]
    None,
    /// each record is a gzip member of its own
    Gzip,
}
