//! A gigabyte of backlog and a stream that takes 1 MiB a second, for as long as that lasts on a clock that the test moves.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::answer::{Answer, Failure, Outcome};
use super::super::settings::{Aggregation, Destination, Packing};
use super::super::testing::{firehose, kinesis, sized};
use super::*;
use crate::units::ByteSize;

const BACKLOG: usize = 1_000_000_000;
const MIB: f64 = 1_048_576.0;
const LATENCY: Duration = Duration::from_millis(30);

/// A stream that takes so many bytes a second, and has up to one second's saved up.
struct Throttle {
    room: f64,
    filled: Instant,
    taken: usize,
    refused: usize,
}

impl Throttle {
    fn answer(&mut self, request: &Request, now: Instant) -> Answer {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.filled, now));
        self.room = (self.room + passed.as_secs_f64() * MIB).min(MIB);
        let throttled = Failure::from_service("ProvisionedThroughputExceededException", "", 200);
        let mut failures = Vec::new();
        for (index, entry) in request.entries.iter().enumerate() {
            if self.room < entry.size() as f64 {
                failures.push((index, throttled.clone()));
                continue;
            }
            self.room -= entry.size() as f64;
            self.taken += 1;
        }
        self.refused += failures.len();
        Outcome::Judged(failures).into()
    }
}

/// Delivers the backlog. Returns the part used of what the stream would have taken meanwhile, and the part of the records
/// sent that was refused.
fn deliver(to: &Destination, line: usize) -> (f64, f64) {
    let mut dispatcher = Dispatcher::of(to, fastrand::Rng::with_seed(1));
    let begun = Instant::now();
    let mut throttle = Throttle { room: MIB, filled: begun, taken: 0, refused: 0 };
    let (mut now, mut delivered, mut offered) = (begun, 0, 0);
    let mut answers = BTreeMap::new();
    let run = sized(0, &vec![line - 1; (1 << 20) / line]);
    while delivered < BACKLOG {
        while let Some(((at, id), answer)) = answers.pop_first() {
            if at > now {
                answers.insert((at, id), answer);
                break;
            }
            delivered += dispatcher.answered(id, answer, now).delivered_bytes;
        }
        while dispatcher.room() && offered < BACKLOG {
            offered += run.data().len();
            assert!(dispatcher.offer(run.clone(), Duration::ZERO, now).is_empty());
        }
        let wait = match dispatcher.next(now) {
            Next::Send(request) => {
                let answer = throttle.answer(&request, now);
                answers.insert((now + LATENCY, request.id), answer);
                continue;
            }
            Next::Wait(until) => Some(until),
            Next::Idle => None,
        };
        let answer = answers.first_key_value().map(|((at, _), _)| *at);
        now = wait.into_iter().chain(answer).min().expect("something is waited for");
    }
    let used = delivered as f64 / ((now - begun).as_secs_f64() * MIB);
    (used, throttle.refused as f64 / (throttle.taken + throttle.refused) as f64)
}

#[test]
fn of_a_gigabyte_nearly_all_that_the_stream_takes_is_used_and_little_is_refused() {
    let packed = Packing::Newline { max_size: ByteSize(1000 << 10), max_lines: 500 };
    let aggregate = Aggregation::Kpl { max_size: ByteSize(50 << 10) };
    for (to, line) in [
        (Destination::Firehose(firehose(packed)), 300),
        (Destination::Kinesis(kinesis(aggregate)), 300),
        (Destination::Kinesis(kinesis(Aggregation::None)), 2000),
    ] {
        let (used, refused) = deliver(&to, line);
        assert!(used >= 0.95 && refused < 0.05, "{used:.3} used, {refused:.3} refused: {to:?}");
    }
}
