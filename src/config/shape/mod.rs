//! The file against the schema: unknown and missing keys, wrong types, values that are none of those allowed,
//! scalars that are not of their form or beyond their limits. All of it is reported at once; what is left is
//! a value that the types in `raw` can be read from.
//!
//! The schema holds only what schemars makes of those types: objects, lists, scalars, and unions that are
//! told apart by the kind of the value, by a tag (`type: firehose`) or by the only key (`parse: …`).

mod words;

use serde_json::{Map as Object, Value as Json};
use serde_yaml::{Mapping, Value};

use super::diagnostics::{Findings, Path, Place, did_you_mean};
use super::document::{Entry, Kind, Node};
use super::raw::Form;
use super::schema::{
    Schema, admits, alternatives, constants, is_form, is_required, limit, only_key, resolve, tag_of,
};
use crate::units::{ByteSize, parse_duration};
use words::{found, listed, none_of, wanted};

/// Checks the whole file. Lists keep their length in the result: an item that is of no use is null there. A
/// key whose value is of no use is left out.
pub(super) fn check(schema: &Json, root: &Node, findings: &mut Findings) -> Value {
    let mut checker = Checker { root: schema, findings };
    let schema = resolve(schema, schema);
    checker.visit(&schema, root, root.place, &Path::default()).unwrap_or(Value::Mapping(Mapping::new()))
}

/// Checks one value against its part of the schema.
#[cfg(test)]
pub(super) fn check_value(root: &Json, schema: &Schema, node: &Node, findings: &mut Findings) {
    Checker { root, findings }.visit(schema, node, node.place, &Path::default());
}

struct Checker<'a> {
    root: &'a Json,
    findings: &'a mut Findings,
}

