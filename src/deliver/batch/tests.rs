use std::time::Duration;

use proptest::prelude::*;

use super::super::gzip;
use super::super::key::Key;
use super::super::settings::{Aggregation, Compression, ExplicitHashKey, Packing, PartitionKey};
use super::super::shape::{FIREHOSE_RECORD_SIZE, FIREHOSE_STEP, KINESIS_STEP, Pack};
use super::super::template::Template;
use super::super::testing::{firehose, kinesis, run_of, sized};
use super::*;
use crate::units::ByteSize;

const PACKED: Packing = Packing::Newline { max_size: ByteSize(1_024_000), max_lines: usize::MAX };

fn batcher(shape: Shape) -> Batcher {
    Batcher::new(shape, fastrand::Rng::with_seed(7))
}

fn offer(batcher: &mut Batcher, run: Run, since: Instant) -> Vec<Refused> {
    batcher.offer(Part::new(run, since))
}

fn take_all(batcher: &mut Batcher, now: Instant) -> Vec<Draft> {
    std::iter::from_fn(|| batcher.take(now, Linger::Off)).collect()
}

fn sizes(drafts: &[Draft]) -> Vec<Vec<usize>> {
    let sizes = |draft: &Draft| draft.entries.iter().map(Entry::payload_size).collect();
    drafts.iter().map(sizes).collect()
}

#[test]
fn packed_records_are_filled_up_to_their_size() {
    let mut batcher =
        batcher(Shape::firehose(&firehose(Packing::Newline { max_size: ByteSize(1000), max_lines: 500 })));
    let now = Instant::now();
    offer(&mut batcher, sized(0, &[99; 15]), now);
    offer(&mut batcher, sized(15, &[99; 7]), now);
    assert_eq!(sizes(&take_all(&mut batcher, now)), [[1000, 1000, 200]]);
}

#[test]
fn a_packed_record_holds_no_more_lines_than_allowed() {
    let mut batcher =
        batcher(Shape::firehose(&firehose(Packing::Newline { max_size: ByteSize(1_000_000), max_lines: 4 })));
    let now = Instant::now();
    offer(&mut batcher, sized(0, &[9; 3]), now);
    offer(&mut batcher, sized(3, &[9; 7]), now);
    assert_eq!(sizes(&take_all(&mut batcher, now)), [[40, 40, 20]]);
}

#[test]
fn a_line_longer_than_a_packed_record_goes_alone() {
    let mut batcher =
        batcher(Shape::firehose(&firehose(Packing::Newline { max_size: ByteSize(100), max_lines: 500 })));
    let now = Instant::now();
    assert!(offer(&mut batcher, sized(0, &[9, 499, 9, 9]), now).is_empty());
    assert_eq!(sizes(&take_all(&mut batcher, now)), [[10, 500, 20]]);
}

#[test]
fn a_record_too_large_for_the_service_is_refused_and_its_neighbours_go() {
    let mut batcher = batcher(Shape::firehose(&firehose(Packing::None)));
    let now = Instant::now();
    let refused = offer(&mut batcher, sized(0, &[5, FIREHOSE_RECORD_SIZE, FIREHOSE_RECORD_SIZE + 1, 5]), now);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].run.ordinals(), 2..3);
    assert_eq!(
        refused[0].reason,
        Reason::TooLarge { size: FIREHOSE_RECORD_SIZE + 1, limit: FIREHOSE_RECORD_SIZE }
    );
    assert_eq!(sizes(&take_all(&mut batcher, now)), [[5, FIREHOSE_RECORD_SIZE, 5]]);
}

#[test]
fn the_newline_counts_where_it_is_sent() {
    let now = Instant::now();
    let mut packed = batcher(Shape::firehose(&firehose(PACKED)));
    assert_eq!(offer(&mut packed, sized(0, &[FIREHOSE_RECORD_SIZE]), now).len(), 1);
    assert!(offer(&mut packed, sized(0, &[FIREHOSE_RECORD_SIZE - 1]), now).is_empty());
    let mut bare = batcher(Shape::firehose(&firehose(Packing::None)));
    assert!(offer(&mut bare, sized(0, &[FIREHOSE_RECORD_SIZE]), now).is_empty());
}

