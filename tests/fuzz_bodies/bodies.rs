//! What is done with hostile bytes: one function for each reader, used by `cargo test` and by the targets of
//! `fuzz/`. Each panics over what must never be.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime};

use kinetail::buffer::frame::{self, CHUNK_HEADER, ChunkHeader, FRAME_HEADER, Footer, FrameHeader};
use kinetail::buffer::{
    Append, Body, Budget, Chain as Positions, Open, QueueSettings, Step as Move, open, reader,
};
use kinetail::config;
use kinetail::decode::{Decoder, Decoding, Format, Limits, LinePatterns, Multiline, Preset};
use kinetail::disk::HostDisk;
use kinetail::encode::{Encoder, FileContext};
use kinetail::event::{Fields, Message};
use kinetail::kubernetes::Pod;
use kinetail::process::{Action, Chain, Context, JournalFields, Parse, Parser, Step};
use kinetail::record::Records;
use kinetail::source::{Incarnation, Mark, Position, Stream};
use kinetail::tail::journal::Id128;
use kinetail::tail::journal::export::Splitter;
use kinetail::tail::{Lines, Pattern, checkpoint};
use regex::bytes::Regex;
use serde_json::json;

const MAX_LINE: usize = 4 << 10;
const LIMITS: Limits = Limits { max_message: 2 * MAX_LINE };

/// A reader of bytes that somebody else chose.
pub(crate) struct Target {
    /// The name of its corpus and of its fuzz target.
    pub(crate) name: &'static str,
    /// What is done with the bytes.
    pub(crate) body: fn(&[u8]),
    /// The most bytes that it may hold at once: this much, and so much for each byte of input.
    pub(crate) held: (u64, u64),
    /// The most allocations that it may make: this many, and so many for each byte of input. It stands for its
    /// work.
    pub(crate) allocations: (u64, u64),
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "cri", body: cri, held: (128 << 10, 128), allocations: (200, 32) },
    Target { name: "docker", body: docker, held: (128 << 10, 128), allocations: (200, 32) },
    Target { name: "multiline", body: multiline, held: (32 << 20, 512), allocations: (100_000, 64) },
    Target { name: "parse_json", body: parse_json, held: (128 << 10, 512), allocations: (2_000, 64) },
    Target { name: "journal", body: journal, held: (64 << 10, 512), allocations: (2_000, 64) },
    Target { name: "frame", body: frame_bytes, held: (64 << 10, 16), allocations: (200, 4) },
    Target { name: "chunk", body: chunk, held: (2 << 20, 64), allocations: (20_000, 64) },
    Target { name: "checkpoint", body: checkpoint_bytes, held: (64 << 10, 256), allocations: (500, 32) },
    Target {
        name: "configuration",
        body: configuration,
        held: (16 << 20, 8 << 10),
        allocations: (200_000, 500),
    },
    Target { name: "path", body: path, held: (32 << 20, 64 << 10), allocations: (200_000, 2_000) },
];

/// A file in the form that kubelet's runtimes write.
pub(crate) fn cri(bytes: &[u8]) {
    decode(Format::Cri, bytes);
}

/// A file in the form of Docker's json-file driver.
pub(crate) fn docker(bytes: &[u8]) {
    decode(Format::Docker, bytes);
}

/// A file of a container with all stack traces joined, and one with patterns of lines.
pub(crate) fn multiline(bytes: &[u8]) {
    static RULES: LazyLock<[Arc<Multiline>; 2]> = LazyLock::new(|| {
        let pattern = |text| Some(Regex::new(text).expect("a pattern"));
        let patterns =
            LinePatterns { start: pattern("^[A-Z0-9]"), continuation: pattern(r"^\s"), end: pattern(";$") };
        [Multiline::traces(&Preset::ALL), Multiline::by_patterns(patterns)].map(|mut multiline| {
            (multiline.max_size, multiline.max_lines) = (MAX_LINE, 20);
            Arc::new(multiline)
        })
    });
    for rules in &*RULES {
        for format in [Format::Plain, Format::Cri] {
            let decoding = Decoding { format, limits: LIMITS, multiline: Some(Arc::clone(rules)) };
            decode_as(&decoding, bytes);
        }
    }
}

fn decode(format: Format, bytes: &[u8]) {
    decode_as(&Decoding { format, limits: LIMITS, multiline: None }, bytes);
}

