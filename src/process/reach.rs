//! Fields by names that may reach into objects: `a.b` is the field `a.b`, or else `b` inside of `a`.

use std::borrow::Cow;

use super::json;
use crate::event::{Fields, Value};

/// The value of a field, to be looked at; none if it does not exist.
pub(super) fn get<'v, 'a>(fields: &'v Fields<'a>, name: &str) -> Option<Cow<'v, Value<'a>>> {
    if let Some(value) = fields.get(name) {
        return Some(Cow::Borrowed(value));
    }
    let (head, rest) = name.split_once('.')?;
    match fields.get(head)? {
        Value::Object(inner) => get(inner, rest),
        Value::Raw(text) => {
            let mut inner = Fields::default();
            inner.append_with(None, |into| json::read_fields(text, into)).then_some(())?;
            get(&inner, rest).map(|value| Cow::Owned(value.into_owned()))
        }
        Value::Text(_) => None,
    }
}

/// The text of a field; none if it does not exist or is not a text. Borrowed from where the field borrows.
pub(super) fn text<'a>(fields: &Fields<'a>, name: &str) -> Option<Cow<'a, [u8]>> {
    match get(fields, name)?.as_ref() {
        Value::Text(text) => Some(text.clone()),
        // A string in JSON, such as an earlier step parsed.
        Value::Raw(Cow::Borrowed(json)) => match string(json)? {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())),
        },
        Value::Raw(Cow::Owned(json)) => Some(Cow::Owned(string(json)?.into_owned().into_bytes())),
        Value::Object(_) => None,
    }
}

/// The text of a value that is one, or that is a number, a boolean or null, as JSON writes these.
pub(super) fn plain<'v>(value: &'v Value<'_>) -> Option<Cow<'v, [u8]>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Raw(json) if json.starts_with('"') => match string(json)? {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())),
        },
        Value::Raw(json) if json.starts_with(['{', '[']) => None,
        Value::Raw(json) => Some(Cow::Borrowed(json.as_bytes())),
        Value::Object(_) => None,
    }
}

/// The text of a JSON string; none if the JSON is something else, or holds half of a surrogate pair.
pub(super) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// Takes a field away; none if it does not exist.
pub(super) fn take<'a>(fields: &mut Fields<'a>, name: &str) -> Option<Value<'a>> {
    if let Some(value) = fields.remove(name) {
        return Some(value);
    }
    let (head, rest) = name.split_once('.')?;
    take(open(fields.get_mut(head)?)?, rest)
}

/// Sets a field, in objects that are made where they do not exist. If something else than an object is in the
/// way, nothing changes and the value comes back.
pub(super) fn set<'a>(fields: &mut Fields<'a>, name: &'a str, value: Value<'a>) -> Result<(), Value<'a>> {
    let Some((head, rest)) = name.split_once('.').filter(|_| fields.get(name).is_none()) else {
        fields.set(name, value);
        return Ok(());
    };
    match fields.get_mut(head) {
        Some(object) => match open(object) {
            Some(inner) => set(inner, rest, value),
            None => Err(value),
        },
        None => {
            let mut inner = Fields::default();
            set(&mut inner, rest, value)?;
            fields.set(head, Value::Object(inner));
            Ok(())
        }
    }
}

/// The fields of a value that is an object, to be changed; their values stay text.
pub(super) fn open<'v, 'a>(value: &'v mut Value<'a>) -> Option<&'v mut Fields<'a>> {
    if let Value::Raw(text) = value {
        let mut fields = Fields::default();
        if !fields.append_with(None, |into| json::read_fields(text, into)) {
            return None;
        }
        *value = Value::Object(fields);
    }
    match value {
        Value::Object(fields) => Some(fields),
        Value::Text(_) | Value::Raw(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(members: &[(&'static str, &'static str)]) -> Fields<'static> {
        let mut fields = Fields::default();
        for (name, json) in members {
            fields.set(*name, Value::Raw((*json).into()));
        }
        fields
    }

    fn raw(json: &str) -> Value<'_> {
        Value::Raw(json.into())
    }

    #[test]
    fn a_name_that_is_there_literally_wins_at_every_level() {
        let start = fields(&[("a", r#"{"b":1,"c.d":2,"c":{"d":3}}"#), ("a.b", "4")]);
        let mut left = start.clone();
        assert_eq!(take(&mut left, "a.b"), Some(raw("4")));
        assert_eq!(take(&mut left, "a.b"), Some(raw("1")));
        assert_eq!(take(&mut left, "a.b"), None);
        assert_eq!(take(&mut left, "a.c.d"), Some(raw("2")));
        assert_eq!(take(&mut left, "a.c.d"), Some(raw("3")));
        assert_eq!(take(&mut left, "a.c"), Some(Value::Object(Fields::default())));

        let mut changed = start;
        assert_eq!(set(&mut changed, "a.b", raw("5")), Ok(()));
        assert_eq!(changed.get("a.b"), Some(&raw("5")));
        assert_eq!(take(&mut changed, "a.c.d"), Some(raw("2")));
    }

    #[test]
    fn objects_that_do_not_exist_are_made() {
        let mut made = Fields::default();
        assert_eq!(set(&mut made, "a.b.c", raw("1")), Ok(()));
        assert_eq!(set(&mut made, "a.b.d", raw("2")), Ok(()));
        assert_eq!(take(&mut made, "a.b.c"), Some(raw("1")));
        assert_eq!(take(&mut made, "a.b.d"), Some(raw("2")));
    }

    #[test]
    fn what_is_no_object_stays_in_the_way_unchanged() {
        let start =
            fields(&[("text", "\"{}\""), ("list", "[{}]"), ("null", "null"), ("nested", r#"{"n":1}"#)]);
        for name in ["text.a", "list.a", "list.0", "null.a.b", "nested.n.a"] {
            let mut tried = start.clone();
            assert_eq!(take(&mut tried, name), None, "{name}");
            assert_eq!(set(&mut tried, name, raw("1")), Err(raw("1")), "{name}");
            assert_eq!(tried.len(), start.len());
            assert_eq!(take(&mut tried, "nested.n"), Some(raw("1")));
        }
    }
}
