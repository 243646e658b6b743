//! What `manifests/` deploys, each run once as it is written: the same command line, environment, volumes, user and
//! capabilities, over a node's log tree with the permissions that kubelet gives it, in a network of its own. What the pods talk
//! to has the names and addresses that the manifests count on; nothing is told another endpoint. (`cloud`, `node`, `volumes`
//! and `pod` are the cluster, the other modules the stories.)

#[path = "../support/mod.rs"]
mod support;

mod cloud;
mod manifest;
mod node;
mod pod;
mod volumes;

mod components;
mod examples;
mod journal;
mod overlays;
mod stopping;
mod update;

use serde_json::{Value, json};
use support::endpoint::Marker;
use support::logs::{self, Writer};

use manifest::{Manifest, text};
use node::Node;

/// The log of a container in a namespace.
fn pod_log(node: &Node, namespace: &str, name: &str) -> Writer {
    let container = logs::Container { namespace: namespace.into(), ..logs::Container::of_pod(name) };
    Writer::container(&node.logs(), &container, logs::Format::Crio)
}

/// Waits until a delivery stream has all these lines, and makes sure that it has each once and no others.
async fn arrived<'a>(node: &Node, stream: &str, writers: impl IntoIterator<Item = &'a Writer>) {
    let expected: Vec<Marker> = writers.into_iter().flat_map(Writer::markers).collect();
    let endpoint = &node.cloud.endpoint;
    endpoint.wait_until(|account| account.stream(stream).distinct() >= expected.len()).await;
    endpoint.look(|account| account.stream(stream).assert_exactly_once(expected));
}

/// Of the records of files: every written line came once, and none twice.
fn exactly_once(records: &[Value], writers: &[Writer]) {
    let mut arrived: Vec<&str> =
        records.iter().map(|record| record["log"].as_str().expect("a text")).collect();
    let mut written: Vec<&str> =
        writers.iter().flat_map(Writer::written).map(|line| line.text.as_str()).collect();
    arrived.sort_unstable();
    written.sort_unstable();
    assert!(arrived == written, "{} records of {} lines", arrived.len(), written.len());
}

/// What the webhook of EKS makes of a pod whose account has a role.
fn with_role_of_account(manifest: &Manifest) -> Value {
    let (account, mut pod) = (manifest.the("ServiceAccount"), manifest.pod());
    assert_eq!(account["metadata"]["name"], pod["serviceAccountName"]);
    let role = text(&account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]);
    let folder = "/var/run/secrets/eks.amazonaws.com/serviceaccount";
    let kind = if pod["initContainers"].is_array() { "initContainers" } else { "containers" };
    let container = &mut pod[kind][0];
    assert_eq!(container["name"], "kinetail");
    let added = |list: &mut Value, more: Value| match list {
        Value::Null => *list = json!([more]),
        list => list.as_array_mut().expect("a list").push(more),
    };
    for (name, value) in [
        ("AWS_STS_REGIONAL_ENDPOINTS", "regional"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ROLE_ARN", role),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &format!("{folder}/token")),
    ] {
        added(&mut container["env"], json!({"name": name, "value": value}));
    }
    let mount = json!({"name": "aws-iam-token", "mountPath": folder, "readOnly": true});
    added(&mut container["volumeMounts"], mount);
    let token = json!({"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"});
    let sources = json!({"sources": [{"serviceAccountToken": token}]});
    added(&mut pod["volumes"], json!({"name": "aws-iam-token", "projected": sources}));
    pod
}
