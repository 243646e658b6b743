use super::*;

#[test]
fn logfmt_lines() {
    let lines = [
        (
            r#"level=info msg="opened \"ledger\" at C:\\x" took=1.5ms empty= dry_run path=/a=b é=ü"#,
            json!({
                "level": "info", "msg": r#"opened "ledger" at C:\x"#, "took": "1.5ms", "empty": "",
                "dry_run": true, "path": "/a=b", "é": "ü",
            }),
        ),
        (r#" a=1   a="two" "#, json!({"a": "two"})),
        (
            r#"t=2026-10-09T12:34:56Z q="" n="a\nb""#,
            json!({"t": "2026-10-09T12:34:56Z", "q": "", "n": "a\nb"}),
        ),
        ("a sentence without pairs", Json::Null),
        ("time: a=b", Json::Null),
        (r#"a="open"#, Json::Null),
        (r#"a="b"c=d"#, Json::Null),
        ("=x", Json::Null),
    ];
    golden(&Parser::Logfmt, &lines);
}

#[test]
fn pairs_with_separators_of_ones_own() {
    let form = |pairs: &str, pair: &str| {
        let (between_pairs, between_name_and_value) = (pairs.to_owned(), pair.to_owned());
        Parser::KeyValue(KeyValue { between_pairs, between_name_and_value })
    };
    let lines = [
        (
            "user: alice smith; role : admin;note: 'a; b';url: http://x:80; ",
            json!({"user": "alice smith", "role": "admin", "note": "a; b", "url": "http://x:80"}),
        ),
        ("user: alice; rest", Json::Null),
        (": alice", Json::Null),
        ("user: \"open; x: 1", Json::Null),
    ];
    golden(&form(";", ":"), &lines);
    let lines =
        [("a=1 b=\"x y\"  c='z'", json!({"a": "1", "b": "x y", "c": "z"})), ("a= b=2", json!({"a": "b=2"}))];
    golden(&form(" ", "="), &lines);
}

#[test]
fn klog_lines() {
    let lines = [
        (
            r#"I1009 12:34:56.789012       1 controller.go:114] "Starting worker \"q\"" pod="kube-system/dns" count=3"#,
            json!({
                "severity": "info", "timestamp": "1009 12:34:56.789012", "threadid": "1",
                "source": "controller.go:114", "message": "Starting worker \"q\"", "pod": "kube-system/dns",
                "count": "3",
            }),
        ),
        (
            "E1009 12:34:56.789012   12345 reflector.go:138] k8s.io/x: Failed [1] to watch",
            json!({
                "severity": "error", "timestamp": "1009 12:34:56.789012", "threadid": "12345",
                "source": "reflector.go:138", "message": "k8s.io/x: Failed [1] to watch",
            }),
        ),
        (
            "W1009 12:34:56.789012       7 a.go:1] \"quoted\" but no pairs",
            json!({
                "severity": "warning", "timestamp": "1009 12:34:56.789012", "threadid": "7", "source": "a.go:1",
                "message": "\"quoted\" but no pairs",
            }),
        ),
        ("X1009 12:34:56.789012       7 a.go:1] x", Json::Null),
        ("I1009 12:34:56       7 a.go:1] x", Json::Null),
        ("Informal text of more than twenty-one bytes", Json::Null),
    ];
    golden(&Parser::Klog, &lines);
}

#[test]
fn json_lines() {
    let lines = [
        (
            r#"{"a":{"b":[1,2.50]},"c":"\u00e9\"","d":null}"#,
            json!({"a": {"b": [1, 2.50]}, "c": "é\"", "d": null}),
        ),
        ("[1]", Json::Null),
        (r#"{"a":1"#, Json::Null),
        (r#"{"a":1} {"b":2}"#, Json::Null),
    ];
    golden(&Parser::Json, &lines);
}
