//! Parsers and multiline parsers, as steps and as a route's `multiline`.

use serde_json::{Map, Value, json};

use super::section::{Kind, Section, Source};
use crate::migrate::draft::{Draft, Taken, text_of};
use crate::migrate::keys::{MULTILINE_PARSER, PARSER};
use crate::migrate::yaml::{Entry, Node};
use crate::process::{Pattern, TimeFormat};

/// What a parser makes of a text.
#[derive(Clone, Debug)]
pub(super) struct Parser {
    pub(super) name: String,
    /// The name of ours, and its settings.
    ours: &'static str,
    settings: Map<String, Value>,
    comments: Vec<String>,
    rename: Map<String, Value>,
    /// A further field that holds JSON.
    decode: Option<String>,
    time: Option<Map<String, Value>>,
}

pub(super) type Steps = Vec<(Vec<String>, Node)>;

impl Parser {
    fn of(name: &str, ours: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            ours,
            settings: Map::new(),
            comments: Vec::new(),
            rename: Map::new(),
            decode: None,
            time: None,
        }
    }

    /// The steps that do the same, with further settings of the parser and a condition.
    pub(super) fn steps(&self, more: Map<String, Value>, when: Option<&Value>, steps: &mut Steps) {
        let mut settings = self.settings.clone();
        settings.extend(more);
        let parse =
            if settings.is_empty() { json!(self.ours) } else { json!({self.ours: Value::Object(settings)}) };
        let mut push = |comments: Vec<String>, key: &str, value: Value| {
            let mut step = vec![Entry::new(key, value)];
            step.extend(when.map(|when| Entry::new("when", when.clone())));
            steps.push((comments, Node::Map(step)));
        };
        push(self.comments.clone(), "parse", parse);
        if !self.rename.is_empty() {
            push(Vec::new(), "rename", self.rename.clone().into());
        }
        if let Some(field) = &self.decode {
            push(Vec::new(), "parse", json!({"json": {"field": field, "under": field}}));
        }
        if let Some(time) = &self.time {
            push(Vec::new(), "time", time.clone().into());
        }
    }

    /// The expression of a regular expression's parser, for multi-line beginnings.
    pub(super) fn pattern(&self) -> Option<&str> {
        self.settings.get("pattern").and_then(Value::as_str)
    }
}

/// Those that are known by name.
#[derive(Debug, Default)]
pub(super) struct Parsers {
    parsers: Vec<Parser>,
    /// Names of multiline parsers, and the patterns of a first and of a further line.
    pub(super) multiline: Vec<(String, Lines)>,
    refused: Vec<String>,
}

/// What a multiline parser comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) start: Option<String>,
    pub(super) further: Option<String>,
    /// Milliseconds.
    pub(super) flush: Option<u64>,
}

impl Parsers {
    pub(super) fn of(source: &Source, draft: &mut Draft) -> Self {
        let mut known = Self::default();
        for section in source.of(Kind::Parser) {
            match read(section, draft) {
                Some(parser) => known.parsers.push(parser),
                None => known.refused.push(section.name()),
            }
        }
        for section in source.of(Kind::MultilineParser) {
            let lines = read_multiline(section, draft);
            known.multiline.extend(lines.map(|lines| (section.name(), lines)));
        }
        known
    }

    /// A parser of the source's, or else one of those that Fluent Bit is delivered with.
    pub(super) fn find(&self, name: &str, keys: &Taken<'_>, draft: &mut Draft) -> Option<Parser> {
        if let Some(parser) = self.parsers.iter().find(|parser| parser.name == name) {
            return Some(parser.clone());
        }
        let delivered = delivered(name).filter(|_| !self.refused.iter().any(|refused| refused == name));
        if delivered.is_none() {
            keys.refuse(
                &format!("Parser {name}"),
                "it is not among the parsers, or cannot be carried over",
                draft,
            );
        }
        delivered
    }
}

