//! The log writers write what container runtimes, kubelet and logrotate would.

mod support;

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use flate2::read::GzDecoder;

use support::endpoint::Marker;
use support::logs::{Container, Format, Stream, Writer, containers, siblings};

fn writer(root: &Path, format: Format) -> Writer {
    Writer::container(root, &Container::of_pod("app-07"), format)
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if path.extension().is_some_and(|end| end == "gz") {
        let file = fs::File::open(path).expect("the log");
        GzDecoder::new(file).read_to_string(&mut text).expect("gzip");
    } else {
        text = fs::read_to_string(path).expect("the log");
    }
    text
}

/// The texts of a CRI log, their parts joined per stream.
fn join_cri(log: &str) -> Vec<(Stream, String)> {
    let mut open: HashMap<Stream, String> = HashMap::new();
    let mut texts = Vec::new();
    for line in log.lines() {
        let mut fields = line.splitn(4, ' ');
        let (_time, stream, tag) = (fields.next(), fields.next(), fields.next());
        let stream = match stream {
            Some("stdout") => Stream::Stdout,
            Some("stderr") => Stream::Stderr,
            other => panic!("{other:?} is no stream"),
        };
        let text = open.entry(stream).or_default();
        text.push_str(fields.next().expect("a text"));
        match tag {
            Some("P") => {}
            Some("F") => texts.push((stream, std::mem::take(text))),
            other => panic!("{other:?} is no tag"),
        }
    }
    assert!(open.values().all(String::is_empty), "a part without an end");
    texts
}

#[test]
fn parts_joined_per_stream_are_the_lines_that_were_written() {
    for format in [Format::Containerd, Format::Crio] {
        let root = tempfile::tempdir().expect("a folder");
        let mut log = writer(root.path(), format);
        log.lines(500);
        log.begin_line(Stream::Stdout);
        log.line(Stream::Stderr);
        log.end_line();
        let text = read(log.path());
        let parts = text.lines().filter(|line| line.split(' ').nth(2) == Some("P"));
        assert!(parts.count() > 5, "{format:?} has split lines");

        let mut joined = join_cri(&text);
        let mut written: Vec<_> = log.written().iter().map(|line| (line.stream, line.text.clone())).collect();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let of_stream = |lines: &[(Stream, String)]| -> Vec<String> {
                let lines = lines.iter().filter(|(other, _)| *other == stream);
                lines.map(|(_, text)| text.clone()).collect()
            };
            assert_eq!(of_stream(&joined), of_stream(&written), "{stream:?} in its order");
        }
        joined.sort();
        written.sort();
        assert_eq!(joined, written);
    }
}

#[test]
fn the_runtimes_write_times_each_in_its_way() {
    let root = tempfile::tempdir().expect("a folder");
    for (format, end) in [(Format::Containerd, "Z"), (Format::Crio, "+02:00")] {
        let mut log = Writer::new("app", root.path().join(format!("{format:?}.log")), format);
        log.lines(3);
        for line in read(log.path()).lines() {
            let time = line.split(' ').next().expect("a time");
            assert!(time.ends_with(end), "{time}");
            assert_eq!(time.len(), "2026-09-21T14:13:20.000000000".len() + end.len());
            time.parse::<jiff::Timestamp>().expect("RFC 3339");
        }
        assert!(
            read(log.path()).starts_with(log.line_of(0).time.as_deref().expect("a time")),
            "the writer remembers times as written"
        );
    }
}

#[test]
fn docker_lines_are_json_objects_and_only_the_last_part_ends_in_a_newline() {
    let root = tempfile::tempdir().expect("a folder");
    let mut log = Writer::new("app", root.path().join("id-json.log"), Format::Docker);
    log.lines(200);
    let mut open: HashMap<String, String> = HashMap::new();
    let mut texts = Vec::new();
    for line in read(log.path()).lines() {
        let object: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let stream = object["stream"].as_str().expect("a stream").to_owned();
        let text = open.entry(stream).or_default();
        text.push_str(object["log"].as_str().expect("a log"));
        if text.ends_with('\n') {
            texts.push(std::mem::take(text).trim_end_matches('\n').to_owned());
        }
    }
    texts.sort();
    let mut written: Vec<_> = log.written().iter().map(|line| line.text.clone()).collect();
    written.sort();
    assert_eq!(texts, written);
}

#[test]
fn the_same_seed_writes_the_same_log() {
    let roots = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let logs = roots.each_ref().map(|root| {
        let mut log = writer(root.path(), Format::Crio).seed(42);
        log.lines(100);
        read(log.path())
    });
    assert_eq!(logs[0], logs[1]);
}

