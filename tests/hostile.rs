//! Names and lines that somebody else chooses.

mod support;

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde_json::json;
use support::endpoint::Marker;
use support::logs::{Container, Format, Writer};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// Names of files that nobody would choose without a reason.
fn names() -> Vec<OsString> {
    let mut names: Vec<Vec<u8>> = [
        &b"new\nline.log"[..],
        b"not-utf-8-\xff\xfe.log",
        b"cut-\xc3.log",
        b"quote\".log",
        b"back\\slash.log",
        b"*?[a]{b,c}.log",
        b"${env:HOME}.log",
        b"\x1b[31mred\x07.log",
        b" .log",
        b"\xe2\x80\xae\xf0\x9f\xa6\x80.log",
    ]
    .map(<[u8]>::to_vec)
    .into();
    let mut long = b"x".repeat(255 - 4);
    long.extend_from_slice(b".log");
    names.push(long);
    names.into_iter().map(OsString::from_vec).collect()
}

#[tokio::test]
async fn files_of_any_name_are_followed_and_give_valid_records_over_a_kill() {
    let scene = Scene::plain().await.route(&["files: '{root}/app/**/*.log'", "start_at: beginning"]);
    // Deep enough that the path is far longer than a name may be.
    let deep: PathBuf = std::iter::repeat_n("d".repeat(200), 15).collect();
    let mut paths: Vec<PathBuf> =
        names().into_iter().map(|name| scene.root().join("app").join(name)).collect();
    paths.push(scene.root().join("app").join(deep).join("end.log"));
    let mut writers: Vec<Writer> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            Writer::plain(path, &format!("app-{index}"))
        })
        .collect();
    writers.iter_mut().for_each(|writer| writer.lines(5));
    let agent = scene.start().await;
    scene.arrived(5 * writers.len()).await;
    writers.iter_mut().for_each(|writer| writer.lines(5));
    scene.arrived(10 * writers.len()).await;
    agent.kill().await;
    writers.iter_mut().for_each(|writer| writer.lines(5));
    let agent = scene.start().await;
    scene.arrived(15 * writers.len()).await;
    agent.terminate().await;
    scene.ids_are_unique();
    for record in scene.records(AUDIT) {
        let marker = Marker::find(record["log"].as_str().unwrap().as_bytes()).unwrap();
        let index: usize = marker.writer.strip_prefix("app-").unwrap().parse().unwrap();
        assert_eq!(record["file"], *paths[index].to_string_lossy());
    }
    let longest = scene.records(AUDIT).iter().map(|record| record["file"].to_string().len()).max();
    assert!(longest.is_some_and(|longest| longest > 3000), "{longest:?}");
}

#[tokio::test]
async fn a_name_with_a_line_break_cannot_forge_a_line_of_the_log() {
    let scene = Scene::plain()
        .await
        .route(&["files: '{root}/app/*.log'", "start_at: beginning"])
        .setting("log: {format: text, level: trace}");
    let name = b"x\nFORGED ERROR everything is fine\r\nFORGED.log";
    let mut writer = Writer::plain(scene.root().join("app").join(std::ffi::OsStr::from_bytes(name)), "app");
    writer.lines(3);
    let log = scene.once().await;
    assert!(log.iter().any(|line| line.contains("FORGED ERROR")), "the path is in the log");
    assert!(!log.iter().any(|line| line.starts_with("FORGED")), "{}", log.join("\n"));
}

#[tokio::test]
async fn a_log_line_cannot_forge_where_it_came_from() {
    let scene = Scene::plain().await.route(&[
        "files: '{root}/pods/*/*/*.log'",
        "format: cri",
        "start_at: beginning",
        "process: [parse: json, rename: {innocent: host, nested.deep: kubernetes}]",
    ]);
    let mut writer = Writer::container(&scene.root(), &Container::of_pod("honest"), Format::Containerd);
    let forged = json!({
        "msg": "app line 000000", "time": "1999-01-01T00:00:00Z", "stream": "stderr", "file": "/etc/passwd",
        "host": "elsewhere", "kubernetes": {"namespace_name": "kube-system"}, "record_id": "0".repeat(32),
        "truncated": true, "innocent": "renamed", "nested": {"deep": {"namespace_name": "kube-system"}},
    });
    writer.raw(format!("2026-01-02T03:04:05.123456789Z stdout F {forged}\n").as_bytes());
    // Neither by two objects in a line, nor by what looks like the runtime's own form.
    writer.raw(b"2026-01-02T03:04:06Z stdout F 2026-01-02T03:04:06Z stderr F app line 000001\n");
    scene.once().await;
    for stream in [ARCHIVE, AUDIT] {
        let records = scene.records(stream);
        assert_eq!(records.len(), 2);
        for record in &records {
            assert_eq!(record["kubernetes"]["namespace_name"], "shop");
            assert_eq!(record["kubernetes"]["pod_name"], "honest");
            assert_eq!(record["stream"], "stdout");
            assert_eq!(record["file"], writer.path().to_str().unwrap());
            assert_ne!(record["host"], "elsewhere");
            assert_ne!(record["host"], "renamed");
            assert_ne!(record["record_id"], forged["record_id"]);
            assert!(record["time"].as_str().unwrap().starts_with("2026-01-02T03:04:0"));
            assert!(record.get("truncated").is_none());
        }
        assert_eq!(records[0]["log_file"], "/etc/passwd", "it is kept under another name");
    }
}
