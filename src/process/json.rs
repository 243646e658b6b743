//! JSON objects cut at their fields, whose values stay the text that they were.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::{Field, Fields, Value};

/// The deepest nesting that is accepted, as in serde_json and below the limits of the common consumers: one
/// hostile line must not make a consumer refuse what is packed with it.
const MAX_DEPTH: usize = 127;

/// Appends the fields of the object that `text` is, values as they stand in it, borrowed where the text is.
/// Returns `false` if it is not exactly one JSON object; some fields may have been appended then.
#[expect(clippy::ptr_arg, reason = "only borrowed text can be borrowed from")]
pub(super) fn read_fields<'a>(text: &Cow<'a, str>, into: &mut Vec<Field<'a>>) -> bool {
    match text {
        Cow::Borrowed(text) => read(text, |part| part, into),
        Cow::Owned(text) => read(text, |part| Cow::Owned(part.into_owned()), into),
    }
}

fn read<'a, 'f>(
    text: &'a str,
    keep: impl Fn(Cow<'a, str>) -> Cow<'f, str>,
    into: &mut Vec<Field<'f>>,
) -> bool {
    if !is_candidate(text) {
        return false;
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    Members { keep, into }.deserialize(&mut reader).is_ok() && reader.end().is_ok()
}

/// The text of the object that `text` is, without white space around it; none if it is not exactly one JSON
/// object.
pub(super) fn object_text(text: &str) -> Option<&str> {
    let value: &RawValue = is_candidate(text).then(|| serde_json::from_str(text).ok())??;
    Some(value.get())
}

/// Fields as one JSON object. Bytes that are not UTF-8 stay as they are, for the encoder to count and replace.
pub(super) fn write_fields(fields: &Fields<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write_object(fields, &mut out);
    out
}

fn write_object(fields: &Fields<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(field.name.as_bytes(), out);
        out.push(b':');
        match &field.value {
            Value::Text(text) => write_text(text, out),
            Value::Raw(json) => out.extend_from_slice(json.as_bytes()),
            Value::Object(fields) => write_object(fields, out),
        }
    }
    out.push(b'}');
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        let quoted = serde_json::Value::from(chunk.valid()).to_string();
        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
        out.extend_from_slice(chunk.invalid());
    }
    out.push(b'"');
}

/// Whether it may be an object, told from its first byte: most messages are not, and an error costs more.
fn is_candidate(text: &str) -> bool {
    let start = text.bytes().find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    start == Some(b'{') && !is_too_deep(text)
}

/// Whether objects and arrays are nested deeper than [`MAX_DEPTH`]. Right for valid JSON; for other text the
/// answer is of no use, but costs no more.
fn is_too_deep(text: &str) -> bool {
    let text = text.as_bytes();
    let brackets = text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    brackets > MAX_DEPTH && depth(text) > MAX_DEPTH
}

fn depth(mut text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    while let Some((&byte, rest)) = text.split_first() {
        text = rest;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => text = after_string(text),
            _ => {}
        }
    }
    deepest
}

/// What follows the string whose inside begins here.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', text) {
        if text[at] == b'"' {
            return &text[at + 1..];
        }
        text = text.get(at + 2..).unwrap_or_default();
    }
    &[]
}

/// Reads an object's fields, their names and the text of their values as `keep` keeps them.
struct Members<'v, 'f, K> {
    keep: K,
    into: &'v mut Vec<Field<'f>>,
}

impl<'a, 'f, K: Fn(Cow<'a, str>) -> Cow<'f, str>> DeserializeSeed<'a> for Members<'_, 'f, K> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a, 'f, K: Fn(Cow<'a, str>) -> Cow<'f, str>> Visitor<'a> for Members<'_, 'f, K> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name)? {
            let value: &'a RawValue = map.next_value()?;
            self.into.push(Field {
                name: (self.keep)(name),
                value: Value::Raw((self.keep)(Cow::Borrowed(value.get()))),
            });
        }
        Ok(())
    }
}

struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'a str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::mem;

    use super::*;

    fn fields(text: &str) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        let owned = read_fields(&Cow::Owned(text.to_owned()), &mut fields);
        let owned = owned.then(|| mem::take(&mut fields));
        fields.clear();
        let borrowed = read_fields(&Cow::Borrowed(text), &mut fields);
        assert_eq!(borrowed.then_some(&fields), owned.as_ref());
        borrowed.then(|| {
            let raw = |value| match value {
                Value::Raw(raw) => raw.into_owned(),
                other => panic!("{other:?}"),
            };
            fields.into_iter().map(|field| (field.name.into_owned(), raw(field.value))).collect()
        })
    }

    #[test]
    fn values_stay_the_text_that_they_were() {
        let text = "\t{ \"a\" : 1.50e3 ,\"b\":[ 1, {} ], \"c\\u0041\":\"\\u0041\\n\",\"a\":12345678901234567890123 }\r";
        let expected =
            [("a", "1.50e3"), ("b", "[ 1, {} ]"), ("cA", "\"\\u0041\\n\""), ("a", "12345678901234567890123")];
        assert_eq!(fields(text).unwrap(), expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(object_text(text).unwrap(), text.trim());
    }

    #[test]
    fn only_one_complete_object_is_accepted() {
        for text in [
            "",
            " ",
            "text",
            "[]",
            "1",
            "\"{}\"",
            "null",
            "{",
            "{}}",
            "{} {}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1",
            "{\"a\":\"\n\"}",
            "{\"a\":01}",
            "{\"a\":nul}",
        ] {
            assert_eq!(fields(text), None, "{text}");
            assert_eq!(object_text(text), None, "{text}");
        }
        assert_eq!(fields("{}"), Some(vec![]));
    }

    #[test]
    fn nesting_is_bounded_and_brackets_in_strings_are_not_nesting() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(fields(&nested(MAX_DEPTH - 1)).is_some());
        assert!(fields(&nested(MAX_DEPTH)).is_none());
        assert!(object_text(&nested(100_000)).is_none());
        assert!(
            fields(&format!("{{\"a\":\"\\\"{}\",\"b\":[{}1]}}", "[{".repeat(500), "[],".repeat(500)))
                .is_some()
        );
    }
}
