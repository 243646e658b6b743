//! The steps of `process`, as typed.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cases::AnyValue;
use super::scalar::Regex;
use super::{Condition, Entries, FieldName, Name, OneOrMany, Parse, Size, Text, Time};

/// One step of `process`: what it does, and what may be said of every step.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Step {
    #[serde(flatten)]
    pub(crate) action: StepAction,
    #[serde(flatten)]
    pub(crate) beside: BesideStep,
}

/// What may be said of every step, beside what it does.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default)]
pub(crate) struct BesideStep {
    /// Does the step only with messages of which this condition holds.
    #[schemars(example = serde_json::json!({"stream": "stderr"}))]
    pub(crate) when: Option<Condition>,
    /// What becomes of a message on which the step cannot be done. It is counted in any case.
    pub(crate) on_error: OnErrorName,
    /// With `on_error: keep`, a field that then tells the step's name, so that such records can be found.
    #[schemars(example = &"parse_error")]
    pub(crate) error_field: Option<FieldName>,
}

/// What becomes of a message on which a step cannot be done.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum OnErrorName {
    /// it goes on as it was before the step
    #[default]
    Keep,
    /// it is dropped
    Drop,
    /// its text becomes a dead letter of each of the route's destinations
    DeadLetter,
}

/// What a step does: its one key.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepAction {
    /// Takes a text apart into fields: a parser's name, or its name with settings. What does not parse keeps its
    /// text, and is counted.
    Parse(Parse),
    /// Makes the time in a field the record's `time`: the field's name, or settings.
    Time(#[schemars(example = &"timestamp")] TimeStep),
    /// Makes one line of a message of several; `{}` for the defaults.
    SingleLine(SingleLine),
    /// Sets fields to fixed values: texts, numbers, booleans or null. Dots reach into objects.
    Add(#[schemars(example = serde_json::json!({"cluster": "prod-1"}))] Entries<FieldValue>),
    /// Wraps the message: `metadata` with what is said here, and the message under `data`: its text, or what was made of
    /// it as JSON in a text.
    AddMetadata(AddMetadata),
    /// Adds what is known of the instance of EC2: `privateIp`, `availabilityZone`, `instanceId`, `instanceType`,
    /// `accountId`, `amiId`, `region`, `metadataTimestamp` and its tags; `{}` for the defaults. Fails where the
    /// instance's metadata cannot be had.
    Ec2Metadata(Ec2Metadata),
    /// Puts the message's text into braces; `{}`, as it has no settings.
    AddBrackets(AddBrackets),
    /// Removes fields. Dots reach into objects.
    Remove(#[schemars(example = &["kubernetes.pod_id"])] OneOrMany<FieldName>),
    /// Renames fields: the old name and the new one.
    Rename(#[schemars(example = serde_json::json!({"msg": "message"}))] Entries<FieldName>),
    /// Puts the fields of objects in the objects' place, their names joined; `{}` for all objects.
    Flatten(Flatten),
    /// Puts fields into an object.
    Nest(Nest),
    /// Writes the names of all fields otherwise, also inside of objects.
    Keys(Keys),
    /// Takes out fields, or what is found in texts.
    Redact(Redact),
    /// Cuts texts that are longer than a limit.
    Truncate(Truncate),
    /// Makes the levels of different programs alike: `trace`, `debug`, `info`, `notice`, `warn`, `error` or `fatal`;
    /// `{}` for the defaults. Fails where there is no level, or none that is known.
    Level(Level),
    /// Drops messages of which the condition holds.
    Drop(#[schemars(example = serde_json::json!({"level": ["debug", "trace"]}))] Condition),
    /// Drops messages of which the condition does not hold.
    Keep(#[schemars(example = serde_json::json!({"status": {"at_least": 500}}))] Condition),
    /// Keeps a part of the messages, and drops the rest.
    Sample(Sample),
}

/// The field that tells the time, or settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum TimeStep {
    /// The field, in any of the formats that have a name.
    Field(FieldName),
    /// With settings.
    With(TimeOptions),
}

/// Settings of `time`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimeOptions {
    /// The field that tells the time.
    #[schemars(
        required,
        example = &"timestamp",
        extend("x-missing" = "name the field that tells the time, such as `field: timestamp`")
    )]
    pub(crate) field: Option<FieldName>,
    /// How the time is written, tried in turn: the name of a format, or a pattern of strptime. Without it, every
    /// format that has a name.
    #[schemars(example = &["%d/%b/%Y:%H:%M:%S %z"])]
    pub(crate) format: OneOrMany<String>,
    /// The zone of times that do not tell their own; UTC unless said.
    #[schemars(example = &"Europe/Berlin")]
    pub(crate) zone: Option<String>,
    /// Keeps the field.
    pub(crate) keep: bool,
}

/// Settings of `single_line`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SingleLine {
    /// Takes white space off both ends of every line.
    pub(crate) trim: bool,
    /// What stands between two lines then.
    #[schemars(example = &"\\n")]
    pub(crate) join: String,
}

