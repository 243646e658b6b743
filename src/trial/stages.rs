//! The stages of one file: its decoder, its route's steps and its encoder, as the agent joins them.

use std::io::{self, Read};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value};

use super::Log;
use crate::config::{Config, RouteConfig};
use crate::decode::Decoder;
use crate::encode::{self, Encoder, FileContext};
use crate::event::{Fields, Message};
use crate::process::{Chain, Condition, Context, Fate, Outcome};
use crate::source::{DestinationName, Incarnation};
use crate::tail::Lines;
use crate::tail::journal::export::{Malformed, Splitter};

/// What is read at once.
const BLOCK: usize = 256 << 10;
/// What a runtime puts in front of a line's text, generously.
const LINE_OVERHEAD: usize = 64 << 10;

/// Turns the lines of one file into records.
pub struct Stages {
    decoder: Decoder,
    longest: usize,
    /// Lines at the beginning that are no messages.
    header: u32,
    /// What is read is the journal's, in export format.
    of_journal: bool,
    work: Work,
}

/// What became of one message.
#[derive(Debug)]
pub struct Made<'m> {
    /// As it was decoded.
    pub message: &'m Message<'m>,
    /// The line that it began in, from 1; 0 where it was not read from lines.
    pub line: usize,
    /// Whether it becomes a record.
    pub fate: Fate,
    /// The record, where it becomes one.
    pub record: &'m [u8],
    /// The destinations that get it: indices into the configuration's list.
    pub to: &'m [usize],
    /// What each step did; nothing of those after the one that ended its way.
    pub steps: &'m [Did],
}

/// What a step did with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Did {
    /// Its place in the list, from 0.
    pub step: usize,
    /// What it is called in the configuration.
    pub name: &'static str,
    /// How it went.
    pub outcome: Outcome,
    /// The fields that are others now; nothing unless it is to be explained.
    pub changes: Vec<Change>,
    /// The record's time, where this step found it out.
    pub time: Option<String>,
}

/// A field that a step has changed, with its values as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// Its value before, if it was there.
    pub before: Option<String>,
    /// Its value now, if it is there.
    pub after: Option<String>,
}

struct Work {
    encoder: Encoder,
    chain: Chain,
    all: Vec<usize>,
    /// Destinations that get only messages of which a condition holds.
    when: Vec<(usize, Condition)>,
    explain: bool,
    time_read: String,
    /// What is known of the pod.
    kubernetes: Option<Map<String, Value>>,
    record: Vec<u8>,
    to: Vec<usize>,
    steps: Vec<Did>,
    /// Where the lines that were read begin.
    starts: Vec<u64>,
}

impl Stages {
    /// For a log and its route; `number` tells it from others in its records' ids, and `read_at` is the time of
    /// lines that do not tell theirs.
    pub fn new(
        config: &Config,
        route: &RouteConfig,
        log: &Log,
        number: u64,
        read_at: SystemTime,
        explain: bool,
    ) -> Self {
        let kubernetes = log.kubernetes();
        let host = config.host.as_deref().unwrap_or("host");
        let file = FileContext { path: log.path(), host, kubernetes: kubernetes.as_ref() };
        let index = |name: &DestinationName| {
            config.destinations.iter().position(|destination| destination.name == *name)
        };
        Self {
            decoder: Decoder::of(&route.decoding),
            longest: route.decoding.limits.max_message.saturating_add(LINE_OVERHEAD),
            header: route.skip_header_lines,
            of_journal: route.journal.is_some(),
            work: Work {
                encoder: Encoder::with(route.layout.clone(), 1, Incarnation(number.into()), file),
                chain: Chain::new(route.process.clone()).of_journal(route.journal_fields()),
                all: route.to.iter().filter_map(index).collect(),
                when: route
                    .when
                    .iter()
                    .filter_map(|(name, when)| Some((index(name)?, when.clone())))
                    .collect(),
                explain,
                time_read: encode::time_read(read_at),
                kubernetes,
                record: Vec::new(),
                to: Vec::new(),
                steps: Vec::new(),
                starts: Vec::new(),
            },
        }
    }

