//! The commands that look at a kinetail and change what it does: over its socket while it runs, on disk when it does not.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use serde_json::Value;
use support::commands::{command, going_on, json, on_a_terminal, refused, text};
use support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use support::logs;
use support::process::Agent;
use support::scene::{ARCHIVE, AUDIT, Scene};

#[tokio::test]
async fn reload_tells_what_came_of_it() {
    let scene = Scene::plain().await;
    let path = scene.root().join("kinetail.yaml");
    fs::write(&path, scene.config()).expect("a configuration");
    assert!(refused(&scene, "reload").await.contains("no kinetail runs"));
    let agent = scene.start().await;
    fs::write(&path, scene.config().replace("name: logs", "name: renamed")).expect("a configuration");
    let reloaded = json(&scene, "reload").await;
    assert_eq!(reloaded["applied"], true, "{reloaded}");
    // The command reads the file too, for where the data is; it says what is wrong itself.
    let bad = scene.config().replace("to: [archive, audit]", "to: [nobody]");
    fs::write(&path, bad).expect("a configuration");
    assert!(refused(&scene, "reload").await.contains("nobody"));
    let said = refused(&scene, &format!("reload --data-dir {}", scene.data_dir().display())).await;
    assert!(said.contains("refused") && said.contains("nobody"), "{said}");
    agent.logged("reload_refused").await;
    agent.terminate().await;
}

#[tokio::test]
async fn status_and_files_tell_how_a_running_kinetail_does() {
    let scene = Scene::plain().await;
    fs::write(scene.root().join("kinetail.yaml"), scene.config()).expect("a configuration");
    assert!(refused(&scene, "status").await.contains("no kinetail runs"));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    let status = json(&scene, "status").await;
    assert_eq!((&status["ready"], &status["reading"]["lines"]), (&true.into(), &10.into()), "{status}");
    let table = text(&command(&scene, "status").await.stdout);
    assert!(table.contains(": ready") && table.contains(ARCHIVE) && table.contains("logs"), "{table}");
    let path = writer.path().display().to_string();
    let length = fs::metadata(writer.path()).expect("the log").len();
    let listed = json(&scene, "files").await;
    let file = &listed["files"][0];
    assert_eq!((&file["path"], &file["destinations"][0]["offset"]), (&path.clone().into(), &length.into()));
    assert!(text(&command(&scene, "files").await.stdout).contains(&path));
    agent.terminate().await;
}

#[tokio::test]
async fn a_watched_status_is_shown_anew_until_it_is_ended_or_kinetail_ends() {
    const CLEAR: &str = "\u{1b}[2J";
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    let (table, lines) = (going_on(&scene, "status --watch"), going_on(&scene, "status --watch --json"));
    let read = |line: &str| serde_json::from_str::<Value>(line).ok()?["reading"]["lines"].as_u64();
    let (seen, first) = lines.line_after(0, |line| read(line).is_some()).await;
    assert!(!first.contains(CLEAR), "what a script reads is JSON and nothing else: {first}");
    assert_eq!(read(&first), Some(0));
    let (screen, _) = table.line_after(0, |line| line.starts_with(CLEAR) && line.contains("kinetail")).await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    lines.line_after(seen, |line| read(line) == Some(10)).await;
    // A screen is cleared before the next look, and shows what has changed.
    let (screen, _) = table.line_after(screen, |line| line.starts_with(CLEAR)).await;
    table.line_after(screen, |line| line.contains(ARCHIVE)).await;
    table.signal(Signal::TERM);
    assert_eq!(table.ended().await.status.signal(), Some(Signal::TERM.as_raw()));
    agent.terminate().await;
    let ended = lines.ended().await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.lines.last().is_some_and(|line| line.contains("no kinetail runs")), "{:?}", ended.lines);
}

#[tokio::test]
async fn a_run_that_ends_with_its_files_and_an_export_say_how_far_they_are() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(10);
    let said = scene.once().await;
    let progress = said.iter().find(|line| line.contains("\"event\":\"progress\"")).expect("how far it is");
    let progress: Value = serde_json::from_str(progress).expect("its log is JSON");
    let length = fs::metadata(writer.path()).expect("the log").len();
    assert!(progress["of"].as_u64().is_some_and(|of| of <= length), "{progress}");
    let (scene, _) = stopped().await;
    let exported = command(&scene, "buffer export audit").await;
    assert!(text(&exported.stderr).contains("bytes (100 %)"), "{}", text(&exported.stderr));
}

