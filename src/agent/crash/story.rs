//! What happens to a node's logs and to the process that follows them.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use fastrand::Rng;

use super::account::{Account, Lost};
use super::logs::Logs;
use super::node::Node;
use crate::buffer::Durability;
use crate::config::{self, Config};
use crate::disk::sim::{SimDisk, Weather};
use crate::process::Action;
use crate::tail::Pattern;
use crate::units::ByteSize;

/// The destinations: one that takes everything, one with hardly any room.
pub(super) const ROOMY: usize = 0;
pub(super) const TIGHT: usize = 1;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Kill,
    PowerLoss,
}

/// A story: a machine's disk, its logs, and the process, while it lives.
pub(super) struct Story {
    _folder: tempfile::TempDir,
    pub(super) config: Config,
    pub(super) disk: SimDisk,
    pub(super) node: Option<Node>,
    pub(super) account: Account,
    pub(super) rng: Rng,
    logs: Logs,
    ends: VecDeque<End>,
    /// The most operations between one end and the next.
    between: Option<u64>,
    /// Steps of the story until the process is started again.
    down: u32,
    pub(super) deaths: u32,
    /// Steps of the process so far.
    pub(super) steps: u32,
    storm: Option<(Range<u32>, Weather)>,
}

impl Story {
    /// Before the first start. Everything that is drawn is drawn from the seed.
    pub(super) fn new(seed: u64, sync: Durability) -> Self {
        fastrand::seed(seed);
        let folder = tempfile::tempdir_in(memory()).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let logs = Logs::new(folder.path().join("logs"));
        let config = config_of(folder.path(), sync);
        let disk = SimDisk::over(&config.data_dir, seed);
        Self {
            config,
            disk,
            _folder: folder,
            node: None,
            account: Account::new(),
            rng: Rng::with_seed(seed),
            logs,
            ends: VecDeque::new(),
            between: None,
            down: 0,
            deaths: 0,
            steps: 0,
            storm: None,
        }
    }

    /// How the processes end: the first in this operation, each further one some operations after the one before.
    pub(super) fn ends(&mut self, operation: u64, ends: &[End], between: u64) {
        self.ends = ends.iter().copied().collect();
        self.between = Some(between);
        self.disk.stop_at(operation);
    }

    /// The weather between two steps of the process; before and after it is fine.
    pub(super) fn storm(&mut self, steps: Range<u32>, weather: Weather) {
        self.storm = Some((steps, weather));
    }

    /// The whole story up to its end; the process may die at any point of it, and is started again.
    pub(super) fn tell(&mut self) {
        self.write(2);
        self.start();
        self.write(3);
        self.write_trace();
        self.look();
        self.send(ROOMY);
        self.checkpoint();
        self.begin_part();
        self.write_refused();
        self.write(1);
        self.look();
        self.answer(ROOMY, 1);
        self.end_part();
        self.look();
        self.send(TIGHT);
        self.logs.rename();
        self.write(2);
        self.begin_part();
        self.look();
        self.checkpoint();
        self.end_part();
        self.logs.begin();
        self.write(4);
        self.write_refused();
        self.look();
        self.send(ROOMY);
        self.answer(ROOMY, 2);
        self.checkpoint();
        for _ in 0..3 {
            self.write(5);
            self.look();
        }
        self.answer(TIGHT, 1);
        self.checkpoint();
        self.send(TIGHT);
        self.answer(TIGHT, 9);
        self.checkpoint();
        self.write_trace();
        self.look();
        self.logs.rename();
        self.logs.begin();
        self.write(3);
        self.look();
        self.answer(ROOMY, 9);
        self.checkpoint();
        self.begin_part();
        self.look();
    }

