//! The Kinesis Agent's `agent.json`, and the flows of `agent.d`.

mod options;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::draft::{Draft, Migrated, Taken, millis, size, text_of};
use super::keys::{AGENT_FLOW, AGENT_GLOBAL};
use super::yaml::{Entry, Node};
use super::{MigrateError, read};
use crate::tail::Pattern;

pub(super) fn migrate(file: &Path, folder: Option<&Path>) -> Result<Migrated, MigrateError> {
    let mut files = vec![file.to_owned()];
    if let Some(folder) = folder {
        let at = |error| MigrateError::Read { path: folder.to_owned(), error };
        let entries = std::fs::read_dir(folder).map_err(at)?;
        let paths: Result<Vec<PathBuf>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
        let mut more = paths.map_err(at)?;
        more.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        more.sort();
        files.extend(more);
    }
    let mut draft = Draft::default();
    let mut global = Global::default();
    let mut flows = Vec::new();
    for (index, path) in files.iter().enumerate() {
        let name = name_of(path);
        let root = object(path)?;
        let mut keys = Taken::new(name.clone(), &AGENT_GLOBAL, entries(&root));
        match keys.take("flows") {
            Some(Value::Array(of_file)) => {
                flows.extend(
                    of_file.into_iter().enumerate().map(|(at, flow)| (format!("{name}: flows[{at}]"), flow)),
                );
            }
            Some(_) => return Err(syntax(path, "`flows` is not a list")),
            None => {}
        }
        if index == 0 {
            global = Global::of(&mut keys, &mut draft);
        }
        keys.finish(&mut draft);
    }
    for (at, flow) in &flows {
        match flow {
            Value::Object(of_flow) => translate(at, of_flow, &global, &mut draft),
            other => draft.leave_out(at, &other.to_string(), "is not a flow"),
        }
    }
    let found = draft.has_routes();
    let source = files.iter().map(|path| name_of(path)).collect::<Vec<_>>().join(", ");
    draft.finish(&format!("{source} of the Kinesis Agent")).ok_or_else(|| MigrateError::Nothing {
        path: file.to_owned(),
        what: if found {
            "its flows have no streams".to_owned()
        } else {
            "it has no flow that can be carried over: one with a filePattern and a deliveryStream or kinesisStream"
                .to_owned()
        },
    })
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn object(path: &Path) -> Result<Map<String, Value>, MigrateError> {
    match serde_json::from_str(&read(path)?) {
        Ok(Value::Object(root)) => Ok(root),
        Ok(_) => Err(syntax(path, "is not a JSON object")),
        Err(error) => Err(syntax(path, &format!("is not JSON: {error}"))),
    }
}

fn syntax(path: &Path, what: &str) -> MigrateError {
    MigrateError::Syntax { path: path.to_owned(), what: what.to_owned() }
}

fn entries(of: &Map<String, Value>) -> impl Iterator<Item = (&str, Value)> {
    of.iter().map(|(key, value)| (key.as_str(), value.clone()))
}

/// What all flows have in common.
#[derive(Debug, Default)]
struct Global {
    firehose: Vec<Entry>,
    kinesis: Vec<Entry>,
}

/// Where the Agent puts its metrics unless it is told.
const AGENT_NAMESPACE: &str = "AWSKinesisAgent";

impl Global {
    fn of(keys: &mut Taken<'_>, draft: &mut Draft) -> Self {
        if let Some(level) = keys.text("log.level") {
            let ours = match level.to_ascii_uppercase().as_str() {
                "TRACE" | "ALL" => "trace",
                "DEBUG" => "debug",
                "WARN" => "warn",
                "ERROR" | "FATAL" => "error",
                _ => "info",
            };
            draft.top.push(Entry::new("log", json!({"level": ours})));
        }
        let role = keys.text("assumeRoleARN");
        let external = keys.text("assumeRoleExternalId");
        let emits = keys.switch("cloudwatch.emitMetrics", true, draft);
        let namespace = keys.text("cloudwatch.namespace").unwrap_or_else(|| AGENT_NAMESPACE.to_owned());
        let mut of = |service: &str, host: &str| {
            let mut entries = Vec::new();
            if let Some(endpoint) = keys.text(&format!("{service}.endpoint")) {
                let has_scheme = endpoint.contains("://");
                let endpoint = if has_scheme { endpoint } else { format!("https://{endpoint}") };
                // The region in the name of the service's own endpoint.
                let region = endpoint
                    .split_once(&format!("://{host}."))
                    .and_then(|(_, rest)| rest.split_once(".amazonaws.com"))
                    .map(|(region, _)| region.to_owned());
                match region {
                    Some(region) if !region.contains('.') => entries.push(Entry::new("region", region)),
                    _ => entries.push(Entry::new("endpoint", endpoint.trim_end_matches('/'))),
                }
            }
            // There is no such key for CloudWatch.
            let region = (host == service).then(|| keys.text(&format!("{service}.region"))).flatten();
            if let Some(region) = region {
                entries.retain(|entry: &Entry| entry.key != "region");
                entries.push(Entry::new("region", region));
            }
            if let Some(role) = &role {
                entries.push(Entry::new("role_arn", role.as_str()));
                entries.extend(external.as_ref().map(|id| Entry::new("external_id", id.as_str())));
            }
            entries
        };
        let (firehose, kinesis) = (of("firehose", "firehose"), of("kinesis", "kinesis"));
        // Taken in any case, so that they are not told where there is nothing that they are for.
        let of_cloudwatch = of("cloudwatch", "monitoring");
        if emits {
            let comment =
                "The Agent's metrics under its names, and none beside them: `metrics` adds kinetail's own.";
            let mut entries =
                vec![Entry::new("namespace", namespace), Entry::commented(comment, "metrics", json!([]))];
            entries.extend(of_cloudwatch);
            draft.top.push(Entry::new("cloudwatch", entries));
        }
        Self { firehose, kinesis }
    }
}

const RAW: &str = "As the Agent sends it: the line, or what the steps make of it, and nothing else. Without this section, \
                   records tell their time, file, host and pod, and have an id by which a second copy is known.";

fn translate(at: &str, flow: &Map<String, Value>, global: &Global, draft: &mut Draft) {
    let mut keys = Taken::new(at, &AGENT_FLOW, entries(flow));
    let stream = match (keys.text("deliveryStream"), keys.text("kinesisStream")) {
        (Some(stream), other) => {
            if let Some(other) = other {
                keys.refuse(
                    &format!("kinesisStream {other}"),
                    "the Agent takes the delivery stream of both",
                    draft,
                );
            }
            Some((stream, true))
        }
        (None, Some(stream)) => Some((stream, false)),
        (None, None) => None,
    };
    let pattern = keys.text("filePattern").map(|pattern| match pattern.strip_suffix('/') {
        Some(folder) => format!("{folder}/*"),
        None => pattern,
    });
    let (Some((stream, to_firehose)), Some(pattern)) = (stream, pattern) else {
        return draft.leave_out(at, "the flow", "has no stream or no filePattern");
    };
    if let Err(error) = Pattern::new(&pattern) {
        return draft.leave_out(at, &format!("filePattern {pattern}"), &error.to_string());
    }
    let to = destination(&mut keys, &stream, to_firehose, global, draft);
    let mut comments = Vec::new();
    if pattern.ends_with('*') && !pattern.ends_with("/*") {
        comments.push(
            "Logs that rotation renamed are known by their content; the name without the * is enough for kinetail."
                .to_owned(),
        );
    }
    let mut route = vec![Entry::new("files", pattern.as_str())];
    match keys.text("initialPosition").as_deref() {
        Some("START_OF_FILE") => route.push(Entry::new("start_at", "beginning")),
        None | Some("END_OF_FILE") => {}
        Some(other) => keys.refuse(&format!("initialPosition {other}"), "is neither of the two", draft),
    }
    options::lines(&mut keys, &mut route, draft);
    route.push(Entry { comments: draft.once(RAW), ..Entry::new("record", json!({"preset": "raw"})) });
    options::steps(&mut keys, &mut route, draft);
    route.push(Entry::new("to", to.as_str()));
    keys.finish(draft);
    draft.route(&to, comments, route);
}

const SHORTEST_RETRY: u64 = 1;
const LONGEST_RETRY: u64 = 3_600_000;

fn destination(
    keys: &mut Taken<'_>,
    stream: &str,
    to_firehose: bool,
    global: &Global,
    draft: &mut Draft,
) -> String {
    let kind = if to_firehose { "firehose" } else { "kinesis" };
    let mut entries = vec![Entry::new("type", kind), Entry::new("stream", stream)];
    entries.extend(if to_firehose { global.firehose.clone() } else { global.kinesis.clone() });
    let aggregated = keys.number("aggregatedRecordSizeBytes", draft).filter(|size| *size > 0);
    let key = keys.text("partitionKeyOption");
    if to_firehose {
        firehose_packing(keys, aggregated, &mut entries, draft);
        if let Some(key) = key {
            keys.refuse(
                &format!("partitionKeyOption {key}"),
                "a delivery stream has no partition keys",
                draft,
            );
        }
    } else {
        if let Some(size) = aggregated {
            let why = "only delivery streams get aggregates from the Agent";
            keys.refuse(&format!("aggregatedRecordSizeBytes {size}"), why, draft);
        }
        let comment = "One line a record, as the Agent sends it, but without the newline that the Agent leaves at its \
                       end. kpl or newline put many lines into a record, at a small part of the cost; consumers must \
                       agree.";
        entries.push(Entry { comments: draft.once(comment), ..Entry::new("aggregation", "none") });
        let ours = match key.as_deref() {
            Some("DETERMINISTIC") => "content_hash",
            _ => "random",
        };
        entries.push(Entry::new("partition_key", ours));
    }
    let mut batch = Vec::new();
    if let Some(records) = keys.number("maxBufferSizeRecords", draft) {
        batch.push(("max_records", json!(records.clamp(1, 500))));
    }
    if let Some(bytes) = keys.number("maxBufferSizeBytes", draft) {
        let (value, changed) = size(bytes, 1 << 10, if to_firehose { 4 << 20 } else { 10 << 20 });
        if changed {
            keys.refuse(
                &format!("maxBufferSizeBytes {bytes}"),
                "is beyond the service's limit, which was taken",
                draft,
            );
        }
        batch.push(("target_size", value));
    }
    if let Some(age) = keys.number("maxBufferAgeMillis", draft) {
        batch.push(("max_age", millis(age, 1, 900_000).0));
    }
    if !batch.is_empty() {
        entries.push(Entry::new("batch", object_of(batch)));
    }
    let mut retry = Vec::new();
    for (theirs, ours) in
        [("retryInitialBackoffMillis", "initial_backoff"), ("retryMaxBackoffMillis", "max_backoff")]
    {
        if let Some(pause) = keys.number(theirs, draft) {
            retry.push((ours, millis(pause, SHORTEST_RETRY, LONGEST_RETRY).0));
        }
    }
    if !retry.is_empty() {
        entries.push(Entry::new("retry", object_of(retry)));
    }
    draft.destination(stream, Vec::new(), entries)
}

fn firehose_packing(keys: &Taken<'_>, aggregated: Option<u64>, entries: &mut Vec<Entry>, draft: &mut Draft) {
    let Some(bytes) = aggregated else {
        let comment = "One line a record with its newline, as the Agent sends it; Firehose bills each as 5 KB. Without \
                       packed_record, many lines share a record: for S3, Redshift and Splunk that is the same, at a \
                       small part of the cost.";
        entries.push(Entry { comments: draft.once(comment), ..Entry::new("packing", "newline") });
        entries.push(Entry::new("packed_record", json!({"max_lines": 1})));
        return;
    };
    let (value, changed) = size(bytes, 1 << 10, 1000 << 10);
    if changed {
        let why = "a record has 1 KiB to 1000 KiB; the nearest was taken";
        keys.refuse(&format!("aggregatedRecordSizeBytes {bytes}"), why, draft);
    }
    entries.push(Entry::commented(
        "Lines are packed as the Agent does it; up to 1000KiB costs less.",
        "packing",
        "newline",
    ));
    entries.push(Entry::new("packed_record", json!({"max_size": value})));
}

fn object_of(entries: Vec<(&str, Value)>) -> Node {
    Node::Value(Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
}

/// A list of texts, or one.
fn texts(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().map(text_of).collect(),
        Some(value) => vec![text_of(&value)],
        None => Vec::new(),
    }
}
