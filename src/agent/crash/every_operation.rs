//! Ending, and failing, at every single operation in turn.

use std::time::Duration;

use rustix::io::Errno;

use super::story::{Context, End, Story, seeds_or};
use crate::buffer::Durability;

const EVERY: Durability = Durability::Every(Duration::from_secs(1));

/// Tells the story again and again, with something happening to the first operation, then to the second, and
/// so on until it is over before that. Returns how often it was told.
fn in_every_operation(seeds: u64, sync: Durability, happens: impl Fn(&mut Story, u64)) -> u64 {
    let mut told = 0;
    for seed in seeds_or(seeds) {
        for operation in 1.. {
            let _context = Context(format!("operation {operation}, seed {seed}"));
            let mut story = Story::new(seed, sync);
            happens(&mut story, operation);
            story.tell();
            story.end();
            told += 1;
            if story.disk.ops() < operation {
                break;
            }
        }
    }
    told
}

#[test]
fn a_kill_in_any_operation_loses_no_line_and_doubles_none_in_a_buffer() {
    let told = in_every_operation(1, EVERY, |story, operation| story.ends(operation, &[End::Kill], 0));
    assert!(told > 340, "the story has become short: {told}");
}

#[test]
fn a_trace_that_is_open_at_a_kill_comes_out_though_nothing_more_is_written() {
    for checkpoint in [false, true] {
        let mut story = Story::new(1, EVERY);
        story.write(2);
        story.start();
        story.write_trace();
        story.look();
        if checkpoint {
            story.checkpoint();
        }
        story.kill();
        story.end();
    }
}

#[test]
fn a_power_loss_in_any_operation_loses_no_line_and_keeps_every_id() {
    in_every_operation(1, EVERY, |story, operation| story.ends(operation, &[End::PowerLoss], 0));
}

#[test]
fn a_power_loss_soon_after_a_kill_loses_no_line() {
    in_every_operation(1, EVERY, |story, operation| {
        story.ends(operation, &[End::Kill, End::PowerLoss], 40);
    });
}

#[test]
fn deaths_without_end_lose_no_line() {
    for seed in seeds_or(40) {
        let _context = Context(format!("seed {seed}"));
        let mut story = Story::new(seed, EVERY);
        let ends: Vec<End> =
            (0..20).map(|_| if story.rng.bool() { End::Kill } else { End::PowerLoss }).collect();
        story.ends(seed + 1, &ends, 60);
        story.tell();
        story.end();
    }
}

#[test]
fn kills_without_end_double_no_line_in_a_buffer() {
    for seed in seeds_or(40) {
        let _context = Context(format!("seed {seed}"));
        let mut story = Story::new(seed, EVERY);
        story.ends(seed + 1, &[End::Kill; 20], 60);
        story.tell();
        story.end();
    }
}

#[test]
fn without_syncs_a_power_loss_still_loses_no_line_that_a_file_holds() {
    in_every_operation(1, Durability::Never, |story, operation| {
        story.ends(operation, &[End::PowerLoss], 0);
    });
}

#[test]
fn an_operation_that_fails_once_loses_no_line_and_doubles_none() {
    in_every_operation(1, EVERY, |story, operation| {
        let error = *story.rng.choice(&[Errno::IO, Errno::NOSPC, Errno::ROFS]).expect("one of them");
        story.disk.fail_at(operation, error);
    });
}

#[test]
fn a_power_loss_after_an_operation_failed_loses_no_line() {
    in_every_operation(1, EVERY, |story, operation| {
        story.disk.fail_at(operation, Errno::IO);
        let after = story.rng.u64(1..60);
        story.ends(operation + after, &[End::PowerLoss], 0);
    });
}
