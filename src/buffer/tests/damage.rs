//! Chunks that are cut, flipped or gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::super::*;
use super::{Bench, texts};
use crate::source::{Incarnation, Position};

#[test]
fn acknowledgements_of_what_is_damaged_do_not_settle_the_rest() {
    let bench = Bench::new(10_000);
    let mut live = bench.open(None, Chain::default());
    for (from, to) in [(0, 1), (1, 8), (8, 9)] {
        live.append(1, from, to);
    }
    live.opened.appender.finish_chunk();
    let runs = live.runs();
    let damaged = runs[1].ordinals();
    live.opened.queue.ack(runs[1].chunk(), &[damaged]).unwrap();
    drop(live);
    let path = &bench.chunks()[0];
    let mut bytes = fs::read(path).unwrap();
    let at = memchr::memmem::find(&bytes, b"1:5").unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();

    let chain = Chain { delivered: [(Incarnation(1), Position::at(0))].into(), ..Chain::default() };
    let mut live = bench.open(None, chain);
    let runs = live.runs();
    assert_eq!(texts(&runs), ["1:0", "1:8"]);
    assert_eq!(live.opened.queue.take_lost().len(), 1);
    let settles = |run: &crate::record::Run| {
        live.opened.queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
        live.opened.queue.sync_point().release.len()
    };
    assert_eq!(settles(&runs[0]), 0, "seven records were acknowledged already, but not the last");
    assert_eq!(settles(&runs[1]), 1);
}

/// What happened to a copy of a queue's folder.
#[derive(Clone, Debug)]
enum Harm {
    Cut(usize),
    Flip(usize),
    Remove,
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (0..10_000_usize).prop_map(Harm::Cut),
        any::<usize>().prop_map(Harm::Flip),
        Just(Harm::Remove)
    ]
}

fn apply(harm: &Harm, path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    match harm {
        Harm::Cut(at) => bytes.truncate(at % bytes.len()),
        Harm::Flip(bit) => {
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Harm::Remove => return fs::remove_file(path).unwrap(),
    }
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is cut, flipped or removed in whatever chunk, before or after the checkpoint's mark: every
    /// record that is read is right, none is read twice, and every line that is missing is either beyond the
    /// position that recovery resumes from, or reported as lost, so that it is read again.
    #[test]
    fn damage_yields_no_wrong_record_and_no_silent_loss(
        steps in proptest::collection::vec((0..3_u128, 1..5_u64), 1..25),
        marked in 0..25_usize,
        chunk in any::<proptest::sample::Index>(),
        harm in harm(),
    ) {
        let bench = Bench::new(600);
        let mut live = bench.open(None, Chain::default());
        let mut at: BTreeMap<u128, u64> = BTreeMap::new();
        let (mut mark, mut checkpoint) = (None, BTreeMap::new());
        for (index, (file, count)) in steps.iter().enumerate() {
            if index == marked {
                mark = Some(live.opened.queue.sync_point().mark);
                checkpoint = at.clone();
            }
            let from = *at.get(file).unwrap_or(&0);
            prop_assert!(matches!(live.append(*file, from, from + count), Append::Done));
            at.insert(*file, from + count);
        }
        drop(live);
        let chunks = bench.chunks();
        apply(&harm, &chunks[chunk.index(chunks.len())]);

        let live = bench.open(mark, Chain::default());
        // Where each file resumes: the checkpoint, moved on by what was recovered.
        let mut resume = checkpoint;
        for (incarnation, recovered) in &live.opened.files {
            let position = resume.entry(incarnation.0).or_insert(0);
            *position = recovered.to.offset.max(*position);
        }
        drop(live);
        let position = |to: &u64| Position::at(*to);
        let chain = Chain {
            delivered: (0..3).map(|file| (Incarnation(file), Position::at(0))).collect(),
            buffered: resume.iter().map(|(file, to)| (Incarnation(*file), position(to))).collect(),
        };
        let mut live = bench.open(mark, chain);
        let read = live.read();
        let lost = live.opened.queue.take_lost();
        let mut seen = BTreeSet::new();
        for record in &read {
            prop_assert!(seen.insert(record.clone()), "{} was read twice", record);
        }
        for (file, end) in &at {
            for line in 0..*end {
                let resumed_before = line >= *resume.get(file).unwrap_or(&0);
                let reported = lost.iter().any(|lost| {
                    lost.incarnation == Incarnation(*file) && (lost.from.offset..lost.to.offset).contains(&line)
                });
                let there = seen.remove(&format!("{file}:{line}"));
                prop_assert_eq!(
                    u8::from(there) + u8::from(reported) + u8::from(resumed_before), 1,
                    "line {} of file {}: read {}, lost {}, to be read again {}", line, file, there, reported, resumed_before
                );
            }
        }
        prop_assert!(seen.is_empty(), "records that were never appended: {:?}", seen);
    }
}