impl Default for SingleLine {
    fn default() -> Self {
        Self { trim: true, join: String::new() }
    }
}

/// Settings of `add_metadata`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AddMetadata {
    /// What stands under `metadata`: names and values of any kind, lists and maps as well.
    #[schemars(
        required,
        example = serde_json::json!({"team": "payments"}),
        extend("x-missing" = "say what stands there, such as `metadata: {team: payments}`")
    )]
    pub(crate) metadata: Option<Entries<AnyValue>>,
    /// Adds the record's time under `ts`.
    pub(crate) timestamp: bool,
}

/// Settings of `ec2_metadata`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Ec2Metadata {
    /// Puts them under this field. Without it they become the record's own.
    #[schemars(example = &"ec2")]
    pub(crate) under: Option<FieldName>,
    /// Adds the instance's tags, where it may see them (`InstanceMetadataTags` is enabled).
    pub(crate) tags: bool,
    /// After which time the instance's metadata are asked for again. They are kept meanwhile, and through outages.
    #[schemars(extend("x-limits" = {"min": "1m", "max": "7d"}))]
    pub(crate) refresh: Time,
}

impl Default for Ec2Metadata {
    fn default() -> Self {
        Self { under: None, tags: true, refresh: Time(Duration::from_secs(3600)) }
    }
}

/// `add_brackets` has no settings.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AddBrackets {}

/// Settings of `flatten`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Flatten {
    /// The objects, by their names; all unless said.
    #[schemars(example = &["http"])]
    pub(crate) fields: OneOrMany<FieldName>,
    /// What stands between the names.
    pub(crate) separator: String,
}

impl Default for Flatten {
    fn default() -> Self {
        Self { fields: OneOrMany::default(), separator: ".".into() }
    }
}

/// Settings of `nest`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Nest {
    /// The object; it is made where it does not exist.
    #[schemars(
        required,
        example = &"http",
        extend("x-missing" = "name the object, such as `under: http`")
    )]
    pub(crate) under: Option<Name>,
    /// The fields that are moved into it, by their whole names.
    #[schemars(example = &["method", "path"])]
    pub(crate) fields: OneOrMany<FieldName>,
    /// Fields whose names begin with this are moved into it, too, without it.
    #[schemars(example = &"http_")]
    pub(crate) prefix: Option<Text>,
}

/// Settings of `keys`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Keys {
    /// In lower case.
    pub(crate) lower_case: bool,
    /// Dots become this, as OpenSearch takes a name with dots for objects.
    #[schemars(example = &"_")]
    pub(crate) dots: Option<String>,
}

