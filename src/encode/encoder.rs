//! The encoder of one file.

use std::mem;
use std::time::SystemTime;

use jiff::Timestamp;

use super::id::Ids;
use super::layout::Layout;
use super::string;
use crate::event::{Fields, FileContext, LOG, Message, Value};
use crate::record::RecordId;
use crate::source::{Incarnation, RouteName, Stream};

/// Encodes the records of one incarnation of a file. Small: the constant part of a record and its id's.
#[derive(Clone, Debug)]
pub struct Encoder {
    ids: Ids,
    /// `,"file":…,"host":…,"kubernetes":…,"record_id":"`
    suffix: Box<[u8]>,
    layout: Layout,
    counts: Counts,
}

/// What an encoder saw since it was last asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records in which text was not UTF-8 and was replaced in part.
    pub invalid_utf8: u64,
    /// Fields of messages that bore the name of one of the record's own and are kept under another.
    pub renamed_fields: u64,
}

impl Encoder {
    /// An encoder for a file on the node with this persistent id, in the default layout.
    pub fn new(node: u128, incarnation: Incarnation, file: FileContext<'_>) -> Self {
        Self::with(Layout::default(), node, incarnation, file)
    }

    /// An encoder in this layout.
    pub fn with(layout: Layout, node: u128, incarnation: Incarnation, file: FileContext<'_>) -> Self {
        let suffix = suffix(&layout, file);
        Self { ids: Ids::new(node, incarnation), suffix, layout, counts: Counts::default() }
    }

    /// Goes on with what is known of the file now. Ids of records stay what they are.
    pub fn describe(&mut self, file: FileContext<'_>) {
        self.suffix = suffix(&self.layout, file);
    }

    /// The same for a route under which the file falls beside its first: its records have ids of their own.
    #[must_use]
    pub fn under(mut self, further: &RouteName) -> Self {
        self.ids = self.ids.under(Some(further));
        self
    }

    /// Appends the record of a message as it is, without a newline. `time_read` (see [`time_read()`]) is its
    /// time where the message has none of its own.
    pub fn encode(&mut self, message: &Message<'_>, time_read: &str, out: &mut Vec<u8>) {
        if self.layout.0.raw {
            return out.extend_from_slice(message.body);
        }
        out.reserve(message.body.len() + self.suffix.len() + 160);
        let start = out.len();
        self.begin(message, time_read, out);
        out.extend_from_slice(&self.layout.0.log);
        let is_utf8 = string::string(message.body, out);
        self.counts.invalid_utf8 += u64::from(!is_utf8);
        self.end(message, start, out);
    }

    /// Appends the record of a message of which a route's steps have made `fields`; otherwise like
    /// [`encode`](Self::encode).
    pub fn encode_fields(
        &mut self,
        message: &Message<'_>,
        fields: &Fields<'_>,
        time_read: &str,
        out: &mut Vec<u8>,
    ) {
        let shape = &*self.layout.0;
        if shape.raw {
            return self.encode_message(fields, out);
        }
        out.reserve(message.body.len() + self.suffix.len() + 160);
        let start = out.len();
        self.begin(message, time_read, out);
        // The text takes this name from a field of the message's own.
        let other_log = shape.other_log().filter(|_| fields.get(LOG).is_some());
        let mut is_utf8 = true;
        let mut renamed = 0;
        // Names that were given away; as a rule none.
        let mut given = Vec::new();
        for field in fields.iter() {
            let name = if field.name == LOG { shape.other_log().unwrap_or(LOG) } else { &field.name };
            out.push(b',');
            if shape.is_own(name) || field.name != LOG && other_log == Some(name) {
                renamed += 1;
                let mut name = format!("{LOG}_{name}");
                while fields.get(&name).is_some() || given.contains(&name) || shape.is_own(&name) {
                    name.push('_');
                }
                string::string(name.as_bytes(), out);
                given.push(name);
            } else {
                string::string(name.as_bytes(), out);
            }
            out.push(b':');
            is_utf8 &= write_value(&field.value, out);
        }
        self.counts.renamed_fields += renamed;
        self.counts.invalid_utf8 += u64::from(!is_utf8);
        self.end(message, start, out);
    }

