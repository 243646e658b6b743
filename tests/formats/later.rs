//! What a version left in the middle of its work, with the log files that it was reading: the present version must go on with
//! the very next line of each, under the ids that were foretold.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use serde_json::Value;

use super::support::commands::json;
use super::support::endpoint::Marker;
use super::support::kubernetes::{Api, PodObject, namespace};
use super::support::logs::{Container, compress};
use super::support::process::{Agent, until};
use super::support::scene::{ARCHIVE, AUDIT, Scene};
use super::{Records, copy, delivered, harmless};

/// The nodes' pods: one whose label sends it to a route of its own, one without, and one of which the API does not know at first.
pub(super) const WEB: &str = "web";
pub(super) const SHOP: &str = "shop";
pub(super) const LATE: &str = "late";
/// What is written between the part of a line that was there and its end.
pub(super) const REST: &str = " and its rest";

/// A folder with logs, the endpoint, an API server, and the configuration for them.
pub(super) struct Node {
    pub(super) scene: Scene,
    _api: Api,
    pub(super) config: String,
}

impl Node {
    /// `config` has places for what is another each time. Pods have these labels `team`.
    pub(super) async fn with(config: &str, teams: &[(&str, &str)]) -> Self {
        let (scene, api) = (Scene::plain().await, Api::start().await);
        api.put("namespaces", namespace("shop", ("tier", "gold")));
        for (pod, team) in teams {
            api.pod(&PodObject::of(&Container::of_pod(pod)).label("team", team));
        }
        let config = config
            .replace("{kubernetes}", &api.config(&scene.root().join("token"), "wait: 1h"))
            .replace("{root}", &scene.root().display().to_string())
            .replace("{endpoint}", &scene.endpoint.url());
        Self { scene, _api: api, config }
    }

    pub(super) async fn start(&self) -> Agent {
        let agent = Agent::start(&self.config, &self.scene.root());
        agent.logged("\"ready\"").await;
        agent
    }

    /// Waits until all of them have come to a stream.
    pub(super) async fn come(&self, stream: &str, markers: &[Marker]) {
        let missing = |account: &super::support::endpoint::Account| {
            let missing: Vec<&Marker> =
                markers.iter().filter(|marker| account.stream(stream).copies(marker) == 0).collect();
            format!("{account}\nmissing in {stream}: {missing:?}")
        };
        let all = |account: &super::support::endpoint::Account| {
            markers.iter().all(|marker| account.stream(stream).copies(marker) > 0)
        };
        self.scene.endpoint.wait_until_or(all, missing).await;
    }
}

/// What a version has to deliver, and what it keeps.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct Outcome {
    pub(super) archive: Records,
    pub(super) audit: Records,
    /// As `kinetail dead-letters ls` has them.
    pub(super) dead_letters: Value,
}

/// Whether the journal can be read here. CI must have what it takes; elsewhere the test says why it did nothing.
pub(super) fn possible() -> bool {
    let there = Path::new("/usr/bin/journalctl").exists();
    assert!(there || std::env::var_os("CI").is_none(), "journalctl is not installed");
    if !there {
        eprintln!("skipped, as journalctl is not installed (Debian's package systemd)");
    }
    there
}

/// Goes on from what was kept, with lines that were written since and one that is written then. Waits for these markers.
pub(super) async fn go_on(folder: &Path, due: &BTreeMap<&str, Vec<Marker>>) -> Outcome {
    let config = fs::read_to_string(folder.join("kinetail.yaml")).expect("its configuration");
    // Its label is another now, but the rules are not: it stays on its route.
    let node = Node::with(&config, &[(WEB, "shop"), (SHOP, "shop"), (LATE, "pay-late")]).await;
    let root = node.scene.root();
    restore(folder, &root);
    append(&root.join("logs/app.log"), &lines("later-app", 0..3));
    append(&root.join("old/sys.log"), &lines("later-sys", 0..2));
    compress(&root.join("old/sys.log.1"));
    let cri = |tag: &str, text: &str| format!("2026-11-21T10:00:00.1Z stdout {tag} {text}\n");
    let log_of = |pod: &str| Container::of_pod(pod).folder(&root).join("0.log");
    let web: Vec<String> = lines("later-web", 0..2).iter().map(|line| cri("F", line.trim_end())).collect();
    append(&log_of(WEB), &web);
    append(&log_of(SHOP), &[cri("F", REST)]);
    let agent = node.start().await;
    append(&root.join("logs/app.log"), &lines("later-app", 3..4));
    for stream in [ARCHIVE, AUDIT] {
        node.come(stream, &due[stream]).await;
    }
    // What was put into the buffer again is no letter any more, once that is durable.
    let all_failed = |listed: &Value| {
        let all = listed["dead_letters"].as_array().expect("a list");
        let failed = |of: &Value| (&of["reason"], &of["letters"]) == (&"step_failed".into(), &1.into());
        all.len() == 2 && all.iter().all(failed)
    };
    until(async || all_failed(&json(&node.scene, "dead-letters ls").await)).await;
    let letters = json(&node.scene, "dead-letters ls").await;
    let log = agent.terminate().await.lines;
    harmless(&log);
    for stream in [ARCHIVE, AUDIT] {
        assert_eq!(
            node.scene.records(stream).len(),
            delivered(&node.scene, stream).len(),
            "each comes once to {stream}"
        );
    }
    Outcome {
        archive: delivered(&node.scene, ARCHIVE),
        audit: delivered(&node.scene, AUDIT),
        dead_letters: letters["dead_letters"].clone(),
    }
}

