//! Everything at once: logs that are never at rest, kills, stops, destinations that refuse in every way, a full disk,
//! damaged files, records that are never taken; and at the end an account of every line.
//!
//! A few lives in every run of the tests; `KINETAIL_LIVES=2000 cargo test --release --test torture -- --nocapture`
//! for as long as it takes. It prints its seed, by which the same faults come again (`KINETAIL_SEED`); what the kernel
//! schedules differs all the same.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use support::endpoint::{Account, ErrorAnswer, Fault, Gate, Marker, Rule};
use support::logs::Busy;
use support::scene::{ARCHIVE, AUDIT, Scene};

const STREAMS: [&str; 2] = [ARCHIVE, AUDIT];
/// Lives of the process in a run of all tests.
const LIVES: usize = 25;

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is not a number")))
}

/// A disk of its own for `data_dir`, small enough to be filled; gone with the test.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where this process may not mount one.
    fn at(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs"])
            .arg(path)
            .stderr(std::process::Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Nothing more can be written until [`Self::free`].
    fn fill(&self) {
        let mut file = fs::File::create(self.ballast()).expect("a file");
        let zeros = vec![0; 64 << 10];
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    fn free(&self) {
        let _ = fs::remove_file(self.ballast());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// What one destination does during a life.
fn fault(rng: &mut Rng, logs: &Busy) -> Option<Fault> {
    let with = ErrorAnswer::throughput_exceeded();
    Some(match rng.u8(..12) {
        0 => Fault::Answer(ErrorAnswer::internal_failure()),
        1 => Fault::Answer(ErrorAnswer::access_denied()),
        2 => Fault::Garbage { status: 502, body: "<html>Bad Gateway</html>".into() },
        3 => Fault::DropConnection,
        4 => Fault::LoseAnswer,
        5 => Fault::Hang(Gate::closed()),
        6 => Fault::RefuseEntries { chance: 1.0, with },
        7 | 8 => Fault::RefuseEntries { chance: 0.1, with },
        9 => {
            // One of the lines that are still to be written.
            let writers: BTreeSet<&str> = logs.lines().map(|line| line.marker.writer.as_str()).collect();
            let writer = *writers.iter().nth(rng.usize(..writers.len().max(1)))?;
            let written = logs.lines().filter(|line| line.marker.writer == writer).count() as u64;
            let text = Marker::new(writer, written + rng.u64(..20)).to_string().into_bytes();
            Fault::Poison { text, with: ErrorAnswer::invalid_argument("never") }
        }
        _ => return None,
    })
}

/// Changes, cuts or removes one of the files that are there between two lives.
fn damage(data_dir: &Path, rng: &mut Rng) -> Option<PathBuf> {
    let mut files = Vec::new();
    for destination in STREAMS {
        let chunks = fs::read_dir(data_dir.join("buffer").join(destination)).ok()?;
        files.extend(chunks.map(|entry| entry.expect("an entry").path()));
    }
    files.sort();
    let path = files.get(rng.usize(..files.len().max(1)))?.clone();
    let mut bytes = fs::read(&path).expect("a file");
    match rng.u8(..3) {
        0 => bytes.truncate(rng.usize(..=bytes.len())),
        1 => bytes.clear(),
        _ if bytes.is_empty() => {}
        _ => {
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(..8);
        }
    }
    fs::write(&path, bytes).expect("room on disk");
    Some(path)
}

/// How often each kind of thing happened, and what became of the lines.
#[derive(Debug, Default)]
struct Told {
    kills: usize,
    stops: usize,
    faults: usize,
    damaged: usize,
    full_disks: usize,
}

#[tokio::test]
async fn whatever_happens_every_line_is_delivered_or_a_dead_letter() {
    let seed = asked("KINETAIL_SEED").unwrap_or_else(|| fastrand::u64(..));
    let lives = asked("KINETAIL_LIVES").unwrap_or(LIVES);
    println!("KINETAIL_SEED={seed} KINETAIL_LIVES={lives}");
    let mut rng = Rng::with_seed(seed);
    let scene = Scene::plain()
        .await
        .tail("flush_after: 10m")
        .route(&Busy::ROUTE)
        .destination("request_timeout: 500ms")
        .destination("buffer: {max_size: 512KiB}")
        .destination("retry: {initial_backoff: 5ms, max_backoff: 50ms}")
        .batch("max_age: 20ms, max_records: 100, target_size: 16KiB")
        .setting("buffer: {chunk_size: 64KiB, min_disk_free: 0}")
        .setting("drain_timeout: 500ms");
    let disk = SmallDisk::at(&scene.data_dir());
    if disk.is_none() {
        println!("no file system may be mounted here: the disk is never full");
    }
    let mut logs = Busy::containers(&scene.root(), 8, rng.fork()).with_traces();
    let mut told = Told::default();
    for _ in 0..lives {
        life(&scene, &mut logs, disk.as_ref(), &mut rng, &mut told).await;
    }
    if let Some(disk) = &disk {
        disk.free();
    }
    logs.end();
    // Nothing is refused any more, so there will be no others.
    let dead = STREAMS.map(|stream| letters(&scene, stream));
    let agent = scene.start().await;
    let settled = |account: &Account| {
        STREAMS.iter().zip(&dead).all(|(stream, dead)| {
            let settled = |line: &Marker| account.stream(stream).copies(line) > 0 || dead.contains(line);
            logs.lines().all(|line| settled(&line.marker))
        })
    };
    scene.endpoint.wait_until(settled).await;
    agent.terminate().await;
    println!("{told:?}");
    for (stream, letters) in STREAMS.into_iter().zip(&dead) {
        scene.endpoint.look(|account| {
            let account = account.stream(stream);
            let tally = account.tally(logs.lines().map(|line| line.marker.clone()));
            let lost = tally.missing.iter().filter(|line| !letters.contains(line)).count();
            println!(
                "{stream}: {} lines written, {} delivered, {} copies, {} dead letters, {lost} lost",
                logs.whole(),
                account.distinct(),
                account.lines().count() - account.distinct(),
                letters.len(),
            );
            assert_eq!((lost, tally.unexpected.len()), (0, 0), "{tally}");
        });
    }
    texts_and_ids_are_right(&scene, &logs);
}

/// From a start to an end.
async fn life(scene: &Scene, logs: &mut Busy, disk: Option<&SmallDisk>, rng: &mut Rng, told: &mut Told) {
    let mut gates = Vec::new();
    for stream in STREAMS {
        if let Some(fault) = fault(rng, logs) {
            if let Fault::Hang(gate) = &fault {
                gates.push(gate.clone());
            }
            told.faults += 1;
            // What is never taken stays so.
            let always = matches!(fault, Fault::Poison { .. }) || rng.bool();
            let chance = if always { 1.0 } else { 0.3 };
            scene.endpoint.inject(Rule::new(fault).stream(stream).chance(chance));
        }
    }
    let before = scene.endpoint.look(calls);
    let agent = scene.spawn();
    if rng.u8(..8) == 0 {
        agent.logged("\"started\"").await;
    } else {
        agent.logged("\"ready\"").await;
        for _ in 0..rng.usize(1..5) {
            logs.go_on();
            // Something has been sent in this life, unless nothing can be written to the buffer.
            if disk.is_none_or(|disk| !disk.ballast().exists()) {
                scene.endpoint.wait_until(|account| account.waiting > 0 || calls(account) > before).await;
            }
            match disk {
                Some(disk) if rng.u8(..12) == 0 => {
                    disk.fill();
                    told.full_disks += 1;
                }
                Some(disk) if rng.bool() => disk.free(),
                _ => {}
            }
        }
    }
    if rng.bool() {
        agent.kill().await;
        told.kills += 1;
    } else {
        // A full disk may keep it from writing its last checkpoint, and it says so.
        if let Some(disk) = disk {
            disk.free();
        }
        agent.terminate().await;
        told.stops += 1;
    }
    if let Some(disk) = disk {
        disk.free();
    }
    gates.iter().for_each(Gate::open);
    scene.endpoint.wait_until(|account| account.waiting == 0).await;
    scene.endpoint.heal();
    if rng.u8(..6) == 0 && damage(&scene.data_dir(), rng).is_some() {
        told.damaged += 1;
    }
}

fn calls(account: &Account) -> u64 {
    let refused: u64 = account.refused_calls.values().copied().sum();
    refused + STREAMS.iter().map(|stream| account.stream(stream).calls).sum::<u64>()
}

/// The lines that are dead letters of a destination.
fn letters(scene: &Scene, destination: &str) -> BTreeSet<Marker> {
    let letters = scene.dead_letters(destination);
    let records = letters.iter().filter_map(|letter| letter["record"].as_str());
    records.flat_map(|record| record.lines().filter_map(|line| Marker::find(line.as_bytes()))).collect()
}

/// Each line is whole, and has one id, the same at both destinations.
fn texts_and_ids_are_right(scene: &Scene, logs: &Busy) {
    let texts: BTreeMap<Marker, &str> =
        logs.lines().map(|line| (line.marker.clone(), line.text.as_str())).collect();
    let mut ids = BTreeMap::new();
    for record in STREAMS.iter().flat_map(|stream| scene.records(stream)) {
        let text = record["log"].as_str().expect("a text");
        let marker = Marker::find(text.as_bytes()).expect("a line begins with its marker");
        assert_eq!(text, texts[&marker]);
        let id = record["record_id"].as_str().expect("an id").to_owned();
        let known = ids.entry(marker.clone()).or_insert_with(|| id.clone());
        assert_eq!(*known, id, "{marker} has two ids");
    }
    scene.ids_are_unique();
}
