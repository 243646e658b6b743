//! The journal of a real systemd-journald, read by the real binary through the real journalctl.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use fastrand::Rng;
use serde_json::Value;
use support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use support::journald::{Journald, possible};
use support::scene::{ARCHIVE, AUDIT, Scene, markers};

/// The journal's text under `log`, as of any other source, so that what is known of lines holds for entries.
const ROUTE: &str = "journal: {folders: '{root}/log/journal', message_as_log: true}";

async fn scene(start_at: &str) -> Scene {
    let start_at = format!("start_at: {start_at}");
    Scene::plain().await.route(&["format: journald", &start_at, ROUTE])
}

/// Entries of all kinds: short, long, with newlines and bytes that are no text.
fn say(journald: &mut Journald, rng: &mut Rng, count: usize) {
    for _ in 0..count {
        let number = journald.sent().len() as u64;
        // A digit right behind the marker would be one of its own.
        let more = match rng.u8(..10) {
            0 => b" "
                .iter()
                .copied()
                .chain((0..rng.usize(..20_000)).map(|_| rng.alphanumeric() as u8))
                .collect(),
            1 => b" and\nmore\n\nlines\n".to_vec(),
            2 => b" ".iter().copied().chain((0..rng.usize(..300)).map(|_| rng.u8(..))).collect(),
            _ => format!(" {}", "x".repeat(rng.usize(..100))).into_bytes(),
        };
        journald.say(Marker::new("unit", number), &more);
    }
}

fn seeded() -> Rng {
    let seed = std::env::var("KINETAIL_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    eprintln!("KINETAIL_SEED={seed}");
    Rng::with_seed(seed)
}

fn none_is_twice_in_a_buffer(scene: &Scene) {
    for destination in [ARCHIVE, AUDIT] {
        let mut lines = scene.in_buffer(destination);
        let all = lines.len();
        lines.sort();
        lines.dedup();
        assert_eq!(lines.len(), all, "an entry is twice in the buffer of {destination}");
    }
}

/// Each entry came, whenever it came under the same id, and no other has that.
fn all_came(scene: &Scene, expected: &[Marker]) {
    let mut ids: BTreeMap<Marker, String> = BTreeMap::new();
    for stream in [ARCHIVE, AUDIT] {
        scene.endpoint.look(|account| account.stream(stream).assert_at_least_once(expected.iter().cloned()));
        for record in scene.records(stream) {
            let text = record["log"].as_str().expect("a text");
            // journald has something to say, too.
            let Some(marker) = Marker::find(text.as_bytes()) else { continue };
            let id = record["record_id"].as_str().expect("an id").to_owned();
            assert_eq!(*ids.entry(marker.clone()).or_insert_with(|| id.clone()), id, "{marker} has two ids");
        }
    }
    scene.ids_are_unique();
}

#[tokio::test]
async fn killed_at_any_moment_while_journald_writes_and_rotates_no_entry_is_lost_or_doubled() {
    if !possible() {
        return;
    }
    let mut rng = seeded();
    let scene = scene("beginning")
        .await
        .destination("max_in_flight: 1")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 100ms}")
        .batch("max_age: 20ms, max_records: 100, target_size: 16KiB")
        .setting("buffer: {chunk_size: 64KiB}");
    let mut journald = Journald::start(&scene.root()).await;
    for _ in 0..25 {
        let count = rng.usize(20..200);
        say(&mut journald, &mut rng, count);
        if rng.bool() {
            journald.rotate().await;
        }
        let agent = scene.start().await;
        let wanted = rng.usize(journald.sent().len() * 8 / 10..=journald.sent().len());
        let stream = [ARCHIVE, AUDIT][rng.usize(..2)];
        let count = rng.usize(..100);
        say(&mut journald, &mut rng, count);
        scene.endpoint.wait_until(|account| account.stream(stream).distinct() >= wanted).await;
        agent.kill().await;
        none_is_twice_in_a_buffer(&scene);
    }
    let agent = scene.start().await;
    scene.arrived(journald.sent().len()).await;
    agent.terminate().await;
    all_came(&scene, journald.sent());
}

#[tokio::test]
async fn a_journald_that_is_killed_again_and_again_goes_on_and_its_entries_come_once() {
    if !possible() {
        return;
    }
    let (scene, mut rng) = (scene("beginning").await, seeded());
    let mut sent = Vec::new();
    let agent = scene.start().await;
    for life in 0..4 {
        let mut journald = Journald::start(&scene.root()).await;
        for number in 0..50 {
            journald.say(Marker::new(format!("life-{life}"), number), b"");
        }
        if rng.bool() {
            journald.rotate().await;
        }
        sent.extend(journald.kill().await);
    }
    scene.exactly(sent.clone()).await;
    agent.terminate().await;
    // A start of another process changes nothing of it.
    let agent = scene.start().await;
    let mut journald = Journald::start(&scene.root()).await;
    journald.say(Marker::new("last", 0), b"");
    sent.push(Marker::new("last", 0));
    scene.exactly(sent).await;
    agent.terminate().await;
}

#[tokio::test]
async fn entries_that_got_the_numbers_of_those_that_a_power_loss_took_come_under_ids_of_their_own() {
    if !possible() {
        return;
    }
    let scene = scene("beginning").await;
    let mut journald = Journald::start(&scene.root()).await;
    let say = |journald: &mut Journald, name: &str, count| {
        (0..count).for_each(|number| journald.say(Marker::new(name, number), b""));
        markers(name, 0..count)
    };
    let synced = say(&mut journald, "synced", 20);
    let left = journald.copy().await;
    let lost = say(&mut journald, "lost", 30);
    journald.written().await;
    let agent = scene.start().await;
    scene.exactly([&synced[..], &lost].concat()).await;
    agent.terminate().await;
    journald.kill().await;

    let mut journald = Journald::after_power_loss(&scene.root(), &left).await;
    let new = say(&mut journald, "new", 10);
    journald.written().await;
    let agent = scene.start().await;
    agent.logged("journal_numbered_anew").await;
    scene.exactly([synced, lost, new].concat()).await;
    agent.terminate().await;
    scene.ids_are_unique();
}

