//! Each overlay's single file, through what it is for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::manifest::Manifest;
use crate::node::Node;
use crate::support::clients::{ACCESS_KEY, SECRET_KEY};
use crate::support::container::possible;
use crate::support::endpoint::patiently;
use crate::support::identity::Asked;
use crate::support::logs::Writer;
use crate::support::process::until;
use crate::{arrived, pod_log, with_role_of_account};

/// The key that takes the place of the first one.
const NEXT_KEY: &str = "AKIDNEXT";

#[tokio::test]
async fn openshifts_manifest_tells_application_infrastructure_and_audit_logs_apart() {
    if !possible() {
        return;
    }
    let streams = ["kinetail-application", "kinetail-infrastructure", "kinetail-audit"];
    let known = |endpoint: crate::support::endpoint::Settings| {
        endpoint.access_key(ACCESS_KEY, SECRET_KEY).access_key(NEXT_KEY, "next")
    };
    let node = Node::with_endpoint(&streams, known).await;
    let keys = |id: &str, secret: &str| {
        format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
    };
    node.keep("kinetail-aws", &[("credentials", &keys(ACCESS_KEY, SECRET_KEY))]);
    let pod = node.pod(&Manifest::file("openshift.yaml"));
    let running = pod.ready().await;

    // Root's alone, as the API servers, auditd and OVN make them.
    let own = |path: &str| {
        let writer = Writer::plain(node.at(path), path.rsplit('/').nth(1).expect("a folder"));
        fs::set_permissions(writer.path(), fs::Permissions::from_mode(0o600)).expect("it is ours");
        let folder = writer.path().parent().expect("a folder");
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("it is ours");
        writer
    };
    let of = |pods: &[(&str, &str)]| -> Vec<Writer> {
        pods.iter().map(|(namespace, name)| pod_log(&node, namespace, name)).collect()
    };
    let mut kinds = [
        of(&[("shop", "cart"), ("kubernetes-dashboards", "grafana"), ("openshifty", "own")]),
        of(&[
            ("openshift-dns", "dns"),
            ("openshift", "base"),
            ("kube-system", "proxy"),
            ("default", "registry"),
        ]),
        vec![
            own("/var/log/kube-apiserver/audit.log"),
            own("/var/log/oauth-apiserver/audit.log"),
            own("/var/log/oauth-server/audit.log"),
            own("/var/log/openshift-apiserver/audit.log"),
            own("/var/log/audit/audit.log"),
            own("/var/log/ovn/acl-audit-log.log"),
        ],
    ];
    let mut itself = pod_log(&node, "kinetail", "kinetail");
    itself.lines(20);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        arrived(&node, stream, writers).await;
    }

    // What an API server writes of a request becomes fields.
    let event = r#"{"kind":"Event","verb":"delete","objectRef":{"resource":"secrets"}}"#;
    kinds[2][0].raw(format!("{event}\n").as_bytes());
    let is_it = |record: &Value| {
        record["verb"] == "delete" && record["objectRef"]["resource"] == "secrets" && record["log"].is_null()
    };
    node.cloud.endpoint.wait_until(|account| account.stream(streams[2]).json().any(|one| is_it(&one))).await;

    // Other keys, and who still uses the old ones is refused.
    node.keep("kinetail-aws", &[("credentials", &keys(NEXT_KEY, "next"))]);
    node.cloud.endpoint.revoke(ACCESS_KEY);
    kinds.iter_mut().flatten().for_each(|writer| writer.lines(20));
    for (stream, writers) in streams.iter().zip(&kinds) {
        arrived(&node, stream, writers).await;
    }
    running.terminate().await;
}

