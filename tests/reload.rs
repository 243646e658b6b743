//! Another configuration for a running agent: nothing is lost and nothing doubled, and a bad one changes nothing.

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use fastrand::Rng;
use rustix::process::Signal;
use support::endpoint::{ErrorAnswer, Fault, Gate, Marker, Rule};
use support::logs::{self, Busy, Writer};
use support::process::{Agent, kinetail, until};
use support::scene::{ARCHIVE, AUDIT, Scene};
use tokio::net::UnixDatagram;

/// Loads this configuration by a signal, and waits until it counts, or not.
async fn reload(agent: &Agent, scene: &Scene, config: &str, said: &str) {
    let before = agent.process().lines().len();
    fs::write(scene.root().join("kinetail.yaml"), config).expect("the configuration is written");
    agent.process().signal(Signal::HUP);
    let came = |line: &str| line.contains(said) || line.contains(APPLIED) || line.contains(REFUSED);
    let (_, line) = agent.process().line_after(before, came).await;
    assert!(line.contains(said), "{line}");
}

const APPLIED: &str = "\"event\":\"reloaded\"";
const REFUSED: &str = "\"event\":\"reload_refused\"";

/// A destination of local files, and a route that goes to it too.
fn with_local(config: &str, scene: &Scene) -> String {
    let local = format!("  local: {{type: directory, path: '{}/local'}}\nroutes:", scene.root().display());
    config.replace("routes:", &local).replace("to: [archive, audit]", "to: [archive, local, audit]")
}

/// What the agent may be told to do next, all of it the same for [`ARCHIVE`] and [`AUDIT`].
fn another(scene: &Scene, rng: &mut Rng) -> String {
    let mut config = scene.config();
    if rng.bool() {
        config = config.replace("name: logs", &format!("name: logs-{}", rng.u8(..4)));
    }
    if rng.bool() {
        config = with_local(&config, scene);
    }
    if rng.bool() {
        config = config.replace("max_age: 50ms", &format!("max_age: 50ms, max_records: {}", rng.u8(1..100)));
    }
    if rng.bool() {
        config = config.replace("packing: newline", "packing: none");
    }
    if rng.bool() {
        config += "    process: [{add: {reloaded: 'yes'}}]\n";
    }
    if rng.bool() {
        let files = format!("files: '{}/nothing/*.log'", scene.root().display());
        config =
            config.replace("routes:\n", &format!("routes:\n  - {{name: first, {files}, to: [archive]}}\n"));
    }
    config
}

#[tokio::test]
async fn fifty_reloads_under_load_lose_nothing_and_double_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    let scene = scene.setting("buffer: {chunk_size: 64KiB}");
    let mut logs = Busy::containers(&scene.root(), 6, rng.fork());
    // Of each batch something comes back and is still under way when the next configuration comes.
    let with = ErrorAnswer::throughput_exceeded();
    scene.endpoint.inject(Rule::new(Fault::RefuseEntries { chance: 0.05, with }));
    let agent = scene.start().await;
    for _ in 0..50 {
        (0..3).for_each(|_| logs.go_on());
        let config = another(&scene, &mut rng);
        reload(&agent, &scene, &config, APPLIED).await;
    }
    logs.end();
    scene.exactly(logs.lines().map(|line| line.marker.clone()).collect()).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn a_bad_configuration_is_told_and_the_one_before_goes_on() {
    let scene = Scene::plain().await.setting("admin: {listen: '127.0.0.1:0'}");
    let mut writers = logs::containers(&scene.root(), 1);
    let agent = scene.start().await;
    until(async || agent.get("/readyz").await.0 == 200).await;
    let bad = scene.config().replace("to: [archive, audit]", "to: [archive, nobody]");
    reload(&agent, &scene, &bad, REFUSED).await;
    let said = agent.logged(REFUSED).await;
    assert!(said.contains("nobody") && said.contains("kinetail.yaml:"), "{said}");
    assert_eq!(agent.metric("kinetail_config_last_reload_successful").await, 0.0);
    assert_eq!(agent.metric("kinetail_config_reloads_total{outcome=\"refused\"}").await, 1.0);
    let (code, text) = agent.get("/readyz").await;
    assert_eq!(code, 503, "{text}");
    let problem = text.lines().find(|line| line.starts_with("problem: configuration: ")).expect(&text);
    assert!(problem.contains("nobody"), "{text}");
    assert!(text.contains("the one before goes on; correct the file"), "{text}");
    assert_eq!(agent.get("/livez").await.0, 200, "nothing is stuck");
    writers[0].lines(10);
    scene.exactly_once(&[&writers[0]]).await;
    reload(&agent, &scene, &scene.config(), APPLIED).await;
    assert_eq!(agent.metric("kinetail_config_last_reload_successful").await, 1.0);
    assert_eq!(agent.metric("kinetail_config_reloads_total{outcome=\"applied\"}").await, 1.0);
    let (code, text) = agent.get("/readyz").await;
    assert!(code == 200 && !text.contains("configuration"), "{text}");
    writers[0].lines(10);
    scene.exactly_once(&[&writers[0]]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn what_counts_only_after_a_restart_is_named_and_the_rest_counts() {
    let scene = Scene::plain().await.setting("admin: {listen: '127.0.0.1:0'}");
    let agent = scene.start().await;
    let other = scene.config().replace("/data'", "/elsewhere'").replace("name: logs", "name: renamed");
    reload(&agent, &scene, &other, APPLIED).await;
    let said = agent.logged("restart_needed").await;
    assert!(said.contains("data_dir"), "{said}");
    assert_eq!(agent.metric("kinetail_config_restart_needed").await, 1.0);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(3);
    scene.exactly_once(&[&writer]).await;
    assert!(!scene.root().join("elsewhere").exists());
    agent.terminate().await;
}

/// A destination that takes nothing and has ten lines in its buffer when it is removed.
async fn removed_while_out(scene: &Scene, writer: &mut Writer) -> Agent {
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    let agent = scene.start().await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 10).await;
    reload(&agent, scene, &without_audit(scene), "destination_removed").await;
    agent.logged(APPLIED).await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 20).await;
    agent
}

