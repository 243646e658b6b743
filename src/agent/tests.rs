//! Reading as a whole, from files to buffers, where a step panics.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::bell::Bell;
use super::data_dir::DataDir;
use super::keeper::Kept;
use super::open;
use super::pipeline::{Pipeline, Plan};
use super::totals::Totals;
use crate::buffer::{self, DeadLetterSettings, DeadLetters, Reader};
use crate::config;
use crate::disk::{Disk, HostDisk};
use crate::process::{Action, Chain, OnError, Parse, Parser, Step};
use crate::source::DestinationName;

/// A log file, two destinations that nobody delivers to, and a step that panics over texts with `poison`.
struct Bench {
    folder: tempfile::TempDir,
    pipeline: Pipeline,
    readers: Vec<(DestinationName, Reader)>,
    totals: Totals,
    now: Instant,
}

impl Bench {
    fn new(log: &str) -> Self {
        Self::with(log, vec![Action::PanicOver("poison".into()).into()])
    }

    fn with(log: &str, steps: Vec<Step>) -> Self {
        Self::routed(log, "to: [a, b]", |plan| Plan { chain: Chain::new(steps), ..plan })
    }

    /// With these keys of the route, and what it comes to changed.
    fn routed(log: &str, keys: &str, change: impl FnOnce(Plan) -> Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::write(root.join("app.log"), log).unwrap();
        let text = format!(
            "data_dir: {0}/data\ndestinations:\n  a: {{type: directory, path: {0}/a}}\n  b: {{type: directory, \
             path: {0}/b}}\nroutes:\n  - {{name: r, files: {0}/*.log, start_at: beginning, {keys}}}\n",
            root.display()
        );
        let config = config::parse(&text, "test", &|_| None).unwrap().config;
        let disk = HostDisk::shared();
        let data_dir = DataDir::open(&*disk, &config.data_dir).unwrap();
        let state = open::open(
            &config,
            &data_dir,
            &disk,
            &Bell::default(),
            &Default::default(),
            Instant::now(),
            SystemTime::now(),
        )
        .unwrap();
        let names: Vec<DestinationName> = config.destinations.iter().map(|one| one.name.clone()).collect();
        let plan = change(super::parts::plan(&config.routes[0], &names));
        let totals = Totals::default();
        let letters = ["a", "b"].map(|name| {
            let settings = DeadLetterSettings::default();
            DeadLetters::new(&config.data_dir, name.into(), settings, Arc::clone(&disk))
        });
        let readers = state
            .chains
            .into_iter()
            .map(|(queue, chain)| (queue.name().clone(), buffer::reader(&queue, chain)))
            .collect();
        let pipeline = Pipeline::new(
            state.tailer,
            vec![plan],
            state.appenders,
            letters.into(),
            config.tail,
            data_dir.node,
            "host".into(),
            state.turn,
            totals.clone(),
        );
        Self { folder, pipeline, readers, totals, now: Instant::now() }
    }

    /// Reads until there is nothing more to do for now.
    fn read(&mut self) {
        let wall = SystemTime::now();
        self.pipeline.scan(self.now, wall);
        // As if a checkpoint had been written, so that files met just now are read.
        self.pipeline.snapshot(wall);
        self.pipeline.kept(&Kept { saved: true, failed: Vec::new(), held: false, replayed: Vec::new() });
        self.pipeline.retry_blocked(self.now);
        while self.pipeline.turn(self.now, wall, false) {}
    }

    /// The texts in a destination's buffer that were not taken out yet.
    fn texts(&mut self, destination: &str) -> Vec<String> {
        let (_, reader) = self.readers.iter_mut().find(|(name, _)| name.as_str() == destination).unwrap();
        let mut texts = Vec::new();
        while let Some(run) = reader.next_run().unwrap() {
            for index in 0..run.len() {
                let record: Value = serde_json::from_slice(run.record(index)).unwrap();
                texts.push(record["log"].as_str().unwrap().to_owned());
            }
        }
        texts
    }

    /// What is counted of messages that were dropped.
    fn dropped(&self) -> Vec<String> {
        self.totals.told_of_dropped()
    }

    fn letters_folder(&self, destination: &str) -> PathBuf {
        self.folder.path().join("data/dead_letters").join(destination)
    }

    fn letters(&self, destination: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.letters_folder(destination).join("0000000001.ndjson"));
        text.unwrap_or_default().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn texts(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["record"].as_str().unwrap()).collect()
}

