//! The test endpoint does what it promises: the services' protocol, limits and answers, faults, an exact
//! account. Its client is the SDK itself.

mod support;

use std::time::Duration;

use aws_sdk_firehose::error::ProvideErrorMetadata;
use aws_sdk_firehose::types::Record;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use support::clients::{self, ACCESS_KEY, SECRET_KEY};
use support::endpoint::{
    Endpoint, ErrorAnswer, Fault, Gate, Marker, Rate, Rule, Stream, firehose as firehose_limits,
    kinesis as kinesis_limits,
};

type Firehose = aws_sdk_firehose::Client;
type Kinesis = aws_sdk_kinesis::Client;

async fn firehose() -> (Endpoint, Firehose) {
    let endpoint = Endpoint::plain()
        .stream(Stream::firehose("archive"))
        .start()
        .await;
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
    let records = data.into_iter().map(|data| {
        Record::builder()
            .data(data.into())
            .build()
            .expect("data is all it needs")
    });
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

#[tokio::test]
async fn the_sdk_puts_records_over_tls_with_a_signature_that_is_verified() {
    let endpoint = Endpoint::tls()
        .access_key(ACCESS_KEY, SECRET_KEY)
        .stream(Stream::firehose("archive"))
        .stream(Stream::kinesis("audit").shards(2))
        .start()
        .await;

    put_batch(&clients::firehose(&endpoint), "archive", [line("a", 1)])
        .await
        .expect("taken");
    put_records(
        &clients::kinesis(&endpoint),
        "audit",
        [("k".into(), line("a", 1))],
    )
    .await
    .expect("taken");

    let account = endpoint.account();
    assert_eq!(account.access_keys.iter().collect::<Vec<_>>(), [ACCESS_KEY]);
    for stream in ["archive", "audit"] {
        account.stream(stream).assert_exactly_once([Marker::new("a", 1)]);
    }
}

#[tokio::test]
async fn a_signature_made_with_another_secret_is_refused() {
    let endpoint = Endpoint::plain()
        .access_key(ACCESS_KEY, "another")
        .stream(Stream::firehose("archive"))
        .start()
        .await;
    let refused = put_batch(&clients::firehose(&endpoint), "archive", [line("a", 1)]).await;
    assert_eq!(refused, Err("InvalidSignatureException".into()));
    assert_eq!(endpoint.account().stream("archive").calls, 0);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_authority_puts_nothing() {
    let endpoint = Endpoint::tls().stream(Stream::firehose("archive")).start().await;
    let stranger = Endpoint::tls().start().await;
    let config = clients::firehose(&stranger)
        .config()
        .to_builder()
        .endpoint_url(endpoint.url());
    let client = Firehose::from_conf(config.build());
    assert!(put_batch(&client, "archive", [line("a", 1)]).await.is_err());
    endpoint.wait_until(|account| account.failed_handshakes > 0).await;
    assert_eq!(endpoint.account().stream("archive").calls, 0);
}

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
        (
            vec![record, record, record, record, rest + 1],
            Err("InvalidArgumentException".to_owned()),
        ),
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

#[tokio::test]
async fn an_unknown_stream_is_not_found() {
    let (endpoint, client) = firehose().await;
    let answer = put_batch(&client, "nowhere", [line("a", 1)]).await;
    assert_eq!(answer, Err("ResourceNotFoundException".into()));
    let answer = put_records(&clients::kinesis(&endpoint), "archive", [("k".into(), vec![1])]).await;
    assert_eq!(answer, Err("ResourceNotFoundException".into()));
}

#[tokio::test]
async fn a_partition_key_decides_the_shard_by_its_md5() {
    let (endpoint, client) = kinesis(Stream::kinesis("audit").shards(4)).await;
    // First bytes of the MD5s: a 0x0c, b 0x92, c 0x4a, d 0x82, g 0xb2, l 0x2d, t 0xe3.
    let keys = ["a", "b", "c", "d", "g", "l", "t"];
    let shards = put_records(&client, "audit", keys.map(|key| (key.to_owned(), vec![1])))
        .await
        .expect("taken");
    let numbers: Vec<_> = shards
        .iter()
        .map(|shard| shard.as_ref().expect("taken").as_str())
        .collect();
    assert_eq!(
        numbers,
        [0, 2, 1, 2, 2, 0, 3].map(|number| format!("shardId-{number:012}"))
    );
    assert_eq!(endpoint.account().stream("audit").shard(2).count(), 3);
}

#[tokio::test]
async fn packed_lines_are_counted_one_by_one_and_copies_are_seen() {
    let (endpoint, client) = firehose().await;
    let packed = [line("a", 1), line("a", 2), line("b", 1)].concat();
    put_batch(&client, "archive", [packed, line("a", 2)])
        .await
        .expect("taken");
    client
        .put_record()
        .delivery_stream_name("archive")
        .record(
            Record::builder()
                .data(line("c", 9).into())
                .build()
                .expect("a record"),
        )
        .send()
        .await
        .expect("taken");

    let account = endpoint.account();
    let archive = account.stream("archive");
    assert_eq!((archive.taken, archive.lines, archive.distinct()), (3, 5, 4));
    assert_eq!((archive.calls, archive.single_calls), (2, 1));
    assert_eq!(archive.copies(&Marker::new("a", 2)), 2);
    assert_eq!(archive.numbers_of("a"), [1, 2, 2]);
    assert_eq!(archive.billed_units, 3);
    assert_eq!(archive.json().count(), 5);

    let tally = archive.tally([1, 2, 3].map(|number| Marker::new("a", number)));
    assert_eq!(tally.once, 1);
    assert_eq!(tally.missing, [Marker::new("a", 3)]);
    assert_eq!(tally.doubled, [(Marker::new("a", 2), 2)]);
    assert_eq!(tally.unexpected, [Marker::new("b", 1), Marker::new("c", 9)]);
}

#[tokio::test]
async fn a_refused_entry_is_not_taken_and_the_others_are() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::RefuseEntries {
        chance: 0.3,
        with: ErrorAnswer::service_unavailable(),
    }));
    let codes = put_batch(&client, "archive", (0..500).map(|number| line("a", number)))
        .await
        .expect("an answer");
    let refused = codes.iter().flatten().count();
    assert!(
        (100..200).contains(&refused),
        "{refused} of 500 by a chance of 0.3"
    );

    let account = endpoint.account();
    for (number, code) in codes.iter().enumerate() {
        let copies = account.stream("archive").copies(&Marker::new("a", number as u64));
        assert_eq!(copies, u32::from(code.is_none()));
    }
    assert_eq!(
        account.stream("archive").entry_errors["ServiceUnavailableException"],
        refused as u64
    );
}

