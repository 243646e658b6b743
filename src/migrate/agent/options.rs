//! What a flow does with lines: `multiLineStartPattern`, `skipHeaderLines` and `dataProcessingOptions`.

use serde_json::{Map, Value, json};

use super::texts;
use crate::migrate::draft::{Draft, Taken, millis};
use crate::migrate::keys::{AGENT_OPTION, AGENT_OPTIONS};
use crate::migrate::yaml::{Entry, Node};
use crate::process::Pattern;

/// The most lines of a header.
const MAX_HEADER: u64 = 10_000;

/// How lines are read.
pub(super) fn lines(keys: &mut Taken<'_>, route: &mut Vec<Entry>, draft: &mut Draft) {
    if let Some(pattern) = keys.text("multiLineStartPattern") {
        // The Agent holds it against a line's beginning.
        let start = format!("^(?:{pattern})");
        match Pattern::new(&start) {
            Ok(_) => route.push(Entry::new("multiline", json!({"start": start}))),
            Err(error) => {
                keys.refuse(&format!("multiLineStartPattern {pattern}"), &error.to_string(), draft);
            }
        }
    }
    if let Some(lines) = keys.number("skipHeaderLines", draft).filter(|lines| *lines > 0) {
        route.push(Entry::new("skip_header_lines", json!(lines.min(MAX_HEADER))));
    }
}

/// The steps of `process`.
pub(super) fn steps(keys: &mut Taken<'_>, route: &mut Vec<Entry>, draft: &mut Draft) {
    let Some(options) = keys.take("dataProcessingOptions") else { return };
    let options = match options {
        Value::Array(options) => options,
        other => vec![other],
    };
    let mut steps = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let at = format!("{}.dataProcessingOptions[{index}]", keys.at);
        match option {
            Value::Object(option) => step(&at, option, &mut steps, draft),
            other => draft.leave_out(&at, &other.to_string(), "is not an option"),
        }
    }
    if !steps.is_empty() {
        route.push(Entry::new("process", Node::List(steps)));
    }
}

type Steps = Vec<(Vec<String>, Node)>;

fn push(steps: &mut Steps, comment: &str, step: Vec<Entry>) {
    let comments = if comment.is_empty() { Vec::new() } else { vec![comment.to_owned()] };
    steps.push((comments, Node::Map(step)));
}

const KEPT: &str =
    "A line that does not parse is sent as it is, and counted; the Agent drops it, as on_error: drop does.";

fn step(at: &str, option: &Map<String, Value>, steps: &mut Steps, draft: &mut Draft) {
    let mut keys = Taken::new(at, &AGENT_OPTION, super::entries(option));
    let Some(name) = keys.text("optionName") else {
        return draft.leave_out(at, &Value::Object(option.clone()).to_string(), "has no optionName");
    };
    keys.at = format!("{at} {name}");
    let known = AGENT_OPTIONS.known(&name).map(|known| known.key);
    match known {
        Some("SINGLELINE") => single_line(&mut keys, steps, draft),
        Some("CSVTOJSON") => csv(&mut keys, steps, draft),
        Some("LOGTOJSON") => log(&mut keys, steps, draft),
        Some("ADDMETADATA") => metadata(&mut keys, steps, draft),
        Some("ADDEC2METADATA") => instance(&mut keys, steps, draft),
        Some("ADDBRACKETS") => push(steps, "", vec![Entry::new("add_brackets", json!({}))]),
        _ => {
            return draft.leave_out(at, &format!("optionName {name}"), "kinetail does not know this option");
        }
    }
    keys.finish(draft);
}

fn single_line(keys: &mut Taken<'_>, steps: &mut Steps, draft: &mut Draft) {
    let mut settings = Map::new();
    for option in texts(keys.take("parseOptions")) {
        match option.as_str() {
            "NO_TRIM" => drop(settings.insert("trim".to_owned(), json!(false))),
            "ESCAPE_NEW_LINE" => drop(settings.insert("join".to_owned(), json!("\\n"))),
            other => keys.refuse(&format!("parseOptions {other}"), "kinetail does not know it", draft),
        }
    }
    push(steps, "", vec![Entry::new("single_line", Value::Object(settings))]);
}

fn csv(keys: &mut Taken<'_>, steps: &mut Steps, draft: &mut Draft) {
    let names = texts(keys.take("customFieldNames"));
    if names.is_empty() {
        return keys.refuse("CSVTOJSON", "has no customFieldNames", draft);
    }
    let mut settings = Map::new();
    settings.insert("fields".to_owned(), json!(names));
    // Blanks around it may be the delimiter themselves.
    if let Some(Value::String(delimiter)) = keys.take("delimiter") {
        let delimiter = if delimiter == "\\t" { "\t".to_owned() } else { delimiter };
        if delimiter.len() != 1 {
            return keys.refuse(&format!("delimiter {delimiter:?}"), "is not one character of ASCII", draft);
        }
        if delimiter != "," {
            settings.insert("delimiter".to_owned(), json!(delimiter));
        }
    }
    push(steps, KEPT, vec![Entry::new("parse", json!({"csv": settings}))]);
}

