//! How a record lies: under which names it carries what kinetail knows, or the message alone.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::string;
use crate::event::{LOG, is_own_field};

/// The layout of a route's records. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(pub(super) Arc<Shape>);

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    names: Names,
    /// The message alone.
    pub(super) raw: bool,
    /// `kubernetes` lies as Elastic's own shippers write it.
    pub(super) nested_pod: bool,
    /// The names are those of the default, for which there is a quicker way to tell them.
    usual: bool,
    /// `,"time":` and so on; none for what is left out.
    pub(super) time: Option<Vec<u8>>,
    pub(super) stream: Option<Vec<u8>>,
    pub(super) log: Vec<u8>,
    pub(super) truncated: Option<Vec<u8>>,
    pub(super) file: Option<Vec<u8>>,
    pub(super) host: Option<Vec<u8>>,
    pub(super) kubernetes: Option<Vec<u8>>,
    pub(super) record_id: Option<Vec<u8>>,
}

/// Under which names a record carries what; what has none is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// When the message was written.
    pub time: Option<String>,
    /// The container's stream.
    pub stream: Option<String>,
    /// The message's text.
    pub log: String,
    /// That the end of the text is missing.
    pub truncated: Option<String>,
    /// The file's path.
    pub file: Option<String>,
    /// The node's name.
    pub host: Option<String>,
    /// What is known of the pod.
    pub kubernetes: Option<String>,
    /// The record's id.
    pub record_id: Option<String>,
}

impl Names {
    /// Those of the default layout.
    pub fn fluent_bit() -> Self {
        let same = |name: &str| Some(name.to_owned());
        Self {
            time: same("time"),
            stream: same("stream"),
            log: LOG.to_owned(),
            truncated: same("truncated"),
            file: same("file"),
            host: same("host"),
            kubernetes: same("kubernetes"),
            record_id: same("record_id"),
        }
    }

    /// Those of the Elastic Common Schema.
    pub fn ecs() -> Self {
        let named = |name: &str| Some(name.to_owned());
        Self {
            time: named("@timestamp"),
            log: "message".to_owned(),
            file: named("log.file.path"),
            host: named("host.name"),
            record_id: named("event.id"),
            ..Self::fluent_bit()
        }
    }

    /// All of them, but for the text's.
    fn own(&self) -> impl Iterator<Item = &str> {
        let Self { time, stream, truncated, file, host, kubernetes, record_id, log: _ } = self;
        [time, stream, truncated, file, host, kubernetes, record_id].into_iter().flatten().map(String::as_str)
    }

    /// A name that two things have.
    pub fn doubled(&self) -> Option<&str> {
        let all: Vec<&str> = self.own().chain([self.log.as_str()]).collect();
        all.iter().enumerate().find(|(at, name)| all[..*at].contains(name)).map(|(_, name)| *name)
    }
}

impl Layout {
    /// With these names. `nested_pod` writes what is known of the pod as Elastic's own shippers do.
    pub fn named(names: Names, nested_pod: bool) -> Self {
        Self(Arc::new(Shape::new(names, nested_pod, false)))
    }

    /// Whether a message's field of this name is kept under another, because the record's own has it.
    pub fn is_own(&self, name: &str) -> bool {
        !self.0.raw && self.0.is_own(name)
    }

    /// Whether a record is the message alone.
    pub fn is_raw(&self) -> bool {
        self.0.raw
    }

    /// The message's text and nothing else; where steps took it apart, its fields as a JSON object.
    pub fn raw() -> Self {
        Self(Arc::new(Shape::new(Names::fluent_bit(), false, true)))
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::named(Names::fluent_bit(), false)
    }
}

impl Shape {
    fn new(names: Names, nested_pod: bool, raw: bool) -> Self {
        let key = |name: &str| {
            let mut key = vec![b','];
            string::string(name.as_bytes(), &mut key);
            key.push(b':');
            key
        };
        let some = |name: &Option<String>| name.as_deref().map(key);
        Self {
            raw,
            nested_pod,
            usual: names == Names::fluent_bit(),
            time: some(&names.time),
            stream: some(&names.stream),
            log: key(&names.log),
            truncated: some(&names.truncated),
            file: some(&names.file),
            host: some(&names.host),
            kubernetes: some(&names.kubernetes),
            record_id: some(&names.record_id),
            names,
        }
    }

    /// Whether a message's field cannot have this name, because the record's own has it.
    pub(super) fn is_own(&self, name: &str) -> bool {
        if self.usual { is_own_field(name) } else { self.names.own().any(|own| own == name) }
    }

    /// The name of the text, where that is another than it has on its way through the steps.
    pub(super) fn other_log(&self) -> Option<&str> {
        (self.names.log != LOG).then_some(self.names.log.as_str())
    }

