//! What commands change in a running agent: purges, positions, replays of dead letters.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use support::commands::{command, going_on, json as answer, refused, text};
use support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use support::logs;
use support::scene::{ARCHIVE, AUDIT, Scene};

/// A destination that fails for as long as a test wants it to.
async fn failing() -> Scene {
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 100ms}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    scene
}

#[tokio::test]
async fn of_a_purge_under_load_each_record_was_given_up_and_counted_or_is_delivered() {
    let scene =
        failing().await.setting("admin: {listen: '127.0.0.1:0'}").setting("buffer: {chunk_size: 64KiB}");
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(2000);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 2000).await;
    let purging = tokio::spawn({
        let purge = going_on(&scene, "buffer purge audit --yes --json");
        async move { purge.ended().await }
    });
    // Read while that goes on.
    for _ in 0..20 {
        writer.lines(50);
    }
    let ended = purging.await.expect("it ends");
    assert!(ended.status.success(), "{:?}", ended.lines);
    let answer: Value = serde_json::from_str(&ended.lines[0]).expect("JSON");
    let given_up = answer["given_up"].as_u64().expect("a number");
    assert!(given_up >= 2000, "{answer}");
    let counted = "kinetail_buffer_dropped_records_total{destination=\"audit\",reason=\"purge\"}";
    assert_eq!(agent.metric(counted).await, given_up as f64);
    scene.endpoint.heal();
    let rest = 3000 - given_up as usize;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() >= rest).await;
    agent.terminate().await;
    // What was given up is what was there first.
    let later: Vec<Marker> = writer.markers().skip(given_up as usize).collect();
    scene.endpoint.look(|account| {
        account.stream(AUDIT).assert_exactly_once(later);
        account.stream(ARCHIVE).assert_exactly_once(writer.markers());
    });
}

#[tokio::test]
async fn what_was_purged_stays_away_though_the_process_is_killed_at_once() {
    let scene = failing().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 10).await;
    assert!(refused(&scene, "buffer purge audit").await.contains("--yes"));
    assert!(refused(&scene, "buffer purge nobody --yes").await.contains("no buffer"));
    assert_eq!(answer(&scene, "buffer purge audit --yes").await["given_up"], 10);
    agent.kill().await;
    scene.endpoint.heal();
    let agent = scene.start().await;
    writer.lines(5);
    let later: Vec<Marker> = writer.markers().skip(10).collect();
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 5).await;
    agent.terminate().await;
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(later));
}

#[tokio::test]
async fn positions_of_a_running_agent_are_set_and_files_forgotten() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    let path = writer.path().display().to_string();
    assert!(refused(&scene, &format!("checkpoints set {path} --offset 3")).await.contains("no line"));
    assert!(refused(&scene, "checkpoints forget /nothing").await.contains("no file is known"));
    answer(&scene, &format!("checkpoints set {path} --offset 0 --destination {ARCHIVE}")).await;
    let copies = |account: &support::endpoint::Account, stream: &str, count: u32| {
        writer.markers().all(|marker| account.stream(stream).copies(&marker) == count)
    };
    scene.endpoint.wait_until(|account| copies(account, ARCHIVE, 2)).await;
    assert!(scene.endpoint.look(|account| copies(account, AUDIT, 1)));
    let ids = |scene: &Scene| -> BTreeSet<String> {
        let records = scene.records(ARCHIVE);
        records.iter().map(|record| record["record_id"].as_str().expect("an id").to_owned()).collect()
    };
    assert_eq!(ids(&scene).len(), 10, "lines that are read again have the same ids");
    answer(&scene, &format!("checkpoints forget {path}")).await;
    scene.endpoint.wait_until(|account| copies(account, ARCHIVE, 3) && copies(account, AUDIT, 2)).await;
    assert_eq!(ids(&scene).len(), 20, "a file that is met anew has other ids");
    // It is durable: a kill changes nothing of it.
    agent.kill().await;
    let agent = scene.start().await;
    writer.lines(1);
    let last = writer.markers().last().expect("a line");
    scene.endpoint.wait_until(|account| account.stream(AUDIT).copies(&last) == 1).await;
    agent.terminate().await;
    assert_eq!(scene.endpoint.look(|account| account.stream(ARCHIVE).copies(&last)), 1);
    assert_eq!(ids(&scene).len(), 21);
}