#[tokio::test]
async fn on_a_terminal_long_work_shows_a_bar_below_what_else_is_said() {
    let (scene, writer) = stopped().await;
    let full = format!("[{}]", "#".repeat(20));
    let (status, seen) = on_a_terminal(&scene, "buffer export audit --to exported", "").await;
    assert!(status.success() && seen.contains(&format!("export {full}")), "{seen}");
    assert!(seen.contains("(100 %)") && seen.ends_with("10 records of 1 chunks\r\n"), "{seen}");
    let (status, seen) = on_a_terminal(&scene, "run --once", "").await;
    assert!(status.success(), "{seen}");
    for bar in ["recovery of the buffer", "read"] {
        assert!(seen.contains(&format!("{bar} {full}")), "no {bar}: {seen}");
    }
    assert!(seen.contains("stopped") && !seen.contains("event=\"progress\""), "{seen}");
    scene.exactly_once(&[&writer]).await;
}

/// What `buffer ls` says of this destination.
fn of_destination<'a>(listed: &'a Value, destination: &str) -> &'a Value {
    let mut buffers = listed["buffers"].as_array().expect("a list").iter();
    buffers.find(|of| of["destination"] == destination).expect("the destination")
}

/// Waits until no answer is missing. Stopped before it read one, kinetail would send those records again.
async fn all_taken(scene: &Scene, destinations: &[&str]) {
    let waits = |listed: &Value| destinations.iter().any(|to| of_destination(listed, to)["waiting"] != 0);
    while waits(&json(scene, "buffer ls").await) {}
}

/// Ten lines of which the first destination took all and the second none, and kinetail has stopped.
async fn stopped() -> (Scene, logs::Writer) {
    let scene = Scene::plain().await.setting("drain_timeout: 0s").destination("retry: {max_backoff: 100ms}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 10).await;
    all_taken(&scene, &[ARCHIVE]).await;
    agent.terminate().await;
    scene.endpoint.heal();
    (scene, writer)
}

#[tokio::test]
async fn what_waits_in_a_buffer_is_listed_shown_verified_and_exported() {
    let (scene, writer) = stopped().await;
    let listed = json(&scene, "buffer ls").await;
    let audit = of_destination(&listed, AUDIT);
    assert_eq!((&audit["waiting"], &audit["damaged"]), (&10.into(), &0.into()), "{listed}");
    let table = text(&command(&scene, "buffer ls").await.stdout);
    assert!(table.starts_with("DESTINATION") && table.contains(AUDIT), "{table}");
    let chunks = json(&scene, "buffer ls audit").await;
    let number = chunks["chunks"][0]["chunk"].as_u64().expect("a number");
    let shown = json(&scene, &format!("buffer show audit {number}")).await;
    let frames = shown["frames"].as_array().expect("a list");
    assert_eq!(frames.iter().map(|frame| frame["waiting"].as_u64().expect("a number")).sum::<u64>(), 10);
    assert_eq!(frames[0]["file"], writer.path().display().to_string());
    assert!(refused(&scene, "buffer show audit 99").await.contains("no chunk 99"));
    assert!(text(&command(&scene, "buffer verify").await.stdout).contains("none is damaged"));

    let exported = command(&scene, "buffer export audit").await;
    let found: BTreeSet<Marker> =
        exported.stdout.split(|byte| *byte == b'\n').filter_map(Marker::find).collect();
    assert_eq!(found, writer.markers().collect());
    let to = scene.root().join("exported.ndjson");
    assert!(command(&scene, &format!("buffer export audit --to {}", to.display())).await.status.success());
    assert_eq!(fs::read(&to).expect("the file"), exported.stdout);
    assert!(refused(&scene, &format!("buffer export audit --to {}", to.display())).await.contains("exists"));

    let path = chunks["chunks"][0]["path"].as_str().expect("a path");
    let mut bytes = fs::read(path).expect("the chunk");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("the chunk");
    let damaged = command(&scene, "buffer verify --json").await;
    assert_eq!(damaged.status.code(), Some(1));
    let damaged: Value = serde_json::from_slice(&damaged.stdout).expect("JSON");
    assert_eq!(damaged["damaged"][0]["chunk"], number, "{damaged}");
}

#[tokio::test]
async fn a_purge_asks_and_gives_up_what_waits_and_nothing_else() {
    let (scene, mut writer) = stopped().await;
    assert!(refused(&scene, "buffer purge audit").await.contains("--yes"));
    assert!(refused(&scene, "buffer purge nobody --yes").await.contains("no buffer"));
    let (status, seen) = on_a_terminal(&scene, "buffer purge audit", "n\n").await;
    assert!(status.code() == Some(1) && seen.contains("wait for audit? [y/N]"), "{status}: {seen}");
    let (status, seen) = on_a_terminal(&scene, "buffer purge audit", "y\n").await;
    assert!(status.success() && seen.contains("10 records were given up"), "{status}: {seen}");
    assert_eq!(json(&scene, "buffer purge audit --yes").await["given_up"], 0);
    let agent = scene.start().await;
    writer.lines(5);
    let later: Vec<Marker> = writer.markers().skip(10).collect();
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() >= 5).await;
    agent.terminate().await;
    scene.endpoint.look(|account| {
        account.stream(AUDIT).assert_exactly_once(later);
        account.stream(ARCHIVE).assert_exactly_once(writer.markers());
    });
}

