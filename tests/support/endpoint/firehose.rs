//! Amazon Data Firehose: its limits, requests and answers (Amazon Data Firehose API Reference, and "Quota" in
//! its developer guide).

use serde::Deserialize;
use serde_json::{Value, json};

use super::protocol::{Blob, Entry, ErrorAnswer, Operation, Outcomes, Put, read, uuid};

/// The most records in one request.
pub const MAX_RECORDS: usize = 500;
/// The most bytes in one request, before base64.
pub const MAX_REQUEST: usize = 4 << 20;
/// The most bytes in one record, before base64.
pub const MAX_RECORD: usize = 1_024_000;
/// A record is billed in units of this many bytes.
pub const BILLED_UNIT: usize = 5 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordBatch {
    delivery_stream_name: String,
    records: Vec<Record>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecord {
    delivery_stream_name: String,
    record: Record,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Record {
    data: Blob,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Describe {
    delivery_stream_name: String,
}

/// Reads a put request and holds it against the service's limits.
pub(super) fn read_put(operation: Operation, body: &[u8]) -> Result<Put, ErrorAnswer> {
    let (stream, records) = if operation == Operation::PutOne {
        let PutRecord { delivery_stream_name, record } = read(body)?;
        check_record("record.data", &record)?;
        (delivery_stream_name, vec![record])
    } else {
        let PutRecordBatch { delivery_stream_name, records } = read(body)?;
        check_count(records.len())?;
        for (index, record) in records.iter().enumerate() {
            check_record(&format!("records.{}.member.data", index + 1), record)?;
        }
        (delivery_stream_name, records)
    };
    let put = Put {
        stream,
        entries: records
            .into_iter()
            .map(|record| Entry { data: record.data.0, partition_key: None, hash_key: None })
            .collect(),
    };
    if put.size() > MAX_REQUEST {
        return Err(ErrorAnswer::invalid_argument("Records size exceeds 4 MB limit"));
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

fn check_record(member: &str, record: &Record) -> Result<(), ErrorAnswer> {
    if record.data.0.len() > MAX_RECORD {
        return Err(ErrorAnswer::constraint(
            member,
            &format!("have length less than or equal to {MAX_RECORD}"),
        ));
    }
    Ok(())
}

/// The stream that is to be described.
pub(super) fn read_describe(body: &[u8]) -> Result<String, ErrorAnswer> {
    read::<Describe>(body).map(|describe| describe.delivery_stream_name)
}

/// There is no such stream.
pub(super) fn not_found(stream: &str) -> ErrorAnswer {
    ErrorAnswer::resource_not_found(format!("Firehose {stream} under account 123456789012 not found."))
}

/// The answer to a put, unless its only record was refused.
pub(super) fn answer(operation: Operation, outcomes: &Outcomes) -> Result<Value, ErrorAnswer> {
    if operation == Operation::PutOne {
        let taken = outcomes[0].clone()?;
        return Ok(json!({"RecordId": record_id(taken.sequence), "Encrypted": false}));
    }
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    let entries: Vec<Value> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(taken) => json!({"RecordId": record_id(taken.sequence)}),
            Err(refused) => json!({"ErrorCode": refused.code, "ErrorMessage": refused.message}),
        })
        .collect();
    Ok(json!({"FailedPutCount": failed, "Encrypted": false, "RequestResponses": entries}))
}

/// The answer to a describe: what a client asks in order to know that the stream is there and active.
pub(super) fn describe(stream: &str) -> Value {
    json!({"DeliveryStreamDescription": {
        "DeliveryStreamName": stream,
        "DeliveryStreamARN": format!("arn:aws:firehose:us-east-1:123456789012:deliverystream/{stream}"),
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "1",
        "Destinations": [],
        "HasMoreDestinations": false,
    }})
}

fn record_id(sequence: u64) -> String {
    uuid(u128::from(sequence))
}