    /// Lets everything come to rest, and holds the account against the logs.
    pub(super) fn end(&mut self) {
        self.end_part();
        self.storm = None;
        self.disk.set(Weather::Fine);
        self.down = 0;
        self.start();
        loop {
            let deaths = self.deaths;
            // Rotated files, groups and what was detached each take a round or two.
            for _ in 0..8 {
                self.down = 0;
                self.pass(Duration::from_secs(60));
                self.look();
                for destination in [ROOMY, TIGHT] {
                    self.send(destination);
                    self.answer(destination, usize::MAX);
                }
                self.checkpoint();
            }
            if deaths == self.deaths {
                break;
            }
        }
        let node = self.node.as_ref().expect("it runs at the end");
        for destination in [ROOMY, TIGHT] {
            let missing = self.account.missing(destination);
            assert!(missing.is_empty(), "lost for destination {destination}: {missing:?}");
            assert_eq!(node.waiting(destination), 0);
            let letters = letters(&self.config, destination);
            self.account.letters(&letters, self.deaths);
        }
        for entry in node.pipeline.tailer.entries() {
            for progress in &entry.progress {
                let end = entry.proof.end;
                assert_eq!(progress.position.offset, end, "{}: {progress:?}", entry.path.display());
                assert!(progress.position.open.is_empty(), "{}: {progress:?}", entry.path.display());
            }
            assert!(entry.repairs.is_empty(), "{}: {:?}", entry.path.display(), entry.repairs);
        }
    }

    // What the process does. Where it dies, it is started again, at once or a little later.

    pub(super) fn start(&mut self) {
        let mut failures = 0;
        while self.node.is_none() {
            match Node::start(&self.config, &self.disk) {
                Ok(node) => self.node = Some(node),
                Err(_) if self.disk.is_stopped() => self.die(),
                // The agent waits and tries again.
                Err(_) if self.disk.weather() != Weather::Fine => {
                    self.account.restarted(Lost::InFlight);
                    return;
                }
                Err(error) => {
                    failures += 1;
                    assert!(failures < 3, "it does not start: {error}, at {}", self.disk.last());
                    self.account.restarted(Lost::InFlight);
                }
            }
            self.see_to_death();
        }
    }

    pub(super) fn look(&mut self) {
        self.step(|story| {
            // What was paused because the disk failed is tried again after a second.
            story.alive().pass(Duration::from_secs(1));
            story.alive().look();
        });
    }

    pub(super) fn checkpoint(&mut self) {
        self.step(|story| {
            story.alive().checkpoint();
        });
    }

    pub(super) fn send(&mut self, destination: usize) {
        self.step(|story| {
            let node = story.node.as_mut().expect("it runs");
            node.send(destination, &mut story.account);
        });
    }

    /// Up to `most` requests are answered, in any order.
    pub(super) fn answer(&mut self, destination: usize, mut most: usize) {
        self.step(|story| {
            let node = story.node.as_mut().expect("it runs");
            let rng = &mut story.rng;
            node.answer(destination, &mut story.account, |under_way| {
                most = most.checked_sub(1)?;
                Some(rng.usize(..under_way))
            });
        });
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.step(|story| story.alive().pass(time));
    }

    pub(super) fn step(&mut self, act: impl FnOnce(&mut Self)) {
        self.steps += 1;
        if let Some((steps, weather)) = &self.storm {
            self.disk.set(if steps.contains(&self.steps) { *weather } else { Weather::Fine });
        }
        if self.node.is_none() {
            if self.down > 0 {
                self.down -= 1;
                return;
            }
            self.start();
        }
        if self.node.is_some() {
            act(self);
        }
        self.see_to_death();
    }

    pub(super) fn alive(&mut self) -> &mut Node {
        self.node.as_mut().expect("it runs")
    }

    fn see_to_death(&mut self) {
        if self.disk.is_stopped() {
            self.die();
            self.down = self.rng.u32(..3);
        }
    }

    /// The process is killed here, and somebody starts it later.
    pub(super) fn kill(&mut self) {
        self.ends.clear();
        self.die();
    }

    /// The disk holds what lies in the folder now, whoever put it there.
    pub(super) fn found_as_it_is(&mut self) {
        self.disk = SimDisk::over(&self.config.data_dir, 1);
    }

