//! What the services bill for a byte of payload, measured on the endpoint: lines of 300 bytes, 3,000 of them a second,
//! as they come from a turn of reading every 50 ms. The keys, times and sizes not set here are the defaults.

mod support;

use std::time::Duration;

use support::endpoint::{Endpoint, Rate, Stream, StreamAccount, firehose, kinesis};
use support::simulated::Simulation;

/// With a newline or what else a record ends with, 300.
const LINE: usize = 299;
const TURN: Duration = Duration::from_millis(50);
const LINES_A_TURN: usize = 150;
const TURNS: usize = 200;

/// What a stream took in ten seconds. The metric says of it what the endpoint bills.
async fn ten_seconds(stream: Stream, destination: &str) -> StreamAccount {
    let mut simulation = Simulation::start(Endpoint::plain().stream(stream), destination).await;
    for turn in 0..TURNS {
        let lines: Vec<String> = (0..LINES_A_TURN)
            .map(|line| format!("{{\"log\":\"{:>1$}\"}}", turn * LINES_A_TURN + line, LINE - 10))
            .collect();
        simulation.offer(lines.iter().map(String::as_bytes));
        simulation.pass(TURN, |_| ()).await;
    }
    simulation.dispatcher.drain();
    simulation.pass(Duration::from_secs(1), |_| ()).await;
    let account = simulation.endpoint.account().stream("out").clone();
    assert_eq!((account.lines, account.line_bytes), (30_000, 9_000_000));
    let metric = simulation.metric("kinetail_billed_units_total{destination=\"out\"}");
    assert_eq!(metric, account.billed_units, "{destination}");
    account
}

/// Billed bytes for a byte of payload.
async fn firehose_bill(settings: &str) -> f64 {
    let account =
        ten_seconds(Stream::firehose("out"), &format!("type: firehose, stream: out, {settings}")).await;
    (account.billed_units * firehose::BILLED_UNIT as u64) as f64 / account.line_bytes as f64
}

/// Bytes in PUT payload units for a byte of payload.
async fn kinesis_bill(settings: &str) -> f64 {
    let stream = Stream::kinesis("out").shards(4);
    let account = ten_seconds(stream, &format!("type: kinesis, stream: out, {settings}")).await;
    (account.billed_units * kinesis::BILLED_UNIT as u64) as f64 / account.line_bytes as f64
}

#[track_caller]
fn within(figure: f64, from: f64, to: f64) {
    assert!((from..=to).contains(&figure), "{figure:.3} is not {from} to {to}");
}

#[tokio::test]
async fn firehose_bills_at_most_a_tenth_more_than_the_payload_of_packed_lines() {
    // A line waits up to a second (batch.max_age), 500 lines a record.
    within(firehose_bill("packing: newline").await, 1.0, 1.1);
}

#[tokio::test]
async fn firehose_bills_a_line_a_record_seventeen_times() {
    within(firehose_bill("packing: none").await, 17.0, 17.1);
}

#[tokio::test]
async fn firehose_bills_compressed_records_at_a_fraction() {
    within(firehose_bill("packing: newline, compression: gzip").await, 0.001, 0.3);
}

#[tokio::test]
async fn a_data_stream_bills_at_most_three_tenths_more_than_the_payload_of_aggregates_with_random_keys() {
    // A line waits up to 100 ms (batch.max_age), 50 KiB a record, partition_key: random.
    within(kinesis_bill("aggregation: kpl").await, 1.0, 1.3);
    // What a second's wait gains.
    within(kinesis_bill("aggregation: kpl, batch: {max_age: 1s}").await, 1.0, 1.06);
}

#[tokio::test]
async fn a_data_stream_bills_a_line_a_record_eighty_times() {
    within(kinesis_bill("aggregation: none").await, 85.0, 86.0);
}

#[tokio::test]
async fn the_metrics_of_a_data_stream_tell_what_it_bills_as_provisioned_and_as_on_demand() {
    for settings in ["aggregation: none", "aggregation: kpl", "aggregation: newline, compression: gzip"] {
        let destination = format!("type: kinesis, stream: out, {settings}");
        let stream = Stream::kinesis("out").shards(4).throttled(Rate::KINESIS_SHARD);
        let mut simulation = Simulation::start(Endpoint::plain().stream(stream), &destination).await;
        // From less than a step to several, and more than the stream takes at once: what is refused costs nothing.
        let lines: Vec<String> =
            (0..900).map(|line| format!("{{\"log\":\"{line:>width$}\"}}", width = line * 55)).collect();
        let mut lines = lines.iter().map(String::as_bytes).peekable();
        for _ in 0..200 {
            let turn = |it: &mut Simulation| match lines.peek() {
                Some(_) => it.offer(lines.by_ref().take(100)),
                None => it.dispatcher.drain(),
            };
            simulation.pass(Duration::from_secs(1), turn).await;
        }
        assert_eq!(simulation.dispatcher.held_records(), 0);
        let account = simulation.endpoint.account().stream("out").clone();
        let metric = |name: &str| simulation.metric(&format!("kinetail_{name}_total{{destination=\"out\"}}"));
        let of = |unit: usize| {
            let sizes = account
                .records()
                .iter()
                .map(|record| record.data.len() + record.partition_key.as_ref().map_or(0, String::len));
            sizes.map(|size| size.div_ceil(unit) as u64).sum::<u64>()
        };
        assert!(account.entry_errors.values().sum::<u64>() > 0 || settings.contains("gzip"), "{settings}");
        assert_eq!(metric("billed_units"), of(kinesis::BILLED_UNIT), "{settings}");
        assert_eq!(metric("billed_on_demand_bytes"), of(1024) * 1024, "{settings}");
    }
}
