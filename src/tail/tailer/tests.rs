use std::path::PathBuf;

use super::super::pattern::Pattern;
use super::*;

const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A folder with logs, and a clock that a test moves.
struct Bench {
    folder: tempfile::TempDir,
    tailer: Tailer,
    now: Instant,
    wall: SystemTime,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let pattern = Pattern::new(&format!("{}/*.log", root.display())).unwrap();
        let route = Route {
            name: "logs".into(),
            selection: Selection { files: vec![pattern], exclude: Vec::new() },
            start_at: StartAt::Beginning,
            to: vec!["archive".into()],
        };
        let settings = TailSettings { forget_after: FORGET_AFTER, ..TailSettings::default() };
        let (now, wall) = (Instant::now(), SystemTime::now());
        Self { folder, tailer: Tailer::new(settings, vec![route], None, now, wall), now, wall }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
    }

    /// A look at the folder, and all that is in the files is read; those that have ended are left.
    fn look(&mut self) {
        self.tailer.scan(self.now, self.wall);
        let files: Vec<Incarnation> = self.tailer.files.keys().copied().collect();
        for incarnation in files {
            let proof = self.tailer.entry(incarnation).unwrap().proof;
            let mut bytes = Vec::new();
            self.tailer.read(incarnation, &proof, 4096, &mut bytes, self.now).unwrap();
            if !bytes.is_empty() {
                let end = proof.end + bytes.len() as u64;
                self.tailer.entry_mut(incarnation).unwrap().proof = Proof::of(&bytes, end);
            }
            if self.tailer.has_ended(incarnation, self.now) {
                self.tailer.finish(incarnation, self.wall);
            }
        }
        self.tailer.forget(self.wall);
    }

    /// Looks until nothing more is open that has gone.
    fn settle(&mut self) {
        for _ in 0..3 {
            self.look();
            self.pass(Duration::from_secs(6));
        }
    }

    fn known(&self) -> usize {
        self.tailer.entries().count()
    }
}

#[test]
fn what_is_known_of_a_vanished_file_is_dropped_after_a_time_and_not_before() {
    let mut bench = Bench::new();
    fs::write(bench.path("gone.log"), "a line\n").unwrap();
    fs::write(bench.path("stays.log"), "a line\n").unwrap();
    bench.settle();
    assert_eq!(bench.known(), 2);
    fs::remove_file(bench.path("gone.log")).unwrap();
    bench.settle();
    assert_eq!(bench.tailer.open_files(), 1);
    bench.pass(FORGET_AFTER - Duration::from_secs(30));
    bench.look();
    assert_eq!(bench.known(), 2);
    bench.pass(Duration::from_secs(30));
    bench.look();
    assert_eq!(bench.known(), 1);
    bench.pass(FORGET_AFTER * 100);
    bench.look();
    let known: Vec<&Path> = bench.tailer.entries().map(|entry| entry.path.as_path()).collect();
    assert_eq!(known, [bench.path("stays.log")]);
}

#[test]
fn a_rotated_file_is_known_as_long_as_it_is_there() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.settle();
    fs::rename(bench.path("app.log"), bench.path("app.log.1")).unwrap();
    fs::write(bench.path("app.log"), "another line\n").unwrap();
    bench.settle();
    assert_eq!(bench.tailer.open_files(), 1);
    bench.pass(FORGET_AFTER * 2);
    bench.look();
    assert_eq!(bench.known(), 2);
    fs::remove_file(bench.path("app.log.1")).unwrap();
    bench.look();
    bench.pass(FORGET_AFTER);
    bench.look();
    assert_eq!(bench.known(), 1);
}
