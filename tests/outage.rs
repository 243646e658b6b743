//! One of two destinations is out: the other is not slowed, the buffer of the one fills to its limit and no further,
//! and after recovery what its limit says arrives.

mod support;

use support::door::Door;
use support::endpoint::{ErrorAnswer, Fault, Gate, Marker, Rule};
use support::logs::{self, Writer};
use support::process::Agent;
use support::scene::{ARCHIVE, AUDIT, Scene};

/// What the buffer of each destination may take.
const MAX_SIZE: u64 = 1 << 20;

/// Five logs and two destinations with little room, of which the tests strike [`AUDIT`].
async fn scene() -> Scene {
    Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("buffer: {chunk_size: 64KiB}")
        .setting("drain_timeout: 1s")
        .setting("admin: {listen: '127.0.0.1:0'}")
        .setting("log: {level: debug}")
}

fn blocking(scene: Scene) -> Scene {
    scene.destination("buffer: {max_size: 1MiB}")
}

/// Writes more than a buffer takes; the healthy destination gets all of it.
async fn write_and_see_the_other_go_on(scene: &Scene, writers: &mut [Writer]) {
    for _ in 0..4 {
        writers.iter_mut().for_each(|writer| writer.lines(100));
        let written: usize = writers.iter().map(|writer| writer.written().len()).sum();
        scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == written).await;
    }
}

fn on_disk(scene: &Scene, destination: &str) -> u64 {
    let folder = scene.data_dir().join("buffer").join(destination);
    let files = std::fs::read_dir(folder).expect("a buffer");
    // One that is removed meanwhile takes nothing.
    files.map(|file| file.expect("an entry").metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// SIGTERM; the outage does not keep it beyond its deadline, and what is undelivered stays in the buffer.
async fn ends_in_time(agent: Agent) {
    let ended = agent.terminate().await;
    assert!(ended.lines.iter().any(|line| line.contains("\"drain_timed_out\"")), "{:#?}", ended.lines);
}

/// The whole story of an outage that is there from the start. `said` is what is logged of it.
async fn an_outage(scene: Scene, said: &str, recover: impl AsyncFnOnce(&mut Scene, Agent) -> Agent) {
    let (scene, writers) = through_an_outage(scene, said, recover).await;
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
}

/// The same; how often lines arrived is for the caller to look at.
async fn through_an_outage(
    mut scene: Scene,
    said: &str,
    recover: impl AsyncFnOnce(&mut Scene, Agent) -> Agent,
) -> (Scene, Vec<Writer>) {
    let mut writers = logs::containers(&scene.root(), 5);
    let agent = scene.start().await;
    write_and_see_the_other_go_on(&scene, &mut writers).await;
    let of_audit = format!("\"{AUDIT}\"");
    agent.process().line(|line| line.contains(said) && line.contains(&of_audit)).await;
    let size = agent.metric("kinetail_buffer_size_bytes{destination=\"audit\"}").await;
    assert!(size > MAX_SIZE as f64 / 2.0 && size <= MAX_SIZE as f64, "its buffer takes {size}");
    assert!(
        on_disk(&scene, AUDIT) <= MAX_SIZE + (64 << 10),
        "with the room that is reserved for the last chunk"
    );
    scene.endpoint.look(|account| assert_eq!(account.stream(AUDIT).taken, 0));
    ends_in_time(agent).await;
    let agent = scene.start().await;
    write_and_see_the_other_go_on(&scene, &mut writers).await;
    let agent = recover(&mut scene, agent).await;
    scene.arrived(writers.iter().map(|writer| writer.written().len()).sum()).await;
    scene.ids_are_unique();
    agent.terminate().await;
    (scene, writers)
}

async fn an_outage_by(fault: Fault, said: &str) {
    let scene = blocking(scene().await);
    scene.endpoint.inject(Rule::new(fault).stream(AUDIT));
    an_outage(scene, said, async |scene, agent| {
        scene.endpoint.heal();
        agent
    })
    .await;
}

#[tokio::test]
async fn while_connections_are_refused_the_other_goes_on_and_after_recovery_all_arrives() {
    let (mut scene, mut door) = (blocking(scene().await), Door::closed());
    scene.audit_at(Some(door.url()));
    an_outage(scene, "destination_backing_off", async |scene, agent| {
        door.open(scene.endpoint.address());
        agent
    })
    .await;
}

#[tokio::test]
async fn while_a_name_cannot_be_resolved_the_other_goes_on_and_with_a_better_one_all_arrives() {
    let mut scene = blocking(scene().await);
    // No label of a name may be so long: resolvers refuse it without asking anybody.
    scene.audit_at(Some(format!("http://{}.example:4567", "kinesis".repeat(10))));
    an_outage(scene, "destination_backing_off", async |scene, agent| {
        ends_in_time(agent).await;
        scene.audit_at(None);
        scene.start().await
    })
    .await;
}

#[tokio::test]
async fn while_a_destination_hangs_the_other_goes_on_and_after_recovery_all_arrives() {
    let (scene, gate) = (blocking(scene().await).audit("request_timeout: 200ms"), Gate::closed());
    scene.endpoint.inject(Rule::new(Fault::Hang(gate)).stream(AUDIT));
    let recover = async |scene: &mut Scene, agent| {
        // The requests that hang run into their timeout and are sent again.
        scene.endpoint.heal();
        agent
    };
    let (scene, writers) = through_an_outage(scene, "destination_backing_off", recover).await;
    // A busy machine may let a good answer come after the timeout too, and its records again.
    scene.endpoint.look(|account| {
        account.stream(ARCHIVE).assert_exactly_once(writers.iter().flat_map(Writer::markers));
        account.stream(AUDIT).assert_at_least_once(writers.iter().flat_map(Writer::markers));
    });
}

#[tokio::test]
async fn while_a_destination_answers_500_the_other_goes_on_and_after_recovery_all_arrives() {
    an_outage_by(Fault::Answer(ErrorAnswer::internal_failure()), "destination_backing_off").await;
}

#[tokio::test]
async fn while_a_proxy_answers_garbage_the_other_goes_on_and_after_recovery_all_arrives() {
    let garbage = Fault::Garbage { status: 502, body: "<html>Bad Gateway</html>".into() };
    an_outage_by(garbage, "destination_backing_off").await;
}

#[tokio::test]
async fn while_a_destination_denies_the_other_goes_on_and_after_recovery_all_arrives() {
    let denied = ErrorAnswer::new(403, "AccessDenied", "not allowed to put records");
    an_outage_by(Fault::Answer(denied), "destination_denied").await;
}

#[tokio::test]
async fn while_a_destination_throttles_every_record_the_other_goes_on_and_after_recovery_all_arrives() {
    let throttled = Fault::RefuseEntries { chance: 1.0, with: ErrorAnswer::throughput_exceeded() };
    an_outage_by(throttled, "destination_backing_off").await;
}

#[tokio::test]
async fn of_two_destinations_that_are_full_the_one_that_recovers_does_not_wait_for_the_other() {
    let scene = blocking(scene().await);
    let out = |stream: &str| {
        let fault = Fault::Answer(ErrorAnswer::internal_failure());
        scene.endpoint.inject(Rule::new(fault).stream(stream))
    };
    let (archive_out, _) = (out(ARCHIVE), out(AUDIT));
    let mut writers = logs::containers(&scene.root(), 5);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(800));
    for destination in [ARCHIVE, AUDIT] {
        let named = format!("\"{destination}\"");
        agent.process().line(|line| line.contains("buffer_full") && line.contains(&named)).await;
    }
    scene.endpoint.withdraw(archive_out);
    let written: usize = writers.iter().map(|writer| writer.written().len()).sum();
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == written).await;
    scene.endpoint.look(|account| assert_eq!(account.stream(AUDIT).taken, 0));
    scene.endpoint.heal();
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
}

