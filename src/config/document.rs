//! A YAML file with the place of every key and value.
//!
//! The events of a marked parser become a tree of nodes: aliases and merge keys are resolved, keys are unique
//! texts. What a plain scalar means (a number, a boolean, nothing or text) is left to serde_yaml, and only
//! asked when the value is needed, so that a variable of the environment can be put in before.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_yaml::Value;

use super::diagnostics::{Findings, Path, Place, Step};

/// More nodes than any configuration has; what an alias stands for counts each time, so that a few lines
/// cannot grow into gigabytes.
const MAX_NODES: usize = 50_000;
/// Deeper than any configuration is nested.
const MAX_DEPTH: usize = 64;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar {
        text: String,
        /// Without quotes, so that it may be a number, a boolean or nothing.
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something was wrong here and has been reported.
    Bad,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// The scalar as serde_yaml reads it; none for lists and maps.
    pub(super) fn scalar(&self) -> Option<Value> {
        match &self.kind {
            Kind::Scalar { text, plain: true } => Some(plain_value(text)),
            Kind::Scalar { text, plain: false } => Some(Value::String(text.clone())),
            Kind::List(_) | Kind::Map(_) | Kind::Bad => None,
        }
    }

    /// The place of the value at this path and the part of the path that exists. A list of one that is
    /// written without its brackets is its own first item.
    pub(super) fn locate(&self, path: &Path) -> (Place, Path) {
        let (mut node, mut place, mut found) = (self, self.place, Path::default());
        for step in path.steps() {
            let next = match (step, &node.kind) {
                (Step::Key(key), Kind::Map(entries)) => entries
                    .iter()
                    .find(|entry| entry.key == *key)
                    .map(|entry| (&entry.node, entry.node.place)),
                (Step::Index(index), Kind::List(items)) => items.get(*index).map(|item| (item, item.place)),
                (Step::Index(0), _) => continue,
                _ => None,
            };
            let Some((next, next_place)) = next else { break };
            (node, place) = (next, next_place);
            found = found.with(step.clone());
        }
        (place, found)
    }

    /// The place of the last key of this path, or of its value where it is in a list.
    pub(super) fn locate_key(&self, path: &Path) -> Place {
        let (Some(Step::Key(key)), (_, found)) = (path.steps().last(), self.locate(path)) else {
            return self.locate(path).0;
        };
        let mut node = self;
        for step in &found.steps()[..found.steps().len().saturating_sub(1)] {
            match (step, &node.kind) {
                (Step::Key(key), Kind::Map(entries)) => {
                    match entries.iter().find(|entry| entry.key == *key) {
                        Some(entry) => node = &entry.node,
                        None => return node.place,
                    }
                }
                (Step::Index(index), Kind::List(items)) => match items.get(*index) {
                    Some(item) => node = item,
                    None => return node.place,
                },
                _ => return node.place,
            }
        }
        match &node.kind {
            Kind::Map(entries) => {
                entries.iter().find(|entry| entry.key == *key).map_or(node.place, |entry| entry.key_place)
            }
            _ => node.place,
        }
    }

    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::List(items) => items.iter().map(Node::count).sum(),
            Kind::Map(entries) => entries.iter().map(|entry| 1 + entry.node.count()).sum::<usize>(),
            Kind::Scalar { .. } | Kind::Bad => 0,
        }
    }
}

/// What an unquoted scalar stands for. Only a word without spaces and punctuation is handed to serde_yaml:
/// what the environment put in can hold anything, and must not become a list, a comment or a document of its
/// own.
fn plain_value(text: &str) -> Value {
    let wordlike = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._~".contains(&byte));
    if !wordlike {
        return Value::String(text.to_owned());
    }
    match serde_yaml::from_str(text) {
        Ok(Value::Null) if matches!(text, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        Ok(Value::Bool(value)) => Value::Bool(value),
        Ok(Value::Number(number)) if number.is_finite() => Value::Number(number),
        _ => Value::String(text.to_owned()),
    }
}

/// Reads a file's text. None if its syntax is wrong, so that nothing more can be said about it; lesser faults
/// are reported and leave [`Kind::Bad`] behind.
pub(super) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder { findings, open: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let place = Place { line: error.marker().line().max(1), column: error.marker().col() + 1 };
                let unclosed = builder.unclosed(text);
                let message = format!("this is not YAML: {}{unclosed}", error.info());
                builder.findings.add(place, &Path::default(), message);
                return None;
            }
        };
        if let Err((place, message)) = builder.take(event, span) {
            builder.findings.add(place, &Path::default(), message);
            return None;
        }
    }
    Some(builder.root.unwrap_or(Node { place: Place::START, kind: Kind::Map(Vec::new()) }))
}

/// A list or map that has begun and not ended.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map, the key whose value comes next.
    key: Option<(String, Place)>,
}