#[test]
fn a_line_over_which_a_step_panics_is_a_dead_letter_of_each_destination_and_the_rest_goes_on() {
    let mut bench = Bench::new("one\npoison 1\ntwo\npoison 2\nthree\n");
    bench.read();
    for destination in ["a", "b"] {
        assert_eq!(bench.texts(destination), ["one", "two", "three"]);
        let letters = bench.letters(destination);
        assert_eq!(texts(&letters), ["poison 1", "poison 2"]);
        let letter = &letters[0];
        assert_eq!((&letter["destination"], &letter["reason"]), (&destination.into(), &"panic".into()));
        assert_eq!(letter["origin"]["offset"], 4);
        assert!(letter["origin"]["file"].as_str().unwrap().ends_with("/app.log"));
        assert_eq!(letter["origin"]["record_id"].as_str().unwrap().len(), 32);
        assert!(letter["detail"].as_str().unwrap().contains("over poison 1"), "{letter}");
        assert!(letter["time"].as_str().unwrap().ends_with('Z'));
    }
    bench.read();
    assert_eq!(bench.letters("a").len(), 2, "nothing is read twice");
}

#[test]
fn a_file_of_nothing_but_poison_is_read_to_its_end() {
    let mut bench = Bench::new(&"poison\n".repeat(100));
    bench.read();
    assert_eq!(bench.letters("a").len(), 100);
    assert!(bench.texts("a").is_empty());
    bench.read();
    assert_eq!(bench.letters("a").len(), 100);
}

#[test]
fn while_a_dead_letter_cannot_be_kept_its_file_waits_for_that_destination_alone() {
    let mut bench = Bench::new("one\npoison\ntwo\n");
    let in_the_way = bench.letters_folder("a");
    HostDisk.create_folder(in_the_way.parent().unwrap()).unwrap();
    fs::write(&in_the_way, "").unwrap();
    bench.read();
    assert_eq!(bench.texts("b"), ["one", "two"]);
    assert!(bench.texts("a").is_empty() && bench.pipeline.is_blocked());
    fs::remove_file(&in_the_way).unwrap();
    bench.read();
    assert!(bench.texts("a").is_empty(), "it is tried again after a while");
    bench.now += Duration::from_secs(1);
    bench.read();
    assert_eq!(bench.texts("a"), ["one", "two"]);
    assert!(!bench.pipeline.is_blocked());
    for destination in ["a", "b"] {
        assert_eq!(texts(&bench.letters(destination)), ["poison"]);
    }
}

#[test]
fn a_line_on_which_a_step_fails_goes_where_the_step_says() {
    let parse = |parser, on_error| Step { on_error, ..Action::Parse(Parse::with(parser)).into() };
    let steps = vec![parse(Parser::Logfmt, OnError::Drop)];
    let mut bench = Bench::with("no pairs\nlog=one\n", steps);
    bench.read();
    assert_eq!((bench.texts("a"), bench.letters("a")), (vec!["one".to_owned()], vec![]));
    assert_eq!(bench.texts("b"), ["one"]);

    let steps = vec![parse(Parser::Logfmt, OnError::DeadLetter)];
    let mut bench = Bench::with("no pairs\nlog=one\nnone here\n", steps);
    bench.read();
    for destination in ["a", "b"] {
        assert_eq!(bench.texts(destination), ["one"]);
        let letters = bench.letters(destination);
        assert_eq!(texts(&letters), ["no pairs", "none here"]);
        assert_eq!(
            (&letters[0]["reason"], &letters[1]["origin"]["offset"]),
            (&"step_failed".into(), &17.into())
        );
        assert_eq!(letters[0]["detail"], "the step `parse: logfmt` could not be done");
    }
    bench.read();
    assert_eq!(bench.letters("a").len(), 2, "nothing is read twice");
}

#[test]
fn a_destination_with_a_condition_gets_what_the_condition_holds_of() {
    let keys =
        "process: [{parse: {json: {keep_original: true}}}], to: [a, {destination: b, when: {level: error}}]";
    let line = |level: &str, n: u32| format!("{{\"level\":\"{level}\",\"n\":{n}}}\n");
    let lines = [line("info", 1), line("error", 2), line("info", 3), line("error", 4), "text\n".into()];
    let mut bench = Bench::routed(&lines.concat(), keys, |plan| plan);
    bench.read();
    let text = |lines: &[String]| lines.iter().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(bench.texts("a"), text(&lines));
    assert_eq!(bench.texts("b"), text(&[lines[1].clone(), lines[3].clone()]));
    assert_eq!(bench.dropped(), [""; 0]);
    // Blocks of which nothing is for it do not keep it from going on.
    let path = bench.folder.path().join("app.log");
    for (more, expected) in [(line("info", 5), vec![]), (line("error", 6), vec![line("error", 6)])] {
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, more.as_bytes()).unwrap();
        bench.read();
        assert_eq!(bench.texts("a"), text(&[more]));
        assert_eq!(bench.texts("b"), text(&expected));
    }
}

