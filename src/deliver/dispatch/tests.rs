use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::super::answer::{Answer, Class, Failure, Outcome};
use super::super::settings::{Aggregation, Packing};
use super::super::testing::{firehose, kinesis, ordinals, sized};
use super::*;
use crate::units::ByteSize;

const SECOND: Duration = Duration::from_secs(1);

fn backoff() -> Backoff {
    Backoff::new(Duration::from_millis(100), Duration::from_secs(30))
}

fn dispatcher(shape: Shape) -> Dispatcher {
    Dispatcher::new(shape, 4, backoff(), fastrand::Rng::with_seed(11))
}

fn bare() -> Dispatcher {
    let mut dispatcher = dispatcher(Shape::firehose(&firehose(Packing::None)));
    dispatcher.drain();
    dispatcher
}

fn packed(lines: usize) -> Dispatcher {
    let packing = Packing::Newline { max_size: ByteSize(1_024_000), max_lines: lines };
    let mut dispatcher = dispatcher(Shape::firehose(&firehose(packing)));
    dispatcher.drain();
    dispatcher
}

#[track_caller]
fn sent(dispatcher: &mut Dispatcher, now: Instant) -> Request {
    match dispatcher.next(now) {
        Next::Send(request) => request,
        other => panic!("nothing was sent: {other:?}"),
    }
}

#[track_caller]
fn waits(dispatcher: &mut Dispatcher, now: Instant) -> Instant {
    match dispatcher.next(now) {
        Next::Wait(until) => until,
        other => panic!("it does not wait: {other:?}"),
    }
}

fn failure(class: Class) -> Failure {
    Failure::local(class, "Code", "why")
}

fn failed(class: Class) -> Answer {
    failure(class).into()
}

fn judged(failures: &[(usize, Class)]) -> Answer {
    let failures = failures.iter().map(|(index, class)| (*index, failure(*class)));
    Outcome::Judged(failures.collect()).into()
}

fn numbers(runs: &[Run]) -> Vec<u32> {
    runs.iter().flat_map(Run::ordinals).collect()
}

#[test]
fn only_failed_entries_are_sent_again() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 5]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    let settled = dispatcher.answered(request.id, judged(&[(1, Class::Retry), (3, Class::Retry)]), now);
    assert_eq!(numbers(&settled.acked), [0, 2, 4]);
    assert_eq!((settled.delivered_records, settled.retried_records), (3, 2));
    let later = waits(&mut dispatcher, now);
    assert!(later <= now + Duration::from_millis(100));
    let request = sent(&mut dispatcher, later);
    assert_eq!(ordinals(&request), [1, 3]);
    let settled = dispatcher.answered(request.id, Answer::taken(), later);
    assert_eq!(numbers(&settled.acked), [1, 3]);
    assert_eq!(dispatcher.held_records(), 0);
}

#[test]
fn a_failed_remainder_travels_with_new_records() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 2]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    dispatcher.answered(request.id, judged(&[(0, Class::Retry)]), now);
    let later = now + SECOND;
    dispatcher.offer(sized(2, &[1; 2]), Duration::ZERO, later);
    let mut together = ordinals(&sent(&mut dispatcher, later));
    together.sort_unstable();
    assert_eq!(together, [0, 2, 3]);
}

#[test]
fn a_partial_failure_does_not_hold_up_the_destination() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 10]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    dispatcher.answered(request.id, judged(&[(0, Class::Retry)]), now);
    assert_eq!(dispatcher.health(), &Health::Fine);
    dispatcher.offer(sized(10, &[1]), Duration::ZERO, now);
    assert!(ordinals(&sent(&mut dispatcher, now)).contains(&10));
}

