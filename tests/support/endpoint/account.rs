//! The account: everything that the endpoint took, and what it was asked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use bytes::Bytes;
use memchr::memchr;

use super::cloudwatch::PutMetrics;
use super::kinesis::shard_id;
use super::marker::Marker;
use super::payload;
use super::protocol::{Entry, ErrorAnswer, Put, Service, Taken};
use super::{firehose, kinesis};

/// What an endpoint keeps of the records that it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Every record's data, and how often each marker came.
    #[default]
    Everything,
    /// Numbers only: for benchmarks, where memory must not grow with the records.
    Counts,
}

/// Everything that an endpoint took and was asked, stream by stream.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub(super) streams: BTreeMap<String, StreamAccount>,
    /// Connections taken on.
    pub connections: u64,
    /// Connections on which no TLS session came about, as with a client that does not trust the authority.
    pub failed_handshakes: u64,
    /// Calls that never reached a stream, by error code: not signed, malformed, above a limit, no such stream. A
    /// client that does everything right leaves it empty.
    pub refused_calls: BTreeMap<String, u64>,
    /// The message of the last of them, for a failing test's output.
    pub last_refusal: Option<String>,
    /// Calls that wait at a gate now.
    pub waiting: usize,
    /// Calls of CloudWatch whose metrics were taken.
    pub metrics: Vec<PutMetrics>,
    /// Calls of CloudWatch that a fault struck.
    pub failed_metrics: u64,
    /// The access key ids that calls were signed with.
    pub access_keys: BTreeSet<String>,
}

impl Account {
    /// The account of one stream, which must have been made.
    pub fn stream(&self, name: &str) -> &StreamAccount {
        self.streams.get(name).unwrap_or_else(|| panic!("no stream {name:?} was made on this endpoint"))
    }

    /// All streams, by name.
    pub fn streams(&self) -> impl Iterator<Item = (&str, &StreamAccount)> {
        self.streams.iter().map(|(name, stream)| (name.as_str(), stream))
    }

    pub(super) fn refused_call(&mut self, refused: &ErrorAnswer) {
        *self.refused_calls.entry(refused.code.clone()).or_default() += 1;
        self.last_refusal = Some(format!("{}: {}", refused.code, refused.message));
    }
}

/// A record that a stream took.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The raw data.
    pub data: Bytes,
    /// Kinesis only.
    /// Its lines, taken out of an aggregate or decompressed.
    pub text: Bytes,
    pub partition_key: Option<String>,
    /// Kinesis only.
    pub shard: Option<usize>,
    /// Rises with every record that the endpoint takes.
    pub sequence: u64,
    /// The number of the call that brought it, counted from 1 over the whole stream.
    pub call: u64,
    /// When it was taken: for measurements, no test may depend on it.
    pub arrived: std::time::SystemTime,
}

/// Everything that one stream took and was asked.
#[derive(Clone, Debug)]
pub struct StreamAccount {
    service: Service,
    keep: Keep,
    records: Vec<Accepted>,
    copies: HashMap<String, BTreeMap<u64, u32>>,
    distinct: usize,
    /// Put calls that reached the stream, whatever became of them.
    pub calls: u64,
    /// Those of them that were for one record (PutRecord).
    pub single_calls: u64,
    /// Records taken.
    pub taken: u64,
    /// Lines in them, in whatever form.
    pub lines: u64,
    /// Bytes of those lines, newlines counted.
    pub line_bytes: u64,
    /// Raw bytes of data taken.
    pub bytes: u64,
    /// What the records taken cost: units of 5 KiB a record (Firehose), PUT payload units of 25 KiB (Kinesis).
    pub billed_units: u64,
    /// Errors of whole calls, by code.
    pub call_errors: BTreeMap<String, u64>,
    /// Errors of single entries, by code.
    pub entry_errors: BTreeMap<String, u64>,
    /// Connections closed by a fault before the records were taken.
    pub dropped_connections: u64,
    /// Calls whose records were taken and whose answer was never sent.
    pub lost_answers: u64,
    /// The most records in one call.
    pub most_records: usize,
    /// The most raw bytes, keys included, in one call.
    pub most_bytes: usize,
}

