//! A `data_dir` that an earlier version left is one that this version goes on from; one that a newer version left is not
//! harmed (`newer`).
//!
//! `tests/fixtures/data_dir/VERSION` holds what a killed kinetail of that version left: buffers of two destinations with ten
//! delivered records and twenty that were not, acknowledgements, a checkpoint, the node's id; and in `expected.json` the
//! ids and texts of the twenty. `KINETAIL_KEEP_FORMATS=1 cargo test --test formats` keeps those of the version at hand, once
//! for each version that raises a format, before its release.

mod support;

#[path = "formats/newer.rs"]
mod newer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use support::logs;
use support::process::{Agent, until};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// What was delivered: texts by record id.
type Records = BTreeMap<String, String>;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data_dir")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).expect("a copy")),
        }
    }
}

/// The same settings for the version that is kept and the one that reads it.
async fn scene() -> Scene {
    let retry = "retry: {initial_backoff: 10ms, max_backoff: 50ms}";
    Scene::plain()
        .await
        .setting("buffer: {chunk_size: 64KiB}")
        .setting("admin: {listen: '127.0.0.1:0'}")
        .destination(retry)
}

fn delivered(scene: &Scene, stream: &str) -> Records {
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    scene.records(stream).iter().map(|record| (text(&record["record_id"]), text(&record["log"]))).collect()
}

/// Starts on a copy of what was kept and waits for what it has to deliver.
async fn go_on_from(folder: &Path, count: usize) -> (Scene, Vec<String>) {
    let scene = scene().await;
    copy(&folder.join("data"), &scene.data_dir());
    let agent = scene.spawn();
    scene.arrived(count).await;
    let log = agent.terminate().await.lines;
    (scene, log)
}

/// Leaves in `folder` what a kill leaves.
async fn keep(folder: &Path) {
    let scene = scene().await;
    let mut writers = logs::containers(&scene.root(), 2);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(5));
    scene.arrived(10).await;
    waits(&agent, 0.0).await;
    scene.endpoint.outage(true);
    writers.iter_mut().for_each(|writer| writer.lines(10));
    waits(&agent, 20.0).await;
    agent.kill().await;
    copy(&scene.data_dir(), &folder.join("data"));
    let (scene, _) = go_on_from(folder, 20).await;
    let expected = serde_json::to_string_pretty(&delivered(&scene, ARCHIVE)).expect("JSON");
    fs::write(folder.join("expected.json"), expected + "\n").expect("a file");
}

async fn waits(agent: &Agent, records: f64) {
    for destination in [ARCHIVE, AUDIT] {
        let name = format!("kinetail_buffer_records{{destination=\"{destination}\"}}");
        until(async || agent.metric(&name).await == records).await;
    }
}

#[tokio::test]
async fn what_an_earlier_version_left_is_delivered_once_under_its_ids() {
    let own = kept().join(env!("CARGO_PKG_VERSION"));
    if std::env::var_os("KINETAIL_KEEP_FORMATS").is_some() && !own.exists() {
        keep(&own).await;
    }
    let mut versions = 0;
    for version in fs::read_dir(kept()).expect("what was kept") {
        let folder = version.expect("an entry").path();
        let expected = fs::read_to_string(folder.join("expected.json")).expect("what it has to deliver");
        let expected: Records = serde_json::from_str(&expected).expect("ids and texts");
        let (scene, log) = go_on_from(&folder, expected.len()).await;
        for stream in [ARCHIVE, AUDIT] {
            assert_eq!(delivered(&scene, stream), expected, "{stream} of {}", folder.display());
            assert_eq!(scene.records(stream).len(), expected.len(), "{stream} of {}", folder.display());
        }
        let event = |name: &str| log.iter().any(|line| line.contains(&format!("\"event\":\"{name}\"")));
        assert!(event("checkpoint_loaded"), "{}", log.join("\n"));
        for harm in ["damaged", "quarantine", "unreadable", "foreign"] {
            assert!(!log.iter().any(|line| line.contains(harm)), "{}", log.join("\n"));
        }
        versions += 1;
    }
    assert!(versions > 0, "nothing was kept");
}
