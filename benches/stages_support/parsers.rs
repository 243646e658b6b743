//! Each parser over lines of its own form, from the line to its record.

use std::hint::black_box;

use kinetail::event::{Fields, Message};
use kinetail::process::{
    AccessLog, Action, Chain, Context, Csv, Groups, KeyValue, Parse, Parser, Pattern, SyslogForm,
};
use kinetail::record::Records;
use kinetail::source::Stream;

use super::{TIME, encoder};

const LINES: u32 = 1000;
const ACCESS: &str = r#"203.0.113.9 - alice [09/Oct/2026:06:15:24 +0000] "GET /api/v1/orders?page=2 HTTP/1.1" 200 5316 "https://shop.example/" "Mozilla/5.0 (X11; Linux x86_64)""#;

/// A parser and a line of its form.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    parser: Parser,
    line: &'static str,
}

/// All of them.
pub(crate) fn all() -> Vec<Row> {
    let row = |name, parser, line| Row { name, parser, line };
    let access = |log| Parser::Access { log, split_request: false };
    let columns = ["at", "host", "code", "took", "path"].map(str::to_owned).to_vec();
    let pattern = r"^(?<at>\S+) (?<level>[A-Z]+) \[(?<thread>[^\]]*)\] (?<class>\S+) - (?<text>.*)$";
    let groups = Groups::new(Pattern::new(pattern).expect("a pattern"), &[]).expect("groups");
    vec![
        row(
            "parse json",
            Parser::Json,
            r#"{"ts":"2026-10-09T06:15:24Z","level":"info","msg":"order taken","id":71623,"took":0.25,"user":{"id":9}}"#,
        ),
        row(
            "parse logfmt",
            Parser::Logfmt,
            r#"ts=2026-10-09T06:15:24Z level=info msg="order taken" id=71623 took=0.25 user=9"#,
        ),
        row(
            "parse key_value",
            Parser::KeyValue(KeyValue { between_pairs: ";".into(), between_name_and_value: ":".into() }),
            "level: info; msg: order taken; id: 71623; took: 0.25; user: 9",
        ),
        row(
            "parse csv",
            Parser::Csv(Csv { fields: columns.clone(), delimiter: b',' }),
            "2026-10-09T06:15:24Z,web-1,200,0.25,/api/v1/orders",
        ),
        row(
            "parse csv, quoted",
            Parser::Csv(Csv { fields: columns, delimiter: b',' }),
            r#""2026-10-09T06:15:24Z","web-1","200","0.25","/api/""v1""/orders""#,
        ),
        row(
            "parse regex",
            Parser::Regex(groups),
            "2026-10-09T06:15:24,123 INFO [http-8080-7] com.example.Orders - order 71623 taken",
        ),
        row(
            "parse common_apache_log",
            access(AccessLog::Common),
            ACCESS.split_once(" \"https").map_or(ACCESS, |(common, _)| common),
        ),
        row("parse combined_apache_log", access(AccessLog::Combined), ACCESS),
        row(
            "parse apache_error_log",
            Parser::ApacheError,
            "[Fri Oct 09 06:15:24.902022 2026] [core:error] [pid 35708:tid 4328] [client 72.15.99.187:80] File does not exist: /x",
        ),
        row("parse nginx_access", access(AccessLog::Nginx), ACCESS),
        row(
            "parse nginx_error",
            Parser::NginxError,
            r#"2026/10/09 06:15:24 [error] 29#31: *5 open() "/x" failed (2: No such file), client: 10.0.0.9, server: localhost, request: "GET /x HTTP/1.1", host: "shop""#,
        ),
        row(
            "parse syslog, RFC 3164",
            Parser::Syslog(SyslogForm::Auto),
            "<34>Oct  9 06:15:24 mymachine sshd[231]: Accepted publickey for alice from 10.0.0.9 port 51512",
        ),
        row(
            "parse syslog, RFC 5424",
            Parser::Syslog(SyslogForm::Auto),
            r#"<165>1 2026-10-09T06:15:24.003Z host evntslog 88 ID47 [e@32473 iut="3" source="App"] An application event"#,
        ),
        row(
            "parse syslog, RFC 3339",
            Parser::Syslog(SyslogForm::Rfc3339),
            "2026-10-09T06:15:24.003+02:00 mymachine sshd[231]: Accepted publickey for alice from 10.0.0.9 port 51512",
        ),
        row(
            "parse klog",
            Parser::Klog,
            r#"I1009 06:15:24.789012       1 controller.go:114] "Starting worker" pod="kube-system/dns" count=3"#,
        ),
    ]
}

impl Row {
    pub(crate) fn lines(&self) -> u32 {
        LINES
    }

    pub(crate) fn bytes(&self) -> usize {
        (self.line.len() + 1) * LINES as usize
    }

    /// What makes records of all lines once.
    pub(crate) fn prepare(&self) -> impl FnMut() + use<> {
        let chain = Chain::new(vec![Action::Parse(Parse::with(self.parser.clone())).into()]);
        let (mut encoder, mut records, mut fields) = (encoder(), Records::default(), Fields::default());
        let body = self.line.as_bytes();
        move || {
            records.clear();
            for start in 0..u64::from(LINES) {
                let body = black_box(body);
                let message = Message { start, stream: Stream::Plain, time: None, body, cut: false };
                let context = Context { message: &message, time_read: TIME, kubernetes: None };
                let made = chain.run(&context, std::mem::take(&mut fields));
                records.push_with(|out| {
                    encoder.encode_fields(&message, &made.fields, TIME, out);
                    true
                });
                fields = made.fields.recycle();
            }
            assert!(chain.take_counts().is_empty(), "every line is of the form");
            black_box(records.data());
        }
    }
}