#[tokio::test]
async fn with_drop_oldest_an_outage_costs_the_oldest_records_and_they_are_counted() {
    let scene = scene().await.audit("buffer: {max_size: 1MiB, when_full: drop_oldest}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT));
    let mut writers = logs::containers(&scene.root(), 5);
    let agent = scene.start().await;
    write_and_see_the_other_go_on(&scene, &mut writers).await;
    let written: Vec<Marker> = writers.iter().flat_map(Writer::markers).collect();
    let of_audit = |name: &str| format!("kinetail_buffer_{name}{{destination=\"audit\"}}");
    let size = agent.metric(&of_audit("size_bytes")).await;
    assert!(size > 0.0 && size <= MAX_SIZE as f64, "its buffer takes {size}");
    scene.endpoint.look(|account| assert_eq!(account.stream(AUDIT).taken, 0));
    scene.endpoint.heal();
    let full =
        |unit: &str| format!("kinetail_buffer_dropped_{unit}_total{{destination=\"audit\",reason=\"full\"}}");
    // What comes last is always a record that is taken.
    let records = loop {
        let taken = scene.endpoint.look(|account| account.stream(AUDIT).taken);
        let dropped = agent.metric(&full("records")).await as usize;
        if scene.endpoint.look(|account| account.stream(AUDIT).distinct()) + dropped >= written.len() {
            break dropped;
        }
        scene.endpoint.wait_until(|account| account.stream(AUDIT).taken > taken).await;
    };
    let bytes = agent.metric(&full("bytes")).await;
    let ended = agent.terminate().await;
    assert!(ended.lines.iter().any(|line| line.contains("\"oldest_dropped\"")), "it is said");
    assert!(bytes > 100.0 * records as f64, "{bytes} bytes of {records} records");
    scene.endpoint.look(|account| {
        account.stream(ARCHIVE).assert_exactly_once(written.clone());
        let tally = account.stream(AUDIT).tally(written);
        assert!(tally.doubled.is_empty() && tally.unexpected.is_empty(), "{tally}");
        assert_eq!(tally.missing.len(), records, "what is missing was counted");
        for writer in &writers {
            let oldest_kept = account.stream(AUDIT).numbers_of(writer.name()).into_iter().min();
            let mut missing = tally.missing.iter().filter(|marker| marker.writer == writer.name());
            let oldest_went = missing.all(|marker| oldest_kept.is_none_or(|oldest| marker.line < oldest));
            assert!(oldest_went, "{tally}");
        }
    });
}
