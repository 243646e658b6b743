//! The DaemonSet, as its manifest says it: the same command line, environment, mounts, user and capabilities, over a
//! node's log tree with the permissions that kubelet gives it.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use serde_json::Value;
use support::container::{Container, possible};
use support::endpoint::{Endpoint, Marker, Settings, Stream};
use support::kubernetes::{Api, PodObject};
use support::logs::{self, Writer};
use support::node::{NODE, Node};

/// The key that takes the place of the first one.
const NEXT_KEY: &str = "AKIDNEXT";

/// Every written line came once, and none twice.
fn exactly_once(records: &[Value], writers: &[Writer]) {
    let mut arrived: Vec<&str> =
        records.iter().map(|record| record["log"].as_str().expect("a text")).collect();
    let mut written: Vec<&str> =
        writers.iter().flat_map(Writer::written).map(|line| line.text.as_str()).collect();
    arrived.sort_unstable();
    written.sort_unstable();
    assert!(arrived == written, "{} records of {} lines", arrived.len(), written.len());
}

#[tokio::test]
async fn the_daemonset_reads_pods_as_user_0_without_capabilities_and_an_update_loses_no_line() {
    if !possible() {
        return;
    }
    let node = Node::with("local.yaml");
    let container = node.container();
    let first = node.start(&container, 1).await;
    assert_eq!(first.status("Uid"), "0\t0\t0\t0");
    for capabilities in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(first.status(capabilities), "0000000000000000", "{capabilities}");
    }
    assert_eq!(first.status("NoNewPrivs"), "1");

    let mut writers = logs::containers(&node.on("/var/log"), 4);
    writers.iter_mut().for_each(|writer| writer.lines(50));
    let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o7777;
    assert_eq!((mode(&node.on("/var/log/pods")), mode(writers[0].path())), (0o750, 0o640));
    // Of another user, which user 0 without capabilities may not read: it costs the others nothing.
    let mut foreign = Writer::plain(node.on("/var/log/pods/shop_other_1/app/0.log"), "other");
    chown(foreign.path(), Some(1000), Some(1000)).expect("we are root");
    foreign.lines(5);
    first.has_delivered(200).await;
    first.process.line(|line| line.contains("shop_other_1") && line.contains("ermission denied")).await;
    let delivered = first.terminate().await;

    // Between the old pod and the new one containers write and kubelet rotates.
    for writer in &mut writers {
        writer.lines(20);
        writer.rotate();
        writer.lines(20);
    }
    let second = node.start(&container, 2).await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    second.has_delivered(400 - delivered).await;
    second.terminate().await;

    let records = node.records("/var/spool/kinetail");
    exactly_once(&records, &writers);
    let record = &records[0];
    assert_eq!(record["host"], NODE);
    assert_eq!(record["kubernetes"]["namespace_name"], "shop");
    assert_eq!(mode(&node.on("/var/lib/kinetail/node-id")) & 0o077, 0, "what is in data_dir is its own");
}

#[tokio::test]
async fn the_daemonset_asks_the_api_of_its_cluster_as_its_service_account() {
    if !possible() {
        return;
    }
    let api = Api::tls().await;
    let labels = serde_json::json!({"topology.kubernetes.io/zone": "eu-central-1b"});
    api.put("nodes", serde_json::json!({"metadata": {"name": NODE, "labels": &labels}}));
    let app = logs::Container::of_pod("app");
    api.pod(&PodObject { node: NODE.into(), ..PodObject::of(&app) });
    let mut node = Node::with("local.yaml");
    // It shares the network with the API, and so the port with whoever else runs on this machine.
    node.config = node.config.replace("0.0.0.0:9602", "127.0.0.1:0");
    let mut container = Container { own_network: false, files: api.account(), ..node.container() };
    container.environment.extend(api.variables());
    let pod = node.start(&container, 1).await;
    api.asked("pods are watched", |requests| {
        requests.iter().any(|one| one.path == "/api/v1/pods" && one.is_watch())
    })
    .await;
    let mut writer = Writer::container(&node.on("/var/log"), &app, logs::Format::Crio);
    writer.lines(5);
    pod.has_delivered(5).await;
    pod.terminate().await;
    let records = node.records("/var/spool/kinetail");
    let told = &records[0]["kubernetes"];
    assert_eq!((&told["owner_name"], &told["host"]), (&"web".into(), &NODE.into()));
    assert_eq!(told["node_labels"], labels);
    exactly_once(&records, &[writer]);
}

