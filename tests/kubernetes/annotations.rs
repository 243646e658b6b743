//! Pods say by annotations what becomes of their own logs, where a route lets them.

use serde_json::{Value, json};

use super::Node;
use super::support::kubernetes::PodObject;
use super::support::logs::{Container, Format, Writer};
use super::support::process::{Agent, until};
use super::support::scene::{ARCHIVE, AUDIT};

/// The configuration with more keys in its route.
fn with(node: &Node, keys: &str) -> String {
    node.scene.config().replace("to: [archive, audit]", &format!("{keys}\n    to: [archive]"))
}

/// A line of a container, as CRI-O writes it.
fn say(log: &mut Writer, second: usize, stream: &str, text: &str) {
    log.raw(format!("2026-01-02T03:04:{second:02}Z {stream} F {text}\n").as_bytes());
}

/// Waits for so many records, and returns them by their times.
async fn records(node: &Node, stream: &str, count: usize) -> Vec<Value> {
    node.scene.endpoint.wait_until(|account| account.stream(stream).json().count() >= count).await;
    let mut records = node.scene.records(stream);
    assert_eq!(records.len(), count, "{records:#?}");
    records.sort_by_key(|record| record["time"].as_str().expect("a time").to_owned());
    records
}

async fn refused(agent: &Agent, annotation: &str) -> f64 {
    let name = "kinetail_kubernetes_annotations_refused_total";
    agent.metric(&format!("{name}{{annotation=\"{annotation}\"}}")).await
}

const EXCLUDED: &str = "kinetail_kubernetes_excluded_messages_total{route=\"logs\"}";

#[tokio::test]
async fn a_pod_leaves_its_lines_out_where_a_route_lets_it_and_they_are_counted() {
    let node = Node::with("1h", "").await;
    let other = Container::of_pod("other");
    node.api.pod(&node.pod().annotation("kinetail.io/exclude", "true"));
    node.api.pod(&PodObject::of(&other).annotation("fluentbit.io/exclude_stderr-app", "true"));
    let (mut log, mut second) = (node.log(), Writer::container(&node.scene.root(), &other, Format::Crio));
    say(&mut log, 1, "stdout", "left out");
    say(&mut log, 2, "stderr", "left out, too");
    say(&mut second, 3, "stderr", "left out as well");
    say(&mut second, 4, "stdout", "sent");
    let agent = Agent::start(&with(&node, "annotations: [exclude]"), &node.scene.root());
    until(async || agent.metric(EXCLUDED).await == 3.0).await;
    assert_eq!(records(&node, ARCHIVE, 1).await[0]["log"], "sent");
    agent.terminate().await;
    // It is not read again by who does not listen to pods: what was left out was read.
    let agent = Agent::start(&with(&node, "annotations: [parser]"), &node.scene.root());
    say(&mut log, 5, "stdout", "nobody listens");
    assert_eq!(records(&node, ARCHIVE, 2).await[1]["log"], "nobody listens");
    agent.terminate().await;
}

#[tokio::test]
async fn where_a_route_asks_for_it_only_pods_that_opt_in_are_sent() {
    let node = Node::with("1h", "").await;
    let (other, partly) = (Container::of_pod("other"), Container::of_pod("partly"));
    node.api.pod(&node.pod().annotation("kinetail.io/exclude", "false"));
    node.api.pod(&PodObject::of(&other));
    node.api.pod(&PodObject::of(&partly).annotation("kinetail.io/exclude_stderr", "false"));
    let writer = |pod| Writer::container(&node.scene.root(), pod, Format::Crio);
    let (mut log, mut second, mut third) = (node.log(), writer(&other), writer(&partly));
    say(&mut log, 1, "stdout", "sent");
    say(&mut second, 2, "stdout", "left out");
    say(&mut third, 3, "stdout", "left out, too");
    say(&mut third, 4, "stderr", "sent as well");
    let agent = Agent::start(&with(&node, "annotations: [opt_in]"), &node.scene.root());
    until(async || agent.metric(EXCLUDED).await == 2.0).await;
    let texts: Vec<Value> =
        records(&node, ARCHIVE, 2).await.into_iter().map(|record| record["log"].clone()).collect();
    assert_eq!(texts, ["sent", "sent as well"]);
    agent.terminate().await;
}

#[tokio::test]
async fn a_route_that_does_not_let_pods_speak_keeps_what_another_leaves_out() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod().annotation("kinetail.io/exclude", "true"));
    let mut log = node.log();
    log.lines(2);
    let files = format!("files: '{}/pods/*/*/*.log'", node.scene.root().display());
    let keeps = format!("  - {{name: keeps, {files}, format: cri, to: [audit]}}\n");
    let config = with(&node, "annotations: [exclude]\n    continue: true");
    let at = config.rfind("to: [archive]").expect("the route") + "to: [archive]".len();
    let config = format!("{}\n{keeps}{}", &config[..at], &config[at..]);
    let agent = Agent::start(&config, &node.scene.root());
    records(&node, AUDIT, 2).await;
    until(async || agent.metric(EXCLUDED).await == 2.0).await;
    assert!(node.scene.records(ARCHIVE).is_empty());
    agent.terminate().await;
}

