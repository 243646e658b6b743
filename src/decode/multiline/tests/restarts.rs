//! Whatever the lines, and wherever reading stops and begins again: the same records.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use regex::bytes::Regex;

use crate::decode::multiline::{LinePatterns, Multiline, Preset};
use crate::decode::{Decoder, Decoding, Format, Limits};
use crate::event::Message;
use crate::source::{Position, Stream};

/// A record: its place, stream, text and whether it was cut.
type Seen = (u64, Stream, String, bool);

fn seen(message: Message<'_>) -> Seen {
    (message.start, message.stream, String::from_utf8_lossy(message.body).into_owned(), message.cut)
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[SacE]{1,2}",
        1 => Just("java.lang.Error: x".to_owned()),
        1 => Just("\tat a.b(c)".to_owned()),
        1 => Just("Traceback (most recent call last):".to_owned()),
        1 => Just("  File \"a\", line 1".to_owned()),
        1 => Just("KeyError: x".to_owned()),
        1 => Just(String::new()),
        1 => Just("goroutine 1 [running]:".to_owned()),
        1 => "[ -~]{0,12}",
    ]
}

fn any_line() -> impl Strategy<Value = String> {
    let head = prop_oneof![
        3 => Just("stdout F "),
        2 => Just("stderr F "),
        1 => Just("stdout P "),
        1 => Just("stderr P "),
    ];
    prop_oneof![
        8 => (head, any_text()).prop_map(|(head, text)| format!("2026-03-04T09:12:44Z {head}{text}")),
        1 => any_text(),
    ]
}

fn any_multiline() -> impl Strategy<Value = Multiline> {
    let pattern = |text: &'static str| prop_oneof![Just(None), Just(Some(text))];
    let patterns = (pattern("^S"), pattern("^c"), pattern("E$")).prop_map(|(start, continuation, end)| {
        let regex = |text: Option<&str>| text.map(|text| Regex::new(text).unwrap());
        let mut patterns =
            LinePatterns { start: regex(start), continuation: regex(continuation), end: regex(end) };
        if patterns == LinePatterns::default() {
            patterns.start = regex(Some("^S"));
        }
        Multiline::by_patterns(patterns)
    });
    let presets = prop::sample::subsequence(Preset::ALL.to_vec(), 1..=Preset::ALL.len());
    let rules = prop_oneof![patterns, presets.prop_map(|presets| Multiline::traces(&presets))];
    (rules, 1..60_usize, 2..6_usize).prop_map(|(mut multiline, max_size, max_lines)| {
        (multiline.max_size, multiline.max_lines) = (max_size, max_lines);
        multiline
    })
}

/// Lines with their offsets, and where each ends.
fn lines(file: &str) -> Vec<(u64, &str, u64)> {
    let mut offset = 0;
    file.split_inclusive('\n')
        .map(|line| {
            let start = offset;
            offset += line.len() as u64;
            (start, line.strip_suffix('\n').unwrap_or(line), offset)
        })
        .collect()
}

fn feed(decoder: &mut Decoder, lines: &[(u64, &str, u64)], from: u64, to: u64, out: &mut Vec<Seen>) {
    let now = Instant::now();
    for (offset, line, _) in lines.iter().filter(|(offset, ..)| (from..to).contains(offset)) {
        decoder.line(*offset, line.as_bytes(), false, now, |message| out.push(seen(message)));
    }
}

