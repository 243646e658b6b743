//! What is watched from outside fits together: metrics, their documentation, the dashboard, the rules that alert and the
//! runbook; and a real Prometheus scrapes the agent and evaluates the rules.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::endpoint::{ErrorAnswer, Fault, Rule};
use support::process::{Agent, Process, until};
use support::scene::{ARCHIVE, AUDIT, Scene};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

const RULES: &str = "manifests/monitoring/kinetail.rules.yaml";
const DASHBOARD: &str = "manifests/monitoring/kinetail.dashboard.json";

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(own(path)).expect(path)
}

/// A family: its type and its labels, but those of buckets.
type Family = (String, BTreeSet<String>);

fn families(exposition: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for line in exposition.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if let Some((name, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once('}').expect("a sample").0;
            let name = name.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count");
            let family = families.get_mut(name).unwrap_or_else(|| panic!("{name} has a type"));
            // No value of the test's holds what ends a label.
            let names = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            family.1.extend(names.filter(|name| *name != "le").map(str::to_owned));
        }
    }
    families
}

/// The rows of the tables of `docs/metrics.md`.
fn documented() -> BTreeMap<String, Family> {
    let plain = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut families = BTreeMap::new();
    for row in text("docs/metrics.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').collect();
        let [name, kind, labels, tells] = cells[..] else { panic!("four cells: {row}") };
        assert!(tells.trim().len() > 3 || tells.trim() == "1", "{row}");
        let labels = labels.split(',').map(plain).filter(|label| !label.is_empty()).collect();
        assert!(families.insert(plain(name), (plain(kind), labels)).is_none(), "twice: {row}");
    }
    families
}

/// A scene in which every counter that has labels of its own has something to count.
async fn eventful() -> (Scene, Agent) {
    let scene = Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .destination("rate_limit: {bytes: 100MiB, records: 100000, requests: 1000}")
        .setting("admin: {listen: '127.0.0.1:0', top_files: 1}")
        .route(&[
            "files: '{root}/app.log'",
            "start_at: beginning",
            "process: [{parse: json}, {redact: {fields: [card]}}, {drop: {level: debug}}]",
        ]);
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(ARCHIVE).times(1));
    let mut file = fs::File::create(scene.root().join("app.log")).expect("the log");
    let large = "\"".repeat(700_000);
    for line in [r#"{"card":4711}"#, r#"{"level":"debug"}"#, "no JSON", &large] {
        writeln!(file, "{line}").expect("a line");
    }
    // Files that are read for longer than any test takes.
    fs::write(scene.root().join("slow.log"), "slow\n".repeat(10_000)).expect("a log");
    fs::write(scene.root().join("slower.log"), "slower\n".repeat(10_000)).expect("a log");
    let files = format!("files: '{}/slow*.log'", scene.root().display());
    let limit = "rate_limit: {bytes: 1KiB, lines: 1}";
    let slow = format!("  - {{name: slow, {files}, start_at: beginning, {limit}, to: [local]}}\n");
    let local = format!("  local: {{type: directory, path: '{}/local'}}\nroutes:", scene.root().display());
    let agent = Agent::start(&(scene.config().replace("routes:", &local) + &slow), &scene.root());
    agent.logged("\"ready\"").await;
    until(async || agent.metric("kinetail_delivered_records_total{destination=\"audit\"}").await >= 2.0)
        .await;
    until(async || agent.metric("kinetail_delivered_records_total{destination=\"archive\"}").await >= 2.0)
        .await;
    (scene, agent)
}

#[tokio::test]
async fn every_time_series_is_told_once() {
    let (_scene, agent) = eventful().await;
    let (_, exposition) = agent.get("/metrics").await;
    let series = exposition.lines().filter(|line| !line.starts_with('#'));
    let mut seen = BTreeSet::new();
    for (name, _) in series.filter_map(|line| line.rsplit_once(' ')) {
        assert!(seen.insert(name), "twice: {name}");
    }
    agent.terminate().await;
}