/// Settings of `redact`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redact {
    /// The fields. Alone, their whole values are taken out; with `presets` or `patterns`, only what these find in
    /// them. Without it, all fields are looked through.
    #[schemars(example = &["password"])]
    pub(crate) fields: OneOrMany<FieldName>,
    /// What is looked for.
    #[schemars(example = &["card", "email"])]
    pub(crate) presets: OneOrMany<PresetName>,
    /// Regular expressions of what is looked for, too.
    #[schemars(example = &["(?i)bearer [a-z0-9._-]+"])]
    pub(crate) patterns: OneOrMany<Regex>,
    /// What is put in the place of what is taken out; `[redacted]` unless said.
    #[schemars(example = &"****")]
    pub(crate) with: Option<String>,
    /// Instead of `with`: an asterisk for every character but so many last ones.
    #[schemars(example = &4, range(max = 1000))]
    pub(crate) mask_all_but: Option<u32>,
}

/// What is looked for often.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum PresetName {
    /// numbers of payment cards whose check digit is right (Luhn), with blanks or dashes or without
    Card,
    /// e-mail addresses
    Email,
    /// addresses of IPv4
    Ipv4,
    /// addresses of IPv6
    Ipv6,
    /// JSON Web Tokens
    Jwt,
    /// ids of access keys of AWS, and secret keys behind their name
    AwsKey,
}

/// Settings of `truncate`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Truncate {
    /// The fields that are cut.
    #[schemars(
        required,
        example = &["stack_trace"],
        extend("x-missing" = "name the fields, such as `fields: stack_trace`")
    )]
    pub(crate) fields: Option<OneOrMany<FieldName>>,
    /// The most bytes that stay. A character of UTF-8 is not cut in two.
    #[schemars(
        required,
        example = &"32KiB",
        extend("x-limits" = {"min": "1B", "max": "64MiB"}, "x-missing" = "say how much stays, such as `max_size: 32KiB`")
    )]
    pub(crate) max_size: Option<Size>,
}

/// Settings of `level`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Level {
    /// The fields where the level may stand; the first that is there counts, and is taken away.
    pub(crate) from: OneOrMany<FieldName>,
    /// The field where it is put.
    pub(crate) to: FieldName,
    /// The level of messages that have none of the fields; without it the step fails there.
    #[schemars(example = &"info")]
    pub(crate) otherwise: Option<Text>,
}

impl Default for Level {
    fn default() -> Self {
        let from = ["level", "severity", "lvl", "loglevel", "log.level"];
        Self {
            from: from.map(|name| FieldName(name.to_owned())).into_iter().collect(),
            to: FieldName("level".into()),
            otherwise: None,
        }
    }
}

/// Settings of `sample`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Sample {
    /// How many of a hundred messages stay.
    #[schemars(
        required,
        range(min = 0.0, max = 100.0),
        example = &10,
        extend("x-missing" = "say how many of a hundred stay, such as `percent: 10`")
    )]
    pub(crate) percent: Option<f64>,
    /// The field whose text decides: messages that are alike in it stay or go together, on all nodes. A message that
    /// lacks it stays. Without it, each message is decided by itself.
    #[schemars(example = &"trace_id")]
    pub(crate) by: Option<FieldName>,
}

/// A value of `add`: a text, a number, a boolean or null.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct FieldValue(pub(crate) Value);

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

/// Every action's object with the keys beside it. `x-step` names the key that tells which it is.
impl JsonSchema for Step {
    fn schema_name() -> Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut actions = StepAction::json_schema(generator);
        let beside = BesideStep::json_schema(generator);
        let beside = beside.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let branches = actions.get_mut("oneOf").and_then(Value::as_array_mut);
        for branch in branches.into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = branch.get("required").and_then(|required| required.get(0)).cloned();
            branch.extend(name.map(|name| ("x-step".to_owned(), name)));
            if let Some(properties) = branch.get_mut("properties").and_then(Value::as_object_mut) {
                properties.extend(beside.clone());
            }
        }
        actions
    }
}