/// So many lines of a program's own log.
pub(super) fn lines(name: &str, numbers: std::ops::Range<u64>) -> Vec<String> {
    numbers.map(|number| format!("{}\n", Marker::new(name, number))).collect()
}

pub(super) fn append(path: &Path, lines: &[String]) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("the log");
    file.write_all(lines.concat().as_bytes()).expect("it is written");
}

/// Below a folder, with the paths as they are seen from there.
pub(super) fn files_below(folder: &Path, under: &str) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder.join(under)) else { return Vec::new() };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.expect("an entry");
        let name = format!("{under}/{}", entry.file_name().to_str().expect("text"));
        match entry.file_type().expect("a type").is_dir() {
            true => files.extend(files_below(folder, &name)),
            false => files.push((name, entry.path())),
        }
    }
    files.sort();
    files
}

/// Puts what was kept to another place: files have other inodes there, and checkpoints must name those.
fn restore(folder: &Path, root: &Path) {
    copy(&folder.join("data"), &root.join("data"));
    let kept = fs::read_to_string(folder.join("files.json")).expect("which files there were");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    let mut ids = HashMap::new();
    for file in kept["files"].as_array().expect("a list") {
        let name = file["path"].as_str().expect("a path");
        let to = root.join(name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        let mut bytes = fs::read(folder.join("files").join(name)).unwrap_or_default();
        if bytes.is_empty() && file["packed"] == true {
            let packed = fs::File::open(folder.join("files").join(format!("{name}.packed"))).expect("a file");
            GzDecoder::new(packed).read_to_end(&mut bytes).expect("gzip");
        }
        fs::write(&to, bytes).expect("a file");
        let modified = UNIX_EPOCH + Duration::from_nanos(file["modified"].as_u64().expect("a time"));
        fs::File::options().write(true).open(&to).and_then(|it| it.set_modified(modified)).expect("its time");
        let now = fs::metadata(&to).expect("it is there");
        let born = now.created().map_or(0, nanos);
        ids.insert(file["inode"].as_u64().expect("a number"), [now.dev(), now.ino(), born]);
    }
    let moved = (kept["root"].as_str().expect("a path"), root.to_str().expect("text"));
    for name in ["checkpoint", "checkpoint.previous"] {
        let path = root.join("data").join(name);
        let bytes = fs::read(&path).expect("a checkpoint");
        let (first, mut body) = parts_of(&bytes);
        adapt(&mut body, moved, &ids);
        fs::write(&path, whole(first, &body)).expect("a checkpoint");
    }
}

pub(super) fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos()).expect("this century")
}

/// What a checkpoint's first line begins with, and its body.
pub(super) fn parts_of(bytes: &[u8]) -> (&str, Value) {
    let text = std::str::from_utf8(bytes).expect("text");
    let (first, body) = text.split_once('\n').expect("a first line");
    let (begin, _) = first.split_once(" crc32=").expect("a checksum");
    (begin, serde_json::from_str(body).expect("JSON"))
}

/// The other way round.
pub(super) fn whole(begin: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("{begin} crc32={:08x} len={}\n{body}\n", crc32fast::hash(body.as_bytes()), body.len())
}

fn adapt(value: &mut Value, moved: (&str, &str), ids: &HashMap<u64, [u64; 3]>) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix(moved.0) {
                *text = format!("{}{rest}", moved.1);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| adapt(value, moved, ids)),
        Value::Object(fields) => {
            if let Some([dev, ino, born]) = fields.get("ino").and_then(|ino| ids.get(&ino.as_u64()?)) {
                for (name, number) in [("dev", dev), ("ino", ino), ("born", born)] {
                    fields.insert(name.into(), (*number).into());
                }
            }
            fields.values_mut().for_each(|value| adapt(value, moved, ids));
        }
        _ => {}
    }
}

/// Goes on from what a version left, and holds what comes of it against what was kept with it.
pub(super) async fn is_gone_on_from(folder: &Path) {
    let expected = fs::read_to_string(folder.join("expected.json")).expect("what it has to deliver");
    let expected: Outcome = serde_json::from_str(&expected).expect("JSON");
    let due = |records: &Records| records.values().filter_map(|text| Marker::find(text.as_bytes())).collect();
    let due = BTreeMap::from([(ARCHIVE, due(&expected.archive)), (AUDIT, due(&expected.audit))]);
    assert_eq!(go_on(folder, &due).await, expected, "{}", folder.display());
}