#[tokio::test]
async fn keys_that_come_after_the_pods_were_refused_make_them_ready_without_a_restart_over_one_stream_for_all()
 {
    if !possible() {
        return;
    }
    let known = |endpoint: crate::support::endpoint::Settings| endpoint.access_key("AKIAEXAMPLE", "example");
    let node = Node::with_endpoint(&["of-the-stack"], known).await;
    let mut manifest = Manifest::file("openshift.yaml");
    let config = manifest.config();
    for stream in ["kinetail-application", "kinetail-infrastructure", "kinetail-audit"] {
        assert!(config.contains(stream), "{config}");
        *config = config.replace(stream, "of-the-stack");
    }
    let pod = node.pod(&manifest);
    let running = pod.start();
    // Nothing is to be delivered yet: it has asked who it is, and nobody could say.
    running.process.line(|line| line.contains("\"ready\"")).await;
    let refused = until(async || running.probe("readinessProbe").starts_with("HTTP/1.1 503"));
    patiently(|| format!("refused: {}", running.probe("readinessProbe")), refused).await;
    let mut writers = [
        pod_log(&node, "shop", "cart"),
        pod_log(&node, "openshift-dns", "dns"),
        Writer::plain(node.at("/var/log/kube-apiserver/audit.log"), "audit"),
    ];
    writers.iter_mut().for_each(|writer| writer.lines(20));
    let denied = running.process.line(|line| line.contains("destination_denied")).await;
    assert!(denied.contains("Credentials"), "{denied}");

    node.apply(&Manifest::file("examples/secret.yaml"));
    running.content("readinessProbe").await;
    arrived(&node, "of-the-stack", &writers).await;
    running.terminate().await;
}

#[test]
fn where_keys_are_told_of_they_are_applied_before_the_rollout_is_waited_for() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/getting-started.md");
    let text = fs::read_to_string(path).expect("the documentation");
    for (heading, manifest) in
        [("## OpenShift", "manifests/openshift.yaml"), ("## Other Kubernetes", "manifests/plain.yaml")]
    {
        let (_, section) = text.split_once(&format!("\n{heading}\n")).expect(heading);
        let section = section.split("\n## ").next().expect("a section");
        let commands: Vec<&str> = section.lines().map(str::trim_start).collect();
        let at = |words: &str| {
            let found = commands.iter().position(|line| line.split('#').next().unwrap_or("").contains(words));
            found.unwrap_or_else(|| panic!("{heading} does not say: {words}"))
        };
        let order = [
            at(&format!("apply -f {manifest}")),
            at("apply -f manifests/examples/secret.yaml"),
            at("rollout status daemonset/kinetail"),
        ];
        assert!(order.is_sorted(), "{heading}: without its keys no pod becomes ready");
    }
}

#[tokio::test]
async fn plains_manifest_delivers_with_the_keys_of_the_secrets_example() {
    if !possible() {
        return;
    }
    let known = |endpoint: crate::support::endpoint::Settings| endpoint.access_key("AKIAEXAMPLE", "example");
    let node = Node::with_endpoint(&["kinetail-logs"], known).await;
    node.apply(&Manifest::file("examples/secret.yaml"));
    let pod = node.pod(&Manifest::file("plain.yaml"));
    let running = pod.ready().await;
    let mut writers = [pod_log(&node, "shop", "cart"), pod_log(&node, "kube-system", "proxy")];
    let mut itself = pod_log(&node, "kinetail", "kinetail");
    for writer in writers.iter_mut().chain([&mut itself]) {
        writer.lines(20);
    }
    arrived(&node, "kinetail-logs", &writers).await;
    running.terminate().await;
}

#[tokio::test]
async fn ekss_manifest_delivers_with_the_role_of_its_account_and_another_configmap_counts_without_a_restart()
{
    if !possible() {
        return;
    }
    let (node, mut manifest) =
        (Node::with(&["kinetail-logs", "other-logs"]).await, Manifest::file("eks.yaml"));
    node.apply(&manifest);
    let pod = node.pod_of(with_role_of_account(&manifest));
    let running = pod.ready().await;
    let mut before = pod_log(&node, "shop", "cart");
    before.lines(20);
    arrived(&node, "kinetail-logs", [&before]).await;
    let role = "arn:aws:iam::111122223333:role/kinetail".to_owned();
    let shown = Asked::WebIdentity { arn: role, token: node.token("sts.amazonaws.com") };
    let asked = node.cloud.identities.asked();
    assert!(asked.iter().all(|(asked, _)| *asked == shown), "{asked:?}");
    let given = asked.into_iter().filter_map(|(_, key)| key).collect();
    node.cloud.endpoint.look(|account| assert!(account.access_keys.is_subset(&given), "{account:?}"));

    let config = manifest.config();
    *config = config.replace("stream: kinetail-logs", "stream: other-logs");
    node.apply(&manifest);
    running.process.line(|line| line.contains("\"reloaded\"")).await;
    let mut after = pod_log(&node, "shop", "other-cart");
    after.lines(20);
    arrived(&node, "other-logs", [&after]).await;
    running.terminate().await;
}