    /// The text where it is all there is, or else the fields.
    fn encode_message(&mut self, fields: &Fields<'_>, out: &mut Vec<u8>) {
        if let (1, Some(Value::Text(text))) = (fields.len(), fields.get(LOG)) {
            return out.extend_from_slice(text);
        }
        self.counts.invalid_utf8 += u64::from(!write_object(fields, out));
    }

    /// The id of a message's record.
    pub fn id(&self, message: &Message<'_>) -> RecordId {
        self.ids.of(message.start, message.stream)
    }

    /// What was counted since this was last called.
    pub fn take_counts(&mut self) -> Counts {
        mem::take(&mut self.counts)
    }

    fn begin(&self, message: &Message<'_>, time_read: &str, out: &mut Vec<u8>) {
        let shape = &*self.layout.0;
        if let Some(key) = &shape.time {
            out.extend_from_slice(key);
            string::string(message.time.unwrap_or(time_read).as_bytes(), out);
        }
        if let Some(key) = &shape.stream {
            let name: &[u8] = match message.stream {
                Stream::Plain => return,
                Stream::Stdout => b"\"stdout\"",
                Stream::Stderr => b"\"stderr\"",
            };
            out.extend_from_slice(key);
            out.extend_from_slice(name);
        }
    }

    /// Ends a record that begins at `start`. All that was written yet begins with a comma.
    fn end(&self, message: &Message<'_>, start: usize, out: &mut Vec<u8>) {
        if let (true, Some(key)) = (message.cut, &self.layout.0.truncated) {
            out.extend_from_slice(key);
            out.extend_from_slice(b"true");
        }
        out.extend_from_slice(&self.suffix);
        if self.layout.0.record_id.is_some() {
            out.extend_from_slice(&self.id(message).hex());
            out.push(b'"');
        }
        match out.get_mut(start) {
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

/// What all records of a file end with: made once, so that a line costs no more for what is known of its pod.
fn suffix(layout: &Layout, file: FileContext<'_>) -> Box<[u8]> {
    let shape = &layout.0;
    let mut suffix = Vec::new();
    if let Some(key) = &shape.file {
        suffix.extend_from_slice(key);
        string::string(file.path.as_os_str().as_encoded_bytes(), &mut suffix);
    }
    if let Some(key) = &shape.host {
        suffix.extend_from_slice(key);
        string::string(file.host.as_bytes(), &mut suffix);
    }
    if let (Some(key), Some(kubernetes)) = (&shape.kubernetes, file.kubernetes) {
        suffix.extend_from_slice(key);
        suffix.extend_from_slice(shape.pod(kubernetes).to_string().as_bytes());
    }
    if let Some(key) = &shape.record_id {
        suffix.extend_from_slice(key);
        suffix.push(b'"');
    }
    suffix.into()
}

/// The time at which lines were read, as records carry it where nothing tells when they were written: RFC 3339
/// in UTC. To be made once for all lines of a block.
pub fn time_read(now: SystemTime) -> String {
    // Years beyond 9999 cannot be written; a clock that is there is as good as one at its start.
    Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// Appends a value as JSON. Returns `false` if a text in it was not UTF-8.
pub fn write_value(value: &Value<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Text(text) => string::string(text, out),
        Value::Raw(text) => {
            string::raw(text, out);
            true
        }
        Value::Object(fields) => write_object(fields, out),
    }
}

fn write_object(fields: &Fields<'_>, out: &mut Vec<u8>) -> bool {
    let mut is_utf8 = true;
    out.push(b'{');
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        string::string(field.name.as_bytes(), out);
        out.push(b':');
        is_utf8 &= write_value(&field.value, out);
    }
    out.push(b'}');
    is_utf8
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::event::OWN_FIELDS;

    const TIME: &str = "2026-01-02T03:04:05.123456789+02:00";
    const READ: &str = "2026-01-02T03:04:06.5Z";

    fn encoder() -> Encoder {
        let kubernetes = json!({"namespace_name": "payments", "pod_name": "api"});
        let file = FileContext {
            path: Path::new("/var/log/pods/\u{7f}\"x\n/0.log"),
            host: "node-1",
            kubernetes: kubernetes.as_object(),
        };
        Encoder::new(7, Incarnation(8), file)
    }

    fn message(body: &[u8]) -> Message<'_> {
        Message { start: 40, stream: Stream::Stderr, time: Some(TIME), body, cut: false }
    }

    fn fields<'a>(members: &[(&'a str, &'a str)]) -> Fields<'a> {
        let mut fields = Fields::default();
        for (name, json) in members {
            fields.set(*name, Value::Raw((*json).into()));
        }
        fields
    }

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encode(&mut out);
        out.split_off(6)
    }

