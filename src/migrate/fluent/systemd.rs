//! `systemd` inputs: each is a route that reads the journal.

use serde_json::{Map, Value, json};

use super::parsers::Parsers;
use super::section::{Kind, Section, Source};
use super::tags::Tags;
use super::tail::{Route, follow, name_of, one_or_many, record};
use crate::migrate::draft::{Draft, Taken, text_of};
use crate::migrate::keys::SYSTEMD;
use crate::migrate::yaml::{Entry, Node};

/// The tags of an input's records: a `*` stands for the unit's name.
pub(super) fn tags_of(input: &Section) -> Tags {
    let tag = input.get("tag").unwrap_or_else(|| "systemd.0".to_owned());
    Tags::new(&tag, &["*".to_owned()])
}

pub(super) fn translate(source: &Source, input: &Section, parsers: &Parsers, draft: &mut Draft) {
    let tags = tags_of(input);
    let mut keys = input.taken(&SYSTEMD);
    let (alias, tag) = (keys.text("alias"), keys.text("tag"));
    keys.text("name");
    let from_tail = keys.switch("read_from_tail", false, draft);
    let journal = journal(&mut keys, draft);
    keys.finish(draft);
    let mut route = Route::default();
    // What it adds is of pods, and entries are of the node.
    let filters = source.of(Kind::Filter).filter(|filter| !filter.is_named("kubernetes"));
    let to = follow(source, filters, &tags, parsers, &mut route, draft);
    let mut entries = vec![Entry::new("format", "journald")];
    if !journal.is_empty() {
        entries.push(Entry::new("journal", Value::Object(journal)));
    }
    if !from_tail {
        entries.push(Entry::new("start_at", "beginning"));
    }
    entries.push(record(&route, draft));
    if !route.steps.is_empty() {
        entries.push(Entry::new("process", Node::List(route.steps)));
    }
    let mut comments = Vec::new();
    if to.is_empty() {
        comments.push("No output takes these records: they are dropped, and counted.".to_owned());
    }
    let to: Vec<Value> = to.into_iter().map(Value::from).collect();
    entries.push(Entry::new("to", Value::Array(to)));
    draft.route(&name_of(alias.or(tag).as_deref().or(Some("journal"))), comments, entries);
}

fn journal(keys: &mut Taken<'_>, draft: &mut Draft) -> Map<String, Value> {
    let mut journal = Map::new();
    if let Some(folder) = keys.text("path") {
        match folder.starts_with('/') {
            true => drop(journal.insert("folders".into(), json!(folder))),
            false => keys.refuse(&format!("Path {folder}"), "is not an absolute path", draft),
        }
    }
    let mut matches: Vec<String> = Vec::new();
    let all = keys.text("systemd_filter_type").is_some_and(|kind| kind.eq_ignore_ascii_case("and"));
    for filter in keys.take_all("systemd_filter") {
        let filter = text_of(&filter);
        let Some((name, _)) = filter.split_once('=') else {
            keys.refuse(&format!("Systemd_Filter {filter}"), "is not FIELD=value", draft);
            continue;
        };
        // Of two values of one field journalctl takes either.
        if all && matches.iter().any(|other| other.split_once('=').is_some_and(|(other, _)| other == name)) {
            let what = format!("Systemd_Filter {filter}");
            keys.refuse(&what, "of two values of one field either is enough; use a step keep", draft);
            continue;
        }
        if !all && !matches.is_empty() {
            matches.push("+".to_owned());
        }
        matches.push(filter);
    }
    if !matches.is_empty() {
        journal.insert("matches".into(), one_or_many(&matches));
    }
    for (theirs, ours) in [("lowercase", "lowercase"), ("strip_underscores", "strip_underscores")] {
        if keys.switch(theirs, false, draft) {
            journal.insert(ours.into(), json!(true));
        }
    }
    journal
}
