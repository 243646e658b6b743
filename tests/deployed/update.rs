//! The DaemonSet and its update.

use std::os::unix::fs::chown;

use rustix::process::Signal;
use serde_json::json;

use crate::exactly_once;
use crate::manifest::Manifest;
use crate::node::Node;
use crate::pod::{delivered, mode};
use crate::support::container::possible;
use crate::support::kubernetes::{NODE, PodObject};
use crate::support::logs::{self, Writer};

#[tokio::test]
async fn the_daemonset_reads_pods_as_user_0_without_capabilities_and_an_update_loses_no_line() {
    if !possible() {
        return;
    }
    let (node, manifest) = (Node::with(&[]).await, Manifest::file("local.yaml"));
    let first = node.pod(&manifest);
    let old = first.ready().await;
    assert_eq!(old.status("Uid"), "0\t0\t0\t0");
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(old.status(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!((old.status("NoNewPrivs"), old.status("Seccomp")), ("1".into(), "2".into()), "2: by a filter");

    let mut writers = logs::containers(&node.logs(), 4);
    let mut go_on = |rotate: bool| {
        for writer in &mut writers {
            writer.lines(20);
            if rotate {
                writer.rotate();
                writer.lines(20);
            }
        }
    };
    go_on(true);
    assert_eq!(mode(&node.at("/var/log/pods")), 0o750);
    // Of another user, which user 0 without capabilities may not read: it costs the others nothing.
    let mut foreign = Writer::plain(node.at("/var/log/pods/shop_other_1/app/0.log"), "other");
    chown(foreign.path(), Some(1000), Some(1000)).expect("we are root");
    foreign.lines(5);
    old.has_delivered(160).await;
    old.process.line(|line| line.contains("shop_other_1") && line.contains("ermission denied")).await;

    // Why an update must not surge: while the old pod lives, a new one on its node could do nothing.
    let update = &manifest.workload()["spec"]["updateStrategy"];
    assert_eq!((&update["type"], &update["rollingUpdate"]["maxSurge"]), (&json!("RollingUpdate"), &json!(0)));
    let second = node.pod(&manifest);
    let refused = second.start().process.ended().await;
    assert!(!refused.status.success(), "{:#?}", refused.lines);
    assert!(refused.lines.iter().any(|line| line.contains("another kinetail")), "{:#?}", refused.lines);

    // The update. While the old pod stops, before the new one is there and while it starts, containers write and kubelet
    // rotates.
    old.process.signal(Signal::TERM);
    old.process.line(|line| line.contains("\"stopping\"")).await;
    go_on(true);
    let ended = old.process.ended().await;
    assert_eq!(ended.status.code(), Some(0), "{:#?}", ended.lines);
    go_on(true);
    let new = second.start();
    go_on(true);
    new.content("readinessProbe").await;
    go_on(false);
    let written: usize = writers.iter().map(|writer| writer.written().len()).sum();
    new.has_delivered(written as u64 - delivered(&ended)).await;
    new.terminate().await;

    let records = node.records("/var/spool/kinetail");
    assert!(writers.iter().all(|writer| mode(writer.path()) == 0o640));
    exactly_once(&records, &writers);
    let record = &records[0];
    assert_eq!(record["host"], NODE);
    assert_eq!(record["kubernetes"]["namespace_name"], "shop");
    assert_eq!(mode(&node.at("/var/lib/kinetail/node-id")) & 0o077, 0, "what is in data_dir is its own");
}

#[tokio::test]
async fn the_daemonset_asks_the_api_of_its_cluster_as_its_service_account() {
    if !possible() {
        return;
    }
    let node = Node::with(&[]).await;
    let app = logs::Container::of_pod("app");
    node.cloud.api.pod(&PodObject::of(&app));
    let pod = node.pod(&Manifest::file("local.yaml"));
    let running = pod.ready().await;
    let watched = |requests: &[crate::support::kubernetes::Request]| {
        requests.iter().any(|one| one.path == "/api/v1/pods" && one.is_watch())
    };
    node.cloud.api.asked("pods are watched", watched).await;
    let mut writer = Writer::container(&node.logs(), &app, logs::Format::Crio);
    writer.lines(5);
    running.has_delivered(5).await;
    running.terminate().await;
    let records = node.records("/var/spool/kinetail");
    let told = &records[0]["kubernetes"];
    assert_eq!((&told["owner_name"], &told["host"]), (&"web".into(), &NODE.into()));
    assert_eq!(told["node_labels"]["topology.kubernetes.io/zone"], "eu-central-1a");
    exactly_once(&records, &[writer]);
}
