//! The way back to an older version: what a newer one left in `data_dir`, in forms that are not known here. What would send
//! lines again under other record ids is refused and left as it is; what costs at most a second delivery under the same ids goes
//! to quarantine, and the rest is delivered.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::commands::{command, json, refused, text};
use super::support::endpoint::{ErrorAnswer, Fault, Rule};
use super::support::logs::{self, Writer};
use super::support::process::{Ended, until};
use super::support::scene::{ARCHIVE, AUDIT, Scene};

/// Content that no version so far has written.
const UNKNOWN: &[u8] = b"\x28\xb5\x2f\xfd of the future\n\x00\x01";

/// Twenty lines of which one destination took all and the other none, and kinetail was killed.
async fn left() -> (Scene, Writer) {
    let scene = Scene::plain()
        .await
        .setting("admin: {listen: '127.0.0.1:0'}")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    let mut writer = logs::containers(&scene.root(), 1).remove(0).lengths(0..50);
    let agent = scene.start().await;
    writer.lines(20);
    let waiting =
        async |of: &str| agent.metric(&format!("kinetail_buffer_records{{destination=\"{of}\"}}")).await;
    until(async || waiting(AUDIT).await == 20.0).await;
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 20).await;
    until(async || waiting(ARCHIVE).await == 0.0).await;
    // That there are two checkpoints, and that the last one knows all of it.
    let length = fs::metadata(writer.path()).expect("the log").len();
    let knows = |file: &Value| {
        let destinations = file["destinations"].as_array().expect("a list");
        destinations.len() == 2 && destinations.iter().all(|of| of["offset"] == length)
    };
    until(async || {
        let listed = json(&scene, "checkpoints ls").await;
        listed["files"].as_array().expect("a list").iter().all(knows)
            && path(&scene, "checkpoint.previous").exists()
    })
    .await;
    agent.kill().await;
    scene.endpoint.heal();
    (scene, writer)
}

fn path(scene: &Scene, name: &str) -> PathBuf {
    scene.data_dir().join(name)
}

/// Every file of `data_dir` with its content; nobody's are the lock and the socket.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => all.extend(content(&entry.path())),
            kind if kind.is_file() && entry.file_name() != "lock" => {
                all.insert(entry.path(), fs::read(entry.path()).expect("a file"));
            }
            _ => {}
        }
    }
    all
}

fn checkpoint_of_version(version: u32) -> Vec<u8> {
    [format!("kinetail checkpoint {version} zstd\n").as_bytes(), UNKNOWN].concat()
}

/// Starts, is refused over this file, and leaves everything as it was.
async fn is_refused(scene: &Scene, file: &Path) -> Ended {
    let before = content(&scene.data_dir());
    let ended = scene.spawn().ended().await;
    let said = ended.lines.join("\n");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let own = env!("CARGO_PKG_VERSION");
    for part in [
        &*file.to_string_lossy(),
        "of version 2",
        &format!("kinetail {own} reads none above 1"),
        "newer kinetail again",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(content(&scene.data_dir()), before, "{said}");
    ended
}

fn event<'a>(lines: &'a [String], name: &str) -> Option<&'a String> {
    lines.iter().find(|line| line.contains(&format!("\"event\":\"{name}\"")))
}

/// What lies in quarantine, but for the reports.
fn quarantined(scene: &Scene) -> Vec<Vec<u8>> {
    let all = content(&path(scene, "quarantine"));
    all.into_iter()
        .filter(|(path, _)| !path.to_string_lossy().ends_with(".report.json"))
        .map(|(_, bytes)| bytes)
        .collect()
}

/// Goes on to the end, with five lines more. All come; those that come twice have the same record id.
async fn goes_on(scene: &Scene, writer: &mut Writer) -> Vec<String> {
    let agent = scene.start().await;
    writer.lines(5);
    scene.arrived(25).await;
    let lines = agent.terminate().await.lines;
    let expected = || writer.markers();
    for stream in [ARCHIVE, AUDIT] {
        scene.endpoint.look(|account| account.stream(stream).assert_at_least_once(expected()));
        let ids = |text: &Value| {
            let mut ids: Vec<Value> = scene
                .records(stream)
                .into_iter()
                .filter(|it| it["log"] == *text)
                .map(|it| it["record_id"].clone())
                .collect();
            ids.dedup();
            ids.len()
        };
        for record in scene.records(stream) {
            assert_eq!(ids(&record["log"]), 1, "{record} has two record ids in {stream}");
        }
    }
    scene.ids_are_unique();
    lines
}

