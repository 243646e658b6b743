//! Killed at any moment, again and again, while logs are written and rotated: nothing is lost, and only what was
//! in flight at a kill is sent again, under the same record id.
//!
//! A failed run's seed can be given again by `KINETAIL_SEED`; what the kernel schedules differs all the same.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use support::endpoint::{Account, Fault, Gate, Marker, Rule};
use support::logs::Busy;
use support::scene::{ARCHIVE, AUDIT, Scene};

/// Traces are one record, and lines of no use are dropped. Of each destination one request at most is under way, so that
/// it is known which: none is given up and sent again, however long an answer is held on a slow machine. Chunks are so
/// small that many come and go.
async fn scene() -> Scene {
    Scene::plain()
        .await
        .tail("flush_after: 10m")
        .route(&Busy::ROUTE)
        .destination("max_in_flight: 1")
        .destination("request_timeout: 10m")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 100ms}")
        .batch("max_age: 20ms, max_records: 100, target_size: 16KiB")
        .setting("buffer: {chunk_size: 64KiB}")
}

#[expect(clippy::print_stdout, reason = "what a failed run needs to be run again")]
fn seeded() -> Rng {
    let seed = std::env::var("KINETAIL_SEED");
    let seed = seed.map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    println!("KINETAIL_SEED={seed}");
    Rng::with_seed(seed)
}

#[tokio::test]
async fn killed_at_any_moment_it_loses_nothing_and_a_kill_costs_a_copy_of_one_request_at_most() {
    let (scene, mut rng) = (scene().await, seeded());
    let mut logs = Busy::containers(&scene.root(), 8, rng.fork()).with_traces();
    let mut kills = 0;
    while kills < 60 {
        if rng.u8(..4) == 0 {
            let starting = scene.spawn();
            starting.logged("\"started\"").await;
            starting.kill().await;
            none_is_twice_in_a_buffer(&scene);
            kills += 1;
        }
        let agent = scene.start().await;
        (0..rng.usize(1..6)).for_each(|_| logs.go_on());
        // Somewhere between nothing and everything.
        let wanted = rng.usize(logs.whole() * 9 / 10..=logs.whole());
        let stream = [ARCHIVE, AUDIT][rng.usize(..2)];
        scene.endpoint.wait_until(|account| account.stream(stream).distinct() >= wanted).await;
        (0..rng.usize(..2)).for_each(|_| logs.go_on());
        agent.kill().await;
        none_is_twice_in_a_buffer(&scene);
        kills += 1;
    }
    all_arrive(&scene, &mut logs).await;
    for stream in [ARCHIVE, AUDIT] {
        let calls = scene.endpoint.look(|account| account.stream(stream).calls);
        let (mut brought, mut again) = (BTreeMap::new(), BTreeSet::new());
        for call in 1..=calls {
            for line in lines_of(&scene, stream, call) {
                again.extend(brought.insert(line, call));
            }
        }
        println!("{stream}: {} lines, {} of {calls} requests sent again", brought.len(), again.len());
        assert!(again.len() <= kills, "more requests were sent again than can have been in flight");
    }
}

#[tokio::test]
async fn what_was_answered_before_a_kill_is_never_sent_again_and_what_was_in_flight_is_sent_once_more() {
    let (scene, mut rng) = (scene().await, seeded());
    let mut logs = Busy::containers(&scene.root(), 8, rng.fork()).with_traces();
    let mut held = Held::default();
    for _ in 0..40 {
        let requests = [rng.u64(..4), rng.u64(..4)];
        kill_in_flight(&scene, &mut logs, &mut rng, requests, &mut held).await;
    }
    all_arrive(&scene, &mut logs).await;
    held.are_the_only_copies(&scene, &logs);
}

#[tokio::test]
async fn killed_while_one_destination_is_full_and_the_other_goes_on_nothing_is_lost_or_doubled() {
    let scene = scene().await.destination("buffer: {max_size: 128KiB}");
    let mut rng = seeded();
    let mut logs = Busy::containers(&scene.root(), 8, rng.fork()).with_traces();
    let mut held = Held::default();
    for _ in 0..2 {
        // For some lives the one takes nothing: its buffer fills up, and it falls behind the other in its files.
        for _ in 0..8 {
            let requests = [rng.u64(2..10), 0];
            kill_in_flight(&scene, &mut logs, &mut rng, requests, &mut held).await;
        }
        assert!(scene.in_buffer(AUDIT).len() < missing_at(&scene, &logs, AUDIT), "its buffer is full");
        // Then it catches up.
        for _ in 0..4 {
            let requests = [rng.u64(..4), rng.u64(2..10)];
            kill_in_flight(&scene, &mut logs, &mut rng, requests, &mut held).await;
        }
    }
    all_arrive(&scene, &mut logs).await;
    held.are_the_only_copies(&scene, &logs);
}

