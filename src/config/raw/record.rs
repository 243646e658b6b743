//! `record`, as typed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// How records lie.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Record {
    /// The layout.
    pub(crate) preset: PresetOfRecord,
    /// Other names for what a record carries than the preset's; `off` leaves it out.
    pub(crate) names: RecordNames,
}

/// A layout of records.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum PresetOfRecord {
    /// `log`, `stream`, `kubernetes` and so on, as Fluent Bit names them
    #[default]
    FluentBit,
    /// the message's text as it was and nothing else; where steps took it apart, its fields alone, as JSON
    Raw,
    /// names of the Elastic Common Schema, `@timestamp`, `message` and so on
    Ecs,
}

/// Names of what a record carries.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RecordNames {
    /// When the message was written.
    #[schemars(example = &"@timestamp")]
    pub(crate) time: Option<NameOrOff>,
    /// The container's stream.
    #[schemars(example = &"output")]
    pub(crate) stream: Option<NameOrOff>,
    /// The message's text; it cannot be left out here, a step `remove: log` does that.
    #[schemars(example = &"message")]
    pub(crate) log: Option<NameOrOff>,
    /// That the end of the text is missing.
    #[schemars(example = &"cut")]
    pub(crate) truncated: Option<NameOrOff>,
    /// The file's path.
    #[schemars(example = &"path")]
    pub(crate) file: Option<NameOrOff>,
    /// The node's or host's name.
    #[schemars(example = &"node")]
    pub(crate) host: Option<NameOrOff>,
    /// What is known of the pod.
    #[schemars(example = &"k8s")]
    pub(crate) kubernetes: Option<NameOrOff>,
    /// The record's id. Without it, a copy that was delivered twice cannot be told.
    #[schemars(example = &"off")]
    pub(crate) record_id: Option<NameOrOff>,
}

/// A name, or `off`. Tools that write YAML of version 1.1 make `false` of the word.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum NameOrOff {
    /// `false`; `true` says nothing.
    Switch(bool),
    /// A name, or `off`.
    Name(String),
}

impl JsonSchema for NameOrOff {
    fn schema_name() -> Cow<'static, str> {
        "NameOrOff".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "boolean"] })
    }
}