/// The whole way of a file's lines, and again from a place in the middle.
fn decode_as(decoding: &Decoding, bytes: &[u8]) {
    let whole = records(decoding, bytes, None);
    let texts: usize = whole.iter().map(|(_, text)| text.len()).sum();
    assert!(texts <= bytes.len(), "more text came out than went in");
    let lines = memchr::memchr_iter(b'\n', bytes).count() + 1;
    assert!(whole.len() <= lines + Stream::ALL.len(), "more messages than lines");
    // What a restart in the middle gives, groups that were open there included.
    if let Some(newline) = memchr::memchr(b'\n', bytes.get(bytes.len() / 2..).unwrap_or_default()) {
        let middle = bytes.len() / 2 + newline + 1;
        let again = records(decoding, bytes, Some(middle));
        assert_eq!(whole, again, "a restart at {middle} makes other messages");
    }
}

/// The messages of a file by their record ids. With `restart`, a decoder reads up to there and another goes on.
fn records(decoding: &Decoding, bytes: &[u8], restart: Option<usize>) -> Vec<(u128, Vec<u8>)> {
    let now = Instant::now();
    let limits = decoding.limits;
    let mut encoder = encoder();
    let mut out = Vec::new();
    let mut emit = |message: Message<'_>| {
        assert!(message.body.len() <= limits.max_message);
        let mut record = Vec::new();
        encoder.encode(&message, "1970-01-01T00:00:00Z", &mut record);
        check_record(&record);
        // An escaped byte takes six, one that is not UTF-8 three.
        assert!(record.len() <= 6 * message.body.len() + 6 * message.time.map_or(0, str::len) + 400);
        out.push((encoder.id(&message).0, message.body.to_vec()));
    };
    let mut decoder = Decoder::of(decoding);
    let read =
        |decoder: &mut Decoder, from: usize, to: usize, last: bool, emit: &mut dyn FnMut(Message<'_>)| {
            for line in Lines::new(&bytes[from..to], from as u64, false, MAX_LINE, last) {
                decoder.line(line.offset, line.bytes, line.cut, now, &mut *emit);
            }
        };
    let mut from = 0;
    if let Some(restart) = restart {
        read(&mut decoder, 0, restart, false, &mut emit);
        let position = Position { offset: restart as u64, mid_line: false, open: decoder.open() };
        decoder = Decoder::resume(decoding, &position);
        from = position.reread_from() as usize;
    }
    read(&mut decoder, from, bytes.len(), true, &mut emit);
    decoder.flush(&mut emit);
    assert!(decoder.open().is_empty());
    out
}

fn encoder() -> Encoder {
    let file = FileContext { path: Path::new("/var/log/a.log"), host: "h", kubernetes: None };
    Encoder::new(1, Incarnation(2), file)
}

#[derive(serde::Deserialize)]
struct Own<'a> {
    file: &'a str,
    record_id: &'a str,
}

fn check_record(record: &[u8]) {
    assert!(!record.contains(&b'\n'));
    // Not as a `Value`: it cannot hold every number that JSON allows, and a record keeps numbers as written.
    let own: Own<'_> =
        serde_json::from_slice(record).expect("a record is JSON, with each of its own names once");
    assert_eq!((own.file, own.record_id.len()), ("/var/log/a.log", 32));
}

/// A message that a route's steps work on.
pub(crate) fn parse_json(bytes: &[u8]) {
    let parse = |under: Option<&str>, keep_original| {
        let under = under.map(str::to_owned);
        Step::from(Action::Parse(Parse { under, keep_original, ..Parse::with(Parser::Json) }))
    };
    let chains = [
        vec![parse(None, false)],
        vec![parse(None, true), parse(None, false)],
        vec![parse(Some("a.b"), false), Action::Remove(vec!["a.b.c".into(), "time".into()]).into()],
        vec![
            parse(None, false),
            Action::Rename([("a".into(), "b".into()), ("b.c".into(), "a".into())].into()).into(),
            Action::Add(vec![("x.y".into(), json!("z")), ("a.b.c".into(), json!(1))]).into(),
        ],
    ];
    let message = Message { start: 7, stream: Stream::Stdout, time: None, body: bytes, cut: false };
    for steps in chains {
        let chain = Chain::new(steps);
        let mut record = Vec::new();
        let time_read = "1970-01-01T00:00:00Z";
        let made = chain.run(&Context { message: &message, time_read, kubernetes: None }, Fields::default());
        encoder().encode_fields(&message, &made.fields, time_read, &mut record);
        check_record(&record);
        assert!(record.len() <= 13 * bytes.len() + 400, "{} bytes of {}", record.len(), bytes.len());
    }
}

