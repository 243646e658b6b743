use super::*;

#[test]
fn apache_error_lines() {
    let lines = [
        (
            "[Fri Sep 09 10:42:29.902022 2026] [core:error] [pid 35708:tid 4328636416] [client 72.15.99.187] File does not exist: /usr/local/apache2/htdocs/favicon.ico",
            json!({
                "timestamp": "Fri Sep 09 10:42:29.902022 2026", "module": "core", "severity": "error",
                "processid": "35708", "threadid": "4328636416", "client": "72.15.99.187",
                "message": "File does not exist: /usr/local/apache2/htdocs/favicon.ico",
            }),
        ),
        (
            "[Wed Oct 11 14:32:52 2026] [error] [client 127.0.0.1] client denied: [x] \"y\"",
            json!({
                "timestamp": "Wed Oct 11 14:32:52 2026", "module": null, "severity": "error",
                "processid": null, "threadid": null, "client": "127.0.0.1",
                "message": "client denied: [x] \"y\"",
            }),
        ),
        (
            "[Wed Oct 11 14:32:52.1 2026] [ssl:info] [pid 9] [client [2001:db8::1]:51544] AH01964: Connection to child 2 established",
            json!({
                "timestamp": "Wed Oct 11 14:32:52.1 2026", "module": "ssl", "severity": "info",
                "processid": "9", "threadid": null, "client": "[2001:db8::1]:51544",
                "message": "AH01964: Connection to child 2 established",
            }),
        ),
        (
            "[Wed Oct 11 14:32:52 2026] [mpm_event:trace8] [pid 1:tid 2] [a bracket] begins the message",
            json!({
                "timestamp": "Wed Oct 11 14:32:52 2026", "module": "mpm_event", "severity": "trace8",
                "processid": "1", "threadid": "2", "client": null,
                "message": "[a bracket] begins the message",
            }),
        ),
        ("Wed Oct 11 14:32:52 2026", Json::Null),
        ("[Wed Oct 11 14:32:52 2026] no level", Json::Null),
    ];
    golden(&Parser::ApacheError, &lines);
}

#[test]
fn nginx_error_lines() {
    let lines = [
        (
            r#"2026/10/09 06:15:24 [error] 29#31: *5 open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory), client: 2001:db8::2, server: localhost, request: "GET /a, b HTTP/1.1", host: "localhost:8080", referrer: "http://localhost:8080/""#,
            json!({
                "timestamp": "2026/10/09 06:15:24", "severity": "error", "processid": "29", "threadid": "31",
                "connection": "5",
                "message": r#"open() "/usr/share/nginx/html/favicon.ico" failed (2: No such file or directory)"#,
                "client": "2001:db8::2", "server": "localhost", "request": "GET /a, b HTTP/1.1",
                "host": "localhost:8080", "referrer": "http://localhost:8080/",
            }),
        ),
        (
            "2026/10/09 06:15:24 [notice] 1#1: start worker processes",
            json!({
                "timestamp": "2026/10/09 06:15:24", "severity": "notice", "processid": "1", "threadid": "1",
                "connection": null, "message": "start worker processes",
            }),
        ),
        ("2026/10/09 06:15:24 start worker processes", Json::Null),
    ];
    golden(&Parser::NginxError, &lines);
}
