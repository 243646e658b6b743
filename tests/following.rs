//! Files are followed by their content through everything that happens to them.

mod support;

use std::fs;

use support::endpoint::Marker;
use support::logs::{Container, Format, Stream, Writer};
use support::scene::{AUDIT, Scene, markers};

/// A program's own log, and a route that follows it from its beginning.
async fn plain_log() -> (Scene, Writer) {
    let scene = Scene::plain().await.route(&["files: '{root}/app/*.log'", "start_at: beginning"]);
    let writer = Writer::plain(scene.root().join("app/app.log"), "app");
    (scene, writer)
}

async fn container_log() -> (Scene, Writer) {
    let scene = Scene::plain().await;
    let writer = Writer::container(&scene.root(), &Container::of_pod("app"), Format::Containerd);
    (scene, writer)
}

#[tokio::test]
async fn a_restart_in_the_middle_of_a_line_loses_and_doubles_nothing() {
    let (scene, mut writer) = container_log().await;
    writer.lines(100);
    writer.begin_line(Stream::Stdout);
    let agent = scene.start().await;
    scene.arrived(100).await;
    agent.terminate().await;
    writer.end_line();
    writer.lines(50);
    writer.tear_line();
    let agent = scene.start().await;
    scene.arrived(151).await;
    agent.terminate().await;
    writer.end_line();
    writer.lines(10);
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn two_files_with_the_same_first_4_kib_are_never_mixed() {
    let scene = Scene::plain().await.route(&["files: '{root}/app/*.log'", "start_at: beginning"]);
    let folder = scene.root().join("app");
    fs::create_dir_all(&folder).unwrap();
    let banner = "#".repeat(4095) + "\n";
    let text = |name: &str, lines: std::ops::Range<u64>| {
        lines.map(|number| format!("{name} line {number:06}\n")).collect::<String>()
    };
    fs::write(folder.join("app.log"), format!("{banner}{}", text("one", 0..10))).unwrap();
    let agent = scene.start().await;
    scene.arrived(10).await;
    // Names that rotation could have given, beginnings that are equal.
    fs::write(folder.join("app.1.log"), format!("{banner}{}", text("two", 0..20))).unwrap();
    fs::write(folder.join("other.log"), format!("{banner}{}", text("three", 0..5))).unwrap();
    scene.arrived(35).await;
    agent.terminate().await;
    let agent = scene.start().await;
    fs::write(folder.join("last.log"), format!("{banner}{}", text("four", 0..1))).unwrap();
    let expected =
        [markers("one", 0..10), markers("two", 0..20), markers("three", 0..5), markers("four", 0..1)];
    scene.exactly(expected.concat()).await;
    let banners = scene.records(AUDIT).iter().filter(|record| record["log"] == banner.trim_end()).count();
    assert_eq!(banners, 4);
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn one_file_under_two_names_is_read_once() {
    let scene = Scene::plain().await.route(&[
        "files: ['{root}/pods/*/*/*.log', '{root}/links/*.log']",
        "format: cri",
        "start_at: beginning",
    ]);
    let mut writer = Writer::container(&scene.root(), &Container::of_pod("app"), Format::Crio);
    writer.link_from(&scene.root().join("links/app_shop_app-0123.log"));
    writer.lines(50);
    let agent = scene.start().await;
    scene.arrived(50).await;
    writer.lines(50);
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn start_at_end_holds_for_the_first_start_ever_and_for_nothing_that_appears_later() {
    let scene = Scene::plain().await.route(&["files: '{root}/app/*.log'"]);
    let mut old = Writer::plain(scene.root().join("app/old.log"), "old");
    old.lines(20);
    let agent = scene.start().await;
    old.lines(5);
    let mut newer = Writer::plain(scene.root().join("app/newer.log"), "newer");
    newer.lines(10);
    scene.arrived(15).await;
    agent.terminate().await;
    old.lines(5);
    let mut while_down = Writer::plain(scene.root().join("app/while-down.log"), "down");
    while_down.lines(10);
    let agent = scene.start().await;
    let expected: Vec<Marker> = old
        .markers()
        .filter(|marker| marker.line >= 20)
        .chain(newer.markers())
        .chain(while_down.markers())
        .collect();
    scene.exactly(expected).await;
    agent.terminate().await;
}

#[tokio::test]
async fn lines_of_any_bytes_and_any_length_become_records() {
    let (scene, mut writer) = plain_log().await;
    let scene = scene.tail("max_line: 1KiB");
    writer.raw(b"app line 000000 with a return\r\n");
    writer.raw(b"app line 000001 \xff\xfe not UTF-8\n");
    writer.raw(b"app line 000002 a \0 in it\n");
    writer.raw(b"\n");
    writer.raw(format!("app line 000003 {}\n", "x".repeat(3_000_000)).as_bytes());
    writer.raw(b"app line 000004 without an end");
    let agent = scene.start().await;
    scene.arrived(4).await;
    writer.delete();
    scene.exactly(markers("app", 0..5)).await;
    agent.terminate().await;
    let records = scene.records(AUDIT);
    let of = |number: u64| {
        let marker = format!("app line {number:06}");
        records.iter().find(|record| record["log"].as_str().unwrap().starts_with(&marker)).unwrap()
    };
    assert_eq!(of(0)["log"], "app line 000000 with a return");
    assert_eq!(of(1)["log"], "app line 000001 \u{fffd}\u{fffd} not UTF-8");
    assert_eq!(of(2)["log"], "app line 000002 a \0 in it");
    assert_eq!(of(3)["log"].as_str().unwrap().len(), 1024);
    assert_eq!(of(3)["truncated"], true);
    assert_eq!(of(4)["log"], "app line 000004 without an end");
    assert!(records.iter().any(|record| record["log"] == ""), "an empty line is a line");
}

#[tokio::test]
async fn polling_sees_everything_that_watching_sees() {
    let (scene, mut writer) = container_log().await;
    let scene = scene.tail("watch: poll").tail("poll_interval: 50ms");
    let agent = scene.start().await;
    for round in 1..6 {
        writer.lines(20);
        scene.arrived(20 * round).await;
        writer.rotate();
    }
    let mut late = Writer::container(&scene.root(), &Container::of_pod("late"), Format::Crio);
    late.lines(20);
    scene.exactly_once(&[&writer, &late]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_link_out_of_the_allowed_roots_is_refused_and_said() {
    let scene = Scene::plain().await.route(&["files: '{root}/app/*.log'", "start_at: beginning"]);
    let outside = tempfile::tempdir().unwrap();
    let mut secret = Writer::plain(outside.path().join("secret.txt"), "secret");
    secret.lines(5);
    secret.link_from(&scene.root().join("app/innocent.log"));
    let mut writer = Writer::plain(scene.root().join("app/app.log"), "app");
    writer.lines(5);
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.logged("allowed_roots").await;
    agent.terminate().await;
}
