//! A line's way from a container's file to its record, through decoding, processing and encoding.

use std::path::Path;
use std::time::Instant;

use kinetail::decode::{Decoder, Format, Limits};
use kinetail::encode::{Encoder, FileContext, Layout, Names};
use kinetail::event::{Fields, Message, OWN_FIELDS};
use kinetail::kubernetes::Pod;
use kinetail::process::{
    AccessLog, Action, AddMetadata, Chain, Context, Csv, Find, Flatten, Groups, KeyValue, Keys, Level, Nest,
    Parse, Parser, Pattern, Preset, Redact, Replacement, SetTime, SingleLine, Step, SyslogForm, TimeFormat,
    Truncate, Type,
};
use kinetail::source::Incarnation;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const PATH: &str = "/var/log/pods/payments_api-0_0c6a3d8e/server/2.log";
const TIME: &str = "2026-01-02T03:04:05.123456789Z";

/// The records of a file with one line, as JSON reads them back.
fn records(steps: Vec<Step>, line: &[u8]) -> Vec<Value> {
    let records = texts(Format::Cri, Layout::default(), steps, &[line]);
    let read = |record: Vec<u8>| serde_json::from_slice(&record).expect("a record is valid JSON");
    records.into_iter().map(read).collect()
}

/// The records of a file with these lines, as they are sent.
fn texts(format: Format, layout: Layout, steps: Vec<Step>, lines: &[&[u8]]) -> Vec<Vec<u8>> {
    let kubernetes = Pod::from_path(Path::new(PATH)).map(|pod| pod.fields());
    let file = FileContext { path: Path::new(PATH), host: "node-1", kubernetes: kubernetes.as_ref() };
    let chain = Chain::new(steps);
    let is_raw = layout.is_raw();
    let mut encoder = Encoder::with(layout, 1, Incarnation(2), file);
    let mut decoder = Decoder::new(format, Limits::default());
    let mut records = Vec::new();
    let mut take = |message: Message<'_>| {
        let mut record = Vec::new();
        if chain.is_empty() {
            encoder.encode(&message, TIME, &mut record);
        } else {
            let context = Context { message: &message, time_read: TIME, kubernetes: None };
            let made = chain.run(&context, Fields::default());
            encoder.encode_fields(&message, &made.fields, TIME, &mut record);
        }
        assert!(is_raw || !record.contains(&b'\n'));
        records.push(record);
    };
    let mut offset = 0;
    for line in lines {
        decoder.line(offset, line, false, Instant::now(), &mut take);
        offset += line.len() as u64 + 1;
    }
    decoder.flush(&mut take);
    records
}

fn cri(text: &str) -> Vec<u8> {
    format!("{TIME} stdout F {text}").into_bytes()
}

fn parse_json() -> Vec<Step> {
    vec![Action::Parse(Parse::with(Parser::Json)).into()]
}

#[test]
fn a_parsed_line_becomes_fields_beside_what_is_known_of_its_file() {
    let steps = vec![
        parse_json().remove(0),
        Action::Rename([("time".into(), "app_time".into()), ("user.id".into(), "user_id".into())].into())
            .into(),
        Action::Remove(vec!["user.secret".into()]).into(),
        Action::Add(vec![("cluster".into(), json!("test"))]).into(),
    ];
    let line = r#"{"level":"info","time":1.5,"user":{"id":7,"secret":"x","name":"é"},"host":"forged"}"#;
    let mut record = records(steps, &cri(line)).remove(0);
    let id = record.as_object_mut().unwrap().remove("record_id").unwrap();
    assert_eq!(id.as_str().unwrap().len(), 32);
    let expected = json!({
        "time": TIME,
        "stream": "stdout",
        "level": "info",
        "app_time": 1.5,
        "user": {"name": "é"},
        "user_id": 7,
        "cluster": "test",
        "log_host": "forged",
        "file": PATH,
        "host": "node-1",
        "kubernetes": {
            "namespace_name": "payments",
            "pod_name": "api-0",
            "pod_id": "0c6a3d8e",
            "container_name": "server",
            "container_restart_count": 2,
        },
    });
    assert_eq!(record, expected);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,8}[\\x00-\\x1f\"\\\\]?".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c.\"]{0,3}", inner, 0..4)
                .prop_map(|map| Value::from(map.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-d.]{1,4}",
        1 => prop::sample::select(&OWN_FIELDS[..]).prop_map(str::to_owned),
        1 => "log(_(time|host))?_?",
        1 => "\\PC{0,4}[\\x00-\\x1f\"\\\\]?",
    ]
}

