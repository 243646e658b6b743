//! The files, and everything that was ever written to them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::Op;
use super::agent::{self, Agent};
use crate::config::Config;
use crate::encode::record_id;
use crate::source::Stream;

const TIME: &str = "2026-01-02T03:04:05.000000000Z";

/// A record as it must come.
struct Expected {
    number: usize,
    start: u64,
    stream: Stream,
}

/// The content of a log from when it is begun or emptied until it is rotated or emptied.
#[derive(Default)]
struct Life {
    /// In the order of their last parts.
    lines: Vec<Expected>,
    len: u64,
    /// Nobody but kinetail's open descriptor could hold what was not read yet: a stop may lose it.
    deleted: bool,
    /// Nobody held what was not read yet.
    may_lose: bool,
}

/// A rotated log.
struct Rotated {
    life: usize,
    gzip: bool,
}

pub(super) struct World {
    _folder: tempfile::TempDir,
    log: PathBuf,
    file: File,
    /// Which life is written.
    writing: usize,
    /// The log was renamed and none begun in its place: what is written lies in `app.log.1`.
    away: bool,
    /// The file before, which some process may still hold, and its life.
    before: Option<(File, usize)>,
    /// What half a line still lacks.
    rest: Vec<u8>,
    banner: bool,
    lives: Vec<Life>,
    /// The newest first: `app.log.1`, `app.log.2` and so on.
    rotated: VecDeque<Rotated>,
    numbers: usize,
    config: Config,
    agent: Option<Agent>,
    now: Instant,
    wall: SystemTime,
    /// What each destination got.
    delivered: [Vec<Vec<u8>>; 2],
}

