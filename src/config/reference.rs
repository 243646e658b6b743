//! The tables of `docs/configuration.md`, made from the schema: every key with type, default, limits and
//! meaning.
//!
//! The page's text is written by hand; between `<!-- keys: NAME -->` and `<!-- end -->` stands what is made
//! here. After a change of the types in `raw`, `KINETAIL_UPDATE_REFERENCE=1 cargo test reference` writes the
//! tables anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::diagnostics::Findings;
use super::schema::{admits, alternatives, only_key, resolve, schema};
use super::{document, shape};

type Schema = Map<String, Value>;

/// The tables by the names in their marks, in the order of the schema.
fn tables() -> Vec<(String, String)> {
    let root = schema();
    let top = resolve(&root, &root);
    let mut tables = Vec::new();
    let mut rows = Vec::new();
    for (name, property, required) in properties(&root, &top) {
        let inner = section(&root, &property);
        if let Some(inner) = &inner {
            let mut rows = Vec::new();
            add_rows(&root, inner, "", &mut rows);
            tables.push((name.clone(), rows));
        }
        rows.push(row(&root, &name, &property, required, inner.is_some()));
    }
    tables.insert(0, ("top".to_owned(), rows));
    for kind in alternatives(&root, &of(&root, &top, "destinations", "additionalProperties")) {
        let mut rows = Vec::new();
        add_rows(&root, &kind, "", &mut rows);
        let name = kind["properties"]["type"]["const"].as_str().expect("a tag");
        tables.push((format!("destinations of type {name}"), rows));
    }
    let route = of(&root, &top, "routes", "items");
    let mut rows = Vec::new();
    add_rows(&root, &route, "", &mut rows);
    tables.push(("routes".to_owned(), rows));
    let test = of(&root, &top, "tests", "items");
    let mut rows = Vec::new();
    add_rows(&root, &test, "", &mut rows);
    let expected = resolve(&root, &test["properties"]["expect"]);
    for expected in alternatives(&root, &expected).iter().filter(|one| one.contains_key("properties")) {
        add_rows(&root, expected, "expect.", &mut rows);
    }
    tables.push(("tests".to_owned(), rows));
    let mut rows = Vec::new();
    let mut beside = Vec::new();
    for step in alternatives(&root, &of(&root, &route, "process", "items")) {
        let (mut own, others): (Vec<_>, Vec<_>) = properties(&root, &step)
            .into_iter()
            .partition(|(name, ..)| step["x-step"].as_str() == Some(name.as_str()));
        let (name, mut property, _) = own.remove(0);
        beside = others;
        // A step is there or not; none of them has to be.
        property.insert("default".to_owned(), "".into());
        if let Some(meaning) = step.get("description") {
            property.insert("description".to_owned(), meaning.clone());
        }
        rows.push(row(&root, &name, &property, false, false));
        for with in alternatives(&root, &property) {
            for with in alternatives(&root, &with) {
                add_rows(&root, &with, &format!("{name}."), &mut rows);
            }
            if with.contains_key("properties") && only_key(&with).is_none() {
                add_rows(&root, &with, &format!("{name}."), &mut rows);
            }
        }
        if property.contains_key("properties") {
            add_rows(&root, &property, &format!("{name}."), &mut rows);
        }
    }
    let mut rows = shared(rows, "parse.", "PARSER");
    for (name, property, required) in beside {
        rows.push(row(&root, &name, &property, required, false));
    }
    tables.push(("steps".to_owned(), rows));
    let head = "| key | type | default | limits | example | meaning |\n|---|---|---|---|---|---|\n";
    tables.into_iter().map(|(name, rows)| (name, format!("{head}{}", rows.concat()))).collect()
}

