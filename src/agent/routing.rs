//! Which lines go where, from files to buffers, over restarts and changes of the configuration.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde_json::Value;

use super::model::agent::Agent;
use crate::config;

/// A folder with logs, and an agent with the destinations `a` and `b` that is started again and again.
struct Node {
    folder: tempfile::TempDir,
    agent: Option<Agent>,
}

impl Node {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), agent: None }
    }

    fn root(&self) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap()
    }

    /// Starts with these routes, after the end of what ran before: as by a kill, with the last checkpoint on disk.
    /// `ROOT` stands for the folder.
    fn start(&mut self, routes: &str) -> &mut Self {
        self.agent = None;
        let root = self.root().display().to_string();
        let text = format!(
            "data_dir: ROOT/data\nbuffer: {{chunk_size: 64KiB}}\ndestinations:\n  a: {{type: directory, path: ROOT/a, buffer: \
             {{max_size: 128KiB}}}}\n  b: {{type: directory, \
             path: ROOT/b}}\nroutes:\n{routes}\n"
        );
        let loaded = config::parse(&text.replace("ROOT", &root), "test", &|_| None);
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
        self.agent = Some(Agent::start(&config, Instant::now(), SystemTime::now()));
        self
    }

    fn write(&mut self, name: &str, text: &str) -> &mut Self {
        let path = self.root().join(name);
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        self
    }

    /// Reads what there is, and makes it known to a checkpoint.
    fn read(&mut self) -> &mut Self {
        let agent = self.agent.as_mut().unwrap();
        agent.look(Instant::now(), SystemTime::now());
        agent.checkpoint(SystemTime::now());
        self
    }

    /// The records that came to a destination since it was last asked; they count as delivered.
    fn records(&mut self, destination: usize) -> Vec<Value> {
        let records = self.agent.as_mut().unwrap().deliver(destination);
        records.iter().map(|record| serde_json::from_slice(record).unwrap()).collect()
    }

    /// Their texts.
    fn texts(&mut self, destination: usize) -> Vec<String> {
        self.records(destination).iter().map(|record| record["log"].as_str().unwrap().to_owned()).collect()
    }
}

const A: usize = 0;
const B: usize = 1;
const CSV: &str = "- {name: r, files: ROOT/*.csv, start_at: beginning, skip_header_lines: 2, to: a}";

#[test]
fn a_header_is_passed_over_in_each_file_once_and_a_restart_changes_nothing() {
    let mut node = Node::new();
    node.write("one.csv", "h1\n").start(CSV).read();
    assert!(node.texts(A).is_empty());
    node.write("one.csv", "h2\nm1\nm2\n").start(CSV).read();
    assert_eq!(node.texts(A), ["m1", "m2"]);
    node.write("one.csv", "m3\n").start(CSV).read();
    assert_eq!(node.texts(A), ["m3"]);
    // Rotation: the next file has a header of its own, the one before has none any more.
    fs::rename(node.root().join("one.csv"), node.root().join("one.csv.1")).unwrap();
    node.write("one.csv.1", "m4\n").write("one.csv", "h1\nh2\nm5\n").read();
    assert_eq!(node.texts(A), ["m4", "m5"]);
    // Emptied in its place and written anew.
    fs::write(node.root().join("one.csv"), "x1\nx2\nm6\nm7\n").unwrap();
    node.read().read();
    assert_eq!(node.texts(A), ["m6", "m7"]);
}

#[test]
fn what_is_left_of_a_header_is_passed_over_where_reading_begins_at_the_end() {
    let mut node = Node::new();
    let at_end = CSV.replace("start_at: beginning, ", "");
    node.write("one.csv", "h1\n").start(&at_end).write("one.csv", "h2\nm1\n").read();
    assert_eq!(node.texts(A), ["m1"]);
    let mut node = Node::new();
    node.write("one.csv", "h1\nh2\nm1\n").start(&at_end).write("one.csv", "m2\n").read();
    assert_eq!(node.texts(A), ["m2"]);
}

#[test]
fn a_header_is_told_from_messages_also_in_long_lines_and_over_blocks() {
    let mut node = Node::new();
    let roomy = CSV.replace("to: a", "to: b");
    let long = "h".repeat(300 << 10);
    let lines: String = (0..100_000).map(|n| format!("message {n}\n")).collect();
    node.write("one.csv", &format!("{long}\n{long}\n{lines}")).start(&roomy).read();
    let texts = node.texts(B);
    assert_eq!((texts.len(), texts[0].as_str()), (100_000, "message 0"));
    // One that is longer than a line may be.
    let huge = "h".repeat(3 << 20);
    node.write("two.csv", &format!("{huge}\n{huge}")).read();
    node.write("two.csv", "\nm1\n").start(&roomy).read();
    assert_eq!(node.texts(B), ["m1"]);
}

