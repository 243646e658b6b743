//! Metrics to CloudWatch: what arrives there, and that nothing ever waits for it.

mod support;

use std::collections::BTreeSet;
use std::fs;

use rustix::process::Signal;
use support::clients::ACCESS_KEY;
use support::endpoint::{Account, Endpoint, ErrorAnswer, Fault, Gate, Metric};
use support::logs::{self, Writer};
use support::moto::Moto;
use support::process::{Agent, Process, kinetail, until};
use support::scene::Scene;

/// A scene whose metrics go to its endpoint every second, with these further keys.
async fn scene(endpoint: support::endpoint::Settings, keys: &str) -> Scene {
    let scene = Scene::on(endpoint).await.setting("admin: {listen: '127.0.0.1:0'}");
    let section = section(&scene, keys);
    scene.setting(&section)
}

fn section(scene: &Scene, keys: &str) -> String {
    let url = scene.endpoint.url();
    let trust = match url.starts_with("https") {
        true => format!(", ca_bundle: '{}'", scene.endpoint.ca_bundle().display()),
        false => String::new(),
    };
    format!("cloudwatch: {{interval: 1s, region: eu-central-1, endpoint: '{url}'{trust}, {keys}}}")
}

/// Everything that was put of a metric with this dimension.
fn of<'a>(
    account: &'a Account,
    namespace: &'a str,
    name: &'a str,
    dimension: (&'a str, &'a str),
) -> impl Iterator<Item = &'a Metric> {
    let calls = account.metrics.iter().filter(move |call| call.namespace == namespace);
    calls
        .flat_map(|call| &call.data)
        .filter(move |metric| metric.name == name && metric.dimension(dimension.0) == Some(dimension.1))
}

const AUDIT: (&str, &str) = ("Destination", "KinesisStream:audit");

/// Waits until what was put of a metric sums up to this.
async fn comes_to(scene: &Scene, namespace: &str, name: &str, dimension: (&str, &str), expected: f64) {
    let is = |account: &Account| {
        let sum: f64 = of(account, namespace, name, dimension).map(Metric::sum).sum();
        assert!(sum <= expected, "{name}: {sum} of {expected}");
        sum == expected
    };
    scene.endpoint.wait_until(is).await;
}

/// The same for the records that were sent to the data stream.
async fn sent(scene: &Scene, namespace: &str, records: usize) {
    comes_to(scene, namespace, "RecordsSent", AUDIT, records as f64).await;
}

fn write(scene: &Scene) -> Writer {
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(30);
    writer
}