#[test]
fn an_outage_pauses_the_destination_by_rounds_not_by_requests() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 2000]), Duration::ZERO, now);
    let requests: Vec<Request> = (0..4).map(|_| sent(&mut dispatcher, now)).collect();
    for request in requests {
        dispatcher.answered(request.id, failed(Class::Retry), now);
    }
    let resumed = waits(&mut dispatcher, now);
    assert!(resumed <= now + Duration::from_millis(100), "one round failed, not four");
    assert!(matches!(dispatcher.health(), Health::BackingOff { since, .. } if *since == now));
    // Half as many as before.
    let requests = [sent(&mut dispatcher, resumed), sent(&mut dispatcher, resumed)];
    assert!(matches!(dispatcher.next(resumed), Next::Idle));
    for request in requests {
        dispatcher.answered(request.id, Answer::taken(), resumed);
    }
    assert_eq!(dispatcher.health(), &Health::Fine);
    let again = (0..).take_while(|_| matches!(dispatcher.next(resumed), Next::Send(_)));
    assert_eq!(again.count(), 2, "all the rest is under way");
}

#[test]
fn throttling_slows_the_destination_and_sends_the_throttled_again() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 4]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    let throttled = [0, 2, 3].map(|index| (index, Class::Throttled));
    let settled = dispatcher.answered(request.id, judged(&throttled), now);
    assert_eq!(numbers(&settled.acked), [1]);
    assert_eq!(settled.failures, [(failure(Class::Throttled), 3)]);
    let later = waits(&mut dispatcher, now);
    assert_eq!(ordinals(&sent(&mut dispatcher, later)), [0, 2, 3]);
}

#[test]
fn a_denied_destination_is_asked_slowly_and_keeps_everything() {
    let mut dispatcher = bare();
    let mut now = Instant::now();
    let begun = now;
    dispatcher.offer(sized(0, &[1; 3]), Duration::ZERO, now);
    for _ in 0..20 {
        let request = sent(&mut dispatcher, now);
        assert_eq!(ordinals(&request), [0, 1, 2]);
        let settled = dispatcher.answered(request.id, failed(Class::Hold), now);
        assert!(settled.acked.is_empty() && settled.refused.is_empty());
        let later = waits(&mut dispatcher, now);
        assert!(later - now >= Duration::from_secs(15));
        now = later;
    }
    let Health::Denied { since, reason } = dispatcher.health() else {
        panic!("not denied");
    };
    assert_eq!((*since, reason.as_str()), (begun, "Code: why"));
    let request = sent(&mut dispatcher, now);
    dispatcher.answered(request.id, Answer::taken(), now);
    assert_eq!(dispatcher.health(), &Health::Fine);
}

#[test]
fn halving_isolates_a_poisoned_line_inside_a_packed_record() {
    for poisoned in [0, 13, 99] {
        let mut dispatcher = packed(usize::MAX);
        let now = Instant::now();
        dispatcher.offer(sized(0, &[20; 100]), Duration::ZERO, now);
        let mut acked = BTreeSet::new();
        let mut refused = Vec::new();
        let mut requests = 0;
        while let Next::Send(request) = dispatcher.next(now) {
            requests += 1;
            let bad = ordinals(&request).contains(&poisoned);
            let answer = if bad { failed(Class::Poison) } else { Answer::taken() };
            let settled = dispatcher.answered(request.id, answer, now);
            acked.extend(numbers(&settled.acked));
            refused.extend(settled.refused);
        }
        assert_eq!(acked.len(), 99);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].run.ordinals(), poisoned..poisoned + 1);
        assert_eq!(refused[0].reason.code(), "Code");
        assert!(requests <= 15, "{requests} requests for one of 100 lines");
        assert_eq!(dispatcher.held_records(), 0);
    }
}

#[test]
fn a_suspect_that_fails_otherwise_is_not_mixed_with_others_again() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 4]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    dispatcher.answered(request.id, failed(Class::Poison), now);
    dispatcher.offer(sized(4, &[1; 4]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    assert_eq!(ordinals(&request), [0, 1]);
    dispatcher.answered(request.id, failed(Class::Retry), now);
    let later = waits(&mut dispatcher, now);
    assert_eq!(ordinals(&sent(&mut dispatcher, later)), [0, 1]);
}

#[test]
fn a_request_lingers_and_leaves_at_once_when_draining() {
    let mut dispatcher = dispatcher(Shape::firehose(&firehose(Packing::None)));
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1]), Duration::ZERO, now);
    assert_eq!(waits(&mut dispatcher, now), now + SECOND);
    dispatcher.drain();
    assert_eq!(ordinals(&sent(&mut dispatcher, now)), [0]);
}

