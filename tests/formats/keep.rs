//! Keeping what the version at hand leaves in `data_dir`, for those that come after it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use kinetail::buffer::frame::FOOTER;
use kinetail::tail::checkpoint::{self, Loaded};
use kinetail::tail::{Entry, Status};
use serde_json::{Value, json};

use super::later::{self, LATE, Node, REST, SHOP, WEB};
use super::support::commands::{command, text};
use super::support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use super::support::journald::Journald;
use super::support::logs::{Container, Format, Stream, Writer};
use super::support::process::until;
use super::support::scene::{ARCHIVE, AUDIT, markers};
use super::{Records, copy, delivered};

/// The folders with logs, below that of the test.
const LOGS: [&str; 5] = ["pods", "logs", "old", "broken", "log/journal"];

/// Has a node work until it has met with everything that a checkpoint can tell: files that grow, were rotated, compressed and
/// deleted, or are ignored; a journal; pods on routes by their labels, and one whose labels are not known; a line of which the end is missing; a
/// destination that is behind, with chunks that are closed and one that is not; dead letters, one of which is on its way back. Then it is killed.
pub(super) async fn later(folder: &Path) {
    let config = include_str!("later.yaml");
    let node = Node::with(config, &[(WEB, "pay-eu"), (SHOP, "shop")]).await;
    let (root, endpoint) = (node.scene.root(), &node.scene.endpoint);
    let pod =
        |name: &str| Writer::container(&root, &Container::of_pod(name), Format::Containerd).lengths(0..40);
    let log = |name: &str| {
        Writer::plain(root.join(name), name.trim_end_matches(".log").rsplit('/').next().unwrap_or(name))
            .lengths(0..40)
    };
    let (mut web, mut shop, mut late) = (pod(WEB), pod(SHOP), pod(LATE));
    let (mut app, mut gone, mut sys) = (log("logs/app.log"), log("logs/gone.log"), log("old/sys.log"));
    web.lines(3);
    shop.lines(3);
    late.lines(2);
    app.lines(5);
    gone.lines(3);
    sys.lines(5);
    log("old/sys.log.1").lines(5);
    fs::create_dir_all(root.join("broken")).expect("a folder");
    later::append(&root.join("broken/b.log"), &["no JSON\n".into()]);
    let mut journald = Journald::start(&root).await;
    (0..5).for_each(|number| journald.say(Marker::new("unit", number), b" said"));
    journald.written().await;

    let agent = node.start().await;
    let of = |writer: &Writer| -> Vec<Marker> { writer.markers().collect() };
    node.come(ARCHIVE, &of(&web)).await;
    for stream in [ARCHIVE, AUDIT] {
        for markers in [of(&shop), of(&app), of(&gone), markers("unit", 0..5)] {
            node.come(stream, &markers).await;
        }
    }
    sys.lines(2);
    gone.delete();
    for _ in 0..2 {
        app.rotate();
        app.lines(5);
        for stream in [ARCHIVE, AUDIT] {
            node.come(stream, &of(&app)).await;
            node.come(stream, &markers("sys", 5..7)).await;
        }
    }
    let refused = Marker::new("app", 15);
    let with = ErrorAnswer::invalid_argument("a record is not valid");
    endpoint.inject(Rule::new(Fault::Poison { text: refused.to_string().into(), with }).stream(AUDIT));
    app.lines(1);
    node.come(ARCHIVE, &of(&app)).await;
    until(async || node.scene.dead_letters(AUDIT).len() == 2 && node.scene.dead_letters(ARCHIVE).len() == 1)
        .await;
    let waiting =
        async |of: &str| agent.metric(&format!("kinetail_buffer_records{{destination=\"{of}\"}}")).await;
    for destination in [ARCHIVE, AUDIT] {
        until(async || waiting(destination).await == 0.0).await;
    }
    endpoint.heal();
    endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    // Into the chunk of which much was acknowledged, into one of their own, and into one that stays open.
    let mut bulk = log("logs/bulk.log").lengths(200..250);
    for (count, behind) in [(20, 20.0), (150, 170.0), (20, 190.0)] {
        bulk.lines(count);
        until(async || waiting(AUDIT).await == behind).await;
    }
    web.lines(2);
    shop.begin_line(Stream::Stdout);
    for writer in [&bulk, &web] {
        node.come(ARCHIVE, &of(writer)).await;
    }
    until(async || waiting(ARCHIVE).await == 0.0 && waiting(AUDIT).await == 190.0).await;
    until(async || tells_all(&node, &root)).await;
    agent.kill().await;
    (5..8).for_each(|number| journald.say(Marker::new("unit", number), b" said while nobody read"));
    journald.kill().await;
    let replay = command(&node.scene, "dead-letters replay audit").await;
    assert!(replay.status.success(), "{}", text(&replay.stderr));

    copy(&root.join("data"), &folder.join("data"));
    assert!(has_all_kinds_of_chunks(&folder.join("data/buffer/audit")), "{}", folder.display());
    fs::write(folder.join("kinetail.yaml"), config).expect("a file");
    freeze(folder, &root);
    let later = [markers("later-app", 0..4), markers("later-sys", 0..2), markers("unit", 5..8)].concat();
    let open = vec![Marker::new(SHOP, 3)];
    let to_archive = [later.clone(), open.clone(), markers("later-web", 0..2), of(&late)].concat();
    let to_audit = [later, open, of(&bulk), vec![refused]].concat();
    let due = BTreeMap::from([(ARCHIVE, to_archive), (AUDIT, to_audit)]);
    let outcome = later::go_on(folder, &due).await;
    for (records, stream) in [(&outcome.archive, ARCHIVE), (&outcome.audit, AUDIT)] {
        come_once(records, &delivered(&node.scene, stream), &due[stream]);
    }
    let before = delivered(&node.scene, ARCHIVE);
    assert!(of(&bulk).iter().all(|it| id_of(&before, it) == id_of(&outcome.audit, it)), "one line, one id");
    assert!(outcome.audit.values().any(|text| text.ends_with(REST)), "{outcome:?}");
    write_json(&folder.join("expected.json"), &outcome);
    everything(folder);
}