/// Rows of keys that more than three of the kinds under `prefix` have, each said once, after all others.
fn shared(rows: Vec<String>, prefix: &str, kind: &str) -> Vec<String> {
    let general = |row: &String| {
        let (first, last) = row.strip_prefix("| `")?.strip_prefix(prefix)?.split_once('.')?;
        (!first.contains('`')).then(|| format!("| `{prefix}{kind}.{last}"))
    };
    let count = |row: &String| rows.iter().filter(|other| general(other).as_ref() == Some(row)).count();
    let (mut kept, mut once) = (Vec::new(), Vec::new());
    for row in &rows {
        match general(row).filter(|general| count(general) > 3) {
            Some(general) if once.contains(&general) => {}
            Some(general) => once.push(general),
            None => kept.push(row.clone()),
        }
    }
    let at = kept.iter().rposition(|row| row.starts_with(&format!("| `{prefix}"))).map_or(0, |at| at + 1);
    kept.splice(at..at, once);
    kept
}

fn of(root: &Value, schema: &Schema, property: &str, inner: &str) -> Schema {
    resolve(root, &schema["properties"][property][inner])
}

fn properties(root: &Value, schema: &Schema) -> Vec<(String, Schema, bool)> {
    let required = schema.get("required").and_then(Value::as_array);
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, property)| {
            let required = required.is_some_and(|required| required.iter().any(|key| key == name));
            (name.clone(), resolve(root, property), required)
        })
        .collect()
}

/// The object behind a key that has keys of its own, whether it may be absent or not.
fn section(root: &Value, property: &Schema) -> Option<Schema> {
    let mut inner = match &alternatives(root, property)[..] {
        [only] => only.clone(),
        _ => property.clone(),
    };
    // A condition holds conditions again; the page tells of it in its own words.
    (inner.contains_key("properties") && !inner.contains_key("x-kind")).then(|| {
        inner.remove("const");
        inner
    })
}

fn add_rows(root: &Value, object: &Schema, prefix: &str, rows: &mut Vec<String>) {
    for (name, property, required) in properties(root, object) {
        let key = format!("{prefix}{name}");
        match section(root, &property) {
            Some(inner) => {
                rows.push(row(root, &key, &property, required, true));
                add_rows(root, &inner, &format!("{key}."), rows);
            }
            None => {
                rows.push(row(root, &key, &property, required, false));
                for with in maps(root, &property) {
                    add_rows(root, &with, &format!("{key}."), rows);
                }
            }
        }
    }
}

/// The objects that may stand in the place of something shorter.
fn maps(root: &Value, property: &Schema) -> Vec<Schema> {
    let branches = alternatives(root, property).into_iter();
    let maps = branches.flat_map(|branch| {
        let is_map = branch.contains_key("properties") && !branch.contains_key("x-kind");
        if is_map { vec![branch] } else { maps(root, &branch) }
    });
    maps.collect()
}

fn row(root: &Value, key: &str, property: &Schema, required: bool, section: bool) -> String {
    let default = match property.get("default") {
        Some(Value::String(text)) if text.is_empty() => String::new(),
        Some(value) => format!("`{}`", shown(value)),
        None if required => "required".to_owned(),
        None => "not set".to_owned(),
    };
    let default = if section { String::new() } else { default };
    let kind = if section { "section".to_owned() } else { kind_of(root, property) };
    let example = example(root, property).map(|example| shown(&example)).unwrap_or_default();
    let example = format!("`{}`", example.replace('|', "\\|").replace('\t', "\\t"));
    format!(
        "| `{key}` | {kind} | {default} | {} | {example} | {} |\n",
        limits(property),
        meaning(root, property)
    )
}

