//! What the whole-process benchmark runs and how it measures.

mod logs;
mod process;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::endpoint::{Account, Endpoint, Keep, Stream};
use crate::support::kubernetes::{Api, PodObject, namespace};
use process::{Agent, Most};

/// One row of the table.
pub(crate) struct Workload {
    pub(crate) name: String,
    lines: u64,
    files: u64,
    destination: Destination,
    parse: bool,
    kind: Kind,
    /// How many destinations get all lines, or, on a node, one of five namespaces' each, the last one the rest.
    destinations: usize,
    /// As the DaemonSet runs: with what the API server tells of pods in each record, and its port for probes.
    node: bool,
    /// How many routes are looked through until one takes the files.
    routes: usize,
    /// Bytes of each line, in place of the mixture.
    line: Option<usize>,
}

#[derive(Clone, Copy)]
enum Destination {
    FirehosePacked,
    FirehoseLines,
    KinesisLines,
    KinesisPacked,
}

#[derive(Clone, Copy)]
enum Kind {
    /// All lines are there when the agent starts.
    Bulk,
    /// The lines are written while it runs, so many a second.
    Live { lines_per_second: u64 },
    /// All lines are in the buffer when the endpoint begins to answer.
    Drain,
    /// Nothing is written; the time that is watched.
    Idle(Duration),
}

/// What was measured.
pub(crate) struct Measured {
    log_bytes: u64,
    cpu: Duration,
    most: Most,
    seconds: f64,
    requests: u64,
    payload: u64,
    billed: u64,
    lines: u64,
    written: u64,
    latencies: Vec<f64>,
}

impl Workload {
    /// All of them; `scale` times the lines.
    pub(crate) fn all(scale: f64) -> Vec<Self> {
        let lines = |count: f64| (count * scale) as u64;
        let bulk = |name: &str, destination, parse| Self {
            name: name.to_owned(),
            lines: lines(1e6),
            files: 20,
            destination,
            parse,
            kind: Kind::Bulk,
            destinations: 1,
            node: false,
            routes: 1,
            line: None,
        };
        let idle = |files| Self {
            lines: 0,
            files,
            kind: Kind::Idle(Duration::from_secs_f64(60.0 * scale)),
            ..bulk(&format!("idle {files} files"), Destination::FirehosePacked, false)
        };
        let drain = |name: &str, count| Self {
            lines: lines(count),
            kind: Kind::Drain,
            ..bulk(name, Destination::FirehosePacked, false)
        };
        let scale = |name: String, count| Self {
            lines: lines(count),
            ..bulk(&format!("scale {name}"), Destination::FirehosePacked, false)
        };
        let mut all = vec![
            bulk("bulk firehose newline", Destination::FirehosePacked, false),
            bulk("bulk firehose newline json", Destination::FirehosePacked, true),
            bulk("bulk firehose none", Destination::FirehoseLines, false),
            bulk("bulk kinesis newline", Destination::KinesisPacked, false),
            bulk("bulk kinesis none", Destination::KinesisLines, false),
            Self {
                lines: lines(60_000.0),
                kind: Kind::Live { lines_per_second: 3000 },
                ..bulk("live kinesis none", Destination::KinesisLines, false)
            },
            drain("drain firehose newline", 1e6),
            idle(500),
            idle(5000),
        ];
        let minute = |lines_per_second| Self {
            lines: lines(60.0 * lines_per_second as f64),
            kind: Kind::Live { lines_per_second },
            ..bulk(&format!("rate {lines_per_second} lines/s"), Destination::FirehosePacked, false)
        };
        // As many pods as kubelet takes unless told otherwise.
        let node = |of: Self| Self {
            name: format!("node {}", of.name),
            files: 110,
            node: true,
            destinations: 3,
            ..of
        };
        let rates = [100, 1000, 3000, 10_000, 30_000];
        all.extend(rates.map(minute));
        all.push(node(idle(110)));
        all.extend(rates.map(minute).map(node));
        for files in [10, 100, 1000, 5000] {
            all.push(Self { files, ..scale(format!("{files} files"), 5e5) });
        }
        for destinations in [1, 5, 20] {
            all.push(Self { destinations, ..scale(format!("{destinations} destinations"), 1e5) });
        }
        for routes in [1, 20, 200] {
            all.push(Self { routes, ..scale(format!("{routes} routes"), 5e5) });
        }
        for line in [50, 500, 5_000, 50_000, 1_000_000] {
            all.push(Self { line: Some(line), ..scale(format!("{line} bytes a line"), 1e8 / line as f64) });
        }
        // A record of these lines takes 740 bytes of buffer.
        for gib in [0.1, 1.0, 10.0] {
            all.push(drain(&format!("scale backlog {gib} GiB"), gib * 1.45e6));
        }
        all
    }
}