#[tokio::test]
async fn every_metric_is_documented_and_everything_documented_is_a_metric() {
    let (_scene, agent) = eventful().await;
    let slower = |line: &str| line.starts_with("kinetail_file_lag_bytes{") && line.contains("/slower.log\"");
    // Behind the most as soon as the other file is read.
    until(async || agent.get("/metrics").await.1.lines().any(slower)).await;
    let (_, exposition) = agent.get("/metrics").await;
    let (served, documented) = (families(&exposition), documented());
    for (name, family) in &served {
        assert_eq!(documented.get(name), Some(family), "{name} in docs/metrics.md, left, is served as right");
    }
    let missing: Vec<_> = documented.keys().filter(|name| !served.contains_key(*name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md has what is not served: {missing:?}");
    for name in served.keys() {
        let ours = name.starts_with("kinetail_") || name.starts_with("process_");
        assert!(ours && !name.contains("__"), "{name}");
        assert_eq!(served[name].0 == "counter", name.ends_with("_total"), "{name}");
    }
    let of_files = exposition.lines().filter(|line| line.starts_with("kinetail_file_lag_bytes"));
    let of_files: Vec<&str> = of_files.collect();
    assert!(
        matches!(of_files[..], [only] if only.contains("/slower.log")),
        "the one that is the furthest behind: {of_files:?}"
    );
    agent.terminate().await;
}

/// Names of metrics in expressions.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("kinetail_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

fn is_documented(name: &str, documented: &BTreeMap<String, Family>) -> bool {
    let of_histogram = ["_bucket", "_sum", "_count"].iter().filter_map(|end| name.strip_suffix(end));
    documented.contains_key(name)
        || of_histogram.into_iter().any(|name| documented.get(name).is_some_and(|it| it.0 == "histogram"))
}

fn rules() -> Value {
    serde_yaml::from_str(&text(RULES)).expect("YAML")
}

fn alerts() -> Vec<String> {
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    rules.iter().map(|rule| rule["alert"].as_str().expect("an alert").to_owned()).collect()
}

#[test]
fn dashboard_and_rules_name_metrics_that_there_are() {
    let documented = documented();
    let dashboard: Value = serde_json::from_str(&text(DASHBOARD)).expect("JSON");
    let targets = dashboard["panels"].as_array().expect("panels").iter();
    let targets = targets.flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let mut expressions: Vec<String> =
        targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect();
    assert!(expressions.len() > 20);
    let rules = rules();
    let rules = rules["groups"][0]["rules"].as_array().expect("rules");
    expressions.extend(rules.iter().map(|rule| rule["expr"].as_str().expect("an expression").to_owned()));
    for expression in expressions {
        let names = names_in(&expression);
        assert!(!names.is_empty(), "{expression}");
        for name in names {
            assert!(is_documented(&name, &documented), "{name} in {expression}");
        }
    }
}

#[test]
fn the_operators_rules_are_the_same_and_each_alert_has_its_tests_and_its_page_of_the_runbook() {
    let operator: Value =
        serde_yaml::from_str(&text("manifests/components/monitoring/prometheusrule.yaml")).expect("YAML");
    assert_eq!(operator["spec"], rules());
    let (tests, runbook) = (text("tests/fixtures/alerts.yaml"), text("docs/operations.md"));
    for alert in alerts() {
        for kind in ["fires", "is silent"] {
            assert!(tests.contains(&format!("- name: {alert} {kind}\n")), "{alert} {kind}");
        }
        assert!(runbook.contains(&format!("\n### {alert}\n")), "{alert} in docs/operations.md");
    }
}

/// A program of Debian's `prometheus` package. None where it is not installed, which CI does.
fn installed(program: &str) -> Option<Command> {
    let mut command = Command::new(program);
    command.arg("--version").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    if command.as_std_mut().status().is_ok_and(|status| status.success()) {
        return Some(Command::new(program));
    }
    assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
    eprintln!("skipped, as {program} is not installed (Debian's package prometheus)");
    None
}

#[tokio::test]
async fn every_alert_fires_on_series_that_should_make_it_and_is_silent_on_others() {
    let Some(mut promtool) = installed("promtool") else { return };
    promtool.args(["test", "rules"]).arg(own("tests/fixtures/alerts.yaml"));
    let ended = Process::start(promtool).ended().await;
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));
}

