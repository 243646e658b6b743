//! A log message between decoding and encoding: as the decoder found it ([`Message`]), and as the fields that
//! a route's steps made of it ([`Fields`]).

use std::borrow::Cow;
use std::collections::HashMap;
use std::mem;
use std::path::Path;

use crate::source::Stream;

/// One message as the decoder found it, its parts joined: borrowed from the read buffer where it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The offset of its first line in the file's content; with the stream, what its record id is made of.
    pub start: u64,
    /// The stream that it was written to.
    pub stream: Stream,
    /// When it was written, RFC 3339, as the container runtime told; none for plain files.
    pub time: Option<&'a str>,
    /// Its text without the newline. Not necessarily UTF-8.
    pub body: &'a [u8],
    /// The text was longer than the limit and its end is missing.
    pub cut: bool,
}

/// What the records of one file have in common.
#[derive(Clone, Copy, Debug)]
pub struct FileContext<'a> {
    /// The file's path, for `file`. Bytes that are not UTF-8 are replaced by U+FFFD.
    pub path: &'a Path,
    /// The name of the node or host, for `host`.
    pub host: &'a str,
    /// What is known of the pod that writes it, for `kubernetes`.
    pub kubernetes: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

/// The field that carries the message's text.
pub const LOG: &str = "log";

/// The fields that every record carries about itself. What a message's text says under one of these names is
/// never taken for them: the encoder keeps it under another name.
pub const OWN_FIELDS: [&str; 7] = ["time", "stream", "file", "host", "kubernetes", "record_id", "truncated"];

/// Whether this is the name of one of [`OWN_FIELDS`].
pub fn is_own_field(name: &str) -> bool {
    // The same names again, as the compiler tells them apart quicker than a search does.
    matches!(name, "time" | "stream" | "file" | "host" | "kubernetes" | "record_id" | "truncated")
}

/// Fields in order, each name once: those of a message, or those of an object inside it that a step reached
/// into.
///
/// Names and values borrow from the message's text and from the steps' settings, so a message whose JSON is
/// merged into the record is cut at its fields and never rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(Vec<Field<'a>>);

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, unescaped.
    pub name: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string as it was read or made: not escaped, not necessarily UTF-8.
    Text(Cow<'a, [u8]>),
    /// The text of one complete JSON value, checked when it was made. Strings in it may hold escaped lone
    /// surrogates, and white space between its tokens may hold newlines.
    Raw(Cow<'a, str>),
    /// An object that a step reached into.
    Object(Fields<'a>),
}

impl<'a> Value<'a> {
    /// JSON's null.
    pub const NULL: Value<'static> = Value::Raw(Cow::Borrowed("null"));

    /// A string, borrowed.
    pub fn text(text: &'a [u8]) -> Self {
        Value::Text(Cow::Borrowed(text))
    }

    /// The same value, borrowing from nothing.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Value::Raw(text) => Value::Raw(Cow::Owned(text.into_owned())),
            Value::Object(fields) => {
                Value::Object(Fields(fields.0.into_iter().map(Field::into_owned).collect()))
            }
        }
    }
}

impl<'a> Field<'a> {
    /// A field with a string, borrowed.
    pub fn text(name: impl Into<Cow<'a, str>>, text: &'a [u8]) -> Self {
        Self { name: name.into(), value: Value::text(text) }
    }

    /// The same field, borrowing from nothing.
    pub fn into_owned(self) -> Field<'static> {
        Field { name: Cow::Owned(self.name.into_owned()), value: self.value.into_owned() }
    }
}

/// Up to so many fields, comparing each with each is quicker than sorting; beyond, it would let a hostile
/// line with many thousand fields cost seconds.
const FEW: usize = 32;

impl<'a> Fields<'a> {
    /// What a message is before the first step: its text under [`LOG`].
    pub fn of(message: &Message<'a>) -> Self {
        Self::default().refill(message)
    }

