//! What must hold of a queue as a whole: appended, read, acknowledged, reopened, cut, flipped.
#![expect(clippy::single_range_in_vec_init, reason = "one range of records is the usual acknowledgement")]

mod damage;
mod full_disk;
mod give_up;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::disk::{Disk, HostDisk};
use crate::record::{Records, Run};
use crate::source::{Incarnation, Mark, Position};
use crate::units::ByteSize;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A queue in a folder of its own, over restarts.
struct Bench {
    folder: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    settings: QueueSettings,
    chunk_size: u64,
}

/// A queue while it is open.
struct Live {
    opened: Opened,
    reader: Reader,
    turn: u64,
}

impl Bench {
    fn new(chunk_size: u64) -> Self {
        let settings = QueueSettings { max_size: ByteSize(1 << 20), when_full: WhenFull::Block };
        Self { folder: tempfile::tempdir().unwrap(), disk: HostDisk::shared(), settings, chunk_size }
    }

    /// As a checkpoint of this mark would have it; without one, as if none could be read.
    fn open(&self, mark: Option<Mark>, chain: Chain) -> Live {
        let mut told = Vec::new();
        let opened = open(Open {
            name: "d".into(),
            data_dir: self.folder.path(),
            settings: self.settings.clone(),
            chunk_size: self.chunk_size,
            known: mark.map(|mark| Known { first: 0, mark }),
            disk: Arc::clone(&self.disk),
            budget: Budget::new(1 << 30),
            wake: Arc::new(|| {}),
            progress: &mut |done, of| told.push((done, of)),
        })
        .unwrap();
        // As far as it came, never back, and to the end of what has to be read through.
        assert!(told.is_sorted() && told.last().is_none_or(|(done, of)| done <= of), "{told:?}");
        if mark.is_none() {
            assert!(told.last().is_none_or(|(done, of)| done == of), "{told:?}");
        }
        let reader = reader(&opened.queue, chain);
        Live { reader, turn: opened.turn, opened }
    }

    fn chunks(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> = fs::read_dir(self.folder.path().join("buffer/d"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "chunk"))
            .collect();
        paths.sort();
        paths
    }
}

impl Live {
    /// Appends the lines `from..to` of a file whose line `n` is the record `file:n`, at offset `n`.
    fn append(&mut self, file: u128, from: u64, to: u64) -> Append {
        let mut records = Records::default();
        for line in from..to {
            records.push_with(|out| {
                out.extend_from_slice(format!("{file}:{line}").as_bytes());
                true
            });
        }
        self.turn += 1;
        let (from, to) = (Position::at(from), Position::at(to));
        let step =
            Step { turn: self.turn, incarnation: Incarnation(file), from: &from, to: &to, repair: false };
        self.opened.appender.append(&Body::new(b"source", &records), &step, NOW)
    }

    fn runs(&mut self) -> Vec<Run> {
        std::iter::from_fn(|| self.reader.next_run().unwrap()).collect()
    }

    fn read(&mut self) -> Vec<String> {
        texts(&self.runs())
    }
}

fn texts(runs: &[Run]) -> Vec<String> {
    runs.iter()
        .flat_map(|run| (0..run.len()).map(|i| String::from_utf8(run.record(i).to_vec()).unwrap()))
        .collect()
}

fn lines(file: u128, range: std::ops::Range<u64>) -> Vec<String> {
    range.map(|line| format!("{file}:{line}")).collect()
}

#[test]
fn what_was_appended_is_read_in_order_and_again_until_it_is_acknowledged() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    for step in 0..10 {
        assert!(matches!(live.append(1, step * 3, step * 3 + 3), Append::Done));
    }
    let runs = live.runs();
    assert_eq!(texts(&runs), lines(1, 0..30));
    assert!(bench.chunks().len() > 3);
    live.opened.queue.ack(runs[1].chunk(), &[runs[1].ordinals()]).unwrap();
    live.opened
        .queue
        .ack(runs[4].chunk(), &[runs[4].ordinals().start..runs[4].ordinals().start + 1])
        .unwrap();
    drop(live);
    let left: Vec<String> = lines(1, 0..30)
        .into_iter()
        .filter(|line| !["1:3", "1:4", "1:5", "1:12"].contains(&line.as_str()))
        .collect();
    assert_eq!(bench.open(None, Chain::default()).read(), left);
}

