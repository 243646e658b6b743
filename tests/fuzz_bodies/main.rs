//! No bytes make a reader panic, or take more memory and work than their length allows.
//!
//! Every input of a target's corpus (`fuzz/corpus/<target>`) is run, and inputs that are made of them at random.
//! A failure prints the seed and the input; `KINETAIL_FUZZ_SEED` runs one seed again. The same bodies are the
//! targets of `fuzz/` for cargo-fuzz, whose findings become files of the corpus.

mod bodies;
mod mutate;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use bodies::{TARGETS, Target};
use fastrand::Rng;

/// Inputs made at random for each target; a body that opens a queue costs most.
const INPUTS: usize = 1000;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target.name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} has no corpus", target.name);
    paths.iter().map(|path| fs::read(path).expect("a file of the corpus")).collect()
}

/// Runs the body, and holds what it took against the input's length.
fn check(target: &Target, input: &[u8]) {
    let len = input.len() as u64;
    let took = allocation_counter::measure(|| (target.body)(input));
    let (held, allocations) =
        (target.held.0 + len * target.held.1, target.allocations.0 + len * target.allocations.1);
    assert!(took.bytes_max <= held, "{len} bytes made it hold {} bytes; {held} are allowed", took.bytes_max);
    assert!(
        took.count_total <= allocations,
        "{len} bytes made {} allocations; {allocations} are allowed",
        took.count_total
    );
}

fn withstands(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this name");
    // What is made once for the process is nobody's.
    (target.body)(b"");
    let corpus = corpus(target);
    let seed = match std::env::var("KINETAIL_FUZZ_SEED") {
        Ok(seed) => seed.parse().expect("a seed is a number"),
        Err(_) => fastrand::u64(..),
    };
    let mut rng = Rng::with_seed(seed);
    let made = (0..INPUTS).map(|_| mutate::input(&corpus, &mut rng)).collect::<Vec<_>>();
    for input in corpus.iter().chain(&made) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(target, input))) {
            eprintln!("{name}, KINETAIL_FUZZ_SEED={seed}, input b\"{}\"", input.escape_ascii());
            resume_unwind(panic);
        }
    }
}

macro_rules! targets {
    ($($test:ident: $target:literal,)+) => {
        $(
            #[test]
            fn $test() {
                withstands($target);
            }
        )+

        #[test]
        fn every_target_is_tried_here_and_has_a_fuzz_target() {
            let tried = [$($target),+];
            let targets: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(tried[..], targets[..]);
            let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
            for name in tried {
                assert!(fuzz.join(name).with_extension("rs").exists(), "{name} has no fuzz target");
            }
        }
    };
}

targets! {
    the_cri_decoder_withstands_any_bytes: "cri",
    the_docker_decoder_withstands_any_bytes: "docker",
    lines_of_any_bytes_are_joined: "multiline",
    the_json_parser_withstands_any_bytes: "parse_json",
    the_reader_of_journal_entries_withstands_any_bytes: "journal",
    frames_withstand_any_bytes: "frame",
    a_queue_opens_and_reads_whatever_became_of_its_chunk: "chunk",
    the_checkpoint_reader_withstands_any_bytes: "checkpoint",
    the_configuration_reader_withstands_any_bytes: "configuration",
    patterns_and_paths_withstand_any_bytes: "path",
}