#[tokio::test]
async fn one_destination_that_takes_nothing_falls_behind_and_catches_up_from_the_journal() {
    if !possible() {
        return;
    }
    let mut rng = seeded();
    let scene = scene("beginning")
        .await
        .destination("buffer: {max_size: 256KiB}")
        .setting("buffer: {chunk_size: 64KiB}");
    let mut journald = Journald::start(&scene.root()).await;
    let failure = Fault::Answer(ErrorAnswer::internal_failure());
    let refused = scene.endpoint.inject(Rule::new(failure).stream(AUDIT));
    let agent = scene.start().await;
    for _ in 0..4 {
        say(&mut journald, &mut rng, 250);
        journald.rotate().await;
        let all = journald.sent().len();
        scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() >= all).await;
    }
    assert_eq!(scene.endpoint.look(|account| account.stream(AUDIT).distinct()), 0);
    agent.kill().await;
    none_is_twice_in_a_buffer(&scene);
    let agent = scene.start().await;
    scene.endpoint.withdraw(refused);
    scene.arrived(journald.sent().len()).await;
    agent.terminate().await;
    all_came(&scene, journald.sent());
}

#[tokio::test]
async fn entries_that_were_vacuumed_while_it_was_stopped_are_counted_and_told() {
    if !possible() {
        return;
    }
    let scene = scene("end").await.setting("admin: {listen: '127.0.0.1:0'}");
    let mut journald = Journald::start(&scene.root()).await;
    journald.say(Marker::new("before", 0), b"");
    journald.written().await;
    let agent = scene.start().await;
    for number in 0..10 {
        journald.say(Marker::new("read", number), b"");
    }
    scene.exactly(markers("read", 0..10)).await;
    agent.terminate().await;
    for number in 0..30 {
        journald.say(Marker::new("gone", number), b"");
    }
    journald.written().await;
    journald.rotate().await;
    for number in 0..5 {
        journald.say(Marker::new("kept", number), b"");
    }
    journald.written().await;
    for path in journald.archived() {
        fs::remove_file(path).expect("it is there");
    }
    let agent = scene.start().await;
    let told: Value = serde_json::from_str(&agent.logged("journal_entries_gone").await).expect("JSON");
    scene.exactly([markers("read", 0..10), markers("kept", 0..5)].concat()).await;
    let gone = agent.metric("kinetail_journal_entries_gone_total").await;
    // journald writes some entries of its own, such as about the rotation.
    assert!((30.0..40.0).contains(&gone), "{gone}");
    assert_eq!(told["entries"].as_f64(), Some(gone), "{told}");
    agent.terminate().await;
}

/// Stands in for journalctl, and does what the file beside it says.
const JOURNALCTL: &str = r#"#!/bin/sh
here=${0%/*}
case $(/bin/cat "$here/mood") in
broken)
    echo 'it is broken' >&2
    exit 3
    ;;
dying)
    # Within an entry, or at the end of one.
    /usr/bin/journalctl "$@" | /usr/bin/head -c 30000
    kill -9 $$
    ;;
esac
exec /usr/bin/journalctl "$@"
"#;

#[tokio::test]
async fn a_journalctl_that_is_missing_breaks_or_dies_is_told_and_tried_again_and_files_go_on() {
    if !possible() {
        return;
    }
    let mut rng = seeded();
    let scene = Scene::plain().await.route(&[
        "format: journald",
        "start_at: beginning",
        "journal: {folders: '{root}/log/journal', message_as_log: true, command: '{root}/bin/journalctl'}",
        "to: [archive, audit]\n  - name: files",
        "files: '{root}/app/*.log'",
        "start_at: beginning",
    ]);
    let (bin, app) = (scene.root().join("bin"), scene.root().join("app"));
    fs::create_dir(&bin).expect("a folder");
    fs::create_dir(&app).expect("a folder");
    let line = |number: u64| {
        let text = format!("{}\n", Marker::new("file", number));
        fs::write(app.join(format!("{number}.log")), text).expect("a file");
    };
    let arrived = async |expected: Vec<Marker>| scene.exactly(expected).await;
    let mut journald = Journald::start(&scene.root()).await;
    say(&mut journald, &mut rng, 300);
    journald.written().await;

    line(0);
    let agent = scene.start().await;
    let told = agent.logged("journalctl_failed").await;
    assert!(told.contains("bin/journalctl cannot be started: No such file"), "{told}");
    arrived(markers("file", 0..1)).await;

    fs::write(bin.join("mood"), "broken").expect("a file");
    fs::write(bin.join("journalctl"), JOURNALCTL).expect("a file");
    fs::set_permissions(bin.join("journalctl"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let told = agent.logged("it exited with status 3: it is broken").await;
    assert!(told.contains("journalctl_failed"), "{told}");
    line(1);
    arrived(markers("file", 0..2)).await;

    fs::write(bin.join("mood"), "dying").expect("a file");
    agent.logged("it was ended by signal 9").await;
    fs::write(bin.join("mood"), "well").expect("a file");
    agent.logged("journalctl_recovered").await;
    arrived([markers("file", 0..2), journald.sent().to_vec()].concat()).await;
    agent.terminate().await;
    scene.ids_are_unique();
}