#[test]
fn what_is_held_is_bounded() {
    let mut dispatcher = dispatcher(Shape::firehose(&firehose(Packing::None)));
    let now = Instant::now();
    let mut first = 0;
    while dispatcher.room() {
        dispatcher.offer(sized(first, &[1; 100]), Duration::ZERO, now);
        first += 100;
        dispatcher.next(now);
    }
    assert!(dispatcher.held_records() <= 500 * 6, "{}", dispatcher.held_records());
    let mut dispatcher = packed(usize::MAX);
    while dispatcher.room() {
        dispatcher.offer(sized(0, &[100_000; 10]), Duration::ZERO, now);
        dispatcher.next(now);
    }
    assert!(dispatcher.held_bytes() <= 6 * (4 << 20), "{}", dispatcher.held_bytes());
}

#[test]
fn an_answer_to_an_unknown_request_settles_nothing() {
    let mut dispatcher = bare();
    let settled = dispatcher.answered(9, Answer::taken(), Instant::now());
    assert!(settled.acked.is_empty());
}

/// How the service treats the requests, one after the other.
#[derive(Clone, Debug)]
enum Mood {
    Takes,
    Fails(Class),
    /// Fails the entries whose number is in the mask.
    Picks(u64, Class),
}

fn any_mood() -> impl Strategy<Value = Mood> {
    let class =
        prop_oneof![Just(Class::Throttled), Just(Class::Retry), Just(Class::Hold), Just(Class::Poison)];
    prop_oneof![
        Just(Mood::Takes),
        class.clone().prop_map(Mood::Fails),
        (any::<u64>(), class).prop_map(|(mask, class)| Mood::Picks(mask, class)),
    ]
}

