//! Filters: `kubernetes`, `parser`, `grep` and `modify`.

use serde_json::{Map, Value, json};

use super::modify;
use super::parsers::{Parsers, ours};
use super::section::Section;
use super::tail::Route;
use crate::migrate::draft::{Draft, Taken, text_of};
use crate::migrate::keys::{GREP, KUBERNETES, PARSER_FILTER};
use crate::migrate::yaml::{Entry, Node};

pub(super) fn is_known(section: &Section) -> bool {
    ["kubernetes", "parser", "grep", "modify"].iter().any(|name| section.is_named(name))
}

/// Adds what a filter does to a route.
pub(super) fn translate(section: &Section, parsers: &Parsers, route: &mut Route, draft: &mut Draft) {
    match section.name().to_ascii_lowercase().as_str() {
        "kubernetes" => kubernetes(section, parsers, route, draft),
        "parser" => parser(section, parsers, route, draft),
        "grep" => grep(section, route, draft),
        "modify" => modify::translate(section, route, draft),
        // Told with all others that are not known.
        _ => {}
    }
}

/// Takes what every filter has.
pub(super) fn common(keys: &mut Taken<'_>) {
    for key in ["name", "alias", "match", "match_regex"] {
        keys.take(key);
    }
}

fn kubernetes(section: &Section, parsers: &Parsers, route: &mut Route, draft: &mut Draft) {
    let mut keys = section.taken(&KUBERNETES);
    common(&mut keys);
    route.kubernetes = true;
    metadata(&mut keys, route, draft);
    let merge = keys.switch("merge_log", false, draft);
    let keep = keys.switch("keep_log", true, draft);
    let (under, parser) = (keys.text("merge_log_key"), keys.text("merge_parser"));
    if merge {
        let mut settings = Map::new();
        settings.extend(under.map(|under| ("under".to_owned(), json!(under))));
        if keep {
            settings.insert("keep_original".into(), json!(true));
        }
        match parser {
            Some(name) => {
                if let Some(parser) = parsers.find(&name, &keys, draft) {
                    parser.steps(settings, None, &mut route.steps);
                }
            }
            None => {
                let parse = if settings.is_empty() { json!("json") } else { json!({"json": settings}) };
                route.steps.push((Vec::new(), Node::Map(vec![Entry::new("parse", parse)])));
            }
        }
    }
    keys.finish(draft);
}

/// What is asked of the API, and what pods may say.
fn metadata(keys: &mut Taken<'_>, route: &mut Route, draft: &mut Draft) {
    draft.kubernetes("node", json!("${env:NODE_NAME}"));
    // Where it is in a pod nothing has to be said.
    let own = |text: &String| {
        !text.starts_with("https://kubernetes.default")
            && !text.starts_with("/var/run/secrets/kubernetes.io/")
    };
    let mut api = Map::new();
    for (key, ours) in [("kube_url", "url"), ("kube_ca_file", "ca_file"), ("kube_token_file", "token_file")] {
        api.extend(keys.text(key).filter(own).map(|text| (ours.to_owned(), json!(text))));
    }
    if !api.is_empty() {
        draft.kubernetes("api", Value::Object(api));
    }
    for (key, usual, ours) in [
        ("labels", true, "labels"),
        ("annotations", true, "annotations"),
        ("namespace_labels", false, "namespace_labels"),
    ] {
        let wanted = keys.switch(key, usual, draft);
        draft.kubernetes(ours, if wanted { json!(["*"]) } else { json!([]) });
    }
    draft.kubernetes("node_labels", json!([]));
    let owner = keys.switch("owner_references", false, draft);
    draft.kubernetes("owner", json!(owner));
    for (key, wish) in [("k8s-logging.exclude", "exclude"), ("k8s-logging.parser", "parser")] {
        if keys.switch(key, false, draft) && !route.annotations.contains(&wish) {
            route.annotations.push(wish);
        }
    }
}