#[test]
fn a_chunk_is_removed_only_when_it_is_settled_and_a_checkpoint_covers_it() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    for step in 0..10 {
        live.append(1, step, step + 1);
    }
    let count = bench.chunks().len();
    for run in live.runs() {
        live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
    }
    assert_eq!(bench.chunks().len(), count);
    let point = live.opened.queue.sync_point();
    assert_eq!(point.release.len(), count - 1, "the chunk that is being written stays");
    live.opened.queue.release(&point.release);
    assert_eq!(bench.chunks().len(), 1);
    let delivered: HashMap<_, _> = point.delivered.into_iter().collect();
    assert!(delivered[&Incarnation(1)].offset < 10);
    assert_eq!(live.opened.queue.stats().records, 0);
}

#[test]
fn a_chunk_is_not_let_go_before_the_ones_in_front_of_it() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    for step in 0..6 {
        live.append(1, step, step + 1);
    }
    let runs = live.runs();
    let first = runs[0].chunk();
    let (waiting, delivered): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| run.chunk() == first);
    assert!(delivered.len() > 1);
    for run in &delivered {
        live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
    }
    let point = live.opened.queue.sync_point();
    assert_eq!((point.release, point.delivered), (vec![], vec![]));
    drop(live);
    // The next process finds no gap, and sends again only what was not delivered.
    let chain = Chain { delivered: [(Incarnation(1), Position::at(0))].into(), ..Chain::default() };
    let mut live = bench.open(None, chain);
    let runs = live.runs();
    assert_eq!(texts(&runs), texts(&waiting));
    assert_eq!(live.opened.queue.take_lost(), []);
    let count = bench.chunks().len();
    for run in runs {
        live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
    }
    assert_eq!(live.opened.queue.sync_point().release.len(), count);
}

#[test]
fn a_full_queue_takes_nothing_more_until_room_is_made() {
    let mut bench = Bench::new(1000);
    bench.settings.max_size = ByteSize(3000);
    let mut live = bench.open(None, Chain::default());
    let mut line = 0;
    while let Append::Done = live.append(1, line, line + 5) {
        line += 5;
    }
    assert!(live.opened.queue.stats().bytes <= 3000);
    assert!(!live.opened.appender.has_room(200));
    for run in live.runs() {
        live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
    }
    assert!(live.opened.queue.wants_release());
    let point = live.opened.queue.sync_point();
    live.opened.queue.release(&point.release);
    assert!(matches!(live.append(1, line, line + 5), Append::Done));
}

#[test]
fn drop_oldest_gives_up_whole_chunks_from_the_front_and_counts_them() {
    let mut bench = Bench::new(1000);
    bench.settings = QueueSettings { max_size: ByteSize(3000), when_full: WhenFull::DropOldest };
    let mut live = bench.open(None, Chain::default());
    for line in 0..60 {
        while let Append::Full(_) = live.append(1, line, line + 1) {
            let point = live.opened.queue.sync_point();
            live.opened.queue.release(&point.release);
        }
    }
    let read = live.read();
    assert_eq!(read.len() as u64 + live.opened.queue.stats().dropped_records, 60);
    assert_eq!(read, lines(1, 60 - read.len() as u64..60));
    assert_eq!(live.opened.queue.take_lost(), [], "what the user's limit gave up is not damage");
}

#[test]
fn of_a_dropped_chunk_that_delivery_has_in_hand_nothing_is_counted_as_given_up_or_taken_for_lost() {
    let mut bench = Bench::new(1000);
    bench.settings = QueueSettings { max_size: ByteSize(3000), when_full: WhenFull::DropOldest };
    let mut live = bench.open(None, Chain::default());
    let (mut line, mut in_hand) = (0, Vec::new());
    while let Append::Done = live.append(1, line, line + 1) {
        line += 1;
        if bench.chunks().len() == 2 && in_hand.is_empty() {
            in_hand = live.runs();
            live.opened.queue.ack(in_hand[0].chunk(), &[in_hand[0].ordinals()]).unwrap();
        }
    }
    // The first chunk is given up, which was read; then, to make more room, others that were not.
    let mut read = live.read();
    for _ in 0..20 {
        while let Append::Full(_) = live.append(1, line, line + 1) {
            let point = live.opened.queue.sync_point();
            live.opened.queue.release(&point.release);
            assert_eq!(live.opened.queue.take_lost(), [], "what was given up is not damage");
        }
        line += 1;
    }
    read.extend(live.read());
    let dropped = live.opened.queue.stats().dropped_records;
    assert!(dropped > 0);
    assert_eq!(in_hand.len() as u64 + dropped + read.len() as u64, line);
}