    /// What is known of a pod, as this layout writes it.
    pub(super) fn pod(&self, known: &Map<String, Value>) -> Value {
        if !self.nested_pod {
            return Value::Object(known.clone());
        }
        let of = |name: &str| known.get(name).cloned().unwrap_or_default();
        let mut pod = json!({
            "namespace": of("namespace_name"),
            "pod": {"name": of("pod_name"), "uid": of("pod_id")},
            "container": {
                "name": of("container_name"),
                "id": of("docker_id"),
                "restart_count": of("container_restart_count"),
                "image": of("container_image"),
            },
            "labels": of("labels"),
            "annotations": of("annotations"),
            "namespace_labels": of("namespace_labels"),
            "node": {"name": of("host"), "labels": of("node_labels")},
        });
        // `deployment`, `statefulset` and so on.
        if let (Some(kind), name @ Value::String(_)) = (of("owner_kind").as_str(), of("owner_name")) {
            pod[kind.to_lowercase()] = json!({"name": name});
        }
        let known = |_: &String, value: &mut Value| {
            !value.is_null() && value.as_object().is_none_or(|fields| !fields.is_empty())
        };
        for part in ["pod", "container", "node"] {
            if let Some(fields) = pod[part].as_object_mut() {
                fields.retain(known);
            }
        }
        if let Some(fields) = pod.as_object_mut() {
            fields.retain(known);
        }
        pod
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::encode::{Encoder, FileContext};
    use crate::event::{Fields, Message, Value as Field};
    use crate::source::{Incarnation, Stream};

    const TIME: &str = "2026-01-02T03:04:05.5Z";

    fn message(body: &[u8]) -> Message<'_> {
        Message { start: 7, stream: Stream::Stdout, time: Some(TIME), body, cut: false }
    }

    fn encoder(layout: &Layout) -> Encoder {
        let kubernetes = json!({"namespace_name": "pay", "pod_name": "api-0", "pod_id": "0c6a", "container_name": "app",
            "container_restart_count": 2});
        let path = Path::new("/var/log/app.log");
        let file = FileContext { path, host: "node-1", kubernetes: kubernetes.as_object() };
        Encoder::with(layout.clone(), 1, Incarnation(2), file)
    }

    fn plain(layout: &Layout, message: &Message<'_>) -> Vec<u8> {
        let mut out = b"before".to_vec();
        encoder(layout).encode(message, TIME, &mut out);
        let mut of_fields = Vec::new();
        encoder(layout).encode_fields(message, &Fields::of(message), TIME, &mut of_fields);
        let out = out.split_off(6);
        assert_eq!(out, of_fields, "both ways are the same");
        out
    }

    fn of_fields(layout: &Layout, members: &[(&'static str, &'static str)]) -> Value {
        let mut fields = Fields::default();
        for (name, json) in members {
            fields.set(*name, Field::Raw((*json).into()));
        }
        let mut out = Vec::new();
        encoder(layout).encode_fields(&message(b"x"), &fields, TIME, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn records_of_the_common_schema() {
        let ecs = Layout::named(Names::ecs(), true);
        let mut record: Value = serde_json::from_slice(&plain(&ecs, &message(b"text"))).unwrap();
        assert_eq!(record.as_object_mut().unwrap().remove("event.id").unwrap().as_str().unwrap().len(), 32);
        let expected = json!({
            "@timestamp": TIME,
            "stream": "stdout",
            "message": "text",
            "log.file.path": "/var/log/app.log",
            "host.name": "node-1",
            "kubernetes": {
                "namespace": "pay",
                "pod": {"name": "api-0", "uid": "0c6a"},
                "container": {"name": "app", "restart_count": 2},
            },
        });
        assert_eq!(record, expected);
    }

    #[test]
    fn names_are_chosen_or_left_out() {
        let names = Names {
            time: Some("ts\"".into()),
            log: "msg".into(),
            stream: None,
            file: None,
            host: None,
            kubernetes: None,
            truncated: None,
            record_id: None,
        };
        let layout = Layout::named(names.clone(), false);
        let cut = Message { cut: true, ..message(b"a\"b") };
        assert_eq!(plain(&layout, &cut), format!(r#"{{"ts\"":"{TIME}","msg":"a\"b"}}"#).as_bytes());
        let nothing = Layout::named(Names { time: None, ..names }, false);
        assert_eq!(plain(&nothing, &message(b"x")), br#"{"msg":"x"}"#);
        assert_eq!(of_fields(&nothing, &[]), json!({}));
        assert_eq!(of_fields(&nothing, &[("time", "1"), ("a", "2")]), json!({"time": 1, "a": 2}));
    }

    #[test]
    fn a_message_cannot_forge_other_names_either() {
        let ecs = Layout::named(Names::ecs(), true);
        let fields = [("@timestamp", "1"), ("message", "2"), ("log", "3"), ("host.name", "4"), ("time", "5")];
        let record = of_fields(&ecs, &fields);
        assert_eq!((&record["@timestamp"], &record["host.name"]), (&json!(TIME), &json!("node-1")));
        assert_eq!((&record["message"], &record["log_message"]), (&json!(3), &json!(2)));
        assert_eq!(
            (&record["log_@timestamp"], &record["log_host.name"], &record["time"]),
            (&json!(1), &json!(4), &json!(5))
        );
        let record = of_fields(&ecs, &[("message", "2"), ("a", "1")]);
        assert_eq!(record["message"], 2, "without a text there is nothing to take it for");
    }

    #[test]
    fn a_name_for_two_things_is_found() {
        assert_eq!(Names::fluent_bit().doubled(), None);
        assert_eq!(Names::ecs().doubled(), None);
        let names = Names { host: Some("log".into()), ..Names::fluent_bit() };
        assert_eq!(names.doubled(), Some("log"));
    }

    #[test]
    fn a_raw_record_of_fields_is_their_object() {
        let record = of_fields(&Layout::raw(), &[("time", "1"), ("b", "[1.5]")]);
        assert_eq!(record.to_string(), r#"{"time":1,"b":[1.5]}"#);
    }

    proptest! {
        #[test]
        fn a_raw_record_is_the_text_byte_for_byte(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(plain(&Layout::raw(), &message(&body)), body);
        }
    }
}
