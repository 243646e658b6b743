use super::*;

fn parser(log: AccessLog) -> Parser {
    Parser::Access { log, split_request: false }
}

#[test]
fn common_log_lines() {
    let lines = [
        (
            r#"127.0.0.1 - frank [10/Oct/2026:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
            json!({
                "host": "127.0.0.1", "ident": null, "authuser": "frank",
                "datetime": "10/Oct/2026:13:55:36 -0700", "request": "GET /apache_pb.gif HTTP/1.0",
                "response": "200", "bytes": "2326",
            }),
        ),
        (
            r#"2001:db8::7 unix John Q. Public [01/Jan/2026:00:00:00 +0000] "-" 408 -"#,
            json!({
                "host": "2001:db8::7", "ident": "unix", "authuser": "John Q. Public",
                "datetime": "01/Jan/2026:00:00:00 +0000", "request": null, "response": "408", "bytes": null,
            }),
        ),
        // A scanner's request, with escapes as httpd writes them.
        (
            r#"h - - [01/Jan/2026:00:00:00 +0000] "\x16\x03\x01 \"quoted\" \\" 400 226"#,
            json!({
                "host": "h", "ident": null, "authuser": null, "datetime": "01/Jan/2026:00:00:00 +0000",
                "request": r#"\x16\x03\x01 \"quoted\" \\"#, "response": "400", "bytes": "226",
            }),
        ),
        (r#"h - - [01/Jan/2026:00:00:00 +0000] "GET /" 200"#, Json::Null),
        (r#"h - - [01/Jan/2026:00:00:00 +0000] "GET /" abc 1"#, Json::Null),
        (r#"h - - [01/Jan/2026:00:00:00 +0000] "GET /" 200 1 more"#, Json::Null),
        (r#"h - - "GET /" 200 1"#, Json::Null),
        ("not an access log", Json::Null),
    ];
    golden(&parser(AccessLog::Common), &lines);
}

#[test]
fn combined_log_lines() {
    let lines = [
        (
            r#"10.0.0.9 - - [10/Oct/2026:13:55:36.123 +0200] "POST /a?b=\"c\" HTTP/2.0" 201 0 "https://x.example/\"q\"" "Mozilla/5.0 (X11; \"Linux\")""#,
            json!({
                "host": "10.0.0.9", "ident": null, "authuser": null,
                "datetime": "10/Oct/2026:13:55:36.123 +0200", "request": r#"POST /a?b=\"c\" HTTP/2.0"#,
                "response": "201", "bytes": "0", "referer": r#"https://x.example/\"q\""#,
                "agent": r#"Mozilla/5.0 (X11; \"Linux\")"#,
            }),
        ),
        (
            r#"::1 - - [10/Oct/2026:13:55:36 +0200] "OPTIONS * HTTP/1.0" 200 126 "-" """#,
            json!({
                "host": "::1", "ident": null, "authuser": null, "datetime": "10/Oct/2026:13:55:36 +0200",
                "request": "OPTIONS * HTTP/1.0", "response": "200", "bytes": "126", "referer": null,
                "agent": null,
            }),
        ),
        (r#"::1 - - [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.0" 200 126"#, Json::Null),
        (r#"::1 - - [10/Oct/2026:13:55:36 +0200] "GET / HTTP/1.0" 200 126 "-" "unfinished"#, Json::Null),
    ];
    golden(&parser(AccessLog::Combined), &lines);
}

#[test]
fn nginx_access_lines() {
    let lines = [
        (
            r#"203.0.113.9 - alice [09/Oct/2026:06:15:24 +0000] "GET /api/v1?x=\x22y\x22 HTTP/1.1" 304 0 "-" "curl/8.5.0""#,
            json!({
                "remote_addr": "203.0.113.9", "remote_user": "alice",
                "time_local": "09/Oct/2026:06:15:24 +0000",
                "request": r"GET /api/v1?x=\x22y\x22 HTTP/1.1", "status": "304", "body_bytes_sent": "0",
                "http_referer": null, "http_user_agent": "curl/8.5.0",
            }),
        ),
        (
            r#"unix: - - [09/Oct/2026:06:15:24 +0000] "" 400 0 "-" "-" "198.51.100.7, 10.0.0.2""#,
            json!({
                "remote_addr": "unix:", "remote_user": null, "time_local": "09/Oct/2026:06:15:24 +0000",
                "request": null, "status": "400", "body_bytes_sent": "0", "http_referer": null,
                "http_user_agent": null, "http_x_forwarded_for": "198.51.100.7, 10.0.0.2",
            }),
        ),
    ];
    golden(&parser(AccessLog::Nginx), &lines);
}

#[test]
fn a_request_is_taken_apart_where_it_is_one() {
    let split = |request: &str| {
        let line = format!("h - - [01/Jan/2026:00:00:00 +0000] \"{request}\" 200 1");
        let made = parsed(Parser::Access { log: AccessLog::Common, split_request: true }, &line).unwrap();
        assert_eq!(made["request"], request);
        [&made["method"], &made["path"], &made["protocol"]]
            .map(|field| field.as_str().unwrap_or("").to_owned())
    };
    assert_eq!(split("GET /a b?c HTTP/1.1"), ["GET", "/a b?c", "HTTP/1.1"]);
    assert_eq!(split("GET /"), ["", "", ""]);
    assert_eq!(split("GET / x"), ["", "", ""]);
}
