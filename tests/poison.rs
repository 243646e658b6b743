//! Records that a destination will never take cost only themselves.

mod support;

use std::fs;
use std::io::Write as _;

use support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use support::scene::{ARCHIVE, AUDIT, Scene, markers};

const QUICKLY: &str = "retry: {initial_backoff: 10ms, max_backoff: 50ms}";

/// A scene with one plain file of these lines.
async fn with_lines(lines: &[String]) -> Scene {
    let scene = Scene::plain().await.route(&["files: '{root}/app.log'", "start_at: beginning"]);
    write(&scene, lines);
    scene
}

fn write(scene: &Scene, lines: &[String]) {
    let path = scene.root().join("app.log");
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("the log opens");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    file.write_all(text.as_bytes()).expect("the log is written");
}

fn line(number: u64) -> String {
    Marker::new("app", number).to_string()
}

/// A line that is short enough to be read, and too large for both services as a record.
fn too_large(number: u64) -> String {
    format!("{}{}", line(number), "\"".repeat(700_000))
}

fn numbers(letters: &[serde_json::Value]) -> Vec<u64> {
    letters
        .iter()
        .map(|letter| {
            Marker::find(letter["record"].as_str().expect("a text").as_bytes()).expect("a marker").line
        })
        .collect()
}

#[tokio::test]
async fn a_record_that_is_too_large_after_parsing_is_a_dead_letter_and_the_rest_arrives() {
    let scene = with_lines(&[line(0), too_large(1), line(2)]).await;
    scene.once().await;
    scene.exactly(vec![Marker::new("app", 0), Marker::new("app", 2)]).await;
    for destination in [ARCHIVE, AUDIT] {
        let letters = scene.dead_letters(destination);
        assert_eq!(numbers(&letters), [1]);
        assert_eq!(letters[0]["reason"], "too_large");
        assert!(letters[0]["detail"].as_str().unwrap().contains("the service takes at most"));
        let record: serde_json::Value = serde_json::from_str(letters[0]["record"].as_str().unwrap()).unwrap();
        assert_eq!(letters[0]["origin"]["record_id"], record["record_id"]);
        assert_eq!(letters[0]["origin"]["file"], scene.root().join("app.log").to_str().unwrap());
    }
}

#[tokio::test]
async fn while_dead_letters_are_full_their_records_stay_in_the_buffer_and_others_go_on() {
    let scene = with_lines(&[line(0), too_large(1), too_large(2), line(3)])
        .await
        .destination("dead_letters: {max_size: 1MiB}");
    let agent = scene.start().await;
    scene.exactly(vec![Marker::new("app", 0), Marker::new("app", 3)]).await;
    agent.logged("dead_letter_failed").await;
    write(&scene, &[line(4)]);
    scene.exactly([0, 3, 4].map(|number| Marker::new("app", number)).into()).await;
    agent.kill().await;
    for destination in [ARCHIVE, AUDIT] {
        assert_eq!(numbers(&scene.dead_letters(destination)), [1]);
        scene.dead_letter_files(destination).iter().for_each(|path| fs::remove_file(path).unwrap());
    }
    // A person made room.
    let agent = scene.start().await;
    for destination in [ARCHIVE, AUDIT] {
        agent
            .process()
            .line(|line| line.contains("\"dead_letter\"") && line.contains(&format!("\"{destination}\"")))
            .await;
    }
    agent.terminate().await;
    for destination in [ARCHIVE, AUDIT] {
        assert_eq!(numbers(&scene.dead_letters(destination)), [2]);
    }
    // What was under way at the kill may have come twice.
    scene.endpoint.look(|account| {
        let good = [0, 3, 4].map(|number| Marker::new("app", number));
        assert!(
            [ARCHIVE, AUDIT].iter().all(|stream| account.stream(stream).tally(good.clone()).at_least_once())
        );
    });
}

#[tokio::test]
async fn a_record_that_the_service_fails_again_and_again_is_given_up_after_max_attempts() {
    let scene = with_lines(&(0..20).map(line).collect::<Vec<_>>())
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms, max_attempts: 3}");
    scene.endpoint.inject(
        Rule::new(Fault::RefuseText { text: line(7).into(), with: ErrorAnswer::internal_failure() })
            .stream(AUDIT),
    );
    scene.once().await;
    scene.endpoint.look(|account| {
        account.stream(ARCHIVE).assert_exactly_once(markers("app", 0..20));
        account
            .stream(AUDIT)
            .assert_exactly_once(markers("app", 0..20).into_iter().filter(|marker| marker.line != 7));
        assert_eq!(account.stream(AUDIT).entry_errors.values().sum::<u64>(), 3);
    });
    let letters = scene.dead_letters(AUDIT);
    assert_eq!((numbers(&letters), &letters[0]["reason"]), (vec![7], &"max_attempts".into()));
    assert!(scene.dead_letters(ARCHIVE).is_empty());
}

#[tokio::test]
async fn records_that_a_destination_denies_for_longer_than_max_record_age_are_dead_letters() {
    let scene = with_lines(&(0..10).map(line).collect::<Vec<_>>())
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms, max_record_age: 1s}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())).stream(ARCHIVE));
    // Ends by itself, although the destination never takes anything.
    scene.once().await;
    let letters = scene.dead_letters(ARCHIVE);
    assert_eq!(numbers(&letters), (0..10).collect::<Vec<_>>());
    assert!(letters.iter().all(|letter| letter["reason"] == "max_record_age"));
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(markers("app", 0..10)));
}

#[tokio::test]
async fn many_poisoned_records_are_found_one_by_one() {
    let scene = with_lines(&(0..400).map(line).collect::<Vec<_>>()).await.destination(QUICKLY);
    let poisoned: Vec<u64> = (0..400).filter(|number| number % 37 == 5).collect();
    for number in &poisoned {
        let with = ErrorAnswer::invalid_argument("a record is not valid");
        scene.endpoint.inject(Rule::new(Fault::Poison { text: line(*number).into(), with }));
    }
    scene.once().await;
    scene.exactly(markers("app", 0..400).into_iter().filter(|marker| marker.line % 37 != 5).collect()).await;
    for destination in [ARCHIVE, AUDIT] {
        let mut found = numbers(&scene.dead_letters(destination));
        found.sort_unstable();
        assert_eq!(found, poisoned);
    }
}
