//! The shape of a destination's requests: its service's limits, and what the user set below them.

use std::time::Duration;

use super::entry::Framing;
use super::gzip;
use super::settings::{
    Aggregation, Batch, Compression, ExplicitHashKey, Firehose, Kinesis, Ordering, Packing, PartitionKey,
};
use crate::units::ByteSize;

/// The most records in one call of PutRecordBatch or PutRecords (both services' API reference).
pub const MAX_ENTRIES: usize = 500;
/// The most bytes in one PutRecordBatch (Amazon Data Firehose quotas).
pub const FIREHOSE_REQUEST_SIZE: usize = 4 << 20;
/// The most bytes in one record of a delivery stream, before base64 (Amazon Data Firehose quotas: 1,000 KiB).
pub const FIREHOSE_RECORD_SIZE: usize = 1000 << 10;
/// The most bytes in one PutRecords, partition keys counted (Kinesis PutRecords API reference).
pub const KINESIS_REQUEST_SIZE: usize = 10 << 20;
/// A record of a delivery stream is billed in steps of so many bytes (Amazon Data Firehose pricing: 5 KB).
pub const FIREHOSE_STEP: usize = 5 << 10;
/// A record of a provisioned data stream is billed in PUT payload units of so many bytes (Kinesis Data Streams
/// pricing: 25 KB).
pub const KINESIS_STEP: usize = 25 << 10;

/// The shape of a destination's requests: its service's limits and what the user set below them.
#[derive(Clone, Debug)]
pub struct Shape {
    pub(super) max_entries: usize,
    /// Bytes, partition keys counted. Only a lone record may pass it.
    pub(super) request_size: usize,
    /// Bytes, the partition key counted, before compression. Nothing may pass it.
    pub(super) record_size: usize,
    pub(super) packing: Option<Pack>,
    pub(super) framing: Framing,
    pub(super) key: Option<PartitionKey>,
    pub(super) hash_key: Option<ExplicitHashKey>,
    /// Each key's order is kept.
    pub(super) ordered: bool,
    /// A record is billed in steps of so many bytes.
    pub(super) billed_step: Option<usize>,
    pub(super) max_age: Duration,
}

/// How many lines make one record of the service. A longer line goes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pack {
    pub(super) size: usize,
    pub(super) lines: usize,
    /// A record is billed in steps of so many bytes: one that is full ends before such a step, not after.
    pub(super) step: Option<usize>,
}

impl Shape {
    /// Of a delivery stream.
    pub fn firehose(settings: &Firehose) -> Self {
        let (pack, framing) = match settings.packing {
            Packing::None => (None, Framing::Bare),
            Packing::Newline { max_size, max_lines } => {
                let pack = Pack { size: bytes(max_size), lines: max_lines, step: None };
                (Some(pack), Framing::Lines)
            }
        };
        let limits =
            Limits { request: FIREHOSE_REQUEST_SIZE, record: FIREHOSE_RECORD_SIZE, step: FIREHOSE_STEP };
        Self::new(&settings.batch, limits, pack, framing, settings.compression)
    }

    /// Of a data stream.
    pub fn kinesis(settings: &Kinesis) -> Self {
        let (pack, framing) = match settings.aggregation {
            Aggregation::None => (None, Framing::Bare),
            Aggregation::Newline { max_size } => (Some(max_size), Framing::Lines),
            Aggregation::Kpl { max_size } => (Some(max_size), Framing::Aggregate),
        };
        let pack = pack.map(|size| Pack { size: bytes(size), lines: usize::MAX, step: None });
        let limits = Limits {
            request: KINESIS_REQUEST_SIZE,
            record: bytes(settings.max_record_size).min(KINESIS_REQUEST_SIZE),
            step: KINESIS_STEP,
        };
        let shape = Self::new(&settings.batch, limits, pack, framing, settings.compression);
        Self {
            key: Some(settings.partition_key.clone()),
            hash_key: settings.explicit_hash_key.clone(),
            ordered: settings.ordering == Ordering::PerKey,
            ..shape
        }
    }

    /// Of local files: lines, without a limit on a line.
    pub fn directory() -> Self {
        Self {
            max_entries: 1,
            request_size: 4 << 20,
            record_size: usize::MAX,
            packing: Some(Pack { size: 4 << 20, lines: usize::MAX, step: None }),
            framing: Framing::Lines,
            key: None,
            hash_key: None,
            ordered: false,
            billed_step: None,
            max_age: Duration::from_millis(500),
        }
    }

    fn new(
        batch: &Batch,
        limits: Limits,
        pack: Option<Pack>,
        framing: Framing,
        compression: Compression,
    ) -> Self {
        // What compression leaves of a record is known only when it is sent: limits are kept as if it were nothing.
        let (framing, record_size, step) = match compression {
            Compression::None => (framing, limits.record, Some(limits.step)),
            Compression::Gzip => (framing.compressed(), gzip::content_within(limits.record), None),
        };
        Self {
            max_entries: batch.max_records.clamp(1, MAX_ENTRIES),
            request_size: bytes(batch.target_size).min(limits.request),
            record_size,
            packing: pack.map(|pack| Pack {
                size: pack.size.min(record_size),
                lines: pack.lines.max(1),
                step,
            }),
            framing,
            key: None,
            hash_key: None,
            ordered: false,
            billed_step: Some(limits.step),
            max_age: batch.max_age,
        }
    }

    /// The most records of the service in a request.
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// The most bytes in a request; only a record that is alone in it may pass this, up to
    /// [`record_size`](Self::record_size).
    pub fn request_size(&self) -> usize {
        self.request_size
    }

    /// The most bytes in a record of the service, its partition key counted, before compression.
    pub fn record_size(&self) -> usize {
        self.record_size
    }
}

/// A service's own limits, in bytes.
struct Limits {
    request: usize,
    record: usize,
    /// That of its bills.
    step: usize,
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