proptest! {
    #[test]
    fn restarts_and_texts_that_are_given_up_change_no_record(
        file in prop::collection::vec(any_line(), 0..40).prop_map(|lines| lines.join("\n")),
        multiline in any_multiline(),
        max_message in prop_oneof![Just(1 << 20), 3..20_usize],
        format in prop_oneof![Just(Format::Plain), Just(Format::Cri)],
        befalls in prop::collection::vec(0..6_u8, 41),
    ) {
        let limits = Limits { max_message };
        let decoding = Decoding { format, limits, multiline: Some(Arc::new(multiline)) };
        let all = lines(&file);
        let mut whole = Vec::new();
        let mut decoder = Decoder::of(&decoding);
        feed(&mut decoder, &all, 0, u64::MAX, &mut whole);
        decoder.flush(|message| whole.push(seen(message)));
        prop_assert!(decoder.open().is_empty());

        let mut position = Position::default();
        let mut decoder = Decoder::of(&decoding);
        let mut out = Vec::new();
        for ((offset, _, end), befalls) in all.iter().zip(&befalls) {
            let mut made = Vec::new();
            feed(&mut decoder, &all, *offset, *end, &mut made);
            if decoder.wants_text() {
                made.clear();
                decoder = decoder.again(&position);
                feed(&mut decoder, &all, position.reread_from(), *end, &mut made);
                prop_assert!(!decoder.wants_text());
            }
            out.append(&mut made);
            position = Position { offset: *end, mid_line: false, open: decoder.open() };
            prop_assert!(position.open.iter().all(|group| group.start < *end));
            match befalls {
                0 => {
                    // The process ends, and another begins.
                    decoder = Decoder::resume(&decoding, &position);
                    feed(&mut decoder, &all, position.reread_from(), *end, &mut out);
                    prop_assert_eq!(decoder.open(), position.open.clone());
                }
                1 => decoder.set_aside(),
                _ => {}
            }
        }
        decoder = Decoder::resume(&decoding, &position);
        feed(&mut decoder, &all, position.reread_from(), u64::MAX, &mut out);
        decoder.flush(|message| out.push(seen(message)));
        prop_assert_eq!(out, whole);
    }

    /// Of a damaged part of the buffer exactly its records are made again, wherever groups were open at its ends.
    #[test]
    fn what_was_lost_between_two_positions_is_made_again_and_nothing_beside_it(
        file in prop::collection::vec(any_line(), 0..40).prop_map(|lines| lines.join("\n")),
        multiline in any_multiline(),
        ends in any::<[prop::sample::Index; 2]>(),
    ) {
        let decoding =
            Decoding { format: Format::Cri, multiline: Some(Arc::new(multiline)), ..Decoding::default() };
        let all = lines(&file);
        let mut ends = ends.map(|end| end.index(all.len() + 1));
        ends.sort_unstable();
        let at = |line: usize| all.get(line).map_or(file.len() as u64, |line| line.0);
        let [from, to] = ends.map(at);
        let mut decoder = Decoder::of(&decoding);
        let mut lost = Vec::new();
        feed(&mut decoder, &all, 0, from, &mut Vec::new());
        let from = Position { offset: from, mid_line: false, open: decoder.open() };
        feed(&mut decoder, &all, from.offset, to, &mut lost);
        // Some groups are ended by time in the end.
        let idle = decoder.open().len().is_multiple_of(2);
        if idle {
            decoder.flush(|message| lost.push(seen(message)));
        }
        let to = Position { offset: to, mid_line: false, open: decoder.open() };
        let mut again = Decoder::resume(&decoding, &from).until(&to);
        let mut made = Vec::new();
        feed(&mut again, &all, from.reread_from(), to.offset, &mut made);
        again.flush(|message| made.push(seen(message)));
        // Records of two streams may come in another order.
        made.sort();
        lost.sort();
        prop_assert_eq!(made, lost);
    }

    /// Each line is in one record, in order, and nothing else is.
    #[test]
    fn the_records_of_a_stream_are_its_lines(
        file in prop::collection::vec(any_text(), 0..40),
        multiline in any_multiline(),
    ) {
        let (max_size, max_lines) = (multiline.max_size, multiline.max_lines);
        let text: String = file.iter().map(|line| format!("{line}\n")).collect();
        let records = super::texts(multiline, &text);
        let longest = file.iter().map(String::len).max().unwrap_or(0);
        for record in &records {
            prop_assert!(record.len() <= max_size.max(longest));
            prop_assert!(record.split('\n').count() <= max_lines);
        }
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        prop_assert_eq!(lines, text);
    }
}
