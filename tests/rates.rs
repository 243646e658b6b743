//! What a stream is found to take, on a clock that the test moves: a backlog that does not end, and a stream that takes
//! 1 MiB a second.

mod support;

use std::time::Duration;

use support::endpoint::{Endpoint, Rate, Stream, StreamAccount};
use support::simulated::Simulation;

const MIB: f64 = 1_048_576.0;
const SECONDS: u32 = 90;

/// What a stream took of a backlog in ninety seconds. For a whole gigabyte, which lasts a thousand, the dispatcher goes through
/// it without requests (`dispatch/backlog.rs`).
async fn backlog(stream: Stream, destination: &str) -> StreamAccount {
    let mut simulation = Simulation::start(Endpoint::plain().stream(stream), destination).await;
    let lines: Vec<String> = (0..800).map(|line| format!("{{\"log\":\"{line:>289}\"}}")).collect();
    let lines: Vec<&[u8]> = lines.iter().map(String::as_bytes).collect();
    for _ in 0..SECONDS {
        simulation.pass(Duration::from_secs(1), |it| it.offer(lines.iter().copied())).await;
    }
    simulation.endpoint.account().stream("out").clone()
}

/// At least 95 % of what the stream takes is used while fewer than 5 % of the records sent are refused.
#[track_caller]
fn used_and_refused(account: &StreamAccount, used: f64, most: f64) {
    let refused: u64 = account.entry_errors.values().sum();
    let (used, refused) = (used / most, refused as f64 / (refused + account.taken) as f64);
    assert!(used >= 0.95 && refused < 0.05, "{used:.3} used, {refused:.3} refused, {} calls", account.calls);
}

#[tokio::test]
async fn a_shards_bytes_are_used_up_and_few_aggregates_are_refused() {
    let stream = Stream::kinesis("out").throttled(Rate::KINESIS_SHARD);
    let account = backlog(stream, "type: kinesis, stream: out, aggregation: kpl").await;
    used_and_refused(&account, account.bytes as f64, MIB * f64::from(SECONDS));
}

#[tokio::test]
async fn a_shards_records_are_used_up_and_few_lines_are_refused() {
    let stream = Stream::kinesis("out").throttled(Rate::KINESIS_SHARD);
    let account = backlog(stream, "type: kinesis, stream: out, aggregation: none").await;
    used_and_refused(&account, account.taken as f64, 1_000.0 * f64::from(SECONDS));
}

#[tokio::test]
async fn a_delivery_streams_bytes_are_used_up_and_few_records_are_refused() {
    let stream = Stream::firehose("out").throttled(Rate { records: 500_000.0, bytes: MIB });
    let account = backlog(stream, "type: firehose, stream: out, packing: newline").await;
    used_and_refused(&account, account.bytes as f64, MIB * f64::from(SECONDS));
}

#[tokio::test]
async fn a_limit_of_the_users_own_holds_and_nothing_is_refused() {
    let stream = Stream::kinesis("out").throttled(Rate::KINESIS_SHARD);
    let destination = "type: kinesis, stream: out, aggregation: kpl, rate_limit: {bytes: 500KiB}";
    let account = backlog(stream, destination).await;
    let most = 500.0 * 1024.0 * f64::from(SECONDS);
    assert_eq!(account.entry_errors.len(), 0);
    assert!((0.98 * most..1.02 * most).contains(&(account.bytes as f64)), "{} of {most}", account.bytes);
}
