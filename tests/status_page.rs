//! The status page in a real browser: headless Chromium runs it against a real agent.

mod support;

use std::path::Path;
use std::process::Stdio;

use support::endpoint::{ErrorAnswer, Fault, Rule};
use support::logs;
use support::process::{Agent, Process, until};
use support::scene::{AUDIT, Scene};
use tokio::process::Command;

/// Chromium, which CI installs. None where it is not there.
fn chromium(folder: &Path) -> Option<Command> {
    let mut command = Command::new("chromium");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !command.as_std_mut().status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "chromium is not installed");
        eprintln!("skipped, as chromium is not installed");
        return None;
    }
    let mut command = Command::new("chromium");
    command.args([
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]);
    command.arg(format!("--user-data-dir={}", folder.join("profile").display()));
    // The page's own time, so that it has fetched and drawn.
    command.arg("--virtual-time-budget=5000");
    Some(command)
}

/// An agent of which one destination is denied, and which has read three files.
async fn agent(scene: &Scene) -> Agent {
    let denied = ErrorAnswer::new(403, "AccessDeniedException", "not allowed <b>to put</b> records");
    scene.endpoint.inject(Rule::new(Fault::Answer(denied)).stream(AUDIT));
    let mut writers = logs::containers(&scene.root(), 3);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    agent.logged("destination_denied").await;
    until(async || agent.metric("kinetail_delivered_records_total{destination=\"archive\"}").await == 30.0)
        .await;
    agent
}

#[tokio::test]
async fn the_page_shows_in_a_browser_what_the_status_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut browser) = chromium(folder.path()) else { return };
    let scene = Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("drain_timeout: 1s")
        .setting("admin: {listen: '127.0.0.1:0'}");
    let agent = agent(&scene).await;
    browser.arg("--dump-dom").arg(format!("http://{}/", agent.address().await));
    let ended = Process::start(browser).ended().await;
    let page = ended.lines.join("\n");
    for shown in [
        ">not ready</span>",
        "destination audit: denied for ",
        "<strong>archive</strong>",
        ">fine</td>",
        ">denied</td>",
        "<td>logs</td><td>archive, audit</td>",
        "3 of the 3 that are the furthest behind",
        // Text of a service is text.
        "not allowed &lt;b&gt;to put&lt;/b&gt; records",
    ] {
        assert!(page.contains(shown), "{shown} in\n{page}");
    }
    agent.terminate().await;
}