#[test]
fn the_partition_key_counts_towards_a_records_and_a_requests_size() {
    let mut settings = kinesis(Aggregation::None);
    settings.partition_key = PartitionKey::Fixed("k".repeat(100));
    settings.max_record_size = ByteSize(1000);
    settings.batch.target_size = ByteSize(1900);
    let mut batcher = batcher(Shape::kinesis(&settings));
    let now = Instant::now();
    let refused = offer(&mut batcher, sized(0, &[900, 901, 900, 10]), now);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].run.ordinals(), 1..2);
    let drafts = take_all(&mut batcher, now);
    assert_eq!(sizes(&drafts), [vec![900], vec![900, 10]]);
    assert_eq!(drafts[1].size, 900 + 100 + 10 + 100);
}

#[test]
fn random_partition_keys_differ_and_fixed_ones_do_not() {
    let now = Instant::now();
    let keys = |key: PartitionKey| -> std::collections::HashSet<_> {
        let mut settings = kinesis(Aggregation::None);
        settings.partition_key = key;
        let mut batcher = batcher(Shape::kinesis(&settings));
        offer(&mut batcher, sized(0, &[1; 100]), now);
        let drafts = take_all(&mut batcher, now);
        drafts[0].entries.iter().filter_map(Entry::partition_key).map(|key| key.into_owned()).collect()
    };
    let random = keys(PartitionKey::Random);
    assert_eq!(random.len(), 100);
    assert!(random.iter().all(|key| key.len() == Key::BITS_LEN));
    assert_eq!(keys(PartitionKey::Fixed("one".to_owned())).len(), 1);
}

#[test]
fn a_request_is_full_at_500_records_and_waits_otherwise() {
    let mut batcher = batcher(Shape::firehose(&firehose(Packing::None)));
    let now = Instant::now();
    offer(&mut batcher, sized(0, &[1; 501]), now);
    assert_eq!(batcher.take(now, Linger::On).map(|draft| draft.entries.len()), Some(500));
    assert!(batcher.take(now, Linger::On).is_none());
    assert_eq!(batcher.due(), Some(now + Duration::from_secs(1)));
    let due = now + Duration::from_secs(1);
    assert_eq!(batcher.take(due, Linger::On).map(|draft| draft.entries.len()), Some(1));
    assert_eq!(batcher.due(), None);
}

#[test]
fn a_request_is_as_old_as_its_oldest_record() {
    let mut batcher = batcher(Shape::firehose(&firehose(PACKED)));
    let now = Instant::now();
    let later = now + Duration::from_millis(700);
    offer(&mut batcher, sized(0, &[1]), now);
    offer(&mut batcher, sized(1, &[1]), later);
    assert_eq!(batcher.due(), Some(now + Duration::from_secs(1)));
}

#[test]
fn an_entry_is_split_without_loss() {
    let mut batcher = batcher(Shape::firehose(&firehose(PACKED)));
    let now = Instant::now();
    for first in [0, 3, 6] {
        offer(&mut batcher, sized(first, &[first as usize + 1; 3]), now);
    }
    let entry = take_all(&mut batcher, now).remove(0).entries.remove(0);
    for count in 0..=9 {
        let (head, tail) = entry.clone().split_at(count);
        assert_eq!((head.records(), tail.records()), (count, 9 - count));
        assert_eq!([head.payload(), tail.payload()].concat(), entry.payload());
        assert_eq!(head.payload_size(), head.payload().len());
    }
}

#[test]
fn a_full_record_ends_before_a_billing_step_that_it_would_only_begin() {
    let now = Instant::now();
    let mut packed = batcher(Shape::firehose(&firehose(Packing::Newline {
        max_size: ByteSize(1_024_000),
        max_lines: 100,
    })));
    // 100 lines of 300 bytes reach 4,400 bytes into the sixth step.
    offer(&mut packed, sized(0, &[299; 60]), now);
    offer(&mut packed, sized(60, &[299; 60]), now);
    let drafts = take_all(&mut packed, now);
    assert_eq!(sizes(&drafts), [[85 * 300, 35 * 300]]);
    assert_eq!((85 * 300 / FIREHOSE_STEP, 86 * 300 / FIREHOSE_STEP), (4, 5));

    let mut settings = kinesis(Aggregation::Kpl { max_size: ByteSize(60_000) });
    settings.batch.target_size = ByteSize(200_000);
    let mut aggregated = batcher(Shape::kinesis(&settings));
    offer(&mut aggregated, sized(0, &[299; 1000]), now);
    let sizes: Vec<usize> =
        take_all(&mut aggregated, now).iter().flat_map(|draft| &draft.entries).map(Entry::size).collect();
    let left: Vec<usize> = sizes.iter().map(|size| size.next_multiple_of(KINESIS_STEP) - size).collect();
    assert!(left[..left.len() - 1].iter().all(|left| *left < 310), "{sizes:?}");
}