/// What comes is what has to come, and nothing that came before.
fn come_once(records: &Records, before: &Records, due: &[Marker]) {
    let come: Vec<Marker> = records.values().filter_map(|text| Marker::find(text.as_bytes())).collect();
    let (mut come, mut due) = (come, due.to_vec());
    come.sort();
    due.sort();
    assert_eq!(come, due);
    assert!(records.keys().all(|id| !before.contains_key(id)), "one came under the id of another");
}

fn id_of<'a>(records: &'a Records, marker: &Marker) -> Option<&'a String> {
    records.iter().find(|(_, text)| Marker::find(text.as_bytes()).as_ref() == Some(marker)).map(|(id, _)| id)
}

/// Whether the durable checkpoint knows of all that befell the files, and of every byte that is in the buffers.
fn tells_all(node: &Node, root: &Path) -> bool {
    let Ok(Loaded::Checkpoint(checkpoint)) = checkpoint::load(&node.scene.data_dir()) else { return false };
    let files = LOGS.iter().flat_map(|under| later::files_below(root, under));
    let plain = files.filter(|(name, _)| !name.ends_with(".gz"));
    let lengths: BTreeMap<u64, u64> =
        plain.filter_map(|(_, path)| fs::metadata(path).ok()).map(|it| (it.ino(), it.len())).collect();
    let read = checkpoint.files.iter().all(|entry| {
        let end = lengths.get(&entry.id.inode);
        let left = entry.unrouted || entry.journal.is_some() || entry.status == Status::Ignored;
        left || end.is_none_or(|end| entry.progress.iter().all(|progress| progress.position.offset == *end))
    });
    let any = |holds: &dyn Fn(&Entry) -> bool| checkpoint.files.iter().any(holds);
    read && any(&|entry| entry.unrouted)
        && any(&|entry| entry.journal.is_some_and(|journal| journal.tail > 0))
        && any(&|entry| entry.rules.is_some() && !entry.unrouted)
        && any(&|entry| entry.status == Status::Finished)
        && any(&|entry| entry.status == Status::Ignored)
        && any(&|entry| entry.vanished.is_some())
        && any(&|entry| entry.moved_to.is_some())
        && any(&|entry| entry.path.ends_with("bulk.log") && entry.progress.len() == 2)
        && any(&|entry| entry.progress.iter().any(|progress| !progress.position.open.is_empty()))
}

