//! The JSON Schema of the configuration, made from the types in `raw`.
//!
//! Beside the standard's own words it uses some of ours, which editors pass over: `x-missing` says what to
//! do about a key that must be there, `x-limits` bounds sizes and times and names who sets the bound,
//! `x-hints` answers values that people try, `x-step` names the key by which steps are told apart,
//! `x-kind` what the reference calls an object that it does not take apart.

use serde_json::{Map, Value};

use super::raw;

/// One schema: its words and what they say.
pub(super) type Schema = Map<String, Value>;

/// The schema of a whole file. Required are the keys with an `x-missing`; a default that is null says nothing
/// that the absence of a default does not.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(raw::File).to_value();
    tidy(&mut schema);
    schema
}

fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if has_empty_default(object) {
                object.remove("default");
            }
            mark_required(object);
            // Inside `default` and `examples` there are values, not schemas.
            for (key, inner) in object.iter_mut() {
                if key != "default" && key != "examples" {
                    tidy(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// The default of a section is told by its keys, unless something else may stand in its place.
fn has_empty_default(object: &Schema) -> bool {
    match object.get("default") {
        Some(Value::Null) => true,
        Some(Value::Object(_)) => !object.contains_key("anyOf"),
        _ => false,
    }
}

fn mark_required(object: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = object.get("properties") else {
        return;
    };
    let marked: Vec<Value> = properties
        .iter()
        .filter(|(_, property)| property.get("x-missing").is_some())
        .map(|(name, _)| Value::String(name.clone()))
        .collect();
    if marked.is_empty() {
        return;
    }
    let required = object.entry("required").or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(required) = required {
        required.retain(|name| !marked.contains(name));
        required.extend(marked);
    }
}

/// A schema with the definition that its `$ref` names put in; what stands beside the `$ref` wins.
pub(super) fn resolve(root: &Value, schema: &Value) -> Schema {
    let Value::Object(here) = schema else {
        return Map::new();
    };
    let Some(name) =
        here.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix("#/$defs/"))
    else {
        return here.clone();
    };
    let mut merged = resolve(root, &root["$defs"][name]);
    for (key, value) in here.iter().filter(|(key, _)| *key != "$ref") {
        merged.insert(key.clone(), value.clone());
    }
    merged
}

/// The alternatives of a union that are not null; none for a schema that is no union. Those of a union that may
/// be absent are its own.
pub(super) fn alternatives(root: &Value, schema: &Schema) -> Vec<Schema> {
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf"));
    let branches: Vec<Schema> = branches
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|branch| resolve(root, branch))
        .filter(|branch| branch.get("type").and_then(Value::as_str) != Some("null"))
        .collect();
    match &branches[..] {
        [only] if only.contains_key("anyOf") => alternatives(root, only),
        _ => branches,
    }
}

pub(super) fn admits(schema: &Schema, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(only)) => only == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

pub(super) fn is_required(schema: &Schema, key: &str) -> bool {
    schema
        .get("required")
        .and_then(Value::as_array)
        .is_some_and(|required| required.iter().any(|name| name == key))
}

pub(super) fn is_form(schema: &Schema, format: &str) -> bool {
    schema.get("format").and_then(Value::as_str) == Some(format)
}

pub(super) fn limit<'a>(schema: &'a Schema, which: &str) -> Option<&'a Value> {
    schema.get("x-limits")?.get(which)
}

/// The texts of a union in which every alternative is one.
pub(super) fn constants(branches: &[Schema]) -> Option<Vec<&str>> {
    branches.iter().map(|branch| branch.get("const")?.as_str()).collect()
}

/// The key by whose text objects are told apart.
pub(super) fn tag_of<'a>(objects: &[&'a Schema]) -> Option<&'a str> {
    let tag = |object: &'a Schema| {
        let properties = object.get("properties")?.as_object()?;
        let (name, _) = properties.iter().find(|(_, property)| property.get("const").is_some())?;
        Some(name.as_str())
    };
    let first = tag(objects.first()?)?;
    objects.iter().all(|object| tag(object) == Some(first)).then_some(first)
}

/// The key that tells which an object is: of a step, or of an object that has exactly one, which must be there.
pub(super) fn only_key(object: &Schema) -> Option<&str> {
    if let Some(step) = object.get("x-step").and_then(Value::as_str) {
        return Some(step);
    }
    let properties = object.get("properties")?.as_object()?;
    let required = object.get("required")?.as_array()?;
    match (&required[..], properties.len()) {
        ([name], 1) => name.as_str(),
        _ => None,
    }
}