fn read(section: &Section, draft: &mut Draft) -> Option<Parser> {
    let mut keys = section.taken(&PARSER);
    let name = keys.text("name").unwrap_or_default();
    let format = keys.text("format").unwrap_or_default();
    let regex = keys.text("regex");
    let mut parser = match format.to_ascii_lowercase().as_str() {
        "json" => Some(Parser::of(&name, "json")),
        "logfmt" => Some(Parser::of(&name, "logfmt")),
        "ltsv" => {
            let mut parser = Parser::of(&name, "key_value");
            parser.settings.insert("between_pairs".into(), json!("\t"));
            parser.settings.insert("between_name_and_value".into(), json!(":"));
            Some(parser)
        }
        "regex" => regex.and_then(|regex| by_regex(&name, &regex, &keys, draft)),
        _ => {
            keys.refuse(&format!("Format {format}"), "kinetail does not know it", draft);
            None
        }
    };
    if let Some(parser) = &mut parser {
        types(&mut keys, parser, draft);
        time(&mut keys, parser, draft);
        decode(&mut keys, parser, draft);
    }
    if parser.is_some() {
        keys.finish(draft);
    }
    parser
}

fn by_regex(name: &str, regex: &str, keys: &Taken<'_>, draft: &mut Draft) -> Option<Parser> {
    let mut parser = Parser::of(name, "regex");
    match ours(regex) {
        Ok(pattern) => {
            parser.settings.insert("pattern".into(), json!(pattern));
            Some(parser)
        }
        Err(error) => {
            keys.refuse(&format!("Regex {regex}"), &error, draft);
            None
        }
    }
}

/// A regular expression without the slashes that may stand around it, if it compiles here.
pub(super) fn ours(regex: &str) -> Result<String, String> {
    let text = regex.trim();
    let inside = text.strip_prefix('/').and_then(|text| text.strip_suffix('/'));
    let text = inside.unwrap_or(text);
    Pattern::new(text).map(|_| text.to_owned())
}

fn types(keys: &mut Taken<'_>, parser: &mut Parser, draft: &mut Draft) {
    let mut types = Map::new();
    for pair in keys.text("types").unwrap_or_default().split_whitespace() {
        let (field, kind) = pair.split_once(':').unwrap_or((pair, ""));
        let ours = match kind.to_ascii_lowercase().as_str() {
            "integer" | "int" => "int",
            "float" => "float",
            "bool" | "boolean" => "bool",
            "string" => "text",
            _ => {
                keys.refuse(&format!("Types {pair}"), "there is no such type", draft);
                continue;
            }
        };
        types.insert(field.to_owned(), json!(ours));
    }
    if !types.is_empty() {
        parser.settings.insert("types".into(), Value::Object(types));
    }
}

fn time(keys: &mut Taken<'_>, parser: &mut Parser, draft: &mut Draft) {
    let (format, offset) = (keys.text("time_format"), keys.text("time_offset"));
    let keep = keys.switch("time_keep", false, draft);
    let Some(field) = keys.text("time_key") else { return };
    let mut settings = Map::new();
    settings.insert("field".into(), json!(field));
    if let Some(format) = format {
        let ours = time_format(&format);
        if let Err(error) = TimeFormat::new(&[&ours], None) {
            return keys.refuse(&format!("Time_Format {format}"), &error, draft);
        }
        settings.insert("format".into(), json!(ours));
    }
    if let Some(offset) = offset {
        let zone = match offset.len() {
            5 => format!("{}:{}", &offset[..3], &offset[3..]),
            _ => offset.clone(),
        };
        if TimeFormat::new(&[], Some(&zone)).is_err() {
            keys.refuse(&format!("Time_Offset {offset}"), "is no offset", draft);
        } else {
            settings.insert("zone".into(), json!(zone));
        }
    }
    if keep {
        settings.insert("keep".into(), json!(true));
    }
    parser.time = Some(settings);
}

/// A time's format as kinetail writes it: those that have a name there by it, and `%L` as it is called there.
fn time_format(format: &str) -> String {
    let iso = format.strip_prefix("%Y-%m-%dT%H:%M:%S").or_else(|| format.strip_prefix("%FT%T"));
    if let Some(rest) = iso {
        let rest = rest.trim_start_matches(".%L").trim_start_matches(".%f");
        if ["", "Z", "%z", "%Z"].contains(&rest) {
            return "rfc3339".to_owned();
        }
    }
    match format {
        "%d/%b/%Y:%H:%M:%S %z" => "access_log".to_owned(),
        "%b %d %H:%M:%S" => "syslog".to_owned(),
        "%s" | "%s.%L" => "unix".to_owned(),
        other => other.replace(".%L", "%.f").replace("%L", "%f"),
    }
}

