//! `tests`, as typed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Entries, FieldName, List, OneOrMany, Text};

/// Lines, and what is expected to become of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Case {
    /// What the test shows; its number unless said.
    #[schemars(example = &"card numbers do not leave the node")]
    pub(crate) name: Option<Text>,
    /// The path of the file in which the lines stand; it decides the route. It does not have to exist.
    #[schemars(
        required,
        example = &"/var/log/nginx/access.log",
        extend("x-missing" = "name the file in which the lines stand, such as `path: /var/log/nginx/access.log`")
    )]
    pub(crate) path: Option<Text>,
    /// The labels of the pod behind the file; it has none unless said. They count with the section `kubernetes`.
    #[schemars(example = serde_json::json!({"app.kubernetes.io/part-of": "shop"}))]
    pub(crate) labels: Entries<Text>,
    /// The lines as they stand in the file, with what the container runtime writes in front of them. A text of
    /// several lines is several lines.
    #[schemars(
        required,
        example = &["2026-11-21T10:00:00Z stdout F {\"level\":\"info\"}"],
        extend("x-missing" = "write the lines, such as `lines: ['first', 'second']`")
    )]
    pub(crate) lines: Option<OneOrMany<String>>,
    /// When the lines are read, for those that do not tell when they were written and for times without a year. The
    /// present unless said.
    #[schemars(example = &"2026-11-21T10:00:00Z")]
    pub(crate) read_at: Option<Text>,
    /// The route that is expected to take the file.
    #[schemars(example = &"nginx")]
    pub(crate) route: Option<Text>,
    /// What is expected of each message, in their order; there must be as many.
    #[schemars(
        required,
        example = serde_json::json!([{"record": {"level": "info"}, "to": ["archive"]}, {"drop": true}]),
        extend("x-missing" = "say what becomes of each message, such as `expect: [{record: {level: info}}]`")
    )]
    pub(crate) expect: Option<OneOrMany<Expected>>,
}

/// What is expected of a message: a record of which this is said, or that there is none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expected {
    /// Fields of the record, as it is sent. Others may be there; so may others be inside of objects. Dots reach into
    /// objects.
    #[schemars(example = serde_json::json!({"level": "info", "http": {"status": 200}}))]
    pub(crate) record: Option<FieldsOfRecord>,
    /// The whole record, byte by byte, for the layout `raw`.
    #[schemars(example = &"GET /health 200")]
    pub(crate) text: Option<String>,
    /// Fields that the record must not have.
    #[schemars(example = &["password"])]
    pub(crate) without: OneOrMany<FieldName>,
    /// The destinations that get it, all of them.
    #[schemars(example = &["archive"])]
    pub(crate) to: OneOrMany<String>,
    /// It is dropped: by a step, or because no destination takes it.
    pub(crate) drop: bool,
    /// It becomes a dead letter.
    pub(crate) dead_letter: bool,
}

/// Any value.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct AnyValue(pub(crate) serde_json::Value);

impl JsonSchema for AnyValue {
    fn schema_name() -> Cow<'static, str> {
        "AnyValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<AnyValue>();
        json_schema!({
            "type": ["string", "number", "boolean", "null", "object", "array"],
            "examples": ["payments"],
            "items": value,
            "additionalProperties": value,
        })
    }
}

/// Names of fields and their values.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct FieldsOfRecord(pub(crate) serde_json::Map<String, serde_json::Value>);

impl JsonSchema for FieldsOfRecord {
    fn schema_name() -> Cow<'static, str> {
        "FieldsOfRecord".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<AnyValue>();
        json_schema!({ "type": "object", "x-kind": "map of fields", "additionalProperties": value })
    }
}

/// The tests.
pub(crate) type Cases = List<Case>;
