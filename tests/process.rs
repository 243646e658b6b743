//! Child processes are awaited by what they write, and ended as an init system ends them.

mod support;

use support::process::{Process, kinetail};
use tokio::process::Command;

fn shell(script: &str) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::start(command)
}

#[tokio::test]
async fn lines_of_both_streams_are_awaited_wherever_they_come() {
    let process = shell("echo first; echo second >&2; echo third; exec sleep 1000");
    process.line(|line| line == "third").await;
    process.line(|line| line == "second").await;
    let (seen, _) = process.line_after(0, |line| line == "first").await;
    let (_, third) = process.line_after(seen, |line| line == "third").await;
    assert_eq!(third, "third");
    process.kill().await;
}

#[tokio::test]
async fn a_process_that_ends_without_the_awaited_line_fails_the_test_with_its_output() {
    let waiting = tokio::spawn(async {
        shell("echo something else; exit 3").line(|line| line == "never").await;
    });
    let panic = waiting.await.expect_err("a panic").into_panic();
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(message.contains("something else"), "{message}");
}

#[tokio::test]
async fn termination_waits_for_an_orderly_end() {
    // Reading its input it waits without a child, which a signal at the wrong moment would leave behind.
    let process = shell("trap 'echo draining; exit 0' TERM; echo ready; read _");
    process.line(|line| line == "ready").await;
    let ended = process.terminate().await;
    assert_eq!(ended.lines, ["ready", "draining"]);
}

#[tokio::test]
async fn a_killed_process_has_no_code() {
    let process = shell("echo ready; exec sleep 1000");
    process.line(|line| line == "ready").await;
    assert_eq!(process.kill().await.status.code(), None);
}

#[tokio::test]
async fn the_binary_runs_with_an_environment_of_the_tests_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut command = kinetail(dir.path());
    command.arg("--help");
    let environment: Vec<_> = command.as_std().get_envs().filter_map(|(name, _)| name.to_str()).collect();
    assert!(environment.contains(&"AWS_EC2_METADATA_DISABLED"));
    assert_eq!(Process::start(command).ended().await.status.code(), Some(0));
}