proptest! {
    #[test]
    fn every_record_is_acked_or_refused_exactly_once_whatever_the_answers(
        packing in prop_oneof![
            Just(Packing::None),
            (20u64..2000, 1usize..50).prop_map(|(size, lines)| Packing::Newline { max_size: ByteSize(size), max_lines: lines }),
        ],
        runs in prop::collection::vec(prop::collection::vec(0usize..300, 1..40), 1..20),
        moods in prop::collection::vec(any_mood(), 0..60),
        answer_last in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut settings = firehose(packing);
        settings.batch.max_records = 7;
        settings.batch.target_size = ByteSize(900);
        let shape = Shape::firehose(&settings);
        let mut dispatcher = Dispatcher::new(shape.clone(), 3, backoff(), fastrand::Rng::with_seed(seed));
        let mut moods = moods.into_iter();
        let mut runs = runs.into_iter();
        let mut now = Instant::now();
        let (mut first, mut settled_ones, mut flying) = (0, Vec::new(), VecDeque::new());
        for step in 0.. {
            prop_assert!(step < 20_000, "it goes on for ever");
            while dispatcher.room() {
                let Some(sizes) = runs.next() else { dispatcher.drain(); break };
                for refused in dispatcher.offer(sized(first, &sizes), Duration::ZERO, now) {
                    settled_ones.extend(refused.run.ordinals());
                }
                first += sizes.len() as u32;
            }
            match dispatcher.next(now) {
                Next::Send(request) => {
                    prop_assert!(request.entries.len() <= shape.max_entries());
                    prop_assert!(request.size <= shape.request_size() || request.entries.len() == 1);
                    prop_assert_eq!(request.size, request.entries.iter().map(Entry::size).sum::<usize>());
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
            let request = if answer_last { flying.pop_back() } else { flying.pop_front() };
            let Some(request) = request else { continue };
            let answer = match moods.next().unwrap_or(Mood::Takes) {
                Mood::Takes => Answer::taken(),
                Mood::Fails(class) => failed(class),
                Mood::Picks(mask, class) => {
                    let picked = (0..request.entries.len()).filter(|index| mask >> index & 1 == 1);
                    judged(&picked.map(|index| (index, class)).collect::<Vec<_>>())
                }
            };
            let settled = dispatcher.answered(request.id, answer, now);
            settled_ones.extend(numbers(&settled.acked));
            settled_ones.extend(settled.refused.iter().flat_map(|refused| refused.run.ordinals()));
            prop_assert_eq!(dispatcher.held_records(), first as usize - settled_ones.len());
        }
        prop_assert!(runs.next().is_none());
        prop_assert_eq!((dispatcher.held_records(), dispatcher.held_bytes()), (0, 0));
        settled_ones.sort_unstable();
        prop_assert_eq!(settled_ones, (0..first).collect::<Vec<_>>());
    }

    #[test]
    fn halving_refuses_exactly_the_poisoned_lines(
        sizes in prop::collection::vec(0usize..200, 1..80),
        poison in prop::collection::btree_set(0u32..80, 0..6),
        lines in 1usize..40,
        per_entry in any::<bool>(),
    ) {
        let mut dispatcher = packed(lines);
        let now = Instant::now();
        dispatcher.offer(sized(0, &sizes), Duration::ZERO, now);
        let poison: BTreeSet<u32> = poison.into_iter().filter(|line| (*line as usize) < sizes.len()).collect();
        let (mut acked, mut refused) = (BTreeSet::new(), BTreeSet::new());
        while let Next::Send(request) = dispatcher.next(now) {
            let bad = |entry: &Entry| entry.runs().flat_map(Run::ordinals).any(|line| poison.contains(&line));
            let found: Vec<_> = request.entries.iter().enumerate().filter(|(_, entry)| bad(entry))
                .map(|(index, _)| (index, Class::Poison)).collect();
            let answer = if found.is_empty() || per_entry { judged(&found) } else { failed(Class::Poison) };
            let settled = dispatcher.answered(request.id, answer, now);
            acked.extend(numbers(&settled.acked));
            refused.extend(settled.refused.iter().flat_map(|refused| refused.run.ordinals()));
        }
        prop_assert_eq!(&refused, &poison);
        prop_assert_eq!(acked.len() + refused.len(), sizes.len());
    }
}

#[test]
fn a_split_entry_of_a_data_stream_keeps_its_key() {
    let mut dispatcher =
        dispatcher(Shape::kinesis(&kinesis(Aggregation::Newline { max_size: ByteSize(50_000) })));
    dispatcher.drain();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[5; 8]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, now);
    let key = request.entries[0].partition_key().map(|key| key.into_owned());
    dispatcher.answered(request.id, failed(Class::Poison), now);
    assert_eq!(sent(&mut dispatcher, now).entries[0].partition_key().as_deref(), key.as_deref());
}

#[test]
fn everything_that_is_not_settled_comes_back_in_order_for_another_dispatcher() {
    let mut dispatcher = bare();
    let now = Instant::now();
    dispatcher.offer(sized(0, &[1; 500]), Duration::ZERO, now);
    dispatcher.offer(sized(500, &[1; 500]), Duration::ZERO, now);
    dispatcher.offer(sized(1000, &[1; 10]), Duration::ZERO, now);
    let first = sent(&mut dispatcher, now);
    let second = sent(&mut dispatcher, now);
    // Of the first some are taken; the second is refused for its content, and waits in halves.
    dispatcher.answered(first.id, judged(&[(3, Class::Retry), (9, Class::Retry)]), now);
    dispatcher.answered(second.id, failed(Class::Poison), now);
    let left: Vec<u32> = [3, 9].into_iter().chain(500..1010).collect();
    assert_eq!(numbers(&dispatcher.into_runs()), left);
}