#[tokio::test]
async fn a_pod_chooses_its_parser_for_a_stream_or_a_container() {
    let node = Node::with("1h", "").await;
    let (fluent, plain) = (Container::of_pod("fluent"), Container::of_pod("plain"));
    let pod = node.pod().annotation("kinetail.io/parser", "logfmt");
    node.api.pod(&pod.annotation("kinetail.io/parser_stderr-app", "none"));
    node.api.pod(&PodObject::of(&fluent).annotation("fluentbit.io/parser", "docker"));
    node.api.pod(&PodObject::of(&plain));
    let writer = |container: &Container| Writer::container(&node.scene.root(), container, Format::Crio);
    let (mut log, mut second, mut third) = (node.log(), writer(&fluent), writer(&plain));
    say(&mut log, 1, "stdout", "level=warn took=3");
    say(&mut log, 2, "stderr", "level=warn took=3");
    say(&mut second, 3, "stdout", r#"{"level":"warn"}"#);
    say(&mut third, 4, "stdout", "W0102 03:04:05.000006       7 main.go:8] klog");
    let keys = "annotations: [parser]\n    process: [{parse: klog}, {add: {after: 1}}]";
    let agent = Agent::start(&with(&node, keys), &node.scene.root());
    let records = records(&node, ARCHIVE, 4).await;
    assert_eq!((&records[0]["level"], &records[0]["took"]), (&json!("warn"), &json!("3")));
    assert_eq!(records[1]["log"], "level=warn took=3");
    assert_eq!(records[2]["level"], "warn");
    assert_eq!(records[3]["message"], "klog", "{:#}", records[3]);
    assert!(records.iter().all(|record| record["after"] == 1), "the route's other steps stay: {records:#?}");
    assert_eq!(refused(&agent, "parser").await, 0.0);
    agent.terminate().await;
}

#[tokio::test]
async fn a_pod_chooses_which_stack_traces_are_joined() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod().annotation("kinetail.io/multiline", "java, python"));
    let mut log = node.log();
    say(&mut log, 1, "stdout", "java.lang.IllegalStateException: over");
    say(&mut log, 2, "stdout", "\tat shop.Cart.pay(Cart.java:7)");
    say(&mut log, 3, "stdout", "next");
    let agent = Agent::start(&with(&node, "annotations: multiline"), &node.scene.root());
    let found = records(&node, ARCHIVE, 2).await;
    assert_eq!(found[0]["log"], "java.lang.IllegalStateException: over\n\tat shop.Cart.pay(Cart.java:7)");
    assert_eq!(found[1]["log"], "next");
    agent.terminate().await;
}

#[tokio::test]
async fn what_a_pod_says_counts_from_when_it_is_known() {
    let node = Node::with("1h", "").await;
    let pod = node.pod().annotation("kinetail.io/multiline", "java");
    node.api.pod(&pod.annotation("kinetail.io/exclude_stderr", "true"));
    node.api.away(true);
    let mut log = node.log();
    say(&mut log, 1, "stderr", "sent");
    say(&mut log, 2, "stdout", "java.lang.IllegalStateException: over");
    say(&mut log, 3, "stdout", "\tat shop.Cart.pay(Cart.java:7)");
    let config = with(&node, "annotations: [exclude, multiline]");
    let agent = Agent::start(&config, &node.scene.root());
    records(&node, ARCHIVE, 3).await;
    node.api.away(false);
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    say(&mut log, 4, "stderr", "left out");
    say(&mut log, 5, "stdout", "java.lang.IllegalStateException: over");
    say(&mut log, 6, "stdout", "\tat shop.Cart.pay(Cart.java:7)");
    say(&mut log, 7, "stdout", "next");
    let found = records(&node, ARCHIVE, 5).await;
    assert_eq!(found[3]["log"], "java.lang.IllegalStateException: over\n\tat shop.Cart.pay(Cart.java:7)");
    assert_eq!((&found[4]["log"], agent.metric(EXCLUDED).await), (&json!("next"), 1.0));
    node.scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn what_is_not_understood_is_told_with_its_remedy_and_counts_as_not_said() {
    let node = Node::with("1h", "").await;
    let pod = node.pod().annotation("kinetail.io/exclude", "yes").annotation("kinetail.io/parser", "jsom");
    let pod = pod.annotation("kinetail.io/multiline", "cobol").annotation("kinetail.io/parser-ap", "json");
    node.api.pod(&pod);
    let mut log = node.log();
    say(&mut log, 1, "stdout", r#"{"level":"warn"}"#);
    let keys = "annotations: [exclude, parser, multiline]\n    process: [{parse: json}]";
    let agent = Agent::start(&with(&node, keys), &node.scene.root());
    assert_eq!(records(&node, ARCHIVE, 1).await[0]["level"], "warn");
    for (annotation, remedy) in [
        ("kinetail.io/exclude", "\\\"true\\\""),
        ("kinetail.io/parser", "combined_apache_log"),
        ("kinetail.io/multiline", "dotnet"),
        ("kinetail.io/parser-ap", "no container ap"),
    ] {
        let name = format!("\"annotation\":\"{annotation}\"");
        let said = agent.logged(&name).await;
        assert!(said.contains("\"pod_annotation_refused\"") && said.contains(remedy), "{said}");
        assert!(said.contains(&*node.web.pod), "{said}");
    }
    for annotation in ["exclude", "parser", "multiline", "unknown"] {
        assert_eq!(refused(&agent, annotation).await, 1.0, "{annotation}");
    }
    // Another file of the pod says it no second time.
    log.rotate();
    say(&mut log, 2, "stdout", r#"{"level":"info"}"#);
    records(&node, ARCHIVE, 2).await;
    assert_eq!(refused(&agent, "exclude").await, 1.0);
    agent.terminate().await;
}