/// A Prometheus that scrapes an agent every second and has the rules.
struct Prometheus {
    address: String,
    process: Process,
}

impl Prometheus {
    async fn start(mut command: Command, agent: &Agent, folder: &Path) -> Self {
        let target = agent.address().await;
        // It cannot be told to take any free port and say which.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
             scrape_configs:\n  - job_name: kinetail\n    static_configs: [{{targets: ['{target}'], labels: {{node: n1}}}}]\n",
            own(RULES).display(),
        );
        let path = folder.join("prometheus.yml");
        fs::write(&path, config).expect("its configuration");
        command.arg(format!("--config.file={}", path.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}"));
        let process = Process::start(command);
        process.line(|line| line.contains("ready to receive web requests")).await;
        Self { address, process }
    }

    /// What its API answers, if it has something already.
    async fn ask(&self, path: &str) -> Value {
        let mut socket = TcpStream::connect(&self.address).await.expect("it answers");
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nhost: prometheus\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("the request is sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("text");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        let answer: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"));
        answer["data"].clone()
    }

    async fn value(&self, query: &str) -> Option<f64> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.ask(&format!("query?query={query}")).await;
        answer["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

#[tokio::test]
async fn a_real_prometheus_scrapes_the_agent_and_evaluates_the_rules() {
    let Some(command) = installed("prometheus") else { return };
    let scene = Scene::plain()
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("drain_timeout: 1s")
        .setting("admin: {listen: '127.0.0.1:0'}");
    let denied = ErrorAnswer::new(403, "AccessDeniedException", "not allowed to put records");
    scene.endpoint.inject(Rule::new(Fault::Answer(denied)).stream(AUDIT));
    let mut writers = support::logs::containers(&scene.root(), 3);
    let agent = scene.start().await;
    writers.iter_mut().for_each(|writer| writer.lines(10));
    agent.logged("destination_denied").await;
    let folder = tempfile::tempdir().expect("a folder");
    let prometheus = Prometheus::start(command, &agent, folder.path()).await;

    until(async || prometheus.value("up{job=\"kinetail\"}").await == Some(1.0)).await;
    let value = async |query: &str| prometheus.value(query).await;
    until(async || value("sum(kinetail_lines_total{node=\"n1\"})").await == Some(30.0)).await;
    until(async || value("kinetail_destination_healthy{destination=\"audit\"}").await == Some(-1.0)).await;
    assert!(value("process_resident_memory_bytes").await > Some(1e6));
    assert!(value("kinetail_request_duration_seconds_count{destination=\"audit\"}").await >= Some(1.0));
    // It knows the types, as it would not if names and types did not fit together.
    let metadata = prometheus.ask("metadata?metric=kinetail_lines").await;
    assert_eq!(metadata["kinetail_lines"][0]["type"], "counter", "{metadata}");

    let state = async |alert: &str| {
        let rules = prometheus.ask("rules").await;
        let rules = rules["groups"][0]["rules"].as_array().cloned().unwrap_or_default();
        let rule = rules.iter().find(|rule| rule["name"] == alert).cloned().unwrap_or_default();
        (
            rule["health"].as_str().unwrap_or_default().to_owned(),
            rule["state"].as_str().unwrap_or_default().to_owned(),
        )
    };
    // It would fire after five minutes.
    let pending = ("ok".to_owned(), "pending".to_owned());
    until(async || state("KinetailDestinationDenied").await == pending).await;
    for alert in alerts() {
        until(async || state(&alert).await.0 == "ok").await;
    }
    assert_eq!(state("KinetailDown").await.1, "inactive");
    drop(prometheus.process.terminate().await);
    agent.terminate().await;
}