impl Checker<'_> {
    /// `owner` is the place of the key that the value belongs to: there a missing key is reported.
    fn visit(&mut self, schema: &Schema, node: &Node, owner: Place, path: &Path) -> Option<Value> {
        let branches = alternatives(self.root, schema);
        if !branches.is_empty() {
            return self.visit_union(schema, &branches, node, owner, path);
        }
        match &node.kind {
            Kind::Bad => None,
            Kind::Map(entries) if admits(schema, "object") => {
                Some(self.visit_map(schema, entries, owner, path))
            }
            Kind::List(items) if admits(schema, "array") => Some(self.visit_list(schema, items, path)),
            Kind::Scalar { .. } => self.visit_scalar(schema, node, path),
            Kind::Map(_) | Kind::List(_) => self.wrong_type(&[schema], node, path),
        }
    }

    fn visit_map(&mut self, schema: &Schema, entries: &[Entry], owner: Place, path: &Path) -> Value {
        let none = Object::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let mut value = Mapping::new();
        for entry in entries {
            let path = path.key(&entry.key);
            let Some(known) = properties.get(&entry.key).or(others) else {
                let names = properties.keys().map(String::as_str);
                let near = did_you_mean(&entry.key, names.clone());
                let message = if properties.is_empty() {
                    "unknown key; nothing can be said here".to_owned()
                } else {
                    format!("unknown key{near}; allowed here: {}", listed(names))
                };
                self.findings.add(entry.key_place, &path, message);
                continue;
            };
            let known = resolve(self.root, known);
            // A key with nothing behind it is as good as absent.
            let absent = entry.node.scalar() == Some(Value::Null) && properties.contains_key(&entry.key);
            if absent {
                if is_required(schema, &entry.key) {
                    self.missing(&known, entry.key_place, &path, "nothing is said here");
                }
                continue;
            }
            let checked = self.visit(&known, &entry.node, entry.key_place, &path);
            // A map of names keeps those whose value is of no use, so that they count as known.
            if checked.is_some() || others.is_some() {
                value.insert(entry.key.clone().into(), checked.unwrap_or(Value::Null));
            }
        }
        let required = schema.get("required").and_then(Json::as_array);
        for name in required.into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|entry| entry.key == name) {
                let known = properties.get(name).map(|known| resolve(self.root, known)).unwrap_or_default();
                self.missing(&known, owner, &path.key(name), "is missing");
            }
        }
        Value::Mapping(value)
    }

    fn missing(&mut self, schema: &Schema, place: Place, path: &Path, what: &str) {
        let message = match schema.get("x-missing").and_then(Json::as_str) {
            Some(how) => format!("{what}; {how}"),
            None => what.to_owned(),
        };
        self.findings.add(place, path, message);
    }

    fn visit_list(&mut self, schema: &Schema, items: &[Node], path: &Path) -> Value {
        let known = schema.get("items").map(|items| resolve(self.root, items)).unwrap_or_default();
        let checked = items.iter().enumerate().map(|(index, item)| {
            self.visit(&known, item, item.place, &path.index(index)).unwrap_or(Value::Null)
        });
        Value::Sequence(checked.collect())
    }

    fn visit_union(
        &mut self,
        schema: &Schema,
        branches: &[Schema],
        node: &Node,
        owner: Place,
        path: &Path,
    ) -> Option<Value> {
        if matches!(node.kind, Kind::Bad) {
            return None;
        }
        if let Some(allowed) = constants(branches) {
            return self.visit_constant(schema, &allowed, node, path);
        }
        let fitting: Vec<&Schema> = branches.iter().filter(|branch| fits(self.root, branch, node)).collect();
        match (&fitting[..], &node.kind) {
            ([], _) => self.wrong_type(&branches.iter().collect::<Vec<_>>(), node, path),
            ([only], _) if only_key(only).is_none() => self.visit(only, node, owner, path),
            (objects, Kind::Map(entries)) => match tag_of(objects) {
                Some(tag) => self.visit_tagged(objects, tag, entries, owner, path),
                None => self.visit_step(objects, node, entries, owner, path),
            },
            ([first, ..], _) => self.visit(first, node, owner, path),
        }
    }

    /// One object of several, told apart by the text under a key that all have.
    fn visit_tagged(
        &mut self,
        objects: &[&Schema],
        tag: &str,
        entries: &[Entry],
        owner: Place,
        path: &Path,
    ) -> Option<Value> {
        let tags: Vec<&str> =
            objects.iter().filter_map(|object| object["properties"][tag]["const"].as_str()).collect();
        let Some(entry) = entries.iter().find(|entry| entry.key == tag) else {
            let message = format!("is missing; allowed: {}", listed(tags.into_iter()));
            self.findings.add(owner, &path.key(tag), message);
            return None;
        };
        if matches!(entry.node.kind, Kind::Bad) {
            return None;
        }
        let said = entry.node.scalar();
        let said = said.as_ref().and_then(Value::as_str);
        match tags.iter().position(|tag| Some(*tag) == said) {
            Some(index) => Some(self.visit_map(objects[index], entries, owner, path)),
            None => {
                let message = none_of(&entry.node, &tags);
                self.findings.add(entry.node.place, &path.key(tag), message);
                None
            }
        }
    }

    /// One object of several, told apart by its only key, or by the only one of its keys that names a step.
    fn visit_step(
        &mut self,
        objects: &[&Schema],
        node: &Node,
        entries: &[Entry],
        owner: Place,
        path: &Path,
    ) -> Option<Value> {
        let names: Vec<&str> = objects.iter().filter_map(|object| only_key(object)).collect();
        let known = || names.iter().copied();
        let beside = |entry: &&Entry| {
            let properties = objects.first().and_then(|object| object.get("properties"));
            properties.is_some_and(|properties| properties.get(&entry.key).is_some())
                && !names.contains(&entry.key.as_str())
        };
        let steps: Vec<&Entry> = entries.iter().filter(|entry| !beside(entry)).collect();
        let [entry] = steps[..] else {
            let message = if steps.is_empty() {
                let what = if entries.is_empty() { "is empty" } else { "does not say what it does" };
                format!("{what}; allowed: {}", listed(known()))
            } else {
                let beside = if entries.len() > steps.len() { " of these" } else { "" };
                format!(
                    "has {} keys{beside} and must have one; write each as an item of its own, with a dash",
                    steps.len()
                )
            };
            self.findings.add(node.place, path, message);
            return None;
        };
        match objects.iter().position(|object| only_key(object) == Some(&entry.key)) {
            Some(index) => {
                let Value::Mapping(value) = self.visit_map(objects[index], entries, owner, path) else {
                    return None;
                };
                value.contains_key(entry.key.as_str()).then_some(Value::Mapping(value))
            }
            None => {
                let near = did_you_mean(&entry.key, known());
                let message = format!("unknown key{near}; allowed here: {}", listed(known()));
                self.findings.add(entry.key_place, &path.key(&entry.key), message);
                None
            }
        }
    }

    /// One text of several.
    fn visit_constant(
        &mut self,
        schema: &Schema,
        allowed: &[&str],
        node: &Node,
        path: &Path,
    ) -> Option<Value> {
        let value = node.scalar();
        if let Some(text) = value.as_ref().and_then(Value::as_str) {
            if allowed.contains(&text) {
                return value;
            }
            if let Some(hint) = schema.get("x-hints").and_then(|hints| hints[text].as_str()) {
                let message = format!("{hint}; allowed: {}", listed(allowed.iter().copied()));
                self.findings.add(node.place, path, message);
                return None;
            }
        }
        let mut message = none_of(node, allowed);
        if let Some(other) = schema.get("x-or").and_then(Json::as_str) {
            message = format!("{message}, or {other}");
        }
        self.findings.add(node.place, path, message);
        None
    }

    fn visit_scalar(&mut self, schema: &Schema, node: &Node, path: &Path) -> Option<Value> {
        let value = node.scalar()?;
        let fits = match &value {
            Value::Null => admits(schema, "null"),
            Value::Bool(_) => admits(schema, "boolean"),
            Value::Number(number) => {
                if let Some(bytes) = number.as_u64().filter(|_| is_form(schema, "size")) {
                    return self.visit_text(schema, &bytes.to_string(), node, path);
                }
                admits(schema, "number") || (admits(schema, "integer") && !number.is_f64())
            }
            Value::String(text) if admits(schema, "string") => {
                return self.visit_text(schema, text, node, path);
            }
            _ => false,
        };
        if !fits {
            return self.wrong_type(&[schema], node, path);
        }
        let (min, max) = (schema.get("minimum"), schema.get("maximum"));
        let beyond = value.as_f64().is_some_and(|number| {
            min.and_then(Json::as_f64).is_some_and(|min| number < min)
                || max.and_then(Json::as_f64).is_some_and(|max| number > max)
        });
        if beyond {
            self.beyond(schema, node, min, max, path);
            return None;
        }
        Some(value)
    }

    fn visit_text(&mut self, schema: &Schema, text: &str, node: &Node, path: &Path) -> Option<Value> {
        let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
        if let Some(Err(message)) = Form::named(format).map(|form| (form.check)(text)) {
            self.findings.add(node.place, path, message);
            return None;
        }
        let (min, max) = (limit(schema, "min"), limit(schema, "max"));
        let measure = |text: &str| match format {
            "size" => text.parse::<ByteSize>().ok().map(|size| u128::from(size.0)),
            "duration" => parse_duration(text).ok().map(|time| time.as_millis()),
            _ => None,
        };
        let bound = |limit: Option<&Json>| limit.and_then(Json::as_str).and_then(measure);
        if let Some(measured) = measure(text)
            && (bound(min).is_some_and(|min| measured < min) || bound(max).is_some_and(|max| measured > max))
        {
            self.beyond(schema, node, min, max, path);
            return None;
        }
        Some(Value::String(text.to_owned()))
    }

    fn beyond(&mut self, schema: &Schema, node: &Node, min: Option<&Json>, max: Option<&Json>, path: &Path) {
        let plain = |limit: Option<&Json>| match limit {
            Some(Json::String(text)) => text.clone(),
            Some(limit) => limit.to_string(),
            None => String::new(),
        };
        let range = match (min, max) {
            (Some(_), Some(_)) => format!("must be {} to {}", plain(min), plain(max)),
            (Some(_), None) => format!("must be at least {}", plain(min)),
            _ => format!("must be at most {}", plain(max)),
        };
        let source = limit(schema, "source")
            .and_then(Json::as_str)
            .map(|source| format!(" ({source})"))
            .unwrap_or_default();
        let message = format!("{} is out of range; it {range}{source}", found(node));
        self.findings.add(node.place, path, message);
    }

    fn wrong_type(&mut self, schemas: &[&Schema], node: &Node, path: &Path) -> Option<Value> {
        let wanted = schemas.iter().map(|schema| wanted(self.root, schema));
        let mut wanted: Vec<String> = wanted.collect();
        wanted.dedup();
        let mut message = format!("{} is needed here, not {}", wanted.join(" or "), found(node));
        if let (Kind::Scalar { text, .. }, Some(Value::Number(_) | Value::Bool(_))) =
            (&node.kind, node.scalar())
            && schemas.iter().any(|schema| takes_text(schema, text))
        {
            message.push_str("; if it is meant as text, put it in quotes");
        }
        if matches!(node.kind, Kind::Map(_)) && schemas.iter().all(|schema| admits(schema, "array")) {
            message.push_str("; begin each item with a dash");
        }
        self.findings.add(node.place, path, message);
        None
    }
}

