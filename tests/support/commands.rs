//! The commands, run beside an agent or without one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{ExitStatus, Output};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use super::endpoint::patiently;
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

/// Runs a command to its end on a terminal, on which somebody types this, and returns what is to be seen there.
pub async fn on_a_terminal(scene: &Scene, words: &str, typed: &str) -> (ExitStatus, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("it is ours");
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&terminal, size).expect("it has a size");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name").into_string().expect("UTF-8");
    let side = File::options().read(true).write(true).open(name).expect("its other side");
    let mut command = kinetail(&scene.root());
    command
        .args(words.split(' '))
        .args(["--config", "kinetail.yaml"])
        .env("TERM", "xterm")
        .kill_on_drop(true);
    command.stdin(side.try_clone().expect("a copy")).stdout(side.try_clone().expect("a copy")).stderr(side);
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut screen = File::from(terminal);
    screen.write_all(typed.as_bytes()).expect("somebody types");
    let read = tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        // Fails when nobody has the other side open any more, and what was written is read by then.
        let _ = screen.read_to_end(&mut seen);
        text(&seen)
    });
    let status = patiently(|| format!("the end of {words}"), child.wait()).await.expect("it is our child");
    (status, read.await.expect("reading does not panic"))
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