fn decode(keys: &mut Taken<'_>, parser: &mut Parser, draft: &mut Draft) {
    for key in ["decode_field", "decode_field_as"] {
        for value in keys.take_all(key) {
            let text = text_of(&value);
            match text.split_whitespace().collect::<Vec<_>>()[..] {
                ["json", field, ..] if parser.decode.is_none() => parser.decode = Some(field.to_owned()),
                // The text of a JSON value is unescaped as it is parsed.
                ["escaped" | "escaped_utf8", ..] if parser.ours == "json" => {}
                _ => keys.refuse(&format!("{key} {text}"), "only one field of JSON can be decoded", draft),
            }
        }
    }
}

fn read_multiline(section: &Section, draft: &mut Draft) -> Option<Lines> {
    let mut keys = section.taken(&MULTILINE_PARSER);
    keys.text("name");
    let kind = keys.text("type").unwrap_or_else(|| "regex".to_owned());
    let mut lines = Lines { flush: keys.number("flush_timeout", draft), ..Lines::default() };
    let rules = keys.take_all("rule");
    if !kind.eq_ignore_ascii_case("regex") {
        keys.refuse(&format!("Type {kind}"), "only rules with regular expressions are known", draft);
        return None;
    }
    for rule in rules {
        let rule = text_of(&rule);
        let parts = quoted(&rule);
        let [state, regex, next] = &parts[..] else {
            keys.refuse(&format!("Rule {rule}"), "is not a state, an expression and the next state", draft);
            return None;
        };
        let pattern = match ours(regex) {
            Ok(pattern) => pattern,
            Err(error) => {
                keys.refuse(&format!("Rule {rule}"), &error, draft);
                return None;
            }
        };
        let place = if state == "start_state" { &mut lines.start } else { &mut lines.further };
        // States that lead to each other in another order than the lines have cannot be told apart here.
        let leads_on = state == "start_state" || next == state || next == "start_state";
        if !leads_on {
            keys.refuse(
                &format!("Rule {rule}"),
                "its order of states is given up: any further line may follow",
                draft,
            );
        }
        *place = Some(match place.take() {
            None => pattern,
            Some(before) => format!("(?:{before})|(?:{pattern})"),
        });
    }
    keys.finish(draft);
    Some(lines)
}

/// The texts in quotes.
fn quoted(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    let mut open: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (&mut open, c) {
            (Some(part), '\\') if chars.peek() == Some(&'"') => {
                part.push('"');
                chars.next();
            }
            (Some(_), '"') => parts.extend(open.take()),
            (Some(part), c) => part.push(c),
            (None, '"') => open = Some(String::new()),
            (None, _) => {}
        }
    }
    parts
}

/// Parsers that Fluent Bit is delivered with, by ours with the names of fields that they have there.
fn delivered(name: &str) -> Option<Parser> {
    let access: &[(&str, &str)] = &[("authuser", "user"), ("response", "code"), ("bytes", "size")];
    let nginx: &[(&str, &str)] = &[
        ("remote_addr", "remote"),
        ("remote_user", "user"),
        ("status", "code"),
        ("body_bytes_sent", "size"),
        ("http_referer", "referer"),
        ("http_user_agent", "agent"),
    ];
    let syslog: &[(&str, &str)] = &[("hostname", "host"), ("program", "ident"), ("processid", "pid")];
    let (ours, settings, rename, time) = match name {
        "json" | "docker" => ("json", Value::Null, &[][..], (name == "docker").then_some("time")),
        "logfmt" => ("logfmt", Value::Null, &[][..], None),
        "apache" | "apache2" => {
            ("combined_apache_log", json!({"split_request": true}), access, Some("datetime"))
        }
        "apache_error" => ("apache_error_log", Value::Null, &[("processid", "pid")][..], None),
        "nginx" => ("nginx_access", json!({"split_request": true}), nginx, Some("time_local")),
        "syslog-rfc3164" | "syslog-rfc3164-local" => {
            ("syslog", json!({"form": "rfc3164"}), syslog, Some("timestamp"))
        }
        "syslog-rfc5424" => ("syslog", json!({"form": "rfc5424"}), syslog, Some("timestamp")),
        _ => return None,
    };
    let mut parser = Parser::of(name, ours);
    if let Value::Object(settings) = settings {
        parser.settings = settings;
    }
    parser.rename = rename.iter().map(|(from, to)| ((*from).to_owned(), json!(to))).collect();
    parser.time = time.map(|field| Map::from_iter([("field".to_owned(), json!(field))]));
    parser.comments = match rename.is_empty() {
        true => Vec::new(),
        false => vec![format!(
            "In the place of the parser {name} that Fluent Bit is delivered with; fields of ours without a name there are new."
        )],
    };
    Some(parser)
}