/// What journalctl is taken to have written: cut in the middle it makes the same entries, and whatever is in them
/// becomes records.
pub(crate) fn journal(bytes: &[u8]) {
    let split = |middle: usize| {
        let (mut splitter, mut block) = (Splitter::rising(MAX_LINE, Id128(0x5f0e), 0), Vec::new());
        let fed = splitter.feed(&bytes[..middle], &mut block);
        let fed = fed.and_then(|_| splitter.feed(&bytes[middle..], &mut block));
        splitter.end(&mut block);
        (block, fed.is_ok())
    };
    let (block, _) = split(bytes.len());
    assert_eq!(split(bytes.len() / 2).0, block);
    let form = JournalFields { message_as_log: true, lowercase: true, strip_underscores: true };
    let chains =
        [None, Some(form)].map(|form| Chain::new(Vec::new()).of_journal(form.or(Some(Default::default()))));
    let decoding = Decoding { format: Format::Journald, limits: LIMITS, multiline: None };
    let mut decoder = Decoder::of(&decoding);
    let mut before = None;
    for entry in Lines::entries(&block, 0, 0) {
        assert!(before.replace(entry.offset).is_none_or(|before| before < entry.offset));
        assert!(entry.bytes.len() <= MAX_LINE + 1200, "an entry is longer than it may be");
        decoder.line(entry.offset, entry.bytes, entry.cut, Instant::now(), |message| {
            for chain in &chains {
                let time_read = "1970-01-01T00:00:00Z";
                let made =
                    chain.run(&Context { message: &message, time_read, kubernetes: None }, Fields::default());
                let mut record = Vec::new();
                encoder().encode_fields(&message, &made.fields, time_read, &mut record);
                check_record(&record);
            }
        });
    }
}

/// The parts of a chunk by themselves: as they are, and with the checksums made good, since otherwise nothing
/// would come behind them.
pub(crate) fn frame_bytes(bytes: &[u8]) {
    let (salt, bytes) = bytes.split_at_checked(4).unwrap_or_default();
    let salt = salt.try_into().map_or(0, u32::from_le_bytes);
    let _ = ChunkHeader::decode(bytes);
    let _ = Footer::decode(bytes, salt);
    if let Some(at) = frame::find_frame(bytes, salt) {
        assert!(FrameHeader::decode(&bytes[at..], salt).is_ok());
    }
    let mut good = bytes.to_vec();
    if good.len() >= FRAME_HEADER {
        let body = crc32fast::hash(&good[FRAME_HEADER..]);
        good[12..16].copy_from_slice(&body.to_le_bytes());
        make_good(&mut good, salt);
    }
    if let Ok(header) = FrameHeader::decode(&good, salt) {
        assert_eq!(frame::find_frame(&good, salt), Some(0));
        // What is unused in a header may differ, what is read from it must not.
        assert_eq!(FrameHeader::decode(&header.encode(salt), salt), Ok(header.clone()));
        if let Some(body) = good[FRAME_HEADER..].get(..header.body_len as usize) {
            let _ = frame::check_body(&FrameHeader { body_crc: crc32fast::hash(body), ..header }, body);
        }
    }
}

/// Gives the frame header at the start of these bytes its magic and checksum.
fn make_good(bytes: &mut [u8], salt: u32) {
    bytes[0..4].copy_from_slice(b"\xffKFR");
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes[8..FRAME_HEADER]);
    checksum.update(&salt.to_le_bytes());
    bytes[4..8].copy_from_slice(&checksum.finalize().to_le_bytes());
}

/// A queue's folder in which something was changed while kinetail was not running. The first byte says what the
/// others are: a chunk, changes to a good one, changes whose checksum is made good, or acknowledgements.
pub(crate) fn chunk(bytes: &[u8]) {
    let (kind, bytes) = bytes.split_first().map_or((0, bytes), |(kind, rest)| (kind % 4, rest));
    let folder = tempfile::tempdir().expect("a folder");
    let good = good_chunk(folder.path());
    let path = folder.path().join("buffer/d/0000000000000000.chunk");
    let mut content = fs::read(&path).expect("the chunk");
    match kind {
        0 => content = bytes.to_vec(),
        3 => fs::write(path.with_extension("acks"), bytes).expect("acknowledgements"),
        _ => {
            change(&mut content, bytes);
            if kind == 2 && content.len() >= CHUNK_HEADER + FRAME_HEADER {
                let salt = u32::from_le_bytes(content[12..16].try_into().expect("four bytes"));
                make_good(&mut content[CHUNK_HEADER..], salt);
            }
        }
    }
    fs::write(&path, &content).expect("the changed chunk");
    // As it is after a kill, and after a checkpoint that covers it.
    for mark in [None, Some(Mark { chunk: 1, offset: 0 })] {
        let found = read_all(folder.path(), mark, content.len());
        // With a checksum made good, a header may say what it likes.
        if kind == 1 || kind == 3 {
            assert!(found.iter().all(|record| good.contains(record)), "a record that nobody appended");
        }
    }
}

