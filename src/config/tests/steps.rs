//! Steps as they are written, and what is wrong with them.

use super::*;
use crate::process::{
    AccessLog, AddMetadata, Bounds, Condition, Csv, Ec2Metadata, Find, Flatten, Groups, Keys, Level, Nest,
    OnError, Pattern, Preset, Redact, Replacement, Sample, SetTime, SingleLine, Step, SyslogForm, Test,
    TimeFormat, Truncate, Type,
};

fn steps_of(steps: &str) -> String {
    format!(
        "destinations: {{d: {{type: directory, path: x}}}}\nroutes:\n- files: /x\n  to: d\n  process:\n{steps}"
    )
}

#[test]
fn every_step_is_read() {
    let text = steps_of(
        r#"  - parse: {csv: {fields: [a, b], delimiter: ";", field: x, types: {a: int, b: {time: "%Y %H", zone: "+01:00"}}}}
    on_error: drop
  - on_error: keep
    parse: {regex: {pattern: '(.)', fields: c}}
    error_field: parse_error
  - parse: {combined_apache_log: {split_request: true, under: http}}
  - parse: {syslog: {form: rfc5424, keep_original: true}}
    on_error: dead_letter
  - parse: klog
  - time: at
  - time: {field: at, format: [unix, rfc3339], keep: true}
  - single_line: {}
  - single_line: {trim: false, join: '\n'}
  - add_metadata: {metadata: {team: pay, zones: [1, {a: null}], none: ~}, timestamp: true}
  - ec2_metadata: {}
  - ec2_metadata: {under: ec2, tags: false, refresh: 5m}
  - add_brackets: {}
"#,
    );
    let route = good(&text).routes.remove(0);
    let steps = &route.process;
    let format = TimeFormat::new(&["%Y %H"], Some("+01:00")).unwrap();
    let csv = Parse {
        field: Some("x".into()),
        types: vec![("a".into(), Type::Int), ("b".into(), Type::Time(format))],
        ..Parse::with(Parser::Csv(Csv { fields: vec!["a".into(), "b".into()], delimiter: b';' }))
    };
    assert_eq!(steps[0], Step { on_error: OnError::Drop, ..Action::Parse(csv).into() });
    let groups = Groups::new(Pattern::new("(.)").unwrap(), &["c".to_owned()]).unwrap();
    let regex = Action::Parse(Parse::with(Parser::Regex(groups)));
    let marked = Step { error_field: Some("parse_error".into()), ..regex.into() };
    assert_eq!(steps[1], marked);
    let access = Parser::Access { log: AccessLog::Combined, split_request: true };
    let access = Parse { under: Some("http".into()), ..Parse::with(access) };
    assert_eq!(steps[2], Action::Parse(access).into());
    let syslog = Parse { keep_original: true, ..Parse::with(Parser::Syslog(SyslogForm::Rfc5424)) };
    assert_eq!(steps[3], Step { on_error: OnError::DeadLetter, ..Action::Parse(syslog).into() });
    assert_eq!(steps[4], Action::Parse(Parse::with(Parser::Klog)).into());
    let any = TimeFormat::new(&[], None).unwrap();
    assert_eq!(steps[5], Action::Time(SetTime { field: "at".into(), format: any, keep: false }).into());
    let some = TimeFormat::new(&["unix", "rfc3339"], None).unwrap();
    assert_eq!(steps[6], Action::Time(SetTime { field: "at".into(), format: some, keep: true }).into());
    let lines = |trim, join: &str| Action::SingleLine(SingleLine { trim, join: join.into() }).into();
    assert_eq!(steps[7..9], [lines(true, ""), lines(false, "\\n")]);
    let metadata = serde_json::json!({"team": "pay", "zones": [1, {"a": null}], "none": null});
    let metadata = AddMetadata::new(metadata.as_object().unwrap().clone(), true);
    let hour = Duration::from_secs(3600);
    let rest = [
        Action::AddMetadata(metadata),
        Action::Ec2Metadata(Ec2Metadata { under: None, tags: true, refresh: hour }),
        Action::Ec2Metadata(Ec2Metadata { under: Some("ec2".into()), tags: false, refresh: hour / 12 }),
        Action::AddBrackets,
    ];
    assert_eq!(steps[9..], rest.map(Step::from));
}

