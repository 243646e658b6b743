use proptest::prelude::*;

use super::super::answer::Failure;
use super::super::dispatch::{Dispatcher, Next};
use super::super::entry::Request;
use super::super::retry::Backoff;
use super::super::settings::{Aggregation, Packing};
use super::super::template::Template;
use super::super::testing::{firehose, kinesis, run_of};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn dispatcher(key: PartitionKey) -> Dispatcher {
    let mut settings = kinesis(Aggregation::None);
    settings.partition_key = key;
    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
    let mut dispatcher = Dispatcher::new(Shape::kinesis(&settings), 1, backoff, fastrand::Rng::with_seed(1));
    dispatcher.drain();
    dispatcher
}

fn by_field() -> PartitionKey {
    PartitionKey::Template(Template::parse("${k}").unwrap())
}

/// Sends a record for each of these keys in one request, later than all before it.
fn send(dispatcher: &mut Dispatcher, keys: &[&str], now: &mut Instant) -> Request {
    let records: Vec<Vec<u8>> = keys.iter().map(|key| format!("{{\"k\":\"{key}\"}}").into_bytes()).collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    dispatcher.offer(run_of(1, 0, &records), Duration::ZERO, *now);
    loop {
        match dispatcher.next(*now) {
            Next::Send(request) => return request,
            Next::Wait(until) => *now = until,
            Next::Idle => panic!("nothing to send"),
        }
    }
}

/// An answer by a shard for each entry; those of which `refused` is true were throttled.
fn answer(request: &Request, shard: impl Fn(usize) -> u64, refused: impl Fn(usize) -> bool) -> Answer {
    let throttled = Failure::from_service("ProvisionedThroughputExceededException", "", 200);
    let entries = 0..request.entries.len();
    Answer {
        shards: entries.clone().map(|index| Some(Shard(shard(index)))).collect(),
        ..Outcome::Judged(
            entries.filter(|index| refused(*index)).map(|index| (index, throttled.clone())).collect(),
        )
        .into()
    }
}

/// What is told when requests with these keys came to these shards over so many seconds, one a second. Nothing of what was
/// refused is sent again.
fn told(key: PartitionKey, sent: &[(&str, u64, bool)], seconds: u32) -> Vec<HotShard> {
    let mut shards = Shards::of(dispatcher(key.clone()).shape());
    let begun = Instant::now();
    let mut told = Vec::new();
    for second in 0..=seconds {
        let keys: Vec<&str> = sent.iter().map(|(key, ..)| *key).collect();
        let request = send(&mut dispatcher(key.clone()), &keys, &mut Instant::now());
        let answer = answer(&request, |index| sent[index].1, |index| sent[index].2);
        let mut settled = Settled::default();
        shards.answered(&request.entries, &answer, begun + SECOND * second, &mut settled);
        told.extend(settled.hot_shard);
    }
    told
}

#[test]
fn a_shard_is_named_by_an_answer_and_by_a_message() {
    let shard = Shard::named_in("shardId-000000000012").unwrap();
    assert_eq!(shard.to_string(), "shardId-000000000012");
    let message = "Rate exceeded for shard shardId-000000000012 in stream audit under account 123456789012.";
    assert_eq!(Shard::named_in(message), Some(shard));
    for text in ["", "Internal service failure.", "shardId-", "shardId-x", "shardId-99999999999999999999999"]
    {
        assert_eq!(Shard::named_in(text), None, "{text}");
    }
}

#[test]
fn what_each_shard_took_and_refused_is_counted_and_other_failures_are_not() {
    let mut dispatcher = dispatcher(by_field());
    let mut now = Instant::now();
    let request = send(&mut dispatcher, &["a", "b", "c", "dd", "e"], &mut now);
    let mut answer = answer(&request, |index| [0, 1, 0, 1, 1][index], |index| index == 2);
    let Outcome::Judged(failures) = &mut answer.outcome else { panic!("it was judged") };
    failures.push((4, Failure::from_service("InternalFailure", "", 200)));
    let settled = dispatcher.answered(request.id, answer, now);
    let size = |key: &str| (format!("{{\"k\":\"{key}\"}}").len() + key.len()) as u64;
    assert_eq!(
        settled.shards.into_iter().collect::<Vec<_>>(),
        [
            (Some(Shard(0)), ShardCount { taken: 1, bytes: size("a"), throttled: 1 }),
            (Some(Shard(1)), ShardCount { taken: 2, bytes: size("b") + size("dd"), throttled: 0 }),
        ]
    );
}

#[test]
fn a_delivery_stream_has_no_shards() {
    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
    let shape = Shape::firehose(&firehose(Packing::None));
    let mut dispatcher = Dispatcher::new(shape, 1, backoff, fastrand::Rng::with_seed(1));
    dispatcher.drain();
    let mut now = Instant::now();
    let request = send(&mut dispatcher, &["a"], &mut now);
    let settled = dispatcher.answered(request.id, Answer::taken(), now);
    assert!(settled.shards.is_empty() && settled.hot_shard.is_none());
}

#[test]
fn a_shard_that_one_key_fills_is_told_with_the_key_and_its_share() {
    // Three shards take what they get; a noisy pod's refuses half of it.
    let sent = [
        ("noisy", 1, true),
        ("noisy", 1, false),
        ("noisy", 1, false),
        ("calm", 1, false),
        ("b", 0, false),
        ("c", 2, false),
    ];
    let told = told(by_field(), &sent, 10);
    let [hot] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((hot.shard, hot.refused), (Shard(1), 10));
    let key = hot.key.as_ref().unwrap();
    assert_eq!(key.key, "noisy");
    assert!((key.share - 0.75).abs() < 0.01, "{key:?}");
    assert!((hot.times_average - 2.0).abs() < 0.01, "{hot:?}");
}

