use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::super::pattern::Pattern;
use super::*;
use crate::units::ByteSize;

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
        Self::with(TailSettings::default())
    }

    fn with(settings: TailSettings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let pattern = Pattern::new(&format!("{}/*.log", root.display())).unwrap();
        let route = Route {
            name: "logs".into(),
            selection: Selection { files: vec![pattern], exclude: Vec::new(), only: None, go_on: false },
            journal: None,
            start_at: StartAt::Beginning,
            to: vec!["archive".into()],
        };
        let settings = TailSettings { forget_after: FORGET_AFTER, ..settings };
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

/// Notes that a destination stands here, as a full one does that reads no further.
fn stands_at(bench: &mut Bench, name: &str, offset: u64) {
    let incarnation = bench.tailer.entries().find(|entry| entry.path.ends_with(name)).unwrap().incarnation;
    bench.tailer.entry_mut(incarnation).unwrap().progress[0].position = Position::at(offset);
}

#[test]
fn deleted_files_are_held_until_they_take_too_much_and_what_is_left_unread_is_counted() {
    // A block of the file system for each of two files, and less than three.
    let settings = TailSettings { max_held_deleted: ByteSize(10_000), ..TailSettings::default() };
    let mut bench = Bench::with(settings);
    for (index, name) in ["first.log", "second.log", "third.log", "read.log"].into_iter().enumerate() {
        fs::write(bench.path(name), format!("{name}\n").repeat(index + 1)).unwrap();
        bench.pass(Duration::from_secs(1));
        bench.look();
    }
    stands_at(&mut bench, "first.log", 4);
    stands_at(&mut bench, "read.log", 36);
    for name in ["first.log", "second.log"] {
        fs::remove_file(bench.path(name)).unwrap();
    }
    let scan = bench.tailer.scan(bench.now, bench.wall);
    assert_eq!((scan.abandoned.len(), bench.tailer.open_files()), (0, 4));
    // Whoever looks at the disk sees what a file takes.
    let blocks = 512 * fs::metadata(bench.path("third.log")).unwrap().blocks();
    assert!((3334..=5000).contains(&blocks), "a file system with blocks of 4 KiB");
    fs::remove_file(bench.path("third.log")).unwrap();
    let scan = bench.tailer.scan(bench.now, bench.wall);
    let entry = bench.tailer.entry(scan.abandoned[0]).unwrap();
    assert!(entry.path.ends_with("first.log"), "the one that was written to the longest ago");
    assert_eq!((scan.abandoned.len(), bench.tailer.open_files()), (1, 3));
    let counts = bench.tailer.take_counts();
    assert_eq!((counts.abandoned, counts.abandoned_bytes), (1, 6), "what follows `firs`");
}

#[test]
fn beyond_max_open_files_files_wait_and_deleted_ones_make_room() {
    let mut bench = Bench::with(TailSettings { max_open_files: 2, ..TailSettings::default() });
    for name in ["a.log", "b.log"] {
        fs::write(bench.path(name), format!("{name} says this\n")).unwrap();
        bench.look();
    }
    fs::write(bench.path("c.log"), "c.log says that\n").unwrap();
    bench.look();
    assert_eq!((bench.tailer.open_files(), bench.known()), (2, 2), "c.log waits");
    assert!(bench.tailer.wants_scan());
    stands_at(&mut bench, "a.log", 2);
    fs::remove_file(bench.path("a.log")).unwrap();
    bench.look();
    let counts = bench.tailer.take_counts();
    assert_eq!((counts.abandoned, counts.abandoned_bytes), (1, 14));
    bench.look();
    let open = bench.tailer.entries().filter(|entry| entry.status == Status::Following);
    let mut open: Vec<PathBuf> = open.map(|entry| entry.path.clone()).collect();
    open.sort();
    assert_eq!(open.iter().map(|path| path.file_name().unwrap()).collect::<Vec<_>>(), ["b.log", "c.log"]);
    assert_eq!(bench.tailer.open_files(), 2);
}

/// A log that was rotated and has a successor, and whose end was stable for long enough. Where it is now.
fn rotated(bench: &mut Bench) -> (Incarnation, PathBuf) {
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.look();
    let incarnation = bench.tailer.entries().next().unwrap().incarnation;
    fs::rename(bench.path("app.log"), bench.path("app.log.1")).unwrap();
    fs::write(bench.path("app.log"), "another line\n").unwrap();
    bench.tailer.scan(bench.now, bench.wall);
    bench.pass(Duration::from_secs(6));
    (incarnation, bench.path("app.log.1"))
}

fn append(path: &Path, text: &str) {
    use std::io::Write as _;
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_is_written_while_a_file_is_being_left_is_read_before() {
    let mut bench = Bench::new();
    let (incarnation, path) = rotated(&mut bench);
    assert!(bench.tailer.has_ended(incarnation, bench.now));
    append(&path, "and a late one\n");
    assert!(!bench.tailer.finish(incarnation, bench.wall), "there is more in it than what was read");
    bench.look();
    assert_eq!(bench.tailer.entry(incarnation).unwrap().proof.end, 22);
    bench.pass(Duration::from_secs(6));
    assert!(bench.tailer.has_ended(incarnation, bench.now) && bench.tailer.finish(incarnation, bench.wall));
}

#[test]
fn what_is_written_to_a_rotated_file_that_was_left_is_noticed_and_read() {
    let mut bench = Bench::new();
    let (incarnation, path) = rotated(&mut bench);
    bench.settle();
    assert_eq!((bench.tailer.open_files(), bench.tailer.wants_scan()), (1, false));
    append(&path, "and a late one\n");
    let path = fs::canonicalize(path).unwrap();
    assert_eq!(bench.tailer.written(&path), None);
    assert!(bench.tailer.wants_scan(), "it is not open, and has to be found again");
    bench.look();
    assert_eq!(bench.tailer.written(&path), Some(incarnation));
    assert_eq!(bench.tailer.entry(incarnation).unwrap().proof.end, 22);
    bench.settle();
    assert_eq!((bench.tailer.open_files(), bench.tailer.wants_scan()), (1, false));
    // Files that nobody follows, and what nobody wrote to, ask for nothing.
    fs::write(bench.path("other.txt"), "nobody wants this\n").unwrap();
    assert_eq!(bench.tailer.written(&fs::canonicalize(bench.path("other.txt")).unwrap()), None);
    assert!(!bench.tailer.wants_scan());
}

fn compressed(text: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn what_is_being_compressed_for_several_looks_is_new_when_it_is_whole() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.look();
    bench.tailer.caught_up();
    bench.pass(Duration::from_secs(10));
    // Two generations since: the second was never seen under its own name.
    fs::rename(bench.path("app.log"), bench.path("app.log.2")).unwrap();
    let whole = compressed(b"another line\n");
    let (path, written) = (bench.path("app.log.1.gz"), bench.wall);
    let put = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        // As gzip leaves it.
        fs::File::open(&path).unwrap().set_modified(written).unwrap();
    };
    put(&whole[..whole.len() / 2]);
    fs::write(bench.path("app.log"), "a third\n").unwrap();
    for _ in 0..3 {
        bench.look();
        bench.tailer.caught_up();
        bench.pass(Duration::from_millis(1500));
    }
    assert_eq!(bench.known(), 2);
    put(&whole);
    bench.look();
    assert_eq!(bench.known(), 3);
}

/// What was written to this file last was written now, by the bench's clock.
fn written_now(bench: &Bench, name: &str) {
    fs::File::options().append(true).open(bench.path(name)).unwrap().set_modified(bench.wall).unwrap();
}

#[test]
fn beside_a_log_of_which_nothing_is_open_what_was_renamed_is_found_all_the_same() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.look();
    fs::rename(bench.path("app.log"), bench.path("app.log.1")).unwrap();
    // A fresh file may still become the copy of another, so it waits to be opened; meanwhile the old one is left.
    fs::write(bench.path("app.log"), "").unwrap();
    for _ in 0..2 {
        written_now(&bench, "app.log");
        bench.look();
        bench.tailer.caught_up();
        bench.pass(Duration::from_secs(6));
    }
    assert_eq!((bench.tailer.open_files(), bench.known()), (0, 1));
    append(&bench.path("app.log"), "a third line\n");
    written_now(&bench, "app.log");
    // Nothing comes in its place until the program is told to begin a new one.
    fs::rename(bench.path("app.log"), bench.path("app.log.0")).unwrap();
    for _ in 0..3 {
        bench.look();
        bench.tailer.caught_up();
        bench.pass(Duration::from_secs(2));
    }
    let mut read: Vec<u64> = bench.tailer.entries().map(|entry| entry.proof.end).collect();
    read.sort_unstable();
    assert_eq!(read, [7, 13]);
}

