//! Files go where the labels of their pods send them, and nowhere else by accident.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Node;
use super::support::kubernetes::PodObject;
use super::support::logs::{Container, Format, Writer};
use super::support::process::{Agent, until};
use super::support::scene::{ARCHIVE, AUDIT};

/// A route for what a team's pods write, to one stream, before the one for all others, to the other.
fn by_team(node: &Node, more: &str) -> String {
    let files = format!("files: '{}/pods/*/*/*.log'", node.scene.root().display());
    let first = format!(
        "routes:\n  - {{name: team, {files}, format: cri, start_at: beginning, match: {{labels: {{team: [checkout, pay-*]}}{more}}}, \
         to: [audit]}}\n"
    );
    node.scene.config().replace("routes:\n", &first).replace("to: [archive, audit]", "to: [archive]")
}

fn pods_of(node: &Node, stream: &str) -> BTreeSet<String> {
    let records = node.scene.records(stream);
    let pods =
        records.iter().map(|record| record["kubernetes"]["pod_name"].as_str().expect("a pod").to_owned());
    pods.collect()
}

/// Waits until a stream has this many records.
async fn arrived(node: &Node, stream: &str, records: usize) {
    node.scene.endpoint.wait_until(|account| account.stream(stream).json().count() >= records).await;
    assert_eq!(node.scene.records(stream).len(), records);
}

#[tokio::test]
async fn a_file_is_not_read_before_it_is_known_whose_it_is_and_then_goes_where_its_label_says() {
    let node = Node::with("1h", "").await;
    let other = Container::of_pod("other");
    node.api.pod(&node.pod().label("team", "pay-eu"));
    node.api.pod(&PodObject::of(&other).label("team", "shop"));
    node.api.away(true);
    let mut log = node.log();
    log.lines(3);
    let mut second = Writer::container(&node.scene.root(), &other, Format::Crio);
    second.lines(2);
    let agent = Agent::start(&by_team(&node, ""), &node.scene.root());
    agent.logged("\"ready\"").await;
    agent.logged("kubernetes_api_unavailable").await;
    log.lines(1);
    // Held open, it outlives its pod.
    log.delete_pod();
    agent.logged("\"rotated\"").await;
    for route in ["team", "logs"] {
        assert_eq!(agent.metric(&format!("kinetail_lines_total{{route=\"{route}\"}}")).await, 0.0);
    }
    node.api.away(false);
    arrived(&node, AUDIT, 4).await;
    arrived(&node, ARCHIVE, 2).await;
    assert_eq!(pods_of(&node, AUDIT), [node.web.pod.clone()].into());
    assert_eq!(pods_of(&node, ARCHIVE), [other.pod.clone()].into());
    node.scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn on_unknown_says_where_files_go_whose_labels_do_not_become_known() {
    for (on_unknown, to, not) in [("take", AUDIT, ARCHIVE), ("leave", ARCHIVE, AUDIT)] {
        let node = Node::with("100ms", "").await;
        node.api.hold(true);
        let mut log = node.log();
        log.lines(2);
        let config = by_team(&node, &format!(", on_unknown: {on_unknown}"));
        let agent = Agent::start(&config, &node.scene.root());
        arrived(&node, to, 2).await;
        assert!(node.scene.records(not).is_empty());
        agent.terminate().await;
    }
}

#[tokio::test]
async fn a_file_stays_on_its_route_through_changes_of_labels_restarts_and_outages() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod().label("team", "checkout"));
    let config = by_team(&node, "");
    let mut log = node.log();
    log.lines(2);
    let agent = Agent::start(&config, &node.scene.root());
    arrived(&node, AUDIT, 2).await;
    // Told in this order: once the second is known, so is the first.
    node.api.pod(&node.pod().label("team", "another"));
    let other = Container::of_pod("other");
    node.api.pod(&PodObject::of(&other));
    Writer::container(&node.scene.root(), &other, Format::Crio).lines(1);
    arrived(&node, ARCHIVE, 1).await;
    log.lines(1);
    arrived(&node, AUDIT, 3).await;
    assert_eq!(node.told_to(AUDIT, &node.web, 3).await[2]["labels"]["team"], "another");
    agent.terminate().await;
    node.api.away(true);
    let agent = Agent::start(&config, &node.scene.root());
    agent.logged("kubernetes_api_unavailable").await;
    log.lines(1);
    // What rotation puts in its place goes there too.
    log.rotate();
    log.lines(1);
    arrived(&node, AUDIT, 5).await;
    assert_eq!(pods_of(&node, ARCHIVE), [other.pod.clone()].into());
    agent.terminate().await;
}

