//! The journal of a host, with the permissions that systemd gives it, read as the unit's user and from containers.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use support::clients::{ACCESS_KEY, SECRET_KEY};
use support::container::{Container, Mount};
use support::endpoint::{Endpoint, Marker, Stream};
use support::journald::{Journald, journalctl, possible};
use support::node::Node;
use support::process::Process;
use support::unit::{self, USER};

const ARCHIVE: &str = "archive";

async fn endpoint() -> Endpoint {
    Endpoint::plain().stream(Stream::firehose(ARCHIVE)).start().await
}

/// A route that reads the journal; `how` are more keys of its section `journal`.
fn config(endpoint: &Endpoint, how: &str) -> String {
    format!(
        "data_dir: /var/lib/kinetail
admin: {{listen: '127.0.0.1:0'}}
destinations:
  {ARCHIVE}:
    type: firehose
    stream: {ARCHIVE}
    packing: newline
    region: eu-central-1
    endpoint: '{url}'
    batch: {{max_age: 50ms}}
routes:
  - name: journal
    format: journald
    start_at: beginning
    journal: {{folders: /var/log/journal, message_as_log: true{how}}}
    to: {ARCHIVE}
",
        url = endpoint.url(),
    )
}

fn credentials() -> Vec<(String, String)> {
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Its entries come over a rotation and over a kill of the reader. What the kill interrupted may come twice, under one id.
async fn is_read(endpoint: &Endpoint, journald: &mut Journald, start: impl AsyncFn(u32) -> Process) {
    let say = |journald: &mut Journald, name: &str| {
        (0..100).for_each(|number| journald.say(Marker::new(name, number), b""));
    };
    let arrived = async |journald: &Journald| {
        let all = journald.sent().len();
        endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() >= all).await;
    };
    say(journald, "before");
    let process = start(1).await;
    arrived(journald).await;
    journald.rotate().await;
    say(journald, "meanwhile");
    arrived(journald).await;
    endpoint.look(|account| account.stream(ARCHIVE).assert_exactly_once(journald.sent().to_vec()));
    process.kill().await;

    say(journald, "killed");
    let process = start(2).await;
    arrived(journald).await;
    process.terminate().await;
    let records: Vec<serde_json::Value> = endpoint.look(|account| account.stream(ARCHIVE).json().collect());
    let mut ids: Vec<(&str, &str)> = records
        .iter()
        .map(|record| (record["log"].as_str().expect("a text"), record["record_id"].as_str().expect("an id")))
        .filter(|(text, _)| Marker::find(text.as_bytes()).is_some())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), journald.sent().len());
}

#[tokio::test]
async fn the_units_user_reads_the_journal_of_root_by_its_capability() {
    if !possible() {
        return;
    }
    let (endpoint, folder) = (endpoint().await, tempfile::tempdir().expect("a temporary folder"));
    let open =
        |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let on = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(&path).expect("a folder");
        open(&path);
        path
    };
    let (etc, state) = (on("etc"), on("state"));
    chown(&state, Some(USER), Some(USER)).expect("we are root");
    fs::write(etc.join("kinetail.yaml"), config(&endpoint, "")).expect("the configuration");
    open(&etc.join("kinetail.yaml"));
    let mut journald = Journald::of_a_host(folder.path()).await;
    let mount = |from: &Path, at: &str, read_only| Mount { from: from.into(), at: at.into(), read_only };
    let mut container = Container { environment: credentials(), mounts: journalctl(), ..unit::container() };
    container.mounts.extend([
        mount(&etc, "/etc/kinetail", true),
        mount(&on("log"), "/var/log", true),
        mount(&state, "/var/lib/kinetail", false),
    ]);
    let start = async |life: u32| {
        let process = container.start(&on(&format!("root-{life}")));
        process.line(|line| line.contains("\"ready\"")).await;
        process
    };
    is_read(&endpoint, &mut journald, start).await;

    // Without it, what is wrong is told with the remedy.
    let without = Container { capabilities: Vec::new(), ..container.clone() }.start(&on("root-3"));
    let told = without.line(|line| line.contains("journal_unreadable")).await;
    assert!(told.contains("system.journal cannot be read: Permission denied"), "{told}");
    assert!(told.contains("the group systemd-journal") && told.contains("DAC_READ_SEARCH"), "{told}");
    without.terminate().await;
}

/// The DaemonSet's pod reads its node's journal.
async fn a_pod_reads(mut node: Node, how: &str, more: Vec<Mount>) {
    let endpoint = endpoint().await;
    let mut journald = Journald::of_a_host(&node.on("/var")).await;
    node.config = config(&endpoint, how);
    // It shares the network with the endpoint.
    let mut container = Container { own_network: false, ..node.container() };
    assert_eq!((container.user.0, container.capabilities.len()), (0, 0));
    container.environment.extend(credentials());
    container.mounts.extend(more);
    let start = async |life| node.start(&container, life).await.process;
    is_read(&endpoint, &mut journald, start).await;
}

#[tokio::test]
async fn a_pod_whose_image_has_journalctl_reads_the_nodes_journal() {
    if !possible() {
        return;
    }
    a_pod_reads(Node::with("local.yaml"), "", journalctl()).await;
}

#[tokio::test]
async fn a_pod_of_the_image_reads_the_nodes_journal_by_the_nodes_journalctl_as_is_documented() {
    if !possible() {
        return;
    }
    // For each kind of node a line; this machine is one of them.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = fs::read_to_string(path).expect("the documentation");
    let told = text.lines().filter_map(|line| line.split_once("`command: ")?.1.split_once('`'));
    let commands: Vec<(&str, Vec<String>)> =
        told.map(|(list, _)| (list, serde_yaml::from_str(list).expect("a list of texts"))).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    let fits = |words: &[String]| {
        let libraries = words[2].split(':').next().expect("folders");
        words[1] == "--library-path"
            && Path::new(&libraries.replacen("/host", "", 1)).join("libc.so.6").exists()
    };
    let Some((command, _)) = commands.iter().find(|(_, words)| fits(words)) else {
        assert!(std::env::var_os("CI").is_none(), "none is for this machine: {commands:?}");
        eprintln!("skipped: none of the documented commands is for this machine");
        return;
    };
    a_pod_reads(Node::with("local.yaml").and("node-journal"), &format!(", command: {command}"), Vec::new())
        .await;
}