impl StreamAccount {
    pub(super) fn new(service: Service, keep: Keep) -> Self {
        Self {
            service,
            keep,
            records: Vec::new(),
            copies: HashMap::new(),
            distinct: 0,
            calls: 0,
            single_calls: 0,
            taken: 0,
            lines: 0,
            line_bytes: 0,
            bytes: 0,
            billed_units: 0,
            call_errors: BTreeMap::new(),
            entry_errors: BTreeMap::new(),
            dropped_connections: 0,
            lost_answers: 0,
            most_records: 0,
            most_bytes: 0,
        }
    }

    pub(super) fn called(&mut self, put: &Put, single: bool) -> u64 {
        self.calls += 1;
        self.single_calls += u64::from(single);
        self.most_records = self.most_records.max(put.entries.len());
        self.most_bytes = self.most_bytes.max(put.size());
        self.calls
    }

    pub(super) fn call_failed(&mut self, code: &str) {
        *self.call_errors.entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn entry_refused(&mut self, code: &str) {
        *self.entry_errors.entry(code.to_owned()).or_default() += 1;
    }

    pub(super) fn take(&mut self, call: u64, entry: &Entry, taken: Taken) {
        let unit = match self.service {
            Service::Firehose => firehose::BILLED_UNIT,
            Service::Kinesis => kinesis::BILLED_UNIT,
        };
        self.taken += 1;
        self.bytes += entry.data.len() as u64;
        self.billed_units += entry.size().div_ceil(unit).max(1) as u64;
        let text = payload::text(&entry.data);
        for line in lines_of(&text) {
            self.lines += 1;
            self.line_bytes += line.len() as u64 + 1;
            if self.keep == Keep::Everything {
                self.count(line);
            }
        }
        if self.keep == Keep::Everything {
            self.records.push(Accepted {
                data: entry.data.clone(),
                text,
                partition_key: entry.partition_key.clone(),
                shard: taken.shard,
                sequence: taken.sequence,
                call,
                arrived: std::time::SystemTime::now(),
            });
        }
    }

    fn count(&mut self, line: &[u8]) {
        let Some(marker) = Marker::find(line) else { return };
        let copies = self.copies.entry(marker.writer).or_default().entry(marker.line).or_default();
        self.distinct += usize::from(*copies == 0);
        *copies += 1;
    }

    /// All records taken, in the order of their taking.
    pub fn records(&self) -> &[Accepted] {
        assert_eq!(self.keep, Keep::Everything, "only counts are kept");
        &self.records
    }

    /// The records of one shard, in its order.
    pub fn shard(&self, shard: usize) -> impl Iterator<Item = &Accepted> {
        self.records().iter().filter(move |record| record.shard == Some(shard))
    }

    /// How many records each shard that took any holds, by its id.
    pub fn shards(&self) -> BTreeMap<String, usize> {
        let mut shards = BTreeMap::new();
        for shard in self.records().iter().filter_map(|record| record.shard) {
            *shards.entry(shard_id(shard)).or_default() += 1;
        }
        shards
    }

    /// All lines taken, in the order of their taking: records are split at newlines, an empty end is no line.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.records().iter().flat_map(|record| lines_of(&record.text))
    }

