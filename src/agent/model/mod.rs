//! Whatever befalls a log file, each of its lines comes into each destination's buffer once.
//!
//! One log is written, rotated, copied and truncated, deleted and compressed, while kinetail reads it, stops, is
//! killed and starts again, or loads its configuration again, in any order; one of two destinations has so little room that it is nearly always
//! behind, and there may be no memory for a line that is not whole. The [`world`] holds the files and knows every line; the [`agent`] is the real pipeline over real
//! folders, with a clock that the test moves.

pub(super) mod agent;
mod world;

use proptest::prelude::*;

use world::World;

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// The program writes so many lines.
    Write(u8),
    /// The program has written half of a line.
    Tear,
    /// The log is renamed and a fresh one begun.
    Rotate,
    /// The log is renamed, and the program goes on in it until the next rotation or it is told.
    RenameAway,
    /// The program is told, and begins a fresh log.
    Reopen,
    /// A process that did not hear of the rotation writes a line to the log that was rotated last.
    WriteLate,
    /// The log is copied beside itself and emptied.
    CopyTruncate,
    /// The log is emptied, and its lines are gone.
    Truncate,
    /// The oldest rotated log is removed.
    Delete,
    /// The oldest plain rotated log is compressed; kinetail may look before the plain one goes.
    Compress { looked_at: bool },
    /// kinetail, started if need be, looks at all folders and reads what it can.
    Look,
    /// The same, when nothing has happened for a while.
    Wait,
    /// Everything so far is made durable.
    Checkpoint,
    /// What is in the buffer of a destination is delivered.
    Deliver(usize),
    /// SIGTERM.
    Stop,
    /// SIGKILL.
    Kill,
    /// The configuration is loaded again, perhaps in other words that come to the same; or first without a destination,
    /// which comes back at once.
    Reload { other_words: bool, without: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..24_u8).prop_map(Op::Write),
        2 => Just(Op::Tear),
        3 => Just(Op::Rotate),
        2 => Just(Op::RenameAway),
        2 => Just(Op::Reopen),
        2 => Just(Op::WriteLate),
        2 => Just(Op::CopyTruncate),
        1 => Just(Op::Truncate),
        1 => Just(Op::Delete),
        2 => any::<bool>().prop_map(|looked_at| Op::Compress { looked_at }),
        5 => Just(Op::Look),
        3 => Just(Op::Wait),
        1 => Just(Op::Checkpoint),
        2 => (0..2_usize).prop_map(Op::Deliver),
        1 => Just(Op::Stop),
        2 => Just(Op::Kill),
        3 => (any::<bool>(), any::<bool>()).prop_map(|(other_words, without)| Op::Reload { other_words, without }),
    ]
}

fn run(pattern: &str, banner: bool, scarce: bool, ops: &[Op]) {
    let mut world = World::new(pattern, banner, scarce);
    for op in ops {
        world.happens(*op);
    }
    world.ends_well();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_line_is_in_each_buffer_once_and_in_order(
        banner in any::<bool>(), scarce in any::<bool>(), ops in proptest::collection::vec(op(), 1..60),
    ) {
        run("app.log", banner, scarce, &ops);
    }

    #[test]
    fn a_pattern_that_takes_rotated_files_too_changes_nothing(
        banner in any::<bool>(), scarce in any::<bool>(), ops in proptest::collection::vec(op(), 1..60),
    ) {
        run("app.log*", banner, scarce, &ops);
    }
}