fn to(destinations: &str) -> String {
    format!("- {{name: r, files: ROOT/*.log, start_at: beginning, to: {destinations}}}")
}

#[test]
fn what_a_route_dropped_between_two_starts_stays_dropped() {
    let mut node = Node::new();
    node.write("x.log", "1\n").start(&to("[a, b]")).read();
    assert_eq!((node.texts(A), node.texts(B)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    node.write("x.log", "2\n").start(&to("[]")).read();
    assert!(node.texts(A).is_empty() && node.texts(B).is_empty());
    node.write("x.log", "3\n").start(&to("[]")).read();
    node.write("x.log", "4\n").start(&to("[a, b]")).read();
    assert_eq!((node.texts(A), node.texts(B)), (vec!["4".to_owned()], vec!["4".to_owned()]));
    node.write("x.log", "5\n").start(&to("[]")).read();
    node.write("x.log", "6\n").start(&to("[b]")).read();
    assert_eq!((node.texts(A), node.texts(B)), (vec![], vec!["6".to_owned()]));
}

#[test]
fn a_destination_that_comes_back_goes_on_where_it_was_left() {
    let mut node = Node::new();
    node.write("x.log", "1\n").start(&to("[a, b]")).read();
    assert_eq!((node.texts(A), node.texts(B)), (vec!["1".to_owned()], vec!["1".to_owned()]));
    node.write("x.log", "2\n").start(&to("[b]")).read();
    node.write("x.log", "3\n").start(&to("[a, b]")).read();
    assert_eq!(node.texts(A), ["2", "3"]);
    assert_eq!(node.texts(B), ["2", "3"]);
}

/// Two routes of one kind of files: of `a` and `b` the first sends to one, the second to both.
const SEVERAL: &str = "
- {name: one, files: ROOT/*.log, start_at: beginning, continue: true, process: [{add: {by: one}}], to: b}
- {name: none, files: ROOT/other/*.log, to: a}
- {name: two, files: ROOT/x.*, process: [{add: {by: two}}, {drop: {log: {matches: drop}}}],
   to: [a, {destination: b, when: {log: {matches: both}}}]}";

/// Texts and what the route added, of a destination's records.
fn made(records: &[Value]) -> Vec<(&str, &str)> {
    records.iter().map(|record| (record["log"].as_str().unwrap(), record["by"].as_str().unwrap())).collect()
}

#[test]
fn a_file_falls_under_several_routes_each_with_its_steps_and_destinations() {
    let mut node = Node::new();
    node.write("x.log", "1\nboth 2\n").write("y.log", "3\n").start(SEVERAL).read();
    let (a, mut b) = (node.records(A), node.records(B));
    // Which of two files has its turn first is not said.
    b.sort_by_key(|record| record["log"] == "3");
    assert_eq!(made(&a), [("1", "two"), ("both 2", "two")]);
    assert_eq!(made(&b), [("1", "one"), ("both 2", "one"), ("both 2", "two"), ("3", "one")]);
    let id = |record: &Value| record["record_id"].as_str().unwrap().to_owned();
    assert_eq!(id(&a[1]), id(&b[2]), "one record at two destinations");
    assert_ne!(id(&b[1]), id(&b[2]), "two records of one line");
    node.write("x.log", "drop 4\nboth 5\n").start(SEVERAL).read();
    assert_eq!(made(&node.records(A)), [("both 5", "two")]);
    assert_eq!(made(&node.records(B)), [("drop 4", "one"), ("both 5", "one"), ("both 5", "two")]);
}

#[test]
fn a_rotated_file_goes_on_under_all_of_its_routes() {
    let mut node = Node::new();
    node.write("x.log", "1\n").start(SEVERAL).read();
    fs::rename(node.root().join("x.log"), node.root().join("x.log-old")).unwrap();
    node.write("x.log-old", "both 2\n").write("x.log", "3\n").read();
    assert_eq!(made(&node.records(A)), [("1", "two"), ("both 2", "two"), ("3", "two")]);
    let expected = [("1", "one"), ("both 2", "one"), ("both 2", "two"), ("3", "one")];
    assert_eq!(made(&node.records(B)), expected);
}

#[test]
fn a_route_that_is_added_begins_where_the_others_are() {
    let mut node = Node::new();
    let first = "- {name: one, files: ROOT/*.log, start_at: beginning, continue: true, to: b}";
    node.write("x.log", "1\n").start(first).read();
    node.write("x.log", "2\n").start(&format!("{first}\n- {{name: two, files: ROOT/*.log, to: a}}")).read();
    assert_eq!((node.texts(A), node.texts(B)), (vec!["2".to_owned()], vec!["1".into(), "2".into()]));
}

#[test]
fn a_route_without_destinations_beside_others_drops_and_counts() {
    let mut node = Node::new();
    let routes = "- {name: one, files: ROOT/*.log, start_at: beginning, continue: true, to: []}\n\
                  - {name: two, files: ROOT/*.log, to: a}";
    node.write("x.log", "1\n2\n").start(routes).read();
    assert_eq!(node.texts(A), ["1", "2"]);
    let counted = |node: &Node| node.agent.as_ref().unwrap().totals.told_of_dropped();
    assert_eq!(counted(&node), [r#"{route="one",step="0",name="to"} 2"#]);
    node.write("x.log", "3\n").read();
    assert_eq!(node.texts(A), ["3"]);
    assert_eq!(counted(&node), [r#"{route="one",step="0",name="to"} 3"#]);
}

#[test]
fn a_step_that_fails_costs_its_own_route_alone() {
    let mut node = Node::new();
    let routes = "
- {name: one, files: ROOT/*.log, start_at: beginning, continue: true,
   process: [{parse: {json: {keep_original: true}}, on_error: dead_letter}], to: a}
- {name: two, files: ROOT/*.log, to: [a, b]}";
    node.write("x.log", "{}\ntext\n").start(routes).read();
    assert_eq!(node.texts(A), ["{}", "{}", "text"]);
    assert_eq!(node.texts(B), ["{}", "text"]);
    let letters = |name: &str| {
        let path = node.root().join("data/dead_letters").join(name).join("0000000001.ndjson");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(letters("a").iter().map(|letter| &letter["record"]).collect::<Vec<_>>(), ["text"]);
    assert!(letters("b").is_empty());
}

/// Writes, turns, deliveries that take a part, buffers without room, kills with and without a checkpoint: each route's
/// record of each line comes to each of its destinations once, in order, and no id is there twice.
#[test]
fn whatever_happens_each_route_sends_each_line_once_to_each_of_its_destinations() {
    let routes = "
- {name: one, files: ROOT/*.log, start_at: beginning, continue: true, process: [{add: {by: one}}], to: [b]}
- {name: two, files: ROOT/*.log, continue: true, process: [{add: {by: two}}], to: [a, b]}
- {name: three, files: ROOT/*.log, process: [{add: {by: three}}], to: [a]}";
    for seed in 0..5 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut node = Node::new();
        node.write("x.log", "").start(routes);
        let mut records = [Vec::new(), Vec::new()];
        let (mut lines, mut kills) = (0, 0);
        while lines < 4000 || kills < 3 {
            let agent = node.agent.as_mut().unwrap();
            match random.u32(0..6) {
                0 | 1 => {
                    let text: String = (lines..lines + 500)
                        .map(|n| format!("{n} {}\n", "x".repeat(random.usize(0..40))))
                        .collect();
                    lines += 500;
                    node.write("x.log", &text);
                }
                2 | 3 => agent.look(Instant::now(), SystemTime::now()),
                4 => {
                    let to = random.usize(0..2);
                    records[to].extend(agent.deliver_some(to, random.usize(1..100_000)));
                }
                _ => {
                    if random.bool() {
                        agent.checkpoint(SystemTime::now());
                    }
                    kills += 1;
                    node.start(routes);
                }
            }
        }
        for _ in 0..60 {
            let agent = node.agent.as_mut().unwrap();
            agent.look(Instant::now(), SystemTime::now());
            records.iter_mut().enumerate().for_each(|(to, records)| records.extend(agent.deliver(to)));
            agent.checkpoint(SystemTime::now());
        }
        for (records, routes) in records.iter().zip([["two", "three"], ["one", "two"]]) {
            let records: Vec<Value> =
                records.iter().map(|text| serde_json::from_slice(text).unwrap()).collect();
            for by in routes {
                let of_route = records.iter().filter(|record| record["by"] == by);
                let numbers: Vec<u32> = of_route
                    .map(|record| record["log"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap())
                    .collect();
                assert!(
                    numbers.iter().copied().eq(0..lines),
                    "seed {seed}: {by}: {} of {lines}",
                    numbers.len()
                );
            }
            assert_eq!(records.len(), 2 * lines as usize);
            let ids: std::collections::HashSet<&str> =
                records.iter().map(|record| record["record_id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), records.len(), "no id is there twice");
        }
    }
}
