//! The steps that a user can write under `process`.

use std::collections::BTreeMap;

/// One step; a route has a list of them, done in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `parse: json`
    ParseJson(ParseJson),
    /// `add: {name: value, …}`: sets fields; values are strings, numbers, booleans or null.
    Add(Vec<(String, serde_json::Value)>),
    /// `remove: [name, …]`; a name with dots reaches into objects.
    Remove(Vec<String>),
    /// `rename: {from: to, …}`
    Rename(BTreeMap<String, String>),
}

/// Parses the message as a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ParseJson {
    /// Puts the object under this field instead of merging it at the top.
    pub under: Option<String>,
    /// Keeps the text of the message beside the parsed fields. Where parsing fails it is always kept.
    pub keep_original: bool,
}
