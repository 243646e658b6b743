//! `ordering: per_key` under partial failures and retries.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::endpoint::{Endpoint, ErrorAnswer, Fault, Rule, Stream};
use support::simulated::Simulation;

const KEYS: usize = 20;
const RECORDS: usize = 4_000;

/// The numbers of each key's records, as they came to the shard of the key, with a tenth of the entries refused.
async fn numbers(settings: &str) -> BTreeMap<String, Vec<u64>> {
    let stream = Stream::kinesis("out").shards(4);
    let destination = format!("type: kinesis, stream: out, partition_key: 'pod-${{pod}}', {settings}");
    let mut simulation = Simulation::start(Endpoint::plain().seed(7).stream(stream), &destination).await;
    let with = ErrorAnswer::new(400, "ProvisionedThroughputExceededException", "Rate exceeded");
    simulation.endpoint.inject(Rule::new(Fault::RefuseEntries { chance: 0.05, with }));
    let with = ErrorAnswer::new(500, "InternalFailure", "Internal service failure.");
    simulation.endpoint.inject(Rule::new(Fault::RefuseEntries { chance: 0.05, with }));
    let lines: Vec<String> = (0..RECORDS)
        .map(|number| format!("{{\"pod\":{},\"number\":{}}}", number % KEYS, number / KEYS))
        .collect();
    for lines in lines.chunks(100) {
        simulation.offer(lines.iter().map(String::as_bytes));
        simulation.pass(Duration::from_millis(20), |_| ()).await;
    }
    simulation.dispatcher.drain();
    for _ in 0..600 {
        simulation.pass(Duration::from_secs(1), |_| ()).await;
    }
    assert_eq!(simulation.dispatcher.held_records(), 0);
    let account = simulation.endpoint.account();
    let stream = account.stream("out");
    let refused: u64 = stream.entry_errors.values().sum();
    assert!(refused * 5 > stream.taken / 3, "{refused} refused, {} taken", stream.taken);
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for shard in 0..4 {
        for line in stream.shard(shard).flat_map(|record| record.text.split(|byte| *byte == b'\n')) {
            let record: serde_json::Value = serde_json::from_slice(line).expect("a record");
            let number = record["number"].as_u64().expect("a number");
            numbers.entry(record["pod"].to_string()).or_default().push(number);
        }
    }
    numbers
}

#[tokio::test]
async fn each_keys_records_come_once_and_in_order_with_a_tenth_of_them_refused() {
    for aggregation in ["kpl, batch: {max_age: 10ms}", "none"] {
        let numbers = numbers(&format!("ordering: per_key, aggregation: {aggregation}")).await;
        assert_eq!(numbers.len(), KEYS);
        for (key, numbers) in numbers {
            assert!(numbers.iter().copied().eq(0..(RECORDS / KEYS) as u64), "{key}: {numbers:?}");
        }
    }
}

#[tokio::test]
async fn without_it_what_failed_comes_after_what_followed() {
    let numbers = numbers("aggregation: none").await;
    assert!(numbers.values().any(|numbers| !numbers.is_sorted()));
    assert!(numbers.into_values().all(|mut numbers| {
        numbers.sort_unstable();
        numbers.into_iter().eq(0..(RECORDS / KEYS) as u64)
    }));
}