/// Chunks that are closed, with acknowledgements and without, and one that is not.
fn has_all_kinds_of_chunks(buffer: &Path) -> bool {
    let chunks: Vec<PathBuf> = (later::files_below(buffer, ".").into_iter().map(|(_, path)| path))
        .filter(|path| path.extension().is_some_and(|extension| extension == "chunk"))
        .collect();
    let closed = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a chunk");
        bytes[bytes.len() - FOOTER..].starts_with(b"\xFFKEN")
    };
    let acked = |path: &PathBuf| path.with_extension("acks").exists();
    chunks.iter().any(|path| closed(path) && acked(path))
        && chunks.iter().any(|path| closed(path) && !acked(path))
        && chunks.iter().any(|path| !closed(path))
}

/// Keeps the log files, and what is needed to put them to another place.
fn freeze(folder: &Path, root: &Path) {
    let mut files = Vec::new();
    for (name, path) in LOGS.iter().flat_map(|under| later::files_below(root, under)) {
        let metadata = fs::metadata(&path).expect("a file");
        let to = folder.join("files").join(&name);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        let bytes = fs::read(&path).expect("a file");
        let packed = name.ends_with(".journal");
        if packed {
            let to = fs::File::create(PathBuf::from(format!("{}.packed", to.display()))).expect("a file");
            let mut out = GzEncoder::new(to, Compression::best());
            out.write_all(&bytes).and_then(|()| out.finish()).expect("it is written");
        } else {
            fs::write(&to, bytes).expect("a file");
        }
        let modified = later::nanos(metadata.modified().expect("a time"));
        files.push(json!({"path": name, "inode": metadata.ino(), "modified": modified, "packed": packed}));
    }
    write_json(&folder.join("files.json"), &json!({"root": root, "files": files}));
}

/// The checkpoint with what no quiet node has in it, or not all at once.
fn everything(folder: &Path) {
    let bytes = fs::read(folder.join("data/checkpoint")).expect("a checkpoint");
    let (begin, mut body) = later::parts_of(&bytes);
    let files = body["files"].as_array_mut().expect("a list");
    let mut last: Value = files.last().expect("a file").clone();
    let open = json!({"at": 900, "mid_line": true, "open": [{"stream": "stderr", "start": 7}]});
    last["incarnation"] = "0123456789abcdef0123456789abcdef".into();
    last["path"] = json!([47, 255, 10, 47, 97]);
    last["home"] = "/elsewhere/a".into();
    last["moved_to"] = "/elsewhere/a.1".into();
    last["further"] = json!(["pods", "old"]);
    last["vanished"] = 1_795_000_000_000_u64.into();
    last["settled"] = json!({"len": 900, "modified": 1_795_000_000_000_000_000_u64});
    last["repairs"] = json!([{"to": "audit", "from": {"at": 3}, "until": open}]);
    files.push(last);
    body["replays"][0]["reasons"] = json!(["max_attempts"]);
    fs::write(folder.join("checkpoint.everything"), later::whole(begin, &body)).expect("a file");
}

pub(super) fn write_json(path: &Path, value: &impl serde::Serialize) {
    fs::write(path, serde_json::to_string_pretty(value).expect("JSON") + "\n").expect("a file");
}
