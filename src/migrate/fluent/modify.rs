//! The filter `modify`: its rules are steps, its conditions are their `when`.

use serde_json::{Value, json};

use super::filters::common;
use super::parsers::ours;
use super::section::Section;
use super::tail::Route;
use crate::migrate::draft::{Draft, Taken, text_of};
use crate::migrate::keys::{MODIFY, MODIFY_CONDITIONS};
use crate::migrate::yaml::{Entry, Node};

const RULES: [&str; 5] = ["set", "add", "remove", "rename", "hard_rename"];

pub(super) fn translate(section: &Section, route: &mut Route, draft: &mut Draft) {
    let mut keys = section.taken(&MODIFY);
    common(&mut keys);
    let mut conditions = Vec::new();
    for value in keys.take_all("condition") {
        let text = text_of(&value);
        match condition(&text, route) {
            Ok(condition) => conditions.push(condition),
            Err(why) => {
                keys.refuse(&format!("Condition {text}"), &why, draft);
                return draft.leave_out(
                    &section.at(),
                    "the filter",
                    "one of its conditions is not carried over",
                );
            }
        }
    }
    // The rules work in the order in which they stand, so they are gone through in that order.
    for rule in RULES {
        keys.take_all(rule);
    }
    let mut changed = Vec::new();
    for (key, value) in &section.entries {
        if !RULES.iter().any(|rule| key.eq_ignore_ascii_case(rule)) {
            continue;
        }
        let text = text_of(value);
        match rule(&key.to_ascii_lowercase(), &text, route) {
            Some((step, value, own, fields)) => {
                changed.extend(fields);
                let mut all = conditions.clone();
                all.extend(own.into_iter().filter(|own| !conditions.contains(own)));
                let mut entries = vec![Entry::new(step, value)];
                entries.extend(joined(all).map(|when| Entry::new("when", when)));
                route.steps.push((Vec::new(), Node::Map(entries)));
            }
            None => {
                keys.refuse(&format!("{key} {text}"), "lacks a part, or names what the path tells", draft)
            }
        }
    }
    told(&keys, &conditions, &changed, draft);
    keys.finish(draft);
}

/// Conditions hold for a record as it was before the first rule there; here each step asks anew.
fn told(keys: &Taken<'_>, conditions: &[Value], changed: &[String], draft: &mut Draft) {
    let named = Value::Array(conditions.to_vec()).to_string();
    if changed.len() > 1 && changed.iter().any(|field| named.contains(&format!("\"{field}\""))) {
        let why = "each step asks it anew, also where an earlier rule of the filter has changed the field";
        keys.refuse("Condition", why, draft);
    }
}

/// All of these.
fn joined(mut all: Vec<Value>) -> Option<Value> {
    match all.len() {
        0 => None,
        1 => all.pop(),
        _ => Some(json!({"all": all})),
    }
}

type Rule = (&'static str, Value, Vec<Value>, Vec<String>);

/// A rule as a step, its settings, the conditions that it has by itself, and the fields that it changes.
fn rule(rule: &str, text: &str, route: &Route) -> Option<Rule> {
    let (first, second) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (field, second) = (route.field(first), second.trim());
    let is_own = |name: &str| name.starts_with("kubernetes.") || name == "kubernetes";
    if field.is_empty() || is_own(&field) || is_own(second) {
        return None;
    }
    let exists = |field: &str, is: bool| json!({field: {"exists": is}});
    Some(match rule {
        "set" => ("add", json!({&field: second}), Vec::new(), vec![field]),
        "add" => ("add", json!({&field: second}), vec![exists(&field, false)], vec![field]),
        "remove" => ("remove", json!(field), Vec::new(), vec![field]),
        "rename" | "hard_rename" if !second.is_empty() => {
            let to = route.field(second);
            let mut own = Vec::new();
            if rule == "rename" {
                own.push(exists(&to, false));
            }
            ("rename", json!({&field: &to}), own, vec![field, to])
        }
        _ => return None,
    })
}

fn condition(text: &str, route: &Route) -> Result<Value, String> {
    let mut words = text.splitn(3, char::is_whitespace).map(str::trim);
    let (kind, name, value) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let known = MODIFY_CONDITIONS.known(kind).ok_or("kinetail does not know this condition")?;
    if !known.why.is_empty() {
        return Err(known.why.to_owned());
    }
    let field = route.field(name);
    if field.starts_with("kubernetes") {
        return Err(
            "say it by hand: when of a step may ask for kubernetes.namespace_name and its like".to_owned()
        );
    }
    let there = json!({&field: {"exists": true}});
    let not = |condition: Value| json!({"all": [there.clone(), {"not": condition}]});
    Ok(match kind.to_ascii_lowercase().as_str() {
        "key_exists" => there.clone(),
        "key_does_not_exist" => json!({field: {"exists": false}}),
        "key_value_equals" => json!({field: value}),
        "key_value_does_not_equal" => not(json!({field: value})),
        "key_value_matches" => json!({field: {"matches": ours(value)?}}),
        _ => not(json!({field: {"matches": ours(value)?}})),
    })
}
