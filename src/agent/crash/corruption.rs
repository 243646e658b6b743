//! Damage to anything in `data_dir` while no process runs: kinetail starts, moves what it cannot read to
//! quarantine with a report, delivers the rest, and reads again what was lost.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::story::{Context, ROOMY, Story, TIGHT, seeds_or};
use crate::buffer::Durability;

/// What happens to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    FlippedBit,
    Truncated,
    Emptied,
    Garbage,
    Zeroed,
    Removed,
    MadeAFolder,
}

const HARMS: [Harm; 7] = [
    Harm::FlippedBit,
    Harm::Truncated,
    Harm::Emptied,
    Harm::Garbage,
    Harm::Zeroed,
    Harm::Removed,
    Harm::MadeAFolder,
];

impl Harm {
    fn happen(self, path: &Path, rng: &mut Rng) {
        let mut bytes = fs::read(path).unwrap();
        match self {
            Self::FlippedBit => {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
            }
            Self::Truncated => bytes.truncate(rng.usize(..bytes.len())),
            Self::Emptied => bytes.clear(),
            Self::Garbage => bytes.fill_with(|| rng.u8(1..)),
            Self::Zeroed => bytes.fill(0),
            Self::Removed => return fs::remove_file(path).unwrap(),
            Self::MadeAFolder => {
                fs::remove_file(path).unwrap();
                return fs::create_dir(path).unwrap();
            }
        }
        fs::write(path, bytes).unwrap();
    }
}

/// A process is killed in the middle of things: sealed and open chunks, acknowledgements of some records,
/// positions after the checkpoint.
fn killed(seed: u64) -> Story {
    let mut story = Story::new(seed, Durability::default());
    story.write(2);
    story.start();
    for _ in 0..3 {
        story.write(4);
        story.look();
        story.send(ROOMY);
        story.send(TIGHT);
        story.answer(ROOMY, 2);
        story.answer(TIGHT, 1);
        story.checkpoint();
    }
    // A trace that time ends; later others are open.
    story.write_trace();
    story.look();
    story.pass(Duration::from_secs(60));
    story.look();
    story.begin_part();
    for _ in 0..2 {
        story.write(3);
        story.look();
    }
    story.write_trace();
    story.look();
    story.send(ROOMY);
    story.answer(ROOMY, 1);
    story.kill();
    story
}

/// All files in a folder and below, by their names; without the lock, in which nothing is written.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files.retain(|path| !path.ends_with("lock"));
    files.sort();
    files
}

fn quarantined(story: &Story) -> (Vec<PathBuf>, Vec<Value>) {
    let all = files(&story.config.data_dir.join("quarantine"));
    let is_report = |path: &PathBuf| path.to_string_lossy().ends_with(".report.json");
    let (reports, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(is_report);
    (kept, reports.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect())
}

#[test]
fn whatever_happens_to_one_file_of_data_dir_every_line_arrives_under_its_id() {
    let mut harmed = BTreeSet::new();
    for seed in seeds_or(2) {
        let names = files(&killed(seed).config.data_dir).len();
        for index in 0..names {
            for harm in HARMS {
                let mut story = killed(seed);
                let path = files(&story.config.data_dir)[index].clone();
                let _context = Context(format!("{harm:?} of {} with seed {seed}", path.display()));
                harm.happen(&path, &mut story.rng);
                harmed.insert(path.extension().unwrap_or(path.file_name().unwrap()).to_owned());
                story.account.indulge();
                story.found_as_it_is();
                story.write(2);
                story.end();
            }
        }
    }
    let kinds = ["acks", "checkpoint", "chunk", "copy", "node-id", "previous"];
    assert!(harmed.iter().eq(kinds.iter()), "{harmed:?}");
}

#[test]
fn many_flipped_bits_all_over_data_dir_lose_no_line() {
    for seed in seeds_or(60) {
        let _context = Context(format!("seed {seed}"));
        let mut story = killed(seed);
        story.account.indulge();
        for path in files(&story.config.data_dir) {
            // Both copies of the node's id, or of the checkpoint, would take the ids with them.
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if ["node-id.copy", "checkpoint.previous"].contains(&&*name) {
                continue;
            }
            for _ in 0..story.rng.usize(..4) {
                let mut rng = story.rng.fork();
                Harm::FlippedBit.happen(&path, &mut rng);
            }
        }
        story.found_as_it_is();
        story.end();
    }
}

#[test]
fn without_any_checkpoint_everything_is_read_rather_than_anything_lost() {
    let mut story = killed(1);
    for name in ["checkpoint", "checkpoint.previous"] {
        fs::write(story.config.data_dir.join(name), "garbage").unwrap();
    }
    story.account.indulge();
    story.account.new_ids();
    story.found_as_it_is();
    story.end();
    let (kept, reports) = quarantined(&story);
    assert_eq!((kept.len(), reports.len()), (2, 2));
    assert!(reports.iter().all(|report| report["kind"] == "checkpoint"), "{reports:?}");
}

#[test]
fn what_cannot_be_read_is_kept_with_a_report_of_what_was_in_it() {
    let mut story = killed(1);
    let buffer = story.config.data_dir.join("buffer/roomy");
    let chunk = files(&buffer).into_iter().find(|path| path.extension().unwrap() == "chunk").unwrap();
    let mut bytes = fs::read(&chunk).unwrap();
    // A chunk of a later version, good in itself.
    bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&chunk, &bytes).unwrap();
    fs::write(buffer.join("core.1234"), "?").unwrap();
    story.account.indulge();
    story.found_as_it_is();
    story.end();
    let (kept, reports) = quarantined(&story);
    assert!(kept.iter().any(|path| fs::read(path).unwrap() == bytes), "{kept:?}");
    let report = reports.iter().find(|report| report["kind"] == "chunk").unwrap();
    assert_eq!(report["was"], chunk.display().to_string());
    assert_eq!(report["reason"], "a chunk of version 7, which this kinetail cannot read");
    assert_eq!(report["bytes"], bytes.len());
    let files = report["found"]["files"].as_object().unwrap();
    let file = files.values().next().unwrap();
    assert!(file["path"].as_str().unwrap().ends_with("logs/app.log"), "{report}");
    assert!(file["to"].as_u64() > file["from"].as_u64(), "{report}");
    assert_eq!(report["found"]["records"], file["records"]);
    assert!(reports.iter().any(|report| report["kind"] == "foreign file"), "{reports:?}");
}