    /// [`of`](Self::of) in the room of fields that are no longer needed.
    pub fn refill<'b>(self, message: &Message<'b>) -> Fields<'b> {
        let mut fields = self.recycle();
        fields.0.push(Field { name: Cow::Borrowed(LOG), value: Value::Text(Cow::Borrowed(message.body)) });
        fields
    }

    /// No fields, with room for as many as there were: one allocation serves all messages although each
    /// borrows from another place.
    pub fn recycle<'b>(mut self) -> Fields<'b> {
        self.0.clear();
        // Collecting a mapped vector of the same layout reuses its allocation; nothing is left to be mapped.
        Fields(self.0.into_iter().map_while(|_| None).collect())
    }

    /// The fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field<'a>> {
        self.0.iter()
    }

    /// The fields in order, to be changed in their values.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value<'a>> {
        self.0.iter_mut().map(|field| &mut field.value)
    }

    /// Takes all fields out, in order.
    pub fn take_all(&mut self) -> Vec<Field<'a>> {
        mem::take(&mut self.0)
    }

    /// Fields whose names may be alike: a later one of the same name gets `_2` behind it, and so on, so that none
    /// is lost.
    pub fn of_all(fields: Vec<Field<'a>>) -> Self {
        let mut taken: HashMap<Cow<'a, str>, usize> = HashMap::with_capacity(fields.len());
        let mut distinct = Vec::with_capacity(fields.len());
        for mut field in fields {
            if taken.contains_key(&field.name) {
                let base = field.name.clone();
                let mut number = taken[&base];
                while taken.contains_key(&field.name) {
                    number += 1;
                    field.name = Cow::Owned(format!("{base}_{number}"));
                }
                taken.insert(base, number);
            }
            taken.insert(field.name.clone(), 1);
            distinct.push(field);
        }
        Self(distinct)
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of this field. The name is taken literally.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|field| field.name == name).map(|field| &field.value)
    }

    /// The value of this field, to be changed. The name is taken literally.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value<'a>> {
        self.0.iter_mut().find(|field| field.name == name).map(|field| &mut field.value)
    }

    /// Sets this field: in its place where it exists, else at the end. The name is taken literally.
    pub fn set(&mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) {
        let name = name.into();
        match self.get_mut(&name) {
            Some(old) => *old = value,
            None => self.0.push(Field { name, value }),
        }
    }

    /// Takes this field away. The name is taken literally.
    pub fn remove(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|field| field.name == name)?;
        Some(self.0.remove(at).value)
    }

    /// Appends the fields that `read` pushes, in place of the field `replaced` where one is named. Of fields
    /// of the same name the last stays. If `read` returns `false`, all is as it was.
    pub fn append_with(
        &mut self,
        replaced: Option<&str>,
        read: impl FnOnce(&mut Vec<Field<'a>>) -> bool,
    ) -> bool {
        let before = self.0.len();
        if !read(&mut self.0) {
            self.0.truncate(before);
            return false;
        }
        let replaced = replaced.and_then(|name| self.0[..before].iter().position(|field| field.name == name));
        if let Some(at) = replaced {
            self.0.remove(at);
        }
        self.keep_last_of_each_name();
        true
    }

    fn keep_last_of_each_name(&mut self) {
        let fields = &self.0;
        let mut doubled = Vec::new();
        if fields.len() <= FEW {
            for (at, field) in fields.iter().enumerate() {
                if fields[at + 1..].iter().any(|later| later.name == field.name) {
                    doubled.push(at);
                }
            }
        } else {
            let mut order: Vec<usize> = (0..fields.len()).collect();
            order.sort_by(|&a, &b| fields[a].name.cmp(&fields[b].name));
            for pair in order.windows(2) {
                if fields[pair[0]].name == fields[pair[1]].name {
                    doubled.push(pair[0]);
                }
            }
            doubled.sort_unstable();
        }
        if doubled.is_empty() {
            return;
        }
        let mut at = 0;
        self.0.retain(|_| {
            let keep = doubled.binary_search(&at).is_err();
            at += 1;
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(name: &str, value: &str) -> Field<'static> {
        Field { name: name.to_owned().into(), value: Value::Raw(value.to_owned().into()) }
    }

    fn names<'f>(fields: &'f Fields<'_>) -> Vec<&'f str> {
        fields.iter().map(|field| &*field.name).collect()
    }

    #[test]
    fn own_fields_are_known_by_their_names() {
        assert!(OWN_FIELDS.iter().all(|name| is_own_field(name)));
        assert!(!is_own_field(LOG) && !is_own_field("") && !is_own_field("hostname"));
    }

    #[test]
    fn of_fields_of_one_name_the_last_stays_however_many_there_are() {
        for count in [3, FEW - 1, FEW, FEW + 1, 1000] {
            let mut fields = Fields::default();
            assert!(fields.append_with(None, |into| {
                into.extend((0..count).map(|i| raw(&format!("f{i}"), "0")));
                into.push(raw("f1", "1"));
                into.push(raw("f0", "1"));
                into.push(raw("f1", "2"));
                true
            }));
            assert_eq!(fields.len(), count);
            assert_eq!(fields.get("f1"), Some(&Value::Raw("2".into())), "{count}");
            assert_eq!(fields.get("f0"), Some(&Value::Raw("1".into())), "{count}");
            assert_eq!(names(&fields)[count - 2..], ["f0", "f1"]);
        }
    }

    #[test]
    fn fields_that_could_not_be_read_leave_all_as_it_was() {
        let message = Message { start: 0, stream: Stream::Plain, time: None, body: b"text", cut: false };
        let mut fields = Fields::of(&message);
        assert!(!fields.append_with(Some(LOG), |into| {
            into.push(raw("half", "1"));
            false
        }));
        assert_eq!(fields, Fields::of(&message));
    }

    #[test]
    fn the_replaced_field_goes_and_a_new_one_of_its_name_stays() {
        let mut fields = Fields::default();
        fields.set("log", Value::text(b"old"));
        fields.set("a", Value::text(b"a"));
        fields.append_with(Some("log"), |into| {
            into.push(raw("log", "1"));
            true
        });
        assert_eq!(names(&fields), ["a", "log"]);
        assert_eq!(fields.get("log"), Some(&Value::Raw("1".into())));
    }

    #[test]
    fn of_names_that_are_alike_the_later_get_numbers() {
        let all = ["a", "a_2", "a", "b", "a", "a_2"].map(|name| raw(name, "1"));
        assert_eq!(names(&Fields::of_all(all.to_vec())), ["a", "a_2", "a_3", "b", "a_4", "a_2_2"]);
        let many = vec![raw("x", "1"); 50_000];
        let many = Fields::of_all(many);
        assert_eq!((many.len(), &*many.0[49_999].name), (50_000, "x_50000"));
    }

    #[test]
    fn recycled_fields_keep_their_room() {
        let text = String::from("borrowed");
        let mut fields = Fields::default();
        for i in 0..100 {
            fields.set(i.to_string(), Value::Raw(Cow::Borrowed(&text)));
        }
        let room = fields.0.capacity();
        let fields: Fields<'static> = fields.recycle();
        assert!(fields.is_empty());
        assert_eq!(fields.0.capacity(), room);
    }
}
