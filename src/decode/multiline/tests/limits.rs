//! What ends a record beside its lines.

use std::time::{Duration, Instant};

use super::{decoding, read, texts};
use crate::decode::multiline::{LinePatterns, Multiline, Preset};
use crate::decode::{Decoder, Decoding, Format, Limits};
use crate::source::{OpenGroup, Stream};
use regex::bytes::Regex;

const SECOND: Duration = Duration::from_secs(1);

fn by_start(start: &str) -> Multiline {
    Multiline::by_patterns(LinePatterns { start: Some(Regex::new(start).unwrap()), ..Default::default() })
}

/// A decoder that is given lines at times, and what comes out.
struct Timed {
    decoder: Decoder,
    start: Instant,
    offset: u64,
    out: Vec<String>,
}

impl Timed {
    fn new(multiline: Multiline) -> Self {
        let decoder = Decoder::of(&decoding(Format::Cri, multiline));
        Self { decoder, start: Instant::now(), offset: 0, out: Vec::new() }
    }

    fn line(&mut self, at: Duration, head: &str, text: &str) {
        let line = format!("2026-03-04T09:12:44Z {head} {text}");
        let emit = |message: crate::event::Message<'_>| {
            self.out.push(String::from_utf8_lossy(message.body).into_owned());
        };
        self.decoder.line(self.offset, line.as_bytes(), false, self.start + at, emit);
        self.offset += line.len() as u64 + 1;
    }

    /// With ten seconds for a split line.
    fn flush(&mut self, at: Duration) -> &[String] {
        let emit = |message: crate::event::Message<'_>| {
            self.out.push(String::from_utf8_lossy(message.body).into_owned());
        };
        self.decoder.flush_older_than(self.start + at, 10 * SECOND, emit);
        &self.out
    }

    fn next(&self) -> Option<Duration> {
        Some(self.decoder.next_flush(10 * SECOND)?.duration_since(self.start))
    }
}

#[test]
fn a_record_comes_out_once_no_line_of_its_stream_has_come_for_its_time() {
    let mut timed = Timed::new(by_start("^S"));
    timed.line(SECOND, "stdout F", "S1");
    timed.line(2 * SECOND, "stderr F", "S2");
    timed.line(2 * SECOND, "stdout F", "a");
    timed.line(3 * SECOND, "stderr F", "b");
    assert_eq!(timed.next(), Some(4 * SECOND));
    assert!(timed.flush(4 * SECOND - Duration::from_millis(1)).is_empty());
    assert_eq!(timed.flush(4 * SECOND), ["S1\na"]);
    assert_eq!(timed.next(), Some(5 * SECOND));
    timed.line(5 * SECOND, "stdout F", "c");
    assert_eq!(timed.flush(6 * SECOND), ["S1\na", "S2\nb"]);
    assert_eq!(timed.flush(7 * SECOND), ["S1\na", "S2\nb", "c"]);
    assert_eq!(timed.next(), None);
}

#[test]
fn a_record_waits_for_a_line_of_which_parts_are_to_come() {
    let mut timed = Timed::new(by_start("^S"));
    timed.line(Duration::ZERO, "stdout F", "S1");
    timed.line(SECOND, "stdout P", "a");
    assert_eq!(timed.next(), Some(11 * SECOND));
    assert!(timed.flush(5 * SECOND).is_empty());
    timed.line(6 * SECOND, "stdout F", "b");
    assert_eq!(timed.next(), Some(8 * SECOND));
    timed.line(7 * SECOND, "stdout P", "c");
    assert_eq!(timed.flush(17 * SECOND), ["S1\nab\nc"], "its last part never came");
}

#[test]
fn a_record_that_is_read_again_is_as_old_as_before() {
    let mut timed = Timed::new(by_start("^S"));
    timed.line(SECOND, "stdout F", "S1");
    let position =
        crate::source::Position { offset: timed.offset, mid_line: false, open: timed.decoder.open() };
    timed.decoder.set_aside();
    assert_eq!(timed.decoder.held(), 0);
    assert!(timed.flush(3 * SECOND).is_empty() && timed.decoder.wants_text());
    timed.decoder = timed.decoder.again(&position);
    timed.offset = 0;
    timed.line(3 * SECOND, "stdout F", "S1");
    assert_eq!(timed.flush(3 * SECOND), ["S1"]);
}

