//! A file that grows at full speed does not delay the others. Counted in turns and bytes; the clock is the test's.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::model::agent::Agent;
use super::pipeline::BLOCK;
use crate::config::{self, Config};

/// What a line takes, its newline included.
const LINE: usize = 128;

/// A folder of plain logs on the way to one destination.
struct Bench {
    folder: tempfile::TempDir,
    config: Config,
    now: Instant,
    wall: SystemTime,
}

impl Bench {
    fn new(buffer: &str, route: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let text = format!(
            "data_dir: {0}/data\nbuffer: {{min_disk_free: 0, chunk_size: 64KiB}}\ndestinations:\n  \
             out: {{type: directory, path: {0}/out, buffer: {{{buffer}}}}}\nroutes:\n  \
             - {{name: logs, files: '{0}/*.log', start_at: beginning, to: out{route}}}\n",
            root.display()
        );
        let config = config::parse(&text, "test", &|_| None).unwrap().config;
        Self { folder, config, now: Instant::now(), wall: SystemTime::now() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Adds lines to a log.
    fn write(&self, name: &str, bytes: usize) {
        let line = format!("{name:x<width$}\n", width = LINE - 1);
        append(&self.path(name), &line.repeat(bytes / LINE));
    }

    fn start(&self) -> Agent {
        Agent::start(&self.config, self.now, self.wall)
    }

    /// Time passes, and whoever waited for it gets his turn.
    fn pass(&mut self, agent: &mut Agent, time: Duration) {
        self.now += time;
        self.wall += time;
        agent.pipeline.rate_due(self.now);
        while agent.pipeline.turn(self.now, self.wall, false) {}
    }
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap_or_default();
    all.push_str(text);
    fs::write(path, all).unwrap();
}

/// How many bytes of log each file's records stand for.
fn by_file(records: &[Vec<u8>]) -> HashMap<String, usize> {
    let mut bytes = HashMap::new();
    for record in records {
        let record: serde_json::Value = serde_json::from_slice(record).unwrap();
        let name = record["log"].as_str().unwrap().trim_end_matches('x').to_owned();
        *bytes.entry(name).or_default() += LINE;
    }
    bytes
}

const QUIET: [&str; 9] = ["q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9"];

#[test]
fn in_a_round_of_turns_each_file_is_read_however_much_there_is_in_another() {
    let bench = Bench::new("max_size: 1GiB", "");
    bench.write("noisy", 20 * BLOCK);
    QUIET.iter().for_each(|name| bench.write(name, 10 * LINE));
    let mut agent = bench.start();
    for _ in 0..=QUIET.len() {
        agent.pipeline.turn(bench.now, bench.wall, false);
    }
    let read = by_file(&agent.deliver(0));
    assert!(QUIET.iter().all(|name| read[*name] == 10 * LINE), "{read:?}");
    assert_eq!(read["noisy"], BLOCK);
}

#[test]
fn above_the_high_water_mark_each_file_gets_its_share_of_the_room() {
    let bench = Bench::new("max_size: 4MiB", "");
    bench.write("noisy", 20 * BLOCK);
    let mut agent = bench.start();
    agent.look(bench.now, bench.wall);
    QUIET.iter().for_each(|name| bench.write(name, 2 * BLOCK));
    // It is full of one file's records. A good quarter becomes free, and all want it.
    agent.look(bench.now, bench.wall);
    agent.checkpoint(bench.wall);
    agent.deliver_some(0, 1400 << 10);
    agent.checkpoint(bench.wall);
    agent.look(bench.now, bench.wall);
    let read = by_file(&agent.deliver(0));
    assert!(QUIET.iter().all(|name| read.get(*name).is_some_and(|bytes| *bytes >= 16 << 10)), "{read:?}");
}

#[test]
fn while_the_buffer_is_full_all_the_time_files_take_turns() {
    let bench = Bench::new("max_size: 512KiB", "");
    bench.write("noisy", 20 * BLOCK);
    QUIET.iter().for_each(|name| bench.write(name, 2 * BLOCK));
    let mut agent = bench.start();
    let mut read: HashMap<String, usize> = HashMap::new();
    let done = |read: &HashMap<String, usize>| QUIET.iter().all(|name| read.get(*name) == Some(&(2 * BLOCK)));
    while !done(&read) {
        agent.look(bench.now, bench.wall);
        let delivered = agent.deliver(0);
        assert!(!delivered.is_empty(), "it stands still with {read:?}");
        for (name, bytes) in by_file(&delivered) {
            *read.entry(name).or_default() += bytes;
        }
        agent.checkpoint(bench.wall);
    }
    assert!(read["noisy"] <= 4 * BLOCK, "the others had two blocks each: {read:?}");
}

#[test]
fn a_file_above_its_rate_waits_and_the_others_do_not() {
    let mut bench = Bench::new("max_size: 1GiB", ", rate_limit: {bytes: 64KiB}");
    bench.write("noisy", 1 << 20);
    let mut agent = bench.start();
    agent.look(bench.now, bench.wall);
    let mut read = by_file(&agent.deliver(0))["noisy"];
    let mut waits = 0;
    for second in 1..=10 {
        bench.write("quiet", 10 * LINE);
        agent.look(bench.now, bench.wall);
        assert_eq!(by_file(&agent.deliver(0)).get("quiet"), Some(&(10 * LINE)));
        for _ in 0..10 {
            bench.pass(&mut agent, Duration::from_millis(100));
        }
        let bytes = by_file(&agent.deliver(0)).get("noisy").copied().unwrap_or_default();
        waits += usize::from(bytes == 0);
        read += bytes;
        // A second's worth at once, and what a last turn may take beyond.
        assert!(read <= (second + 2) * (64 << 10), "{read} bytes after {second} s");
    }
    assert_eq!(waits, 0);
    assert!(read >= 10 * (64 << 10), "{read} bytes in 10 s");
    assert!(agent.pipeline.is_blocked() && agent.totals.rate_pauses.get() > 0);
}

#[test]
fn a_limit_of_a_route_is_for_all_its_files_together() {
    let mut bench = Bench::new("max_size: 1GiB", ", rate_limit: {lines: 1000, per: route}");
    for name in ["a", "b", "c"] {
        bench.write(name, 2000 * LINE);
    }
    let mut agent = bench.start();
    agent.look(bench.now, bench.wall);
    let mut seconds = 0;
    while agent.pipeline.is_blocked() {
        bench.pass(&mut agent, Duration::from_secs(1));
        seconds += 1;
    }
    let read = by_file(&agent.deliver(0));
    assert_eq!(read.values().sum::<usize>(), 6000 * LINE);
    // A block holds two thousand lines, which the last of them need not make up for.
    assert!((3..=6).contains(&seconds), "{seconds} s");
}

#[test]
fn above_a_rate_lines_are_given_up_on_request_and_counted() {
    let mut bench = Bench::new("max_size: 1GiB", ", rate_limit: {lines: 100, when_exceeded: drop}");
    bench.write("noisy", 1000 * LINE);
    bench.write("quiet", 50 * LINE);
    let mut agent = bench.start();
    agent.look(bench.now, bench.wall);
    let read = by_file(&agent.deliver(0));
    assert_eq!((read["noisy"], read["quiet"]), (100 * LINE, 50 * LINE));
    assert_eq!(agent.totals.rate_dropped.get(), 900);
    assert_eq!(agent.totals.rate_dropped_bytes.get(), 900 * (LINE as u64 - 1));
    bench.pass(&mut agent, Duration::from_secs(1));
    bench.write("noisy", 100 * LINE);
    agent.look(bench.now, bench.wall);
    assert_eq!(by_file(&agent.deliver(0))["noisy"], 100 * LINE);
    assert_eq!(agent.totals.rate_dropped.get(), 900);
    assert_eq!(agent.totals.lines.get(), 1150);
}

#[test]
fn a_stop_does_not_wait_for_a_rate() {
    let bench = Bench::new("max_size: 1GiB", ", rate_limit: {bytes: 1KiB}");
    bench.write("gone", 1 << 20);
    let mut agent = bench.start();
    agent.look(bench.now, bench.wall);
    fs::remove_file(bench.path("gone")).unwrap();
    agent.pipeline.read_deleted(bench.now, bench.wall);
    assert_eq!(by_file(&agent.deliver(0))["gone"], 1 << 20);
}