#[test]
fn one_record_is_sent_raw_and_several_as_an_aggregate() {
    let now = Instant::now();
    let mut batcher = batcher(Shape::kinesis(&kinesis(Aggregation::Kpl { max_size: ByteSize(51_200) })));
    offer(&mut batcher, sized(0, &[5]), now);
    let raw = take_all(&mut batcher, now).remove(0).entries.remove(0);
    assert_eq!(raw.payload(), b"xxxxx");
    offer(&mut batcher, sized(0, &[5]), now);
    offer(&mut batcher, sized(1, &[1]), now);
    let draft = take_all(&mut batcher, now).remove(0);
    let payload = draft.entries[0].payload();
    assert_eq!(payload[..4], [0xf3, 0x89, 0x9a, 0xc2]);
    assert_eq!(draft.size, payload.len() + Key::BITS_LEN);
    let key = draft.entries[0].partition_key().unwrap();
    assert!(payload.windows(16).any(|part| part == key.as_bytes()), "its own key is that of its records");
}

#[test]
fn an_aggregate_holds_records_of_one_key_only_and_each_request_many_keys() {
    let mut settings = kinesis(Aggregation::Kpl { max_size: ByteSize(51_200) });
    settings.partition_key = PartitionKey::Template(Template::parse("${k}").unwrap());
    let shape = Shape::kinesis(&settings);
    let mut batcher = batcher(shape);
    let now = Instant::now();
    let records: Vec<String> = (0..1000).map(|n| format!("{{\"k\":{},\"n\":{n}}}", n % 10)).collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    offer(&mut batcher, run_of(1, 0, &records), now);
    assert!(batcher.take(now, Linger::On).is_none(), "none is full, and none has waited long enough");
    assert_eq!(batcher.due(), Some(now + Duration::from_secs(1)));
    let draft = batcher.take(now + Duration::from_secs(1), Linger::On).expect("it waited long enough");
    assert_eq!(draft.entries.len(), 10);
    for entry in &draft.entries {
        assert_eq!(entry.records(), 100);
        let key = entry.partition_key().unwrap();
        let marker = format!("\"k\":{key},");
        assert!(entry.runs().all(|run| {
            (0..run.len()).all(|index| String::from_utf8_lossy(run.record(index)).contains(&marker))
        }));
    }
    assert!(batcher.take(now + Duration::from_secs(9), Linger::Off).is_none());
}

#[test]
fn a_key_that_fills_a_record_does_not_wait_and_the_others_do() {
    let mut settings = kinesis(Aggregation::Newline { max_size: ByteSize(1_000) });
    settings.batch.target_size = ByteSize(2_000);
    settings.partition_key = PartitionKey::Template(Template::parse("${k}").unwrap());
    let mut batcher = batcher(Shape::kinesis(&settings));
    let now = Instant::now();
    let full: Vec<String> = (0..30).map(|_| format!("{{\"k\":1,\"x\":\"{}\"}}", "x".repeat(83))).collect();
    let full: Vec<&[u8]> = full.iter().map(String::as_bytes).collect();
    offer(&mut batcher, run_of(1, 0, &[b"{\"k\":2}"]), now);
    offer(&mut batcher, run_of(1, 1, &full), now);
    let draft = batcher.take(now, Linger::On).expect("a full request");
    assert!(draft.entries.iter().all(|entry| entry.partition_key().as_deref() == Some("1")));
    assert!(draft.size > 1_900, "{}", draft.size);
}

#[test]
fn a_key_of_each_records_own_needs_no_waiting_for_others_of_it() {
    let mut settings = kinesis(Aggregation::None);
    settings.partition_key = PartitionKey::Template(Template::parse("${k}").unwrap());
    settings.explicit_hash_key = Some(ExplicitHashKey::Fixed(7));
    settings.max_record_size = ByteSize(20);
    let mut batcher = batcher(Shape::kinesis(&settings));
    let now = Instant::now();
    let refused = offer(
        &mut batcher,
        run_of(1, 0, &[b"{\"k\":\"a\"}", b"{\"k\":\"bbbbbbbbb\"}", b"{\"k\":\"b\"}"]),
        now,
    );
    assert_eq!(refused.iter().flat_map(|refused| refused.run.ordinals()).collect::<Vec<_>>(), [1]);
    let draft = take_all(&mut batcher, now).remove(0);
    let keys: Vec<_> = draft.entries.iter().filter_map(Entry::partition_key).collect();
    assert_eq!(keys, ["a", "b"]);
    assert!(draft.entries.iter().all(|entry| entry.explicit_hash_key() == Some("7")));
}