#[tokio::test]
async fn a_route_by_labels_that_is_new_in_an_outage_lets_no_file_go_elsewhere_by_accident() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod().label("team", "checkout"));
    let mut log = node.log();
    log.lines(2);
    let without = node.scene.config().replace("to: [archive, audit]", "to: [archive]");
    let agent = Agent::start(&without, &node.scene.root());
    arrived(&node, ARCHIVE, 2).await;
    agent.terminate().await;
    node.api.away(true);
    let agent = Agent::start(&by_team(&node, ""), &node.scene.root());
    agent.logged("\"ready\"").await;
    agent.logged("kubernetes_api_unavailable").await;
    log.lines(2);
    node.api.away(false);
    // What was sent by the old rules was sent; what comes after them goes by the new ones.
    arrived(&node, AUDIT, 2).await;
    assert_eq!(node.scene.records(ARCHIVE).len(), 2);
    node.scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn a_reload_that_leaves_the_rules_as_they_are_moves_no_file() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod().label("team", "checkout"));
    let config = by_team(&node, "");
    let mut log = node.log();
    log.lines(1);
    let agent = Agent::start(&config, &node.scene.root());
    arrived(&node, AUDIT, 1).await;
    agent.terminate().await;
    // Known by another label when it is first known again.
    node.api.pod(&node.pod().label("team", "another"));
    let agent = Agent::start(&config, &node.scene.root());
    log.lines(1);
    assert_eq!(node.told_to(AUDIT, &node.web, 2).await[1]["labels"]["team"], "another");
    node.reload(&agent, &config.replace("match: {labels", "rate_limit: {bytes: 100MiB}, match: {labels"), 1)
        .await;
    log.lines(1);
    arrived(&node, AUDIT, 3).await;
    // Other rules, and it is decided anew.
    node.reload(&agent, &config.replace("pay-*]", "pay-*, third]"), 2).await;
    log.lines(1);
    arrived(&node, ARCHIVE, 1).await;
    assert_eq!(node.scene.records(AUDIT).len(), 3);
    agent.terminate().await;
}