/// What is known of the lives that were ended by a kill.
#[derive(Default)]
struct Held {
    /// How often each line was in a request that the stream took and that was in flight at a kill.
    lines: BTreeMap<(&'static str, Marker), u32>,
    /// How many calls either stream had had by the end of each life, and what the process wrote in it.
    lives: Vec<([u64; 2], Vec<String>)>,
}

impl Held {
    #[expect(clippy::print_stdout, reason = "the account of the run")]
    fn are_the_only_copies(&self, scene: &Scene, logs: &Busy) {
        for (index, stream) in [ARCHIVE, AUDIT].into_iter().enumerate() {
            for line in logs.lines() {
                let held = self.lines.get(&(stream, line.marker.clone())).copied().unwrap_or(0);
                let copies = scene.endpoint.look(|account| account.stream(stream).copies(&line.marker));
                if copies != 1 + held {
                    self.tell(scene, index, &line.marker);
                }
                assert_eq!(copies, 1 + held, "{stream}: {} was in flight at {held} kills", line.marker);
            }
        }
        println!("{} lines, {} records in flight at kills", logs.whole(), self.lines.len());
    }

    /// Tells in which lives a line was sent, and what went on in them.
    #[expect(clippy::print_stdout, reason = "what is known of a failure")]
    fn tell(&self, scene: &Scene, index: usize, marker: &Marker) {
        let stream = [ARCHIVE, AUDIT][index];
        let last = scene.endpoint.look(|account| account.stream(stream).calls);
        for call in (1..=last).filter(|call| lines_of(scene, stream, *call).contains(marker)) {
            let life = self.lives.partition_point(|(calls, _)| calls[index] < call);
            println!("{stream}: {marker} came with call {call}, in life {life} of {}", self.lives.len());
            if let Some((calls, lines)) = self.lives.get(life) {
                println!("it ended at call {}, and wrote:\n{}", calls[index], lines.join("\n"));
            }
        }
    }
}

/// Starts, and kills when so many requests were answered at each stream and the next is in flight: taken or not.
async fn kill_in_flight(scene: &Scene, logs: &mut Busy, rng: &mut Rng, requests: [u64; 2], held: &mut Held) {
    let streams = [ARCHIVE, AUDIT];
    let taken = [rng.bool(), rng.bool()];
    for ((stream, taken), answered) in streams.into_iter().zip(taken).zip(requests) {
        let gate = Gate::closed();
        let fault = if taken { Fault::HoldAnswer(gate) } else { Fault::Hang(gate) };
        scene.endpoint.inject(Rule::new(fault).stream(stream).after(answered));
    }
    let agent = scene.start().await;
    let calls = |account: &Account| streams.map(|stream| account.stream(stream).calls);
    while scene.endpoint.look(|account| account.waiting) < 2 {
        let (before, waiting) = scene.endpoint.look(|account| (calls(account), account.waiting));
        logs.go_on();
        // Each stream has been called again, or waits already.
        scene
            .endpoint
            .wait_until(|account| {
                let after = calls(account);
                waiting + before.iter().zip(after).filter(|(before, after)| **before < *after).count() >= 2
            })
            .await;
    }
    // What comes now is being read and written to the buffers at the kill.
    (0..rng.usize(..3)).for_each(|_| logs.go_on());
    let written = agent.kill().await.lines;
    none_is_twice_in_a_buffer(scene);
    scene.endpoint.wait_until(|account| account.waiting == 0).await;
    scene.endpoint.heal();
    held.lives.push((scene.endpoint.look(calls), written));
    for (stream, _) in streams.into_iter().zip(taken).filter(|(_, taken)| *taken) {
        let last = scene.endpoint.look(|account| account.stream(stream).calls);
        for line in lines_of(scene, stream, last) {
            *held.lines.entry((stream, line)).or_default() += 1;
        }
    }
}

/// Everything that was written arrives, is whole, and has one id, the same at both destinations.
async fn all_arrive(scene: &Scene, logs: &mut Busy) {
    logs.end();
    let agent = scene.start().await;
    scene.arrived(logs.whole()).await;
    agent.terminate().await;
    let texts: BTreeMap<Marker, &str> =
        logs.lines().map(|line| (line.marker.clone(), line.text.as_str())).collect();
    let mut ids = BTreeMap::new();
    for stream in [ARCHIVE, AUDIT] {
        scene.endpoint.look(|account| account.stream(stream).assert_at_least_once(texts.keys().cloned()));
        for record in scene.records(stream) {
            let text = record["log"].as_str().expect("a text");
            let marker = Marker::find(text.as_bytes()).expect("a line begins with its marker");
            assert_eq!(text, texts[&marker]);
            let id = record["record_id"].as_str().expect("an id").to_owned();
            let known = ids.entry(marker.clone()).or_insert_with(|| id.clone());
            assert_eq!(*known, id, "{marker} has two ids");
        }
    }
    scene.ids_are_unique();
}

fn none_is_twice_in_a_buffer(scene: &Scene) {
    for destination in [ARCHIVE, AUDIT] {
        let mut seen = BTreeSet::new();
        for line in scene.in_buffer(destination) {
            assert!(!seen.contains(&line), "{line} is twice in the buffer of {destination}");
            seen.insert(line);
        }
    }
}

/// How many whole lines were written that did not come to this stream.
fn missing_at(scene: &Scene, logs: &Busy, stream: &str) -> usize {
    logs.whole() - scene.endpoint.look(|account| account.stream(stream).distinct())
}

/// The lines that this call brought to the stream.
fn lines_of(scene: &Scene, stream: &str, call: u64) -> Vec<Marker> {
    scene.endpoint.look(|account| {
        let records = account.stream(stream).records().iter().filter(|record| record.call == call);
        records.flat_map(|record| record.data.split(|byte| *byte == b'\n').filter_map(Marker::find)).collect()
    })
}
