//! What the admin port says of the agent's health: which destination keeps it from being ready and why, what is nearly
//! full, and which part makes no progress.

mod support;

use serde_json::Value;
use support::endpoint::{ErrorAnswer, Fault, Rule};
use support::logs::{self, Writer};
use support::process::{Agent, Process, until};
use support::scene::{ARCHIVE, AUDIT, Scene};
use tokio::process::Command;

async fn scene() -> Scene {
    Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("drain_timeout: 1s")
        .setting("admin: {listen: '127.0.0.1:0', stuck_after: 10s}")
}

async fn is_ready(agent: &Agent) -> bool {
    agent.get("/readyz").await.0 == 200
}

/// A destination as the status has it.
fn of<'a>(status: &'a Value, destination: &str) -> &'a Value {
    let destinations = status["destinations"].as_array().expect("destinations");
    destinations.iter().find(|it| it["name"] == destination).expect("each of them")
}

fn writers(scene: &Scene) -> Vec<Writer> {
    logs::containers(&scene.root(), 3)
}

#[tokio::test]
async fn an_idle_agent_is_ready_once_its_destinations_answered() {
    let scene = scene().await;
    let agent = scene.start().await;
    until(async || is_ready(&agent).await).await;
    let (_, text) = agent.get("/readyz").await;
    assert_eq!(text, "ready\ndestination archive: fine\ndestination audit: fine\n");
    assert_eq!(agent.get("/livez").await, (200, "ok\n".into()));
    agent.terminate().await;
}

#[tokio::test]
async fn a_destination_that_denies_makes_it_unready_and_is_named_with_what_the_service_said() {
    let scene = scene().await;
    let mut writers = writers(&scene);
    let agent = scene.start().await;
    until(async || is_ready(&agent).await).await;
    let denied = ErrorAnswer::new(403, "AccessDeniedException", "not allowed to put records");
    scene.endpoint.inject(Rule::new(Fault::Answer(denied)).stream(AUDIT));
    writers.iter_mut().for_each(|writer| writer.lines(10));
    agent.logged("destination_denied").await;
    until(async || !is_ready(&agent).await).await;

    let (_, text) = agent.get("/readyz").await;
    assert!(text.starts_with("not ready\nproblem: destination audit: denied for "), "{text}");
    assert!(text.contains("AccessDeniedException: not allowed to put records"), "{text}");
    assert!(text.contains("destination archive: fine\n"), "{text}");
    assert_eq!(agent.get("/livez").await.0, 200, "it lives all the same");
    let status = agent.status().await;
    assert_eq!(status["ready"], false);
    let audit = of(&status, AUDIT);
    assert_eq!((&audit["state"], &audit["type"]), (&"denied".into(), &"kinesis".into()));
    assert_eq!(audit["last_failure"]["code"], "AccessDeniedException");
    assert_eq!(audit["backlog"]["records"], 30);
    assert!(audit["lag_seconds"].as_f64() > Some(0.0));
    assert_eq!(of(&status, ARCHIVE)["state"], "fine");

    scene.endpoint.heal();
    until(async || is_ready(&agent).await).await;
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_stream_that_is_not_there_makes_it_unready_before_a_line_is_written() {
    let scene = scene().await;
    let config = scene.config().replace("stream: audit", "stream: adit");
    let agent = Agent::start(&config, &scene.root());
    agent.logged("\"preflight\"").await;
    let (code, text) = agent.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(
        text.contains("destination audit: denied") && text.contains("there is no data stream adit"),
        "{text}"
    );
    agent.terminate().await;
}

#[tokio::test]
async fn a_buffer_that_is_nearly_full_is_told_with_the_files_that_wait_and_the_agent_stays_ready() {
    let scene = scene().await.setting("buffer: {chunk_size: 64KiB}").audit("buffer: {max_size: 512KiB}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    let mut writers = writers(&scene);
    let agent = scene.start().await;
    let blocked = |status: &Value| {
        let files = status["files"].as_array().expect("files").iter();
        files.filter(|file| file["state"] == "blocked").count()
    };
    while blocked(&agent.status().await) < writers.len() {
        writers.iter_mut().for_each(|writer| writer.lines(200));
        let written: usize = writers.iter().map(|writer| writer.written().len()).sum();
        scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == written).await;
    }
    let status = agent.status().await;
    assert_eq!(status["ready"], true);
    let (code, text) = agent.get("/readyz").await;
    assert_eq!(code, 200);
    assert!(text.contains("warning: destination audit: backing off for"), "{text}");
    assert!(text.contains("warning: destination audit: its buffer takes"), "{text}");
    assert!(text.contains("of 524288 bytes"), "{text}");
    let (audit, route) = (of(&status, AUDIT), &status["routes"][0]);
    assert_eq!(audit["state"], "backing_off");
    let unread = audit["unread_bytes"].as_u64().expect("bytes");
    assert!(unread > 0 && route["behind_bytes"] == unread && status["reading"]["behind_bytes"] == unread);
    assert_eq!((&route["name"], &route["files"]), (&"logs".into(), &writers.len().into()));
    let files = status["files"].as_array().expect("files");
    assert!(files.iter().all(|file| file["behind_bytes"].as_u64() > Some(0)), "{files:?}");
    assert!(files.is_sorted_by(|a, b| a["behind_bytes"].as_u64() >= b["behind_bytes"].as_u64()));
    agent.terminate().await;
}

/// A thread that stands still, for as long as this lives. None where the system does not let it be stopped.
async fn freeze(agent: &Agent, thread: &str) -> Option<Process> {
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/freeze.py"));
    command.arg(agent.process().id().to_string()).arg(thread);
    let process = Process::start(command);
    let said = process.line(|line| line == "frozen" || line.starts_with("ptrace: ")).await;
    if said == "frozen" {
        return Some(process);
    }
    assert!(std::env::var_os("CI").is_none(), "a thread cannot be stopped: {said}");
    eprintln!("skipped, as a thread cannot be stopped: {said}");
    None
}

#[tokio::test]
async fn a_part_that_is_stuck_turns_liveness_red_and_one_that_goes_on_green_again() {
    let scene = scene().await;
    let mut writers = writers(&scene);
    let agent = scene.start().await;
    assert_eq!(agent.get("/livez").await.0, 200);
    let Some(frozen) = freeze(&agent, "reading").await else { return };
    until(async || agent.get("/livez").await.0 == 503).await;
    let (_, text) = agent.get("/livez").await;
    assert!(text.starts_with("reading has made no progress for 1"), "{text}");
    let (code, text) = agent.get("/readyz").await;
    assert!(code == 503 && text.contains("problem: reading: has made no progress"), "{text}");
    // What it knew before is still told.
    assert_eq!(of(&agent.status().await, AUDIT)["name"], AUDIT);

    frozen.kill().await;
    until(async || agent.get("/livez").await.0 == 200).await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
}

#[tokio::test]
async fn checkpoints_that_are_not_written_turn_liveness_red_until_they_are() {
    let scene = scene().await;
    let agent = scene.start().await;
    // The first checkpoint is written, and there is nothing to be written until lines come.
    agent.logged("\"ready\"").await;
    let Some(frozen) = freeze(&agent, "keeper").await else { return };
    let mut writers = writers(&scene);
    writers.iter_mut().for_each(|writer| writer.lines(10));
    until(async || agent.get("/livez").await.0 == 503).await;
    let (_, text) = agent.get("/livez").await;
    assert!(text.starts_with("writing checkpoints has made no progress for 1"), "{text}");

    frozen.kill().await;
    until(async || agent.get("/livez").await.0 == 200).await;
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
}