#[test]
fn a_record_that_is_full_comes_out_and_the_next_line_begins_another() {
    let trace = "java.lang.Error\n\tat a.b(c)\n\tat d.e(f)\n\tat g.h(i)\n\tat j.k(l)\nlast";
    let full = |change: fn(&mut Multiline)| {
        let mut multiline = Multiline::traces(&[Preset::Java]);
        change(&mut multiline);
        texts(multiline, trace)
    };
    let three = ["java.lang.Error\n\tat a.b(c)", "\tat d.e(f)\n\tat g.h(i)", "\tat j.k(l)", "last"];
    assert_eq!(full(|multiline| multiline.max_lines = 2), three);
    assert_eq!(full(|multiline| multiline.max_size = 26), three);
    assert_eq!(
        full(|multiline| multiline.max_size = 25)[..2],
        ["java.lang.Error", "\tat a.b(c)\n\tat d.e(f)"]
    );
    assert_eq!(full(|multiline| multiline.max_size = 1).len(), 6, "each line is whole all the same");

    let mut multiline = by_start("^S");
    multiline.max_lines = 2;
    let mut decoder = Decoder::of(&decoding(Format::Plain, multiline));
    for (offset, line) in ["S1", "a", "b", "c", "S2", "d"].into_iter().enumerate() {
        decoder.line(offset as u64, line.as_bytes(), false, Instant::now(), |_| ());
    }
    assert_eq!(decoder.take_counts().limited, 1);
}

#[test]
fn nothing_follows_a_line_that_was_cut() {
    let limits = Limits { max_message: 4 };
    let decoding = Decoding { limits, ..decoding(Format::Plain, by_start("^S")) };
    let (mut decoder, mut out, now) = (Decoder::of(&decoding), Vec::new(), Instant::now());
    let mut emit = |message: crate::event::Message<'_>| {
        out.push((String::from_utf8_lossy(message.body).into_owned(), message.cut));
    };
    for (offset, line) in [(0, "S1"), (3, "a"), (5, "too long"), (14, "b"), (16, "much too long")] {
        decoder.line(offset, line.as_bytes(), false, now, &mut emit);
    }
    decoder.line(30, b"cut", true, now, &mut emit);
    assert_eq!(
        out,
        [("S1\na\ntoo ", true), ("b\nmuch", true), ("cut", true)].map(|(text, cut)| (text.to_owned(), cut))
    );
    assert_eq!(decoder.take_counts().cut, 3);
}

#[test]
fn line_ends_of_windows_belong_to_no_line() {
    assert_eq!(texts(by_start("^S"), "S1\r\na\r\nS2\r\n"), ["S1\na", "S2"]);
}

#[test]
fn lines_that_are_not_in_the_files_format_are_a_stream_of_their_own() {
    let file = "S1\n2026-03-04T09:12:44Z stdout F S2\na\n2026-03-04T09:12:44Z stdout F b\n";
    let mut joined = read(&decoding(Format::Cri, by_start("^S")), file);
    joined.sort();
    assert_eq!(joined, [(Stream::Plain, "S1\na".into()), (Stream::Stdout, "S2\nb".into())]);
}

#[test]
fn a_position_tells_where_the_first_line_of_each_open_record_began() {
    let mut timed = Timed::new(by_start("^S"));
    timed.line(Duration::ZERO, "stderr P", "part");
    timed.line(Duration::ZERO, "stdout F", "S1");
    let stdout = timed.offset;
    timed.line(Duration::ZERO, "stdout F", "S2");
    timed.line(Duration::ZERO, "stdout P", "a");
    assert_eq!(
        timed.decoder.open(),
        [OpenGroup { stream: Stream::Stderr, start: 0 }, OpenGroup { stream: Stream::Stdout, start: stdout }]
    );
}

#[test]
fn a_panic_over_a_record_does_not_cost_the_line_that_ended_it() {
    let mut decoder = Decoder::of(&decoding(
        Format::Plain,
        Multiline::by_patterns(LinePatterns {
            start: Some(Regex::new("^S").unwrap()),
            end: Some(Regex::new("^E").unwrap()),
            ..Default::default()
        }),
    ));
    let mut out = Vec::new();
    for (offset, line) in
        ["S poison", "S", "S poison", "Sa", "E", "S poison", "SE", "alone"].iter().enumerate()
    {
        let given = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            decoder.line(offset as u64, line.as_bytes(), false, Instant::now(), |message| {
                assert!(!message.body.ends_with(b"poison"));
                out.push(String::from_utf8_lossy(message.body).into_owned());
            });
        }));
        let _ = given;
    }
    decoder.flush(|message| out.push(String::from_utf8_lossy(message.body).into_owned()));
    assert_eq!(out, ["S", "Sa\nE", "SE\nalone"]);
}