/// Runs one workload.
pub(crate) fn measure(workload: &Workload) -> Measured {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(run(workload))
}

async fn run(workload: &Workload) -> Measured {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kinesis = matches!(workload.destination, Destination::KinesisLines | Destination::KinesisPacked);
    let live = matches!(workload.kind, Kind::Live { .. });
    let keep = if live { Keep::Everything } else { Keep::Counts };
    let mut settings = Endpoint::tls().keep(keep);
    for name in workload.streams() {
        settings =
            settings.stream(if kinesis { Stream::kinesis(&name).shards(4) } else { Stream::firehose(&name) });
    }
    let endpoint = settings.start().await;
    let mut logs = logs::Logs::new(folder.path(), workload.files, workload.line);
    if matches!(workload.kind, Kind::Bulk | Kind::Drain) {
        logs.write(workload.lines);
    }
    let lines = logs.lines().max(if live { workload.lines } else { 0 });
    endpoint.outage(matches!(workload.kind, Kind::Drain));
    let mut started = Instant::now();
    let mut before = Duration::ZERO;
    let api = Api::tls().await;
    let mut text = configuration(workload, folder.path(), &endpoint);
    if workload.node {
        for container in logs::containers(workload.files) {
            api.put("namespaces", namespace(&container.namespace, ("tier", "gold")));
            api.pod(&PodObject::of(&container));
        }
        text.push_str("admin: {listen: '127.0.0.1:0'}\n");
        text.push_str(&api.config(&folder.path().join("token"), ""));
    }
    let agent = Agent::start(folder.path(), &text);
    match workload.kind {
        Kind::Bulk => {}
        Kind::Live { lines_per_second } => logs.write_paced(workload.lines, lines_per_second).await,
        Kind::Drain => {
            // Reading is over when the buffer has not grown for a while.
            let (mut size, mut grown) = (0, buffered(folder.path()));
            while grown == 0 || size < grown {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (size, grown) = (grown, buffered(folder.path()));
            }
            (before, started) = (agent.cpu(), Instant::now());
            endpoint.outage(false);
        }
        Kind::Idle(time) => {
            // The start is not what idling costs.
            tokio::time::sleep(Duration::from_secs(5)).await;
            (before, started) = (agent.cpu(), Instant::now());
            tokio::time::sleep(time).await;
        }
    }
    let copies = if workload.node { 1 } else { workload.destinations as u64 };
    let arrived = |account: &Account| account.streams().map(|(_, stream)| stream.lines).sum::<u64>();
    endpoint.wait_until(|account| arrived(account) >= lines * copies).await;
    let seconds = started.elapsed().as_secs_f64();
    let (cpu, written) = (agent.cpu() - before, agent.written());
    let most = agent.stop();
    let account = endpoint.account();
    let mut measured = Measured {
        log_bytes: logs.bytes() * copies,
        cpu,
        most,
        seconds,
        requests: 0,
        payload: 0,
        billed: 0,
        lines: 0,
        written,
        latencies: Vec::new(),
    };
    for (_, taken) in account.streams() {
        measured.requests += taken.calls;
        measured.payload += taken.bytes;
        measured.billed += taken.billed_units * if kinesis { 25 << 10 } else { 5 << 10 };
        measured.lines += taken.lines;
        if live {
            measured.latencies.extend(logs::Logs::latencies(taken.records()));
        }
    }
    measured.latencies.sort_by(f64::total_cmp);
    assert_eq!(measured.lines, lines * copies, "every line once");
    let outage = matches!(workload.kind, Kind::Drain);
    assert!(outage || account.refused_calls.is_empty(), "{:?}", account.last_refusal);
    measured
}

