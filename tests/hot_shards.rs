//! A shard that more goes to than it takes, while others are idle: it is counted by itself, and told with the key that
//! fills it.

mod support;

use std::time::Duration;

use support::endpoint::{Endpoint, Rate, Stream};
use support::logs;
use support::scene::{AUDIT, Scene};
use support::simulated::Simulation;

#[tokio::test]
async fn a_key_that_fills_a_shard_is_found_while_other_shards_have_room() {
    let stream = Stream::kinesis("out").shards(4).throttled(Rate { records: 50.0, ..Rate::KINESIS_SHARD });
    let destination = "type: kinesis, stream: out, aggregation: none, partition_key: 'pod-${pod}'";
    let mut simulation = Simulation::start(Endpoint::plain().stream(stream), destination).await;
    // Of 60 records a second in twenty keys, one key has two thirds, and its shard a little more.
    for second in 0..60 {
        let pods =
            (0..60).map(|number| if number % 3 == 0 { 1 + (second * 20 + number / 3) % 19 } else { 0 });
        let lines: Vec<String> = pods.map(|pod| format!("{{\"pod\":{pod}}}")).collect();
        for _ in 0..2 {
            simulation.offer(lines.iter().map(String::as_bytes));
        }
        simulation.pass(Duration::from_secs(1), |_| ()).await;
    }
    let account = simulation.endpoint.account();
    let noisy = account
        .stream("out")
        .records()
        .iter()
        .find(|record| record.partition_key.as_deref() == Some("pod-0"));
    let shard = format!("shardId-{:012}", noisy.and_then(|record| record.shard).expect("it was taken"));
    let [hot] = simulation.hot.as_slice() else { panic!("told once in a minute: {:?}", simulation.hot) };
    let key = hot.key.as_ref().expect("a key");
    assert_eq!((hot.shard.to_string(), key.key.as_str()), (shard.clone(), "pod-0"));
    assert!((0.5..1.0).contains(&key.share) && hot.times_average > 1.5, "{hot:?}");

    for number in 0..4 {
        let name = format!("shardId-{number:012}");
        let labels = format!("{{destination=\"out\",shard=\"{name}\"}}");
        let metric = |family: &str| simulation.metric(&format!("kinetail_shard_{family}_total{labels}"));
        let taken = account.stream("out").shard(number);
        let sizes =
            taken.map(|record| record.data.len() + record.partition_key.as_ref().map_or(0, String::len));
        let sizes: Vec<u64> = sizes.map(|size| size as u64).collect();
        assert_eq!((metric("entries"), metric("bytes")), (sizes.len() as u64, sizes.iter().sum()));
        assert_eq!(metric("throttled_entries") > 0, name == shard, "{name}");
    }
}

#[tokio::test]
async fn the_agent_warns_of_a_hot_shard_and_shows_its_counters() {
    let audit = Stream::kinesis(AUDIT).shards(4).throttled(Rate { records: 20.0, ..Rate::KINESIS_SHARD });
    let stream = Endpoint::plain().stream(audit).start().await;
    let mut scene = Scene::plain()
        .await
        .audit("partition_key: '${kubernetes.pod_name}'")
        .setting("admin: {listen: '127.0.0.1:0'}")
        .setting("drain_timeout: 0s");
    scene.audit_at(Some(stream.url()));
    let mut writers = logs::containers(&scene.root(), 2);
    // More than the shard takes in the ten seconds after which is looked.
    writers[0].lines(600);
    writers[1].lines(5);
    let agent = scene.start().await;
    let told: serde_json::Value = serde_json::from_str(&agent.logged("\"hot_shard\"").await).expect("JSON");
    assert_eq!((told["level"].as_str(), told["destination"].as_str()), (Some("WARN"), Some(AUDIT)), "{told}");
    assert_eq!(told["key"].as_str(), Some(writers[0].name()), "{told}");
    assert!(told["share"].as_f64().is_some_and(|share| share > 0.5), "{told}");
    let shard = told["shard"].as_str().expect("a name");
    stream.look(|account| {
        let noisy = account
            .stream(AUDIT)
            .records()
            .iter()
            .find(|it| it.partition_key.as_deref() == Some(writers[0].name()));
        assert_eq!(
            noisy.and_then(|record| record.shard).map(|shard| format!("shardId-{shard:012}")).as_deref(),
            Some(shard)
        );
    });
    let labels = format!("{{destination=\"{AUDIT}\",shard=\"{shard}\"}}");
    let refused = agent.metric(&format!("kinetail_shard_throttled_entries_total{labels}")).await;
    assert!(refused >= told["refused"].as_f64().expect("a number"), "{refused}: {told}");
    assert!(agent.metric(&format!("kinetail_shard_entries_total{labels}")).await >= 20.0);
    agent.terminate().await;
}
