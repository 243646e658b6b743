//! `ordering: per_key`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use proptest::prelude::*;

use super::super::answer::{Answer, Class, Failure, Outcome};
use super::super::settings::{Aggregation, Ordering, PartitionKey};
use super::super::template::Template;
use super::super::testing::{kinesis, run_of};
use super::*;
use crate::units::ByteSize;

fn per_key(aggregation: Aggregation, limits: RetryLimits) -> Dispatcher {
    let mut settings = kinesis(aggregation);
    settings.ordering = Ordering::PerKey;
    settings.partition_key = PartitionKey::Template(Template::parse("key-${k}").unwrap());
    settings.batch.max_records = 5;
    settings.batch.target_size = ByteSize(600);
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    Dispatcher::new(Shape::kinesis(&settings), 3, backoff, fastrand::Rng::with_seed(5)).limited(limits)
}

/// Records of these keys, numbered from `first` on, each as long as its key says.
fn run(first: u32, keys: &[u8]) -> Run {
    let records: Vec<String> = keys
        .iter()
        .map(|key| format!("{{\"k\":{key},\"x\":\"{}\"}}", "x".repeat(usize::from(*key) * 9)))
        .collect();
    let records: Vec<&[u8]> = records.iter().map(String::as_bytes).collect();
    run_of(1, first, &records)
}

fn key_of(run: &Run, index: usize) -> String {
    serde_json::from_slice::<serde_json::Value>(run.record(index)).unwrap()["k"].to_string()
}

fn failed(class: Class) -> Failure {
    Failure::local(class, "Code", "why")
}

fn any_class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Throttled), Just(Class::Retry), Just(Class::Hold), Just(Class::Poison)]
}

proptest! {
    #[test]
    fn each_keys_records_are_taken_in_their_order_whatever_the_answers(
        aggregation in prop_oneof![
            Just(Aggregation::None),
            (60u64..400).prop_map(|size| Aggregation::Kpl { max_size: ByteSize(size) }),
            (60u64..400).prop_map(|size| Aggregation::Newline { max_size: ByteSize(size) }),
        ],
        runs in prop::collection::vec(prop::collection::vec(0u8..6, 1..12), 1..12),
        // For each request: fails as a whole, or these entries of it fail.
        answers in prop::collection::vec((prop::option::of(any_class()), any::<u8>(), any_class()), 0..60),
        max_attempts in prop::option::of(2u32..5),
        last_first in any::<bool>(),
    ) {
        let mut dispatcher = per_key(aggregation, RetryLimits { max_attempts, max_record_age: None });
        let (mut now, mut runs, mut answers) = (Instant::now(), runs.into_iter(), answers.into_iter());
        let (mut first, mut flying) = (0, VecDeque::new());
        let mut taken: HashMap<String, Vec<u32>> = HashMap::new();
        let mut refused = Vec::new();
        for step in 0.. {
            prop_assert!(step < 20_000, "it goes on for ever");
            while dispatcher.room() {
                let Some(keys) = runs.next() else { dispatcher.drain(); break };
                prop_assert!(dispatcher.offer(run(first, &keys), Duration::ZERO, now).is_empty());
                first += keys.len() as u32;
            }
            match dispatcher.next(now) {
                Next::Send(request) => {
                    let request: Request = request;
                    let keys = |request: &Request| -> Vec<String> {
                        request.entries.iter().map(|entry| entry.partition_key().unwrap().into_owned()).collect()
                    };
                    let mut under_way: Vec<String> = flying.iter().chain([&request]).flat_map(keys).collect();
                    let count = under_way.len();
                    under_way.sort_unstable();
                    under_way.dedup();
                    prop_assert_eq!(under_way.len(), count, "one entry of a key is under way");
                    flying.push_back(request);
                    if flying.len() < 3 { continue }
                }
                Next::Wait(until) if flying.is_empty() => {
                    prop_assert!(until > now);
                    now = until;
                    continue;
                }
                Next::Idle if flying.is_empty() => break,
                Next::Wait(_) | Next::Idle => {}
            }
            let request = if last_first { flying.pop_back() } else { flying.pop_front() };
            let Some(request) = request else { continue };
            let answer: Answer = match answers.next() {
                None => Answer::taken(),
                Some((Some(class), _, _)) => failed(class).into(),
                Some((None, mask, class)) => {
                    let picked = (0..request.entries.len()).filter(|index| mask >> index & 1 == 1);
                    Outcome::Judged(picked.map(|index| (index, failed(class))).collect()).into()
                }
            };
            let settled = dispatcher.answered(request.id, answer, now);
            for run in &settled.acked {
                for (index, ordinal) in run.ordinals().enumerate() {
                    taken.entry(key_of(run, index)).or_default().push(ordinal);
                }
            }
            refused.extend(settled.refused.iter().flat_map(|refused| refused.run.ordinals()));
        }
        for (key, ordinals) in &taken {
            prop_assert!(ordinals.is_sorted(), "{}: {:?}", key, ordinals);
        }
        let mut all: Vec<u32> = taken.into_values().flatten().chain(refused).collect();
        all.sort_unstable();
        prop_assert_eq!(all, (0..first).collect::<Vec<_>>());
        prop_assert_eq!((dispatcher.held_records(), dispatcher.held_bytes()), (0, 0));
    }
}

#[test]
fn records_that_wait_by_their_keys_come_back_in_order_for_another_dispatcher() {
    let mut dispatcher = per_key(Aggregation::None, RetryLimits::default());
    let now = Instant::now();
    dispatcher.offer(run(0, &[1, 2, 1, 3]), Duration::ZERO, now);
    dispatcher.offer(run(4, &[2, 1, 4]), Duration::ZERO, now);
    dispatcher.drain();
    let Next::Send(request) = dispatcher.next(now) else { panic!("it is drained") };
    dispatcher.answered(request.id, Failure::local(Class::Retry, "Code", "why").into(), now);
    let numbers: Vec<u32> = dispatcher.into_runs().iter().flat_map(Run::ordinals).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
}
