//! The independent judge: what moto's services hold after the logs of twenty containers went there.

mod support;

use std::collections::BTreeMap;

use support::endpoint::Marker;
use support::logs;
use support::moto::Moto;
use support::process::Agent;

/// How often each line is in newline-delimited or single JSON records.
fn copies(texts: impl Iterator<Item = Vec<u8>>) -> BTreeMap<Marker, usize> {
    let mut copies = BTreeMap::new();
    for text in texts {
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: serde_json::Value =
                serde_json::from_slice(line).expect("every line is a JSON object");
            let marker = Marker::find(record["log"].as_str().expect("a text").as_bytes()).expect("a marker");
            *copies.entry(marker).or_default() += 1;
        }
    }
    copies
}

#[tokio::test]
async fn s3_objects_and_a_data_stream_hold_every_line_of_twenty_rotating_containers_once() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_delivery_stream("archive", "logs", "app/").await;
    moto.create_data_stream("audit", 4).await;
    let folder = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(folder.path()).unwrap();
    let mut writers: Vec<_> =
        logs::containers(&root, 20).into_iter().map(|writer| writer.max_files(100)).collect();
    let config = format!(
        "data_dir: '{root}/data'
tail: {{allowed_roots: ['{root}'], rotate_wait: 100ms}}
drain_timeout: 20s
destinations:
  archive: {{type: firehose, stream: archive, endpoint: '{url}', packing: newline}}
  audit: {{type: kinesis, stream: audit, endpoint: '{url}', aggregation: none}}
routes:
  - files: '{root}/pods/*/*/*.log'
    format: cri
    start_at: beginning
    to: [archive, audit]
",
        root = root.display(),
        url = moto.url(),
    );
    let agent = Agent::start(&config, &root);
    agent.logged("\"ready\"").await;
    for round in 0..6 {
        for (index, writer) in writers.iter_mut().enumerate() {
            writer.lines(40);
            if (index + round) % 3 == 0 {
                writer.rotate();
            }
        }
    }
    agent.terminate().await;
    // What was written after the last look is read and delivered by this one.
    let last = Agent::once(&config, &root).ended().await;
    assert!(last.status.success(), "{}", last.lines.join("\n"));

    let expected: BTreeMap<Marker, usize> =
        writers.iter().flat_map(|writer| writer.markers()).map(|marker| (marker, 1)).collect();
    let objects = moto.objects("logs").await;
    assert!(objects.iter().all(|object| object.key.starts_with("app/") && object.data.ends_with(b"\n")));
    assert_eq!(copies(objects.into_iter().map(|object| object.data)), expected);
    let records = moto.records("audit").await;
    assert_eq!(records.len(), expected.len());
    assert_eq!(copies(records.into_iter().map(|record| record.data)), expected);
}