#[test]
fn a_compressed_file_that_is_there_before_its_plain_one_goes_is_the_same() {
    let mut bench = Bench::new();
    let (incarnation, path) = rotated(&mut bench);
    bench.settle();
    assert_eq!((bench.known(), bench.tailer.open_files()), (2, 1));
    fs::write(bench.path("app.log.1.gz"), compressed(b"a line\n")).unwrap();
    written_now(&bench, "app.log.1.gz");
    bench.look();
    assert_eq!((bench.known(), bench.tailer.wants_scan()), (2, true));
    fs::remove_file(path).unwrap();
    bench.settle();
    assert_eq!((bench.known(), bench.tailer.wants_scan()), (2, false));
    let entry = bench.tailer.entry(incarnation).unwrap();
    assert!(entry.moved_to.as_ref().is_some_and(|path| path.ends_with("app.log.1.gz")));
}

#[test]
fn a_file_that_is_renamed_while_it_is_looked_for_is_read_all_the_same() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    written_now(&bench, "app.log");
    // Long before anything is known of it; and it was there when the folder was listed.
    let walk = discovery::walk(&bench.tailer.selections, &bench.tailer.roots);
    fs::rename(bench.path("app.log"), bench.path("app.log.1")).unwrap();
    bench.tailer.take_in(walk, bench.now, bench.wall);
    assert!(bench.tailer.wants_scan());
    bench.settle();
    let read: Vec<u64> = bench.tailer.entries().map(|entry| entry.proof.end).collect();
    assert_eq!(read, [7]);
}

