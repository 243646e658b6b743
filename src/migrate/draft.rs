//! The configuration that is being written, and what could not be carried over.

use serde_json::{Value, json};

use super::keys::Table;
use super::yaml::{self, Entry, Node};

/// A configuration for kinetail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The YAML, with comments.
    pub text: String,
    /// How many keys of the source were not carried over; the comments list them.
    pub left_out: usize,
}

#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Sections beside destinations and routes.
    pub(super) top: Vec<Entry>,
    destinations: Vec<Destination>,
    routes: Vec<(Vec<String>, Vec<Entry>)>,
    notes: Vec<String>,
    /// Comments that stand somewhere.
    said: Vec<String>,
}

#[derive(Debug)]
struct Destination {
    name: String,
    comments: Vec<String>,
    entries: Vec<Entry>,
}

impl Draft {
    /// Something of the source that is not carried over, and why.
    pub(super) fn leave_out(&mut self, at: &str, what: &str, why: &str) {
        let note = format!("{at}: {what}: {why}");
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Something of the section `tail`, which is for all files.
    pub(super) fn tail(&mut self, key: &str, value: Value) {
        self.section("tail", "For all files: the last of what inputs say.", key, value);
    }

    /// Something of the section `kubernetes`, which is for all pods.
    pub(super) fn kubernetes(&mut self, key: &str, value: Value) {
        let comment =
            "For all pods: the last of what filters say. The node is the one that the DaemonSet names.";
        self.section("kubernetes", comment, key, value);
    }

    fn section(&mut self, name: &str, comment: &str, key: &str, value: Value) {
        let at = self.top.iter().position(|entry| entry.key == name);
        let at = at.unwrap_or_else(|| {
            self.top.push(Entry::commented(comment, name, json!({})));
            self.top.len() - 1
        });
        if let Some(Entry { node: Node::Value(Value::Object(section)), .. }) = self.top.get_mut(at) {
            section.insert(key.to_owned(), value);
        }
    }

    /// What the same comment says of every route is said at the first.
    pub(super) fn once(&mut self, comment: &str) -> Vec<String> {
        let new = !self.said.iter().any(|said| said == comment);
        if new {
            self.said.push(comment.to_owned());
        }
        if new { vec![comment.to_owned()] } else { Vec::new() }
    }

    /// A destination; the name under which it, or one that is alike, stands.
    pub(super) fn destination(&mut self, wanted: &str, comments: Vec<String>, entries: Vec<Entry>) -> String {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "_.-".contains(*c);
        let wanted: String = wanted.chars().filter(allowed).take(60).collect();
        let wanted = if wanted.trim_matches('.').is_empty() { "stream".to_owned() } else { wanted };
        if let Some(same) = self.destinations.iter().find(|other| alike(&other.entries, &entries)) {
            return same.name.clone();
        }
        let name = distinct(&wanted, |name| self.destinations.iter().any(|other| other.name == name));
        self.destinations.push(Destination { name: name.clone(), comments, entries });
        name
    }

    /// A route; its name is made distinct.
    pub(super) fn route(&mut self, wanted: &str, comments: Vec<String>, mut entries: Vec<Entry>) {
        let taken = |name: &str| {
            self.routes.iter().any(|(_, route)| route.first().is_some_and(|entry| entry.node == name.into()))
        };
        entries.insert(0, Entry::new("name", distinct(wanted, taken)));
        self.routes.push((comments, entries));
    }

    pub(super) fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// The file, for a source of this kind; none if it has no destinations or no routes.
    pub(super) fn finish(self, source: &str) -> Option<Migrated> {
        if self.destinations.is_empty() || self.routes.is_empty() {
            return None;
        }
        let mut head = vec![
            format!("Migrated from {source} by `kinetail migrate`."),
            "See what it does with lines: kinetail try --config FILE --path LOG --explain <lines; ask AWS: kinetail \
             check --config FILE --online."
                .to_owned(),
        ];
        if !self.notes.is_empty() {
            head.push("Not carried over:".to_owned());
            head.extend(self.notes.iter().map(|note| format!("- {note}")));
        }
        let mut text = String::new();
        yaml::comments(&head, 0, &mut text);
        text.push('\n');
        if !self.top.is_empty() {
            yaml::map(&self.top, 0, &mut text);
            text.push('\n');
        }
        let destinations = self.destinations.into_iter().map(|destination| Entry {
            comments: destination.comments,
            key: destination.name,
            node: destination.entries.into(),
        });
        yaml::map(&[Entry::new("destinations", Node::Map(destinations.collect()))], 0, &mut text);
        text.push('\n');
        let routes = self.routes.into_iter().map(|(comments, route)| (comments, Node::Map(route)));
        yaml::map(&[Entry::new("routes", Node::List(routes.collect()))], 0, &mut text);
        Some(Migrated { text, left_out: self.notes.len() })
    }
}

/// Whether they say the same, whatever the comments.
fn alike(one: &[Entry], other: &[Entry]) -> bool {
    let said = |entries: &[Entry]| {
        entries.iter().map(|entry| (entry.key.clone(), entry.node.clone())).collect::<Vec<_>>()
    };
    said(one) == said(other)
}

fn distinct(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|number| format!("{wanted}-{number}"));
    std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
}