#[test]
fn kubelets_rotation_keeps_every_line_in_files_named_and_compressed_as_its_own() {
    let root = tempfile::tempdir().expect("a folder");
    let mut log = writer(root.path(), Format::Containerd);
    for _ in 0..3 {
        log.lines(20);
        log.rename_away();
        log.lines(2);
        log.reopen();
    }
    log.lines(5);

    let rotated = siblings(log.path());
    let gzip: Vec<bool> =
        rotated.iter().map(|path| path.extension().is_some_and(|end| end == "gz")).collect();
    assert_eq!(gzip, [true, true, false], "only the newest is plain");
    let name = rotated[2].file_name().and_then(|name| name.to_str()).expect("text");
    assert_eq!(name.len(), "0.log.20260921-141320".len());

    let mut all: String = rotated.iter().map(|path| read(path)).collect();
    all.push_str(&read(log.path()));
    assert_eq!(join_cri(&all).len(), log.written().len());
    assert_eq!(join_cri(&read(log.path())).len(), 5);

    for _ in 0..4 {
        log.lines(1);
        log.rotate();
    }
    assert_eq!(siblings(log.path()).len(), 4, "5 files with the one in use");
}

#[test]
fn logrotates_numbers_grow_with_age() {
    let root = tempfile::tempdir().expect("a folder");
    let mut log = Writer::plain(root.path().join("access.log"), "web");
    for _ in 0..3 {
        log.lines(1);
        log.rotate();
    }
    let found: Vec<_> = siblings(log.path())
        .iter()
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
            (name, Marker::find(read(path).as_bytes()).expect("a marker").line)
        })
        .collect();
    let expected = [("access.log.1", 2), ("access.log.2.gz", 1), ("access.log.3.gz", 0)];
    assert_eq!(found, expected.map(|(name, line)| (name.to_owned(), line)));
}

#[test]
fn no_more_files_are_left_than_were_asked_for() {
    let root = tempfile::tempdir().expect("a folder");
    for files in 2..5 {
        for (name, mut log) in [
            ("plain", Writer::plain(root.path().join(format!("{files}/web.log")), "web")),
            ("docker", Writer::docker(&root.path().join(files.to_string()), "web")),
            ("kubelet", writer(&root.path().join(files.to_string()), Format::Crio)),
        ] {
            log = log.max_files(files);
            for _ in 0..6 {
                log.lines(1);
                log.rotate();
            }
            assert_eq!(siblings(log.path()).len() + 1, files, "{name}");
        }
    }
}

#[test]
fn a_replaced_link_and_a_reused_inode_name_other_content() {
    let root = tempfile::tempdir().expect("a folder");
    let link = root.path().join("containers/web.log");
    let mut logs = containers(root.path(), 2);
    for log in &mut logs {
        log.lines(1);
        log.link_from(&link);
        let marker = Marker::find(read(&link).as_bytes()).expect("a marker");
        assert_eq!(marker.writer, log.name());
    }

    let inode = |log: &Writer| fs::metadata(log.path()).expect("the log").ino();
    let before = inode(&logs[0]);
    logs[0].replace_keeping_inode();
    logs[0].lines(2);
    assert_eq!(inode(&logs[0]), before);
    assert_eq!(Marker::find(read(logs[0].path()).as_bytes()).expect("a marker").line, 1);
}

#[test]
fn after_copytruncate_the_same_file_begins_anew() {
    let root = tempfile::tempdir().expect("a folder");
    let mut log = Writer::plain(root.path().join("app.log"), "app");
    log.lines(10);
    let copy = log.copytruncate();
    log.lines(1);
    assert_eq!(read(&copy).lines().count(), 10);
    assert_eq!(read(log.path()).lines().count(), 1);
}

#[test]
fn a_restart_a_replacement_and_a_torn_line_are_where_a_reader_looks_for_them() {
    let root = tempfile::tempdir().expect("a folder");
    let mut log = writer(root.path(), Format::Crio);
    log.lines(1);
    log.restart();
    assert!(log.path().ends_with("app/1.log"));
    log.lines(2);
    log.replace();
    log.tear_line();
    assert!(!read(log.path()).ends_with('\n'));
    log.end_line();
    assert_eq!(join_cri(&read(log.path())), [(log.line_of(3).stream, log.line_of(3).text.clone())]);
    log.delete_pod();
    assert!(!log.path().exists());
    log.lines(1);
}
