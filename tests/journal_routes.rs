//! What routes make of the journal's entries: which they get, what becomes of their fields, and what the commands show.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::endpoint::Marker;
use support::journald::{Journald, possible};
use support::process::{Ended, Process, kinetail, until};
use support::scene::{ARCHIVE, AUDIT, Scene, markers};

#[tokio::test]
async fn a_route_gets_the_entries_that_it_asks_for_with_all_their_fields_and_the_commands_show_it() {
    if !possible() {
        return;
    }
    let scene = Scene::plain().await.setting("admin: {listen: '127.0.0.1:0'}").tail("max_line: 64KiB").route(&[
        "format: journald",
        "start_at: beginning",
        "journal: {folders: '{root}/log/journal', units: kubelet, priority: warning}",
        "to: archive\n  - name: kernel",
        "format: journald",
        "start_at: beginning",
        "journal: {folders: '{root}/log/journal', matches: [KIND=a, KIND=b, +, OTHER=1], lowercase: true, \
         strip_underscores: true, message_as_log: true}",
        "to: audit\n  - name: rest",
        "files: /none/none/*.log",
    ]);
    let mut journald = Journald::start(&scene.root()).await;
    let kubelet = ("OBJECT_SYSTEMD_UNIT", &b"kubelet.service"[..]);
    let long = vec![b'y'; 150_000];
    journald.write(&[("MESSAGE", b"unit line 000001"), ("PRIORITY", b"4"), kubelet]);
    journald.write(&[("MESSAGE", b"unit line 000002"), ("PRIORITY", b"5"), kubelet]);
    journald.write(&[("MESSAGE", b"unit line 000003"), ("PRIORITY", b"3"), ("KIND", b"a")]);
    journald.write(&[
        ("MESSAGE", b"unit line 000004\n\xff\0"),
        ("PRIORITY", b"0"),
        kubelet,
        ("N", b"1"),
        ("N", b"2"),
    ]);
    journald.write(&[("LONG", &long), ("MESSAGE", b"unit line 000005"), ("KIND", b"b"), ("OTHER", b"2")]);
    journald.write(&[("MESSAGE", b"unit line 000006"), ("PRIORITY", b"6"), ("OTHER", b"1")]);
    journald.say(Marker::new("unit", 7), b"");
    journald.written().await;
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() >= 2).await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() >= 3).await;

    let mut archive = scene.records(ARCHIVE);
    archive.sort_by_key(|record| record["MESSAGE"].as_str().map(str::to_owned));
    let messages: Vec<&Value> = archive.iter().map(|record| &record["MESSAGE"]).collect();
    assert_eq!(messages, ["unit line 000001", "unit line 000004\n\u{fffd}\0"]);
    let record = &archive[1];
    assert_eq!(
        (&record["PRIORITY"], &record["OBJECT_SYSTEMD_UNIT"]),
        (&json!("0"), &json!("kubelet.service"))
    );
    let mut several: Vec<&str> =
        record["N"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    several.sort_unstable();
    assert_eq!(several, ["1", "2"]);
    let machine = fs::read_dir(Journald::journal(&scene.root())).expect("the journal").flatten().next();
    assert_eq!(record["file"], machine.expect("a folder").path().to_str().expect("text"));
    assert!(record["_PID"].is_string() && record["_BOOT_ID"].is_string() && record["log"].is_null());
    let time = record["time"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    assert!(record.as_object().expect("an object").keys().all(|name| !name.starts_with("__")));

    let mut audit = scene.records(AUDIT);
    audit.sort_by_key(|record| record["log"].as_str().map(str::to_owned));
    let texts: Vec<&Value> = audit.iter().map(|record| &record["log"]).collect();
    assert_eq!(texts, ["unit line 000003", "unit line 000005", "unit line 000006"]);
    assert!(audit[0]["pid"].is_string() && audit[0]["kind"] == "a" && audit[0].get("truncated").is_none());
    let long = audit[1]["long"].as_str().expect("a text");
    assert_eq!((long.len(), &audit[1]["truncated"]), ((64 << 10) / 8 * 7, &json!(true)));

    // What nobody asked for does not count as unread.
    let files = async || agent.status().await["files"].as_array().expect("files").clone();
    until(async || {
        files().await.iter().all(|file| file["state"] == "caught_up" && file["behind_bytes"] == 0)
    })
    .await;
    let files = files().await;
    let of = |route: &str| files.iter().find(|file| file["route"] == route).expect("it is read");
    let path = of("logs")["path"].as_str().expect("a path").to_owned();
    assert!(path.contains("/log/journal/") && path.contains("(sequence "), "{path}");
    assert_ne!(of("kernel")["incarnation"], of("logs")["incarnation"]);
    agent.terminate().await;

    let listed = checkpoints(&scene, &["ls"]).await;
    assert!(listed.lines.iter().any(|line| line.contains(&path) && line.contains("following")), "{listed:?}");
    // Back to the beginning, by hand: everything comes once more under the ids that it had.
    let before: Vec<Value> = archive.iter().map(|record| record["record_id"].clone()).collect();
    let incarnation = of("logs")["incarnation"].as_str().expect("text").to_owned();
    let set = checkpoints(&scene, &["set", &incarnation, "--offset", "1"]).await;
    assert!(set.status.success(), "{set:?}");
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).json().count() >= 4).await;
    let again = scene.records(ARCHIVE);
    assert!(again.iter().all(|record| before.contains(&record["record_id"])));
    agent.terminate().await;
}

async fn checkpoints(scene: &Scene, arguments: &[&str]) -> Ended {
    let mut command = kinetail(&scene.root());
    command.arg("checkpoints").args(arguments).arg("--data-dir").arg(scene.data_dir());
    Process::start(command).ended().await
}

#[tokio::test]
async fn another_configuration_takes_effect_without_a_restart_and_once_reads_all_that_is_there() {
    if !possible() {
        return;
    }
    let scene = Scene::plain().await.route(&[
        "format: journald",
        "start_at: beginning",
        "journal: {folders: '{root}/log/journal', message_as_log: true}",
    ]);
    let mut journald = Journald::start(&scene.root()).await;
    (0..20).for_each(|number| journald.say(Marker::new("unit", number), b""));
    journald.written().await;
    scene.once().await;
    scene.exactly(markers("unit", 0..20)).await;

    let agent = scene.start().await;
    let other = scene.config().replace("message_as_log: true", "message_as_log: true, matches: PRIORITY=3");
    fs::write(scene.root().join("kinetail.yaml"), &other).expect("the configuration");
    agent.process().signal(rustix::process::Signal::HUP);
    agent.logged("\"reloaded\"").await;
    journald.say(Marker::new("unit", 20), b"");
    journald.write(&[("MESSAGE", b"urgent line 000000"), ("PRIORITY", b"3")]);
    let expected = [markers("unit", 0..20), markers("urgent", 0..1)].concat();
    scene.exactly(expected).await;
    agent.terminate().await;
}
