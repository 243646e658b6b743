//! What a pod that is told to end leaves behind.

use crate::manifest::Manifest;
use crate::node::Node;
use crate::support::container::possible;
use crate::support::endpoint::{Fault, Gate, Rule};
use crate::{arrived, pod_log};

#[tokio::test]
async fn a_pod_whose_stream_hangs_lives_ends_within_its_grace_period_and_the_next_one_delivers() {
    if !possible() {
        return;
    }
    let mut manifest = Manifest::file("plain.yaml");
    // Nobody waits half a minute to see that it ends then: that it is less than the grace period holds for every manifest.
    let config = manifest.config();
    assert!(config.contains("drain_timeout: 30s"), "{config}");
    *config = config.replace("drain_timeout: 30s", "drain_timeout: 1s");
    let node = Node::with(&["kinetail-logs"]).await;
    node.apply(&Manifest::file("examples/secret.yaml"));
    let hangs = node.cloud.endpoint.inject(Rule::new(Fault::Hang(Gate::closed())));
    let (first, second) = (node.pod(&manifest), node.pod(&manifest));
    let running = first.ready().await;
    let mut writer = pod_log(&node, "shop", "cart");
    writer.lines(50);
    node.cloud.endpoint.wait_until(|account| account.waiting > 0).await;
    for probe in ["startupProbe", "livenessProbe"] {
        assert!(running.probe(probe).starts_with("HTTP/1.1 200"), "{probe}");
    }
    let ended = running.process.terminate().await;
    assert!(ended.lines.iter().any(|line| line.contains("\"drain_timed_out\"")), "{:#?}", ended.lines);
    node.cloud.endpoint.look(|account| assert_eq!(account.stream("kinetail-logs").taken, 0));

    node.cloud.endpoint.withdraw(hangs);
    let running = second.ready().await;
    arrived(&node, "kinetail-logs", [&writer]).await;
    running.terminate().await;
}