    /// All lines taken, as the JSON objects that they must be.
    pub fn json(&self) -> impl Iterator<Item = serde_json::Value> {
        self.lines().map(|line| {
            let value: serde_json::Value = serde_json::from_slice(line)
                .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(line)));
            assert!(value.is_object(), "not an object: {value}");
            value
        })
    }

    /// How often a line came.
    pub fn copies(&self, marker: &Marker) -> u32 {
        self.copies.get(&marker.writer).and_then(|lines| lines.get(&marker.line)).copied().unwrap_or(0)
    }

    /// How many different markers came: what a test waits for.
    pub fn distinct(&self) -> usize {
        self.distinct
    }

    /// The numbers of a writer's lines in the order of their taking, copies included.
    pub fn numbers_of(&self, writer: &str) -> Vec<u64> {
        self.lines()
            .filter_map(Marker::find)
            .filter(|marker| marker.writer == writer)
            .map(|marker| marker.line)
            .collect()
    }

    /// Holds what came against what was written.
    pub fn tally(&self, expected: impl IntoIterator<Item = Marker>) -> Tally {
        let mut tally = Tally::default();
        let mut expected_lines: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for marker in expected {
            match self.copies(&marker) {
                0 => tally.missing.push(marker.clone()),
                1 => tally.once += 1,
                copies => tally.doubled.push((marker.clone(), copies)),
            }
            expected_lines.entry(marker.writer).or_default().insert(marker.line);
        }
        for (writer, lines) in &self.copies {
            let known = expected_lines.get(writer);
            tally.unexpected.extend(
                lines
                    .keys()
                    .filter(|line| known.is_none_or(|known| !known.contains(line)))
                    .map(|line| Marker::new(writer.clone(), *line)),
            );
        }
        tally.unexpected.sort();
        tally
    }

    /// Panics, and tells which lines, unless each of these came exactly once and no other did.
    pub fn assert_exactly_once(&self, expected: impl IntoIterator<Item = Marker>) {
        let tally = self.tally(expected);
        assert!(tally.exactly_once(), "{tally}");
    }

    /// Panics, and tells which lines, unless each of these came, once or more, and no other did.
    pub fn assert_at_least_once(&self, expected: impl IntoIterator<Item = Marker>) {
        let tally = self.tally(expected);
        assert!(tally.at_least_once(), "{tally}");
    }
}

/// What came, held against what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many lines came once.
    pub once: usize,
    /// Lines that never came.
    pub missing: Vec<Marker>,
    /// Lines that came more than once, and how often.
    pub doubled: Vec<(Marker, u32)>,
    /// Lines that nobody wrote.
    pub unexpected: Vec<Marker>,
}

impl Tally {
    /// Every line came once and no other.
    pub fn exactly_once(&self) -> bool {
        self.at_least_once() && self.doubled.is_empty()
    }

    /// Every line came and no other.
    pub fn at_least_once(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn some<T: fmt::Display>(items: impl ExactSizeIterator<Item = T>) -> String {
            let count = items.len();
            let first: Vec<String> = items.take(5).map(|item| item.to_string()).collect();
            format!("{count} ({})", first.join(", "))
        }
        write!(
            f,
            "once {}, missing {}, doubled {}, unexpected {}",
            self.once,
            some(self.missing.iter()),
            some(self.doubled.iter().map(|(marker, copies)| format!("{marker} ×{copies}"))),
            some(self.unexpected.iter()),
        )
    }
}

/// The lines of a record's data: split at newlines, an empty end is no line.
fn lines_of(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

impl fmt::Display for Account {
    /// The numbers, for a failing test's output.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} connections, {} failed handshakes, {} calls waiting, refused {:?} (last: {})",
            self.connections,
            self.failed_handshakes,
            self.waiting,
            self.refused_calls,
            self.last_refusal.as_deref().unwrap_or("none"),
        )?;
        for (name, stream) in &self.streams {
            write!(
                f,
                "\n{name}: {} calls, {} records, {} lines, {} different, call errors {:?}, entry errors {:?}, \
                 {} dropped, {} answers lost",
                stream.calls,
                stream.taken,
                stream.lines,
                stream.distinct,
                stream.call_errors,
                stream.entry_errors,
                stream.dropped_connections,
                stream.lost_answers,
            )?;
        }
        Ok(())
    }
}
