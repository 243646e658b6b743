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

/// The text of a quoted value with its escapes taken off, as JSON and Go write them. What is no escape stays as it is,
/// and so does `\xff`, which stands for a byte that is no text.
pub(super) fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'\\', rest) {
        plain.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, len) = match rest.get(1) {
            Some(byte @ (b'"' | b'\'' | b'\\' | b'/')) => (*byte, 2),
            Some(b'n') => (b'\n', 2),
            Some(b't') => (b'\t', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'b') => (0x08, 2),
            Some(b'f') => (0x0c, 2),
            Some(b'a') => (0x07, 2),
            Some(b'v') => (0x0b, 2),
            Some(b'u' | b'U') => match character(rest) {
                Some((character, len)) => {
                    plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    rest = &rest[len..];
                    continue;
                }
                None => (b'\\', 1),
            },
            _ => (b'\\', 1),
        };
        plain.push(byte);
        rest = &rest[len..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// The character that `\u1234`, a pair of surrogates or `\U00012345` stands for, and how long that is written.
fn character(text: &[u8]) -> Option<(char, usize)> {
    let hex = |at: usize, len: usize| {
        let digits = text.get(at..at + len).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    if text.get(1) == Some(&b'U') {
        return Some((char::from_u32(hex(2, 8)?)?, 10));
    }
    let first = hex(2, 4)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = hex(8, 4)
        .filter(|second| text.get(6..8) == Some(&b"\\u"[..]) && (0xdc00..0xe000).contains(second))?;
    let pair = (first.checked_sub(0xd800)? << 10) + (second - 0xdc00) + 0x10000;
    Some((char::from_u32(pair)?, 12))
}