#[test]
fn what_no_destination_wants_is_counted() {
    let keys =
        "to: [{destination: a, when: {log: {matches: A}}}, {destination: b, when: {log: {matches: B}}}]";
    let mut bench = Bench::routed("A\nB\nAB\nnone\nneither\n", keys, |plan| plan);
    bench.read();
    assert_eq!(
        (bench.texts("a"), bench.texts("b")),
        (vec!["A".into(), "AB".into()], vec!["B".into(), "AB".into()])
    );
    assert_eq!(bench.dropped(), [r#"{route="r",step="0",name="to"} 2"#]);
}

#[test]
fn a_route_without_destinations_drops_and_counts() {
    let mut bench = Bench::routed("one\ntwo\nthree\n", "to: []", |plan| plan);
    bench.read();
    assert_eq!(bench.dropped(), [r#"{route="r",step="0",name="to"} 3"#]);
    let path = bench.folder.path().join("app.log");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut file, b"four\n").unwrap();
    bench.read();
    assert_eq!(bench.dropped(), [r#"{route="r",step="0",name="to"} 4"#], "nothing is read twice");
    let kept = bench.pipeline.snapshot(SystemTime::now());
    let entry = &kept.checkpoint.files[0];
    assert_eq!(entry.progress[0].position.offset, "one\ntwo\nthree\nfour\n".len() as u64);
    assert!(bench.texts("a").is_empty() && bench.texts("b").is_empty());
}

/// Lines are appended to the log.
fn append(bench: &Bench, lines: &str) {
    let mut log = fs::OpenOptions::new().append(true).open(bench.folder.path().join("app.log")).unwrap();
    std::io::Write::write_all(&mut log, lines.as_bytes()).unwrap();
}

#[test]
fn a_trace_whose_lines_come_one_after_the_other_is_one_record_once_no_more_have_come_for_a_while() {
    let mut bench = Bench::routed("java.lang.Error: x\n", "multiline: java, to: [a, b]", |plan| plan);
    bench.read();
    append(&bench, "\tat a.b(c)\n");
    bench.now += Duration::from_millis(1900);
    bench.pipeline.flush_due(bench.now);
    bench.read();
    bench.now += Duration::from_millis(1900);
    bench.pipeline.flush_due(bench.now);
    bench.read();
    assert!(bench.texts("a").is_empty(), "its last line came 1.9 seconds ago");
    bench.now += Duration::from_millis(100);
    bench.pipeline.flush_due(bench.now);
    bench.read();
    assert_eq!(bench.texts("a"), ["java.lang.Error: x\n\tat a.b(c)"]);
    assert_eq!(bench.texts("b").len(), 1);
    append(&bench, "\tat d.e(f)\nan ordinary line\n");
    bench.read();
    assert_eq!(bench.texts("a"), ["\tat d.e(f)", "an ordinary line"]);
}

#[test]
fn what_is_in_the_file_already_belongs_to_its_record_however_late_it_is_read() {
    let cri = |stream: &str, text: &str| format!("2026-03-04T09:12:44.000000001Z {stream} F {text}\n");
    let between = cri("stderr", &"x".repeat(1000)).repeat(3 * 256);
    let log = cri("stdout", "S1") + &between + &cri("stdout", "a") + &cri("stdout", "S2");
    let keys = "format: cri, multiline: {start: '^[Sx]'}, to: [a, b]";
    let mut bench = Bench::routed(&log, keys, |plan| plan);
    let wall = SystemTime::now();
    bench.pipeline.scan(bench.now, wall);
    bench.pipeline.snapshot(wall);
    bench.pipeline.kept(&Kept { saved: true, failed: Vec::new(), held: false, replayed: Vec::new() });
    // Others had their turns in between.
    while bench.pipeline.turn(bench.now, wall, false) {
        bench.now += Duration::from_secs(3600);
        bench.pipeline.flush_due(bench.now);
    }
    let texts = bench.texts("a");
    assert!(texts.contains(&"S1\na".to_owned()), "{:?}", texts.iter().find(|text| text.contains("S1")));
}

#[test]
fn a_panic_over_a_trace_costs_the_trace_alone() {
    let log = "java.lang.Error: poison\n\tat a.b(c)\njava.lang.Error: x\n\tat d.e(f)\none\n";
    let steps = vec![Action::PanicOver("poison".into()).into()];
    let chain = Chain::new(steps);
    let mut bench = Bench::routed(log, "multiline: java, to: [a, b]", |plan| Plan { chain, ..plan });
    bench.read();
    assert_eq!(bench.texts("a"), ["java.lang.Error: x\n\tat d.e(f)", "one"]);
    let letters = bench.letters("a");
    assert_eq!(texts(&letters), ["java.lang.Error: poison\n\tat a.b(c)"]);
    assert_eq!(letters[0]["origin"]["offset"], 0);
}