struct Builder<'a> {
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), (Place, String)> {
        let place = Place { line: span.start.line().max(1), column: span.start.col() + 1 };
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !is_text_tag(tag.as_deref());
                let text = text.into_owned();
                self.report_tag(place, tag.as_deref());
                self.value(Node { place, kind: Kind::Scalar { text, plain } }, anchor, 1)
            }
            Event::SequenceStart(anchor, tag) => {
                self.begin(place, Kind::List(Vec::new()), anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                self.begin(place, Kind::Map(Vec::new()), anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open { node, anchor, .. }) => self.value(merged(node), anchor, 0),
                None => Ok(()),
            },
            Event::Alias(anchor) => {
                // Of an alias inside its own anchor nothing is known yet.
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err((place, "an alias stands inside the value that it names".to_owned()));
                };
                let node = anchored.clone();
                let count = node.count();
                self.value(node, 0, count)
            }
        }
    }

    fn begin(
        &mut self,
        place: Place,
        kind: Kind,
        anchor: usize,
        tag: Option<&Tag>,
    ) -> Result<(), (Place, String)> {
        if self.open.len() >= MAX_DEPTH {
            return Err((place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.report_tag(place, tag);
        self.nodes += 1;
        self.open.push(Open { node: Node { place, kind }, anchor, key: None });
        Ok(())
    }

    /// Puts a finished value where it belongs. `count` is how many nodes it adds to those counted already.
    fn value(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), (Place, String)> {
        self.nodes += count;
        if self.nodes > MAX_NODES {
            return Err((node.place, format!("more than {MAX_NODES} values, aliases included")));
        }
        if anchor > 0 {
            self.nodes += node.count();
            self.anchors.insert(anchor, node.clone());
        }
        let Some(parent) = self.open.last_mut() else {
            if self.root.is_some() {
                let message = "a second document begins here; a configuration is one document";
                return Err((node.place, message.to_owned()));
            }
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(entries) => match parent.key.take() {
                Some((key, key_place)) => {
                    let first = entries.iter().find(|entry| entry.key == key && key != "<<");
                    let first = first.map(|entry| entry.key_place.line);
                    match first {
                        None => entries.push(Entry { key, key_place, node }),
                        Some(line) => {
                            let path = self.path().key(&key);
                            let message = format!("the key is there twice, first in line {line}; keep one");
                            self.findings.add(key_place, &path, message);
                        }
                    }
                }
                None => {
                    let Kind::Scalar { text, .. } = node.kind else {
                        return Err((node.place, "a key must be a text, not a list or a map".to_owned()));
                    };
                    parent.key = Some((text, node.place));
                }
            },
            Kind::Scalar { .. } | Kind::Bad => {}
        }
        Ok(())
    }

    /// A hint at the bracket that is open where reading failed: the parser notices its absence much later.
    fn unclosed(&self, text: &str) -> String {
        let Some(place) = self.open.last().map(|open| open.node.place) else {
            return String::new();
        };
        let line = text.lines().nth(place.line - 1).unwrap_or_default();
        match line.chars().nth(place.column - 1) {
            Some(bracket @ ('[' | '{')) => format!(
                "; is the `{bracket}` of line {}, column {} closed, and is text with brackets in quotes?",
                place.line, place.column
            ),
            _ => String::new(),
        }
    }

    /// The path of the innermost list or map that is open.
    fn path(&self) -> Path {
        let inner = self.open.len().saturating_sub(1);
        self.open[..inner].iter().fold(Path::default(), |path, open| match (&open.node.kind, &open.key) {
            (Kind::List(items), _) => path.index(items.len()),
            (_, Some((key, _))) => path.key(key),
            (_, None) => path,
        })
    }

    fn report_tag(&mut self, place: Place, tag: Option<&Tag>) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema() && !is_text_tag(Some(tag))) {
            let message = format!("the tag `{tag}` means nothing here; leave it out");
            self.findings.add(place, &Path::default(), message);
        }
    }
}

fn is_text_tag(tag: Option<&Tag>) -> bool {
    tag.is_some_and(|tag| {
        tag.is_yaml_core_schema() && tag.suffix == "str" || tag.handle.is_empty() && tag.suffix == "!"
    })
}

/// Merge keys (`<<: *defaults`, or a list of them) taken in: what the map itself says wins, then the first.
fn merged(mut node: Node) -> Node {
    let Kind::Map(entries) = &mut node.kind else {
        return node;
    };
    let (merges, mut own): (Vec<Entry>, Vec<Entry>) =
        std::mem::take(entries).into_iter().partition(|entry| {
            let from_map = |node: &Node| matches!(node.kind, Kind::Map(_));
            entry.key == "<<"
                && match &entry.node.kind {
                    Kind::Map(_) => true,
                    Kind::List(items) => items.iter().all(from_map),
                    Kind::Scalar { .. } | Kind::Bad => false,
                }
        });
    let maps = merges.into_iter().flat_map(|merge| match merge.node.kind {
        Kind::List(items) => items,
        _ => vec![merge.node],
    });
    for map in maps {
        if let Kind::Map(entries) = map.kind {
            for entry in entries {
                if !own.iter().any(|known| known.key == entry.key) {
                    own.push(entry);
                }
            }
        }
    }
    *entries = own;
    node
}
