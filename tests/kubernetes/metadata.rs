//! Records carry what the API tells of their pod.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::support::kubernetes::{NODE, PodObject};
use super::support::logs::{Container, Format, Writer};
use super::support::process::Agent;
use super::support::scene::{ARCHIVE, AUDIT};
use super::{Node, files, records};

#[tokio::test]
async fn records_carry_what_the_api_tells_of_their_pod() {
    let node = Node::with("1h", "annotations: [example.com/*]").await;
    let pod = node.pod().label("team", "checkout").annotation("example.com/cost-centre", "42");
    node.api.pod(&pod.annotation("other", "kept to itself"));
    let elsewhere = PodObject { node: "node-2".into(), ..PodObject::of(&Container::of_pod("elsewhere")) };
    node.api.pod(&elsewhere);
    let mut log = node.log();
    log.lines(3);
    let agent = node.scene.start().await;
    let expected = json!({
        "namespace_name": "shop",
        "pod_name": node.web.pod,
        "pod_id": node.web.uid,
        "container_name": "app",
        "container_restart_count": 0,
        "container_image": "registry.example/shop/web:1.4",
        "container_hash": "registry.example/shop/web@sha256:0a1b",
        "host": NODE,
        "owner_kind": "Deployment",
        "owner_name": "web",
        "labels": {"app.kubernetes.io/name": "web", "pod-template-hash": "7d9f8c", "team": "checkout"},
        "annotations": {"example.com/cost-centre": "42"},
        "namespace_labels": {"tier": "gold"},
        "node_labels": {"topology.kubernetes.io/zone": "eu-central-1a"},
    });
    assert_eq!(node.told(&node.web, 3).await, [expected.clone(), expected.clone(), expected]);
    node.scene.exactly_once(&[&log]).await;
    assert_eq!((files(&agent, "in_time").await, records(&agent, "api").await), (1.0, 3.0));
    assert_eq!(agent.metric("kinetail_kubernetes_pods").await, 1.0, "those of this node");
    // What the API server has to do for it.
    let requests = node.api.requests();
    let of_pods = Node::of_pods(&requests);
    assert!(
        of_pods.iter().all(|one| one.parameter("fieldSelector") == Some(&format!("spec.nodeName={NODE}")))
    );
    assert_eq!(of_pods[0].parameter("resourceVersion"), Some("0"), "from its cache");
    assert!(
        requests
            .iter()
            .filter(|one| one.is_watch())
            .all(|one| one.parameter("allowWatchBookmarks").is_some())
    );
    let others = requests.iter().filter(|one| one.path != "/api/v1/pods");
    assert!(others.into_iter().all(|one| one.accept.contains("PartialObjectMetadata")), "{requests:#?}");
    agent.terminate().await;
}

#[tokio::test]
async fn the_owner_is_the_deployment_and_not_its_replica_set_and_others_are_themselves() {
    let node = Node::with("1h", "").await;
    let other = Container::of_pod("db-0");
    node.api.pod(&node.pod().annotation("example.com/cost-centre", "42"));
    node.api.pod(&PodObject { owner: ("StatefulSet".into(), "db".into()), ..PodObject::of(&other) });
    let (mut log, mut second) =
        (node.log(), Writer::container(&node.scene.root(), &other, Format::Containerd));
    log.lines(1);
    second.lines(1);
    let agent = node.scene.start().await;
    for (pod, kind, name) in [(&node.web, "Deployment", "web"), (&other, "StatefulSet", "db")] {
        let told = &node.told(pod, 1).await[0];
        assert_eq!((&told["owner_kind"], &told["owner_name"]), (&json!(kind), &json!(name)));
        assert_eq!(told.get("annotations"), None, "nobody asked for them");
    }
    agent.terminate().await;
}

#[tokio::test]
async fn the_image_is_the_runtimes_and_is_left_out_where_nobody_wants_it() {
    for (more, image, digest) in [
        ("", json!("registry.example/shop/web:1.4"), json!("registry.example/shop/web@sha256:0a1b")),
        ("image: false", Value::Null, Value::Null),
    ] {
        let node = Node::with("1h", more).await;
        node.api.pod(&node.pod());
        let mut log = node.log();
        log.lines(1);
        let agent = node.scene.start().await;
        let told = &node.told(&node.web, 1).await[0];
        assert_eq!((&told["container_image"], &told["container_hash"]), (&image, &digest));
        assert_eq!(told["owner_name"], "web");
        agent.terminate().await;
    }
}

#[tokio::test]
async fn labels_of_the_node_are_those_that_are_chosen() {
    let node = Node::with("1h", "node_labels: [example.com/*, rack]").await;
    let labels = json!({"example.com/pool": "blue", "rack": "7", "kubernetes.io/arch": "amd64"});
    node.api.put("nodes", json!({"metadata": {"name": NODE, "labels": labels}}));
    node.api.pod(&node.pod());
    let mut log = node.log();
    log.lines(1);
    let agent = node.scene.start().await;
    let told = &node.told(&node.web, 1).await[0];
    assert_eq!(told["node_labels"], json!({"example.com/pool": "blue", "rack": "7"}));
    agent.terminate().await;
}