#[tokio::test]
async fn the_same_seed_refuses_the_same_entries() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (endpoint, client) = firehose().await;
        endpoint.inject(Rule::new(Fault::RefuseEntries {
            chance: 0.5,
            with: ErrorAnswer::internal_failure(),
        }));
        seen.push(put_batch(&client, "archive", (0..50).map(|number| line("a", number))).await);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_poisonous_record_costs_the_whole_call() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::Poison {
        text: b"a line 000002".to_vec(),
        with: ErrorAnswer::invalid_argument("bad record"),
    }));
    let answer = put_batch(&client, "archive", [line("a", 1), line("a", 2)]).await;
    assert_eq!(answer, Err("InvalidArgumentException".into()));
    put_batch(&client, "archive", [line("a", 1)])
        .await
        .expect("taken");
    endpoint
        .account()
        .stream("archive")
        .assert_exactly_once([Marker::new("a", 1)]);
}

#[tokio::test]
async fn rules_strike_the_calls_they_are_meant_for() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(
        Rule::new(Fault::Answer(ErrorAnswer::access_denied()))
            .stream("archive")
            .after(1)
            .times(2),
    );
    endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::expired_token())).stream("another"));
    let mut answers = Vec::new();
    for number in 0..4 {
        answers.push(put_batch(&client, "archive", [line("a", number)]).await.is_ok());
    }
    assert_eq!(answers, [true, false, false, true]);

    let everything = endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())));
    let answer = put_batch(&client, "archive", [line("a", 9)]).await;
    assert_eq!(answer, Err("InternalFailure".into()));
    endpoint.withdraw(everything);
    put_batch(&client, "archive", [line("a", 9)])
        .await
        .expect("taken");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_records_taken_and_a_dropped_connection_does_not() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::DropConnection).times(1));
    endpoint.inject(Rule::new(Fault::LoseAnswer).times(1));

    assert!(put_batch(&client, "archive", [line("dropped", 1)]).await.is_err());
    assert!(put_batch(&client, "archive", [line("lost", 1)]).await.is_err());
    put_batch(&client, "archive", [line("whole", 1)])
        .await
        .expect("taken");

    let account = endpoint.account();
    let archive = account.stream("archive");
    archive.assert_exactly_once([Marker::new("lost", 1), Marker::new("whole", 1)]);
    assert_eq!((archive.dropped_connections, archive.lost_answers), (1, 1));
}

