//! Runs and settings for this stage's tests.

mod endpoint;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::settings::{
    Aggregation, Batch, Compression, Firehose, Kinesis, Ordering, Packing, PartitionKey, RateLimit, Retry,
};
use super::{Aws, Backoff, Dispatcher, Next, Request, Shape};
use crate::record::{Records, Run};
use crate::units::ByteSize;
pub(super) use endpoint::{Endpoint, Reply};

/// A run of chunk `chunk`, from record `first` on.
pub(super) fn run_of(chunk: u64, first: u32, records: &[&[u8]]) -> Run {
    let mut made = Records::default();
    for record in records {
        made.push_with(|out| {
            out.extend_from_slice(record);
            true
        });
    }
    let ends: Vec<u8> = made.ends().iter().flat_map(|end| end.to_le_bytes()).collect();
    let data = Bytes::copy_from_slice(made.data());
    Run::new(chunk, first, ends.into(), data, SystemTime::UNIX_EPOCH)
}

/// A run of records of these sizes, newlines not counted.
pub(super) fn sized(first: u32, sizes: &[usize]) -> Run {
    let records: Vec<Vec<u8>> = sizes.iter().map(|size| vec![b'x'; *size]).collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    run_of(1, first, &records)
}

/// The numbers of the records in a request, in order.
pub(super) fn ordinals(request: &Request) -> Vec<u32> {
    request.entries.iter().flat_map(|entry| entry.runs()).flat_map(Run::ordinals).collect()
}

pub(super) fn batch() -> Batch {
    Batch {
        max_records: 500,
        target_size: ByteSize(4 << 20),
        max_age: Duration::from_secs(1),
        max_in_flight: 4,
    }
}

pub(super) fn firehose(packing: Packing) -> Firehose {
    Firehose {
        stream: "archive".to_owned(),
        aws: Aws::default(),
        packing,
        compression: Compression::None,
        batch: batch(),
        rate_limit: RateLimit::default(),
        retry: Retry::default(),
    }
}

pub(super) fn kinesis(aggregation: Aggregation) -> Kinesis {
    Kinesis {
        stream: "audit".to_owned(),
        aws: Aws::default(),
        aggregation,
        compression: Compression::None,
        partition_key: PartitionKey::Random,
        explicit_hash_key: None,
        ordering: Ordering::None,
        max_record_size: ByteSize(1 << 20),
        batch: batch(),
        rate_limit: RateLimit::default(),
        retry: Retry::default(),
    }
}

/// A request as a dispatcher of this shape makes it of one run.
pub(super) fn request(shape: Shape, run: Run) -> Request {
    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
    let mut dispatcher = Dispatcher::new(shape, 1, backoff, fastrand::Rng::with_seed(1));
    dispatcher.drain();
    let now = Instant::now();
    dispatcher.offer(run, Duration::ZERO, now);
    match dispatcher.next(now) {
        Next::Send(request) => request,
        other => panic!("nothing to send: {other:?}"),
    }
}
