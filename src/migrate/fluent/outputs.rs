//! Outputs: `kinesis_firehose` and `kinesis_streams`.

use serde_json::{Value, json};

use super::filters::common;
use super::section::Section;
use super::tail::{Route, bytes};
use crate::migrate::draft::{Draft, Taken, size};
use crate::migrate::keys::OUTPUT;
use crate::migrate::yaml::Entry;

pub(super) fn is_known(section: &Section) -> bool {
    is_firehose(section) || section.is_named("kinesis_streams")
}

fn is_firehose(section: &Section) -> bool {
    section.is_named("kinesis_firehose")
}

/// The destination of an output: its name. What an output says of records becomes the route's.
pub(super) fn translate(section: &Section, route: &mut Route, draft: &mut Draft) -> Option<String> {
    let mut keys = section.taken(&OUTPUT);
    let alias = keys.text("alias");
    common(&mut keys);
    let firehose = is_firehose(section);
    let stream = keys.text(if firehose { "delivery_stream" } else { "stream" });
    let Some(stream) = stream else {
        draft.leave_out(&section.at(), "the output", "names no stream");
        return None;
    };
    let kind = if firehose { "firehose" } else { "kinesis" };
    let mut entries = vec![Entry::new("type", kind), Entry::new("stream", stream.as_str())];
    where_it_is(&mut keys, &mut entries);
    let aggregated = keys.switch("simple_aggregation", false, draft);
    if firehose {
        packing(aggregated, &mut entries, draft);
    } else {
        aggregation(aggregated, &mut entries, draft);
    }
    if let Some(compression) = keys.text("compression") {
        match compression.as_str() {
            "gzip" => entries.push(Entry::new("compression", "gzip")),
            other => keys.refuse(&format!("compression {other}"), "only gzip is known", draft),
        }
    }
    of_records(&mut keys, route, draft);
    let comments = retries(&mut keys, &mut entries, draft);
    if let Some(text) = keys.text("storage.total_limit_size") {
        match bytes(&text) {
            // A buffer has at least two chunks.
            Some(bytes) => {
                entries.push(Entry::new("buffer", json!({"max_size": size(bytes, 32 << 20, u64::MAX).0})))
            }
            None => keys.refuse(&format!("storage.total_limit_size {text}"), "is not a size", draft),
        }
    }
    keys.finish(draft);
    let wanted = alias.unwrap_or_else(|| stream.replace("${env:", "").replace('}', ""));
    Some(draft.destination(&wanted, comments, entries))
}

fn where_it_is(keys: &mut Taken<'_>, entries: &mut Vec<Entry>) {
    entries.extend(keys.text("region").map(|region| Entry::new("region", region)));
    let port = keys.text("port").filter(|port| port != "443");
    if let Some(endpoint) = keys.text("endpoint") {
        let mut url = if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") };
        if let Some(port) = port {
            url = format!("{}:{port}", url.trim_end_matches('/'));
        }
        entries.push(Entry::new("endpoint", url));
    }
    entries.extend(keys.text("profile").map(|profile| Entry::new("profile", profile)));
    let role = keys.text("role_arn");
    let external = keys.text("external_id");
    if let Some(role) = role {
        entries.push(Entry::new("role_arn", role));
        entries.extend(external.map(|id| Entry::new("external_id", id)));
    }
}

fn packing(aggregated: bool, entries: &mut Vec<Entry>, draft: &mut Draft) {
    if aggregated {
        entries.push(Entry::new("packing", "newline"));
        return;
    }
    let comment = "One line a record with its newline, as Fluent Bit sends it; Firehose bills each as 5 KB. Without \
                   packed_record, many lines share a record: for S3, Redshift and Splunk that is the same, at a small \
                   part of the cost.";
    entries.push(Entry { comments: draft.once(comment), ..Entry::new("packing", "newline") });
    entries.push(Entry::new("packed_record", json!({"max_lines": 1})));
}

fn aggregation(aggregated: bool, entries: &mut Vec<Entry>, draft: &mut Draft) {
    let (comment, ours) = match aggregated {
        true => {
            let comment = "Many lines a record, as with simple_aggregation; kpl is what the Kinesis Client Library takes \
                           apart by itself.";
            (comment, "newline")
        }
        false => {
            let comment = "One line a record, as Fluent Bit sends it, but without the newline at its end. kpl or newline \
                           put many lines into a record, at a small part of the cost; consumers must agree.";
            (comment, "none")
        }
    };
    entries.push(Entry { comments: draft.once(comment), ..Entry::new("aggregation", ours) });
}

/// `time_key` and `log_key` are said of the output there, and of the route here.
fn of_records(keys: &mut Taken<'_>, route: &mut Route, draft: &mut Draft) {
    if let Some(key) = keys.text("time_key") {
        let other = route.names.get("time").is_some_and(|name| *name != json!(key));
        if other {
            keys.refuse(
                &format!("time_key {key}"),
                "the records of a route are the same for all destinations",
                draft,
            );
        } else {
            route.names.insert("time".into(), json!(key));
        }
    }
    if let Some(key) = keys.text("log_key") {
        if route.field(&key) == "log" {
            route.raw = true;
        } else {
            let why = "a record has all of its fields, or with the preset raw the text alone";
            keys.refuse(&format!("log_key {key}"), why, draft);
        }
    }
}

fn retries(keys: &mut Taken<'_>, entries: &mut Vec<Entry>, draft: &mut Draft) -> Vec<String> {
    let Some(limit) = keys.text("retry_limit") else {
        let comment = "Fluent Bit gives records up after one retry unless Retry_Limit says otherwise; kinetail goes on.";
        return draft.once(comment);
    };
    if ["no_limits", "false", "no", "off"].contains(&limit.to_ascii_lowercase().as_str()) {
        return Vec::new();
    }
    match limit.parse::<u64>() {
        Ok(retries) => {
            let attempts: Value = json!(retries.saturating_add(1).min(1_000_000));
            let comment = "What is given up becomes a dead letter; without this nothing is given up.";
            entries.push(Entry::commented(comment, "retry", json!({"max_attempts": attempts})));
        }
        Err(_) => keys.refuse(&format!("Retry_Limit {limit}"), "is not a number", draft),
    }
    Vec::new()
}
