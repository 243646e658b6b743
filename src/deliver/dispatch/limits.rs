//! When records are given up: `retry.max_attempts` and `retry.max_record_age`.

use std::time::Duration;

use super::super::answer::{Class, Failure, Outcome};
use super::super::settings::Packing;
use super::super::settled::Settled;
use super::super::testing::{firehose, ordinals, sized};
use super::*;
use crate::units::ByteSize;

const SECOND: Duration = Duration::from_secs(1);

fn limited(max_attempts: Option<u32>, max_record_age: Option<Duration>) -> Dispatcher {
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(10));
    let packing = Packing::Newline { max_size: ByteSize(100), max_lines: 2 };
    let mut dispatcher =
        Dispatcher::new(Shape::firehose(&firehose(packing)), 1, backoff, fastrand::Rng::with_seed(1))
            .limited(RetryLimits { max_attempts, max_record_age });
    dispatcher.drain();
    dispatcher
}

/// Sends what is next, waiting as long as the dispatcher says.
fn sent(dispatcher: &mut Dispatcher, now: &mut Instant) -> Request {
    loop {
        match dispatcher.next(*now) {
            Next::Send(request) => return request,
            Next::Wait(until) => *now = until,
            Next::Idle => panic!("nothing to send"),
        }
    }
}

fn failure(class: Class) -> Failure {
    Failure::local(class, "Code", "why")
}

fn given_up(settled: &Settled) -> Vec<u32> {
    settled.refused.iter().flat_map(|refused| refused.run.ordinals()).collect()
}

#[test]
fn after_so_many_requests_that_did_not_take_it_a_record_is_given_up() {
    let mut dispatcher = limited(Some(3), None);
    let mut now = Instant::now();
    dispatcher.offer(sized(0, &[1; 4]), Duration::ZERO, now);
    for class in [Class::Retry, Class::Throttled] {
        let request = sent(&mut dispatcher, &mut now);
        let settled = dispatcher.answered(request.id, failure(class).into(), now);
        assert_eq!((given_up(&settled).len(), settled.retried_records), (0, 4));
    }
    let request = sent(&mut dispatcher, &mut now);
    // The first entry is taken after all.
    let judged = Outcome::Judged(vec![(1, failure(Class::Retry))]);
    let settled = dispatcher.answered(request.id, judged.into(), now);
    assert_eq!((given_up(&settled), settled.delivered_records), (vec![2, 3], 2));
    assert_eq!(settled.retried_records, 0);
    let reason = settled.refused[0].reason.to_string();
    assert_eq!(reason, "3 requests did not take it (retry.max_attempts); the last one: Code: why");
    assert_eq!(settled.refused[0].reason.word(), "max_attempts");
    assert_eq!((dispatcher.held_records(), dispatcher.held_bytes()), (0, 0));
}

#[test]
fn a_denial_is_no_attempt_since_nothing_is_wrong_with_the_record() {
    let mut dispatcher = limited(Some(1), None);
    let mut now = Instant::now();
    dispatcher.offer(sized(0, &[1]), Duration::ZERO, now);
    for _ in 0..10 {
        let request = sent(&mut dispatcher, &mut now);
        let settled = dispatcher.answered(request.id, failure(Class::Hold).into(), now);
        assert_eq!(given_up(&settled), [0; 0]);
    }
}

#[test]
fn records_that_came_later_have_attempts_of_their_own() {
    let mut dispatcher = limited(Some(2), None);
    let mut now = Instant::now();
    dispatcher.offer(sized(0, &[1]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, &mut now);
    dispatcher.answered(request.id, failure(Class::Retry).into(), now);
    dispatcher.offer(sized(1, &[1]), Duration::ZERO, now);
    let request = sent(&mut dispatcher, &mut now);
    assert_eq!(ordinals(&request), [0, 1], "both in one entry");
    let settled = dispatcher.answered(request.id, failure(Class::Retry).into(), now);
    assert_eq!(given_up(&settled), [0]);
    assert_eq!(ordinals(&sent(&mut dispatcher, &mut now)), [1]);
}

#[test]
fn a_record_that_is_too_old_is_given_up_when_it_comes_and_when_it_fails() {
    let mut dispatcher = limited(None, Some(60 * SECOND));
    let mut now = Instant::now();
    let refused = dispatcher.offer(sized(0, &[1; 2]), 60 * SECOND, now);
    assert_eq!(refused[0].run.ordinals(), 0..2);
    assert_eq!(refused[0].reason.word(), "max_record_age");
    assert!(refused[0].reason.to_string().contains("longer than 1m"), "{}", refused[0].reason);

    assert!(dispatcher.offer(sized(2, &[1]), 50 * SECOND, now).is_empty());
    assert!(dispatcher.offer(sized(3, &[1]), 10 * SECOND, now).is_empty());
    for class in [Class::Retry, Class::Hold] {
        let request = sent(&mut dispatcher, &mut now);
        assert_eq!(given_up(&dispatcher.answered(request.id, failure(class).into(), now)), [0; 0]);
    }
    now += 10 * SECOND;
    let request = sent(&mut dispatcher, &mut now);
    let settled = dispatcher.answered(request.id, failure(Class::Hold).into(), now);
    assert_eq!(given_up(&settled), [2], "also while access is denied");
    assert_eq!(dispatcher.held_records(), 1);
}
