use std::fs;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::disk::HostDisk;
use crate::disk::sim::SimDisk;
use crate::units::ByteSize;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

/// A folder with the dead letters of one destination.
struct Box {
    folder: tempfile::TempDir,
    settings: DeadLetterSettings,
}

impl Box {
    fn new(max_size: u64, when_full: WhenFull) -> Self {
        let settings = DeadLetterSettings { max_size: ByteSize(max_size), when_full };
        Self { folder: tempfile::tempdir().unwrap(), settings }
    }

    fn open(&self) -> DeadLetters {
        DeadLetters::new(self.folder.path(), "d".into(), self.settings.clone(), HostDisk::shared())
    }

    fn files(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.open().folder()) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    /// All letters, as the JSON objects that each line must be.
    fn letters(&self) -> Vec<Value> {
        let texts = self.files().into_iter().map(|path| fs::read_to_string(path).unwrap());
        texts
            .flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>())
            .collect()
    }

    fn records(&self) -> Vec<String> {
        self.letters().iter().map(|letter| letter["record"].as_str().unwrap().to_owned()).collect()
    }

    fn bytes(&self) -> u64 {
        self.files().iter().map(|path| fs::metadata(path).unwrap().len()).sum()
    }
}

fn letter(record: impl Into<String>) -> Letter<'static> {
    Letter { reason: "panic", record: record.into(), ..Letter::default() }
}

#[test]
fn a_letter_tells_destination_reason_time_and_origin() {
    let place = Box::new(1 << 20, WhenFull::Block);
    let origin =
        Origin { file: Some("/var/log/a.log".into()), offset: Some(7), record_id: Some("ab".into()) };
    let letter = Letter { reason: "panic", detail: "why".into(), origin, record: "a \"line\"".into() };
    place.open().keep([letter], NOW).unwrap();
    let expected = serde_json::json!({
        "time": "1970-01-01T00:00:00Z",
        "destination": "d",
        "reason": "panic",
        "detail": "why",
        "origin": {"file": "/var/log/a.log", "offset": 7, "record_id": "ab"},
        "record": "a \"line\"",
    });
    assert_eq!(place.letters(), [expected]);
}

