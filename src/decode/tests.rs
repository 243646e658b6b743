//! What a file's lines become, whole files at a time.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Counts, Decoder, Decoding, Format, Limits, Marker};
use crate::event::Message;
use crate::source::{OpenGroup, Position, Stream};

/// A message that outlives its line.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    start: u64,
    stream: Stream,
    time: Option<String>,
    body: String,
    cut: bool,
}

fn seen(message: Message<'_>) -> Seen {
    Seen {
        start: message.start,
        stream: message.stream,
        time: message.time.map(str::to_owned),
        body: String::from_utf8_lossy(message.body).into_owned(),
        cut: message.cut,
    }
}

fn of(format: Format, limits: Limits) -> Decoding {
    Decoding { format, limits, multiline: None }
}

/// Offsets and lines of a file.
fn lines(file: &str) -> impl Iterator<Item = (u64, &str)> {
    file.split_inclusive('\n').scan(0, |offset, line| {
        let start = *offset;
        *offset += line.len() as u64;
        Some((start, line.strip_suffix('\n').unwrap_or(line)))
    })
}

fn read(decoder: &mut Decoder, file: &str, from: u64, out: &mut Vec<Seen>) {
    let now = Instant::now();
    for (offset, line) in lines(file).filter(|(offset, _)| *offset >= from) {
        decoder.line(offset, line.as_bytes(), false, now, |message| out.push(seen(message)));
    }
}

fn decode(format: Format, max_message: usize, file: &str) -> (Vec<Seen>, Counts) {
    let mut decoder = Decoder::new(format, Limits { max_message });
    let mut out = Vec::new();
    read(&mut decoder, file, 0, &mut out);
    decoder.flush(|message| out.push(seen(message)));
    assert_eq!(decoder.open(), []);
    (out, decoder.take_counts())
}

fn bodies(messages: &[Seen]) -> Vec<&str> {
    messages.iter().map(|message| &*message.body).collect()
}

const T1: &str = "2026-01-02T03:04:05.000000001Z";
const T2: &str = "2026-01-02T03:04:05.000000002+02:00";

fn cri(parts: &[(&str, &str)]) -> String {
    parts
        .iter()
        .enumerate()
        .map(|(i, (head, text))| format!("{} {head} {text}\n", if i == 0 { T1 } else { T2 }))
        .collect()
}

#[test]
fn a_plain_line_is_a_message() {
    let (messages, counts) = decode(Format::Plain, 100, "one\n\ntwo\r\n{\"log\":1}\nno newline");
    assert_eq!(bodies(&messages), ["one", "", "two", "{\"log\":1}", "no newline"]);
    assert_eq!(messages[2].start, 5);
    assert!(messages.iter().all(|m| m.stream == Stream::Plain && m.time.is_none()));
    assert_eq!(counts, Counts::default());
}

#[test]
fn a_line_split_by_the_runtime_is_one_message_with_the_first_parts_place_and_time() {
    let file = cri(&[("stdout P", "a"), ("stdout P:x", "b"), ("stdout F", "c\r"), ("stdout F", "d")]);
    let (messages, counts) = decode(Format::Cri, 100, &file);
    assert_eq!(bodies(&messages), ["abc", "d"]);
    assert_eq!((messages[0].start, messages[0].time.as_deref()), (0, Some(T1)));
    assert_eq!(messages[1].time.as_deref(), Some(T2));
    assert_eq!(counts, Counts::default());
}

#[test]
fn parts_of_interleaved_streams_do_not_mix() {
    let file = cri(&[
        ("stdout P", "out1 "),
        ("stderr P", "err1 "),
        ("stdout P", "out2 "),
        ("stderr F", "err2"),
        ("stderr F", "err3"),
        ("stdout F", "out3"),
    ]);
    let (messages, _) = decode(Format::Cri, 100, &file);
    assert_eq!(bodies(&messages), ["err1 err2", "err3", "out1 out2 out3"]);
    assert_eq!(messages[2].stream, Stream::Stdout);
}

#[test]
fn docker_lines_are_joined_until_their_newline() {
    let line = |stream: &str, log: &str| {
        let log = serde_json::to_string(log).unwrap();
        format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"{T1}\"}}\n")
    };
    let file = [
        line("stdout", "one \"quoted\"\r\n"),
        line("stdout", "a\t"),
        line("stderr", "error\n"),
        line("stdout", "b\n"),
        "not json\n".to_owned(),
        line("stdout", "end"),
    ]
    .concat();
    let (messages, counts) = decode(Format::Docker, 100, &file);
    assert_eq!(bodies(&messages), ["one \"quoted\"", "error", "a\tb", "not json", "end"]);
    assert_eq!(messages[2].start, line("stdout", "one \"quoted\"\r\n").len() as u64);
    assert_eq!((messages[3].stream, &messages[3].time), (Stream::Plain, &None));
    assert_eq!((counts.malformed, counts.unfinished), (1, 1));
}