/// A value that may stand behind a key: one that its type's documentation gives, or else another than the default where
/// that is easily told, or the default; of an object what must be in it, or its first key.
fn example(root: &Value, property: &Schema) -> Option<Value> {
    if let Some(given) = property.get("examples").and_then(|examples| examples.get(0)) {
        return Some(given.clone());
    }
    if let Some(only) = property.get("const") {
        return Some(only.clone());
    }
    let default = property.get("default").filter(|default| **default != Value::Array(Vec::new()));
    let default = default.filter(|default| default.as_str() != Some(""));
    let names = constants(root, property);
    if !names.is_empty() {
        let other = names.iter().find(|(name, _)| default.and_then(Value::as_str) != Some(name));
        return other.map(|(name, _)| name.as_str().into());
    }
    if let Some(Value::Bool(default)) = default {
        return Some((!default).into());
    }
    if let Some(default) = default {
        return Some(default.clone());
    }
    let branches = alternatives(root, property);
    if !branches.is_empty() {
        let examples = branches.iter().filter_map(|branch| example(root, branch));
        return examples.min_by_key(|example| example.to_string().len());
    }
    if admits(property, "boolean") && !admits(property, "string") {
        return Some(true.into());
    }
    if admits(property, "array")
        && let Some(items) = property.get("items")
    {
        return Some(Value::Array(vec![example(root, &resolve(root, items))?]));
    }
    let inner = properties(root, property);
    if inner.is_empty() {
        let others = property.get("additionalProperties").filter(|others| others.is_object());
        let Some(others) = others else {
            // What has no settings is written all the same.
            return admits(property, "object").then(|| Value::Object(Map::new()));
        };
        let others = resolve(root, others);
        return Some(Value::Object(Map::from_iter([("archive".to_owned(), example(root, &others)?)])));
    }
    let required: Vec<_> = inner.iter().filter(|(.., required)| *required).collect();
    let shown = if required.is_empty() { vec![&inner[0]] } else { required };
    let entries = shown.into_iter().map(|(name, inner, _)| Some((name.clone(), example(root, inner)?)));
    entries.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{key}: {}", shown(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

fn constants(root: &Value, property: &Schema) -> Vec<(String, String)> {
    let text = |schema: &Schema, key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
    alternatives(root, property)
        .iter()
        .filter_map(|branch| Some((text(branch, "const")?, text(branch, "description").unwrap_or_default())))
        .collect()
}

fn kind_of(root: &Value, property: &Schema) -> String {
    if let Some(Value::String(kind)) = property.get("x-kind") {
        return kind.clone();
    }
    if let Some(Value::String(only)) = property.get("const") {
        return format!("`{only}`");
    }
    let constants = constants(root, property);
    if !constants.is_empty() {
        let texts: Vec<String> = constants.iter().map(|(text, _)| format!("`{text}`")).collect();
        return texts.join(", ");
    }
    let branches = alternatives(root, property);
    if !branches.is_empty() {
        let kinds: Vec<String> = branches.iter().map(|branch| kind_of(root, branch)).collect();
        return kinds.join(" or ");
    }
    if let Some(Value::String(form)) = property.get("format") {
        // The number formats of JSON Schema say nothing to a reader.
        if !form.starts_with("uint") {
            return form.replace('-', " ");
        }
    }
    let kind = match property.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        // A key that may be absent: its type alone says enough.
        Some(Value::Array(kinds)) if kinds.len() == 2 && kinds[1] == "null" => shown(&kinds[0]),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.collect::<Vec<_>>().join(" or ").replace("string", "text")
        }
        _ => String::new(),
    };
    match kind.as_str() {
        "array" => {
            let item = resolve(root, &property["items"]);
            let steps = alternatives(root, &item).iter().any(|item| item.contains_key("x-step"));
            let of = if steps { "steps".to_owned() } else { kind_of(root, &item) };
            format!("list of {of}")
        }
        "object" if property.contains_key("properties") => "map".to_owned(),
        "object" => "map of names".to_owned(),
        "integer" => "number".to_owned(),
        "string" => "text".to_owned(),
        other => other.to_owned(),
    }
}

fn limits(property: &Schema) -> String {
    let ours = property.get("x-limits");
    let bound = |ours_name: &str, name: &str| {
        ours.and_then(|ours| ours.get(ours_name)).or_else(|| property.get(name)).map(shown)
    };
    match (bound("min", "minimum"), bound("max", "maximum")) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("from {min}"),
        (None, Some(max)) => format!("to {max}"),
        (None, None) => String::new(),
    }
}