#[test]
fn what_is_compressed_is_within_the_limits_whatever_it_is() {
    let now = Instant::now();
    let mut settings = firehose(PACKED);
    settings.compression = Compression::Gzip;
    let mut batcher = batcher(Shape::firehose(&settings));
    let longest = gzip::content_within(FIREHOSE_RECORD_SIZE);
    assert_eq!(offer(&mut batcher, sized(0, &[longest, longest - 1, 7]), now).len(), 1);
    let drafts = take_all(&mut batcher, now);
    assert_eq!(sizes(&drafts), [[longest, 8]]);
    let entry = &drafts[0].entries[1];
    assert_eq!(entry.sent_size(), 8, "as long as it was not sent");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&entry.payload()[..]), &mut text)
        .unwrap();
    assert_eq!(text, "xxxxxxx\n");
    assert_eq!(entry.sent_size(), entry.payload().len());
}

/// Packing or not, and the limits, small enough that tests reach all of them.
fn any_shape() -> impl Strategy<Value = Shape> {
    let pack = prop::option::of((1usize..300, 1usize..10, prop::option::of(1usize..100)))
        .prop_map(|pack| pack.map(|(size, lines, step)| Pack { size, lines, step }));
    let key = prop::option::of(prop_oneof![
        Just(PartitionKey::Random),
        "[a-z]{1,20}".prop_map(PartitionKey::Fixed)
    ]);
    (1usize..8, 40usize..500, 40usize..200, pack, key, any::<bool>()).prop_map(
        |(max_entries, request_size, record_size, packing, key, kpl)| Shape {
            max_entries,
            request_size,
            record_size,
            packing: packing.map(|pack| Pack { size: pack.size.min(record_size), ..pack }),
            framing: match packing {
                None => Framing::Bare,
                Some(_) if kpl && key.is_some() => Framing::Aggregate,
                Some(_) => Framing::Lines,
            },
            key,
            hash_key: None,
            ordered: false,
            billed_step: None,
            max_age: Duration::from_secs(1),
        },
    )
}

proptest! {
    #[test]
    fn every_request_keeps_the_limits_and_every_record_is_in_one_or_refused(
        shape in any_shape(),
        runs in prop::collection::vec(prop::collection::vec(0usize..250, 1..30), 1..20),
    ) {
        let mut batcher = batcher(shape.clone());
        let now = Instant::now();
        let mut first = 0;
        let mut seen = Vec::new();
        for sizes in &runs {
            for refused in offer(&mut batcher, sized(first, sizes), now) {
                prop_assert_eq!(refused.run.len(), 1);
                let newline = usize::from(shape.framing.keeps_newline());
                let key = match &shape.key {
                    None => 0,
                    Some(PartitionKey::Fixed(key)) => key.len(),
                    Some(_) => Key::BITS_LEN,
                };
                prop_assert!(refused.run.record(0).len() + newline + key > shape.record_size);
                seen.extend(refused.run.ordinals());
            }
            first += sizes.len() as u32;
        }
        for draft in take_all(&mut batcher, now) {
            prop_assert!(!draft.entries.is_empty() && draft.entries.len() <= shape.max_entries);
            prop_assert_eq!(draft.size, draft.entries.iter().map(Entry::size).sum::<usize>());
            prop_assert!(draft.size <= shape.request_size || draft.entries.len() == 1);
            for entry in &draft.entries {
                prop_assert!(entry.records() > 0 && entry.size() <= shape.record_size);
                prop_assert_eq!(entry.payload().len(), entry.payload_size());
                prop_assert_eq!(entry.size() - entry.payload_size(), entry.partition_key().map_or(0, |key| key.len()));
                match shape.packing {
                    Some(pack) => {
                        prop_assert!(entry.records() == 1 || entry.records() <= pack.lines);
                        prop_assert!(entry.records() == 1 || entry.size() <= pack.size);
                        prop_assert!(shape.framing == Framing::Aggregate || entry.payload().ends_with(b"\n"));
                    }
                    None => prop_assert_eq!(entry.records(), 1),
                }
                seen.extend(entry.runs().flat_map(Run::ordinals));
            }
        }
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..first).collect::<Vec<_>>());
    }
}