#[tokio::test]
async fn a_position_that_cannot_be_made_durable_counts_and_that_is_said() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    // Where a checkpoint is written first.
    let in_the_way = scene.data_dir().join("checkpoint.tmp");
    fs::create_dir_all(in_the_way.join("full")).expect("a folder");
    let set = format!("checkpoints set {} --offset 0 --destination {ARCHIVE}", writer.path().display());
    let said = refused(&scene, &set).await;
    assert!(said.contains("is read from 0 on") && said.contains("cannot be written"), "{said}");
    fs::remove_dir_all(in_the_way).expect("it is ours");
    let twice = |account: &support::endpoint::Account| {
        writer.markers().all(|marker| account.stream(ARCHIVE).copies(&marker) == 2)
    };
    scene.endpoint.wait_until(twice).await;
    agent.terminate().await;
}

/// Refuses these lines of a log at [`AUDIT`].
fn poison(scene: &Scene, name: &str, lines: &[u64]) {
    for line in lines {
        let (text, with) =
            (Marker::new(name, *line).to_string().into_bytes(), ErrorAnswer::invalid_argument("no"));
        scene.endpoint.inject(Rule::new(Fault::Poison { text, with }).stream(AUDIT));
    }
}

#[tokio::test]
async fn dead_letters_are_delivered_under_their_ids_and_what_fails_again_is_a_dead_letter_again() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    poison(&scene, writer.name(), &[3, 7]);
    let agent = scene.start().await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 8).await;
    support::process::until(async || scene.dead_letters(AUDIT).len() == 2).await;
    scene.endpoint.heal();
    poison(&scene, writer.name(), &[7]);
    assert_eq!(answer(&scene, "dead-letters replay audit --reason other").await["letters"], 0);
    assert!(refused(&scene, "dead-letters replay nobody").await.contains("archive, audit"));
    let replayed = command(&scene, "dead-letters replay audit --reason refused --json").await;
    assert!(text(&replayed.stderr).contains("2 of 2 letters"), "{}", text(&replayed.stderr));
    let told: Value = serde_json::from_slice(&replayed.stdout).expect("JSON");
    assert_eq!((&told["letters"], &told["in_buffer"]), (&2.into(), &2.into()));
    let third = Marker::new(writer.name(), 3);
    scene.endpoint.wait_until(|account| account.stream(AUDIT).copies(&third) == 1).await;
    support::process::until(async || scene.dead_letters(AUDIT).len() == 1).await;
    let left = scene.dead_letters(AUDIT).remove(0);
    assert!(left["record"].as_str().expect("a record").contains(&Marker::new(writer.name(), 7).to_string()));
    agent.terminate().await;
    let id = |stream: &str| {
        let records = scene.records(stream);
        let of_third =
            records.iter().find(|record| Marker::find(record.to_string().as_bytes()) == Some(third.clone()));
        of_third.expect("it is there")["record_id"].clone()
    };
    assert_eq!(id(AUDIT), id(ARCHIVE));
}

#[tokio::test]
async fn lines_that_became_no_record_stay_dead_letters() {
    let lines = ["files: '{root}/pods/*/*/*.log'", "format: cri", "start_at: beginning"];
    let parse = "process: [{parse: json, on_error: dead_letter}]";
    let scene = Scene::plain().await.route(&[&lines[..], &[parse]].concat());
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(4);
    support::process::until(async || scene.dead_letters(AUDIT).len() == 4).await;
    let told = answer(&scene, "dead-letters replay audit").await;
    assert_eq!((&told["letters"], &told["no_records"]), (&0.into(), &4.into()), "{told}");
    assert_eq!(scene.dead_letters(AUDIT).len(), 4);
    agent.terminate().await;
}

