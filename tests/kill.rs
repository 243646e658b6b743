//! Killed at any moment, again and again, while logs are written and rotated: nothing is lost, and what was
//! delivered is not delivered again.

mod support;

use std::collections::BTreeMap;

use support::logs;
use support::scene::{ARCHIVE, AUDIT, Scene};

/// How often the process is killed in one run.
const KILLS: u64 = 30;

#[tokio::test]
async fn killed_thirty_times_under_load_it_loses_nothing_and_copies_carry_their_record_ids() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 100ms}");
    let mut writers: Vec<_> =
        logs::containers(&scene.root(), 8).into_iter().map(|writer| writer.max_files(1000)).collect();
    let (mut written, mut in_flight) = (0, 0);
    for _ in 0..KILLS {
        let agent = scene.start().await;
        for writer in &mut writers {
            let lines = rng.usize(0..30);
            writer.lines(lines);
            written += lines;
            if rng.u8(..4) == 0 {
                writer.rotate();
            }
        }
        // Somewhere between nothing and everything.
        let wanted = rng.usize(written * 9 / 10..=written);
        let stream = [ARCHIVE, AUDIT][rng.usize(..2)];
        scene.endpoint.wait_until(|account| account.stream(stream).distinct() >= wanted).await;
        agent.kill().await;
        in_flight += 1;
    }
    let agent = scene.start().await;
    scene.arrived(written).await;
    agent.terminate().await;
    for stream in [ARCHIVE, AUDIT] {
        let expected: Vec<_> = writers.iter().flat_map(|writer| writer.markers()).collect();
        scene.endpoint.look(|account| account.stream(stream).assert_at_least_once(expected));
        let mut ids: BTreeMap<String, usize> = BTreeMap::new();
        for record in scene.records(stream) {
            *ids.entry(record["record_id"].to_string()).or_default() += 1;
        }
        assert_eq!(ids.len(), written, "a copy is known by its id");
        let copies: usize = ids.values().map(|count| count - 1).sum();
        println!("{stream}: {written} lines, {copies} copies of records in flight at {in_flight} kills");
    }
    scene.ids_are_unique();
}