#[tokio::test]
async fn positions_are_listed_set_and_forgotten() {
    let (scene, writer) = stopped().await;
    let listed = json(&scene, "checkpoints ls").await;
    let file = &listed["files"][0];
    assert_eq!((&file["status"], &file["route"]), (&"following".into(), &"logs".into()), "{listed}");
    let path = writer.path().display().to_string();
    assert!(refused(&scene, &format!("checkpoints set {path} --offset 3")).await.contains("no line"));
    assert!(refused(&scene, "checkpoints set /nothing --offset 0").await.contains("no file is known"));
    json(&scene, &format!("checkpoints set {path} --offset 0 --destination {ARCHIVE}")).await;
    let agent = scene.start().await;
    let twice = |account: &support::endpoint::Account| {
        writer.markers().all(|marker| account.stream(ARCHIVE).copies(&marker) == 2)
    };
    scene.endpoint.wait_until(twice).await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 10).await;
    all_taken(&scene, &[ARCHIVE, AUDIT]).await;
    agent.terminate().await;
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(writer.markers()));
    let ids = |scene: &Scene| -> BTreeSet<String> {
        let records = scene.records(ARCHIVE);
        records.iter().map(|record| record["record_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&scene).len(), 10, "lines that are read again have the same ids");

    let incarnation = file["incarnation"].as_str().expect("an incarnation");
    json(&scene, &format!("checkpoints forget {incarnation}")).await;
    assert_eq!(json(&scene, "checkpoints ls").await["files"].as_array().map(Vec::len), Some(0));
    let again = scene.start().await;
    scene
        .endpoint
        .wait_until(|account| writer.markers().all(|it| account.stream(AUDIT).copies(&it) == 2))
        .await;
    again.terminate().await;
    assert!(ids(&scene).len() > 10, "a file that is met anew has other ids");
}

#[tokio::test]
async fn dead_letters_are_counted_shown_and_dropped() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let name = writer.name().to_owned();
    let text_of = |line: u64| Marker::new(name.clone(), line).to_string().into_bytes();
    let with = ErrorAnswer::invalid_argument("never");
    scene.endpoint.inject(Rule::new(Fault::Poison { text: text_of(3), with }).stream(AUDIT));
    let agent: Agent = scene.start().await;
    writer.lines(10);
    agent.logged("\"dead_letter\"").await;
    let listed = json(&scene, "dead-letters ls").await;
    let of = &listed["dead_letters"][0];
    assert_eq!((&of["destination"], &of["letters"]), (&AUDIT.into(), &1.into()), "{listed}");
    let reason = of["reason"].as_str().expect("a reason");
    let shown = json(&scene, &format!("dead-letters show audit --reason {reason}")).await;
    assert!(shown["record"].as_str().expect("a record").contains(&text(&text_of(3))));
    assert!(command(&scene, "dead-letters show audit --reason other").await.stdout.is_empty());
    assert!(text(&command(&scene, "dead-letters show audit").await.stdout).contains(reason));
    assert!(refused(&scene, "dead-letters drop audit").await.contains("--yes"));
    json(&scene, "dead-letters drop audit --yes").await;
    assert_eq!(json(&scene, "dead-letters ls").await["dead_letters"].as_array().map(Vec::len), Some(0));
    agent.terminate().await;
}
