//! Which shard a record comes to, by its partition key and its explicit hash key, through the real requests.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use support::endpoint::{Endpoint, Stream, StreamAccount};
use support::simulated::Simulation;

const SHARDS: usize = 4;

/// What a stream of four shards took of these records, and how many of them lacked what their key is made of.
async fn delivered(settings: &str, lines: &[String]) -> (StreamAccount, u64) {
    let stream = Stream::kinesis("out").shards(SHARDS);
    let destination = format!("type: kinesis, stream: out, {settings}");
    let mut simulation = Simulation::start(Endpoint::plain().stream(stream), &destination).await;
    for lines in lines.chunks(100) {
        simulation.offer(lines.iter().map(String::as_bytes));
        simulation.pass(Duration::from_millis(20), |_| ()).await;
    }
    simulation.dispatcher.drain();
    simulation.pass(Duration::from_secs(5), |_| ()).await;
    assert_eq!(simulation.dispatcher.held_records(), 0);
    let account = simulation.endpoint.account().stream("out").clone();
    assert_eq!((account.lines, account.call_errors.len()), (lines.len() as u64, 0));
    (account, simulation.dispatcher.take_key_fallbacks())
}

/// The records of each shard.
fn by_shard(account: &StreamAccount) -> Vec<Vec<serde_json::Value>> {
    let lines = |shard| account.shard(shard).flat_map(|record| record.text.split(|byte| *byte == b'\n'));
    let json = |line: &[u8]| serde_json::from_slice(line).expect("a record");
    (0..SHARDS).map(|shard| lines(shard).filter(|line| !line.is_empty()).map(json).collect()).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{{\"number\":{number},\"file\":\"/a\"}}")).collect()
}

fn keys(account: &StreamAccount) -> BTreeSet<&str> {
    account.records().iter().filter_map(|record| record.partition_key.as_deref()).collect()
}

#[tokio::test]
async fn random_keys_and_those_of_the_content_come_to_all_shards_alike_and_a_fixed_one_to_a_single_shard() {
    for key in ["random", "content_hash"] {
        let (account, _) =
            delivered(&format!("aggregation: none, partition_key: {key}"), &numbered(2_000)).await;
        assert_eq!(keys(&account).len(), 2_000, "{key}");
        for records in by_shard(&account) {
            assert!((400..600).contains(&records.len()), "{key}: {}", records.len());
        }
    }
    let (account, _) = delivered("aggregation: none, partition_key: one", &numbered(100)).await;
    assert_eq!(keys(&account), ["one"].into());
    assert_eq!(by_shard(&account).iter().filter(|records| !records.is_empty()).count(), 1);
}

#[tokio::test]
async fn a_copy_comes_to_the_shard_of_its_original_by_its_content() {
    let copied: Vec<String> = numbered(200).into_iter().chain(numbered(200)).collect();
    let (account, _) = delivered("aggregation: none, partition_key: content_hash", &copied).await;
    for records in by_shard(&account) {
        let mut copies = BTreeMap::new();
        for record in records {
            *copies.entry(record["number"].as_u64()).or_insert(0) += 1;
        }
        assert!(copies.values().all(|copies| *copies == 2), "{copies:?}");
    }
}

#[tokio::test]
async fn records_with_the_same_fields_come_to_one_shard_and_those_without_them_to_that_of_their_file() {
    let long = "x".repeat(300);
    let lines: Vec<String> = (0..600)
        .map(|number| match number % 3 {
            0 => format!("{{\"pod\":\"p{}\",\"file\":\"/f\"}}", number % 7),
            1 => format!("{{\"pod\":\"{long}{}\",\"file\":\"/f\"}}", number % 7),
            _ => format!("{{\"file\":\"/var/log/{}\"}}", number % 7),
        })
        .collect();
    for aggregation in ["none", "kpl", "newline"] {
        let settings = format!("aggregation: {aggregation}, partition_key: 'shop/${{pod}}'");
        let (account, fallbacks) = delivered(&settings, &lines).await;
        assert_eq!(fallbacks, 200, "{aggregation}");
        let mut shards: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for (shard, records) in by_shard(&account).into_iter().enumerate() {
            for record in records {
                let key = if record["pod"].is_null() { &record["file"] } else { &record["pod"] };
                shards.entry(key.to_string()).or_default().insert(shard);
            }
        }
        assert_eq!(shards.len(), 21, "{aggregation}");
        assert!(shards.values().all(|shards| shards.len() == 1), "{aggregation}: {shards:?}");
        let keys = keys(&account);
        assert!(keys.contains("shop/p3") && keys.contains("/var/log/2"), "{aggregation}: {keys:?}");
        // Those that would be too long are hashed, each to a key of its own.
        assert_eq!(keys.len(), 21, "{aggregation}: {keys:?}");
        assert!(keys.iter().all(|key| key.len() <= 256));
        assert_eq!(keys.iter().filter(|key| key.len() == 32).count(), 7, "{aggregation}: {keys:?}");
    }
}

#[tokio::test]
async fn an_explicit_hash_key_chooses_the_shard_and_one_that_is_no_number_is_counted() {
    let begins = |shard: u128| (u128::MAX / SHARDS as u128 + 1) * shard;
    let lines: Vec<String> = (0..400)
        .map(|number| match number % 5 {
            4 => "{\"hint\":\"no number\"}".to_owned(),
            shard => format!("{{\"hint\":\"{}\",\"shard\":{shard}}}", begins(shard)),
        })
        .collect();
    for aggregation in ["none", "kpl"] {
        let settings =
            format!("aggregation: {aggregation}, partition_key: same, explicit_hash_key: '${{hint}}'");
        let (account, fallbacks) = delivered(&settings, &lines).await;
        assert_eq!(fallbacks, 80, "{aggregation}");
        for (shard, records) in by_shard(&account).iter().enumerate() {
            let chosen = records.iter().filter_map(|record| record["shard"].as_u64());
            let chosen: Vec<u64> = chosen.collect();
            assert_eq!(chosen.len(), 80, "{aggregation}");
            assert!(chosen.iter().all(|chosen| *chosen == shard as u64), "{aggregation}: {chosen:?}");
        }
    }
}
