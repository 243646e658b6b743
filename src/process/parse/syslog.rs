//! Syslog as files hold it: RFC 3164's form, the same with a time of RFC 3339, and RFC 5424's, each with the
//! priority in front or, as daemons write their files, without.

use std::borrow::Cow;

use super::scan::{Scan, dashed};
use crate::event::{Field, Fields, Value};

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogForm {
    /// As the line itself tells.
    #[default]
    Auto,
    /// `Jan  2 03:04:05 host program[12]: message`
    Rfc3164,
    /// `2026-01-02T03:04:05.678+01:00 host program[12]: message`
    Rfc3339,
    /// `<165>1 2026-01-02T03:04:05.678Z host program 12 id [data name="value"] message`
    Rfc5424,
}

/// The severities of RFC 5424, by their numbers.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
/// The facilities of RFC 5424, by their numbers, as syslog.conf calls them.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "security", "console", "clock", "local0", "local1", "local2", "local3", "local4", "local5",
    "local6", "local7",
];

pub(super) fn parse<'t>(form: SyslogForm, text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut line = Scan(text);
    let priority = priority(&mut line);
    let form = match form {
        SyslogForm::Auto if priority.is_some() && line.0.starts_with(b"1 ") => SyslogForm::Rfc5424,
        SyslogForm::Auto if line.0.first().is_some_and(u8::is_ascii_digit) => SyslogForm::Rfc3339,
        SyslogForm::Auto => SyslogForm::Rfc3164,
        said => said,
    };
    if let Some(priority) = priority {
        into.push(Field::text("facility", FACILITIES[usize::from(priority / 8)].as_bytes()));
        into.push(Field::text("severity", SEVERITIES[usize::from(priority % 8)].as_bytes()));
    }
    match form {
        SyslogForm::Rfc5424 => rfc5424(line, into),
        SyslogForm::Rfc3339 => {
            let time = line.word().filter(|time| is_date(time))?;
            after_time(time, line, into)
        }
        SyslogForm::Rfc3164 | SyslogForm::Auto => {
            line.0.get(..15).filter(|time| {
                let letters = time[..3].iter().all(u8::is_ascii_alphabetic);
                let clock = time[9] == b':' && time[12] == b':' && time[6] == b' ';
                letters && time[3] == b' ' && clock && time[13..].iter().all(u8::is_ascii_digit)
            })?;
            let fraction = match line.0.get(15) {
                Some(b'.') => line.0[16..].iter().take_while(|byte| byte.is_ascii_digit()).count() + 1,
                _ => 0,
            };
            let (time, rest) = line.0.split_at(15 + fraction);
            line.0 = rest;
            line.literal(b" ")?;
            after_time(time, line, into)
        }
    }
}

/// `<34>`: taken if it is there and in range.
fn priority(line: &mut Scan<'_>) -> Option<u8> {
    let mut after = *line;
    after.literal(b"<")?;
    let number = after.digits().filter(|number| number.len() <= 3)?;
    after.literal(b">")?;
    let number: u8 = std::str::from_utf8(number).ok()?.parse().ok().filter(|number| *number < 192)?;
    *line = after;
    Some(number)
}

fn is_date(time: &[u8]) -> bool {
    time.len() >= 19 && time[4] == b'-' && time[7] == b'-' && time[10] == b'T'
}

/// `host program[12]: message`
fn after_time<'t>(time: &'t [u8], mut line: Scan<'t>, into: &mut Vec<Field<'t>>) -> Option<()> {
    let host = line.word()?;
    let (program, process, message) = match tag(line) {
        Some((program, process, message)) => (Some(program), process, message),
        // `last message repeated 2 times`
        None => (None, None, line.0),
    };
    into.push(Field::text("timestamp", time));
    into.push(dashed("hostname", Some(host)));
    into.push(dashed("program", program));
    into.push(dashed("processid", process));
    into.push(Field::text("message", message));
    Some(())
}

type Tag<'t> = (&'t [u8], Option<&'t [u8]>, &'t [u8]);

/// `program[12]: message` or `program: message`; a program's name has no blank.
fn tag(line: Scan<'_>) -> Option<Tag<'_>> {
    let end = line.0.iter().position(|byte| matches!(byte, b'[' | b':' | b' '))?;
    let (program, rest) = line.0.split_at(end);
    let mut rest = Scan(rest);
    let process = if rest.0.starts_with(b"[") { Some(rest.bracketed()?) } else { None };
    rest.literal(b":")?;
    let message = rest.0.strip_prefix(b" ").unwrap_or(rest.0);
    (!program.is_empty()).then_some((program, process, message))
}

/// `1 time host program process id data message`, `-` where there is nothing.
fn rfc5424<'t>(mut line: Scan<'t>, into: &mut Vec<Field<'t>>) -> Option<()> {
    line.literal(b"1 ")?;
    let time = line.word().filter(|time| *time == b"-" || is_date(time))?;
    let (host, program, process, id) = (line.word()?, line.word()?, line.word()?, line.word()?);
    let mut data = Fields::default();
    if line.literal(b"-").is_none() {
        while line.0.starts_with(b"[") {
            element(&mut line, &mut data)?;
        }
        if data.is_empty() {
            return None;
        }
    }
    let message = if line.0.is_empty() { line.0 } else { line.0.strip_prefix(b" ")? };
    into.push(dashed("timestamp", Some(time)));
    into.push(dashed("hostname", Some(host)));
    into.push(dashed("program", Some(program)));
    into.push(dashed("processid", Some(process)));
    into.push(dashed("message_id", Some(id)));
    if !data.is_empty() {
        into.push(Field { name: "structured_data".into(), value: Value::Object(data) });
    }
    // A byte order mark says that UTF-8 follows, which is assumed anyway.
    into.push(Field::text("message", message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message)));
    Some(())
}

/// `[id name="value" …]`
fn element<'t>(line: &mut Scan<'t>, data: &mut Fields<'t>) -> Option<()> {
    line.literal(b"[")?;
    let end = line.0.iter().position(|byte| matches!(byte, b' ' | b']'))?;
    let (id, rest) = line.0.split_at(end);
    line.0 = rest;
    let mut values = Fields::default();
    let read = values.append_with(None, |into| {
        while line.literal(b" ").is_some() {
            let Some(name) = line.before(b'=') else { return false };
            let Some(value) = line.quoted() else { return false };
            into.push(Field { name: String::from_utf8_lossy(name), value: Value::Text(parameter(value)) });
        }
        line.literal(b"]").is_some()
    });
    if !read || id.is_empty() {
        return None;
    }
    data.set(String::from_utf8_lossy(id), Value::Object(values));
    Some(())
}

/// Only `\"`, `\\` and `\]` are escapes in a parameter's value; any other backslash is one.
fn parameter(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut plain = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        let (byte, len) = match rest.get(at + 1) {
            Some(byte @ (b'"' | b'\\' | b']')) => (*byte, 2),
            _ => (b'\\', 1),
        };
        plain.push(byte);
        rest = &rest[at + len..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}
