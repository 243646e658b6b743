//! From container logs to a delivery stream and a data stream at once.

mod support;

use support::endpoint::{Endpoint, ErrorAnswer, Fault, Gate, Rule};
use support::logs;
use support::process::Agent;
use support::scene::{ARCHIVE, AUDIT, Scene};

#[tokio::test]
async fn twenty_containers_written_and_rotated_arrive_exactly_once_at_both_over_tls() {
    let scene = Scene::on(Endpoint::tls()).await.tail("rotate_wait: 100ms");
    let mut writers: Vec<_> =
        logs::containers(&scene.root(), 20).into_iter().map(|writer| writer.max_files(100)).collect();
    let agent = scene.start().await;
    let mut written = 0;
    for round in 0..12 {
        for (index, writer) in writers.iter_mut().enumerate() {
            writer.lines(25);
            written += 25;
            if (index + round) % 4 == 0 {
                writer.rotate();
            }
        }
        // Each round meets what the one before it left under way.
        scene.arrived(written * 3 / 4).await;
    }
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    scene.ids_are_unique();
    let record = scene.records(AUDIT).swap_remove(0);
    let written = writers
        .iter()
        .flat_map(|writer| writer.written())
        .find(|written| record["log"] == written.text)
        .expect("the text of a line");
    assert_eq!(record["time"], written.time.as_deref().expect("CRI lines have times"));
    assert_eq!(record["stream"], written.stream.name());
    assert_eq!(record["kubernetes"]["namespace_name"], "shop");
    assert_eq!(record["kubernetes"]["container_name"], "app");
    assert_eq!(record["kubernetes"]["pod_name"], written.marker.writer);
    agent.terminate().await;
}

#[tokio::test]
async fn with_a_tenth_of_the_records_refused_only_those_are_sent_again() {
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    for (stream, error) in
        [(ARCHIVE, "ServiceUnavailableException"), (AUDIT, "ProvisionedThroughputExceededException")]
    {
        let error = ErrorAnswer::new(400, error, "slow down");
        scene.endpoint.inject(Rule::new(Fault::RefuseEntries { chance: 0.1, with: error }).stream(stream));
    }
    let mut writers = logs::containers(&scene.root(), 5);
    writers.iter_mut().for_each(|writer| writer.lines(400));
    let agent = scene.start().await;
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
    scene.endpoint.look(|account| {
        let refused: u64 = account.stream(AUDIT).entry_errors.values().sum();
        assert!(refused > 100, "{refused} records were refused");
        assert!(refused < 400, "{refused} records were refused: more than a tenth was sent again");
    });
}

#[tokio::test]
async fn copies_after_a_lost_answer_carry_the_same_record_ids() {
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    scene.endpoint.inject(Rule::new(Fault::LoseAnswer).times(2));
    let mut writers = logs::containers(&scene.root(), 3);
    writers.iter_mut().for_each(|writer| writer.lines(50));
    let agent = scene.start().await;
    scene.arrived(150).await;
    agent.terminate().await;
    let copies: usize = [ARCHIVE, AUDIT].iter().map(|stream| scene.records(stream).len() - 150).sum();
    assert!(copies > 0, "two calls were taken of which the answer was lost");
    scene.ids_are_unique();
    for stream in [ARCHIVE, AUDIT] {
        let records = scene.records(stream);
        let ids: std::collections::HashSet<_> =
            records.iter().map(|record| record["record_id"].to_string()).collect();
        assert_eq!(ids.len(), 150, "a copy is known by its id");
    }
}

#[tokio::test]
async fn a_record_that_is_never_taken_becomes_a_dead_letter_and_all_others_arrive() {
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    scene.endpoint.inject(Rule::new(Fault::Poison {
        text: "line 000123".into(),
        with: ErrorAnswer::invalid_argument("a record is not valid"),
    }));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(300);
    let agent = scene.start().await;
    let others = writer.markers().filter(|marker| marker.line != 123).collect();
    scene.exactly(others).await;
    for destination in [ARCHIVE, AUDIT] {
        agent
            .process()
            .line(|line| line.contains("\"dead_letter\"") && line.contains(&format!("\"{destination}\"")))
            .await;
    }
    agent.terminate().await;
    for destination in [ARCHIVE, AUDIT] {
        let letters = scene.dead_letters(destination);
        assert_eq!(letters.len(), 1);
        assert!(letters[0]["record"].as_str().unwrap().contains("line 000123"));
        assert_eq!(
            (&letters[0]["destination"], &letters[0]["reason"]),
            (&destination.into(), &"refused".into())
        );
        assert_eq!(letters[0]["origin"]["file"], writer.path().to_str().unwrap());
    }
}

