//! What an earlier version left, this one goes on from; what a newer one left, it does not harm (`newer`).
//!
//! `tests/fixtures/data_dir/VERSION` holds what each version left. `first`: a `data_dir` that was killed before the second
//! checkpoint, so that only frames in the buffers tell of its files, which are gone. `later`: one in the middle of its work, with the log files
//! (`later`). Both with what has to be delivered from there on, by record id. `config.yaml` and `keys.json`: a configuration with tests
//! of its own, and every key with its default. A version without its folder fails here: before its release
//!
//! ```text
//! KINETAIL_KEEP_FORMATS=1 cargo test --test formats the_version_at_hand_is_kept
//! ```
//!
//! makes it (as root, with systemd-journald). What was released is not made again.

mod support;

#[path = "formats/configuration.rs"]
mod configuration;
#[path = "formats/keep.rs"]
mod keep;
#[path = "formats/later.rs"]
mod later;
#[path = "formats/newer.rs"]
mod newer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kinetail::disk::HostDisk;
use kinetail::tail::checkpoint;
use serde_json::Value;

use support::logs;
use support::process::{Agent, until};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// What was delivered: texts by record id.
type Records = BTreeMap<String, String>;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data_dir")
}

/// The folder of each version.
fn versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(kept()).expect("what was kept");
    let folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert!(!folders.is_empty(), "nothing was kept");
    folders
}

/// But for sockets.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => copy(&entry.path(), &to),
            kind if kind.is_file() => drop(fs::copy(entry.path(), to).expect("a copy")),
            _ => {}
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
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    scene.records(stream).iter().map(|record| (text(&record["record_id"]), text(&record["log"]))).collect()
}

/// It went on where the other ended, and found nothing to put aside.
fn harmless(log: &[String]) {
    let event = |name: &str| log.iter().any(|line| line.contains(&format!("\"event\":\"{name}\"")));
    assert!(event("checkpoint_loaded"), "{}", log.join("\n"));
    for harm in ["damaged", "quarantine", "unreadable", "foreign"] {
        assert!(!log.iter().any(|line| line.contains(harm)), "{}", log.join("\n"));
    }
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

/// Leaves in `folder` what a kill leaves: ten delivered records and twenty that were not, of files that are gone.
async fn keep_first(folder: &Path) {
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
    keep::write_json(&folder.join("expected.json"), &delivered(&scene, ARCHIVE));
}

async fn waits(agent: &Agent, records: f64) {
    for destination in [ARCHIVE, AUDIT] {
        let name = format!("kinetail_buffer_records{{destination=\"{destination}\"}}");
        until(async || agent.metric(&name).await == records).await;
    }
}

#[tokio::test]
async fn the_version_at_hand_is_kept() {
    let own = kept().join(env!("CARGO_PKG_VERSION"));
    if std::env::var_os("KINETAIL_KEEP_FORMATS").is_some() {
        if !own.join("first").exists() {
            keep_first(&own.join("first")).await;
        }
        if !own.join("later").exists() {
            keep::later(&own.join("later")).await;
        }
        configuration::keep(&own);
    }
    for name in [
        "first/expected.json",
        "later/expected.json",
        "later/checkpoint.everything",
        "config.yaml",
        "keys.json",
    ] {
        let path = own.join(name);
        assert!(
            path.exists(),
            "{} is missing; the head of tests/formats.rs says how it is made",
            path.display()
        );
    }
}

#[tokio::test]
async fn what_an_earlier_version_left_is_delivered_once_under_its_ids() {
    for version in versions() {
        let folder = version.join("first");
        let expected = fs::read_to_string(folder.join("expected.json")).expect("what it has to deliver");
        let expected: Records = serde_json::from_str(&expected).expect("ids and texts");
        let (scene, log) = go_on_from(&folder, expected.len()).await;
        for stream in [ARCHIVE, AUDIT] {
            assert_eq!(delivered(&scene, stream), expected, "{stream} of {}", folder.display());
            assert_eq!(scene.records(stream).len(), expected.len(), "{stream} of {}", folder.display());
        }
        harmless(&log);
    }
}

#[tokio::test]
async fn where_an_earlier_version_stood_in_its_files_this_one_goes_on() {
    if later::possible() {
        for version in versions() {
            later::is_gone_on_from(&version.join("later")).await;
        }
    }
}

#[test]
fn nothing_that_an_earlier_checkpoint_says_is_passed_over() {
    for version in versions() {
        for name in [
            "first/data/checkpoint",
            "later/data/checkpoint",
            "later/data/checkpoint.previous",
            "later/checkpoint.everything",
        ] {
            let path = version.join(name);
            let bytes = fs::read(&path).expect("a checkpoint");
            let read =
                checkpoint::decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let folder = tempfile::tempdir().expect("a folder");
            checkpoint::save(&HostDisk, folder.path(), &read).expect("it is saved");
            let again = fs::read(checkpoint::path_in(folder.path())).expect("a checkpoint");
            let ((_, kept), (_, now)) = (later::parts_of(&bytes), later::parts_of(&again));
            if let Some(missing) = missing(&kept, &now) {
                panic!("{}: {missing} is read as if it were not there", path.display());
            }
        }
    }
}

/// Something that one value says and the other does not: the version of the form aside, which may be another.
fn missing(kept: &Value, now: &Value) -> Option<String> {
    match (kept, now) {
        (Value::Object(kept), Value::Object(now)) => {
            kept.iter().filter(|(name, _)| *name != "version").find_map(|(name, value)| match now.get(name) {
                None => Some(name.clone()),
                Some(now) => missing(value, now).map(|inside| format!("{name}.{inside}")),
            })
        }
        (Value::Array(kept), Value::Array(now)) if kept.len() == now.len() => {
            kept.iter().zip(now).find_map(|(kept, now)| missing(kept, now))
        }
        (kept, now) => (kept != now).then(|| kept.to_string()),
    }
}