fn parser(section: &Section, parsers: &Parsers, route: &mut Route, draft: &mut Draft) {
    let mut keys = section.taken(&PARSER_FILTER);
    common(&mut keys);
    let field = keys.text("key_name").map_or_else(|| "log".to_owned(), |name| route.field(&name));
    let names: Vec<String> = keys.take_all("parser").iter().map(text_of).collect();
    let preserve = keys.switch("preserve_key", false, draft);
    if !keys.switch("reserve_data", false, draft) {
        let why = "other fields of the record stay; a step remove takes them away";
        keys.refuse("Reserve_Data Off", why, draft);
    }
    if preserve && names.len() > 1 {
        let why = "with Preserve_Key, only the first of several parsers is carried over";
        keys.refuse(&format!("Parser {}", names[1..].join(", ")), why, draft);
    }
    let tried = if preserve { 1 } else { names.len() };
    for (index, name) in names.iter().take(tried).enumerate() {
        let Some(parser) = parsers.find(name, &keys, draft) else { continue };
        let mut settings = Map::new();
        if field != "log" {
            settings.insert("field".into(), json!(field));
        }
        if preserve {
            settings.insert("keep_original".into(), json!(true));
        }
        // What an earlier one has parsed is gone.
        let when = json!({field.clone(): {"exists": true}});
        parser.steps(settings, (index > 0).then_some(&when), &mut route.steps);
    }
    keys.finish(draft);
}

fn grep(section: &Section, route: &mut Route, draft: &mut Draft) {
    let mut keys = section.taken(&GREP);
    common(&mut keys);
    let together = keys.text("logical_op").map(|op| op.to_ascii_lowercase());
    for (key, step) in [("exclude", "drop"), ("regex", "keep")] {
        let mut conditions = Vec::new();
        for value in keys.take_all(key) {
            let text = text_of(&value);
            if let Some(condition) = condition(&text, step == "keep", &keys, route, draft) {
                conditions.push(condition);
            }
        }
        let mut push = |condition: Value| {
            route.steps.push((Vec::new(), Node::Map(vec![Entry::new(step, condition)])));
        };
        match (together.as_deref(), conditions.len()) {
            (_, 0) => {}
            (Some("and"), 2..) => push(json!({"all": conditions})),
            (Some("or"), 2..) => push(json!({"any": conditions})),
            // All that are to be kept must match, and any that matches is enough to drop: a step each.
            _ => conditions.into_iter().for_each(push),
        }
    }
    keys.finish(draft);
}

/// `KEY REGEX` as a condition; none if it became part of the route, or cannot be carried over.
fn condition(
    text: &str,
    keep: bool,
    keys: &Taken<'_>,
    route: &mut Route,
    draft: &mut Draft,
) -> Option<Value> {
    let what = format!("{} {text}", if keep { "Regex" } else { "Exclude" });
    let (name, regex) = text.split_once(char::is_whitespace).unwrap_or((text, ".*"));
    let pattern = match ours(regex) {
        Ok(pattern) => pattern,
        Err(error) => {
            keys.refuse(&what, &error, draft);
            return None;
        }
    };
    let field = route.field(name);
    let Some(of_pod) = field.strip_prefix("kubernetes.") else {
        return Some(json!({field: {"matches": pattern}}));
    };
    let ours = match of_pod {
        "namespace_name" => Some("namespace"),
        "pod_name" => Some("pod"),
        "container_name" => Some("container"),
        _ => None,
    };
    match (ours, names_of(&pattern)) {
        (Some(ours), Some(names)) if keep && !route.pods.contains_key(ours) => {
            route.pods.insert(ours.to_owned(), json!(names));
        }
        _ => {
            let why = "say it by hand: match of a route takes names of namespaces, pods and containers, and a route \
                       with to: [] in front of it drops them; keep and drop may ask for \
                       kubernetes.namespace_name and its like too";
            keys.refuse(&what, why, draft);
        }
    }
    None
}

/// The names that an expression such as `^shop$` or `^(shop|cart)$` says.
fn names_of(pattern: &str) -> Option<Vec<String>> {
    let inside = pattern.strip_prefix('^')?.strip_suffix('$')?;
    let inside = inside.strip_prefix('(').and_then(|text| text.strip_suffix(')')).unwrap_or(inside);
    let inside = inside.strip_prefix("?:").unwrap_or(inside);
    let names: Vec<String> = inside.split('|').map(str::to_owned).collect();
    let plain =
        |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    names.iter().all(plain).then_some(names)
}