#[test]
fn frames_after_a_gap_are_not_trusted() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    for step in 0..10 {
        live.append(1, step, step + 1);
    }
    drop(live);
    // A power loss: the second chunk's pages never reached the disk, later ones did.
    let chunks = bench.chunks();
    let whole = fs::read(&chunks[1]).unwrap();
    fs::write(&chunks[1], vec![0; whole.len()]).unwrap();
    let mut live = bench.open(Some(Mark::default()), Chain::default());
    let read = live.read();
    assert_eq!(bench.chunks().len(), 1);
    assert_eq!(live.opened.files[&Incarnation(1)].to.offset, read.len() as u64);
    assert_eq!(read, lines(1, 0..read.len() as u64));
}

#[test]
fn the_reader_sees_frames_as_they_are_appended() {
    let bench = Bench::new(4000);
    let mut live = bench.open(None, Chain::default());
    for line in 0..100 {
        live.append(1, line, line + 1);
        assert_eq!(live.read(), lines(1, line..line + 1));
    }
}

#[test]
fn a_foreign_file_and_a_chunk_of_another_destination_are_moved_away() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    live.append(1, 0, 5);
    drop(live);
    let folder = bench.folder.path().join("buffer/d");
    fs::write(folder.join("notes.txt"), "?").unwrap();
    let mut moved = fs::read(&bench.chunks()[0]).unwrap();
    moved[32] ^= 1;
    let checksum = crc32fast::hash(&moved[..60]);
    moved[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(folder.join(format!("{:016x}.chunk", 1)), moved).unwrap();
    let mut live = bench.open(None, Chain::default());
    assert_eq!(live.read(), lines(1, 0..5));
    let quarantine = fs::read_dir(bench.folder.path().join("quarantine")).unwrap();
    let (reports, files): (Vec<_>, Vec<_>) = quarantine
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .partition(|name| name.ends_with(".report.json"));
    assert_eq!((reports.len(), files.len()), (2, 2));
}

#[tokio::test]
async fn a_chunk_that_is_closed_to_make_room_is_let_go_though_nothing_follows_it() {
    let bench = Bench::new(1 << 20);
    let mut live = bench.open(None, Chain::default());
    live.append(1, 0, 3);
    live.reader.readable().await;
    let runs = live.runs();
    live.opened.queue.ack(0, &[0..3]).unwrap();
    assert_eq!((texts(&runs), live.runs().len()), (lines(1, 0..3), 0));
    drop(runs);
    // What is as large as all of its room fits into an empty queue only.
    assert!(!live.opened.appender.has_room(1 << 20));
    tokio::select! {
        biased;
        () = live.reader.readable() => {}
        () = std::future::ready(()) => panic!("the reader is told that the chunk has an end now"),
    }
    assert_eq!(live.runs().len(), 0);
    let point = live.opened.queue.sync_point();
    live.opened.queue.release(&point.release);
    assert!(live.opened.appender.has_room(1 << 20) && bench.chunks().is_empty());
}

#[tokio::test]
async fn waiting_for_records_ends_with_an_append() {
    let bench = Bench::new(4000);
    let mut live = bench.open(None, Chain::default());
    assert!(live.reader.next_run().unwrap().is_none());
    live.append(1, 0, 1);
    live.reader.readable().await;
    assert_eq!(live.read(), lines(1, 0..1));
}

#[test]
fn age_is_told_by_the_oldest_record_that_waits() {
    let bench = Bench::new(400);
    let mut live = bench.open(None, Chain::default());
    live.append(1, 0, 1);
    assert_eq!(live.opened.queue.stats().oldest, Some(NOW));
    let run = live.runs().remove(0);
    assert_eq!(run.age(NOW + Duration::from_secs(3)), Duration::from_secs(3));
    live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
    assert_eq!(live.opened.queue.stats().oldest, None);
}