/// What of a source's keys was used, so that the others can be told.
#[derive(Debug)]
pub(super) struct Taken<'t> {
    /// Where it stands in the source.
    pub(super) at: String,
    table: &'static Table,
    entries: Vec<(&'t str, Value, bool)>,
}

impl<'t> Taken<'t> {
    pub(super) fn new(
        at: impl Into<String>,
        table: &'static Table,
        entries: impl IntoIterator<Item = (&'t str, Value)>,
    ) -> Self {
        let entries = entries.into_iter().map(|(key, value)| (key, value, false)).collect();
        Self { at: at.into(), table, entries }
    }

    /// The last value of a key.
    pub(super) fn take(&mut self, key: &str) -> Option<Value> {
        self.take_all(key).pop()
    }

    /// All values of a key that may be there several times.
    pub(super) fn take_all(&mut self, key: &str) -> Vec<Value> {
        debug_assert!(self.table.known(key).is_some(), "{key} is missing in the table {}", self.table.name);
        let wanted = self.entries.iter_mut().filter(|(name, ..)| name.eq_ignore_ascii_case(key));
        wanted
            .map(|(_, value, used)| {
                *used = true;
                value.clone()
            })
            .collect()
    }

    /// A text, a number as its text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.take(key).map(|value| text_of(&value)).filter(|text| !text.is_empty())
    }

    /// A switch: `On`, `true`, `yes`, `1`. A variable is told, and counts as what is usual.
    pub(super) fn switch(&mut self, key: &str, usual: bool, draft: &mut Draft) -> bool {
        let Some(text) = self.text(key) else { return usual };
        match text.to_ascii_lowercase().as_str() {
            "on" | "true" | "yes" | "1" => true,
            "off" | "false" | "no" | "0" => false,
            _ => {
                let why =
                    format!("is neither on nor off; it was taken for {}", if usual { "on" } else { "off" });
                draft.leave_out(&self.at, &format!("{key} {text}"), &why);
                usual
            }
        }
    }

    /// A number; what is none is told.
    pub(super) fn number(&mut self, key: &str, draft: &mut Draft) -> Option<u64> {
        let text = self.text(key)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            draft.leave_out(&self.at, &format!("{key} {text}"), "is not a whole number");
        }
        number
    }

    /// Tells of a key that was taken and cannot be carried over all the same.
    pub(super) fn refuse(&self, what: &str, why: &str, draft: &mut Draft) {
        draft.leave_out(&self.at, what, why);
    }

    /// Tells of everything that was not taken, each with the reason that the table knows.
    pub(super) fn finish(self, draft: &mut Draft) {
        for (key, value, used) in &self.entries {
            if *used || value.is_null() {
                continue;
            }
            let why = match self.table.known(key) {
                Some(known) if !known.why.is_empty() => known.why,
                Some(_) => "is not carried over here",
                None => "kinetail does not know this key",
            };
            let value = if is_secret(key) { "…".to_owned() } else { shortened(&text_of(value)) };
            draft.leave_out(&self.at, &format!("{key} {value}"), why);
        }
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("secret") || key.contains("password") || key.contains("token") || key.contains("accesskey")
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    }
}

/// Milliseconds as a duration of the configuration, within limits; whether these changed it.
pub(super) fn millis(number: u64, min: u64, max: u64) -> (Value, bool) {
    let within = number.clamp(min, max);
    (json!(crate::units::format_duration(std::time::Duration::from_millis(within))), within != number)
}

/// Bytes as a size of the configuration, within limits; whether these changed it.
pub(super) fn size(number: u64, min: u64, max: u64) -> (Value, bool) {
    let within = number.clamp(min, max);
    // Between whole KiB, a size with a unit would not be exact.
    let exact = within.is_multiple_of(1024);
    let size = if exact { json!(crate::units::ByteSize(within).to_string()) } else { json!(within) };
    (size, within != number)
}
