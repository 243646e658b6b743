//! The fields of an entry of systemd's journal: what a message is made of before the first step.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::event::{Field, Fields, LOG, Message, Value};
use crate::journal::EntryFields;

/// The field with the message's text.
const MESSAGE: &str = "MESSAGE";

/// Under which names a route's messages have an entry's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalFields {
    /// `MESSAGE` is the message's text, as of any other source.
    pub message_as_log: bool,
    /// Names in lower case.
    pub lowercase: bool,
    /// Names without the underscore with which those begin that journald itself vouches for.
    pub strip_underscores: bool,
}

impl JournalFields {
    /// The fields of a message, in the room of those that are no longer needed. A field that is there several times
    /// becomes a list, in its first place. Where names come to be alike, that which journald vouches for keeps it, and
    /// the others get `_2` behind them, and so on.
    pub(super) fn of<'a>(&self, message: &Message<'a>, spare: Fields<'_>) -> Fields<'a> {
        let mut fields = spare.recycle();
        let mut all: Vec<Field<'a>> = Vec::new();
        let mut places: HashMap<&'a [u8], usize> = HashMap::new();
        let mut several: Vec<(usize, Vec<&'a [u8]>)> = Vec::new();
        for (name, value) in EntryFields::of(message.body) {
            if let Some(&at) = places.get(name) {
                match several.iter_mut().find(|(other, _)| *other == at) {
                    Some((_, values)) => values.push(value),
                    None => {
                        let first = match &all[at].value {
                            Value::Text(Cow::Borrowed(first)) => first,
                            _ => &[][..],
                        };
                        several.push((at, vec![first, value]));
                    }
                }
                continue;
            }
            places.insert(name, all.len());
            all.push(Field::text(String::from_utf8_lossy(name), value));
        }
        for (at, values) in several {
            all[at].value = list(&values);
        }
        if self.strip_underscores {
            // Those that journald vouches for come first, so that their names are theirs.
            all.sort_by_key(|field| !field.name.starts_with('_'));
        }
        for field in &mut all {
            self.rename(field);
        }
        let changed = self.lowercase || self.strip_underscores || self.message_as_log;
        let distinct = if changed { Fields::of_all(all).take_all() } else { all };
        fields.append_with(None, |into| {
            into.extend(distinct);
            true
        });
        fields
    }

    fn rename(&self, field: &mut Field<'_>) {
        if self.message_as_log && field.name == MESSAGE {
            field.name = Cow::Borrowed(LOG);
            return;
        }
        if self.strip_underscores {
            let name = field.name.trim_start_matches('_');
            if !name.is_empty() && name.len() < field.name.len() {
                field.name = Cow::Owned(name.to_owned());
            }
        }
        if self.lowercase {
            field.name = Cow::Owned(field.name.to_ascii_lowercase());
        }
    }
}

fn list(values: &[&[u8]]) -> Value<'static> {
    let texts = values.iter().map(|value| serde_json::Value::from(String::from_utf8_lossy(value)));
    Value::Raw(Cow::Owned(serde_json::Value::Array(texts.collect()).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Stream;

    fn fields(form: JournalFields, entry: &[u8]) -> Vec<(String, String)> {
        let message = Message { start: 1, stream: Stream::Plain, time: None, body: entry, cut: false };
        let fields = form.of(&message, Fields::default());
        let told = fields.iter().map(|field| {
            let value = match &field.value {
                Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Value::Raw(text) => format!("json {text}"),
                Value::Object(_) => panic!("an object"),
            };
            (field.name.to_string(), value)
        });
        told.collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const ENTRY: &[u8] =
        b"PID=forged\nMESSAGE=hello\n_PID=7\nTAG=a\n_SYSTEMD_UNIT=x.service\nTAG=b\"\nTAG=c\n";

    #[test]
    fn fields_are_as_they_are_and_one_that_is_there_several_times_is_a_list() {
        let expected = [
            ("PID", "forged"),
            ("MESSAGE", "hello"),
            ("_PID", "7"),
            ("TAG", r#"json ["a","b\"","c"]"#),
            ("_SYSTEMD_UNIT", "x.service"),
        ];
        assert_eq!(fields(JournalFields::default(), ENTRY), pairs(&expected));
    }

    #[test]
    fn a_name_that_journald_vouches_for_is_not_taken_by_another() {
        let form = JournalFields { message_as_log: true, lowercase: true, strip_underscores: true };
        let expected = [
            ("pid", "7"),
            ("systemd_unit", "x.service"),
            ("pid_2", "forged"),
            ("log", "hello"),
            ("tag", r#"json ["a","b\"","c"]"#),
        ];
        assert_eq!(fields(form, ENTRY), pairs(&expected));
        let form = JournalFields { message_as_log: true, ..JournalFields::default() };
        assert_eq!(fields(form, b"LOG=x\nMESSAGE=y\n"), pairs(&[("LOG", "x"), ("log", "y")]));
        let form = JournalFields { strip_underscores: true, ..JournalFields::default() };
        assert_eq!(fields(form, b"_=x\n__A=y\n"), pairs(&[("_", "x"), ("A", "y")]));
    }

    #[test]
    fn an_entry_with_very_many_fields_takes_no_longer_for_each() {
        let entry: Vec<u8> = (0..100_000).flat_map(|i| format!("F{}=1\n", i % 50_000).into_bytes()).collect();
        assert_eq!(fields(JournalFields::default(), &entry).len(), 50_000);
    }
}
