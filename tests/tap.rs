//! `kinetail tap` beside a running agent: records as they pass, and nothing that it does holds the agent up.

mod support;

use std::fs;

use rustix::process::Signal;
use serde_json::Value;
use support::commands::{command, going_on, refused, text};
use support::logs::{self, Writer};
use support::process::{Agent, Process};
use support::scene::{ARCHIVE, Scene};

/// A route that redacts, an agent, and a log.
async fn scene() -> (Scene, Agent, Writer) {
    let lines = ["files: '{root}/pods/*/*/*.log'", "format: cri", "start_at: beginning"];
    let redact = "process: [{add: {card: '4111'}}, {redact: {fields: [card], with: '****'}}]";
    let scene = Scene::plain().await.route(&[&lines[..], &[redact]].concat());
    let writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    (scene, agent, writer)
}

/// A tap that is open: what is read from now on passes it.
async fn tap(scene: &Scene, words: &str) -> Process {
    let tap = going_on(scene, &format!("tap {words}"));
    tap.line(|line| line.contains("as they pass")).await;
    tap
}

/// The number before some words of what a tap says at its end.
fn told(line: &str, words: &str) -> u64 {
    let before = line.split(words).next().expect("a beginning").trim_end();
    let number = before.rsplit([' ', ',', ';']).next().expect("a word");
    number.parse().unwrap_or_else(|_| panic!("no number before {words} in {line}"))
}

#[tokio::test]
async fn a_tap_shows_records_as_they_will_be_sent_and_says_where_they_go() {
    let (scene, agent, mut writer) = scene().await;
    let (plain, json) = (tap(&scene, "--rate 1000 --count 5").await, tap(&scene, "--count 5 --json").await);
    let filtered =
        format!("--destination {ARCHIVE} --route logs --file {} --count 5", writer.path().display());
    let by_pattern = format!("--file {}/pods/** --count 5", scene.root().display());
    let (filtered, by_pattern) = (tap(&scene, &filtered).await, tap(&scene, &by_pattern).await);
    writer.lines(5);
    scene.exactly_once(&[&writer]).await;
    let sent = scene.records(ARCHIVE);
    for shown in [plain, filtered, by_pattern] {
        let ended = shown.ended().await;
        assert!(ended.status.success(), "{:?}", ended.lines);
        let records: Vec<Value> =
            ended.lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(records, sent);
        assert_eq!(records[0]["card"], "****");
        let said = ended.lines.iter().find(|line| line.contains("passed")).expect("how many there were");
        assert_eq!((told(said, "records passed"), told(said, "shown;")), (5, 5));
    }
    let ended = json.ended().await;
    let first =
        ended.lines.iter().find_map(|line| serde_json::from_str::<Value>(line).ok()).expect("a record");
    assert_eq!(
        (&first["route"], &first["file"]),
        (&"logs".into(), &writer.path().display().to_string().into())
    );
    assert_eq!((&first["to"], &first["record"]), (&serde_json::json!([ARCHIVE, "audit"]), &sent[0]));
    agent.terminate().await;
}

#[tokio::test]
async fn each_record_of_a_file_of_several_routes_is_shown_with_its_route_and_its_destinations() {
    let second = "continue: true";
    let lines = ["files: '{root}/pods/*/*/*.log'", "format: cri", "start_at: beginning", second];
    let scene = Scene::plain().await.route(&lines);
    let more = format!(
        "  - {{name: errors, files: '{}/pods/*/*/*.log', format: cri, start_at: beginning, \
         to: [{{destination: audit, when: {{stream: stderr}}}}]}}\n",
        scene.root().display()
    );
    fs::write(scene.root().join("kinetail.yaml"), scene.config() + &more).expect("a configuration");
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = Agent::start(&(scene.config() + &more), &scene.root());
    agent.logged("\"ready\"").await;
    let shown = tap(&scene, "--rate 1000 --json").await;
    writer.line(support::logs::Stream::Stdout);
    writer.line(support::logs::Stream::Stderr);
    scene.arrived(2).await;
    scene.endpoint.wait_until(|account| account.stream("audit").records().len() == 3).await;
    shown.signal(Signal::INT);
    let ended = shown.ended().await;
    let seen: Vec<(String, String)> = ended
        .lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .map(|seen| (seen["route"].to_string(), seen["to"].to_string()))
        .collect();
    let both = r#"["archive","audit"]"#;
    let of = |route: &str, to: &str| (format!("{route:?}"), to.to_owned());
    assert_eq!(seen, [of("logs", both), of("logs", both), of("errors", r#"["audit"]"#)]);
    agent.terminate().await;
}

#[tokio::test]
async fn a_tap_that_is_not_read_holds_nothing_up_and_says_what_it_did_not_show() {
    const LINES: usize = 6000;
    let (scene, agent, writer) = scene().await;
    let mut writer = writer.lengths(400..500);
    let slow = tap(&scene, "--rate 1000000").await;
    slow.signal(Signal::STOP);
    writer.lines(LINES);
    scene.exactly_once(&[&writer]).await;
    slow.signal(Signal::CONT);
    // A line that finds everything before it taken off. What is sampled is told with the counts as they are then.
    slow.line(|line| line.contains("{\"time\"")).await;
    loop {
        writer.lines(1);
        scene.exactly_once(&[&writer]).await;
        let last = writer.markers().last().expect("a line").to_string();
        if slow.lines().iter().any(|line| line.contains(&last)) {
            break;
        }
    }
    agent.terminate().await;
    let ended = slow.ended().await;
    assert!(ended.status.success());
    let said = ended.lines.last().expect("how many there were");
    let [passed, shown, above, dropped] =
        ["records passed", "shown;", "were above", "came faster"].map(|words| told(said, words));
    assert_eq!((passed, above, shown + dropped), (writer.markers().count() as u64, 0, passed), "{said}");
    assert!(dropped > 0 && shown > 0 && said.contains("has ended"), "{said}");
}

#[tokio::test]
async fn a_tap_ends_on_a_signal_and_with_the_agent_and_where_nothing_could_ever_pass() {
    let (scene, agent, mut writer) = scene().await;
    assert!(refused(&scene, "tap --route nothing").await.contains("there are: logs"));
    assert!(refused(&scene, "tap --destination nothing").await.contains("archive, audit"));
    assert!(refused(&scene, "tap --file /var/[").await.contains("glob"));
    let [one, other, last] = ["", " --json", " --rate 1"].map(|words| format!("--route logs{words}"));
    let (one, other, last) = (tap(&scene, &one).await, tap(&scene, &other).await, tap(&scene, &last).await);
    one.signal(Signal::INT);
    other.signal(Signal::TERM);
    for ended in [one.ended().await, other.ended().await] {
        assert!(ended.status.success() && ended.lines[1].contains("0 records passed"), "{:?}", ended.lines);
    }
    writer.lines(3);
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
    let ended = last.ended().await;
    let said = ended.lines.last().expect("how many there were");
    assert!(ended.status.success() && said.contains("has ended"), "{said}");
    assert_eq!((told(said, "records passed"), told(said, "were above")), (3, 2));
    assert!(text(&command(&scene, "tap").await.stderr).contains("no kinetail runs"));
}
