//! `routes`, as typed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{Entries, FieldName, Glob, List, Name, OneOrMany, Size};

/// Which files, how their lines are read, what is done with them and where they go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Route {
    /// Its name in metrics, in the log and in `data_dir`: 1 to 64 of `A-Z a-z 0-9 _ . -`, no two alike.
    /// `route-1`, `route-2` and so on by their order unless said; a route that may move or get neighbours
    /// should have a name, since what was read is remembered under it.
    #[schemars(example = &"payments")]
    pub(crate) name: Option<Name>,
    /// The files it takes: patterns of absolute paths with `*`, `**`, `?`, `[…]` and `{a,b}`, in folders and
    /// in names. `*` does not cross a `/`, `**` does.
    #[schemars(
        required,
        example = &["/var/log/pods/payments_*/*/*.log"],
        extend("x-missing" = "say which files this route takes, such as `files: /var/log/*.log`")
    )]
    pub(crate) files: Option<OneOrMany<Glob>>,
    /// The files it leaves to later routes: patterns as in `files`.
    #[schemars(example = &["/var/log/pods/openshift-*/*/*.log"])]
    pub(crate) exclude: OneOrMany<Glob>,
    /// How the lines are written.
    pub(crate) format: FormatName,
    /// Where reading begins in files that are there when the route starts for the first time ever. Files that
    /// appear later, also while kinetail is not running, are read from their beginning.
    pub(crate) start_at: StartPosition,
    /// How fast the files may be read, for logs that grow faster than their share. What is read again for a
    /// destination that was behind is not limited. Without it there is no limit.
    #[schemars(example = serde_json::json!({"bytes": "1MiB"}))]
    pub(crate) rate_limit: Option<Rate>,
    /// What is done with each message, in this order.
    pub(crate) process: List<Step>,
    /// The destinations, by their names.
    #[schemars(
        required,
        example = &["archive"],
        extend("x-missing" = "name one or more of the destinations, such as `to: [NAME]`")
    )]
    pub(crate) to: Option<OneOrMany<String>>,
}

/// A limit of reading: bytes or lines a second, or both. A second's worth may come at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rate {
    /// Bytes of log a second.
    #[schemars(example = &"1MiB", extend("x-limits" = {"min": "1KiB"}))]
    pub(crate) bytes: Option<Size>,
    /// Lines a second.
    #[schemars(range(min = 1), example = &1000)]
    pub(crate) lines: Option<u32>,
    /// Whose limit it is.
    pub(crate) per: RateOf,
    /// What happens above it.
    pub(crate) when_exceeded: WhenRateExceeded,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum RateOf {
    /// each file's own
    #[default]
    File,
    /// that of all files of the route together
    Route,
}

/// What happens above a limit of reading.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WhenRateExceeded {
    /// reading waits, and lines wait in their file
    #[default]
    Pause,
    /// lines are given up, and counted
    Drop,
}

/// How the lines of a file are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum FormatName {
    /// text, a message a line
    #[default]
    Plain,
    /// as containerd and CRI-O write `/var/log/pods`; split lines are joined
    Cri,
    /// as docker's json-file driver writes; split lines are joined
    Docker,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum StartPosition {
    /// at their end: only what is written from now on
    #[default]
    End,
    /// at their beginning
    Beginning,
}

/// One step of `process`. A step has one key.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Parses the message. What does not parse keeps its text, and is counted.
    Parse(Parse),
    /// Sets fields to fixed values: texts, numbers, booleans or null. Dots reach into objects.
    Add(#[schemars(example = serde_json::json!({"cluster": "prod-1"}))] Entries<FieldValue>),
    /// Removes fields. Dots reach into objects.
    Remove(#[schemars(example = &["kubernetes.pod_id"])] OneOrMany<FieldName>),
    /// Renames fields: the old name and the new one.
    Rename(#[schemars(example = serde_json::json!({"msg": "message"}))] Entries<FieldName>),
}

/// A parser: its name, or its name with settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum Parse {
    /// A parser's name.
    Named(ParserName),
    /// A parser's name and its settings.
    With(ParseWith),
}

/// A parser that can be named without settings.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum ParserName {
    /// the message is a JSON object, whose fields become the record's
    Json,
}

/// A parser with settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum ParseWith {
    /// The message is a JSON object.
    Json(JsonOptions),
}

/// Settings of the JSON parser.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JsonOptions {
    /// Puts the object under this field. Without it the object's fields become the record's own.
    #[schemars(example = &"app")]
    pub(crate) under: Option<FieldName>,
    /// Keeps the text of the message in `log` beside the parsed fields.
    pub(crate) keep_original: bool,
}

/// A value of `add`: a text, a number, a boolean or null.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct FieldValue(pub(crate) serde_json::Value);

impl JsonSchema for FieldValue {
    fn schema_name() -> Cow<'static, str> {
        "FieldValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean", "null"] })
    }
}