fn any_parser() -> impl Strategy<Value = Parser> {
    let access = |log, split_request| Parser::Access { log, split_request };
    let groups =
        Groups::new(Pattern::new(r"(?<a>\w+)|(?<b>.)").expect("a pattern"), &[]).expect("groups with names");
    let parsers = vec![
        Parser::Json,
        Parser::Logfmt,
        Parser::Csv(Csv { fields: vec!["a".into(), "b".into()], delimiter: b' ' }),
        Parser::Regex(groups),
        access(AccessLog::Common, true),
        access(AccessLog::Combined, false),
        access(AccessLog::Nginx, true),
        Parser::ApacheError,
        Parser::NginxError,
        Parser::Syslog(SyslogForm::Auto),
        Parser::Syslog(SyslogForm::Rfc5424),
        Parser::Klog,
        Parser::KeyValue(KeyValue { between_pairs: " ".into(), between_name_and_value: "=".into() }),
    ];
    prop::sample::select(parsers)
}

fn any_preset() -> impl Strategy<Value = Preset> {
    prop::sample::select(vec![
        Preset::Card,
        Preset::Email,
        Preset::Ipv4,
        Preset::Ipv6,
        Preset::Jwt,
        Preset::AwsKey,
    ])
}

fn any_time() -> TimeFormat {
    TimeFormat::new(&[], None).expect("formats that have a name")
}

