//! How what is wanted and what was found are called in messages.

use serde_json::Value as Json;
use serde_yaml::Value;

use super::Schema;
use crate::config::diagnostics::did_you_mean;
use crate::config::document::{Kind, Node};
use crate::config::raw::Form;
use crate::config::schema::{admits, alternatives, constants, only_key};

pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

pub(super) fn none_of(node: &Node, allowed: &[&str]) -> String {
    let value = node.scalar();
    let text = value.as_ref().and_then(Value::as_str).unwrap_or_default();
    let near = did_you_mean(text, allowed.iter().copied());
    let allowed = listed(allowed.iter().copied());
    format!("{} is not known here{near}; allowed: {allowed}", found(node))
}

/// What a schema asks for, for people.
pub(super) fn wanted(root: &Json, schema: &Schema) -> String {
    let branches = alternatives(root, schema);
    if let Some(texts) = constants(&branches).filter(|texts| !texts.is_empty()) {
        return texts.join(" or ");
    }
    if let [first, ..] = &branches[..] {
        return wanted(root, first);
    }
    if let Some(form) = schema.get("format").and_then(Json::as_str).and_then(Form::named) {
        return form.what.to_owned();
    }
    if admits(schema, "string") && admits(schema, "number") {
        return "a text, a number, true, false or null".to_owned();
    }
    let kinds = [
        ("object", "a map of keys and values"),
        ("array", "a list"),
        ("integer", "a whole number"),
        ("boolean", "true or false"),
        ("string", "a text"),
    ];
    let fitting = kinds.iter().find(|(kind, _)| admits(schema, kind));
    if let Some(key) = only_key(schema) {
        return format!("`{key}: …`");
    }
    fitting.map_or("another value", |(_, words)| words).to_owned()
}

/// What stands in the file, for people.
pub(super) fn found(node: &Node) -> String {
    const SHOWN: usize = 60;
    match (&node.kind, node.scalar()) {
        (Kind::List(_), _) => "a list".to_owned(),
        (Kind::Map(_), _) => "a map".to_owned(),
        (_, Some(Value::Null)) => "nothing".to_owned(),
        (Kind::Scalar { text, .. }, Some(Value::String(_))) => {
            let short: String = text.chars().take(SHOWN).collect();
            let dots = if short.len() < text.len() { "…" } else { "" };
            format!("{:?}", format!("{short}{dots}"))
        }
        (Kind::Scalar { text, .. }, _) => format!("`{text}`"),
        (Kind::Bad, _) => "what stands there".to_owned(),
    }
}