    /// Reads to the end, and hands out every message; how many bytes there were.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(&mut self, mut from: impl Read, mut take: impl FnMut(&Made<'_>)) -> io::Result<u64> {
        if self.of_journal {
            return self.read_entries(from, take);
        }
        let Self { decoder, longest, header, work, of_journal: _ } = self;
        let now = Instant::now();
        let (mut buffer, mut offset, mut mid_line) = (Vec::new(), 0_u64, false);
        loop {
            let before = buffer.len();
            buffer.resize(before + BLOCK, 0);
            let read = loop {
                match from.read(&mut buffer[before..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            buffer.truncate(before + read);
            let last = read == 0;
            let mut lines = Lines::new(&buffer, offset, mid_line, *longest, last);
            for line in lines.by_ref() {
                work.starts.push(line.offset);
                if *header > 0 {
                    *header -= 1;
                    continue;
                }
                decoder.line(line.offset, line.bytes, line.cut, now, |message| {
                    work.message(&message, &mut take)
                });
            }
            let consumed = lines.consumed();
            mid_line = lines.mid_line();
            offset += consumed as u64;
            buffer.drain(..consumed);
            if last {
                decoder.flush(|message| work.message(&message, &mut take));
                return Ok(offset);
            }
        }
    }

    /// The same of entries of the journal. The last of them may lack the empty line behind it.
    fn read_entries(&mut self, mut from: impl Read, mut take: impl FnMut(&Made<'_>)) -> io::Result<u64> {
        let Self { decoder, longest, work, .. } = self;
        let (mut splitter, mut block, mut bytes) = (Splitter::new(*longest), Vec::new(), 0);
        let malformed = |error: Malformed| io::Error::new(io::ErrorKind::InvalidData, error);
        let (now, mut part) = (Instant::now(), vec![0; BLOCK]);
        loop {
            let read = match from.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            bytes += read as u64;
            splitter.feed(if read == 0 { b"\n\n" } else { &part[..read] }, &mut block).map_err(malformed)?;
            let whole = splitter.unfinished().unwrap_or(block.len());
            for entry in Lines::entries(&block[..whole], 0, 0) {
                work.starts.push(entry.offset);
                decoder.line(entry.offset, entry.bytes, entry.cut, now, |message| {
                    work.message(&message, &mut take);
                });
            }
            block.drain(..whole);
            splitter.moved(whole);
            if read == 0 {
                return match splitter.end(&mut block) {
                    false => Ok(bytes),
                    true => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ends within an entry")),
                };
            }
        }
    }

    /// Makes the record of a message that was not read from lines.
    pub fn message(&mut self, message: &Message<'_>, mut take: impl FnMut(&Made<'_>)) {
        self.work.message(message, &mut take);
    }
}

impl Work {
    fn message(&mut self, message: &Message<'_>, take: &mut impl FnMut(&Made<'_>)) {
        let Self { encoder, chain, all, when, explain, time_read, kubernetes, record, to, steps, starts } =
            self;
        record.clear();
        to.clear();
        steps.clear();
        let line = starts.partition_point(|start| *start <= message.start);
        let mut fate = Fate::Send;
        if all.is_empty() {
            fate = Fate::Drop;
        } else if chain.is_empty() && when.is_empty() {
            encoder.encode(message, time_read, record);
            to.extend(all.iter());
        } else {
            let context = Context { message, time_read, kubernetes: kubernetes.as_ref() };
            let mut before =
                if *explain { shown(&chain.begin(message, Fields::default())) } else { Vec::new() };
            let mut time = None;
            let made = chain.run_watched(&context, Fields::default(), |step, name, outcome, made| {
                let mut did = Did { step, name, outcome, changes: Vec::new(), time: None };
                if *explain && outcome != Outcome::Skipped {
                    let after = shown(&made.fields);
                    did.changes = changes(&before, &after);
                    before = after;
                    did.time = made.time.clone().filter(|made| time.as_ref() != Some(made));
                    time.clone_from(&made.time);
                }
                steps.push(did);
            });
            fate = made.fate;
            if fate == Fate::Send {
                let told = Message { time: made.time.as_deref().or(message.time), ..*message };
                encoder.encode_fields(&told, &made.fields, time_read, record);
                let holds = |index: &usize| {
                    when.iter().all(|(other, when)| other != index || when.holds(&made.fields, &context))
                };
                to.extend(all.iter().filter(|index| holds(index)));
            }
        }
        take(&Made { message, line, fate, record, to, steps });
    }
}

/// Fields with their values as JSON, in order.
fn shown(fields: &Fields<'_>) -> Vec<(String, String)> {
    let text = |value| {
        let mut out = Vec::new();
        encode::write_value(value, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    };
    fields.iter().map(|field| (field.name.to_string(), text(&field.value))).collect()
}

/// What is gone or other first, in the order of what was, then what is new.
fn changes(before: &[(String, String)], after: &[(String, String)]) -> Vec<Change> {
    let value = |of: &[(String, String)], name: &str| {
        of.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    let changed = before.iter().filter_map(|(name, was)| {
        let is = value(after, name);
        let change = || Change { name: name.clone(), before: Some(was.clone()), after: is.clone() };
        (is.as_ref() != Some(was)).then(change)
    });
    let added = after.iter().filter(|(name, _)| value(before, name).is_none());
    let added = added.map(|(name, is)| Change { name: name.clone(), before: None, after: Some(is.clone()) });
    changed.chain(added).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::trial::{report, run_tests};

    #[test]
    fn a_file_of_several_routes_is_tried_under_each_of_them_without_its_header() {
        let text = "
destinations: {d: {type: directory, path: out}}
routes:
  - {name: one, files: /x, skip_header_lines: 1, continue: true, process: [{add: {by: one}}], to: d}
  - {name: two, files: /x, process: [{drop: {log: a}}], to: d}
tests:
  - {path: /x, lines: [head, a], expect: [{record: {log: a, by: one}}, {drop: true}]}
";
        let config =
            config::parse(text, "test", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        let mut out = Vec::new();
        report(&config, &Log::at("/x"), None, &b"head\na\n"[..], SystemTime::now(), false, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("# /x: route one") && out.contains("# /x: and route two"), "{out}");
        assert!(
            out.contains("# 1 message: 1 record, 0 dropped")
                && out.contains("# 1 message: 0 records, 1 dropped")
        );
        let failed = run_tests(&config, "test");
        assert!(failed.is_empty(), "{}", failed.iter().map(ToString::to_string).collect::<String>());
    }
}