fn any_action() -> impl Strategy<Value = Action> {
    prop_oneof![
        (any_parser(), prop::option::of("[a-d.]{1,4}"), any::<bool>()).prop_map(
            |(parser, under, keep_original)| {
                let types = vec![("a".into(), Type::Int), ("b".into(), Type::Time(any_time()))];
                Action::Parse(Parse { under, keep_original, types, ..Parse::with(parser) })
            }
        ),
        (any_name(), any::<bool>())
            .prop_map(|(field, keep)| { Action::Time(SetTime { field, format: any_time(), keep }) }),
        any::<bool>().prop_map(|trim| Action::SingleLine(SingleLine { trim, join: "\\n".into() })),
        (prop::collection::vec(any_name(), 0..2), "[._]{0,2}")
            .prop_map(|(fields, separator)| Action::Flatten(Flatten { fields, separator })),
        (any_name(), prop::collection::vec(any_name(), 0..3), prop::option::of("[a-d]{1,2}"))
            .prop_map(|(under, fields, prefix)| Action::Nest(Nest { under, fields, prefix })),
        (any::<bool>(), prop::option::of(Just("_".to_owned())))
            .prop_map(|(lower_case, dots)| Action::Keys(Keys { lower_case, dots })),
        (prop::collection::vec(any_name(), 0..2), any_preset(), any::<bool>()).prop_map(
            |(fields, preset, mask)| {
                let with = if mask { Replacement::Mask(2) } else { Replacement::Text("\"x\n".into()) };
                Action::Redact(Redact { fields, find: vec![Find::preset(preset).expect("a pattern")], with })
            }
        ),
        (prop::collection::vec(any_name(), 0..2), 1..5_usize)
            .prop_map(|(fields, max_size)| Action::Truncate(Truncate { fields, max_size })),
        (prop::collection::vec(any_name(), 0..3), any_name()).prop_map(|(from, to)| Action::Level(Level {
            from,
            to,
            default: None
        })),
        prop::collection::vec((any_name(), Just(json!("added"))), 0..3).prop_map(Action::Add),
        any::<bool>().prop_map(|timestamp| {
            let metadata = json!({"a": {"b": [1, "\n"]}}).as_object().expect("an object").clone();
            Action::AddMetadata(AddMetadata::new(metadata, timestamp))
        }),
        Just(Action::AddBrackets),
        prop::collection::vec(any_name(), 0..3).prop_map(Action::Remove),
        prop::collection::btree_map(any_name(), any_name(), 0..3).prop_map(Action::Rename),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    (any_action(), prop::option::of(any_name()))
        .prop_map(|(action, error_field)| Step { error_field, ..action.into() })
}

proptest! {
    #[test]
    fn every_field_of_a_parsed_line_arrives_and_none_is_forged(
        fields in prop::collection::btree_map(any_name(), any_json(), 0..8),
        pretty in any::<bool>(),
    ) {
        let object = Value::from(fields.clone().into_iter().collect::<Map<_, _>>());
        let text = if pretty { serde_json::to_string_pretty(&object) } else { serde_json::to_string(&object) };
        let record = records(parse_json(), &cri(&text.unwrap())).remove(0);
        let honest = records(vec![], &cri("")).remove(0);
        for name in OWN_FIELDS {
            prop_assert_eq!(record.get(name), honest.get(name));
        }
        let own = honest.as_object().unwrap().len() - 1;
        prop_assert_eq!(record.as_object().unwrap().len(), own + fields.len());
        for (name, value) in &fields {
            if !OWN_FIELDS.contains(&&**name) {
                prop_assert_eq!(record.get(name), Some(value));
            }
        }
    }

    #[test]
    fn whatever_the_bytes_and_steps_a_line_is_one_valid_record(
        steps in prop::collection::vec(any_step(), 0..6),
        head in prop_oneof![Just(""), Just("2026-01-02T03:04:05Z stdout F "), Just("2026-01-02T03:04:05Z stderr F {")],
        text in prop::collection::vec(any::<u8>(), 0..60),
        object in any_json(),
    ) {
        let bytes = [head.as_bytes(), &text].concat();
        for line in [bytes, cri(&object.to_string())] {
            let made = records(steps.clone(), &line);
            prop_assert_eq!(made.len(), 1);
            prop_assert_eq!(&made[0]["host"], "node-1");
        }
    }

    #[test]
    fn in_every_layout_a_line_is_one_valid_object(
        steps in prop::collection::vec(any_step(), 0..4),
        text in prop::collection::vec(any::<u8>(), 0..60),
        object in any_json(),
        log in prop::sample::select(vec!["log", "message", "a", "host\"\n"]),
    ) {
        let own = Names { log: log.into(), host: None, time: Some("t\n".into()), ..Names::fluent_bit() };
        let json = object.to_string().into_bytes();
        for layout in [Layout::named(Names::ecs(), true), Layout::named(own, false)] {
            for line in [&text, &json] {
                let made = texts(Format::Plain, layout.clone(), steps.clone(), &[line.as_slice()]);
                prop_assert_eq!(made.len(), 1);
                let record: Value = serde_json::from_slice(&made[0]).expect("a record is valid JSON");
                prop_assert!(record.is_object());
            }
        }
    }

    /// Whatever the bytes, whatever the format: the text is in the raw record as it was, also behind a parser that it is
    /// not made for.
    #[test]
    fn the_original_text_can_be_had_back_from_a_raw_record(
        text in prop::collection::vec(any::<u8>().prop_filter("no line's end", |byte| *byte != b'\n'), 0..300),
        at in any::<prop::sample::Index>(),
        parse in any::<bool>(),
    ) {
        // A runtime tells the lines of a program apart by their ends, and a carriage return before one is part of it.
        let text = [&text[..], b"\x01"].concat();
        let steps = if parse { parse_json() } else { Vec::new() };
        let raw = |format, lines: &[&[u8]]| texts(format, Layout::raw(), steps.clone(), lines);
        prop_assert_eq!(raw(Format::Plain, &[&text]), std::slice::from_ref(&text));
        let (first, second) = text.split_at(at.index(text.len()));
        let part = |tag: &str, text: &[u8]| [format!("{TIME} stdout {tag} ").as_bytes(), text].concat();
        let (first, second) = (part("P", first), part("F", second));
        prop_assert_eq!(raw(Format::Cri, &[&first, &second]), std::slice::from_ref(&text));
        let lossy = String::from_utf8_lossy(&text);
        let docker = json!({"log": format!("{lossy}\n"), "stream": "stdout", "time": TIME}).to_string();
        prop_assert_eq!(raw(Format::Docker, &[docker.as_bytes()]), [lossy.as_bytes()]);
    }

    /// Text comes back from the default layout, too, whatever is in it.
    #[test]
    fn text_can_be_had_back_from_its_record(text in "\\PC*[\\x00-\\x09\\x0b-\\x1f\"\\\\]{0,3}\\PC*x") {
        let record = records(Vec::new(), &cri(&text)).remove(0);
        prop_assert_eq!(record["log"].as_str(), Some(text.as_str()));
    }
}
