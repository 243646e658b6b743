//! Lines as they are met, and the fields that come of them.

mod access;
mod edges;
mod pairs;
mod separated;
mod server_error;
mod syslog;
mod types;

use serde_json::{Map, Value as Json, json};

use super::*;
use crate::event::Message;
use crate::process::testing;
use crate::source::Stream;

/// What a step makes of a text: its fields as JSON, or nothing where it fails. Then all must be as it was.
fn applied(parse: &Parse, body: &[u8]) -> Option<Json> {
    let message = Message { start: 0, stream: Stream::Plain, time: None, body, cut: false };
    let mut fields = Fields::of(&message);
    if parse.apply(&mut fields, &testing::context(&message)) {
        return Some(json_of(&fields));
    }
    assert_eq!(fields, Fields::of(&message), "{}", String::from_utf8_lossy(body));
    None
}

fn parsed(parser: Parser, line: &str) -> Option<Json> {
    applied(&Parse::with(parser), line.as_bytes())
}

fn json_of(fields: &Fields<'_>) -> Json {
    let value = |value: &Value<'_>| match value {
        Value::Text(text) => json!(String::from_utf8_lossy(text)),
        Value::Raw(text) => serde_json::from_str(text).expect("raw values are JSON"),
        Value::Object(fields) => json_of(fields),
    };
    Json::Object(
        fields.iter().map(|field| (field.name.to_string(), value(&field.value))).collect::<Map<_, _>>(),
    )
}

/// Each line and what comes of it; `null` where it is not of the form.
fn golden(parser: &Parser, lines: &[(&str, Json)]) {
    for (line, expected) in lines {
        let made = parsed(parser.clone(), line).unwrap_or(Json::Null);
        assert_eq!(made, *expected, "{line}");
    }
}

fn every_parser() -> Vec<Parser> {
    let access = |log| Parser::Access { log, split_request: true };
    let groups = Groups::new(crate::process::Pattern::new("(?<a>[a-z]+)=(?<b>.*)").unwrap(), &[]).unwrap();
    vec![
        Parser::Json,
        Parser::Csv(Csv { fields: vec!["a".into(), "b".into()], delimiter: b',' }),
        Parser::Regex(groups),
        access(AccessLog::Common),
        access(AccessLog::Combined),
        access(AccessLog::Nginx),
        Parser::ApacheError,
        Parser::NginxError,
        Parser::Syslog(SyslogForm::Auto),
        Parser::Syslog(SyslogForm::Rfc3164),
        Parser::Syslog(SyslogForm::Rfc3339),
        Parser::Syslog(SyslogForm::Rfc5424),
        Parser::Logfmt,
        Parser::KeyValue(KeyValue { between_pairs: " ".into(), between_name_and_value: "=".into() }),
        Parser::Klog,
    ]
}

#[test]
fn an_empty_line_is_of_no_form() {
    for parser in every_parser() {
        assert_eq!(parsed(parser.clone(), ""), None, "{}", parser.step_name());
    }
}

#[test]
fn a_line_cut_anywhere_never_breaks_a_parser() {
    let lines = [
        r#"{"a":"\u00e9\"","b":[1,{}]}"#,
        r#"a,"b ""c"" d",,"#,
        r#"::1 - - [10/Oct/2026:13:55:36 -0700] "GET /a\"b HTTP/1.1" 200 2326 "-" "curl/8 \"x\"" "10.0.0.1""#,
        "[Fri Oct 09 12:34:56.789012 2026] [core:error] [pid 7:tid 8] [client [::1]:80] AH1: [x] no",
        r#"2026/10/09 12:34:56 [error] 7#8: *9 open() "/x" failed, client: ::1, server: _, request: "GET / HTTP/1.1""#,
        r#"<165>1 2026-10-09T12:34:56.789Z h p 1 id [a@1 b="c\"\]d"][e f="g"] text"#,
        "<34>Oct  9 12:34:56 host su[12]: 'su root' failed",
        r#"level=info msg="a \"b\" c" empty= lone err="""#,
        r#"E1009 12:34:56.789012       1 a.go:1] "text \"q\"" err="no" n=1"#,
    ];
    for line in lines {
        for end in 0..=line.len() {
            for parser in every_parser() {
                for start in [0, end / 2] {
                    applied(&Parse::with(parser.clone()), &line.as_bytes()[start..end]);
                }
            }
        }
    }
}

#[test]
fn a_line_of_a_megabyte_is_parsed_like_a_short_one() {
    let long = "x".repeat(1 << 20);
    let parser = Parser::Access { log: AccessLog::Common, split_request: false };
    let line = format!("h - - [10/Oct/2026:13:55:36 -0700] \"GET /{long} HTTP/1.1\" 200 1");
    assert_eq!(parsed(parser, &line).unwrap()["request"], format!("GET /{long} HTTP/1.1"));
    let line = format!("level=info msg=\"{long}\"");
    assert_eq!(parsed(Parser::Logfmt, &line).unwrap()["msg"], long);
    let csv = Parser::Csv(Csv { fields: vec!["a".into(), "b".into()], delimiter: b',' });
    assert_eq!(parsed(csv, &format!("\"{long}\",1")).unwrap(), json!({"a": long, "b": "1"}));
    let line = format!("Oct  9 12:34:56 host app: {long}");
    assert_eq!(parsed(Parser::Syslog(SyslogForm::Auto), &line).unwrap()["message"], long);
    // Quotes and separators alone, which a parser must not look at more than once each.
    for parser in every_parser() {
        for hostile in ["\"", "=", "[", ", ", "a=\"", "{\"a\":", "\\\"", " "] {
            applied(&Parse::with(parser.clone()), hostile.repeat((1 << 18) / hostile.len()).as_bytes());
        }
    }
}

#[test]
fn bytes_that_are_not_utf8_stay_as_they_are() {
    let message =
        Message { start: 0, stream: Stream::Plain, time: None, body: b"msg=\"a\xff\" k=\xfe", cut: false };
    let mut fields = Fields::of(&message);
    let logfmt = Parse::with(Parser::Logfmt);
    assert!(logfmt.apply(&mut fields, &testing::context(&message)));
    assert_eq!(fields.get("msg"), Some(&Value::text(b"a\xff")));
    assert_eq!(fields.get("k"), Some(&Value::text(b"\xfe")));
}

#[test]
fn a_field_can_be_parsed_and_put_under_another() {
    let json = Parse::with(Parser::Json);
    let message = br#"{"log":{"inner":"level=warn code=7"},"x":1}"#;
    let steps = Parse {
        field: Some("log.inner".into()),
        under: Some("log.parsed".into()),
        types: vec![("code".into(), Type::Int)],
        ..Parse::with(Parser::Logfmt)
    };
    let message = Message { start: 0, stream: Stream::Plain, time: None, body: message, cut: false };
    let mut fields = Fields::of(&message);
    let context = testing::context(&message);
    assert!(json.apply(&mut fields, &context) && steps.apply(&mut fields, &context));
    assert_eq!(json_of(&fields), json!({"log": {"parsed": {"level": "warn", "code": 7}}, "x": 1}));
    let missing = Parse { field: Some("none".into()), ..Parse::with(Parser::Logfmt) };
    assert!(!missing.apply(&mut fields, &context));
}
