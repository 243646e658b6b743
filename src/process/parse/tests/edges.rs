//! What lines of every form have in them sooner or later: quotes inside quotes, IPv6, missing fields, `-`, escaped
//! characters, times of high precision, nothing at all, a megabyte.

use super::*;
use crate::process::Pattern;

fn access(log: AccessLog) -> Parser {
    Parser::Access { log, split_request: false }
}

fn key_value(between_pairs: &str, between_name_and_value: &str) -> Parser {
    let (between_pairs, between_name_and_value) = (between_pairs.into(), between_name_and_value.into());
    Parser::KeyValue(KeyValue { between_pairs, between_name_and_value })
}

fn csv(fields: &[&str]) -> Parser {
    Parser::Csv(Csv { fields: fields.iter().map(|field| (*field).to_owned()).collect(), delimiter: b',' })
}

fn regex(pattern: &str) -> Parser {
    Parser::Regex(Groups::new(Pattern::new(pattern).unwrap(), &[]).unwrap())
}

#[test]
fn json_at_its_edges() {
    let lines = [
        (
            r#"{"q":"say \"hi \\\"you\\\"\"","e":"\t\u0000\/\ud83d\ude00"}"#,
            json!({"q": "say \"hi \\\"you\\\"\"", "e": "\t\0/😀"}),
        ),
        (
            r#"{"ip":"2001:db8::1","dash":"-","none":null,"":"no name"}"#,
            json!({"ip": "2001:db8::1", "dash": "-", "none": null, "": "no name"}),
        ),
        (
            r#"{"at":"2026-10-09T12:34:56.123456789Z","n":1760013296.123456789}"#,
            json!({"at": "2026-10-09T12:34:56.123456789Z", "n": 1_760_013_296.123_456_8}),
        ),
        (" {} ", json!({})),
        ("{\"a\":\"line\u{2028}end\"}", json!({"a": "line\u{2028}end"})),
        (r#"{"a":"\x"}"#, Json::Null),
        ("{\"a\":\"\t\"}", Json::Null),
    ];
    golden(&Parser::Json, &lines);
}

#[test]
fn logfmt_at_its_edges() {
    let lines = [
        (
            r#"msg="he said \"say \\\"hi\\\"\"" ip=2001:db8::1 addr=[::1]:80"#,
            json!({"msg": r#"he said "say \"hi\"""#, "ip": "2001:db8::1", "addr": "[::1]:80"}),
        ),
        (
            r#"user=- path="-" none= at=2026-10-09T12:34:56.123456789+02:00"#,
            json!({"user": "-", "path": "-", "none": "", "at": "2026-10-09T12:34:56.123456789+02:00"}),
        ),
        (
            r#"a="tab\there" b="\u00e9" c="C:\dir \xff" d="\\" e="\ud83d\ude00\U0001F600" f="\ud83d \uzz""#,
            json!({"a": "tab\there", "b": "é", "c": r"C:\dir \xff", "d": r"\", "e": "😀😀", "f": r"\ud83d \uzz"}),
        ),
        ("   ", Json::Null),
    ];
    golden(&Parser::Logfmt, &lines);
}

#[test]
fn pairs_at_their_edges() {
    let lines = [
        (
            r#"client: 2001:db8::1; note: "a \"b\"; c"; at: 2026-10-09 12:34:56.123456789"#,
            json!({"client": "2001:db8::1", "note": r#"a "b"; c"#, "at": "2026-10-09 12:34:56.123456789"}),
        ),
        ("user: -; none: ; last: x", json!({"user": "-", "none": "", "last": "x"})),
        ("user", Json::Null),
        ("  ", Json::Null),
    ];
    golden(&key_value(";", ":"), &lines);
}

#[test]
fn columns_at_their_edges() {
    let lines = [
        (
            r#"2026-10-09T12:34:56.123456789Z,2001:db8::1,"say ""hi, """"you"""""" now""#,
            json!({"at": "2026-10-09T12:34:56.123456789Z", "ip": "2001:db8::1", "text": r#"say "hi, ""you""" now"#}),
        ),
        (r#"-,,"\"#, json!({"at": "-", "ip": "", "text": r"\"})),
        (r"a\,b,c\n,d", json!({"at": r"a\", "ip": "b", "text": r"c\n"})),
        ("x", json!({"at": "x", "ip": null, "text": null})),
    ];
    golden(&csv(&["at", "ip", "text"]), &lines);
}

#[test]
fn patterns_at_their_edges() {
    let lines = [
        (
            r#"2026-10-09T12:34:56.123456789Z 2001:db8::1 "say \"hi\" -" -"#,
            json!({"at": "2026-10-09T12:34:56.123456789Z", "ip": "2001:db8::1", "text": r#"say \"hi\" -"#, "user": "-"}),
        ),
        (r#"2026-10-09T12:34:56Z ::1 """#, json!({"at": "2026-10-09T12:34:56Z", "ip": "::1", "text": ""})),
        (r#"2026-10-09T12:34:56Z ::1 "open"#, Json::Null),
    ];
    golden(&regex(r#"^(?<at>\S+) (?<ip>[0-9a-f:.]+) "(?<text>(?:[^"\\]|\\.)*)"(?: (?<user>\S+))?$"#), &lines);
}

#[test]
fn access_logs_at_their_edges() {
    let common = |datetime: &str, request: Json, bytes: Json| {
        json!({
            "host": "2001:db8::7", "ident": null, "authuser": "al\\\"ice", "datetime": datetime,
            "request": request, "response": "200", "bytes": bytes,
        })
    };
    let lines = [
        (
            r#"2001:db8::7 - al\"ice [10/Oct/2026:13:55:36.123456 -0700] "GET /?q=\"a \\\"b\\\"\" HTTP/1.1" 200 -"#,
            common(
                "10/Oct/2026:13:55:36.123456 -0700",
                json!(r#"GET /?q=\"a \\\"b\\\"\" HTTP/1.1"#),
                Json::Null,
            ),
        ),
        (
            r#"2001:db8::7 - al\"ice [10/Oct/2026:13:55:36 -0700] "\\" 200 0"#,
            common("10/Oct/2026:13:55:36 -0700", json!(r"\\"), json!("0")),
        ),
        (r#"2001:db8::7 - [10/Oct/2026:13:55:36 -0700] "GET / HTTP/1.1" 200 0"#, Json::Null),
        (r#"2001:db8::7 - - [10/Oct/2026:13:55:36 -0700] "GET /\" 200 0"#, Json::Null),
    ];
    golden(&access(AccessLog::Common), &lines);
    let combined = parsed(
        access(AccessLog::Combined),
        r#"::ffff:192.0.2.1 - - [10/Oct/2026:13:55:36.123456789 +0000] "-" 408 - "-" "a \"b \\\"c\\\"\"""#,
    );
    let expected = json!({
        "host": "::ffff:192.0.2.1", "ident": null, "authuser": null,
        "datetime": "10/Oct/2026:13:55:36.123456789 +0000", "request": null, "response": "408", "bytes": null,
        "referer": null, "agent": r#"a \"b \\\"c\\\"\""#,
    });
    assert_eq!(combined, Some(expected));
    let lines = [
        (
            r#"2001:db8::9 - - [09/Oct/2026:06:15:24.123 +0000] "GET /\x22q\x22 HTTP/2.0" 200 17 "https://x/\x22" "\x22\xE2\x80\x9D""#,
            json!({
                "remote_addr": "2001:db8::9", "remote_user": null, "time_local": "09/Oct/2026:06:15:24.123 +0000",
                "request": r"GET /\x22q\x22 HTTP/2.0", "status": "200", "body_bytes_sent": "17",
                "http_referer": r"https://x/\x22", "http_user_agent": r"\x22\xE2\x80\x9D",
            }),
        ),
        (r#"2001:db8::9 - - [09/Oct/2026:06:15:24 +0000] "GET / HTTP/2.0" 200 17 "-""#, Json::Null),
    ];
    golden(&access(AccessLog::Nginx), &lines);
}

#[test]
fn error_logs_at_their_edges() {
    let lines = [
        (
            r#"[Fri Oct 09 12:34:56.123456 2026] [php:warn] [pid 7] [client ::1:443] PHP said: "a \"b\"" \x1b[0m -, referer: https://x/"#,
            json!({
                "timestamp": "Fri Oct 09 12:34:56.123456 2026", "module": "php", "severity": "warn", "processid": "7",
                "threadid": null, "client": "::1:443", "message": r#"PHP said: "a \"b\"" \x1b[0m -, referer: https://x/"#,
            }),
        ),
        (
            "[Fri Oct 09 12:34:56 2026] [-:notice] [pid 7:tid 8] -",
            json!({
                "timestamp": "Fri Oct 09 12:34:56 2026", "module": null, "severity": "notice", "processid": "7",
                "threadid": "8", "client": null, "message": "-",
            }),
        ),
    ];
    golden(&Parser::ApacheError, &lines);
    let lines = [
        (
            r#"2026/10/09 06:15:24 [warn] 29#31: *5 upstream said "a "b" c", client: 2001:db8::2, server: _, request: "GET /?q="x" HTTP/1.1", upstream: "http://[2001:db8::3]:80/?q="x"", host: "[::1]""#,
            json!({
                "timestamp": "2026/10/09 06:15:24", "severity": "warn", "processid": "29", "threadid": "31",
                "connection": "5", "message": r#"upstream said "a "b" c""#, "client": "2001:db8::2", "server": "_",
                "request": r#"GET /?q="x" HTTP/1.1"#, "upstream": r#"http://[2001:db8::3]:80/?q="x""#, "host": "[::1]",
            }),
        ),
        (
            "2026/10/09 06:15:24 [emerg] 1#1: -",
            json!({
                "timestamp": "2026/10/09 06:15:24", "severity": "emerg", "processid": "1", "threadid": "1",
                "connection": null, "message": "-",
            }),
        ),
        // Not in nginx's form behind the client: all of it is the message.
        (
            r#"2026/10/09 06:15:24 [error] 1#1: *5 text, client: ::1, request: "GET"x, host: "y"#,
            json!({
                "timestamp": "2026/10/09 06:15:24", "severity": "error", "processid": "1", "threadid": "1",
                "connection": "5", "message": r#"text, client: ::1, request: "GET"x, host: "y"#,
            }),
        ),
        ("2026/10/09 06:15:24 [error] *5 open()", Json::Null),
    ];
    golden(&Parser::NginxError, &lines);
}

#[test]
fn syslog_at_its_edges() {
    let lines = [
        (
            r#"Oct  9 12:34:56.123456 2001:db8::1 app[7]: said "a \"b\"" - \t"#,
            json!({
                "timestamp": "Oct  9 12:34:56.123456", "hostname": "2001:db8::1", "program": "app", "processid": "7",
                "message": r#"said "a \"b\"" - \t"#,
            }),
        ),
        (
            "<0>Oct  9 12:34:56 - -: -",
            json!({
                "facility": "kern", "severity": "emerg", "timestamp": "Oct  9 12:34:56", "hostname": null,
                "program": null, "processid": null, "message": "-",
            }),
        ),
    ];
    golden(&Parser::Syslog(SyslogForm::Rfc3164), &lines);
    let lines = [
        (
            r#"2026-10-09T12:34:56.123456789-07:00 fe80::1%eth0 app: said "a \"b\"""#,
            json!({
                "timestamp": "2026-10-09T12:34:56.123456789-07:00", "hostname": "fe80::1%eth0", "program": "app",
                "processid": null, "message": r#"said "a \"b\"""#,
            }),
        ),
        ("2026-10-09T12:34:56.123456789-07:00", Json::Null),
    ];
    golden(&Parser::Syslog(SyslogForm::Rfc3339), &lines);
    let lines = [
        (
            r#"<191>1 2026-10-09T12:34:56.123456Z 2001:db8::1 - - - [a@1 b="say \"hi \\\"you\\\"\"" c="\]" d="" e="\n" f="\\d"] "q""#,
            json!({
                "facility": "local7", "severity": "debug", "timestamp": "2026-10-09T12:34:56.123456Z",
                "hostname": "2001:db8::1", "program": null, "processid": null, "message_id": null,
                "structured_data": {"a@1": {"b": r#"say "hi \"you\"""#, "c": "]", "d": "", "e": r"\n", "f": r"\d"}},
                "message": "\"q\"",
            }),
        ),
        ("<191>1 2026-10-09T12:34:56Z h", Json::Null),
    ];
    golden(&Parser::Syslog(SyslogForm::Rfc5424), &lines);
}

#[test]
fn klog_at_its_edges() {
    let lines = [
        (
            r#"F1009 12:34:56.123456    2147483647 a_b.go:1] "say \"hi \\\"you\\\"\"" ip="2001:db8::1" dash="-" none="" esc="\t\u00e9""#,
            json!({
                "severity": "fatal", "timestamp": "1009 12:34:56.123456", "threadid": "2147483647", "source": "a_b.go:1",
                "message": r#"say "hi \"you\"""#, "ip": "2001:db8::1", "dash": "-", "none": "", "esc": "\té",
            }),
        ),
        (
            "I1009 12:34:56.123456       1 a.go:1] -",
            json!({
                "severity": "info", "timestamp": "1009 12:34:56.123456", "threadid": "1", "source": "a.go:1",
                "message": "-",
            }),
        ),
        ("I1009 12:34:56.123456       1", Json::Null),
    ];
    golden(&Parser::Klog, &lines);
}

#[test]
fn a_megabyte_of_every_form_is_parsed() {
    let long = "x".repeat(1 << 20);
    let line = |form: &str| form.replace("LONG", &long);
    let syslog = |form| Parser::Syslog(form);
    for (parser, form, field) in [
        (Parser::Json, r#"{"a":"LONG","b":1}"#, "a"),
        (Parser::Logfmt, r#"level=info msg="LONG" b=1"#, "msg"),
        (key_value(";", ":"), "a: LONG; b: 1", "a"),
        (csv(&["a", "b"]), "\"LONG\",1", "a"),
        (regex("^(?<a>x+) (?<b>.*)$"), "LONG 1", "a"),
        (access(AccessLog::Common), "h - - [10/Oct/2026:13:55:36 -0700] \"LONG\" 200 1", "request"),
        (
            access(AccessLog::Combined),
            "h - - [10/Oct/2026:13:55:36 -0700] \"GET\" 200 1 \"-\" \"LONG\"",
            "agent",
        ),
        (
            access(AccessLog::Nginx),
            "h - - [10/Oct/2026:13:55:36 -0700] \"GET\" 200 1 \"LONG\" \"-\"",
            "http_referer",
        ),
        (Parser::ApacheError, "[Fri Oct 09 12:34:56 2026] [core:error] [pid 1] LONG", "message"),
        (
            Parser::NginxError,
            "2026/10/09 06:15:24 [error] 1#1: *5 text, client: ::1, request: \"LONG\"",
            "request",
        ),
        (syslog(SyslogForm::Rfc3164), "Oct  9 12:34:56 host app: LONG", "message"),
        (syslog(SyslogForm::Rfc3339), "2026-10-09T12:34:56Z host app: LONG", "message"),
        (syslog(SyslogForm::Rfc5424), "<34>1 2026-10-09T12:34:56Z h p - - [a@1 b=\"c\"] LONG", "message"),
        (Parser::Klog, "I1009 12:34:56.123456       1 a.go:1] \"LONG\" b=1", "message"),
    ] {
        let made = parsed(parser.clone(), &line(form)).unwrap_or_else(|| panic!("{}", parser.step_name()));
        assert!(made[field] == long.as_str(), "{}: {field}", parser.step_name());
    }
}