/// Puts bytes in other places: each three are a place and what it is changed by; the rest is appended.
fn change(content: &mut Vec<u8>, changes: &[u8]) {
    let (changes, rest) = changes.as_chunks::<3>();
    for [high, low, by] in changes.iter().take(64) {
        let at = usize::from(*high) << 8 | usize::from(*low);
        match content.len() {
            0 => {}
            // A place beyond the end cuts the chunk.
            len if at >= 2 * len => content.truncate(at % len),
            len => content[at % len] ^= by,
        }
    }
    content.extend_from_slice(rest);
}

/// A chunk of a few frames, and the records in it.
fn good_chunk(data_dir: &Path) -> Vec<Vec<u8>> {
    let mut opened = opened(data_dir, None);
    let mut good = Vec::new();
    for turn in 1..=4 {
        let mut records = Records::default();
        for number in 0..3 {
            let text = format!("{{\"record\":{turn}{number}}}").into_bytes();
            records.push_with(|out| {
                out.extend_from_slice(&text);
                true
            });
            good.push(text);
        }
        let (from, to) = (Position::at(turn - 1), Position::at(turn));
        let step = Move { turn, incarnation: Incarnation(9), from: &from, to: &to, repair: false };
        let body = Body::new(b"source", &records);
        let appended = opened.appender.append(&body, &step, SystemTime::UNIX_EPOCH);
        assert!(matches!(appended, Append::Done));
    }
    good
}

fn opened(data_dir: &Path, mark: Option<Mark>) -> kinetail::buffer::Opened {
    open(Open {
        name: "d".into(),
        data_dir,
        settings: QueueSettings::default(),
        chunk_size: 1 << 20,
        known: mark.map(|mark| kinetail::buffer::Known { first: 0, mark }),
        disk: HostDisk::shared(),
        budget: Budget::new(1 << 30),
        wake: Arc::new(|| {}),
        progress: &mut |_, _| {},
    })
    .expect("whatever is in the folder, it opens")
}

fn read_all(data_dir: &Path, mark: Option<Mark>, len: usize) -> Vec<Vec<u8>> {
    let opened = opened(data_dir, mark);
    let mut reader = reader(&opened.queue, Positions::default());
    let mut found = Vec::new();
    let mut runs = 0;
    while let Some(run) = reader.next_run().expect("the disk is well") {
        runs += 1;
        assert!(runs <= len, "more runs than bytes");
        found.extend((0..run.len()).map(|index| run.record(index).to_vec()));
    }
    found
}

/// A checkpoint file: as it is, and as the body of one whose checksum is right.
pub(crate) fn checkpoint_bytes(bytes: &[u8]) {
    let _ = checkpoint::decode(bytes);
    let (crc, len) = (crc32fast::hash(bytes), bytes.len());
    let mut whole = format!("kinetail checkpoint 1 crc32={crc:08x} len={len}\n").into_bytes();
    whole.extend_from_slice(bytes);
    if let Ok(read) = checkpoint::decode(&whole) {
        let folder = tempfile::tempdir().expect("a folder");
        checkpoint::save(&kinetail::disk::HostDisk, folder.path(), &read).expect("saved");
        let again = fs::read(checkpoint::path_in(folder.path())).expect("read back");
        assert_eq!(checkpoint::decode(&again), Ok(read));
    }
}

/// A configuration file.
pub(crate) fn configuration(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let env = |name: &str| (name == "SET").then(|| "64MiB".to_owned());
    match config::parse(&text, "kinetail.yaml", &env) {
        Ok(loaded) => assert!(!loaded.config.routes.is_empty()),
        Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
    }
}

/// A pattern of paths, and a path that it is held against: all up to the first NUL, and what follows.
pub(crate) fn path(bytes: &[u8]) {
    use std::os::unix::ffi::OsStrExt;
    let nul = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let path = Path::new(std::ffi::OsStr::from_bytes(bytes.get(nul + 1..).unwrap_or_default()));
    if let Ok(pattern) = Pattern::new(&String::from_utf8_lossy(&bytes[..nul])) {
        assert!(pattern.base().is_absolute());
        if pattern.matches(path) {
            // What matches is found: every folder above it is looked into.
            let above = path.ancestors().skip(1).filter(|folder| folder.starts_with(pattern.base()));
            above.for_each(|folder| assert!(pattern.may_match_below(folder), "{pattern:?} {folder:?}"));
        }
    }
    let _ = Pod::from_path(path).map(|pod| pod.fields());
}
