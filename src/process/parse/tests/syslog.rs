use super::*;

#[test]
fn lines_of_rfc_3164() {
    let lines = [
        (
            "<34>Oct 11 22:14:15 mymachine su[231]: 'su root' failed for lonvick on /dev/pts/8",
            json!({
                "facility": "auth", "severity": "crit", "timestamp": "Oct 11 22:14:15",
                "hostname": "mymachine", "program": "su", "processid": "231",
                "message": "'su root' failed for lonvick on /dev/pts/8",
            }),
        ),
        (
            "Jan  2 03:04:05 fe80::1 systemd-logind: New session: 7 [x]: y",
            json!({
                "timestamp": "Jan  2 03:04:05", "hostname": "fe80::1", "program": "systemd-logind",
                "processid": null, "message": "New session: 7 [x]: y",
            }),
        ),
        (
            "Jan  2 03:04:05 host last message repeated 2 times",
            json!({
                "timestamp": "Jan  2 03:04:05", "hostname": "host", "program": null, "processid": null,
                "message": "last message repeated 2 times",
            }),
        ),
        (
            "Jan  2 03:04:05 host app[-]: ",
            json!({
                "timestamp": "Jan  2 03:04:05", "hostname": "host", "program": "app", "processid": null,
                "message": "",
            }),
        ),
        ("Jan  2 03:04 host app: x", Json::Null),
        ("Jan  2 03:04:05", Json::Null),
        ("<999>Jan  2 03:04:05 host app: x", Json::Null),
        ("a line of another kind", Json::Null),
    ];
    for form in [SyslogForm::Rfc3164, SyslogForm::Auto] {
        golden(&Parser::Syslog(form), &lines);
    }
}

#[test]
fn lines_with_times_of_rfc_3339() {
    let lines = [
        (
            "2026-10-09T12:34:56.789012345+02:00 host kernel: [ 12.5] usb 1-1: new device",
            json!({
                "timestamp": "2026-10-09T12:34:56.789012345+02:00", "hostname": "host", "program": "kernel",
                "processid": null, "message": "[ 12.5] usb 1-1: new device",
            }),
        ),
        (
            "<13>2026-10-09T12:34:56Z host CRON[77]: (root) CMD (true)",
            json!({
                "facility": "user", "severity": "notice", "timestamp": "2026-10-09T12:34:56Z",
                "hostname": "host", "program": "CRON", "processid": "77", "message": "(root) CMD (true)",
            }),
        ),
        ("2026-10-09 12:34:56 host app: x", Json::Null),
    ];
    for form in [SyslogForm::Rfc3339, SyslogForm::Auto] {
        golden(&Parser::Syslog(form), &lines);
    }
}

#[test]
fn lines_of_rfc_5424() {
    let lines = [
        (
            r#"<165>1 2026-10-11T22:14:15.003Z mymachine.example.com evntslog 88 ID47 [exampleSDID@32473 iut="3" eventSource="App \"x\" [1\]" path="C:\dir"][other@1] An application event"#,
            json!({
                "facility": "local4", "severity": "notice", "timestamp": "2026-10-11T22:14:15.003Z",
                "hostname": "mymachine.example.com", "program": "evntslog", "processid": "88",
                "message_id": "ID47",
                "structured_data": {
                    "exampleSDID@32473": {"iut": "3", "eventSource": "App \"x\" [1]", "path": r"C:\dir"},
                    "other@1": {},
                },
                "message": "An application event",
            }),
        ),
        (
            "<34>1 - - - - - - \u{feff}'su root' failed",
            json!({
                "facility": "auth", "severity": "crit", "timestamp": null, "hostname": null, "program": null,
                "processid": null, "message_id": null, "message": "'su root' failed",
            }),
        ),
        (
            "<34>1 2026-10-11T22:14:15-07:00 h p - - -",
            json!({
                "facility": "auth", "severity": "crit", "timestamp": "2026-10-11T22:14:15-07:00",
                "hostname": "h", "program": "p", "processid": null, "message_id": null, "message": "",
            }),
        ),
        (r#"<34>1 2026-10-11T22:14:15Z h p - - [a b="c" text"#, Json::Null),
        ("<34>1 yesterday h p - - - text", Json::Null),
    ];
    for form in [SyslogForm::Rfc5424, SyslogForm::Auto] {
        golden(&Parser::Syslog(form), &lines);
    }
}
