//! What the whole-process benchmark runs and how it measures.

mod logs;
mod process;

use std::time::{Duration, Instant};

use crate::endpoint::{Endpoint, Keep, Stream};
use process::{Agent, Memory};

/// One row of the table.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    lines: u64,
    files: u64,
    destination: Destination,
    parse: bool,
    kind: Kind,
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
    /// Nothing is written; the time that is watched.
    Idle(Duration),
}

/// What was measured.
pub(crate) struct Measured {
    log_bytes: u64,
    cpu: Duration,
    memory: Memory,
    seconds: f64,
    requests: u64,
    payload: u64,
    billed: u64,
    lines: u64,
    latencies: Vec<f64>,
}

impl Workload {
    /// All of them; `scale` times the lines.
    pub(crate) fn all(scale: f64) -> Vec<Self> {
        let lines = |count: f64| (count * scale) as u64;
        let bulk = |name, destination, parse| Self {
            name,
            lines: lines(1e6),
            files: 20,
            destination,
            parse,
            kind: Kind::Bulk,
        };
        vec![
            bulk("bulk firehose newline", Destination::FirehosePacked, false),
            bulk("bulk firehose newline json", Destination::FirehosePacked, true),
            bulk("bulk firehose none", Destination::FirehoseLines, false),
            bulk("bulk kinesis newline", Destination::KinesisPacked, false),
            bulk("bulk kinesis none", Destination::KinesisLines, false),
            Self {
                name: "live kinesis none",
                lines: lines(60_000.0),
                files: 20,
                destination: Destination::KinesisLines,
                parse: false,
                kind: Kind::Live { lines_per_second: 3000 },
            },
            Self {
                name: "idle 500 files",
                lines: 0,
                files: 500,
                destination: Destination::FirehosePacked,
                parse: false,
                kind: Kind::Idle(Duration::from_secs_f64(60.0 * scale)),
            },
            Self {
                name: "idle 5000 files",
                lines: 0,
                files: 5000,
                destination: Destination::FirehosePacked,
                parse: false,
                kind: Kind::Idle(Duration::from_secs_f64(60.0 * scale)),
            },
        ]
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
    let stream = if kinesis { Stream::kinesis("s").shards(4) } else { Stream::firehose("s") };
    let live = matches!(workload.kind, Kind::Live { .. });
    let keep = if live { Keep::Everything } else { Keep::Counts };
    let endpoint = Endpoint::tls().stream(stream).keep(keep).start().await;
    let mut logs = logs::Logs::new(folder.path(), workload.files);
    if matches!(workload.kind, Kind::Bulk) {
        logs.write(workload.lines);
    }
    let mut started = Instant::now();
    let mut before = Duration::ZERO;
    let agent = Agent::start(folder.path(), &configuration(workload, folder.path(), &endpoint));
    match workload.kind {
        Kind::Bulk => {}
        Kind::Live { lines_per_second } => logs.write_paced(workload.lines, lines_per_second).await,
        Kind::Idle(time) => {
            // The start is not what idling costs.
            tokio::time::sleep(Duration::from_secs(5)).await;
            (before, started) = (agent.cpu(), Instant::now());
            tokio::time::sleep(time).await;
        }
    }
    endpoint.wait_until(|account| account.stream("s").lines >= workload.lines).await;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = agent.cpu() - before;
    let memory = agent.stop();
    let account = endpoint.account();
    let taken = account.stream("s");
    assert_eq!(taken.lines, workload.lines, "every line once");
    assert!(account.refused_calls.is_empty(), "{:?}", account.last_refusal);
    Measured {
        log_bytes: logs.bytes(),
        cpu,
        memory,
        seconds,
        requests: taken.calls,
        payload: taken.bytes,
        billed: taken.billed_units * if kinesis { 25 << 10 } else { 5 << 10 },
        lines: taken.lines,
        latencies: if live { logs::Logs::latencies(taken.records()) } else { Vec::new() },
    }
}

fn configuration(workload: &Workload, folder: &std::path::Path, endpoint: &Endpoint) -> String {
    let (kind, shape) = match workload.destination {
        Destination::FirehosePacked => ("firehose", "packing: newline"),
        Destination::FirehoseLines => ("firehose", "packing: none"),
        Destination::KinesisPacked => ("kinesis", "aggregation: newline"),
        Destination::KinesisLines => ("kinesis", "aggregation: none"),
    };
    let process = if workload.parse { "\n    process: [{parse: json}]" } else { "" };
    format!(
        "data_dir: {folder}/data
tail: {{allowed_roots: [{folder}]}}
destinations:
  out: {{type: {kind}, stream: s, region: eu-central-1, endpoint: '{url}', ca_bundle: '{ca}', {shape}}}
routes:
  - name: pods
    files: '{folder}/pods/*/*/*.log'
    format: cri
    start_at: beginning{process}
    to: out
",
        folder = folder.display(),
        url = endpoint.url(),
        ca = endpoint.ca_bundle().display(),
    )
}

/// The table's first lines.
pub(crate) fn print_header() {
    println!(
        "| workload | MB of log per CPU s | MB/s | µs of CPU per line | CPU % | anonymous / resident MB | requests | payload MB | billed/payload | p50 / p99 / max ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
}

/// One line of the table.
pub(crate) fn print_row(workload: &Workload, measured: &Measured) {
    let megabytes = measured.log_bytes as f64 / 1e6;
    let cpu = measured.cpu.as_secs_f64();
    let per = |value: f64, by: f64| if by > 0.0 { value / by } else { f64::NAN };
    let latency = |share: f64| {
        let at = ((measured.latencies.len() as f64 * share) as usize)
            .min(measured.latencies.len().saturating_sub(1));
        measured.latencies.get(at).map_or("–".into(), |seconds| format!("{:.0}", seconds * 1e3))
    };
    println!(
        "| {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.1} / {:.1} | {} | {:.1} | {:.2} | {} / {} / {} |",
        workload.name,
        per(megabytes, cpu),
        per(megabytes, measured.seconds),
        per(cpu * 1e6, measured.lines as f64),
        100.0 * per(cpu, measured.seconds),
        measured.memory.anonymous as f64 / 1e6,
        measured.memory.resident as f64 / 1e6,
        measured.requests,
        measured.payload as f64 / 1e6,
        per(measured.billed as f64, measured.payload as f64),
        latency(0.5),
        latency(0.99),
        latency(1.0),
    );
}