#[test]
fn what_only_the_last_look_could_have_seen_does_not_count_as_known() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.look();
    bench.tailer.caught_up();
    bench.pass(Duration::from_secs(10));
    // In the list of the folder it stands under neither of its names.
    fs::write(bench.path("late"), "another line\n").unwrap();
    written_now(&bench, "late");
    bench.pass(Duration::from_secs(10));
    bench.look();
    bench.tailer.caught_up();
    fs::rename(bench.path("late"), bench.path("app.log.1")).unwrap();
    bench.pass(Duration::from_secs(10));
    bench.look();
    assert_eq!(bench.known(), 2);
    bench.tailer.caught_up();
    // Two looks would have seen it: it is not of this log's own rotation.
    fs::write(bench.path("app.log.2"), "a copy from elsewhere\n").unwrap();
    let long_ago = bench.wall - Duration::from_secs(15);
    fs::File::options().append(true).open(bench.path("app.log.2")).unwrap().set_modified(long_ago).unwrap();
    bench.pass(Duration::from_secs(10));
    bench.look();
    assert_eq!(bench.known(), 2);
}

#[test]
fn after_the_clock_was_set_back_a_file_is_as_new_as_it_is() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    for _ in 0..2 {
        bench.look();
        bench.tailer.caught_up();
        bench.pass(Duration::from_secs(1));
    }
    bench.wall -= Duration::from_secs(3600);
    fs::write(bench.path("app.log.1"), "another line\n").unwrap();
    written_now(&bench, "app.log.1");
    bench.pass(Duration::from_secs(5));
    bench.look();
    assert_eq!(bench.known(), 2);
}

#[test]
fn a_rotated_file_is_known_by_the_name_that_it_has_now() {
    let mut bench = Bench::new();
    let (incarnation, _) = rotated(&mut bench);
    bench.settle();
    fs::rename(bench.path("app.log.1"), bench.path("app.log.2")).unwrap();
    bench.look();
    append(&bench.path("app.log.2"), "and a late one\n");
    assert_eq!(bench.tailer.written(&fs::canonicalize(bench.path("app.log.2")).unwrap()), None);
    assert!(bench.tailer.wants_scan(), "it is a file that was left");
    bench.look();
    assert_eq!(bench.tailer.entry(incarnation).unwrap().proof.end, 22);
}

#[test]
fn a_copy_that_stands_still_before_its_first_byte_is_still_a_copy() {
    let mut bench = Bench::new();
    fs::write(bench.path("app.log"), "a line\n").unwrap();
    bench.look();
    fs::write(bench.path("app.log.1"), "").unwrap();
    bench.settle();
    fs::copy(bench.path("app.log"), bench.path("app.log.1")).unwrap();
    bench.settle();
    assert_eq!(bench.known(), 1);
    fs::write(bench.path("app.log"), "").unwrap();
    let incarnation = bench.tailer.entries().next().unwrap().incarnation;
    assert!(bench.tailer.is_replaced(incarnation));
    bench.tailer.replaced(incarnation, bench.now, bench.wall);
    bench.settle();
    let mut read: Vec<u64> = bench.tailer.entries().map(|entry| entry.proof.end).collect();
    read.sort_unstable();
    assert_eq!(read, [0, 7]);
}
