//! The stages that are measured. Each is prepared once and then run again and again over the same lines.

pub(crate) mod parsers;

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use kinetail::buffer::{Append, Appender, Body, Budget, Chain as Chains, Open, QueueSettings, Step as Move};
use kinetail::config;
use kinetail::decode::{Decoder, Format, Limits};
use kinetail::deliver::{Answer, Dispatcher, Next, body};
use kinetail::disk::HostDisk;
use kinetail::encode::{Encoder, FileContext};
use kinetail::event::{Fields, Message};
use kinetail::kubernetes::Pod;
use kinetail::process::{Action, Chain, Context, Parse, Parser};
use kinetail::record::{Records, Run};
use kinetail::source::{Incarnation, Position};
use kinetail::tail::Lines;

use crate::log_lines;

const LINES: u64 = 1000;
const LONGEST: usize = 1 << 20;
const PATH: &str = "/var/log/pods/shop_web-6d5f7c9b8d-x2k4q_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app/0.log";
const TIME: &str = "2026-11-21T04:05:06.123456789Z";

/// What all stages are run over: the lines of a log, and the records that are made of them.
pub(crate) struct Input {
    log: Vec<u8>,
    records: Records,
}

impl Input {
    pub(crate) fn new() -> Self {
        let mut rng = fastrand::Rng::with_seed(7);
        let time: Timestamp = TIME.parse().expect("a time");
        let log: Vec<u8> =
            (0..LINES).flat_map(|number| log_lines::line(number, time, &mut rng).into_bytes()).collect();
        let mut records = Records::default();
        let mut encoder = encoder();
        decode(&log, &mut decoder(), |message| {
            records.push_with(|out| {
                encoder.encode(message, TIME, out);
                true
            });
        });
        Self { log, records }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.log.len()
    }

    pub(crate) fn lines(&self) -> u32 {
        LINES as u32
    }

    fn run(&self) -> Run {
        let (ends, data) =
            (Bytes::copy_from_slice(self.records.ends()), Bytes::copy_from_slice(self.records.data()));
        Run::new(1, 0, ends, data, SystemTime::UNIX_EPOCH)
    }
}

/// A stage.
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    /// What runs it once over the input.
    pub(crate) prepare: fn(&Input) -> Box<dyn FnMut() + '_>,
}

/// All of them, in the order in which a line passes them.
pub(crate) fn all() -> Vec<Stage> {
    vec![
        Stage { name: "lines", prepare: lines },
        Stage { name: "cri", prepare: cri },
        Stage { name: "encode", prepare: encode },
        Stage { name: "parse_json", prepare: parse_json },
        Stage { name: "append", prepare: append },
        Stage { name: "read", prepare: read },
        Stage {
            name: "batch_firehose_newline",
            prepare: |input| batch(input, "firehose", "packing: newline"),
        },
        Stage { name: "batch_firehose_none", prepare: |input| batch(input, "firehose", "packing: none") },
        Stage {
            name: "batch_kinesis_newline",
            prepare: |input| batch(input, "kinesis", "aggregation: newline"),
        },
        Stage { name: "batch_kinesis_kpl", prepare: |input| batch(input, "kinesis", "aggregation: kpl") },
        Stage { name: "batch_kinesis_none", prepare: |input| batch(input, "kinesis", "aggregation: none") },
    ]
}

fn decoder() -> Decoder {
    Decoder::new(Format::Cri, Limits::default())
}

fn encoder() -> Encoder {
    let kubernetes = Pod::from_path(Path::new(PATH)).map(|pod| pod.fields());
    let file = FileContext { path: Path::new(PATH), host: "node-1", kubernetes: kubernetes.as_ref() };
    Encoder::new(1, Incarnation(2), file)
}

fn decode(log: &[u8], decoder: &mut Decoder, mut each: impl FnMut(&Message<'_>)) {
    let now = std::time::Instant::now();
    for line in Lines::new(log, 0, false, LONGEST, true) {
        decoder.line(line.offset, line.bytes, line.cut, now, |message| each(&message));
    }
}

fn lines(input: &Input) -> Box<dyn FnMut() + '_> {
    Box::new(|| {
        for line in Lines::new(black_box(&input.log), 0, false, LONGEST, true) {
            black_box(line.bytes);
        }
    })
}

fn cri(input: &Input) -> Box<dyn FnMut() + '_> {
    let mut decoder = decoder();
    Box::new(move || {
        decode(black_box(&input.log), &mut decoder, |message| {
            black_box(message);
        });
    })
}