#[test]
fn what_is_wrong_with_a_step_is_told() {
    for (step, message) in [
        (
            "{parse: {csv: {}}}",
            "6:14: routes[0].process[0].parse.csv.fields: is missing; name the columns, such as \
          `fields: [at, user, action]`",
        ),
        (
            "{parse: {csv: {fields: [a, a], delimiter: ab}}}",
            "6:28: routes[0].process[0].parse.csv.fields: \"a\" is there twice; every field needs a name of its own\n\
          6:47: routes[0].process[0].parse.csv.delimiter: must be one character of ASCII other than a quote or a \
          line's end, such as \",\" or \"\\t\"",
        ),
        (
            "{parse: {regex: {pattern: '(a'}}}",
            "6:31: routes[0].process[0].parse.regex.pattern: \"(a\" is not a regular expression: unclosed group",
        ),
        (
            "{parse: {regex: {pattern: 'a'}}}",
            "6:31: routes[0].process[0].parse.regex.pattern: has no named group, such as (?<status>\\d+); name some, or \
          give their names in `fields`",
        ),
        (
            "{parse: {logfmt: {types: {a: integer}}}}",
            "6:34: routes[0].process[0].parse.logfmt.types.a: \"integer\" is not known here; did you mean `int`?; \
          allowed: int, float, bool, text, time",
        ),
        (
            "{parse: {logfmt: {types: {a: {time: '%Y'}}}}}",
            "6:41: routes[0].process[0].parse.logfmt.types.a.time: \"%Y\" does not hold a time of the day, such as \
          %H:%M:%S",
        ),
        (
            "{time: {field: a, zone: Berlin}}",
            "6:29: routes[0].process[0].time.zone: \"Berlin\" is not a time zone; write it like Europe/Berlin, +02:00 or \
          UTC",
        ),
        (
            "{parse: {key_value: {between_pairs: '=', between_name_and_value: '='}}}",
            "6:25: routes[0].process[0].parse.key_value: between_pairs and between_name_and_value are the same",
        ),
        (
            "{parse: json, on_error: drop, error_field: x}",
            "6:48: routes[0].process[0].error_field: has a meaning only with `on_error: keep`; leave it out",
        ),
        (
            "{add_metadata: {}}",
            "6:6: routes[0].process[0].add_metadata.metadata: is missing; say what stands there, such as `metadata: \
          {team: payments}`",
        ),
        (
            "{ec2_metadata: {refresh: 1s}}",
            "6:30: routes[0].process[0].ec2_metadata.refresh: \"1s\" is out of range; it must be 1m to 7d",
        ),
        (
            "{add_brackets: {x: 1}}",
            "6:21: routes[0].process[0].add_brackets.x: unknown key; nothing can be said here",
        ),
        (
            "{on_error: drop}",
            "6:5: routes[0].process[0]: does not say what it does; allowed: parse, time, single_line, add, \
          add_metadata, ec2_metadata, add_brackets, remove, rename, flatten, nest, keys, redact, truncate, level, drop, keep, sample",
        ),
        (
            "{parse: json, on_eror: drop}",
            "6:5: routes[0].process[0]: has 2 keys and must have one; write each as an item of its own, with a dash",
        ),
        (
            "{single_line: {join: \"\\n\"}}",
            "6:26: routes[0].process[0].single_line.join: holds a line's end; put '\\n' into single quotes for a \
          backslash and an n",
        ),
    ] {
        assert_eq!(messages(&steps_of(&format!("  - {step}\n"))).join("\n"), message, "{step}");
    }
}

#[test]
fn conditions_are_read() {
    let field = |name: &str, test| Condition::Field { name: name.into(), test };
    let is = |name: &str, value: serde_json::Value| field(name, Test::OneOf(vec![value]));
    let text = steps_of(
        r#"  - drop: {level: [debug, trace], status: 200}
  - keep: {path: {matches: ^/api, exists: true}, took: {above: 1, at_most: 2.5}}
  - add: {alert: true}
    when:
      any:
        - {stream: stderr}
        - all: [{ok: false}, {not: {user: {exists: false}}}]
"#,
    );
    let steps = good(&text).routes.remove(0).process;
    let levels = field("level", Test::OneOf(vec!["debug".into(), "trace".into()]));
    assert_eq!(steps[0].action, Action::Drop(Condition::All(vec![levels, is("status", 200.into())])));
    let bounds = Bounds { above: Some(1.0), at_most: Some(2.5), ..Bounds::default() };
    let tests = vec![
        field("path", Test::Matches(Pattern::new("^/api").unwrap())),
        field("path", Test::Exists(true)),
        field("took", Test::Number(bounds)),
    ];
    assert_eq!(steps[1].action, Action::Keep(Condition::All(tests)));
    let user = Condition::Not(Box::new(field("user", Test::Exists(false))));
    let both = Condition::All(vec![is("ok", false.into()), user]);
    assert_eq!(steps[2].when, Some(Condition::Any(vec![is("stream", "stderr".into()), both])));
}