impl World {
    /// An empty log that kinetail has met. Where memory is `scarce`, open groups are given up after each turn.
    pub(super) fn new(pattern: &str, banner: bool, scarce: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("logs")).unwrap();
        let log = root.join("logs/app.log");
        let mut world = Self {
            _folder: folder,
            file: append_to(&log),
            writing: 0,
            away: false,
            before: None,
            log,
            rest: Vec::new(),
            banner,
            lives: vec![Life::default()],
            rotated: VecDeque::new(),
            numbers: 0,
            config: agent::config(&root, pattern, scarce),
            agent: None,
            now: Instant::now(),
            wall: SystemTime::now(),
            delivered: [Vec::new(), Vec::new()],
        };
        world.happens(Op::Look);
        world
    }

    pub(super) fn happens(&mut self, op: Op) {
        self.pass(Duration::from_millis(10));
        match op {
            Op::Write(lines) => (0..lines).for_each(|_| self.line()),
            Op::Tear => self.tear(),
            Op::Rotate => {
                self.reopen();
                self.rename_away();
                self.reopen();
            }
            Op::RenameAway => self.rename_away(),
            Op::Reopen => self.reopen(),
            Op::WriteLate => self.line_late(),
            Op::CopyTruncate => self.copytruncate(),
            Op::Truncate => self.truncate(),
            Op::Delete => self.delete(),
            Op::Compress { looked_at } => self.compress(looked_at),
            Op::Look => self.look(),
            Op::Wait => {
                self.look();
                self.pass(Duration::from_secs(6));
                self.look();
            }
            Op::Checkpoint => {
                if let Some(agent) = &mut self.agent {
                    agent.checkpoint(self.wall);
                }
            }
            Op::Deliver(destination) => {
                self.deliver(destination);
            }
            Op::Stop => {
                if let Some(agent) = self.agent.take() {
                    agent.stop(self.now, self.wall);
                    self.forget_deleted();
                }
            }
            Op::Reload { other_words, without } => {
                let before = self.config.clone();
                if other_words {
                    self.config = agent::renamed(&before);
                }
                let (now, wall) = (self.now, self.wall);
                if let Some(agent) = &mut self.agent {
                    if without {
                        agent.reload(&agent::without_tight(&before), now, wall);
                    }
                    agent.reload(&self.config, now, wall);
                }
            }
            Op::Kill => {
                if self.agent.take().is_some() {
                    self.forget_deleted();
                }
            }
        }
    }

    /// Lets kinetail come to its end, and holds what came against what was written.
    pub(super) fn ends_well(&mut self) {
        self.end_line();
        self.happens(Op::Wait);
        // A full buffer closes its chunk, a checkpoint lets it go, then there is room.
        let mut quiet = 0;
        while quiet < 3 {
            quiet = if self.deliver(0) | self.deliver(1) { 0 } else { quiet + 1 };
            self.happens(Op::Checkpoint);
            self.happens(Op::Wait);
        }
        let ids = [self.check(0), self.check(1)];
        for (number, id) in &ids[0] {
            assert!(ids[1].get(number).is_none_or(|other| other == id), "line {number} has two ids");
        }
        let different: HashSet<&String> = ids.iter().flat_map(HashMap::values).collect();
        let lines: HashSet<&usize> = ids.iter().flat_map(HashMap::keys).collect();
        assert_eq!(different.len(), lines.len(), "two lines share an id");
    }

    /// What a destination got. Returns the id of each line's record.
    fn check(&self, destination: usize) -> HashMap<usize, String> {
        let agent = self.agent.as_ref().unwrap();
        let incarnations = agent.incarnations();
        let mut ids = HashMap::new();
        let mut order = Vec::new();
        for record in &self.delivered[destination] {
            let record: serde_json::Value = serde_json::from_slice(record).unwrap();
            let text = record["log"].as_str().unwrap();
            let Some(number) = text.strip_prefix("line ") else { continue };
            let number: usize = number[..6].parse().unwrap();
            assert_eq!(text, text_of(number), "destination {destination}");
            let id = record["record_id"].as_str().unwrap().to_owned();
            assert!(ids.insert(number, id).is_none(), "line {number} came twice to {destination}");
            order.push(number);
        }
        for (index, life) in self.lives.iter().enumerate() {
            let of_life: HashSet<usize> = life.lines.iter().map(|line| line.number).collect();
            let came = order.iter().copied().filter(|number| of_life.contains(number));
            let came: Vec<usize> = came.collect();
            let expected = life.lines.iter().filter(|line| !life.may_lose || ids.contains_key(&line.number));
            let expected: Vec<usize> = expected.map(|line| line.number).collect();
            assert_eq!(came, expected, "life {index} at destination {destination}");
            for line in &life.lines {
                let Some(id) = ids.get(&line.number) else { continue };
                let right = incarnations.iter().any(|incarnation| {
                    record_id(agent.node(), *incarnation, None, line.start, line.stream).hex()
                        == id.as_bytes()
                });
                assert!(right, "line {} has an id that is of no known file and its place", line.number);
            }
        }
        ids
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
    }

    fn look(&mut self) {
        let (now, wall) = (self.now, self.wall);
        self.agent.get_or_insert_with(|| Agent::start(&self.config, now, wall)).look(now, wall);
    }

    fn deliver(&mut self, destination: usize) -> bool {
        let Some(agent) = &mut self.agent else { return false };
        let records = agent.deliver(destination);
        let some = !records.is_empty();
        self.delivered[destination].extend(records);
        some
    }

    fn forget_deleted(&mut self) {
        for life in &mut self.lives {
            life.may_lose |= life.deleted;
        }
    }

    fn life(&mut self) -> &mut Life {
        &mut self.lives[self.writing]
    }

    fn begin_life(&mut self) {
        self.lives.push(Life::default());
        self.writing = self.lives.len() - 1;
    }

    fn put(&mut self, bytes: &[u8]) {
        self.file.write_all(bytes).unwrap();
        self.file.set_modified(self.wall).unwrap();
        self.life().len += bytes.len() as u64;
    }

    fn next_number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers - 1
    }

    /// The bytes of the next lines, and notes what is to come of them.
    fn frame(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if self.banner && self.life().len == 0 {
            bytes.extend_from_slice(format!("{TIME} stdout F {}\n", "=".repeat(2000)).as_bytes());
        }
        let start = self.life().len + bytes.len() as u64;
        let number = self.next_number();
        let text = text_of(number);
        if !number.is_multiple_of(5) {
            bytes.extend_from_slice(format!("{TIME} stdout F {text}\n").as_bytes());
            self.life().lines.push(Expected { number, start, stream: Stream::Stdout });
            return bytes;
        }
        // Split by the runtime, and a line of the other stream comes between.
        let (head, tail) = text.split_at(text.len() / 2);
        bytes.extend_from_slice(format!("{TIME} stdout P {head}\n").as_bytes());
        let between = self.life().len + bytes.len() as u64;
        let other = self.next_number();
        bytes.extend_from_slice(format!("{TIME} stderr F {}\n", text_of(other)).as_bytes());
        bytes.extend_from_slice(format!("{TIME} stdout F {tail}\n").as_bytes());
        self.life().lines.extend([
            Expected { number: other, start: between, stream: Stream::Stderr },
            Expected { number, start, stream: Stream::Stdout },
        ]);
        bytes
    }

    fn line(&mut self) {
        self.end_line();
        let bytes = self.frame();
        self.put(&bytes);
    }

    fn tear(&mut self) {
        self.end_line();
        let mut bytes = self.frame();
        self.rest = bytes.split_off(bytes.len() / 2);
        self.put(&bytes);
    }

    fn end_line(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        self.put(&rest);
    }

    /// A process that did not hear of the rotation writes a line to the old file, however long ago it was.
    fn line_late(&mut self) {
        self.end_line();
        let plain = |life| self.rotated.iter().any(|rotated| rotated.life == life && !rotated.gzip);
        let Some((file, life)) = self.before.take_if(|(_, life)| plain(*life)) else { return };
        let is_short = self.lives[life].len < 1024;
        let (file, writing) =
            (std::mem::replace(&mut self.file, file), std::mem::replace(&mut self.writing, life));
        self.line();
        let old = std::mem::replace(&mut self.file, file);
        self.before = Some((old, std::mem::replace(&mut self.writing, writing)));
        // Compressed before anybody looks, what was a short file cannot be told from another that begins like it: it
        // would be read from its beginning.
        if is_short {
            self.look();
        }
    }

    fn path(&self, index: usize) -> PathBuf {
        let gz = if self.rotated[index].gzip { ".gz" } else { "" };
        format!("{}.{}{gz}", self.log.display(), index + 1).into()
    }

    /// Makes room for a new `app.log.1`.
    fn shift(&mut self) {
        for index in (0..self.rotated.len()).rev() {
            let from = self.path(index);
            let number = index + 2;
            let gz = if self.rotated[index].gzip { ".gz" } else { "" };
            fs::rename(from, format!("{}.{number}{gz}", self.log.display())).unwrap();
        }
        self.rotated.push_front(Rotated { life: self.writing, gzip: false });
    }

    fn rename_away(&mut self) {
        if !std::mem::replace(&mut self.away, true) {
            self.shift();
            fs::rename(&self.log, self.path(0)).unwrap();
        }
    }

    fn reopen(&mut self) {
        if !std::mem::take(&mut self.away) {
            return;
        }
        // The program goes on in the old file until it is told.
        self.end_line();
        let old = std::mem::replace(&mut self.file, append_to(&self.log));
        self.before = Some((old, self.writing));
        self.file.set_modified(self.wall).unwrap();
        self.begin_life();
    }

    fn copytruncate(&mut self) {
        self.reopen();
        self.end_line();
        self.shift();
        fs::copy(&self.log, self.path(0)).unwrap();
        File::open(self.path(0)).unwrap().set_modified(self.wall).unwrap();
        self.empty();
    }

    fn truncate(&mut self) {
        self.reopen();
        self.end_line();
        self.life().may_lose = true;
        self.empty();
    }

    fn empty(&mut self) {
        self.file.set_len(0).unwrap();
        self.file.set_modified(self.wall).unwrap();
        self.begin_life();
    }

    fn delete(&mut self) {
        // Not the one that is written.
        if self.rotated.len() <= usize::from(self.away) {
            return;
        }
        // A file that comes and goes between two looks is seen by nobody, and what was emptied and then renamed is
        // told from a copy of it by the next look.
        if self.agent.is_some() {
            self.look();
            self.look();
        }
        fs::remove_file(self.path(self.rotated.len() - 1)).unwrap();
        let rotated = self.rotated.pop_back().unwrap();
        let life = &mut self.lives[rotated.life];
        life.deleted = true;
        life.may_lose |= self.agent.is_none();
    }

    fn compress(&mut self, looked_at: bool) {
        let written = usize::from(self.away);
        let Some(index) = self.rotated.iter().skip(written).rposition(|rotated| !rotated.gzip) else {
            return;
        };
        let index = index + written;
        let plain = self.path(index);
        self.rotated[index].gzip = true;
        let modified = fs::metadata(&plain).unwrap().modified().unwrap();
        let mut encoder = GzEncoder::new(File::create(self.path(index)).unwrap(), Compression::fast());
        io::copy(&mut File::open(&plain).unwrap(), &mut encoder).unwrap();
        // As gzip does.
        encoder.finish().unwrap().set_modified(modified).unwrap();
        if looked_at && self.agent.is_some() {
            self.look();
        }
        fs::remove_file(plain).unwrap();
    }
}

fn text_of(number: usize) -> String {
    let letter = char::from(b'a' + (number % 26) as u8);
    format!("line {number:06} {}", letter.to_string().repeat(500 + number * 37 % 1500))
}

fn append_to(path: &std::path::Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}
