//! The test endpoint does what it promises: the services' protocol, limits and answers, faults, an exact
//! account. Its client is the SDK itself.

#[path = "../support/mod.rs"]
mod support;

mod account;
mod faults;
mod limits;
mod metrics;
mod protocol;

use aws_sdk_firehose::error::ProvideErrorMetadata;
use aws_sdk_firehose::types::Record;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use support::clients;
use support::endpoint::{Endpoint, Marker, Stream};

type Firehose = aws_sdk_firehose::Client;
type Kinesis = aws_sdk_kinesis::Client;

async fn firehose() -> (Endpoint, Firehose) {
    let endpoint = Endpoint::plain().stream(Stream::firehose("archive")).start().await;
    let client = clients::firehose(&endpoint);
    (endpoint, client)
}

async fn kinesis(stream: Stream) -> (Endpoint, Kinesis) {
    let endpoint = Endpoint::plain().manual_clock().stream(stream).start().await;
    let client = clients::kinesis(&endpoint);
    (endpoint, client)
}

/// Puts a batch; `Ok` has each entry's error code, `Err` the call's.
async fn put_batch(
    client: &Firehose,
    stream: &str,
    data: impl IntoIterator<Item = Vec<u8>>,
) -> Result<Vec<Option<String>>, String> {
    let records = data
        .into_iter()
        .map(|data| Record::builder().data(data.into()).build().expect("data is all it needs"));
    let answer = client
        .put_record_batch()
        .delivery_stream_name(stream)
        .set_records(Some(records.collect()))
        .send()
        .await
        .map_err(code)?;
    let codes: Vec<_> = answer
        .request_responses()
        .iter()
        .map(|entry| {
            assert_ne!(entry.record_id().is_some(), entry.error_code().is_some());
            entry.error_code().map(str::to_owned)
        })
        .collect();
    assert_eq!(answer.failed_put_count() as usize, codes.iter().flatten().count());
    Ok(codes)
}

/// Puts records of these keys and data; `Ok` has each entry's shard or error code, `Err` the call's code.
async fn put_records(
    client: &Kinesis,
    stream: &str,
    records: impl IntoIterator<Item = (String, Vec<u8>)>,
) -> Result<Vec<Result<String, String>>, String> {
    let records = records.into_iter().map(|(key, data)| {
        PutRecordsRequestEntry::builder()
            .partition_key(key)
            .data(data.into())
            .build()
            .expect("key and data are all it needs")
    });
    let answer = client
        .put_records()
        .stream_name(stream)
        .set_records(Some(records.collect()))
        .send()
        .await
        .map_err(code)?;
    let entries = answer.records().iter().map(|entry| match entry.error_code() {
        Some(code) => Err(code.to_owned()),
        None => {
            assert!(entry.sequence_number().is_some());
            Ok(entry.shard_id().expect("a shard").to_owned())
        }
    });
    Ok(entries.collect())
}

/// The service's error code, or what else went wrong.
fn code<E: ProvideErrorMetadata + std::error::Error + 'static>(
    error: aws_sdk_firehose::error::SdkError<E>,
) -> String {
    match error.code() {
        Some(code) => code.to_owned(),
        None => error.to_string(),
    }
}

fn line(writer: &str, number: u64) -> Vec<u8> {
    format!("{{\"log\":\"{}\"}}\n", Marker::new(writer, number)).into_bytes()
}
