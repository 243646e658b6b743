//! Conditions, as typed.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::scalar::Regex;
use super::steps::FieldValue;
use super::{Entries, List};

/// What must hold: of fields, and of other conditions. All that is said must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condition {
    /// Each of these.
    pub(crate) all: Option<List<Condition>>,
    /// At least one of these.
    pub(crate) any: Option<List<Condition>>,
    /// Not this.
    pub(crate) not: Option<Box<Condition>>,
    /// Fields and what must hold of them.
    pub(crate) fields: Entries<FieldTest>,
}

/// What must hold of a field.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum FieldTest {
    /// It is one of these.
    OneOf(List<FieldValue>),
    /// Tests.
    Tests(Tests),
    /// It is this.
    Is(FieldValue),
}

/// Tests of a field, of which all must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tests {
    /// A regular expression that is found in the field's text.
    #[schemars(example = &"^/api/")]
    pub(crate) matches: Option<Regex>,
    /// The field is there, whatever its value; with `false`, it is not.
    #[schemars(example = true)]
    pub(crate) exists: Option<bool>,
    /// The field is a number greater than this.
    #[schemars(example = 0.5)]
    pub(crate) above: Option<f64>,
    /// The field is a number, this or greater.
    #[schemars(example = 500)]
    pub(crate) at_least: Option<f64>,
    /// The field is a number less than this.
    #[schemars(example = 600)]
    pub(crate) below: Option<f64>,
    /// The field is a number, this or less.
    #[schemars(example = 99.9)]
    pub(crate) at_most: Option<f64>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Joined {
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<List<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<List<Condition>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not: Option<Box<Condition>>,
}

const JOINED: [&str; 3] = ["all", "any", "not"];

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let whole = serde_yaml::Mapping::deserialize(deserializer)?;
        let is_joined = |key: &serde_yaml::Value| key.as_str().is_some_and(|key| JOINED.contains(&key));
        let (joined, fields): (serde_yaml::Mapping, serde_yaml::Mapping) =
            whole.into_iter().partition(|(key, _)| is_joined(key));
        let Joined { all, any, not } = serde_yaml::from_value(joined.into()).map_err(D::Error::custom)?;
        let fields = serde_yaml::from_value(fields.into()).map_err(D::Error::custom)?;
        Ok(Self { all, any, not, fields })
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            joined: Joined,
            #[serde(flatten)]
            fields: &'a Entries<FieldTest>,
        }
        let Self { all, any, not, fields } = self.clone();
        Whole { joined: Joined { all, any, not }, fields: &fields }.serialize(serializer)
    }
}

impl JsonSchema for Condition {
    fn schema_name() -> Cow<'static, str> {
        "Condition".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let condition = generator.subschema_for::<Condition>();
        let field = generator.subschema_for::<FieldTest>();
        let list = |what: &str| json_schema!({ "type": "array", "items": condition, "description": what });
        let (all, any) = (list("Conditions that must all hold."), list("Conditions of which one must hold."));
        json_schema!({
            "type": "object",
            "x-kind": "condition",
            "examples": [{ "level": "error" }],
            "properties": {
                "all": all,
                "any": any,
                "not": { "anyOf": [condition], "description": "A condition that must not hold." },
            },
            "additionalProperties": field,
        })
    }
}