#[test]
fn the_explicit_hash_key_is_named_where_it_chooses_the_shard() {
    let mut settings = kinesis(Aggregation::None);
    settings.explicit_hash_key = Some(super::super::settings::ExplicitHashKey::Fixed(7));
    let shape = Shape::kinesis(&settings);
    let mut shards = Shards::of(&shape);
    let backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
    let mut dispatcher = Dispatcher::new(shape, 1, backoff, fastrand::Rng::with_seed(1));
    dispatcher.drain();
    let mut now = Instant::now();
    let request = send(&mut dispatcher, &["a", "b", "c", "d", "e"], &mut now);
    let answer = answer(&request, |_| 3, |_| true);
    let mut settled = Settled::default();
    shards.answered(&request.entries, &answer, now, &mut settled);
    shards.answered(&request.entries, &answer, now + WINDOW, &mut settled);
    assert_eq!(settled.hot_shard.unwrap().key, Some(HotKey { key: "7".into(), share: 1.0 }));
}

#[test]
fn a_shard_with_more_than_its_share_is_told_without_a_key_where_keys_are_random() {
    let sent = [("", 0, true), ("", 0, false), ("", 0, false), ("", 1, false)];
    let told = told(PartitionKey::Random, &sent, 10);
    let [hot] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((hot.shard, &hot.key), (Shard(0), &None));
}

#[test]
fn a_stream_that_is_full_everywhere_has_no_hot_shard() {
    let sent =
        [("a", 0, true), ("b", 0, true), ("c", 0, false), ("d", 1, true), ("e", 1, true), ("f", 1, false)];
    assert_eq!(told(by_field(), &sent, 100), []);
    assert_eq!(told(PartitionKey::Random, &sent, 100), []);
}

#[test]
fn the_few_refusals_of_learning_a_rate_are_not_told() {
    let shards = |refused: u64| Load { sum: 100, refused, keys: None }.hot(Shard(0), 10);
    assert_eq!(shards(LEAST_REFUSED - 1), None);
    assert!(shards(LEAST_REFUSED).is_some());
}

#[test]
fn a_hot_shard_is_told_again_after_five_minutes_and_another_meanwhile() {
    let one = [("a", 0, true), ("b", 1, false)];
    assert_eq!(told(by_field(), &one, 309).len(), 1);
    assert_eq!(told(by_field(), &one, 320).len(), 2);
    let two = [("a", 0, true), ("a", 0, true), ("b", 1, true), ("c", 2, false)];
    let shards: Vec<Shard> = told(by_field(), &two, 30).into_iter().map(|hot| hot.shard).collect();
    assert_eq!(shards, [Shard(0), Shard(1)], "the one that refuses most is told first");
}

#[test]
fn counters_are_few_however_many_shards_there_are_and_follow_a_resharding() {
    let mut dispatcher = dispatcher(PartitionKey::Random);
    let mut now = Instant::now();
    let request = send(&mut dispatcher, &["x"; 500], &mut now);
    let mut shards = Shards::of(dispatcher.shape());
    let mut answered = |first: u64, now: Instant| {
        let mut settled = Settled::default();
        for many in 0..10 {
            let answer = answer(&request, |index| first + many * 500 + index as u64, |_| false);
            shards.answered(&request.entries, &answer, now, &mut settled);
        }
        assert!(shards.watched.len() <= MOST_WATCHED, "{}", shards.watched.len());
        settled
    };
    let before = answered(0, now);
    assert_eq!(before.shards.len(), MOST_COUNTED + 1);
    assert_eq!(before.shards.values().map(|count| count.taken).sum::<u64>(), 5000);
    // The stream has other shards now, and an hour later only those.
    let during = answered(10_000, now + SECOND);
    assert_eq!(during.shards.keys().collect::<Vec<_>>(), [&None]);
    let after = answered(10_000, now + SILENT);
    assert_eq!(after.silent_shards.len(), MOST_COUNTED);
    assert_eq!(after.shards.len(), MOST_COUNTED + 1);
    assert!(after.shards.contains_key(&Some(Shard(10_000))));
}

proptest! {
    #[test]
    fn the_heaviest_key_is_found_among_many_and_never_overstated(
        light in prop::collection::vec((0u32..500, 1u64..100), 0..2_000),
        at in any::<prop::sample::Index>(),
    ) {
        let total: u64 = light.iter().map(|(_, weight)| weight).sum();
        let mut keys = Heaviest::default();
        // More than any light key can come to.
        let heavy = total + 1;
        let at = at.index(light.len() + 1);
        for (index, (key, weight)) in light.iter().enumerate() {
            if index == at {
                keys.add("heavy", heavy);
            }
            keys.add(&format!("key-{key}"), *weight);
        }
        if at == light.len() {
            keys.add("heavy", heavy);
        }
        let most = keys.most().unwrap();
        prop_assert!(keys.slots.len() <= Heaviest::SLOTS);
        prop_assert_eq!(keys.total, total + heavy);
        prop_assert_eq!(most.key, "heavy");
        let share = heavy as f64 / (total + heavy) as f64;
        prop_assert!(most.share <= share + 1e-9 && most.share >= share - 1.0 / Heaviest::SLOTS as f64, "{}", most.share);
    }
}
