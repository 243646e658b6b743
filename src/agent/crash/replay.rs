//! Dead letters on their way back into a buffer, with an end, or a failure, in every single operation.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::controls::set_aside;
use super::story::{Context, End, ROOMY, Story, seeds_or};
use crate::buffer::{DeadLetterSettings, DeadLetters, Durability};
use crate::telemetry::control::ReplayOf;
use crate::units::ByteSize;

const EVERY: Durability = Durability::Every(Duration::from_secs(1));
const FILES: u32 = 3;
const LETTERS: u32 = 9;

/// Three files of letters, of which every third is not to be replayed, and little room in the buffer.
fn letters(seed: u64, sync: Durability) -> Story {
    let mut story = Story::new(seed, sync);
    story.config.destinations[ROOMY].queue.max_size = ByteSize(9000);
    let folder = story.config.data_dir.join("dead_letters/roomy");
    fs::create_dir_all(&folder).unwrap();
    for file in 0..FILES {
        let mut text = String::new();
        for number in 1..=LETTERS {
            let number = file * LETTERS + number;
            let log = format!("letter-{number}");
            let record = json!({"record_id": format!("{number:032x}"), "log": log, "more": "x".repeat(300)});
            let reason = if number.is_multiple_of(3) { "too_large" } else { "refused" };
            if reason == "refused" {
                story.account.wrote(&log);
            }
            text += &json!({"reason": reason, "origin": {}, "record": record.to_string()}).to_string();
            text.push('\n');
        }
        fs::write(folder.join(format!("{:010}.ndjson", file + 1)), text).unwrap();
    }
    story.found_as_it_is();
    story
}

/// How many letters there are of each reason, whatever the files are called.
fn there(story: &Story) -> BTreeMap<String, u32> {
    let mut there = BTreeMap::new();
    for entry in fs::read_dir(story.config.data_dir.join("dead_letters/roomy")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|it| it != "ndjson" && it != "replay") {
            continue;
        }
        for line in fs::read_to_string(path).unwrap().lines() {
            let letter: Value = serde_json::from_str(line).unwrap();
            *there.entry(letter["reason"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    there
}

/// Replays what was refused until none of it is left, asking again where an end came before that was durable.
fn replay(story: &mut Story) {
    let of = ReplayOf { destination: "roomy".into(), reasons: vec!["refused".into()] };
    for round in 0.. {
        assert!(round < 300, "it does not come to an end: {:?}", there(story));
        let deaths = story.deaths;
        story.step(|story| {
            let (data_dir, disk) = (story.config.data_dir.clone(), story.disk.shared());
            let letters = DeadLetters::new(&data_dir, "roomy".into(), DeadLetterSettings::default(), disk);
            let pipeline = &mut story.alive().pipeline;
            if !pipeline.is_replaying()
                && let Ok((replays, told)) = set_aside(&letters, &of)
            {
                pipeline.begin_replay(replays, &Arc::new(watch::channel(told).0));
            }
            // What failed is tried again after a second.
            let later = Instant::now() + Duration::from_secs(2 * (round + 1));
            while pipeline.replay(later, SystemTime::now()) {}
        });
        story.send(ROOMY);
        story.answer(ROOMY, 2);
        story.checkpoint();
        story.answer(ROOMY, usize::MAX);
        story.checkpoint();
        let left = there(story).contains_key("refused");
        if story.deaths == deaths && !left && story.node.as_ref().is_some_and(|it| it.waiting(ROOMY) == 0) {
            break;
        }
    }
    let missing = story.account.missing(ROOMY);
    assert!(missing.is_empty(), "lost: {missing:?}");
    assert_eq!(there(story), BTreeMap::from([("too_large".to_owned(), FILES * LETTERS / 3)]));
}

fn in_every_operation(sync: Durability, happens: impl Fn(&mut Story, u64)) -> u64 {
    let mut told = 0;
    for seed in seeds_or(1) {
        for operation in 1.. {
            let _context = Context(format!("operation {operation}, seed {seed}"));
            let mut story = letters(seed, sync);
            happens(&mut story, operation);
            story.start();
            replay(&mut story);
            told += 1;
            if story.disk.ops() < operation {
                break;
            }
        }
    }
    told
}

#[test]
fn a_kill_in_any_operation_loses_no_letter_and_doubles_none_in_the_buffer() {
    let told = in_every_operation(EVERY, |story, operation| story.ends(operation, &[End::Kill], 0));
    assert!(told > 100, "the story has become short: {told}");
}

#[test]
fn a_power_loss_in_any_operation_loses_no_letter() {
    in_every_operation(EVERY, |story, operation| story.ends(operation, &[End::PowerLoss], 0));
}

#[test]
fn a_power_loss_loses_no_letter_though_lines_are_never_synced() {
    in_every_operation(Durability::Never, |story, operation| story.ends(operation, &[End::PowerLoss], 0));
}

#[test]
fn an_operation_that_fails_once_loses_no_letter_and_doubles_none() {
    in_every_operation(EVERY, |story, operation| {
        let error = *story.rng.choice(&[Errno::IO, Errno::NOSPC, Errno::ROFS]).expect("one of them");
        story.disk.fail_at(operation, error);
    });
}

#[test]
fn kills_without_end_lose_no_letter_and_double_none() {
    for seed in seeds_or(20) {
        let _context = Context(format!("seed {seed}"));
        let mut story = letters(seed, EVERY);
        story.ends(seed + 1, &[End::Kill; 12], 25);
        story.start();
        replay(&mut story);
    }
}