#[test]
fn steps_on_fields_are_read() {
    let text = steps_of(
        r#"  - flatten: {}
  - nest: {under: http, fields: method, prefix: http_}
  - keys: {lower_case: true, dots: _}
  - redact: {fields: [password], mask_all_but: 2}
  - redact: {presets: [card, ipv6], patterns: 'x+', with: ""}
  - truncate: {fields: stack, max_size: 2KiB}
  - level: {}
  - sample: {percent: 12.5, by: trace_id}
"#,
    );
    let steps = good(&text).routes.remove(0).process;
    let actions: Vec<Action> = steps.into_iter().map(|step| step.action).collect();
    let card = Find::preset(Preset::Card).unwrap();
    let ipv6 = Find::preset(Preset::Ipv6).unwrap();
    let expected = [
        Action::Flatten(Flatten { fields: vec![], separator: ".".into() }),
        Action::Nest(Nest {
            under: "http".into(),
            fields: vec!["method".into()],
            prefix: Some("http_".into()),
        }),
        Action::Keys(Keys { lower_case: true, dots: Some("_".into()) }),
        Action::Redact(Redact { fields: vec!["password".into()], find: vec![], with: Replacement::Mask(2) }),
        Action::Redact(Redact {
            fields: vec![],
            find: vec![card, ipv6, Find::pattern(Pattern::new("x+").unwrap())],
            with: Replacement::Text(String::new()),
        }),
        Action::Truncate(Truncate { fields: vec!["stack".into()], max_size: 2048 }),
        Action::Level(Level {
            from: ["level", "severity", "lvl", "loglevel", "log.level"].map(str::to_owned).to_vec(),
            to: "level".into(),
            default: None,
        }),
        Action::Sample(Sample { percent: 12.5, by: Some("trace_id".into()) }),
    ];
    assert_eq!(actions, expected);
}

#[test]
fn what_is_wrong_with_a_condition_is_told() {
    for (step, told) in [
        ("{drop: {}}", "process[0].drop: is empty; say what must hold, such as `level: error`"),
        ("{drop: {any: []}}", "process[0].drop.any: is empty; write at least one condition"),
        ("{drop: {a: []}}", "process[0].drop.a: is empty; write at least one value"),
        (
            "{drop: {a: {}}}",
            "process[0].drop.a: is empty; allowed: matches, exists, above, at_least, below, at_most",
        ),
        (
            "{drop: {all: [{not: {a: {match: x}}}]}}",
            "process[0].drop.all[0].not.a.match: unknown key; did you mean `matches`?",
        ),
        ("{drop: {a: {matches: '('}}}", "process[0].drop.a.matches: \"(\" is not a regular expression"),
        ("{drop: {a: {above: x}}}", "process[0].drop.a.above: "),
        ("{nest: {under: a}}", "process[0].nest: moves nothing"),
        ("{keys: {}}", "process[0].keys: changes nothing"),
        ("{redact: {}}", "process[0].redact: takes nothing out"),
        (
            "{redact: {fields: a, with: x, mask_all_but: 1}}",
            "process[0].redact: `with` and `mask_all_but` say two",
        ),
        ("{redact: {presets: cards}}", "\"cards\" is not known here; did you mean `card`?"),
        ("{sample: {percent: 101}}", "process[0].sample.percent: `101` is out of range"),
        ("{truncate: {fields: a}}", "process[0].truncate.max_size: is missing; say how much stays"),
    ] {
        let told_at = messages(&steps_of(&format!("  - {step}\n"))).join("\n");
        assert!(told_at.starts_with("6:") && told_at.contains(told), "{step}: {told_at}");
    }
}

#[test]
fn a_name_that_is_the_records_own_is_warned_of() {
    let warned = |step: &str, record: &str| {
        let text = format!("record: {record}\n{}", steps_of(&format!("  - {step}\n")));
        let loaded = read(&text).unwrap_or_else(|errors| panic!("{errors:?}"));
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let expected = "k.yaml:7:5: routes[0].process[0]: sets \"host\", but \"host\" is what the record says of itself: a \
        field of that name is sent as \"log_host\" unless a later step takes it away; use another name, or give the \
        record's own another one under `record: {names: …}`";
    assert_eq!(warned("{add: {host: x, tier: 1}}", "{}"), [expected]);
    assert!(warned("{rename: {a: kubernetes.b}}", "{}")[0].contains(r#"sent as "log_kubernetes""#));
    assert_eq!(warned("{parse: {json: {under: time}}}", "{}").len(), 1);
    for (step, record) in [
        ("{add: {hostname: x}}", "{}"),
        ("{remove: host}", "{}"),
        ("{add: {host: x}}", "{names: {host: node}}"),
        ("{add: {host: x}}", "{names: {host: off}}"),
        ("{add: {host: x}}", "{preset: raw}"),
    ] {
        assert_eq!(warned(step, record), [""; 0], "{step} {record}");
    }
    assert_eq!(warned("{add: {node: x}}", "{names: {host: node}}").len(), 1);
}