fn without_audit(scene: &Scene) -> String {
    let config = scene.config();
    let from = config.find("  audit:").expect("the destination");
    let to = config.find("routes:").expect("the routes");
    format!("{}{}", &config[..from], &config[to..]).replace("to: [archive, audit]", "to: [archive]")
}

async fn scene_of_removal() -> Scene {
    Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
}

#[tokio::test]
async fn a_removed_destination_drains_and_says_when_it_is_empty() {
    let scene = scene_of_removal().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = removed_while_out(&scene, &mut writer).await;
    assert!(!agent.process().lines().iter().any(|line| line.contains("destination_drained")));
    scene.endpoint.heal();
    agent.logged("destination_drained").await;
    let first: Vec<Marker> = writer.markers().take(10).collect();
    scene.endpoint.look(|account| account.stream(AUDIT).assert_exactly_once(first));
    // When it comes back it goes on where it was: the file still has what came meanwhile.
    reload(&agent, &scene, &scene.config(), APPLIED).await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn the_records_of_a_removed_destination_are_kept_where_that_is_said() {
    let scene = scene_of_removal().await.setting("buffer: {removed_destinations: keep}");
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = removed_while_out(&scene, &mut writer).await;
    scene.endpoint.heal();
    agent.terminate().await;
    scene.endpoint.look(|account| assert_eq!(account.stream(AUDIT).distinct(), 0));
    let again = Agent::start(&without_audit(&scene), &scene.root());
    let said = again.logged("buffer_kept").await;
    assert!(said.contains("audit"), "{said}");
    reload(&again, &scene, &scene.config(), APPLIED).await;
    writer.lines(10);
    scene.exactly_once(&[&writer]).await;
    again.terminate().await;
}

#[tokio::test]
async fn a_destination_that_is_another_gets_what_the_one_before_did_not_take() {
    let mut scene = scene_of_removal().await;
    scene.audit_at(Some("http://127.0.0.1:9".into()));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(50);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 50).await;
    agent.logged("destination_backing_off").await;
    scene.audit_at(None);
    reload(&agent, &scene, &scene.config(), "\"changed\":\"[\\\"audit\\\"]\"").await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_destination_that_did_not_change_keeps_its_request_under_way() {
    let scene = Scene::plain().await;
    let gate = Gate::closed();
    scene.endpoint.inject(Rule::new(Fault::Hang(gate.clone())).stream(ARCHIVE).times(1));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    let agent = scene.start().await;
    writer.lines(10);
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 10).await;
    let other = scene.config().replace("name: logs", "name: renamed");
    reload(&agent, &scene, &other, APPLIED).await;
    gate.open();
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_configmap_whose_links_are_exchanged_is_loaded_by_itself() {
    let scene = Scene::plain().await.setting("watch_config: true");
    let mount = scene.root().join("mounted");
    for (version, name) in [("..1", "first"), ("..2", "second")] {
        fs::create_dir_all(mount.join(version)).expect("a folder");
        let config = scene.config().replace("name: logs", &format!("name: {name}"));
        fs::write(mount.join(version).join("kinetail.yaml"), config).expect("a configuration");
    }
    symlink("..1", mount.join("..data")).expect("a link");
    symlink("..data/kinetail.yaml", mount.join("kinetail.yaml")).expect("a link");
    let mut command = kinetail(&scene.root());
    command.args(["run", "--config"]).arg(mount.join("kinetail.yaml"));
    let process = support::process::Process::start(command);
    process.line(|line| line.contains("\"ready\"")).await;
    symlink("..2", mount.join("..data_tmp")).expect("a link");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("it is exchanged at once");
    process.line(|line| line.contains(APPLIED)).await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(1);
    process.line(|line| line.contains("file_found") && line.contains("\"second\"")).await;
    scene.exactly_once(&[&writer]).await;
    process.terminate().await;
}

#[tokio::test]
async fn the_service_manager_is_told_of_a_reload_and_its_end() {
    let scene = Scene::plain().await;
    let path = scene.root().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    fs::write(scene.root().join("kinetail.yaml"), scene.config()).expect("a configuration");
    let mut command = kinetail(&scene.root());
    command.args(["run", "--config", "kinetail.yaml"]).env("NOTIFY_SOCKET", &path);
    let process = support::process::Process::start(command);
    let told = async |what: &str| {
        let mut buffer = [0; 4096];
        let hear = async {
            loop {
                let length = socket.recv(&mut buffer).await.expect("a message");
                let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if message.lines().any(|line| line == what) {
                    return message;
                }
            }
        };
        support::endpoint::patiently(|| format!("{what} was not told"), hear).await
    };
    told("READY=1").await;
    process.signal(Signal::HUP);
    let reloading = told("RELOADING=1").await;
    let time = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(time.is_some_and(|time| time.parse::<u64>().is_ok()), "{reloading}");
    told("READY=1").await;
    process.terminate().await;
}
