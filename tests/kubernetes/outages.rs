//! Whatever befalls the API costs no line and no long wait.

use std::fs;

use hyper::StatusCode;
use serde_json::json;

use super::support::kubernetes::{Api, PodObject};
use super::support::logs::{Container, Format, Writer};
use super::support::process::{Agent, until};
use super::{Node, files, records};

/// That the process lives and that it is ready does not depend on the API.
async fn is_well(agent: &Agent) {
    // Ready as soon as its destinations have answered.
    until(async || agent.get("/readyz").await.0 == 200).await;
    for path in ["/livez", "/readyz"] {
        let (code, text) = agent.get(path).await;
        assert_eq!(code, 200, "{path}: {text}");
    }
}

#[tokio::test]
async fn nothing_waits_for_an_api_that_is_out_of_reach_and_later_records_have_what_comes_late() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    node.api.away(true);
    let mut log = node.log();
    log.lines(2);
    let agent = node.scene.start().await;
    let told = node.told(&node.web, 2).await;
    let of_path = json!({
        "namespace_name": "shop", "pod_name": node.web.pod, "pod_id": node.web.uid, "container_name": "app",
        "container_restart_count": 0,
    });
    assert_eq!(told, [of_path.clone(), of_path]);
    assert_eq!(files(&agent, "missing").await, 1.0);
    is_well(&agent).await;
    assert_eq!(agent.metric("kinetail_kubernetes_api_up").await, 0.0);
    node.api.away(false);
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    log.lines(1);
    let told = node.told(&node.web, 3).await;
    assert_eq!(told[2]["owner_name"], "web");
    assert_eq!((files(&agent, "late").await, records(&agent, "path").await), (1.0, 2.0));
    assert!(agent.metric("kinetail_kubernetes_api_failures_total{resource=\"pods\"}").await >= 1.0);
    node.scene.exactly_once(&[&log]).await;
    node.scene.ids_are_unique();
    agent.terminate().await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_waited_for_only_so_long() {
    let node = Node::with("200ms", "").await;
    node.api.pod(&node.pod());
    node.api.hold(true);
    let mut log = node.log();
    log.lines(2);
    let agent = node.scene.start().await;
    let told = node.told(&node.web, 2).await;
    assert!(told.iter().all(|pod| pod.get("labels").is_none()), "{told:?}");
    is_well(&agent).await;
    node.api.hold(false);
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    log.lines(1);
    assert_eq!(node.told(&node.web, 3).await[2]["labels"]["app.kubernetes.io/name"], "web");
    agent.terminate().await;
}

#[tokio::test]
async fn an_api_that_falls_silent_without_a_word_holds_up_nobody_for_long() {
    let node = Node::with("200ms", "").await;
    let agent = node.scene.start().await;
    node.api.asked("pods are watched", |requests| Node::watches(requests) > 0).await;
    node.api.silence(true);
    let pods: Vec<Container> = (0..4).map(|number| Container::of_pod(&format!("web-{number}"))).collect();
    let mut logs: Vec<Writer> =
        pods.iter().map(|pod| Writer::container(&node.scene.root(), pod, Format::Crio)).collect();
    for (pod, log) in pods.iter().zip(&mut logs) {
        node.api.pod(&PodObject::of(pod));
        log.lines(1);
        assert_eq!(node.told(pod, 1).await[0].get("labels"), None);
    }
    node.api.silence(false);
    until(async || agent.metric("kinetail_kubernetes_pods").await == 4.0).await;
    for (pod, log) in pods.iter().zip(&mut logs) {
        log.lines(1);
        assert_eq!(node.told(pod, 2).await[1]["owner_name"], "web");
    }
    assert_eq!((files(&agent, "missing").await, files(&agent, "late").await), (4.0, 4.0));
    agent.terminate().await;
}

#[tokio::test]
async fn a_watch_that_breaks_goes_on_where_the_last_bookmark_was() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let mut log = node.log();
    log.lines(1);
    let agent = node.scene.start().await;
    node.told(&node.web, 1).await;
    node.api.asked("pods are watched", |requests| Node::watches(requests) > 0).await;
    node.api.bookmark();
    let marker = Container::of_pod("marker");
    // Everything before this is known once this is.
    node.api.pod(&PodObject::of(&marker));
    let mut second = Writer::container(&node.scene.root(), &marker, Format::Containerd);
    second.lines(1);
    node.told(&marker, 1).await;
    let before = node.api.requests();
    node.api.away(true);
    node.api.pod(&node.pod().label("release", "2"));
    node.api.away(false);
    node.api.asked("it is watched again", |requests| Node::watches(requests) > Node::watches(&before)).await;
    let after = node.api.requests();
    assert_eq!(Node::lists(&after), 1, "nothing is listed twice: {after:#?}");
    let again =
        Node::of_pods(&after).last().expect("a watch").parameter("resourceVersion").map(str::to_owned);
    let version: u64 = again.expect("a version").parse().expect("a number");
    assert!(version > 1050, "behind the bookmark: {version}");
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    // The change may be told a moment later: until then records have what was known.
    let mut lines = 1;
    loop {
        log.lines(1);
        lines += 1;
        if node.told(&node.web, lines).await[lines - 1]["labels"]["release"] == "2" {
            break;
        }
    }
    agent.terminate().await;
}

