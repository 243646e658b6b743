//! Overlays with components, as kubectl puts them together.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::manifest::Manifest;
use crate::node::Node;
use crate::pod::mode;
use crate::support::container::possible;
use crate::support::identity::Asked;
use crate::support::logs::Writer;
use crate::{arrived, exactly_once, pod_log};

#[tokio::test]
async fn with_host_logs_files_of_any_user_are_read_by_one_capability() {
    if !possible() {
        return;
    }
    let Some(mut manifest) = Manifest::with_components("local", &["host-logs"]) else { return };
    let route = "  - name: host\n    files: [/var/log/syslog, /var/log/audit/audit.log]\n    to: [files]\n";
    manifest.config().push_str(route);
    let node = Node::with(&[]).await;
    let pod = node.pod(&manifest);
    let running = pod.ready().await;
    for capabilities in ["CapPrm", "CapEff", "CapBnd"] {
        // Bit 2, CAP_DAC_READ_SEARCH.
        assert_eq!(running.status(capabilities), "0000000000000004", "{capabilities}");
    }
    // syslog:adm as on Debian and Ubuntu, root's alone, and a log that a container's own user has taken.
    let of = |writer: Writer, owner: u32, group: u32, mode: u32| {
        chown(writer.path(), Some(owner), Some(group)).expect("we are root");
        fs::set_permissions(writer.path(), fs::Permissions::from_mode(mode)).expect("it is ours");
        writer
    };
    let mut writers = [
        of(Writer::plain(node.at("/var/log/syslog"), "syslog"), 104, 4, 0o640),
        of(Writer::plain(node.at("/var/log/audit/audit.log"), "audit"), 0, 0, 0o600),
        of(pod_log(&node, "shop", "cart"), 1000, 1000, 0o600),
    ];
    fs::set_permissions(node.at("/var/log/audit"), fs::Permissions::from_mode(0o700)).expect("it is ours");
    writers.iter_mut().for_each(|writer| writer.lines(30));
    running.has_delivered(90).await;
    running.terminate().await;
    exactly_once(&node.records("/var/spool/kinetail"), &writers);
}

#[tokio::test]
async fn with_host_network_the_nodes_role_is_reached_where_pods_are_a_hop_too_far() {
    if !possible() {
        return;
    }
    let Some(manifest) = Manifest::with_components("plain", &["host-network"]) else { return };
    let node = Node::with(&["kinetail-logs"]).await;
    let without = node.pod(&Manifest::file("plain.yaml"));
    let running = without.start();
    running.process.line(|line| line.contains("\"ready\"")).await;
    let mut writer = pod_log(&node, "shop", "cart");
    writer.lines(20);
    let told = running.process.line(|line| line.contains("destination_denied")).await;
    assert!(told.contains("Credentials"), "{told}");
    // An update with wrong credentials stops at its first nodes, and kills nobody.
    let [live, ready] = ["livenessProbe", "readinessProbe"].map(|probe| running.probe(probe));
    assert!(live.starts_with("HTTP/1.1 200") && ready.starts_with("HTTP/1.1 503"), "{live}\n{ready}");
    running.process.kill().await;
    assert_eq!(node.cloud.identities.asked(), [], "the metadata service was not reached");

    let spec = manifest.pod();
    let port = &spec["containers"][0]["ports"][0];
    assert_eq!(port["hostPort"], port["containerPort"], "on the node's network they are one");
    assert_eq!(spec["dnsPolicy"], "ClusterFirstWithHostNet", "else names of the cluster are not known");
    let pod = node.pod(&manifest);
    // Its probes are answered at the node's own address.
    let running = pod.ready().await;
    writer.lines(20);
    arrived(&node, "kinetail-logs", [&writer]).await;
    let asked = node.cloud.identities.asked();
    assert!(asked.iter().all(|(asked, _)| *asked == Asked::Instance), "{asked:?}");
    let given: BTreeSet<String> = asked.into_iter().filter_map(|(_, key)| key).collect();
    node.cloud.endpoint.look(|account| assert!(account.access_keys.is_subset(&given), "{account:?}"));
    running.terminate().await;
}

#[tokio::test]
async fn with_a_projected_token_records_are_signed_by_its_role_and_the_token_of_the_moment_is_shown() {
    if !possible() {
        return;
    }
    let Some(manifest) = Manifest::with_components("plain", &["projected-token"]) else { return };
    let node = Node::with(&["kinetail-logs"]).await;
    // So short that they are asked for again with every request.
    node.cloud.identities.lifetime(std::time::Duration::from_secs(1));
    let pod = node.pod(&manifest);
    assert_eq!(mode(&pod.volume("aws-token").join("token")), 0o600, "it is user 0's alone");
    let running = pod.ready().await;
    let mut writer = pod_log(&node, "shop", "cart");
    for _ in 0..2 {
        let before = node.cloud.identities.asked().len();
        let token = node.token("sts.amazonaws.com");
        writer.lines(20);
        arrived(&node, "kinetail-logs", [&writer]).await;
        let arn = "arn:aws:iam::111122223333:role/kinetail".to_owned();
        let shown = Asked::WebIdentity { arn, token };
        let asked = node.cloud.identities.asked();
        assert!(asked[before..].iter().all(|(asked, _)| *asked == shown), "{asked:?}");
        let given: BTreeSet<String> = asked[before..].iter().filter_map(|(_, key)| key.clone()).collect();
        node.cloud.endpoint.look(|account| assert!(!account.access_keys.is_disjoint(&given), "{account:?}"));
        node.new_tokens();
    }
    running.terminate().await;
}