fn meaning(root: &Value, property: &Schema) -> String {
    let mut text = property
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or("Which of the kinds it is.")
        .replace('\n', " ");
    let constants: Vec<String> = constants(root, property)
        .into_iter()
        .filter(|(_, meaning)| !meaning.is_empty())
        .map(|(name, meaning)| format!("`{name}`: {meaning}"))
        .collect();
    if !constants.is_empty() {
        let _ = write!(text, " {}.", constants.join("; "));
    }
    text.replace('|', "\\|")
}

/// The page with the tables between their marks made anew.
fn filled(page: &str) -> String {
    let mut page = page.to_owned();
    for (name, table) in tables() {
        let mark = format!("<!-- keys: {name} -->\n");
        let begin = page.find(&mark).map(|at| at + mark.len());
        let begin = begin.unwrap_or_else(|| panic!("docs/configuration.md has no {mark}"));
        let end = page[begin..].find("<!-- end -->").expect("an end of the table") + begin;
        page.replace_range(begin..end, &table);
    }
    page
}

#[test]
fn the_reference_says_every_key_with_its_type_default_and_limits() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("the reference");
    let filled = filled(&page);
    if std::env::var_os("KINETAIL_UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, &filled).expect("written");
        return;
    }
    for (line, (has, needs)) in page.lines().zip(filled.lines()).enumerate() {
        assert_eq!(
            has,
            needs,
            "docs/configuration.md:{}: run KINETAIL_UPDATE_REFERENCE=1 cargo test reference",
            line + 1
        );
    }
    assert!(page == filled, "the reference ends differently");
}

/// What is said by the schema reaches the reference: no key lacks its meaning.
#[test]
fn every_key_has_a_meaning() {
    for (name, table) in tables() {
        for row in table.lines().skip(2) {
            let cells: Vec<&str> = row.split(" | ").collect();
            assert!(cells.len() >= 6 && !cells[1].is_empty(), "{name}: {row}");
            assert!(cells[5].len() > 10, "{name}: {row}");
        }
    }
}

/// Every key of the schema has an example, and the configuration's own reader takes it.
#[test]
fn every_key_has_an_example_that_is_taken() {
    let root = schema();
    let (mut looked_at, mut lacking) = (0, Vec::new());
    let mut queue = vec![("the file".to_owned(), root.clone())];
    queue.extend(
        root["$defs"]
            .as_object()
            .expect("definitions")
            .iter()
            .map(|(name, inner)| (name.clone(), inner.clone())),
    );
    while let Some((name, schema)) = queue.pop() {
        // Inside of these there are values, not schemas.
        let inner = schema.as_object().into_iter().flatten();
        let inner =
            inner.filter(|(key, _)| !["examples", "default", "x-hints", "$defs"].contains(&key.as_str()));
        for (key, value) in inner {
            match value {
                Value::Object(_) => queue.push((format!("{name}.{key}"), value.clone())),
                Value::Array(items) => queue.extend(items.iter().map(|item| (name.clone(), item.clone()))),
                _ => {}
            }
        }
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let property = resolve(&root, property);
            let at = format!("{name}: {key}");
            let Some(example) = example(&root, &property) else {
                lacking.push(at);
                continue;
            };
            let mut findings = Findings::new(&at);
            let node = document::read(&example.to_string(), &mut findings).expect("YAML");
            shape::check_value(&root, &property, &node, &mut findings);
            if !findings.is_empty() {
                lacking.push(format!("{at}: {example} is refused: {}", findings.finish()));
            }
            looked_at += 1;
        }
    }
    assert!(lacking.is_empty(), "without an example: {lacking:#?}");
    assert!(looked_at > 150, "{looked_at}");
}