    fn die(&mut self) {
        self.deaths += 1;
        self.node = None;
        let end = self.ends.pop_front().unwrap_or(End::Kill);
        match end {
            End::Kill => {
                self.disk.restart();
                self.account.restarted(Lost::InFlight);
            }
            End::PowerLoss => {
                let seed = self.rng.u64(..);
                self.disk.lose_power(seed);
                self.account.restarted(Lost::Acks);
            }
        }
        if let Some(after) = self.ends.front().and(self.between) {
            let operation = self.disk.ops() + self.rng.u64(1..=after);
            self.disk.stop_at(operation);
        }
    }

    pub(super) fn write(&mut self, lines: u32) {
        self.logs.write(lines, &mut self.account);
    }

    /// A message of stderr that is itself longer than the tight destination's buffer.
    pub(super) fn write_long(&mut self) {
        self.logs.write_long(&mut self.account);
    }

    /// The logs are deleted, with nothing left of them.
    pub(super) fn logs_are_gone(&self) {
        fs::remove_dir_all(&self.logs.folder).unwrap();
    }

    pub(super) fn begin_part(&mut self) {
        self.logs.begin_part(&mut self.account);
    }

    pub(super) fn write_trace(&mut self) {
        self.logs.write_trace(&mut self.account);
    }

    fn write_refused(&mut self) {
        self.logs.write_refused(&mut self.account);
    }

    fn end_part(&mut self) {
        self.logs.end_part();
    }
}

/// The ids and texts of a destination's dead letters.
fn letters(config: &Config, destination: usize) -> Vec<(String, String)> {
    let name = config.destinations[destination].name.as_str();
    let mut letters = Vec::new();
    for file in fs::read_dir(config.data_dir.join("dead_letters").join(name)).into_iter().flatten() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        // What a kill has cut is no letter.
        for letter in text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()) {
            let id = letter["origin"]["record_id"].as_str().unwrap();
            letters.push((id.to_owned(), letter["record"].as_str().unwrap().to_owned()));
        }
    }
    letters
}

/// The second destination has room for a few chunks of a few frames.
fn config_of(folder: &Path, sync: Durability) -> Config {
    // Parsed once: a story is told some thousand times.
    static PARSED: OnceLock<Config> = OnceLock::new();
    let parsed = PARSED.get_or_init(|| {
        let text = "
data_dir: set below
tail: {rotate_wait: 0s, flush_after: 30s}
buffer: {min_disk_free: 0}
destinations:
  roomy: {type: directory, path: not used}
  tight: {type: directory, path: not used}
routes:
  - name: logs
    files: /set/below
    format: cri
    start_at: beginning
    multiline: {start: ' trace$', continue: '^  at ', flush_after: 30s}
    process:
      - drop: {log: {matches: '^debug'}}
      - {parse: json, when: {log: {matches: '^poison'}}, on_error: dead_letter}
    to: [roomy, tight]
";
        let loaded = config::parse(text, "story", &|_| None);
        loaded.unwrap_or_else(|errors| panic!("{errors}")).config
    });
    let mut config = parsed.clone();
    config.data_dir = folder.join("data");
    config.routes[0].process.push(Action::PanicOver("panic".into()).into());
    config.routes[0].files = vec![Pattern::new(&format!("{}/logs/*.log", folder.display())).unwrap()];
    // Far below what a configuration may say, so that chunks end and fill up within a short story.
    config.buffer.chunk_size = ByteSize(2500);
    config.buffer.sync = sync;
    config.destinations[TIGHT].queue.max_size = ByteSize(9000);
    config
}

/// A folder in memory, where there is one.
fn memory() -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// The seeds of a test: so many, or as many as `KINETAIL_SEEDS` says, for a longer run.
pub(super) fn seeds_or(usual: u64) -> Range<u64> {
    let asked = std::env::var("KINETAIL_SEEDS").ok();
    0..asked.map_or(usual, |asked| asked.parse().expect("KINETAIL_SEEDS is a number"))
}

/// Said when a test fails, so that it can be tried again alone.
pub(super) struct Context(pub(super) String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("it was with {}", self.0);
        }
    }
}