#[tokio::test]
async fn a_denied_destination_keeps_its_records_and_does_not_slow_the_other() {
    let scene = Scene::plain().await.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    let denied =
        scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())).stream(ARCHIVE));
    let mut writers = logs::containers(&scene.root(), 3);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(100));
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 300).await;
    agent.logged("destination_denied").await;
    scene.endpoint.look(|account| assert_eq!(account.stream(ARCHIVE).taken, 0));
    scene.endpoint.withdraw(denied);
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    agent.terminate().await;
}

#[tokio::test]
async fn a_stop_during_an_outage_ends_in_time_and_the_rest_goes_out_after_the_next_start() {
    let scene = Scene::plain().await.setting("drain_timeout: 1s");
    let gate = Gate::closed();
    scene.endpoint.inject(Rule::new(Fault::Hang(gate.clone())));
    let mut writers = logs::containers(&scene.root(), 3);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(100));
    scene.endpoint.wait_until(|account| account.waiting > 0).await;
    agent.terminate().await;
    scene.endpoint.look(|account| assert_eq!(account.stream(AUDIT).taken, 0));
    scene.endpoint.heal();
    let agent = scene.start().await;
    scene.arrived(300).await;
    agent.terminate().await;
    scene.ids_are_unique();
}

#[tokio::test]
async fn once_delivers_what_is_there_and_ends() {
    let scene = Scene::plain().await;
    let mut writers = logs::containers(&scene.root(), 4);
    writers.iter_mut().for_each(|writer| writer.lines(200));
    let log = scene.once().await;
    assert!(log.iter().any(|line| line.contains("1600 records delivered")), "{}", log.join("\n"));
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
    scene.once().await;
    scene.exactly_once(&writers.iter().collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_second_kinetail_on_a_data_dir_refuses() {
    let scene = Scene::plain().await;
    let agent = scene.start().await;
    let second = Agent::start(&scene.config(), &scene.root()).ended().await;
    assert_eq!(second.status.code(), Some(1));
    assert!(second.lines.join("\n").contains("in use by another kinetail"), "{:?}", second.lines);
    agent.terminate().await;
}

#[tokio::test]
async fn a_bad_configuration_starts_nothing_and_ends_with_code_2() {
    let scene = Scene::plain().await;
    let bad = scene.config().replace("packing: newline", "packing: newlin");
    let ended = Agent::start(&bad, &scene.root()).ended().await;
    assert_eq!(ended.status.code(), Some(2));
    let text = ended.lines.join("\n");
    assert!(text.contains("kinetail.yaml:") && text.contains("newlin") && text.contains("newline"), "{text}");
    assert!(!scene.data_dir().exists());
}

#[tokio::test]
async fn lines_whose_records_were_damaged_in_the_buffer_are_read_again_from_their_file() {
    let scene = Scene::plain()
        .await
        .setting("drain_timeout: 100ms")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}");
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(300);
    let agent = scene.start().await;
    for destination in [ARCHIVE, AUDIT] {
        agent
            .process()
            .line(|line| line.contains("destination_denied") && line.contains(&format!("\"{destination}\"")))
            .await;
    }
    agent.terminate().await;
    let chunk = scene.data_dir().join(format!("buffer/{ARCHIVE}/{:016x}.chunk", 0));
    let mut bytes = std::fs::read(&chunk).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&chunk, bytes).unwrap();
    scene.endpoint.heal();
    let agent = scene.start().await;
    writer.lines(20);
    scene.exactly_once(&[&writer]).await;
    agent.logged("records_lost").await;
    scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn with_too_little_room_on_disk_reading_pauses_and_says_so_and_nothing_is_lost() {
    let scene = Scene::plain().await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(100);
    let config = format!("{}buffer: {{min_disk_free: 900TiB}}\n", scene.config());
    let agent = Agent::start(&config, &scene.root());
    agent.logged("disk_low").await;
    let ended = agent.terminate().await;
    assert!(ended.lines.iter().any(|line| line.contains("0 lines read")), "{}", ended.lines.join("\n"));
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}
