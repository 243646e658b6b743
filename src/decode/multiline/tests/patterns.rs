//! Records by patterns.

use std::time::Instant;

use super::{decoding, texts};
use crate::decode::multiline::{LinePatterns, Multiline};
use crate::decode::{Decoder, Format, Marker};
use regex::bytes::Regex;

/// The records of these lines, each written as its lines with `+` between.
#[track_caller]
fn check(patterns: [&str; 3], records: &str) {
    let pattern = |text: &str| (!text.is_empty()).then(|| Regex::new(text).unwrap());
    let [start, continuation, end] = patterns.map(pattern);
    let multiline = Multiline::by_patterns(LinePatterns { start, continuation, end });
    let lines = records.replace([' ', '+'], "\n");
    let joined: Vec<String> =
        texts(multiline, &lines).iter().map(|record| record.replace('\n', "+")).collect();
    assert_eq!(joined.join(" "), records, "{patterns:?}");
}

#[test]
fn a_start_pattern_begins_records_and_what_comes_before_the_first_is_one() {
    check(["^S", "", ""], "a+b S1 S2+a+b S3+a S4");
    check(["^S", "", ""], "S1+a S2");
}

#[test]
fn a_pattern_of_the_kinesis_agent_matches_at_a_lines_beginning() {
    // multiLineStartPattern: "\\[[A-Z]+\\]|\\d{4}-"
    check([r"^(?:\[[A-Z]+\]|\d{4}-)", "", ""], "[A]1+x[B] 2026-1+2026 [C]");
}

#[test]
fn a_continuation_pattern_joins_lines_to_the_one_before() {
    check(["", "^c", ""], "a+c1+c2 b d+c c1".trim_end_matches(" c1"));
    check(["", "^c", ""], "c1+c2 a");
}

#[test]
fn an_end_pattern_ends_a_record_with_its_line() {
    check(["", "", ";$"], "a+b; c; d+e+f; g");
    // A line goes on as long as it ends with a backslash.
    check(["", "", r"(?:^|[^\\])$"], r"a\+b\+c d e\+f");
}

#[test]
fn with_start_and_continuation_other_lines_are_records_by_themselves() {
    check(["^S", "^c", ""], "a S1+c+c b S2 S3+c b c+c b");
    check(["^S", "S", ""], "S1+aS+S2 b aS");
}

#[test]
fn with_start_and_end_other_lines_are_records_by_themselves() {
    check(["^S", "", "E$"], "a S1+b+E c S2+b S3+E S4E E b");
}

#[test]
fn with_continuation_and_end_a_record_ends_with_either() {
    check(["", "^c", "E$"], "a+c+c b+c+cE d+c+E f+gE cE");
}

#[test]
fn with_all_three_a_record_has_a_beginning_a_middle_and_an_end() {
    check(["^S", "^c", "E$"], "a S+c+c+E b S+c b E S1 S2+cE c+c b");
}

#[test]
fn a_line_that_is_left_out_neither_ends_a_record_nor_is_in_it() {
    let start = Some(Regex::new("^S").unwrap());
    let multiline = Multiline::by_patterns(LinePatterns { start, continuation: None, end: None });
    let mut decoder = Decoder::of(&decoding(Format::Plain, multiline));
    decoder.leave_out(&Marker::new("~7"));
    let mut records = Vec::new();
    let mut take = |message: crate::event::Message<'_>| {
        records.push(String::from_utf8_lossy(message.body).into_owned());
    };
    for (offset, line) in (0..).step_by(10).zip(["S1", "a", "S by ~7", "b", "S2"]) {
        decoder.line(offset, line.as_bytes(), false, Instant::now(), &mut take);
    }
    decoder.flush(&mut take);
    assert_eq!(records, ["S1\na\nb", "S2"]);
}
