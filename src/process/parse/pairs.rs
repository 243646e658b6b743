//! Names and values in a line: logfmt, other key-value forms, and klog's lines, which may hold such.

use std::borrow::Cow;

use memchr::memmem;

use super::scan::{Scan, dashed, unescaped};
use crate::event::{Field, Value};

/// `name=value name="quoted value" …`: the message must begin with a pair; a lone name later is `true`.
pub(super) fn logfmt<'t>(text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut line = Scan(text.trim_ascii());
    let mut first = true;
    while !line.0.is_empty() {
        let end = line.0.iter().position(|byte| matches!(byte, b'=' | b'"' | 0..=b' '));
        let (name, rest) = line.0.split_at(end.unwrap_or(line.0.len()));
        line.0 = rest;
        if name.is_empty() {
            return None;
        }
        let value = if line.literal(b"=").is_some() {
            Value::Text(value(&mut line)?)
        } else if first || line.0.starts_with(b"\"") {
            return None;
        } else {
            Value::Raw("true".into())
        };
        into.push(Field { name: String::from_utf8_lossy(name), value });
        first = false;
        line.blanks();
    }
    (!first).then_some(())
}

/// A quoted text, its escapes taken off, or a word.
fn value<'t>(line: &mut Scan<'t>) -> Option<Cow<'t, [u8]>> {
    if line.0.starts_with(b"\"") {
        let value = line.quoted()?;
        // Behind the quote a new pair begins.
        return (line.0.is_empty() || line.0[0].is_ascii_whitespace()).then(|| unescaped(value));
    }
    let end = line.0.iter().position(|byte| *byte <= b' ').unwrap_or(line.0.len());
    let (value, rest) = line.0.split_at(end);
    line.0 = rest;
    Some(Cow::Borrowed(value))
}

/// Pairs with separators of one's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Stands between two pairs.
    pub between_pairs: String,
    /// Stands between a name and its value.
    pub between_name_and_value: String,
}

/// Every part between two separators must be a pair. A value may stand in quotes, single or double, and may
/// hold the separator there. Blanks around names and values are taken off.
pub(super) fn key_value<'t>(form: &KeyValue, text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let (pairs, pair) = (form.between_pairs.as_bytes(), form.between_name_and_value.as_bytes());
    let mut rest = text.trim_ascii();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let at = memmem::find(rest, pair)?;
        let name = rest[..at].trim_ascii();
        if name.is_empty() {
            return None;
        }
        rest = rest[at + pair.len()..].trim_ascii_start();
        let value = match rest.first() {
            Some(quote @ (b'"' | b'\'')) => {
                let end = memchr::memchr(*quote, &rest[1..])? + 1;
                match after_quotes(&rest[end + 1..], pairs) {
                    Some(after) => {
                        let value = &rest[1..end];
                        rest = after;
                        Cow::Borrowed(value)
                    }
                    // With quotes inside that stand behind a backslash.
                    None => {
                        let mut line = Scan(rest);
                        let value = unescaped(line.quoted()?);
                        rest = after_quotes(line.0, pairs)?;
                        value
                    }
                }
            }
            _ => {
                let end = memmem::find(rest, pairs).unwrap_or(rest.len());
                let value = rest[..end].trim_ascii();
                rest = rest.get(end + pairs.len()..).unwrap_or_default();
                Cow::Borrowed(value)
            }
        };
        rest = rest.trim_ascii_start();
        into.push(Field { name: String::from_utf8_lossy(name), value: Value::Text(value) });
    }
    Some(())
}

/// What follows the separator that must stand behind a value in quotes, unless it was the last.
fn after_quotes<'t>(rest: &'t [u8], pairs: &[u8]) -> Option<&'t [u8]> {
    let rest = rest.trim_ascii_start();
    // Blanks between pairs are gone already where they are the separator.
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(pairs.trim_ascii()) }
}

/// `I0102 03:04:05.678901   12345 file.go:67] message`, and klog's structured form, in which the message stands in
/// quotes and pairs follow it.
pub(super) fn klog<'t>(text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let severity: &[u8] = match text.first()? {
        b'I' => b"info",
        b'W' => b"warning",
        b'E' => b"error",
        b'F' => b"fatal",
        _ => return None,
    };
    // `0102 03:04:05.678901`
    let time = text.get(1..21).filter(|time| {
        time[..4].iter().all(u8::is_ascii_digit) && time[4] == b' ' && time[7] == b':' && time[13] == b'.'
    })?;
    let mut line = Scan(&text[21..]);
    line.blanks();
    let thread = line.digits()?;
    line.literal(b" ")?;
    let source = line.before(b']')?;
    let rest = line.0.strip_prefix(b" ").unwrap_or(line.0);
    into.push(Field::text("severity", severity));
    into.push(Field::text("timestamp", time));
    into.push(Field::text("threadid", thread));
    into.push(dashed("source", Some(source)));
    let plain = into.len();
    if structured(rest, into).is_none() {
        into.truncate(plain);
        into.push(Field::text("message", rest));
    }
    Some(())
}

fn structured<'t>(text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let mut line = Scan(text);
    let message = line.quoted()?;
    into.push(Field { name: "message".into(), value: Value::Text(unescaped(message)) });
    if line.end().is_none() {
        line.literal(b" ")?;
        logfmt(line.0, into)?;
    }
    Some(())
}