/// The bytes in the buffer.
fn buffered(folder: &Path) -> u64 {
    let chunks = fs::read_dir(folder.join("data/buffer/s0")).into_iter().flatten().flatten();
    chunks.filter_map(|chunk| chunk.metadata().ok()).map(|metadata| metadata.len()).sum()
}

impl Workload {
    fn streams(&self) -> impl Iterator<Item = String> {
        (0..self.destinations).map(|number| format!("s{number}"))
    }
}

fn configuration(workload: &Workload, folder: &Path, endpoint: &Endpoint) -> String {
    let (kind, shape) = match workload.destination {
        Destination::FirehosePacked => ("firehose", "packing: newline"),
        Destination::FirehoseLines => ("firehose", "packing: none"),
        Destination::KinesisPacked => ("kinesis", "aggregation: newline"),
        Destination::KinesisLines => ("kinesis", "aggregation: none"),
    };
    let process = if workload.parse { ", process: [{parse: json}]" } else { "" };
    let (url, ca, folder) = (endpoint.url(), endpoint.ca_bundle().display(), folder.display());
    let drain = matches!(workload.kind, Kind::Drain);
    let size = if drain { "\nbuffer: {max_size: 20GiB}" } else { "" };
    let more = if drain { ", retry: {max_backoff: 1s}, buffer: {max_size: 20GiB}" } else { "" };
    let mut text = format!(
        "data_dir: {folder}/data
tail: {{allowed_roots: [{folder}]}}{size}
destinations:
"
    );
    for name in workload.streams() {
        let _ = writeln!(
            text,
            "  {name}: {{type: {kind}, stream: {name}, region: eu-central-1, endpoint: '{url}', ca_bundle: '{ca}', \
             {shape}{more}}}"
        );
    }
    let mut to: Vec<String> = workload.streams().collect();
    text.push_str("routes:\n");
    if workload.node {
        let last = to.split_off(workload.destinations - 1);
        for (number, name) in to.iter().enumerate() {
            let _ = writeln!(
                text,
                "  - {{name: pods-{number}, files: '{folder}/pods/shop-{number}_*/*/*.log', format: cri, start_at: beginning, to: {name}}}"
            );
        }
        to = last;
    }
    for number in 1..workload.routes {
        let _ = writeln!(
            text,
            "  - {{name: other-{number}, files: '{folder}/pods/team-{number}_*/*/*.log', to: s0}}"
        );
    }
    let _ = writeln!(
        text,
        "  - {{name: pods, files: '{folder}/pods/*/*/*.log', format: cri, start_at: beginning, to: [{}]{process}}}",
        to.join(", ")
    );
    text
}

/// The table's first lines.
pub(crate) fn print_header() {
    println!(
        "| workload | MB of log per CPU s | MB/s | µs of CPU per line | CPU % | anonymous / resident MB | requests | payload MB | billed/payload | p50 / p99 / max ms | written MB | most on disk MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
}

/// One line of the table.
pub(crate) fn print_row(workload: &Workload, measured: &Measured) {
    let megabytes = measured.log_bytes as f64 / 1e6;
    let cpu = measured.cpu.as_secs_f64();
    // Where there is nothing to divide by there is a dash.
    let per = |value: f64, by: f64, decimals: usize| {
        if by > 0.0 { format!("{:.decimals$}", value / by) } else { "–".into() }
    };
    let latency = |share: f64| {
        let at = ((measured.latencies.len() as f64 * share) as usize)
            .min(measured.latencies.len().saturating_sub(1));
        measured.latencies.get(at).map_or("–".into(), |seconds| format!("{:.0}", seconds * 1e3))
    };
    println!(
        "| {} | {} | {} | {} | {} | {:.1} / {:.1} | {} | {:.1} | {} | {} / {} / {} | {:.1} | {:.1} |",
        workload.name,
        per(megabytes, cpu, 1),
        per(megabytes, measured.seconds, 1),
        per(cpu * 1e6, measured.lines as f64, 2),
        per(100.0 * cpu, measured.seconds, 2),
        measured.most.anonymous as f64 / 1e6,
        measured.most.resident as f64 / 1e6,
        measured.requests,
        measured.payload as f64 / 1e6,
        per(measured.billed as f64, measured.payload as f64, 2),
        latency(0.5),
        latency(0.99),
        latency(1.0),
        measured.written as f64 / 1e6,
        measured.most.disk as f64 / 1e6,
    );
}