#[test]
fn a_record_names_its_origin_by_itself() {
    let origin = Origin::of_record(br#"{"log":"x","file":"/a","record_id":"00ff"}"#);
    assert_eq!(origin.file.as_deref(), Some("/a"));
    assert_eq!(origin.record_id.as_deref(), Some("00ff"));
    assert_eq!(Origin::of_record(b"not JSON"), Origin::default());
}

#[test]
fn dead_letters_stay_whole_lines_over_a_crash() {
    let place = Box::new(1 << 20, WhenFull::Block);
    place.open().keep([letter("one"), letter("two")], NOW).unwrap();
    let path = place.files().remove(0);
    // Longer than what is looked at at once.
    let torn = format!("{{\"time\":\"{}", "x".repeat(200_000));
    fs::write(&path, fs::read_to_string(&path).unwrap() + &torn).unwrap();
    place.open().keep([letter("three")], NOW).unwrap();
    assert_eq!(place.records(), ["one", "two", "three"]);
}

/// Wherever a process was killed over the first letter, the next one's is there after a power loss.
#[test]
fn a_letter_is_durable_though_a_killed_process_made_its_file() {
    for operation in 1.. {
        let mut came_to_it = false;
        for seed in 0..16 {
            let place = Box::new(1 << 20, WhenFull::Block);
            let disk = SimDisk::over(place.folder.path(), seed);
            let open =
                || DeadLetters::new(place.folder.path(), "d".into(), place.settings.clone(), disk.shared());
            disk.stop_at(operation);
            let kept = open().keep([letter("one")], NOW).is_ok();
            came_to_it = disk.is_stopped();
            disk.restart();
            open().keep([letter("two")], NOW).unwrap();
            disk.lose_power(seed);
            let records = place.records();
            assert_eq!(records.last().map(String::as_str), Some("two"), "operation {operation}, seed {seed}");
            assert!(!kept || records.len() == 2, "operation {operation}, seed {seed}: {records:?}");
        }
        if !came_to_it {
            assert!(operation > 4, "a file is made and written in more operations than {operation}");
            return;
        }
    }
}

#[test]
fn at_the_limit_a_letter_is_refused_until_people_make_room() {
    let place = Box::new(1 << 20, WhenFull::Block);
    let letters = place.open();
    let big = || letter("x".repeat(100_000));
    let mut kept = 0;
    let refused = loop {
        match letters.keep([big()], NOW) {
            Ok(()) => kept += 1,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, NotKept::Full { limit } if limit == 1 << 20), "{refused}");
    assert_eq!((kept, place.letters().len()), (10, 10));
    assert!(place.bytes() <= 1 << 20);
    assert_eq!(letters.stats().bytes, place.bytes());
    fs::remove_file(&place.files()[0]).unwrap();
    letters.keep([big()], NOW).unwrap();
    assert_eq!(letters.stats().kept["panic"], 11);
    assert_eq!(letters.stats().dropped, 0);
}

#[test]
fn the_oldest_files_go_and_their_letters_are_counted() {
    let place = Box::new(1 << 20, WhenFull::DropOldest);
    let letters = place.open();
    for number in 0..100 {
        letters.keep([letter(format!("{number:03}{}", "x".repeat(50_000)))], NOW).unwrap();
        assert!(place.bytes() <= 1 << 20);
    }
    let left = place.records();
    assert!(left.len() >= 15, "{} letters of 50,000 bytes are left of 1 MiB", left.len());
    let numbers: Vec<&str> = left.iter().map(|record| &record[..3]).collect();
    let expected: Vec<String> = (100 - left.len()..100).map(|number| format!("{number:03}")).collect();
    assert_eq!(numbers, expected, "the newest are left");
    assert_eq!(letters.stats().dropped, 100 - left.len() as u64);
}

#[test]
fn a_letter_larger_than_the_limit_does_not_hold_its_destination_for_ever() {
    for when_full in [WhenFull::Block, WhenFull::DropOldest] {
        let place = Box::new(1 << 20, when_full);
        place.open().keep([letter("x".repeat(2 << 20))], NOW).unwrap();
        assert_eq!(place.letters().len(), 1);
    }
}

#[test]
fn a_file_that_people_moved_away_is_not_written_any_more() {
    let place = Box::new(1 << 20, WhenFull::Block);
    let letters = place.open();
    letters.keep([letter("one")], NOW).unwrap();
    let elsewhere = place.folder.path().join("elsewhere");
    fs::rename(place.files().remove(0), &elsewhere).unwrap();
    letters.keep([letter("two")], NOW).unwrap();
    assert_eq!(place.records(), ["two"]);
    assert!(fs::read_to_string(elsewhere).unwrap().contains("one"));
}

#[test]
fn handles_share_one_writer() {
    let place = Box::new(8 << 20, WhenFull::Block);
    let letters = place.open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let letters = letters.clone();
            scope.spawn(move || {
                for number in 0..25 {
                    letters.keep([letter(format!("{thread}:{number}"))], NOW).unwrap();
                }
            });
        }
    });
    let mut records = place.records();
    records.sort();
    records.dedup();
    assert_eq!(records.len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_was_refused_or_reopened_every_kept_letter_is_there_once_and_in_order(
        sizes in prop::collection::vec(0..400_000_usize, 1..30),
        reopen in prop::collection::vec(any::<bool>(), 30),
    ) {
        let place = Box::new(2 << 20, WhenFull::Block);
        let mut letters = place.open();
        let mut kept = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            if reopen[number] {
                letters = place.open();
            }
            let record = format!("{number}{}", "x".repeat(*size));
            if letters.keep([letter(record.clone())], NOW).is_ok() {
                kept.push(record);
            }
            prop_assert!(place.bytes() <= 2 << 20);
        }
        prop_assert_eq!(place.records(), kept);
    }
}