#[derive(PartialEq)]
enum Shape {
    Object,
    List,
    Scalar,
}

/// Whether a value may be of this schema by its kind. A union takes what one of its alternatives takes.
fn fits(root: &Json, schema: &Schema, node: &Node) -> bool {
    let inner = alternatives(root, schema);
    if !inner.is_empty() && constants(&inner).is_none() {
        return inner.iter().any(|one| fits(root, one, node));
    }
    match (&node.kind, shape_of(root, schema)) {
        (Kind::Map(_), Shape::Object) | (Kind::List(_), Shape::List) => true,
        (Kind::Scalar { .. }, Shape::Scalar) => node.scalar() != Some(Value::Null),
        _ => false,
    }
}

fn shape_of(root: &Json, schema: &Schema) -> Shape {
    if admits(schema, "object") {
        return Shape::Object;
    }
    if admits(schema, "array") {
        return Shape::List;
    }
    match alternatives(root, schema).first() {
        Some(first) => shape_of(root, first),
        None => Shape::Scalar,
    }
}

fn takes_text(schema: &Schema, text: &str) -> bool {
    let format = schema.get("format").and_then(Json::as_str).unwrap_or_default();
    admits(schema, "string") && Form::named(format).is_none_or(|form| (form.check)(text).is_ok())
}