#[tokio::test]
async fn what_is_lost_with_a_deleted_file_whose_labels_never_came_is_counted_and_told() {
    let node = Node::with("1h", "").await;
    node.api.away(true);
    let other = Container::of_pod("other");
    let mut stays = Writer::container(&node.scene.root(), &other, Format::Crio);
    stays.lines(1);
    let mut log = node.log();
    log.lines(3);
    let config = by_team(&node, "");
    let agent = Agent::start(&config, &node.scene.root());
    agent.logged("\"ready\"").await;
    until(async || agent.metric("kinetail_kubernetes_files_waiting").await == 2.0).await;
    let status = agent.status().await;
    let states = status["files"].as_array().expect("files").iter().map(|file| &file["state"]);
    assert_eq!(states.collect::<Vec<_>>(), ["unrouted", "unrouted"]);
    log.delete_pod();
    agent.logged("\"rotated\"").await;
    let said = agent.terminate().await.lines;
    let told = |event: &str| -> Value {
        let line =
            said.iter().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{event} in {said:#?}"));
        serde_json::from_str(line).expect("JSON")
    };
    assert!(told("\"file_abandoned\"")["unread_bytes"].as_u64() > Some(0));
    assert_eq!(told("\"files_unrouted\"")["files"], 1);
    // The file that is still there is read when it is known whose it is, and the other is not looked for any more.
    node.api.pod(&PodObject::of(&other));
    node.api.away(false);
    let agent = Agent::start(&config, &node.scene.root());
    arrived(&node, ARCHIVE, 1).await;
    assert_eq!(pods_of(&node, ARCHIVE), [other.pod.clone()].into());
    agent.terminate().await;
}

#[tokio::test]
async fn a_kill_forgets_no_decision_and_makes_none() {
    let node = Node::with("1h", "").await;
    let other = Container::of_pod("other");
    node.api.pod(&node.pod().label("team", "checkout"));
    let config = by_team(&node, "");
    let mut log = node.log();
    log.lines(2);
    let agent = Agent::start(&config, &node.scene.root());
    arrived(&node, AUDIT, 2).await;
    // Of this one nothing is known yet when the process dies.
    node.api.away(true);
    agent.logged("kubernetes_api_unavailable").await;
    let mut second = Writer::container(&node.scene.root(), &other, Format::Crio);
    second.lines(2);
    until(async || agent.metric("kinetail_kubernetes_files_waiting").await == 1.0).await;
    agent.kill().await;
    let agent = Agent::start(&config, &node.scene.root());
    agent.logged("kubernetes_api_unavailable").await;
    log.lines(1);
    // A request whose answer was not noted before the kill may be made again, under the same ids.
    let ids = |stream: &str| -> BTreeSet<String> {
        let records = node.scene.records(stream);
        records.iter().map(|record| record["record_id"].as_str().expect("an id").to_owned()).collect()
    };
    node.scene.endpoint.wait_until(|account| account.stream(AUDIT).json().count() >= 3).await;
    until(async || ids(AUDIT).len() == 3).await;
    assert!(node.scene.records(ARCHIVE).is_empty());
    node.api.pod(&PodObject::of(&other));
    node.api.away(false);
    arrived(&node, ARCHIVE, 2).await;
    assert_eq!(
        (pods_of(&node, AUDIT), pods_of(&node, ARCHIVE)),
        ([node.web.pod.clone()].into(), [other.pod.clone()].into())
    );
    agent.terminate().await;
}

#[tokio::test]
async fn files_of_a_pod_that_finds_no_room_wait_until_another_makes_some() {
    let node = Node::with("1h", "max_pods: 1").await;
    let other = Container::of_pod("other");
    node.api.pod(&node.pod().label("team", "checkout"));
    let mut log = node.log();
    log.lines(1);
    let agent = Agent::start(&by_team(&node, ""), &node.scene.root());
    arrived(&node, AUDIT, 1).await;
    node.api.pod(&PodObject::of(&other).label("team", "shop"));
    Writer::container(&node.scene.root(), &other, Format::Crio).lines(2);
    let said = agent.logged("\"pod_metadata_refused\"").await;
    assert!(said.contains("match.on_unknown") && said.contains("asked for again"), "{said}");
    until(async || agent.metric("kinetail_kubernetes_files_waiting").await == 1.0).await;
    assert!(node.scene.records(ARCHIVE).is_empty());
    // The API tells of this one, and of the other only when it is asked.
    node.api.delete_pod(&node.pod());
    arrived(&node, ARCHIVE, 2).await;
    assert_eq!(node.told(&other, 2).await[0]["labels"]["team"], "shop");
    agent.terminate().await;
}

#[tokio::test]
async fn conditions_ask_for_what_is_known_and_not_for_what_a_line_says() {
    let node = Node::with("1h", "").await;
    let other = Container::of_pod("other");
    node.api.pod(&node.pod().label("team", "checkout"));
    node.api.pod(&PodObject::of(&other));
    let forged =
        r#"2026-01-02T03:04:05Z stdout F {"kubernetes":{"labels":{"team":"checkout"},"pod_name":"x"}}"#;
    let mut log = node.log();
    log.lines(2);
    let mut second = Writer::container(&node.scene.root(), &other, Format::Crio);
    second.raw(format!("{forged}\n").as_bytes());
    let config = node.scene.config().replace(
        "to: [archive, audit]",
        "process: [{parse: json, when: {kubernetes.namespace_name: shop}},
              {add: {named: yes}, when: {kubernetes.labels.app.kubernetes.io/name: web}}]
    to: [archive, {destination: audit, when: {kubernetes.labels.team: checkout}}]",
    );
    let agent = Agent::start(&config, &node.scene.root());
    arrived(&node, ARCHIVE, 3).await;
    arrived(&node, AUDIT, 2).await;
    assert_eq!(pods_of(&node, AUDIT), [node.web.pod.clone()].into());
    let records = node.scene.records(ARCHIVE);
    assert!(records.iter().all(|record| record["named"] == "yes" || record["named"] == true), "{records:?}");
    agent.terminate().await;
}