fn encode(input: &Input) -> Box<dyn FnMut() + '_> {
    let (mut decoder, mut encoder, mut records) = (decoder(), encoder(), Records::default());
    Box::new(move || {
        records.clear();
        decode(black_box(&input.log), &mut decoder, |message| {
            records.push_with(|out| {
                encoder.encode(message, TIME, out);
                true
            });
        });
        black_box(records.data());
    })
}

fn parse_json(input: &Input) -> Box<dyn FnMut() + '_> {
    let chain = Chain::new(vec![Action::Parse(Parse::with(Parser::Json)).into()]);
    let (mut decoder, mut encoder, mut records) = (decoder(), encoder(), Records::default());
    let mut fields = Fields::default();
    Box::new(move || {
        records.clear();
        decode(black_box(&input.log), &mut decoder, |message| {
            let context = Context { message, time_read: TIME, kubernetes: None };
            let made = chain.run(&context, std::mem::take(&mut fields));
            records.push_with(|out| {
                encoder.encode_fields(message, &made.fields, TIME, out);
                true
            });
            fields = made.fields.recycle();
        });
        black_box(records.data());
    })
}

/// A buffer, its folder, and how many frames were appended.
struct Buffer {
    folder: tempfile::TempDir,
    appender: Appender,
    reader: kinetail::buffer::Reader,
    turn: u64,
}

impl Buffer {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = kinetail::buffer::open(Open {
            name: "out".into(),
            data_dir: folder.path(),
            settings: QueueSettings::default(),
            chunk_size: 16 << 20,
            known: None,
            disk: HostDisk::shared(),
            budget: Budget::new(1 << 30),
            wake: Arc::new(|| {}),
            progress: &mut |_, _| {},
        })
        .expect("an empty folder");
        let reader = kinetail::buffer::reader(&opened.queue, Chains::default());
        Self { folder, appender: opened.appender, reader, turn: 0 }
    }

    fn append(&mut self, records: &Records) {
        let (from, to) = (Position::at(self.turn), Position::at(self.turn + 1));
        self.turn += 1;
        let step = Move { turn: self.turn, incarnation: Incarnation(9), from: &from, to: &to, repair: false };
        let appended = self.appender.append(&Body::new(b"source", records), &step, SystemTime::UNIX_EPOCH);
        assert!(matches!(appended, Append::Done), "{appended:?} in {}", self.folder.path().display());
    }

    /// Reads everything, delivers it and removes the chunks.
    fn drain(&mut self) {
        while let Some(run) = self.reader.next_run().expect("the disk is well") {
            black_box(run.data());
            self.appender.queue().ack(run.chunk(), &[run.ordinals()]).expect("the disk is well");
        }
        let released = self.appender.queue().sync_point().release;
        self.appender.queue().release(&released);
    }
}

/// With what it takes to let the chunks go again, every 64 times.
fn append(input: &Input) -> Box<dyn FnMut() + '_> {
    let mut buffer = Buffer::new();
    Box::new(move || {
        buffer.append(black_box(&input.records));
        if buffer.turn.is_multiple_of(64) {
            buffer.drain();
        }
    })
}

/// Appending included: what is read has to be there.
fn read(input: &Input) -> Box<dyn FnMut() + '_> {
    let mut buffer = Buffer::new();
    Box::new(move || {
        buffer.append(black_box(&input.records));
        buffer.drain();
    })
}

fn batch<'a>(input: &'a Input, kind: &str, shape: &str) -> Box<dyn FnMut() + 'a> {
    let text = format!(
        "data_dir: /tmp/d\ndestinations:\n  out: {{type: {kind}, stream: s, region: eu-central-1, {shape}}}\n\
         routes:\n  - {{name: r, files: '/tmp/*.log', to: out}}\n"
    );
    let config = config::parse(&text, "bench", &|_| None).expect("a good configuration").config;
    let mut dispatcher = Dispatcher::of(&config.destinations[0].to, fastrand::Rng::with_seed(7));
    let run = input.run();
    Box::new(move || {
        let now = tokio::time::Instant::now();
        assert!(dispatcher.offer(black_box(run.clone()), Duration::ZERO, now).is_empty());
        // Nothing waits for more to come.
        while let Next::Send(request) = dispatcher.next(now + Duration::from_secs(60)) {
            black_box(body::encode("StreamName", "s", &request.entries));
            black_box(dispatcher.answered(request.id, Answer::taken(), now));
        }
    })
}