#[tokio::test]
async fn a_hanging_call_goes_on_when_its_gate_opens() {
    let (endpoint, client) = firehose().await;
    let gate = Gate::closed();
    endpoint.inject(Rule::new(Fault::Hang(gate.clone())).times(1));
    let call = tokio::spawn(async move { put_batch(&client, "archive", [line("a", 1)]).await });
    endpoint.wait_until(|account| account.waiting == 1).await;
    assert_eq!(endpoint.account().stream("archive").taken, 0);
    gate.open();
    call.await.expect("no panic").expect("taken");
    assert_eq!(endpoint.account().stream("archive").taken, 1);
}

#[tokio::test]
async fn a_client_that_gives_up_at_a_gate_is_no_longer_counted_as_waiting() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::Hang(Gate::closed())));
    let call = tokio::spawn(async move { put_batch(&client, "archive", [line("a", 1)]).await });
    endpoint.wait_until(|account| account.waiting == 1).await;
    call.abort();
    endpoint.wait_until(|account| account.waiting == 0).await;
    assert_eq!(endpoint.account().stream("archive").taken, 0);
}

#[tokio::test]
async fn an_outage_closes_connections_until_it_is_over() {
    let (endpoint, client) = firehose().await;
    put_batch(&client, "archive", [line("a", 1)])
        .await
        .expect("taken");
    endpoint.outage(true);
    assert!(put_batch(&client, "archive", [line("a", 2)]).await.is_err());
    endpoint.heal();
    put_batch(&client, "archive", [line("a", 3)])
        .await
        .expect("taken");
    assert_eq!(endpoint.account().stream("archive").numbers_of("a"), [1, 3]);
}

#[tokio::test]
async fn a_throttled_shard_refuses_what_exceeds_its_rate_and_recovers_with_time() {
    let stream = Stream::kinesis("audit").shards(2).throttled(Rate {
        records: 10.0,
        bytes: 1e6,
    });
    let (endpoint, client) = kinesis(stream).await;
    let of_one_shard = || (0..15).map(|number| ("a".to_owned(), line("a", number)));

    let answer = put_records(&client, "audit", of_one_shard())
        .await
        .expect("an answer");
    let refused: Vec<_> = answer.iter().filter_map(|entry| entry.as_ref().err()).collect();
    assert_eq!(refused, ["ProvisionedThroughputExceededException"; 5]);
    let other = put_records(&client, "audit", [("b".to_owned(), vec![1])])
        .await
        .expect("an answer");
    assert!(other[0].is_ok(), "the other shard has a bucket of its own");

    endpoint.advance(Duration::from_millis(500));
    let answer = put_records(&client, "audit", of_one_shard())
        .await
        .expect("an answer");
    assert_eq!(answer.iter().filter(|entry| entry.is_ok()).count(), 5);
}

#[tokio::test]
async fn a_broken_answer_reaches_the_client_as_it_is() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::Garbage {
        status: 502,
        body: "<html>Bad Gateway</html>".into(),
    }));
    assert!(put_batch(&client, "archive", [line("a", 1)]).await.is_err());
    assert_eq!(endpoint.account().stream("archive").taken, 0);
}
