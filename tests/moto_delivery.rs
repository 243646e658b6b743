//! The independent judge: what moto's services hold after the logs of twenty containers went there.

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

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

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
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

#[tokio::test]
async fn every_record_taken_apart_by_awss_own_library_is_a_line_that_was_written() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_data_stream("audit", 4).await;
    moto.create_delivery_stream("archive", "logs", "").await;
    let folder = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(folder.path()).unwrap();
    let mut writers = logs::containers(&root, 3);
    writers.iter_mut().for_each(|writer| writer.lines(700));
    // A line that fits into no aggregate stands alone among them.
    let long = root.join("pods/shop_long_0/app/0.log");
    std::fs::create_dir_all(long.parent().unwrap()).unwrap();
    let text = "x".repeat(200_000);
    std::fs::write(&long, format!("2026-01-02T03:04:05Z stdout F {text}\n")).unwrap();
    let config = format!(
        "data_dir: '{root}/data'
tail: {{allowed_roots: ['{root}']}}
destinations:
  audit: {{type: kinesis, stream: audit, endpoint: '{url}', aggregation: kpl}}
  archive:
    type: firehose
    stream: archive
    endpoint: '{url}'
    packing: newline
    packed_record: {{max_size: 100KiB}}
    compression: gzip
  lines: {{type: directory, path: '{root}/lines'}}
routes:
  - files: '{root}/pods/*/*/*.log'
    format: cri
    start_at: beginning
    to: [audit, archive, lines]
",
        root = root.display(),
        url = moto.url(),
    );
    let ended = Agent::once(&config, &root).ended().await;
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));

    let records = moto.records("audit").await;
    let aggregates = records.iter().filter(|record| record.data.starts_with(b"\xf3\x89\x9a\xc2"));
    assert!(aggregates.clone().all(|record| record.data.len() + record.partition_key.len() <= 50 << 10));
    assert!(aggregates.count() > 10 && records.len() < 100, "{} records", records.len());

    let mut written: Vec<Vec<u8>> = files_below(&root.join("lines"))
        .iter()
        .flat_map(|path| {
            std::fs::read(path)
                .unwrap()
                .trim_ascii_end()
                .split(|byte| *byte == b'\n')
                .map(Vec::from)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(written.len(), 2101);
    let users = moto.user_records("audit").await;
    for user in &users {
        // A consumer drops what does not belong to the shard: the key of a record must be its aggregate's.
        let own = records.iter().find(|record| record.partition_key == user.partition_key);
        assert_eq!(own.map(|record| &record.shard), Some(&user.shard));
    }
    let mut found: Vec<Vec<u8>> = users.into_iter().map(|user| user.data).collect();
    written.sort_unstable();
    found.sort_unstable();
    assert!(found == written, "{} records for {} lines", found.len(), written.len());

    // Members behind each other are one gzip file, which S3 holds as it is.
    let mut archived = Vec::new();
    for object in moto.objects("logs").await {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(&object.data[..]).read_to_end(&mut text).unwrap();
        assert_eq!(text.pop(), Some(b'\n'));
        archived.extend(text.split(|byte| *byte == b'\n').map(Vec::from));
    }
    archived.sort_unstable();
    assert!(archived == written, "{} lines of {}", archived.len(), written.len());
}
