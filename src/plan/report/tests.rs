use std::sync::LazyLock;

use super::super::{Rate, plan, synthetic};
use super::*;
use crate::config;
use crate::generate::Mix;

fn config(text: &str) -> Config {
    config::parse(text, "test", &|_| None).unwrap().config
}

const BOTH: &str = "
destinations:
  archive: {type: firehose, stream: a, packing: newline}
  audit: {type: kinesis, stream: b, aggregation: none}
  spare: {type: directory, path: x}
routes: [{files: /var/log/pods/*/*/*.log, format: cri, to: [archive, audit, spare]}]
";

fn rate(lines: f64) -> Rate {
    Rate { lines, sizes: "300".parse().unwrap(), mix: Mix::default() }
}

type Planned = (Config, Recorded, Vec<(String, Vec<Way>)>);

/// 3,000 lines a second, planned once for all tests.
static BUSY: LazyLock<Planned> = LazyLock::new(|| {
    let config = config(BOTH);
    let recorded = synthetic(&config, &rate(3000.0));
    let plan = plan(&config, &recorded);
    (config, recorded, plan)
});

#[track_caller]
fn way<'a>(plan: &'a [(String, Vec<Way>)], destination: &str, name: &str) -> &'a Way {
    let (_, ways) = plan.iter().find(|(of, _)| of == destination).expect("a plan");
    ways.iter().find(|way| way.name == name).expect("a way")
}

#[test]
fn packing_is_told_by_what_it_saves() {
    let (_, recorded, plan) = &*BUSY;
    assert_eq!(recorded.len(), 30_000);
    assert_eq!(plan.len(), 2, "local files cost nothing");
    let (packed, single) = (way(plan, "archive", "packing: newline"), way(plan, "archive", "packing: none"));
    assert!(packed.configured && !single.configured);
    assert_eq!((packed.load.lines, single.load.lines), (30_000, 30_000));
    assert_eq!(single.load.records, 30_000);
    // Each line is a record of 5 KB.
    assert_eq!(single.load.billed, 30_000);
    assert!(packed.load.billed * 6 < single.load.billed, "{packed:?}");
    let billed = packed.load.billed as f64 * 5120.0 / packed.load.payload as f64;
    assert!((1.0..1.1).contains(&billed), "{billed}");
    // A second's lines fill more than one request of 1 MiB, so none waits its full time.
    assert!(packed.load.requests >= packed.load.payload.div_ceil(1 << 20), "{packed:?}");

    let gzip = way(plan, "archive", "packing: newline, compression: gzip");
    assert!(!gzip.configured && gzip.load.records <= packed.load.records, "{gzip:?}");
    assert!(gzip.load.billed * 3 < packed.load.billed, "{gzip:?}");

    let (joined, single) =
        (way(plan, "audit", "aggregation: newline"), way(plan, "audit", "aggregation: none"));
    assert_eq!(single.load.shards(1, 0.25).count, 4, "3,000 records a second, and a quarter");
    assert_eq!(joined.load.shards(1, 0.25).count, 3, "2.2 MB a second, and a quarter");
    assert!(joined.load.billed * 30 < single.load.billed && joined.load.records * 30 < single.load.records);
    let kpl = way(plan, "audit", "aggregation: kpl");
    assert!(kpl.load.billed * 30 < single.load.billed && kpl.load.payload == single.load.payload, "{kpl:?}");
    assert_eq!(single.load.billed_on_demand, single.load.records * 1024);
}

#[test]
fn few_lines_wait_for_their_requests_as_long_as_they_may() {
    let config = config(BOTH);
    let recorded = synthetic(&config, &rate(2.0));
    let plan = plan(&config, &recorded);
    let packed = way(&plan, "archive", "packing: newline");
    // Two lines a second, and a line waits for a second: three at most in a request.
    let requests = packed.load.requests;
    assert!((80..=120).contains(&requests), "{requests} requests of 240 lines");
    assert_eq!(packed.load.records, requests);
}

#[test]
fn the_report_is_a_table_of_a_day() {
    let (config, recorded, plan) = &*BUSY;
    let text = report(config, recorded, plan, Scale { nodes: 10, headroom: 0.25 });
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("30,000 lines, 9.0 MB, in 10 s; a day of 10 nodes: 2,592,000,000 lines"),
        "{first}"
    );
    let none = text.lines().find(|line| line.contains("aggregation: none *")).expect("a row");
    let cells: Vec<&str> = none.split_whitespace().collect();
    assert_eq!(cells[3], "2,592,000,000", "records: {none}");
    assert_eq!(cells.last(), Some(&"38"), "shards: {none}");
    assert!(
        text.contains("  38 shards: the busiest minute has") && text.contains(" records/s, and 25 % on top"),
        "{text}"
    );
    assert!(text.contains("archive (firehose a), a day:") && !text.contains("spare"), "{text}");
}

#[test]
fn numbers_are_written_for_people() {
    assert_eq!(
        [number(0.0), number(999.0), number(1000.0), number(1_234_567.0)],
        ["0", "999", "1,000", "1,234,567"]
    );
    assert_eq!(
        [bytes(999.0), bytes(1500.0), bytes(2.5e9), bytes(123.4e12)],
        ["999 B", "1.5 KB", "2.5 GB", "123 TB"]
    );
    assert_eq!(time(Duration::from_secs(3 * 3600 + 700)), "3 h 11 min");
}