/// Names and units of the Kinesis Agent's metrics in `docs/metrics.md`.
fn documented() -> BTreeSet<(String, String)> {
    let page = include_str!("../docs/metrics.md");
    let table = page.split("\n| CloudWatch name |").nth(1).expect("its table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| (cells[1].to_owned(), cells[2].to_owned())).collect()
}

#[tokio::test]
async fn the_agents_metrics_and_our_own_arrive_under_their_names() {
    let metrics = "[kinetail_delivered_records_total, 'kinetail_request_*']";
    let keys = format!("namespace: Shop/Logs, metrics: {metrics}, dimensions: {{Node: n1}}");
    let scene = scene(Endpoint::plain(), &keys).await;
    let agent = scene.start().await;
    let writer = write(&scene);
    scene.exactly_once(&[&writer]).await;
    sent(&scene, "Shop/Logs", 30).await;
    let own = ("destination", "audit");
    let (bytes, packed) = scene
        .endpoint
        .look(|account| (account.stream("audit").bytes as f64, account.stream("archive").taken as f64));
    for (name, dimension, expected) in [
        ("RecordSendAttempts", AUDIT, 30.0),
        ("BytesSent", AUDIT, bytes),
        ("RecordsSent", ("Destination", "DeliveryStream:archive"), packed),
        ("kinetail_delivered_records_total", own, 30.0),
    ] {
        comes_to(&scene, "Shop/Logs", name, dimension, expected).await;
    }
    let requests = |account: &Account| -> f64 {
        let of_name = of(account, "Shop/Logs", "kinetail_request_duration_seconds", own);
        of_name.flat_map(|metric| &metric.values).map(|(_, count)| count).sum()
    };
    scene.endpoint.wait_until(|account| requests(account) == account.stream("audit").calls as f64).await;
    scene.endpoint.look(|account| {
        for name in ["RecordSendErrors", "ServiceErrors"] {
            assert_eq!(of(account, "Shop/Logs", name, AUDIT).map(Metric::sum).sum::<f64>(), 0.0);
        }
        for (name, unit) in [("RecordsSent", "Count"), ("BytesSent", "Bytes")] {
            let of_name = of(account, "Shop/Logs", name, AUDIT).next().expect("it arrived");
            assert_eq!((of_name.unit.as_str(), of_name.resolution), (unit, Some(1)));
            assert_eq!(of_name.dimension("Node"), Some("n1"));
        }
        assert!(account.refused_calls.is_empty(), "{:?}", account.last_refusal);
        let all = account.metrics.iter().flat_map(|call| &call.data);
        let (own, agents): (BTreeSet<_>, BTreeSet<_>) = all
            .map(|it| (it.name.clone(), it.unit.clone()))
            .partition(|(name, _)| name.starts_with("kinetail_"));
        assert!(!own.iter().any(|(name, _)| name == "kinetail_lines_total"), "it is not named");
        assert_eq!(agents, documented(), "docs/metrics.md, right, has the Agent's as they are sent");
    });
    agent.terminate().await;
}

#[tokio::test]
async fn everything_is_sent_compressed_over_tls_with_what_the_printed_policy_allows() {
    let endpoint = Endpoint::tls().access_key(ACCESS_KEY, support::clients::SECRET_KEY);
    let scene = scene(endpoint, "namespace: all, metrics: '*'").await;
    fs::write(scene.root().join("kinetail.yaml"), scene.config()).expect("the configuration is written");
    let mut command = kinetail(&scene.root());
    command.args(["iam-policy", "--config", "kinetail.yaml", "--account", "123456789012"]);
    let printed = Process::start(command).ended().await;
    let policy = serde_json::from_str(&printed.lines.concat()).expect("a policy");
    scene.endpoint.allow(ACCESS_KEY, policy);
    let agent = scene.start().await;
    let writer = write(&scene);
    scene.exactly_once(&[&writer]).await;
    sent(&scene, "all", 30).await;
    scene.endpoint.look(|account| {
        assert!(account.metrics.iter().all(|call| call.compressed && call.namespace == "all"));
        let names: Vec<&str> = account.metrics[0].data.iter().map(|metric| metric.name.as_str()).collect();
        for name in ["kinetail_build_info", "process_open_fds", "kinetail_cloudwatch_requests_total"] {
            assert!(names.contains(&name), "{name}");
        }
    });
    agent.terminate().await;
}

#[tokio::test]
async fn a_denied_call_is_counted_and_told_and_its_sums_come_later() {
    let scene = scene(Endpoint::plain(), "namespace: n").await;
    let denied = ErrorAnswer::new(403, "AccessDenied", "not allowed to put metrics");
    scene.endpoint.metrics_fault(Some(Fault::Answer(denied)));
    let agent = scene.start().await;
    let writer = write(&scene);
    scene.exactly_once(&[&writer]).await;
    scene.endpoint.wait_until(|account| account.failed_metrics >= 2).await;
    let failed = "kinetail_cloudwatch_requests_total{outcome=\"failed\"}";
    until(async || agent.metric(failed).await >= 2.0).await;
    assert_eq!(agent.get("/readyz").await.0, 200);
    let told = agent.logged("cloudwatch_failed").await;
    assert!(told.contains("AccessDenied") && told.contains("not allowed to put metrics"), "{told}");
    scene.endpoint.metrics_fault(None);
    agent.logged("cloudwatch_recovered").await;
    sent(&scene, "n", 30).await;
    assert!(agent.metric("kinetail_cloudwatch_metrics_total").await >= 5.0);
    let ended = agent.terminate().await;
    let told = ended.lines.iter().filter(|line| line.contains("cloudwatch_failed")).count();
    assert_eq!(told, 1, "{}", ended.lines.join("\n"));
}

#[tokio::test]
async fn a_call_that_hangs_holds_neither_logs_nor_the_stop_up() {
    let scene = scene(Endpoint::plain(), "request_timeout: 15m").await;
    let gate = Gate::closed();
    scene.endpoint.metrics_fault(Some(Fault::Hang(gate.clone())));
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.waiting == 1).await;
    let writer = write(&scene);
    scene.exactly_once(&[&writer]).await;
    assert_eq!(agent.get("/livez").await.0, 200);
    assert_eq!(agent.get("/readyz").await.0, 200);
    // Waiting for the call would take longer than any test may.
    agent.terminate().await;
    scene.endpoint.wait_until(|account| account.waiting == 0).await;
    scene.endpoint.look(|account| assert!(account.metrics.is_empty()));
}