#[test]
fn a_line_of_another_format_comes_out_as_it_is_and_disturbs_no_group() {
    let file = format!("garbage\n{}", cri(&[("stdout P", "a")])) + "\n" + &cri(&[("stdout F", "b")]);
    let (messages, counts) = decode(Format::Cri, 100, &file);
    assert_eq!(bodies(&messages), ["garbage", "", "ab"]);
    assert_eq!((messages[0].stream, &messages[0].time), (Stream::Plain, &None));
    assert_eq!(counts.malformed, 2);
}

#[test]
fn a_lone_part_comes_out_at_the_end_of_the_file() {
    let file = cri(&[("stderr P", "e"), ("stdout P", "o")]);
    let (messages, counts) = decode(Format::Cri, 100, &file);
    assert_eq!(bodies(&messages), ["e", "o"]);
    assert_eq!(counts.unfinished, 2);
}

#[test]
fn a_joined_message_keeps_to_the_limit_without_a_hole() {
    let file = cri(&[
        ("stdout P", "12345678"),
        ("stdout P", "9012"),
        ("stdout P", "x"),
        ("stdout F", "y"),
        ("stdout F", "12345678901"),
        ("stdout F", "1234567890"),
    ]);
    let (messages, counts) = decode(Format::Cri, 10, &file);
    assert_eq!(bodies(&messages), ["1234567890"; 3]);
    assert_eq!(messages.iter().map(|m| m.cut).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(counts.cut, 2);
}

#[test]
fn a_line_that_the_reader_cut_is_marked_and_nothing_follows_the_gap() {
    let now = Instant::now();
    let mut decoder = Decoder::new(Format::Cri, Limits::default());
    let mut out = Vec::new();
    let first = format!("{T1} stdout P start");
    decoder.line(0, first.as_bytes(), true, now, |m| out.push(seen(m)));
    let last = format!("{T1} stdout F end");
    decoder.line(100, last.as_bytes(), false, now, |m| out.push(seen(m)));
    let whole = format!("{T1} stdout F whole\r");
    decoder.line(200, whole.as_bytes(), true, now, |m| out.push(seen(m)));
    assert_eq!(bodies(&out), ["start", "whole\r"]);
    assert!(out.iter().all(|message| message.cut));
    assert_eq!(decoder.take_counts().cut, 2);
}

#[test]
fn a_group_comes_out_once_it_was_idle_for_the_given_age() {
    let age = Duration::from_secs(5);
    let second = Duration::from_secs(1);
    let start = Instant::now();
    let mut decoder = Decoder::new(Format::Cri, Limits::default());
    let mut out = Vec::new();
    assert_eq!(decoder.next_flush(age), None);
    let part = |stream: &str| format!("{T1} {stream} P x");
    decoder.line(0, part("stdout").as_bytes(), false, start, |_| ());
    decoder.line(50, part("stderr").as_bytes(), false, start + second, |_| ());
    decoder.line(99, part("stdout").as_bytes(), false, start + 2 * second, |_| ());
    assert_eq!(decoder.next_flush(age), Some(start + second + age));

    decoder.flush_older_than(start + age, age, |m| out.push(seen(m)));
    assert_eq!(out, []);
    decoder.flush_older_than(start + second + age, age, |m| out.push(seen(m)));
    assert_eq!((out.len(), out[0].stream), (1, Stream::Stderr));
    let left = OpenGroup { stream: Stream::Stdout, start: 0 };
    assert_eq!(decoder.open(), [left]);
    decoder.flush_older_than(start + 9 * second, age, |m| out.push(seen(m)));
    assert_eq!(bodies(&out), ["x", "xx"]);
    assert_eq!(decoder.next_flush(age), None);
}

#[test]
fn a_group_that_is_read_again_is_as_old_as_before() {
    let (age, second, start) = (Duration::from_secs(5), Duration::from_secs(1), Instant::now());
    let mut decoder = Decoder::new(Format::Cri, Limits::default());
    let part = format!("{T1} stdout P x");
    decoder.line(0, part.as_bytes(), false, start, |_| ());
    decoder.set_aside();
    let position = Position { offset: 60, mid_line: false, open: decoder.open() };
    decoder.flush_older_than(start + age, age, |_| panic!("its text is not there"));
    assert!(decoder.wants_text());
    let mut again = decoder.again(&position);
    again.line(0, part.as_bytes(), false, start + age, |_| ());
    assert_eq!(again.next_flush(age), Some(start + age));
    again.line(60, part.as_bytes(), false, start + second, |_| ());
    assert_eq!(again.next_flush(age), Some(start + second + age), "what is news is new");
}

#[test]
fn lines_that_are_out_are_not_counted_again_after_a_restart() {
    let file = format!("garbage\n{}garbage\n", cri(&[("stdout P", "a")]));
    let after = file.len() as u64;
    let open = vec![OpenGroup { stream: Stream::Stdout, start: 8 }];
    let position = Position { offset: after, mid_line: false, open };
    let mut decoder = Decoder::resume(&of(Format::Cri, Limits::default()), &position);
    let mut out = Vec::new();
    read(&mut decoder, &file, position.reread_from(), &mut out);
    assert_eq!((out, decoder.take_counts()), (vec![], Counts::default()));
    assert_eq!(decoder.open(), position.open);
}

#[test]
fn an_idle_decoder_holds_no_memory_of_its_own() {
    let mut decoder = Decoder::new(Format::Cri, Limits::default());
    read(&mut decoder, &cri(&[("stdout P", "a"), ("stdout F", "b")]), 0, &mut Vec::new());
    decoder.shrink();
    assert_eq!((decoder.groups_room(), decoder.text_room()), (0, 0));
}

fn any_line() -> impl Strategy<Value = String> {
    let stream = prop_oneof![Just("stdout"), Just("stderr")];
    let tag = prop_oneof![Just("P"), Just("F"), Just("P:x")];
    let text = "[a-zé ]{0,12}\r?";
    let docker_text = prop_oneof![Just(""), Just("\n"), Just("\r\n")];
    prop_oneof![
        4 => (stream.clone(), tag, text).prop_map(|(s, tag, text)| format!("{T1} {s} {tag} {text}")),
        4 => (stream, text, docker_text).prop_map(|(s, text, end)| {
            let log = serde_json::to_string(&format!("{text}{end}")).unwrap();
            format!("{{\"log\":{log},\"stream\":\"{s}\",\"time\":\"{T2}\"}}")
        }),
        1 => "[ -~]{0,20}",
    ]
}

proptest! {
    /// Stopping anywhere, with groups open or not, and reading again from the position leaves no message out
    /// and repeats none.
    #[test]
    fn a_restart_at_any_line_changes_no_message(
        file in prop::collection::vec(any_line(), 0..30).prop_map(|lines| lines.join("\n")),
        format in prop_oneof![Just(Format::Plain), Just(Format::Cri), Just(Format::Docker)],
        max_message in 0_usize..40,
        stops in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let (whole, counts) = decode(format, max_message, &file);
        let limits = Limits { max_message };
        let all: Vec<(u64, &str)> = lines(&file).collect();
        let mut stops: Vec<usize> = stops.iter().map(|stop| stop.index(all.len() + 1)).collect();
        stops.sort_unstable();

        let now = Instant::now();
        let mut position = Position::default();
        let mut decoder = Decoder::new(format, limits);
        let mut out = Vec::new();
        let mut malformed = 0;
        for stop in stops.into_iter().chain([all.len()]) {
            let end = all.get(stop).map_or(file.len() as u64, |line| line.0);
            let from = position.reread_from();
            for (offset, line) in all.iter().filter(|(offset, _)| (from..end).contains(offset)) {
                decoder.line(*offset, line.as_bytes(), false, now, |message| out.push(seen(message)));
            }
            malformed += decoder.take_counts().malformed;
            position = Position { offset: end, mid_line: false, open: decoder.open() };
            prop_assert!(position.open.iter().all(|group| group.start < end));
            decoder = Decoder::resume(&of(format, limits), &position);
        }
        // The last decoder reads what is open once more, and then the file has ended.
        for (offset, line) in all.iter().filter(|(offset, _)| *offset >= position.reread_from()) {
            decoder.line(*offset, line.as_bytes(), false, now, |message| out.push(seen(message)));
        }
        decoder.flush(|message| out.push(seen(message)));
        prop_assert_eq!(out, whole);
        prop_assert_eq!(malformed, counts.malformed);
    }

    /// Giving up the texts of open groups anywhere, and reading them again when they are wanted, changes nothing.
    #[test]
    fn texts_that_are_given_up_and_read_again_change_no_message(
        file in prop::collection::vec(any_line(), 0..30).prop_map(|lines| lines.join("\n")),
        format in prop_oneof![Just(Format::Cri), Just(Format::Docker)],
        max_message in 0_usize..40,
        given_up in prop::collection::vec(any::<bool>(), 31),
    ) {
        let (whole, counts) = decode(format, max_message, &file);
        let all: Vec<(u64, &str)> = lines(&file).collect();
        let ends = all.iter().skip(1).map(|line| line.0).chain([file.len() as u64]);
        let now = Instant::now();
        let mut position = Position::default();
        let mut decoder = Decoder::new(format, Limits { max_message });
        let (mut out, mut cut, mut again) = (Vec::new(), 0, 0);
        for ((offset, line), (end, give_up)) in all.iter().zip(ends.zip(given_up)) {
            let mut made = Vec::new();
            decoder.line(*offset, line.as_bytes(), false, now, |message| made.push(seen(message)));
            if decoder.wants_text() {
                prop_assert_eq!(made.len(), 0);
                again += 1;
                decoder = decoder.again(&position);
                let reread = all.iter().filter(|(at, _)| (position.reread_from()..=*offset).contains(at));
                for (at, line) in reread {
                    decoder.line(*at, line.as_bytes(), false, now, |message| made.push(seen(message)));
                }
                prop_assert!(!decoder.wants_text());
            }
            out.append(&mut made);
            cut += decoder.take_counts().cut;
            position = Position { offset: end, mid_line: false, open: decoder.open() };
            if give_up && !position.open.is_empty() {
                decoder.set_aside();
                prop_assert_eq!((decoder.held(), decoder.open()), (0, position.open.clone()));
            }
        }
        prop_assert!(again <= out.len());
        // The file has ended.
        let mut made = Vec::new();
        decoder.flush(|message| made.push(seen(message)));
        if decoder.wants_text() {
            decoder = decoder.again(&position);
            for (at, line) in all.iter().filter(|(at, _)| *at >= position.reread_from()) {
                decoder.line(*at, line.as_bytes(), false, now, |message| made.push(seen(message)));
            }
            decoder.flush(|message| made.push(seen(message)));
        }
        cut += decoder.take_counts().cut;
        out.append(&mut made);
        prop_assert_eq!(out, whole);
        prop_assert_eq!(cut, counts.cut);
    }

    #[test]
    fn any_bytes_are_decoded_within_the_limit(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
        heads in prop::collection::vec(prop_oneof![
            Just(String::new()),
            Just(format!("{T1} stdout P ")),
            Just(format!("{T1} stderr F ")),
            Just("{\"log\":\"".to_owned()),
        ], 8),
        format in prop_oneof![Just(Format::Plain), Just(Format::Cri), Just(Format::Docker)],
    ) {
        let mut decoder = Decoder::new(format, Limits { max_message: 40 });
        let mut longest = 0;
        for (i, (line, head)) in lines.iter().zip(&heads).enumerate() {
            let line = [head.as_bytes(), line].concat();
            decoder.line(i as u64, &line, false, Instant::now(), |message| longest = longest.max(message.body.len()));
        }
        decoder.flush(|message| longest = longest.max(message.body.len()));
        prop_assert!(longest <= 40);
    }
}

/// What is left of a file without the lines that are marked with `~7`, and how many those are.
fn without_marked(decoding: &Decoding, file: &str) -> (Vec<String>, u64) {
    let mut decoder = Decoder::of(decoding);
    decoder.leave_out(&Marker::new("~7"));
    let mut out = Vec::new();
    read(&mut decoder, file, 0, &mut out);
    decoder.flush(|message| out.push(seen(message)));
    assert_eq!(decoder.open(), []);
    (out.into_iter().map(|message| message.body).collect(), decoder.take_counts().left_out)
}

#[test]
fn marked_lines_are_left_out_in_each_format_and_whole() {
    let limits = Limits::default();
    let plain = "one\n{\"instance\":\"~7\"}\ntwo ~8\n";
    assert_eq!(without_marked(&of(Format::Plain, limits), plain), (vec!["one".into(), "two ~8".into()], 1));
    // The mark is in the first part of a line that the runtime split; the parts of other streams are between.
    let cri = "2026-01-01T00:00:00Z stderr P {\"instance\":\"~7\n\
               2026-01-01T00:00:00Z stdout P one \n\
               2026-01-01T00:00:00Z stderr F and the rest\"}\n\
               2026-01-01T00:00:00Z stdout F two\n\
               2026-01-01T00:00:00Z stderr F three\n";
    assert_eq!(without_marked(&of(Format::Cri, limits), cri), (vec!["one two".into(), "three".into()], 1));
    let docker = "{\"log\":\"{\\\"instance\\\":\\\"~7\\\"}\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00Z\"}\n\
                  {\"log\":\"one\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00Z\"}\n";
    assert_eq!(without_marked(&of(Format::Docker, limits), docker), (vec!["one".into()], 1));
    let mut journal = Decoder::of(&of(Format::Journald, limits));
    journal.leave_out(&Marker::new("~7"));
    let mut entries = Vec::new();
    for (number, entry) in (1..).zip(["MESSAGE=one\n", "MESSAGE={\"instance\":\"~7\"}\nPRIORITY=6\n"]) {
        journal.line(number, entry.as_bytes(), false, Instant::now(), |message| {
            entries.push(message.body.to_vec())
        });
    }
    assert_eq!((entries, journal.take_counts().left_out), (vec![b"MESSAGE=one\n".to_vec()], 1));
}