async fn what_the_api_has_forgotten_is_listed_anew(by_status: bool) {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let mut log = node.log();
    log.lines(1);
    let agent = node.scene.start().await;
    node.told(&node.web, 1).await;
    node.api.asked("pods are watched", |requests| Node::watches(requests) > 0).await;
    node.api.away(true);
    node.api.pod(&node.pod().label("release", "2"));
    let late = Container::of_pod("late");
    node.api.pod(&PodObject::of(&late));
    node.api.forget(by_status);
    node.api.away(false);
    node.api.asked("pods are listed again", |requests| Node::lists(requests) > 1).await;
    // Of the list that is under way, this is told last.
    let mut second = Writer::container(&node.scene.root(), &late, Format::Containerd);
    second.lines(1);
    assert_eq!(node.told(&late, 1).await[0]["owner_name"], "web");
    log.lines(1);
    assert_eq!(node.told(&node.web, 2).await[1]["labels"]["release"], "2");
    agent.terminate().await;
}

#[tokio::test]
async fn gone_in_the_stream_is_listed_anew() {
    what_the_api_has_forgotten_is_listed_anew(false).await;
}

#[tokio::test]
async fn gone_by_the_status_is_listed_anew() {
    what_the_api_has_forgotten_is_listed_anew(true).await;
}

#[tokio::test]
async fn who_may_not_ask_is_told_what_to_do_and_records_go_on() {
    let node = Node::with("1h", "").await;
    node.api.refuse("pods", StatusCode::FORBIDDEN);
    let mut log = node.log();
    log.lines(2);
    let agent = node.scene.start().await;
    assert_eq!(node.told(&node.web, 2).await[0]["pod_name"], node.web.pod);
    let said = agent.logged("kubernetes_api_unavailable").await;
    assert!(said.contains("ClusterRole"), "{said}");
    agent.terminate().await;
}

#[tokio::test]
async fn the_token_that_kubelet_exchanged_is_read_again() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let mut log = node.log();
    log.lines(1);
    let agent = node.scene.start().await;
    node.told(&node.web, 1).await;
    node.api.accept_only("the-next-token");
    agent.logged("kubernetes_api_unavailable").await;
    fs::write(node.scene.root().join("token"), "the-next-token").expect("the token is written");
    // The client believes what it read for a minute.
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    let late = Container::of_pod("late");
    node.api.pod(&PodObject::of(&late));
    Writer::container(&node.scene.root(), &late, Format::Containerd).lines(1);
    assert_eq!(node.told(&late, 1).await[0]["owner_name"], "web");
    agent.terminate().await;
}

#[tokio::test]
async fn over_tls_only_an_api_is_asked_whose_certificate_is_known() {
    let node = Node::asking(Api::tls().await, "1h", "").await;
    node.api.pod(&node.pod());
    let mut log = node.log();
    log.lines(1);
    let with = node.scene.config();
    let (start, end) = (with.find(", ca_file:").expect("it"), with.find("}\n  wait:").expect("it"));
    let without = format!("{}{}", &with[..start], &with[end..]);
    let agent = Agent::start(&without, &node.scene.root());
    assert_eq!(node.told(&node.web, 1).await[0].get("labels"), None);
    let said = agent.logged("kubernetes_api_unavailable").await;
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    assert!(node.api.requests().is_empty(), "nobody is told the token");
    node.reload(&agent, &with, 1).await;
    until(async || agent.metric("kinetail_kubernetes_api_up").await == 1.0).await;
    log.lines(1);
    assert_eq!(node.told(&node.web, 2).await[1]["owner_name"], "web");
    agent.terminate().await;
}

#[tokio::test]
async fn a_node_without_pods_is_told_since_its_name_may_be_wrong() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let config = node.scene.config().replace("node: node-1", "node: elsewhere");
    let agent = Agent::start(&config, &node.scene.root());
    let said = agent.logged("\"kubernetes_no_pods\"").await;
    assert!(said.contains("elsewhere") && said.contains("kubernetes.node"), "{said}");
    agent.terminate().await;
}
