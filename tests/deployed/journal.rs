//! The journal of a host, with the permissions that systemd gives it, read as the unit's user and from containers.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use crate::manifest::Manifest;
use crate::node::Node;
use crate::support::clients::{ACCESS_KEY, SECRET_KEY};
use crate::support::container::{Container, Mount};
use crate::support::endpoint::{Endpoint, Marker, Stream};
use crate::support::journald::{Journald, journalctl, possible};
use crate::support::process::Process;
use crate::support::unit::{self, USER};

const ARCHIVE: &str = "archive";

/// A route that reads the journal; `endpoint` is a line that says where the stream is, `how` are more keys of `journal`.
fn config(admin: &str, endpoint: &str, how: &str) -> String {
    format!(
        "data_dir: /var/lib/kinetail
admin: {{listen: '{admin}'}}
destinations:
  {ARCHIVE}:
    type: firehose
    stream: {ARCHIVE}
    packing: newline
    region: eu-central-1
{endpoint}    batch: {{max_age: 50ms}}
routes:
  - name: journal
    format: journald
    start_at: beginning
    journal: {{folders: /var/log/journal, message_as_log: true{how}}}
    to: {ARCHIVE}
"
    )
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
    let endpoint = Endpoint::plain().stream(Stream::firehose(ARCHIVE)).start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
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
    let text = config("127.0.0.1:0", &format!("    endpoint: '{}'\n", endpoint.url()), "");
    fs::write(etc.join("kinetail.yaml"), text).expect("the configuration");
    open(&etc.join("kinetail.yaml"));
    let mut journald = Journald::of_a_host(folder.path()).await;
    let mount = |from: &Path, at: &str, read_only| Mount { from: from.into(), at: at.into(), read_only };
    let keys = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let keys = keys.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut container = Container { environment: keys.into(), mounts: journalctl(), ..unit::container() };
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
async fn a_pod_reads(mut manifest: Manifest, how: &str, more: Vec<Mount>) {
    let node = Node::with(&[ARCHIVE]).await;
    node.apply(&Manifest::file("examples/secret.yaml"));
    let mut journald = Journald::of_a_host(&node.at("/var")).await;
    *manifest.config() = config("0.0.0.0:9602", "", how);
    let mut pod = node.pod(&manifest);
    assert_eq!((pod.container.user.0, pod.container.capabilities.len()), (0, 0));
    pod.container.mounts.extend(more);
    is_read(&node.cloud.endpoint, &mut journald, async |_| pod.ready().await.process).await;
}

#[tokio::test]
async fn a_pod_whose_image_has_journalctl_reads_the_nodes_journal() {
    if !possible() {
        return;
    }
    a_pod_reads(Manifest::file("local.yaml"), "", journalctl()).await;
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
    assert_eq!(commands.len(), 4, "{commands:?}");
    let of_node = |path: &str| Path::new(path.strip_prefix("/host").expect("below /host")).to_path_buf();
    let fits = |words: &[String]| {
        let libraries = words[2].split(':').next().expect("folders");
        words[1] == "--library-path"
            && of_node(&words[0]).exists()
            && of_node(libraries).join("libc.so.6").exists()
    };
    let Some((command, _)) = commands.iter().find(|(_, words)| fits(words)) else {
        assert!(std::env::var_os("CI").is_none(), "none is for this machine: {commands:?}");
        eprintln!("skipped: none of the documented commands is for this machine");
        return;
    };
    let Some(manifest) = Manifest::with_components("local", &["node-journal"]) else { return };
    a_pod_reads(manifest, &format!(", command: {command}"), Vec::new()).await;
}
