//! Amazon Kinesis Data Streams: its limits, shards, requests and answers (Amazon Kinesis Data Streams API
//! Reference, and "Quotas and limits" in its developer guide).

use md5::{Digest as _, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::{Blob, Entry, ErrorAnswer, Operation, Outcomes, Put, read};

/// The most records in one request.
pub const MAX_RECORDS: usize = 500;
/// The most bytes in one request, before base64, partition keys included.
pub const MAX_REQUEST: usize = 10 << 20;
/// The most bytes in one record, data and partition key, unless the stream's own MaxRecordSize says otherwise.
pub const DEFAULT_MAX_RECORD: usize = 1 << 20;
/// The highest MaxRecordSize that a stream can be given.
pub const MAX_RECORD: usize = 10 << 20;
/// The most characters (not bytes) of a partition key.
pub const MAX_PARTITION_KEY: usize = 256;
/// Provisioned streams are billed in PUT payload units of this many bytes a record.
pub const BILLED_UNIT: usize = 25 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecords {
    #[serde(flatten)]
    stream: StreamRef,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord {
    #[serde(flatten)]
    stream: StreamRef,
    #[serde(flatten)]
    record: Record,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    data: Blob,
    partition_key: String,
    explicit_hash_key: Option<String>,
}

/// A stream, named in one of two ways.
#[derive(Deserialize)]
struct StreamRef {
    #[serde(rename = "StreamName")]
    name: Option<String>,
    #[serde(rename = "StreamARN")]
    arn: Option<String>,
}

impl StreamRef {
    fn resolve(self) -> Result<String, ErrorAnswer> {
        match (self.name, self.arn) {
            (Some(name), None) => Ok(name),
            (_, Some(arn)) => arn.split_once(":stream/").map(|(_, name)| name.to_owned()).ok_or_else(|| {
                ErrorAnswer::constraint(
                    "streamARN",
                    "satisfy regular expression pattern: arn:aws.*:kinesis:.*:stream/\\S+",
                )
            }),
            (None, None) => {
                Err(ErrorAnswer::invalid_argument("Either streamARN or streamName must be provided."))
            }
        }
    }
}

/// Reads a put request and holds it against the service's limits, those of the stream aside.
pub(super) fn read_put(operation: Operation, body: &[u8]) -> Result<Put, ErrorAnswer> {
    let (stream, records) = if operation == Operation::PutOne {
        let PutRecord { stream, record } = read(body)?;
        check_record("", &record)?;
        (stream, vec![record])
    } else {
        let PutRecords { stream, records } = read(body)?;
        check_count(records.len())?;
        for (index, record) in records.iter().enumerate() {
            check_record(&format!("records.{}.member.", index + 1), record)?;
        }
        (stream, records)
    };
    let put =
        Put { stream: stream.resolve()?, entries: records.into_iter().map(entry).collect::<Result<_, _>>()? };
    if put.size() > MAX_REQUEST {
        return Err(ErrorAnswer::invalid_argument("Records size exceeds 10 MB limit"));
    }
    Ok(put)
}

fn check_count(records: usize) -> Result<(), ErrorAnswer> {
    match records {
        0 => Err(ErrorAnswer::constraint("records", "have length greater than or equal to 1")),
        1..=MAX_RECORDS => Ok(()),
        _ => Err(ErrorAnswer::constraint(
            "records",
            &format!("have length less than or equal to {MAX_RECORDS}"),
        )),
    }
}

fn check_record(prefix: &str, record: &Record) -> Result<(), ErrorAnswer> {
    if record.partition_key.is_empty() {
        return Err(ErrorAnswer::constraint(
            &format!("{prefix}partitionKey"),
            "have length greater than or equal to 1",
        ));
    }
    if record.partition_key.chars().count() > MAX_PARTITION_KEY {
        return Err(ErrorAnswer::constraint(
            &format!("{prefix}partitionKey"),
            &format!("have length less than or equal to {MAX_PARTITION_KEY}"),
        ));
    }
    if record.data.0.len() > MAX_RECORD {
        return Err(ErrorAnswer::constraint(
            &format!("{prefix}data"),
            &format!("have length less than or equal to {MAX_RECORD}"),
        ));
    }
    Ok(())
}

fn entry(record: Record) -> Result<Entry, ErrorAnswer> {
    let hash_key = match record.explicit_hash_key {
        None => u128::from_be_bytes(Md5::digest(record.partition_key.as_bytes()).into()),
        Some(text) => text.parse().map_err(|_| {
            ErrorAnswer::invalid_argument(format!(
                "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
            ))
        })?,
    };
    Ok(Entry { data: record.data.0, partition_key: Some(record.partition_key), hash_key: Some(hash_key) })
}

/// Holds records against the stream's MaxRecordSize, in which the partition key counts.
pub(super) fn check_record_sizes(put: &Put, max_record: usize) -> Result<(), ErrorAnswer> {
    match put.entries.iter().position(|entry| entry.size() > max_record) {
        None => Ok(()),
        Some(index) => Err(ErrorAnswer::invalid_argument(format!(
            "Record at index {index} exceeds the stream's maximum record size of {max_record} bytes"
        ))),
    }
}

/// The stream that is to be described.
pub(super) fn read_describe(body: &[u8]) -> Result<String, ErrorAnswer> {
    read::<StreamRef>(body)?.resolve()
}

/// There is no such stream.
pub(super) fn not_found(stream: &str) -> ErrorAnswer {
    ErrorAnswer::resource_not_found(format!("Stream {stream} under account 123456789012 not found."))
}

/// The shard, of `shards` that divide the hash keys evenly, whose range holds this hash key.
pub(super) fn shard_of(hash_key: u128, shards: usize) -> usize {
    // The last shard also takes what an uneven division leaves over.
    let width = u128::MAX / shards as u128 + u128::from(shards.is_power_of_two() && shards > 1);
    ((hash_key / width) as usize).min(shards - 1)
}

/// A shard as the service names it.
pub(super) fn shard_id(shard: usize) -> String {
    format!("shardId-{shard:012}")
}

/// This shard has taken what it may at the moment.
pub(super) fn shard_throttled(stream: &str, shard: usize) -> ErrorAnswer {
    ErrorAnswer::new(
        400,
        "ProvisionedThroughputExceededException",
        format!("Rate exceeded for shard {} in stream {stream} under account 123456789012.", shard_id(shard)),
    )
}

/// The answer to a put, unless its only record was refused.
pub(super) fn answer(operation: Operation, outcomes: &Outcomes) -> Result<Value, ErrorAnswer> {
    if operation == Operation::PutOne {
        let taken = outcomes[0].clone()?;
        let (sequence, shard) = (sequence_number(taken.sequence), taken.shard.map(shard_id));
        return Ok(json!({"SequenceNumber": sequence, "ShardId": shard, "EncryptionType": "NONE"}));
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let entries: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(taken) => json!({
                "SequenceNumber": sequence_number(taken.sequence),
                "ShardId": taken.shard.map(shard_id),
            }),
            Err(refused) => json!({"ErrorCode": refused.code, "ErrorMessage": refused.message}),
        })
        .collect();
    Ok(json!({"FailedRecordCount": failed, "EncryptionType": "NONE", "Records": entries}))
}

/// The answer to a describe: what a client asks in order to know that the stream is there and active.
pub(super) fn describe(stream: &str, shards: usize, max_record: usize) -> Value {
    json!({"StreamDescriptionSummary": {
        "StreamName": stream,
        "StreamARN": format!("arn:aws:kinesis:us-east-1:123456789012:stream/{stream}"),
        "StreamStatus": "ACTIVE",
        "StreamModeDetails": {"StreamMode": "PROVISIONED"},
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 0,
        "EnhancedMonitoring": [],
        "EncryptionType": "NONE",
        "OpenShardCount": shards,
        "MaxRecordSizeInKiB": max_record / 1024,
    }})
}

fn sequence_number(sequence: u64) -> String {
    format!("4966{sequence:052}")
}
