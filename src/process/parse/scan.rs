//! A log line taken apart from its beginning.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::event::{Field, Value};

/// What is left of a line.
#[derive(Clone, Copy)]
pub(super) struct Scan<'t>(pub(super) &'t [u8]);

impl<'t> Scan<'t> {
    /// Takes what must come next.
    pub(super) fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Takes blanks, if there are any.
    pub(super) fn blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Takes a word of at least one byte that ends at a blank, or with the line. The blank is taken, too.
    pub(super) fn word(&mut self) -> Option<&'t [u8]> {
        let end = memchr2(b' ', b'\t', self.0).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        (!word.is_empty()).then_some(word)
    }

    /// Takes what stands before this byte, which must be there and is taken, too.
    pub(super) fn before(&mut self, end: u8) -> Option<&'t [u8]> {
        let at = memchr(end, self.0)?;
        let (text, rest) = self.0.split_at(at);
        self.0 = &rest[1..];
        Some(text)
    }

    /// Takes a text in square brackets, without them.
    pub(super) fn bracketed(&mut self) -> Option<&'t [u8]> {
        self.literal(b"[")?;
        self.before(b']')
    }

    /// Takes a text in double quotes, without them; a quote inside stands behind a backslash. Escapes stay as
    /// they are written.
    pub(super) fn quoted(&mut self) -> Option<&'t [u8]> {
        self.literal(b"\"")?;
        let text = self.0;
        let mut end = 0;
        loop {
            end += memchr2(b'"', b'\\', &text[end..])?;
            if text[end] == b'"' {
                self.0 = &text[end + 1..];
                return Some(&text[..end]);
            }
            end += 2;
            if end > text.len() {
                return None;
            }
        }
    }

    /// Takes digits, at least one.
    pub(super) fn digits(&mut self) -> Option<&'t [u8]> {
        let end = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        (end > 0).then_some(digits)
    }

    /// Nothing but blanks is left.
    pub(super) fn end(&self) -> Option<()> {
        self.0.trim_ascii().is_empty().then_some(())
    }
}

/// A field that is null where the log writes `-` or nothing.
pub(super) fn dashed<'t>(name: &'static str, text: Option<&'t [u8]>) -> Field<'t> {
    let text = text.filter(|text| !text.is_empty() && *text != b"-");
    Field { name: name.into(), value: text.map_or(Value::NULL, Value::text) }
}

/// The text of a quoted value with its escapes taken off: `\n`, `\t` and `\r`, and `\x` as `x` for all else.
pub(super) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(match (byte, byte == b'\\') {
            (byte, false) => byte,
            (_, true) => match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(&other) => other,
                None => b'\\',
            },
        });
    }
    Cow::Owned(plain)
}