/// Letters of records that the endpoint would know.
fn write_letters(scene: &Scene, numbers: std::ops::Range<u64>) -> PathBuf {
    let folder = scene.data_dir().join("dead_letters").join(AUDIT);
    fs::create_dir_all(&folder).expect("a folder");
    let letter = |number: u64| {
        let log = format!("{} {}", Marker::new("letters", number), "x".repeat(300));
        let record = json!({"log": log, "record_id": format!("{number:032x}")}).to_string();
        json!({"time": "2026-01-01T00:00:00Z", "reason": "refused", "origin": {}, "record": record})
            .to_string()
    };
    let text: Vec<String> = numbers.map(letter).collect();
    let path = folder.join("0000000001.ndjson");
    fs::write(&path, text.join("\n") + "\n").expect("the letters");
    path
}

#[tokio::test]
async fn letters_wait_for_room_and_may_be_dropped_while_they_do() {
    const LETTERS: u64 = 6000;
    let scene = failing().await.setting("buffer: {chunk_size: 64KiB}").audit("buffer: {max_size: 1MiB}");
    let agent = scene.start().await;
    write_letters(&scene, 0..LETTERS);
    let replay = going_on(&scene, "dead-letters replay audit --json");
    replay.line(|line| line.contains("waits for room in the buffer")).await;
    let waiting = scene.in_buffer(AUDIT).len() as u64;
    assert!(waiting > 0 && waiting < LETTERS, "{waiting} fit");
    assert_eq!(answer(&scene, "dead-letters drop audit --yes").await["files"], 1);
    let ended = replay.ended().await;
    assert_eq!(ended.status.code(), Some(1), "{:?}", ended.lines);
    let told = ended.lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok()).expect("JSON");
    assert_eq!((&told["in_buffer"], &told["removed"]), (&waiting.into(), &(LETTERS - waiting).into()));
    assert!(scene.dead_letter_files(AUDIT).is_empty());
    scene.endpoint.heal();
    let all: Vec<Marker> = (0..waiting).map(|number| Marker::new("letters", number)).collect();
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == all.len()).await;
    agent.terminate().await;
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(all));
}

#[tokio::test]
async fn kills_in_the_middle_of_a_replay_lose_no_letter_and_send_none_twice() {
    const LETTERS: u64 = 6000;
    let scene = failing().await.setting("buffer: {chunk_size: 64KiB}");
    scene.start().await.terminate().await;
    write_letters(&scene, 0..LETTERS);
    let mut agent = scene.start().await;
    let replay = going_on(&scene, "dead-letters replay audit");
    for _ in 0..5 {
        // Whenever it has come a little further.
        let before = scene.in_buffer(AUDIT).len();
        let over = || !scene.dead_letter_files(AUDIT).iter().any(|path| path.exists());
        support::process::until(async || scene.in_buffer(AUDIT).len() > before || over()).await;
        agent.kill().await;
        agent = scene.start().await;
    }
    drop(replay);
    // One that was asked before it was known to a checkpoint has to be asked for again.
    answer(&scene, "dead-letters replay audit").await;
    support::process::until(async || scene.dead_letter_files(AUDIT).is_empty()).await;
    scene.endpoint.heal();
    let all: Vec<Marker> = (0..LETTERS).map(|number| Marker::new("letters", number)).collect();
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == all.len()).await;
    agent.terminate().await;
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(all));
}

#[tokio::test]
async fn letters_of_a_stopped_agent_are_replayed_with_its_next_start() {
    let scene = Scene::plain().await;
    scene.start().await.terminate().await;
    write_letters(&scene, 0..3);
    let told = answer(&scene, "dead-letters replay audit").await;
    assert_eq!((&told["letters"], &told["in_buffer"]), (&3.into(), &0.into()), "{told}");
    let listed = answer(&scene, "dead-letters ls").await;
    assert_eq!(listed["dead_letters"][0]["letters"], 3, "they are still there: {listed}");
    let agent = scene.start().await;
    agent.logged("\"replayed\"").await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 3).await;
    assert!(scene.dead_letter_files(AUDIT).is_empty());
    agent.terminate().await;
}
