//! The tables of `docs/configuration.md`, made from the schema: every key with type, default, limits and
//! meaning.
//!
//! The page's text is written by hand; between `<!-- keys: NAME -->` and `<!-- end -->` stands what is made
//! here. After a change of the types in `raw`, `KINETAIL_UPDATE_REFERENCE=1 cargo test reference` writes the
//! tables anew.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use super::schema::{alternatives, only_key, resolve, schema};

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
    let head = "| key | type | default | limits | meaning |\n|---|---|---|---|---|\n";
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
            None => rows.push(row(root, &key, &property, required, false)),
        }
    }
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
    format!("| `{key}` | {kind} | {default} | {} | {} |\n", limits(property), meaning(root, property))
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
            let steps = alternatives(root, &item).len() > 1;
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
    for example in property.get("examples").and_then(Value::as_array).into_iter().flatten() {
        let _ = write!(text, " Example: `{}`", shown(example));
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
            assert!(cells.len() >= 5 && !cells[1].is_empty(), "{name}: {row}");
            assert!(cells[4].len() > 10, "{name}: {row}");
        }
    }
}
