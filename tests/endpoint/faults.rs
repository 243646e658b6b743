//! What goes wrong on request.

use std::time::Duration;

use aws_sdk_firehose::types::Record;

use super::support::clients;
use super::support::endpoint::{Endpoint, ErrorAnswer, Fault, Gate, Marker, Rate, Rule, Stream};
use super::{code, firehose, kinesis, line, put_batch, put_records};

#[tokio::test]
async fn a_refused_entry_is_not_taken_and_the_others_are() {
    let (endpoint, client) = firehose().await;
    endpoint
        .inject(Rule::new(Fault::RefuseEntries { chance: 0.3, with: ErrorAnswer::service_unavailable() }));
    let codes =
        put_batch(&client, "archive", (0..500).map(|number| line("a", number))).await.expect("an answer");
    let refused = codes.iter().flatten().count();
    assert!((100..200).contains(&refused), "{refused} of 500 by a chance of 0.3");

    let account = endpoint.account();
    for (number, code) in codes.iter().enumerate() {
        let copies = account.stream("archive").copies(&Marker::new("a", number as u64));
        assert_eq!(copies, u32::from(code.is_none()));
    }
    assert_eq!(account.stream("archive").entry_errors["ServiceUnavailableException"], refused as u64);
}

#[tokio::test]
async fn the_same_seed_refuses_the_same_entries() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (endpoint, client) = firehose().await;
        endpoint
            .inject(Rule::new(Fault::RefuseEntries { chance: 0.5, with: ErrorAnswer::internal_failure() }));
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
    put_batch(&client, "archive", [line("a", 1)]).await.expect("taken");
    endpoint.account().stream("archive").assert_exactly_once([Marker::new("a", 1)]);
}

#[tokio::test]
async fn rules_strike_the_calls_they_are_meant_for() {
    let (endpoint, client) = firehose().await;
    endpoint
        .inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())).stream("archive").after(1).times(2));
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
    put_batch(&client, "archive", [line("a", 9)]).await.expect("taken");
}

#[tokio::test]
async fn a_lost_answer_leaves_the_records_taken_and_a_dropped_connection_does_not() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::DropConnection).times(1));
    endpoint.inject(Rule::new(Fault::LoseAnswer).times(1));

    assert!(put_batch(&client, "archive", [line("dropped", 1)]).await.is_err());
    assert!(put_batch(&client, "archive", [line("lost", 1)]).await.is_err());
    put_batch(&client, "archive", [line("whole", 1)]).await.expect("taken");

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
    put_batch(&client, "archive", [line("a", 1)]).await.expect("taken");
    endpoint.outage(true);
    assert!(put_batch(&client, "archive", [line("a", 2)]).await.is_err());
    endpoint.heal();
    put_batch(&client, "archive", [line("a", 3)]).await.expect("taken");
    assert_eq!(endpoint.account().stream("archive").numbers_of("a"), [1, 3]);
}

#[tokio::test]
async fn a_throttled_shard_refuses_what_exceeds_its_rate_and_recovers_with_time() {
    let stream = Stream::kinesis("audit").shards(2).throttled(Rate { records: 10.0, bytes: 1e6 });
    let (endpoint, client) = kinesis(stream).await;
    let of_one_shard = || (0..15).map(|number| ("a".to_owned(), line("a", number)));

    let answer = put_records(&client, "audit", of_one_shard()).await.expect("an answer");
    let refused: Vec<_> = answer.iter().filter_map(|entry| entry.as_ref().err()).collect();
    assert_eq!(refused, ["ProvisionedThroughputExceededException"; 5]);
    let other = put_records(&client, "audit", [("b".to_owned(), vec![1])]).await.expect("an answer");
    assert!(other[0].is_ok(), "the other shard has a bucket of its own");

    endpoint.advance(Duration::from_millis(500));
    let answer = put_records(&client, "audit", of_one_shard()).await.expect("an answer");
    assert_eq!(answer.iter().filter(|entry| entry.is_ok()).count(), 5);
}

#[tokio::test]
async fn a_broken_answer_reaches_the_client_as_it_is() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::Garbage { status: 502, body: "<html>Bad Gateway</html>".into() }));
    assert!(put_batch(&client, "archive", [line("a", 1)]).await.is_err());
    assert_eq!(endpoint.account().stream("archive").taken, 0);
}

#[tokio::test]
async fn a_refused_record_of_a_call_of_one_is_the_calls_error() {
    let (endpoint, client) = firehose().await;
    endpoint.inject(Rule::new(Fault::RefuseText {
        text: b"line 000001".to_vec(),
        with: ErrorAnswer::service_unavailable(),
    }));
    let put = |number| {
        let record = Record::builder().data(line("a", number).into()).build();
        client.put_record().delivery_stream_name("archive").record(record.expect("a record")).send()
    };
    let refused = put(1).await.expect_err("an error");
    assert_eq!(refused.raw_response().expect("an answer").status().as_u16(), 503);
    assert_eq!(code(refused), "ServiceUnavailableException");
    put(2).await.expect("taken");
    endpoint.account().stream("archive").assert_exactly_once([Marker::new("a", 2)]);
}

#[tokio::test]
async fn an_answer_held_at_a_gate_comes_after_the_records_were_taken() {
    let (endpoint, client) = firehose().await;
    let gate = Gate::closed();
    endpoint.inject(Rule::new(Fault::HoldAnswer(gate.clone())));
    let call = tokio::spawn(async move { put_batch(&client, "archive", [line("a", 1)]).await });
    endpoint.wait_until(|account| account.waiting == 1 && account.stream("archive").taken == 1).await;
    assert!(!call.is_finished());
    gate.open();
    call.await.expect("no panic").expect("an answer");
}

#[tokio::test]
async fn chances_of_calls_come_from_the_seed() {
    let mut seen = Vec::new();
    for _ in 0..2 {
        let (endpoint, client) = firehose().await;
        endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).chance(0.5));
        let mut answers = Vec::new();
        for number in 0..20 {
            answers.push(put_batch(&client, "archive", [line("a", number)]).await.is_ok());
        }
        assert!(answers.contains(&true) && answers.contains(&false));
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test]
async fn a_delivery_stream_over_its_rate_answers_slow_down() {
    let endpoint = Endpoint::plain()
        .manual_clock()
        .stream(Stream::firehose("archive").throttled(Rate { records: 1e6, bytes: 1000.0 }))
        .start()
        .await;
    let client = clients::firehose(&endpoint);
    let codes = put_batch(&client, "archive", vec![vec![b'x'; 400]; 3]).await;
    assert_eq!(codes, Ok(vec![None, None, Some("ServiceUnavailableException".into())]));
}
