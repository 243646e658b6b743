//! Steps that thin out: messages sampled, texts cut, levels made alike.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Context, reach};
use crate::event::{Fields, Value};

/// Keeps a part of the messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// How many of a hundred.
    pub percent: f64,
    /// The field whose text decides, so that all messages of a trace stay or go together, on every node alike.
    /// Without one, each message is decided by itself. A message that lacks the field stays.
    pub by: Option<String>,
}

impl Sample {
    /// Whether the message stays. The same message, read again, gets the same answer.
    pub(super) fn keeps(&self, fields: &Fields<'_>, context: &Context<'_>) -> bool {
        let hash = match &self.by {
            Some(name) => {
                let value = reach::get(fields, name);
                let Some(text) = value.as_ref().and_then(|value| reach::plain(value)) else { return true };
                xxh3_64(&text)
            }
            None => {
                let seed = context.message.start ^ ((context.message.stream as u64) << 62);
                xxh3_64_with_seed(context.message.body, seed)
            }
        };
        (hash as f64 / u64::MAX as f64) * 100.0 < self.percent
    }
}

/// Cuts texts that are longer than a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// The fields.
    pub fields: Vec<String>,
    /// The most bytes that stay; a character is not cut in two.
    pub max_size: usize,
}

impl Truncate {
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> bool {
        let mut done = true;
        for name in &self.fields {
            let Some(text) = reach::text(fields, name).filter(|text| text.len() > self.max_size) else {
                continue;
            };
            let mut end = self.max_size;
            // Where it is not UTF-8 there is no character to keep whole further back than this.
            while end > self.max_size.saturating_sub(3) && text[end] & 0b1100_0000 == 0b1000_0000 {
                end -= 1;
            }
            let cut = match text {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..end]),
                Cow::Owned(mut text) => {
                    text.truncate(end);
                    Cow::Owned(text)
                }
            };
            done &= reach::set(fields, name, Value::Text(cut)).is_ok();
        }
        done
    }
}

/// Makes the levels of different programs alike: `trace`, `debug`, `info`, `notice`, `warn`, `error`, `fatal`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// The fields where it may stand; the first that is there counts.
    pub from: Vec<String>,
    /// The field where it is put.
    pub to: String,
    /// Where none of the fields is there; without it the step fails then.
    pub default: Option<String>,
}

/// Names in lower case, as loggers write them, and what they become.
const LEVELS: [(&str, &str); 34] = [
    ("trace", "trace"),
    ("trc", "trace"),
    ("t", "trace"),
    ("finest", "trace"),
    ("finer", "trace"),
    ("verbose", "trace"),
    ("debug", "debug"),
    ("dbg", "debug"),
    ("d", "debug"),
    ("fine", "debug"),
    ("config", "debug"),
    ("info", "info"),
    ("information", "info"),
    ("informational", "info"),
    ("inf", "info"),
    ("i", "info"),
    ("notice", "notice"),
    ("n", "notice"),
    ("warn", "warn"),
    ("warning", "warn"),
    ("wrn", "warn"),
    ("w", "warn"),
    ("error", "error"),
    ("err", "error"),
    ("e", "error"),
    ("severe", "error"),
    ("fatal", "fatal"),
    ("ftl", "fatal"),
    ("f", "fatal"),
    ("critical", "fatal"),
    ("crit", "fatal"),
    ("alert", "fatal"),
    ("emerg", "fatal"),
    ("panic", "fatal"),
];

/// The numbers of bunyan and pino, and of syslog's severities.
const NUMBERS: [(&str, &str); 14] = [
    ("10", "trace"),
    ("20", "debug"),
    ("30", "info"),
    ("40", "warn"),
    ("50", "error"),
    ("60", "fatal"),
    ("0", "fatal"),
    ("1", "fatal"),
    ("2", "fatal"),
    ("3", "error"),
    ("4", "warn"),
    ("5", "notice"),
    ("6", "info"),
    ("7", "debug"),
];

impl Level {
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> bool {
        for name in &self.from {
            let Some(value) = reach::get(fields, name) else { continue };
            let Some(level) = reach::plain(&value).and_then(|text| level(&text)) else { return false };
            drop(value);
            let old = if *name == self.to { None } else { reach::take(fields, name) };
            if reach::set(fields, &self.to, Value::text(level.as_bytes())).is_ok() {
                return true;
            }
            if let Some(Err(old)) = old.map(|old| reach::set(fields, name, old)) {
                fields.set(&**name, old);
            }
            return false;
        }
        match &self.default {
            Some(default) => reach::set(fields, &self.to, Value::text(default.as_bytes())).is_ok(),
            None => false,
        }
    }
}