#[tokio::test]
async fn ids_of_records_are_the_same_with_metadata_and_without() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let with = node.scene.config();
    let (start, end) = (with.find("kubernetes:").expect("it"), with.find("tail:").expect("it"));
    let without = format!("{}{}", &with[..start], &with[end..]);
    let only =
        |config: &str, stream: &str| config.replace("to: [archive, audit]", &format!("to: [{stream}]"));
    let mut log = node.log();
    log.lines(1);
    let agent = Agent::start(&only(&without, "archive"), &node.scene.root());
    node.told(&node.web, 1).await;
    agent.terminate().await;
    // Two ways to go on from here.
    let (data, kept) = (node.scene.root().join("data"), node.scene.root().join("kept"));
    assert!(Command::new("cp").arg("-a").args([&data, &kept]).status().expect("cp runs").success());
    log.lines(5);
    let agent = Agent::start(&only(&without, "archive"), &node.scene.root());
    assert_eq!(node.told(&node.web, 6).await[5].get("labels"), None);
    agent.terminate().await;
    fs::remove_dir_all(&data).expect("it is removed");
    fs::rename(&kept, &data).expect("it is moved");
    let agent = Agent::start(&only(&with, "audit"), &node.scene.root());
    assert_eq!(node.told_to(AUDIT, &node.web, 5).await[4]["owner_name"], "web");
    agent.terminate().await;
    let ids = |stream: &str| -> BTreeSet<String> {
        let records = node.scene.records(stream);
        records.iter().map(|record| record["record_id"].as_str().expect("an id").to_owned()).collect()
    };
    let (without, with) = (ids(ARCHIVE), ids(AUDIT));
    assert_eq!((without.len(), with.len()), (6, 5));
    assert!(with.is_subset(&without), "{with:?} of {without:?}");
}

#[tokio::test]
async fn the_first_records_wait_for_a_pod_that_becomes_known() {
    let node = Node::with("1h", "").await;
    let agent = node.scene.start().await;
    agent.logged("\"ready\"").await;
    node.api.asked("pods are watched", |requests| Node::watches(requests) > 0).await;
    let mut log = node.log();
    log.lines(2);
    agent.logged("\"file_found\"").await;
    node.api.pod(&node.pod());
    let told = node.told(&node.web, 2).await;
    assert!(told.iter().all(|pod| pod["labels"]["app.kubernetes.io/name"] == "web"), "{told:?}");
    assert_eq!((files(&agent, "in_time").await, files(&agent, "missing").await), (1.0, 0.0));
    agent.terminate().await;
}

#[tokio::test]
async fn a_pod_deleted_moments_ago_is_still_known() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let agent = node.scene.start().await;
    node.api.asked("pods are watched", |requests| Node::watches(requests) > 0).await;
    node.api.delete_pod(&node.pod());
    // Told after it: once this is known, so is that.
    let other = Container::of_pod("other");
    node.api.pod(&PodObject::of(&other));
    let mut log = Writer::container(&node.scene.root(), &other, Format::Containerd);
    log.lines(1);
    assert_eq!(node.told(&other, 1).await[0]["owner_name"], "web");
    let mut log = node.log();
    log.lines(1);
    assert_eq!(node.told(&node.web, 1).await[0]["labels"]["app.kubernetes.io/name"], "web");
    agent.terminate().await;
}

#[tokio::test]
async fn what_is_beside_pods_may_be_refused() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    node.api.refuse("namespaces", StatusCode::FORBIDDEN);
    node.api.refuse("nodes", StatusCode::FORBIDDEN);
    let mut log = node.log();
    log.lines(1);
    let agent = node.scene.start().await;
    let told = node.told(&node.web, 1).await;
    assert_eq!((&told[0]["owner_name"], told[0].get("namespace_labels")), (&json!("web"), None));
    agent.terminate().await;
}

#[tokio::test]
async fn a_reload_begins_to_ask_and_asks_for_something_else() {
    let node = Node::with("1h", "").await;
    node.api.pod(&node.pod());
    let with = node.scene.config();
    let (start, end) = (with.find("kubernetes:").expect("it"), with.find("tail:").expect("it"));
    let without = format!("{}{}", &with[..start], &with[end..]);
    let mut log = node.log();
    log.lines(1);
    let agent = Agent::start(&without, &node.scene.root());
    assert_eq!(node.told(&node.web, 1).await[0].get("labels"), None);
    node.reload(&agent, &with, 1).await;
    log.lines(1);
    assert_eq!(node.told(&node.web, 2).await[1]["labels"]["app.kubernetes.io/name"], "web");
    node.reload(&agent, &with.replace("  wait: 1h", "  wait: 1h\n  labels: []"), 2).await;
    log.lines(1);
    let told = node.told(&node.web, 3).await;
    assert_eq!((told[2].get("labels"), &told[2]["owner_name"]), (None, &json!("web")));
    agent.terminate().await;
}