/// A format, our parser, and its fields in the order of the Agent's.
fn parser(format: &str) -> Option<(Value, &'static [&'static str])> {
    const COMMON: &[&str] = &["host", "ident", "authuser", "datetime", "request", "response", "bytes"];
    const COMBINED: &[&str] =
        &["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referer", "agent"];
    const ERROR: &[&str] = &["timestamp", "module", "severity", "processid", "threadid", "client", "message"];
    const SYSLOG: &[&str] = &["timestamp", "hostname", "program", "processid", "message"];
    Some(match format {
        "COMMONAPACHELOG" => (json!("common_apache_log"), COMMON),
        "COMBINEDAPACHELOG" => (json!("combined_apache_log"), COMBINED),
        "APACHEERRORLOG" => (json!("apache_error_log"), ERROR),
        "SYSLOG" => (json!({"syslog": {"form": "rfc3164"}}), SYSLOG),
        "RFC3339SYSLOG" => (json!({"syslog": {"form": "rfc3339"}}), SYSLOG),
        _ => return None,
    })
}

fn log(keys: &mut Taken<'_>, steps: &mut Steps, draft: &mut Draft) {
    let names = texts(keys.take("customFieldNames"));
    let format = keys.text("logFormat").unwrap_or_default();
    if let Some(pattern) = keys.text("matchPattern") {
        // The Agent matches the whole line.
        let whole = format!("^(?:{pattern})$");
        let groups = match Pattern::new(&whole) {
            Ok(compiled) => compiled.group_count(),
            Err(error) => return keys.refuse(&format!("matchPattern {pattern}"), &error, draft),
        };
        if groups != names.len() {
            let why = format!("it has {groups} groups, and customFieldNames {} names", names.len());
            return keys.refuse(&format!("matchPattern {pattern}"), &why, draft);
        }
        let parse = json!({"regex": {"pattern": whole, "fields": names}});
        return push(steps, KEPT, vec![Entry::new("parse", parse)]);
    }
    let Some((parser, fields)) = parser(&format.to_ascii_uppercase()) else {
        return keys.refuse(&format!("logFormat {format}"), "kinetail does not know it", draft);
    };
    let comment = match parser.is_object() {
        true => format!("{KEPT} A line with a priority has facility and severity, too."),
        false => KEPT.to_owned(),
    };
    push(steps, &comment, vec![Entry::new("parse", parser)]);
    if names.is_empty() {
        return;
    }
    if names.len() != fields.len() {
        let why = format!("the format has {} fields: {}", fields.len(), fields.join(", "));
        return keys.refuse(&format!("customFieldNames [{}]", names.join(", ")), &why, draft);
    }
    let renamed: Map<String, Value> = fields
        .iter()
        .zip(names)
        .filter(|(ours, theirs)| *ours != theirs)
        .map(|(ours, theirs)| ((*ours).to_owned(), json!(theirs)))
        .collect();
    if !renamed.is_empty() {
        push(steps, "", vec![Entry::new("rename", Value::Object(renamed))]);
    }
}

fn metadata(keys: &mut Taken<'_>, steps: &mut Steps, draft: &mut Draft) {
    let timestamp = keys.switch("timestamp", false, draft);
    let Some(metadata @ Value::Object(_)) = keys.take("metadata") else {
        return keys.refuse("ADDMETADATA", "has no metadata", draft);
    };
    let mut settings = json!({"metadata": metadata});
    if timestamp {
        settings["timestamp"] = json!(true);
    }
    push(steps, "", vec![Entry::new("add_metadata", settings)]);
}

fn instance(keys: &mut Taken<'_>, steps: &mut Steps, draft: &mut Draft) {
    // It is said there, too, and means nothing for this option.
    keys.take("logFormat");
    let mut settings = Map::new();
    if let Some(seconds) = keys.number("metadataTTL", draft) {
        let (refresh, changed) = millis(seconds.saturating_mul(1000), 60_000, 7 * 86_400_000);
        if changed {
            keys.refuse(&format!("metadataTTL {seconds}"), "is 1m to 7d; the nearest was taken", draft);
        }
        settings.insert("refresh".to_owned(), refresh);
    }
    push(steps, "", vec![Entry::new("ec2_metadata", Value::Object(settings))]);
}