async fn reload(agent: &Agent, scene: &Scene, config: &str, said: &str) {
    let before = agent.process().lines().len();
    fs::write(scene.root().join("kinetail.yaml"), config).expect("the configuration is written");
    agent.process().signal(Signal::HUP);
    agent.process().line_after(before, |line| line.contains(said)).await;
}

#[tokio::test]
async fn a_reload_begins_changes_and_ends_it() {
    let scene = Scene::plain().await;
    let config = scene.config();
    let with = |keys: &str| format!("{}\n{config}", section(&scene, keys));
    let agent = scene.start().await;
    let mut writer = write(&scene);
    scene.exactly_once(&[&writer]).await;
    scene.endpoint.look(|account| assert!(account.metrics.is_empty(), "off by default"));
    // What was counted before does not come as if it were of now.
    reload(&agent, &scene, &with("namespace: one"), "\"event\":\"cloudwatch_started\"").await;
    scene.endpoint.wait_until(|account| !account.metrics.is_empty()).await;
    writer.lines(7);
    scene.exactly_once(&[&writer]).await;
    sent(&scene, "one", 7).await;
    reload(&agent, &scene, &with("namespace: two"), "\"event\":\"cloudwatch_started\"").await;
    writer.lines(5);
    scene.exactly_once(&[&writer]).await;
    sent(&scene, "two", 5).await;
    reload(&agent, &scene, &config, "cloudwatch_ended").await;
    let ended = agent.terminate().await;
    let restart = ended.lines.iter().any(|line| line.contains("restart_needed"));
    assert!(!restart, "{}", ended.lines.join("\n"));
}

#[tokio::test]
async fn moto_holds_what_was_sent() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_data_stream("audit", 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let root = fs::canonicalize(folder.path()).expect("it is there");
    let config = format!(
        "data_dir: '{root}/data'
admin: {{listen: '127.0.0.1:0'}}
cloudwatch: {{interval: 1s, endpoint: '{url}', namespace: Shop/Logs, metrics: {metrics}}}
destinations:
  audit: {{type: kinesis, stream: audit, endpoint: '{url}', aggregation: none}}
routes:
  - {{name: logs, files: '{root}/app.log', start_at: beginning, to: [audit]}}
",
        root = root.display(),
        url = moto.url(),
        metrics = "[kinetail_lines_total, kinetail_request_duration_seconds]",
    );
    fs::write(root.join("app.log"), "a line\n".repeat(40)).expect("the log");
    let agent = Agent::start(&config, &root);
    until(async || agent.metric("kinetail_delivered_records_total{destination=\"audit\"}").await == 40.0)
        .await;
    let taken = agent.metric("kinetail_cloudwatch_requests_total{outcome=\"taken\"}").await;
    // One that was begun after the last record was taken.
    until(async || {
        agent.metric("kinetail_cloudwatch_requests_total{outcome=\"taken\"}").await >= taken + 2.0
    })
    .await;
    agent.terminate().await;
    let metrics = moto.metrics("Shop/Logs").await;
    let found = |name: &str, dimension: (&str, &str)| {
        let fits = |metric: &&support::moto::SentMetric| {
            metric.name == name
                && metric.dimensions.get(dimension.0).is_some_and(|value| value == dimension.1)
        };
        metrics.iter().find(fits).unwrap_or_else(|| panic!("no {name} in {metrics:?}"))
    };
    let sent = found("RecordsSent", AUDIT);
    assert_eq!((sent.sum, &sent.units[..]), (40.0, &["Count".to_owned()][..]));
    assert_eq!(sent.dimensions.len(), 1);
    assert_eq!(found("RecordSendAttempts", AUDIT).sum, 40.0);
    assert_eq!(found("BytesSent", AUDIT).units, ["Bytes"]);
    assert_eq!(found("kinetail_lines_total", ("route", "logs")).sum, 40.0);
    assert!(found("kinetail_request_duration_seconds", ("destination", "audit")).sum > 0.0);
}