fn level(text: &[u8]) -> Option<&'static str> {
    let text = text.trim_ascii();
    let names = LEVELS.iter().chain(&NUMBERS);
    names.into_iter().find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes())).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Message;
    use crate::process::testing::{self, fields, text};
    use crate::source::Stream;

    fn kept(sample: &Sample, json: &str, start: u64) -> bool {
        let message = Message { start, stream: Stream::Stdout, time: None, body: b"same", cut: false };
        sample.keeps(&fields(json), &testing::context(&message))
    }

    #[test]
    fn a_trace_stays_or_goes_as_a_whole() {
        let by = Some("trace.id".to_owned());
        let sample = Sample { percent: 20.0, by };
        let mut count = 0;
        for trace in 0..1000 {
            let line = |n: u64| format!(r#"{{"n":{n},"trace":{{"id":"t{trace}"}}}}"#);
            let first = kept(&sample, &line(1), 1);
            assert!((2..10).all(|n| kept(&sample, &line(n), n) == first), "{trace}");
            count += u32::from(first);
        }
        assert!((150..250).contains(&count), "{count} of 1000 stay");
        assert!(kept(&sample, "{}", 1), "without the field it stays");
    }

    #[test]
    fn messages_are_sampled_by_themselves_and_alike_when_read_again() {
        let sample = |percent| Sample { percent, by: None };
        let of = |percent| (0..1000).filter(|start| kept(&sample(percent), "{}", *start)).collect::<Vec<_>>();
        assert_eq!((of(0.0).len(), of(100.0).len()), (0, 1000));
        assert_eq!(of(50.0), of(50.0));
        assert!((400..600).contains(&of(50.0).len()));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let cut = |json: &str, max_size| {
            let mut made = fields(json);
            let step = Truncate { fields: vec!["a".into(), "o.b".into(), "none".into()], max_size };
            assert!(step.apply(&mut made));
            text(&made)
        };
        assert_eq!(
            cut(r#"{"a":"12345","o":{"b":"é€"},"c":"123456"}"#, 4),
            r#"{"a":"1234","o":{"b":"é"},"c":"123456"}"#
        );
        assert_eq!(cut(r#"{"a":"1234","o":{"b":123456}}"#, 4), r#"{"a":"1234","o":{"b":123456}}"#);
        let bytes = [0x80; 10];
        let mut made = Fields::default();
        made.set("a", Value::text(&bytes));
        let step = Truncate { fields: vec!["a".into()], max_size: 5 };
        assert!(step.apply(&mut made));
        assert_eq!(made.get("a"), Some(&Value::text(&bytes[..2])));
    }

    #[test]
    fn levels_become_alike() {
        let step = |default: Option<&str>| Level {
            from: vec!["level".into(), "severity".into()],
            to: "level".into(),
            default: default.map(str::to_owned),
        };
        let made = |json: &str, default| {
            let mut made = fields(json);
            let step = step(default);
            let done = step.apply(&mut made);
            (done, text(&made))
        };
        for (level, expected) in [
            ("\"WARNING\"", "warn"),
            ("\"Err\"", "error"),
            ("30", "info"),
            ("\"3\"", "error"),
            ("\" I \"", "info"),
            ("\"emerg\"", "fatal"),
            ("\"Notice\"", "notice"),
            ("60", "fatal"),
            ("\"dbg\"", "debug"),
        ] {
            assert_eq!(
                made(&format!(r#"{{"level":{level}}}"#), None),
                (true, format!(r#"{{"level":"{expected}"}}"#))
            );
        }
        assert_eq!(made(r#"{"severity":"E","x":1}"#, None), (true, r#"{"x":1,"level":"error"}"#.into()));
        assert_eq!(made(r#"{"level":"loud"}"#, Some("info")), (false, r#"{"level":"loud"}"#.into()));
        assert_eq!(made(r#"{"x":1}"#, None), (false, r#"{"x":1}"#.into()));
        assert_eq!(made(r#"{"x":1}"#, Some("info")), (true, r#"{"x":1,"level":"info"}"#.into()));
    }
}
