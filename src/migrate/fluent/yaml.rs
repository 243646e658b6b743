//! The form in YAML: `env`, `service`, `parsers`, `multiline_parsers`, `pipeline`, `includes`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::classic::{expand, included};
use super::section::{Kind, Section, Source};
use crate::migrate::draft::text_of;
use crate::migrate::{MigrateError, read as read_file};

/// Deeper than anyone includes.
const MAX_DEPTH: usize = 10;

pub(super) fn read(file: &Path) -> Result<Source, MigrateError> {
    let mut reader = Reader { source: Source::default(), set: BTreeMap::new() };
    reader.file(file, 0)?;
    Ok(reader.source)
}

struct Reader {
    source: Source,
    set: BTreeMap<String, String>,
}

impl Reader {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), MigrateError> {
        let syntax = |what: String| MigrateError::Syntax { path: file.to_owned(), what };
        if depth > MAX_DEPTH {
            return Err(syntax("files include each other".to_owned()));
        }
        let mut root: serde_yaml::Value = serde_yaml::from_str(&read_file(file)?)
            .map_err(|error| syntax(format!("is not YAML: {error}")))?;
        root.apply_merge().map_err(|error| syntax(error.to_string()))?;
        let root: Value = serde_json::to_value(root).map_err(|error| syntax(error.to_string()))?;
        let Value::Object(root) = root else { return Err(syntax("is not a map of sections".to_owned())) };
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(Value::Object(env)) = root.get("env") {
            for (variable, value) in env {
                self.set.insert(variable.clone(), text_of(value));
            }
        }
        if let Some(Value::Array(files)) = root.get("includes") {
            for pattern in files {
                for path in included(file, &expand(&text_of(pattern), &self.set))? {
                    self.file(&path, depth + 1)?;
                }
            }
        }
        for (key, value) in &root {
            match key.as_str() {
                "env" | "includes" => {}
                "service" => self.section(&name, key, Kind::Service, value),
                "parsers" => self.sections(&name, key, Kind::Parser, value),
                "multiline_parsers" => self.sections(&name, key, Kind::MultilineParser, value),
                "pipeline" => {
                    for (key, value) in value.as_object().into_iter().flatten() {
                        let kind = match key.as_str() {
                            "inputs" => Kind::Input,
                            "filters" => Kind::Filter,
                            "outputs" => Kind::Output,
                            _ => Kind::Other,
                        };
                        self.sections(&name, &format!("pipeline.{key}"), kind, value);
                    }
                }
                _ => self.section(&name, key, Kind::Other, &Value::Object(Map::new())),
            }
        }
        Ok(())
    }

    fn sections(&mut self, file: &str, key: &str, kind: Kind, value: &Value) {
        for (index, item) in value.as_array().into_iter().flatten().enumerate() {
            self.section(file, &format!("{key}[{index}]"), kind, item);
        }
    }

    fn section(&mut self, file: &str, key: &str, kind: Kind, value: &Value) {
        let mut entries = Vec::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            match value {
                // A key of the classic form that stands there several times is a list here.
                Value::Array(items) => {
                    let items = items.iter().map(|item| (name.clone(), self.expanded(item)));
                    entries.extend(items);
                }
                value => entries.push((name.clone(), self.expanded(value))),
            }
        }
        // Rules of a multiline parser have keys of their own here.
        for (name, value) in &mut entries {
            if name == "rules" {
                let of = |key: &str| value.get(key).map(text_of).unwrap_or_default();
                let quoted = |text: String| format!("\"{}\"", text.replace('"', "\\\""));
                *value =
                    [quoted(of("state")), quoted(of("regex")), quoted(of("next_state"))].join(" ").into();
                *name = "rule".to_owned();
            }
        }
        self.source.sections.push(Section {
            kind,
            place: format!("{file}: {key}"),
            title: kind.word().to_owned(),
            entries,
        });
    }

    fn expanded(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => expand(text, &self.set).into(),
            other => other.clone(),
        }
    }
}