    /// The record read back; fails where a name occurs twice, which a JSON parser would let pass.
    fn read_back(record: &[u8]) -> Json {
        struct Names(HashSet<String>);
        impl<'de> serde::de::Visitor<'de> for Names {
            type Value = ();
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
                while let Some((name, _)) = map.next_entry::<String, serde::de::IgnoredAny>()? {
                    assert!(self.0.insert(name.clone()), "{name} occurs twice");
                }
                Ok(())
            }
        }
        let mut reader = serde_json::Deserializer::from_slice(record);
        serde::Deserializer::deserialize_map(&mut reader, Names(HashSet::new())).unwrap();
        reader.end().unwrap();
        assert!(!record.contains(&b'\n') && !record.contains(&b'\r'));
        serde_json::from_slice(record).unwrap()
    }

    #[test]
    fn a_record_carries_the_message_and_where_it_came_from() {
        let mut encoder = encoder();
        let id = String::from_utf8(encoder.id(&message(b"")).hex().to_vec()).unwrap();
        let record = encoded(|out| encoder.encode(&message(b"hello \"world\""), READ, out));
        let expected = format!(
            concat!(
                r#"{{"time":"{}","stream":"stderr","log":"hello \"world\"","#,
                r#""file":"/var/log/pods/{}\"x\n/0.log","host":"node-1","#,
                r#""kubernetes":{{"namespace_name":"payments","pod_name":"api"}},"record_id":"{}"}}"#
            ),
            TIME, '\u{7f}', id
        );
        assert_eq!(String::from_utf8(record).unwrap(), expected);
        assert_eq!(encoder.take_counts(), Counts::default());
    }

    #[test]
    fn the_record_in_the_documentation_is_what_is_written() {
        let kubernetes = json!({
            "namespace_name": "payments",
            "pod_name": "api-0",
            "pod_id": "0c6a3d8e-5f0b-4a58-9a35-1f6ad2a1f001",
            "container_name": "server",
            "container_restart_count": 2,
        });
        let pod = "payments_api-0_0c6a3d8e-5f0b-4a58-9a35-1f6ad2a1f001";
        let file = FileContext {
            path: &Path::new("/var/log/pods").join(pod).join("server/2.log"),
            host: "node-1",
            kubernetes: kubernetes.as_object(),
        };
        let message = Message {
            start: 0,
            stream: Stream::Stderr,
            time: Some("2026-01-02T03:04:05.123456789Z"),
            body: b"cannot open \"ledger\": timed out",
            cut: false,
        };
        let record = encoded(|out| Encoder::new(1, Incarnation(2), file).encode(&message, READ, out));
        let page = include_str!("../../docs/record-format.md").replace(",\n\"", ",\"");
        let record = String::from_utf8(record).unwrap();
        assert!(page.contains(&record), "{record}");
    }

    #[test]
    fn a_plain_files_record_has_the_time_read_and_no_stream() {
        let file = FileContext { path: Path::new("/var/log/app.log"), host: "h", kubernetes: None };
        let mut encoder = Encoder::new(7, Incarnation(8), file);
        let plain = Message { stream: Stream::Plain, time: None, cut: true, ..message(b"x") };
        let record = read_back(&encoded(|out| encoder.encode(&plain, READ, out)));
        let names: Vec<&String> = record.as_object().unwrap().keys().collect();
        assert_eq!(names, ["time", "log", "truncated", "file", "host", "record_id"]);
        assert_eq!((&record["time"], &record["truncated"]), (&json!(READ), &json!(true)));
    }

    #[test]
    fn a_record_without_steps_is_the_same_on_both_ways() {
        for cut in [false, true] {
            let message = Message { cut, ..message(b"a\xff\"b") };
            let plain = encoded(|out| encoder().encode(&message, READ, out));
            let of_fields =
                encoded(|out| encoder().encode_fields(&message, &Fields::of(&message), READ, out));
            assert_eq!(plain, of_fields);
        }
    }

    #[test]
    fn a_message_cannot_forge_what_the_record_says_of_itself() {
        let mut encoder = encoder();
        let forged: Vec<(&str, &str)> = OWN_FIELDS.iter().map(|name| (*name, "\"forged\"")).collect();
        let more = [("log_time", "1"), ("log_time_", "2"), ("level", "\"info\"")];
        let fields = fields(&[&forged[..], &more].concat());
        let record = read_back(&encoded(|out| encoder.encode_fields(&message(b"x"), &fields, READ, out)));
        let honest = read_back(&encoded(|out| encoder.encode(&message(b"x"), READ, out)));
        for name in OWN_FIELDS {
            assert_eq!(record.get(name), honest.get(name), "{name}");
            let kept = if name == "time" { "log_time__" } else { &format!("log_{name}") };
            assert_eq!(record[kept], "forged");
        }
        assert_eq!((&record["log_time"], &record["level"]), (&json!(1), &json!("info")));
        assert_eq!(encoder.take_counts().renamed_fields, OWN_FIELDS.len() as u64);
        assert_eq!(encoder.take_counts().renamed_fields, 0);
    }

    #[test]
    fn opened_objects_are_written_again() {
        let mut inner = fields(&[("n", "[1,\n2]"), ("q\"", "null")]);
        inner.set("text", Value::text(b"a\xff"));
        let mut outer = fields(&[("first", "1")]);
        outer.set("object", Value::Object(inner));
        outer.set("empty", Value::Object(Fields::default()));
        let mut encoder = encoder();
        let record = read_back(&encoded(|out| encoder.encode_fields(&message(b""), &outer, READ, out)));
        assert_eq!(record["object"], json!({"n": [1, 2], "q\"": null, "text": "a\u{fffd}"}));
        assert_eq!((&record["first"], &record["empty"]), (&json!(1), &json!({})));
        assert_eq!(encoder.take_counts().invalid_utf8, 1);
    }

    #[test]
    fn the_time_read_is_written_in_utc() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1_767_323_045, 120_000_000);
        assert_eq!(time_read(now), "2026-01-02T03:04:05.12Z");
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_a_record_is_one_line_of_json_with_their_text(
            body in prop::collection::vec(any::<u8>(), 0..200),
            time in prop::option::of("\\PC*"),
            cut in any::<bool>(),
            stream in prop::sample::select(&Stream::ALL[..]),
        ) {
            let message = Message { start: 1, stream, time: time.as_deref(), body: &body, cut };
            let record = read_back(&encoded(|out| encoder().encode(&message, READ, out)));
            prop_assert_eq!(&record["log"], &*String::from_utf8_lossy(&body));
            prop_assert_eq!(&record["time"], time.as_deref().unwrap_or(READ));
            prop_assert_eq!(record.get("stream").and_then(Json::as_str), stream.name());
            prop_assert_eq!(record.get("truncated").is_some(), cut);
        }

        #[test]
        fn names_are_never_doubled_and_no_value_is_lost(
            names in prop::collection::hash_set("(log_)?(time|stream|host|record_id|log|a|\"|\n)_{0,2}", 0..12),
        ) {
            let values: Vec<String> = (0..names.len()).map(|i| i.to_string()).collect();
            let members: Vec<(&str, &str)> =
                names.iter().zip(&values).map(|(name, value)| (&**name, &**value)).collect();
            let record =
                read_back(&encoded(|out| encoder().encode_fields(&message(b""), &fields(&members), READ, out)));
            let kept: HashSet<u64> = record.as_object().unwrap().values().filter_map(Json::as_u64).collect();
            prop_assert_eq!(kept.len(), names.len());
        }
    }
}