#[tokio::test]
async fn with_the_capability_of_the_host_logs_component_files_of_other_users_are_read() {
    if !possible() {
        return;
    }
    let node = Node::with("local.yaml").and("host-logs");
    let container = node.container();
    assert_eq!(container.capabilities, ["dac_read_search"]);
    let pod = node.start(&container, 1).await;
    let container = logs::Container::of_pod("app");
    let mut writer = Writer::container(&node.on("/var/log"), &container, logs::Format::Crio);
    chown(writer.path(), Some(1000), Some(1000)).expect("we are root");
    writer.lines(30);
    pod.has_delivered(30).await;
    pod.terminate().await;
    exactly_once(&node.records("/var/spool/kinetail"), &[writer]);
}

#[tokio::test]
async fn openshifts_manifest_tells_application_infrastructure_and_audit_logs_apart() {
    if !possible() {
        return;
    }
    let streams = ["kinetail-application", "kinetail-infrastructure", "kinetail-audit"];
    let endpoint: Settings = Endpoint::tls()
        .access_key(support::clients::ACCESS_KEY, support::clients::SECRET_KEY)
        .access_key(NEXT_KEY, "next");
    let endpoint =
        streams.iter().fold(endpoint, |endpoint, stream| endpoint.stream(Stream::firehose(*stream)));
    let endpoint = endpoint.start().await;
    let mut node = Node::with("openshift.yaml");
    // It shares the network with the endpoint, and so the port with whoever else runs on this machine.
    node.config = node.config.replace("0.0.0.0:9602", "127.0.0.1:0");
    let config = format!("[default]\nendpoint_url = {}\n", endpoint.url());
    let keys = |id: &str, secret: &str| {
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
    };
    let first = keys(support::clients::ACCESS_KEY, support::clients::SECRET_KEY);
    node.keep_secret(1, &[("credentials", &first), ("config", &config)]);
    // The image has certificates, and the runtime says who localhost is.
    let files = vec![
        ("/etc/ssl/certs/ca-certificates.crt", fs::read(endpoint.ca_bundle()).expect("its certificate")),
        ("/etc/hosts", b"127.0.0.1 localhost\n".to_vec()),
    ];
    let container = Container { own_network: false, files, ..node.container() };
    let pod = node.start(&container, 1).await;

    let pod_of = |namespace: &str, name: &str| {
        let container = logs::Container { namespace: namespace.into(), ..logs::Container::of_pod(name) };
        Writer::container(&node.on("/var/log"), &container, logs::Format::Crio)
    };
    let own = |path: &str| Writer::plain(node.on(path), path.rsplit('/').nth(1).expect("a folder"));
    let mut kinds = [
        vec![pod_of("shop", "cart"), pod_of("kubernetes-dashboards", "grafana")],
        vec![pod_of("openshift-dns", "dns"), pod_of("kube-system", "proxy"), pod_of("default", "registry")],
        vec![
            own("/var/log/kube-apiserver/audit.log"),
            own("/var/log/audit/audit.log"),
            own("/var/log/ovn/acl-audit-log.log"),
        ],
    ];
    let mut itself = pod_of("kinetail", "kinetail");
    itself.lines(20);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        let expected: Vec<Marker> = writers.iter().flat_map(Writer::markers).collect();
        endpoint.wait_until(|account| account.stream(stream).distinct() >= expected.len()).await;
        endpoint.look(|account| account.stream(stream).assert_exactly_once(expected));
    }

    // Other keys, and who still uses the old ones is refused.
    node.keep_secret(2, &[("credentials", &keys(NEXT_KEY, "next")), ("config", &config)]);
    endpoint.revoke(support::clients::ACCESS_KEY);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        let expected: Vec<Marker> = writers.iter().flat_map(Writer::markers).collect();
        endpoint.wait_until(|account| account.stream(stream).distinct() >= expected.len()).await;
        endpoint.look(|account| account.stream(stream).assert_exactly_once(expected));
    }
    pod.terminate().await;
}
