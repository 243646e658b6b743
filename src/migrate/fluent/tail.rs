//! `tail` inputs: each is a route.

use serde_json::{Map, Value, json};

use super::filters;
use super::outputs;
use super::parsers::{Lines, Parsers, Steps};
use super::section::{Kind, Section, Source};
use super::tags::{Tags, Takes};
use crate::migrate::draft::{Draft, Taken, millis, size, text_of};
use crate::migrate::keys::TAIL;
use crate::migrate::yaml::{Entry, Node};
use crate::tail::Pattern;

/// A route as it is put together.
#[derive(Debug, Default)]
pub(super) struct Route {
    pub(super) steps: Steps,
    /// Names of what a record carries.
    pub(super) names: Map<String, Value>,
    /// Names of pods that it takes alone.
    pub(super) pods: Map<String, Value>,
    /// Its format is that of containers.
    pub(super) of_containers: bool,
    /// Something of the kubernetes filter's is wanted.
    pub(super) kubernetes: bool,
    /// What pods may say of their logs.
    pub(super) annotations: Vec<&'static str>,
    /// Only the text is sent.
    pub(super) raw: bool,
    /// Languages whose stack traces are joined.
    presets: Vec<&'static str>,
    lines: Option<Lines>,
}

/// The paths of an input and the tags of its records.
pub(super) fn tags_of(input: &Section) -> (Vec<String>, Tags) {
    let paths = listed(&input.get("path").unwrap_or_default());
    let tag = input.get("tag").unwrap_or_else(|| "tail.0".to_owned());
    let tags = Tags::new(&tag, &paths);
    (paths, tags)
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

pub(super) fn translate(source: &Source, input: &Section, parsers: &Parsers, draft: &mut Draft) {
    let (paths, tags) = tags_of(input);
    let mut keys = input.taken(&TAIL);
    let alias = keys.text("alias");
    let tag = keys.text("tag");
    keys.text("name");
    keys.text("path");
    let (files, wrong): (Vec<String>, Vec<String>) =
        paths.into_iter().partition(|path| Pattern::new(path).is_ok());
    for path in &wrong {
        keys.refuse(&format!("Path {path}"), "is not a pattern of absolute paths", draft);
    }
    if files.is_empty() {
        return draft.leave_out(&input.at(), "the input", "has no Path that can be carried over");
    }
    let mut route = Route::default();
    let mut entries = vec![Entry::new("files", one_or_many(&files))];
    let exclude = excluded(&mut keys, draft);
    if !exclude.is_empty() {
        entries.push(Entry::new("exclude", one_or_many(&exclude)));
    }
    let format = format(&mut keys, parsers, &mut route, draft);
    of_all_files(&mut keys, draft);
    let from_head = keys.switch("read_from_head", false, draft);
    let skip_empty = keys.switch("skip_empty_lines", false, draft);
    if skip_empty {
        route.steps.insert(0, (Vec::new(), Node::Map(vec![Entry::new("drop", json!({"log": ""}))])));
    }
    names(&mut keys, &mut route);
    keys.finish(draft);
    let to = follow(source, source.of(Kind::Filter), &tags, parsers, &mut route, draft);
    if !route.pods.is_empty() {
        entries.push(Entry::new("match", Value::Object(route.pods.clone())));
    }
    if !route.annotations.is_empty() {
        entries.push(Entry::new("annotations", json!(route.annotations)));
    }
    if format != "plain" {
        entries.push(Entry::new("format", format));
    }
    entries.extend(multiline(&input.at(), &route, draft));
    if from_head {
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
    if files.iter().any(|file| file.starts_with("/var/log/containers/")) {
        comments.push(
            "The links there tell no pod's UID and no restarts; /var/log/pods/*/*/*.log does, and is the same logs."
                .to_owned(),
        );
    }
    let to: Vec<Value> = to.into_iter().map(Value::from).collect();
    entries.push(Entry::new("to", Value::Array(to)));
    draft.route(&name_of(alias.or(tag).as_deref()), comments, entries);
}

/// Where records of these tags go: the filters make the route's steps, the outputs are its destinations.
pub(super) fn follow<'s>(
    source: &'s Source,
    filters: impl Iterator<Item = &'s Section>,
    tags: &Tags,
    parsers: &Parsers,
    route: &mut Route,
    draft: &mut Draft,
) -> Vec<String> {
    for filter in filters {
        match filter.takes(tags) {
            Takes::All => filters::translate(filter, parsers, route, draft),
            Takes::Some if filters::is_known(filter) => partly(filter, draft),
            Takes::Some | Takes::None => {}
        }
    }
    let mut to = Vec::new();
    for output in source.of(Kind::Output).filter(|output| outputs::is_known(output)) {
        match output.takes(tags) {
            Takes::All => to.extend(outputs::translate(output, route, draft)),
            Takes::Some => partly(output, draft),
            Takes::None => {}
        }
    }
    to.dedup();
    to
}

pub(super) fn partly(section: &Section, draft: &mut Draft) {
    let what = section.get("match").or_else(|| section.get("match_regex")).unwrap_or_default();
    let why =
        "takes only some records of an input; make a route of its own for these files, in front of the other";
    draft.leave_out(&section.at(), &format!("Match {what}"), why);
}

/// A name for a route, of an alias or a tag.
pub(super) fn name_of(wanted: Option<&str>) -> String {
    let wanted = wanted.unwrap_or("tail");
    let name: String = wanted.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name: String = name.trim_matches('-').chars().take(48).collect();
    if name.is_empty() { "tail".to_owned() } else { name }
}

pub(super) fn one_or_many(texts: &[String]) -> Value {
    match texts {
        [only] => json!(only),
        several => json!(several),
    }
}

/// Patterns of excluded files; one that is relative is held against the ends of paths.
fn excluded(keys: &mut Taken<'_>, draft: &mut Draft) -> Vec<String> {
    let mut patterns = Vec::new();
    for pattern in listed(&keys.text("exclude_path").unwrap_or_default()) {
        let ours = match pattern.starts_with('/') {
            true => pattern.clone(),
            false => format!("/**/{pattern}"),
        };
        match Pattern::new(&ours) {
            Ok(_) => patterns.push(ours),
            Err(error) => keys.refuse(&format!("Exclude_Path {pattern}"), &error.to_string(), draft),
        }
    }
    patterns
}

/// How lines are written, and which are one message.
fn format(keys: &mut Taken<'_>, parsers: &Parsers, route: &mut Route, draft: &mut Draft) -> &'static str {
    let mut format = "plain";
    for name in listed(&keys.text("multiline.parser").unwrap_or_default()) {
        match name.as_str() {
            "cri" => format = "cri",
            "docker" if format == "plain" => format = "docker",
            "docker" => {}
            "java" => route.presets.push("java"),
            "python" => route.presets.push("python"),
            "go" => route.presets.push("go"),
            "ruby" => route.presets.push("ruby"),
            other => match parsers.multiline.iter().find(|(known, _)| known == other) {
                Some((_, lines)) => route.lines = Some(lines.clone()),
                None => keys.refuse(
                    &format!("multiline.parser {other}"),
                    "it is not among the multiline parsers, or cannot be carried over",
                    draft,
                ),
            },
        }
    }
    if keys.switch("docker_mode", false, draft) {
        format = "docker";
    }
    let multiline = keys.switch("multiline", false, draft);
    let flush = keys.number("multiline_flush", draft);
    let first = keys.text("parser_firstline");
    let mut parser = keys.text("parser");
    if let (true, Some(name)) = (multiline, first) {
        let known = parsers.find(&name, keys, draft);
        if let Some(start) = known.as_ref().and_then(|parser| parser.pattern()) {
            let flush = flush.map(|seconds| seconds.saturating_mul(1000));
            route.lines = Some(Lines { start: Some(start.to_owned()), further: None, flush });
        }
        parser = parser.or_else(|| known.map(|parser| parser.name));
    }
    match parser.as_deref() {
        None => {}
        Some("cri") => format = "cri",
        Some("docker") => format = "docker",
        Some(name) => {
            if let Some(parser) = parsers.find(name, keys, draft) {
                parser.steps(Map::new(), None, &mut route.steps);
            }
        }
    }
    route.of_containers = format != "plain";
    format
}

/// Which lines are one message.
fn multiline(at: &str, route: &Route, draft: &mut Draft) -> Option<Entry> {
    let Some(lines) = &route.lines else {
        return match route.presets[..] {
            [] => None,
            [only] => Some(Entry::new("multiline", only)),
            ref several => Some(Entry::new("multiline", json!(several))),
        };
    };
    if !route.presets.is_empty() {
        let what = format!("multiline.parser {}", route.presets.join(", "));
        draft.leave_out(at, &what, "a route joins lines by patterns or by presets, not by both");
    }
    let mut settings = Map::new();
    let patterns = [("start", &lines.start), ("continue", &lines.further)];
    for (key, pattern) in patterns.into_iter().filter_map(|(key, pattern)| Some((key, pattern.as_ref()?))) {
        settings.insert(key.to_owned(), json!(pattern));
    }
    if let Some(flush) = lines.flush {
        settings.insert("flush_after".to_owned(), millis(flush, 1, 3_600_000).0);
    }
    Some(Entry::new("multiline", Value::Object(settings)))
}

/// What kinetail says for all files at once.
fn of_all_files(keys: &mut Taken<'_>, draft: &mut Draft) {
    if let Some(seconds) = keys.number("rotate_wait", draft) {
        draft.tail("rotate_wait", millis(seconds.saturating_mul(1000), 0, 3_600_000).0);
    }
    if let Some(text) = keys.text("buffer_max_size") {
        match bytes(&text) {
            Some(bytes) => draft.tail("max_line", size(bytes, 64, 64 << 20).0),
            None => keys.refuse(&format!("Buffer_Max_Size {text}"), "is not a size", draft),
        }
    }
    if !keys.switch("inotify_watcher", true, draft) {
        draft.tail("watch", json!("poll"));
    }
}

/// Bytes as Fluent Bit writes them: `32k`, `5M`, `1GB`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_uppercase();
    let text = text.strip_suffix('B').unwrap_or(&text);
    let (digits, factor) = match text.chars().last()? {
        'K' => (&text[..text.len() - 1], 1 << 10),
        'M' => (&text[..text.len() - 1], 1 << 20),
        'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

fn names(keys: &mut Taken<'_>, route: &mut Route) {
    if let Some(key) = keys.text("path_key") {
        route.names.insert("file".into(), json!(key));
    }
    if let Some(key) = keys.text("key").filter(|key| key != "log") {
        route.names.insert("log".into(), json!(key));
    }
}

pub(super) fn record(route: &Route, draft: &mut Draft) -> Entry {
    if route.raw {
        return Entry::new("record", json!({"preset": "raw"}));
    }
    let mut names = route.names.clone();
    for name in ["time", "file", "host", "record_id"] {
        names.entry(name).or_insert(json!("off"));
    }
    if route.of_containers && !route.kubernetes {
        names.entry("kubernetes").or_insert(json!("off"));
    }
    let comment = "What Fluent Bit does not send is off. It is worth having: record_id, for one, tells a second copy of a \
                   record.";
    Entry { comments: draft.once(comment), ..Entry::new("record", json!({"names": names})) }
}

impl Route {
    /// The name under which steps know what the source calls so.
    pub(super) fn field(&self, name: &str) -> String {
        let log = self.names.get("log").map(text_of);
        if log.as_deref() == Some(name) { "log".to_owned() } else { accessed(name) }
    }
}

/// `$kubernetes['labels']['app']` as `kubernetes.labels.app`.
fn accessed(name: &str) -> String {
    let Some(path) = name.strip_prefix('$') else { return name.to_owned() };
    path.replace("']['", ".").replace("['", ".").replace("']", "").replace(['"', '[', ']'], "")
}