#[tokio::test]
async fn a_newer_checkpoint_is_refused_with_the_ways_out_and_the_newer_version_goes_on_from_it() {
    let (scene, writer) = left().await;
    let (last, previous) = (path(&scene, "checkpoint"), path(&scene, "checkpoint.previous"));
    let good = fs::read(&last).expect("a checkpoint");
    fs::write(&last, checkpoint_of_version(2)).expect("a file");
    is_refused(&scene, &last).await;
    for words in ["checkpoints ls", "dead-letters replay audit"] {
        assert!(refused(&scene, words).await.contains("of version 2"), "{words}");
    }
    // The last one is no use, and the one before it is of the newer version: it is not the damage that is told.
    let old = fs::read(&previous).expect("a checkpoint");
    fs::write(&previous, checkpoint_of_version(2)).expect("a file");
    for useless in [&b""[..], b"garbage"] {
        fs::write(&last, useless).expect("a file");
        is_refused(&scene, &previous).await;
    }
    // The newer version has everything that it left.
    fs::write(&last, good).expect("a file");
    fs::write(&previous, old).expect("a file");
    scene
        .endpoint
        .look(|account| assert_eq!(account.stream(AUDIT).distinct(), 0, "nothing was sent by then"));
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn an_empty_file_in_place_of_a_newer_checkpoint_has_the_one_before_it_count() {
    let (scene, mut writer) = left().await;
    let last = path(&scene, "checkpoint");
    fs::write(&last, checkpoint_of_version(2)).expect("a file");
    is_refused(&scene, &last).await;
    fs::rename(&last, scene.root().join("checkpoint.newer")).expect("it is moved away");
    fs::write(&last, "").expect("a file");
    let lines = goes_on(&scene, &mut writer).await;
    assert!(event(&lines, "checkpoint_damaged").is_some() && event(&lines, "checkpoint_loaded").is_some());
}

#[tokio::test]
async fn without_any_checkpoint_that_can_be_read_everything_is_read_again_and_nothing_passed_over() {
    let (scene, mut writer) = left().await;
    let (last, previous) = (path(&scene, "checkpoint"), path(&scene, "checkpoint.previous"));
    for path in [&last, &previous] {
        fs::write(path, checkpoint_of_version(2)).expect("a file");
    }
    is_refused(&scene, &last).await;
    for path in [&last, &previous] {
        fs::write(path, "").expect("a file");
    }
    // What was delivered is sent again: the buffers still tell whose it is.
    let lines = goes_on(&scene, &mut writer).await;
    assert!(event(&lines, "checkpoint_damaged").is_some() && event(&lines, "checkpoint_loaded").is_none());
}

#[tokio::test]
async fn garbage_is_no_newer_version_and_kinetail_starts() {
    let (scene, mut writer) = left().await;
    fs::write(path(&scene, "checkpoint"), UNKNOWN).expect("a file");
    let lines = goes_on(&scene, &mut writer).await;
    assert!(event(&lines, "checkpoint_damaged").is_some(), "{}", lines.join("\n"));
}

#[tokio::test]
async fn a_newer_node_id_is_refused_since_without_it_records_would_get_other_ids() {
    let (scene, writer) = left().await;
    for name in ["node-id", "node-id.copy"] {
        let path = path(&scene, name);
        let good = fs::read(&path).expect("an id");
        fs::write(&path, [b"kinetail node-id 2\n", UNKNOWN].concat()).expect("a file");
        is_refused(&scene, &path).await;
        fs::write(&path, good).expect("a file");
    }
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_newer_chunk_goes_to_quarantine_with_a_report_and_its_lines_are_read_again() {
    // With a header of today's form, and with nothing known but its first bytes.
    for known in [64, 12] {
        let (scene, mut writer) = left().await;
        let chunk = path(&scene, "buffer/audit/0000000000000000.chunk");
        let mut newer = fs::read(&chunk).expect("a chunk");
        newer[8..12].copy_from_slice(&2_u32.to_le_bytes());
        let checksum = crc32fast::hash(&newer[..60]);
        newer[60..64].copy_from_slice(&checksum.to_le_bytes());
        newer.truncate(known);
        newer.extend_from_slice(UNKNOWN);
        newer.extend_from_slice(&[7; 500]);
        fs::write(&chunk, &newer).expect("a file");
        let lines = goes_on(&scene, &mut writer).await;
        let told = event(&lines, "chunk_quarantined").unwrap_or_else(|| panic!("{}", lines.join("\n")));
        assert!(told.contains("of version 2"), "{told}");
        assert_eq!(quarantined(&scene), [newer]);
        let reports = content(&path(&scene, "quarantine"));
        let report = reports.iter().find(|(path, _)| path.to_string_lossy().ends_with(".report.json"));
        let report: Value = serde_json::from_slice(report.expect("a report").1).expect("JSON");
        assert!(report["reason"].as_str().is_some_and(|reason| reason.contains("of version 2")), "{report}");
        scene.exactly_once(&[&writer]).await;
    }
}

#[tokio::test]
async fn newer_acknowledgements_go_to_quarantine_and_their_records_are_sent_again_under_their_ids() {
    let (scene, mut writer) = left().await;
    let acks = path(&scene, "buffer/archive/0000000000000000.acks");
    assert!(acks.exists(), "some were acknowledged");
    let newer = [b"KTLACKS2", UNKNOWN].concat();
    fs::write(&acks, &newer).expect("a file");
    let lines = goes_on(&scene, &mut writer).await;
    let told = event(&lines, "acks_quarantined").unwrap_or_else(|| panic!("{}", lines.join("\n")));
    assert!(told.contains("of version 2"), "{told}");
    assert_eq!(quarantined(&scene), [newer]);
    scene.endpoint.look(|account| {
        let copies = |stream: &str| account.stream(stream).lines().count();
        assert_eq!((copies(ARCHIVE), copies(AUDIT)), (45, 25), "the twenty of one destination came again");
    });
}

#[tokio::test]
async fn dead_letters_in_a_form_that_is_not_known_stay_where_they_are_and_are_listed() {
    let (scene, mut writer) = left().await;
    let file = path(&scene, "dead_letters/audit/0000000001.ndjson");
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    let newer = b"{\"version\":2,\"why\":\"a reason\",\"what\":[1,2]}\n";
    fs::write(&file, newer).expect("a file");
    let said = command(&scene, "dead-letters replay audit").await;
    assert!(said.status.success() && text(&said.stdout).contains("1 stay"), "{}", text(&said.stdout));
    goes_on(&scene, &mut writer).await;
    scene.exactly_once(&[&writer]).await;
    assert_eq!(fs::read(&file).expect("it is there"), newer);
    let listed = json(&scene, "dead-letters ls").await;
    let letters = &listed["dead_letters"][0];
    assert_eq!((&letters["destination"], &letters["letters"]), (&"audit".into(), &1.into()), "{listed}");
}
