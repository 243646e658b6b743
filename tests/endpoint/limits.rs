//! The published limits of both services, to the byte.

use super::support::endpoint::{Stream, firehose as firehose_limits, kinesis as kinesis_limits};
use super::{firehose, kinesis, put_batch, put_records};

#[tokio::test]
async fn firehose_limits_hold_to_the_byte() {
    let (_endpoint, client) = firehose().await;
    let record = firehose_limits::MAX_RECORD;
    let rest = firehose_limits::MAX_REQUEST - 4 * record;
    let validation = || Err("ValidationException".to_owned());

    for (sizes, answer) in [
        (vec![0; 500], Ok(500)),
        (vec![0; 501], validation()),
        (vec![], validation()),
        (vec![record], Ok(1)),
        (vec![record + 1], validation()),
        (vec![record, record, record, record, rest], Ok(5)),
        (vec![record, record, record, record, rest + 1], Err("InvalidArgumentException".to_owned())),
    ] {
        let what = format!("{} records, first {:?}", sizes.len(), sizes.first());
        let taken = put_batch(&client, "archive", sizes.into_iter().map(|size| vec![b'x'; size])).await;
        assert_eq!(taken.map(|entries| entries.len()), answer, "{what}");
    }
}

#[tokio::test]
async fn kinesis_limits_hold_to_the_byte_with_keys_counted() {
    let (endpoint, client) = kinesis(Stream::kinesis("audit")).await;
    let record = kinesis_limits::DEFAULT_MAX_RECORD;
    let argument = || Err("InvalidArgumentException".to_owned());
    let validation = || Err("ValidationException".to_owned());
    let key = "k".to_owned();

    for (what, records, answer) in [
        ("500 records", vec![(key.clone(), 0); 500], Ok(500)),
        ("501 records", vec![(key.clone(), 0); 501], validation()),
        ("the largest record", vec![(key.clone(), record - 1)], Ok(1)),
        ("a byte too large", vec![(key.clone(), record)], argument()),
        ("the largest request", vec![(key.clone(), record - 1); 10], Ok(10)),
        (
            "the largest request and a key",
            [vec![(key.clone(), record - 1); 10], vec![(key.clone(), 0)]].concat(),
            argument(),
        ),
        ("256 characters, 512 bytes", vec![("é".repeat(256), 1)], Ok(1)),
        ("257 characters", vec![("k".repeat(257), 1)], validation()),
        ("no key", vec![(String::new(), 1)], validation()),
    ] {
        let records = records.into_iter().map(|(key, size)| (key, vec![b'x'; size]));
        let taken = put_records(&client, "audit", records).await;
        assert_eq!(taken.map(|entries| entries.len()), answer, "{what}");
    }
    assert_eq!(endpoint.account().stream("audit").most_bytes, 10 << 20);
}

#[tokio::test]
async fn a_stream_whose_record_size_was_raised_takes_larger_records() {
    let (_endpoint, client) =
        kinesis(Stream::kinesis("audit").max_record_size(kinesis_limits::MAX_RECORD)).await;
    let largest = vec![b'x'; kinesis_limits::MAX_RECORD - 1];
    let taken = put_records(&client, "audit", [("k".into(), largest)]).await;
    assert_eq!(taken.map(|entries| entries.len()), Ok(1));
}
