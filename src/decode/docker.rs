//! The lines of Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
//!
//! Keys stand in any order and others (`attrs`) may follow. A `log` that does not end in a newline is a part:
//! Docker splits lines at 16 KiB.

use memchr::memchr;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Part, rfc3339};
use crate::source::Stream;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    log: &'a RawValue,
    stream: &'a str,
    time: &'a str,
}

/// Takes one line apart; none if it is not of this format. The text is unescaped into `scratch`, whose
/// contents are replaced.
pub(super) fn parse<'a>(line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Part<'a>> {
    let line: Line<'a> = serde_json::from_slice(line).ok()?;
    let stream = match line.stream {
        "stdout" => Stream::Stdout,
        "stderr" => Stream::Stderr,
        _ => return None,
    };
    if rfc3339::prefix(line.time.as_bytes()) != Some(line.time.len()) {
        return None;
    }
    let escaped = line.log.get().strip_prefix('"')?.strip_suffix('"')?;
    scratch.clear();
    unescape(escaped.as_bytes(), scratch);
    let (text, ends) = match scratch.strip_suffix(b"\n") {
        Some(text) => (text, true),
        None => (&scratch[..], false),
    };
    Some(Part { time: line.time, stream, text, ends })
}

/// Undoes JSON's escapes in the inside of a string that a JSON parser has accepted. A lone surrogate, which
/// stands for no character, becomes U+FFFD.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        text = &text[at + 1..];
        let Some((&kind, rest)) = text.split_first() else {
            return;
        };
        text = rest;
        let plain = match kind {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let char = escaped_char(&mut text).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            other => other,
        };
        out.push(plain);
    }
    out.extend_from_slice(text);
}

/// The character whose four hexadecimal digits `text` begins with, or that they and a second escape after
/// them make together; what belongs to it is taken off `text`.
fn escaped_char(text: &mut &[u8]) -> Option<char> {
    let high = unit(text)?;
    *text = &text[4..];
    if (0xd800..0xdc00).contains(&high)
        && let Some(low) = text.strip_prefix(b"\\u").and_then(unit)
        && (0xdc00..0xe000).contains(&low)
    {
        *text = &text[6..];
        return char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
    }
    char::from_u32(high)
}

/// The value of the four hexadecimal digits that `text` begins with.
fn unit(text: &[u8]) -> Option<u32> {
    text.first_chunk::<4>()?
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REST: &str = r#","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}"#;

    fn text_of(log: &str) -> Option<(Vec<u8>, bool)> {
        let mut scratch = b"of the line before".to_vec();
        let line = format!(r#"{{"log":{log}{REST}"#);
        let part = parse(line.as_bytes(), &mut scratch)?;
        assert_eq!(part.stream, Stream::Stdout);
        assert_eq!(part.time, "2026-01-02T03:04:05.123456789Z");
        Some((part.text.to_vec(), part.ends))
    }

    #[test]
    fn text_is_unescaped() {
        for (log, text) in [
            (r#""a\n""#, "a"),
            (r#""\n""#, ""),
            (r#""a\tb\"c\\d\/e\b\f\r\n""#, "a\tb\"c\\d/e\u{8}\u{c}\r"),
            (r#""\u003chtml\u003E\n""#, "<html>"),
            (r#""\u0000\u00e9é\n""#, "\0éé"),
            (r#""\ud83d\ude00\n""#, "😀"),
            (r#""\ud83d\n""#, "\u{fffd}"),
            (r#""\ud83dx\udE00\n""#, "\u{fffd}x\u{fffd}"),
            (r#""\ud83d\ud83d\ude00\n""#, "\u{fffd}😀"),
            (r#""two\nlines\n""#, "two\nlines"),
        ] {
            assert_eq!(text_of(log), Some((text.into(), true)), "{log}");
        }
    }

    #[test]
    fn text_without_a_newline_at_its_end_is_a_part() {
        assert_eq!(text_of(r#""half""#), Some((b"half".to_vec(), false)));
        assert_eq!(text_of(r#""""#), Some((Vec::new(), false)));
        assert_eq!(text_of(r#""\\n""#), Some((br"\n".to_vec(), false)));
    }

    #[test]
    fn keys_stand_in_any_order_and_others_are_passed_over() {
        let line =
            br#" { "time":"2026-01-02T03:04:05Z", "attrs":{"a":["b"]},"stream":"stderr","log":"x\n"} "#;
        let mut scratch = Vec::new();
        let part = parse(line, &mut scratch).unwrap();
        assert_eq!((part.stream, part.text, part.ends), (Stream::Stderr, &b"x"[..], true));
    }

    #[test]
    fn other_lines_are_not_taken_for_this_format() {
        let mut scratch = Vec::new();
        for line in [
            "",
            "text",
            "{}",
            "[]",
            r#"{"log":"x\n","stream":"stdout"}"#,
            r#"{"log":"x\n","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":5,"stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x\n","stream":"stdin","time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"yesterday"}"#,
            r#"{"log":"x\n","stream":"stdout","time":"2026-01-02T03:04:05Z"} x"#,
            r#"{"log":"x\n","stream":"stdout","time":"2026-01-02T03:04:05Z""#,
            r#"{"log":"x\q","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#,
        ] {
            assert_eq!(parse(line.as_bytes(), &mut scratch), None, "{line}");
        }
        let invalid = [br#"{"log":""#, &[0xff][..], br#"\n""#, REST.as_bytes()].concat();
        assert_eq!(parse(&invalid, &mut scratch), None);
    }

    proptest! {
        #[test]
        fn any_text_survives_being_escaped_and_unescaped(text in "\\PC*[\\x00-\\x1f\"\\\\]*\\PC*") {
            let log = serde_json::to_string(&format!("{text}\n")).unwrap();
            prop_assert_eq!(text_of(&log), Some((text.into_bytes(), true)));
        }
    }
}
