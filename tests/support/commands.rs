//! The commands, run beside an agent or without one.

use std::process::Output;

use serde_json::Value;

use super::process::{Process, kinetail};
use super::scene::Scene;

/// Runs a command with the scene's configuration, which has to be written, to its end.
pub async fn command(scene: &Scene, words: &str) -> Output {
    let mut command = kinetail(&scene.root());
    command.args(words.split(' ')).args(["--config", "kinetail.yaml"]);
    command.output().await.expect("it starts")
}

/// Starts a command that goes on until it is ended.
pub fn going_on(scene: &Scene, words: &str) -> Process {
    let mut command = kinetail(&scene.root());
    command.args(words.split(' ')).args(["--config", "kinetail.yaml"]);
    Process::start(command)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command answers with `--json`; it must end well.
pub async fn json(scene: &Scene, words: &str) -> Value {
    let output = command(scene, &format!("{words} --json")).await;
    assert!(output.status.success(), "{words}: {}{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// What a command says against it; it must fail.
pub async fn refused(scene: &Scene, words: &str) -> String {
    let output = command(scene, words).await;
    assert_eq!(output.status.code(), Some(1), "{words}: {}", text(&output.stdout));
    text(&output.stderr)
}
