//! What steps make of messages.

use serde_json::json;

use super::*;
use crate::event::Message;
use crate::process::{Parse, Parser, SetTime, SingleLine, testing};
use crate::source::Stream;

fn parse(under: Option<&str>, keep_original: bool) -> Step {
    let parse = Parse { under: under.map(str::to_owned), keep_original, ..Parse::with(Parser::Json) };
    Action::Parse(parse).into()
}

fn rename(names: &[(&str, &str)]) -> Step {
    Action::Rename(names.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect()).into()
}

fn remove(names: &[&str]) -> Step {
    Action::Remove(names.iter().map(|name| name.to_string()).collect()).into()
}

fn add(name: &str, value: serde_json::Value) -> Step {
    Action::Add(vec![(name.into(), value)]).into()
}

fn text(fields: &Fields<'_>) -> String {
    let member = |field: &crate::event::Field<'_>| {
        let value = match &field.value {
            Value::Text(text) => format!("<{}>", String::from_utf8_lossy(text)),
            Value::Raw(text) => text.to_string(),
            Value::Object(fields) => text(fields),
        };
        format!("{}={value}", field.name)
    };
    format!("{{{}}}", fields.iter().map(member).collect::<Vec<_>>().join(" "))
}

/// What the steps make of a message, and how often each failed.
fn run(steps: Vec<Step>, body: &[u8]) -> (String, Vec<(usize, u64)>) {
    let chain = Chain::new(steps);
    let message = Message { start: 0, stream: Stream::Plain, time: None, body, cut: false };
    let made = text(&chain.run(&testing::context(&message), Fields::default()).fields);
    let failures = chain.take_counts();
    assert_eq!(chain.take_counts(), []);
    (made, failures.iter().map(|failure| (failure.step, failure.failed)).collect())
}

fn made(steps: Vec<Step>, body: &str) -> String {
    let (made, failures) = run(steps, body.as_bytes());
    assert_eq!(failures, []);
    made
}

#[test]
fn a_parsed_object_takes_the_place_of_the_text() {
    let body = r#"{"a": 1, "b":{"c": [1.0]},"a":2}"#;
    assert_eq!(made(vec![parse(None, false)], body), r#"{b={"c": [1.0]} a=2}"#);
    assert_eq!(made(vec![parse(None, true)], r#"{"a":1}"#), r#"{log=<{"a":1}> a=1}"#);
    assert_eq!(made(vec![parse(Some("app"), false)], r#" {"a":1} "#), r#"{app={"a":1}}"#);
    assert_eq!(made(vec![parse(Some("x.y"), true)], r#"{"a":1}"#), r#"{log=<{"a":1}> x={y={"a":1}}}"#);
    assert_eq!(made(vec![parse(Some("log"), false)], r#"{"a":1}"#), r#"{log={"a":1}}"#);
}

#[test]
fn a_parsed_field_log_is_the_log_unless_the_text_stays() {
    let body = r#"{"log":"inner"}"#;
    assert_eq!(made(vec![parse(None, false)], body), r#"{log="inner"}"#);
    assert_eq!(made(vec![parse(None, true)], body), r#"{log=<{"log":"inner"}> log_log="inner"}"#);
}

#[test]
fn json_within_json_is_parsed_by_a_second_step() {
    let body = json!({"log": r#"{"a":"x\ny"}"#, "b": 1}).to_string();
    let steps = || vec![parse(None, false), parse(None, false)];
    assert_eq!(made(steps(), &body), r#"{b=1 a="x\ny"}"#);
    let under = vec![parse(None, false), parse(Some("inner"), false)];
    assert_eq!(made(under, &body), r#"{b=1 inner={"a":"x\ny"}}"#);
}

#[test]
fn a_message_that_does_not_parse_stays_as_it_was_and_is_counted() {
    for body in [&b"text"[..], b"", b"[1]", b"{\"a\":1", b"{\"a\":\"\xff\"}", b"{\"a\":1} x"] {
        for under in [None, Some("x")] {
            let steps = vec![add("k", json!(true)), parse(under, false)];
            let expected = format!("{{log=<{}> k=true}}", String::from_utf8_lossy(body));
            assert_eq!(run(steps, body), (expected, vec![(1, 1)]));
        }
    }
    let in_the_way = vec![add("x", json!(1)), parse(Some("x.y"), false)];
    assert_eq!(run(in_the_way, b"{}"), ("{x=1 log=<{}>}".into(), vec![(1, 1)]));
}

#[test]
fn fields_are_added_also_inside_of_objects() {
    assert_eq!(made(vec![add("cluster", json!("p\"1"))], "x"), r#"{log=<x> cluster="p\"1"}"#);
    let body = r#"{"a":{"big":12345678901234567890123.0},"n":1}"#;
    let steps = vec![parse(None, false), add("a.b", json!(null)), add("new.deep", json!(2.5))];
    assert_eq!(made(steps, body), "{a={big=12345678901234567890123.0 b=null} n=1 new={deep=2.5}}");
    let (made, failures) = run(vec![parse(None, false), add("n.x", json!(1))], body.as_bytes());
    assert_eq!(made, r#"{a={"big":12345678901234567890123.0} n=1}"#);
    assert_eq!(failures, [(1, 1)]);
}

#[test]
fn fields_are_removed_also_from_objects() {
    let body = r#"{"a":{"b":1,"c":{"d":2,"e":3}},"x.y":4,"x":{"y":5}}"#;
    let steps = vec![parse(None, false), remove(&["a.c.d", "x.y", "missing", "a.b.none"])];
    assert_eq!(made(steps, body), r#"{a={b=1 c={e=3}} x={"y":5}}"#);
    assert_eq!(made(vec![remove(&["log"])], "x"), "{}");
}

#[test]
fn fields_are_renamed_onto_others_and_swapped() {
    let body = r#"{"a":1,"b":2,"c":{"d":3}}"#;
    let steps = |names| vec![parse(None, false), rename(names)];
    assert_eq!(made(steps(&[("a", "b")]), body), r#"{b=1 c={"d":3}}"#);
    assert_eq!(made(steps(&[("a", "b"), ("b", "a")]), body), r#"{c={"d":3} b=1 a=2}"#);
    assert_eq!(made(steps(&[("c.d", "d"), ("none", "x")]), body), "{a=1 b=2 c={} d=3}");
    assert_eq!(made(steps(&[("a", "c.a")]), body), "{b=2 c={d=3 a=1}}");
    assert_eq!(made(vec![rename(&[("log", "message")])], "x"), "{message=<x>}");
}

#[test]
fn a_rename_that_cannot_be_done_loses_nothing() {
    let body = r#"{"a":{"b":1},"c":2,"n":0}"#;
    let steps = |names| vec![parse(None, false), rename(names)];
    let (made, failures) = run(steps(&[("c", "n.x")]), body.as_bytes());
    assert_eq!((made.as_str(), failures), (r#"{a={"b":1} n=0 c=2}"#, vec![(1, 1)]));
    // `a.b` cannot become `t.x`, and cannot go back since `A` has become `a`.
    let body = br#"{"a":{"b":1},"A":2,"t":""}"#;
    let (made, failures) = run(steps(&[("a.b", "t.x"), ("A", "a")]), body);
    assert_eq!((made.as_str(), failures), (r#"{a=2 t="" a.b=1}"#, vec![(1, 1)]));
}

#[test]
fn fields_of_one_message_serve_as_room_for_the_next() {
    let chain = Chain::new(vec![parse(None, false)]);
    let mut spare = Fields::default();
    for body in [r#"{"a":1}"#, "text", r#"{"b":2}"#].map(str::to_owned) {
        let message =
            Message { start: 0, stream: Stream::Plain, time: None, body: body.as_bytes(), cut: false };
        let fields = chain.run(&testing::context(&message), spare).fields;
        assert_eq!(fields.len(), 1);
        spare = fields.recycle();
    }
}

fn step(action: Action, on_error: OnError, error_field: Option<&str>) -> Step {
    Step { on_error, error_field: error_field.map(str::to_owned), ..action.into() }
}

fn processed(steps: Vec<Step>, body: &str) -> (Fate, Option<String>, String, Vec<StepCounts>) {
    let chain = Chain::new(steps);
    let message = Message { start: 0, stream: Stream::Plain, time: None, body: body.as_bytes(), cut: false };
    let made = chain.run(&testing::context(&message), Fields::default());
    let counts = chain.take_counts();
    (made.fate, made.time, text(&made.fields), counts)
}

#[test]
fn what_becomes_of_a_message_on_which_a_step_fails_is_said_by_the_step() {
    let json = || Action::Parse(Parse::with(Parser::Json));
    let counts = |dropped| StepCounts { step: 0, name: "parse: json", failed: 1, dropped, redacted: 0 };
    let run = |on_error, field| processed(vec![step(json(), on_error, field), add("later", json!(1))], "x");
    let kept = run(OnError::Keep, Some("parse_error"));
    let marked = "{log=<x> parse_error=<parse: json> later=1}".to_owned();
    assert_eq!(kept, (Fate::Send, None, marked, vec![counts(0)]));
    let dropped = run(OnError::Drop, None);
    assert_eq!((dropped.0, dropped.3), (Fate::Drop, vec![counts(1)]));
    let dead = run(OnError::DeadLetter, None);
    let failed = Failed { step: 0, name: "parse: json" };
    assert_eq!((dead.0, dead.2.as_str(), dead.3), (Fate::DeadLetter(failed), "{log=<x>}", vec![counts(0)]));
    let fine = processed(vec![step(json(), OnError::Drop, None)], "{}");
    assert_eq!((fine.0, fine.3), (Fate::Send, vec![]));
}

#[test]
fn a_field_tells_the_records_time() {
    let time = |keep| {
        let format = crate::process::TimeFormat::new(&[], None).unwrap();
        Action::Time(SetTime { field: "at".into(), format, keep }).into()
    };
    let body = r#"{"at":"2026-01-01 10:00:00+01:00","x":1}"#;
    let (_, at, fields, _) = processed(vec![parse(None, false), time(false)], body);
    assert_eq!((at.as_deref(), fields.as_str()), (Some("2026-01-01T09:00:00Z"), "{x=1}"));
    let (_, at, fields, _) = processed(vec![parse(None, false), time(true)], r#"{"at":1760000000.5}"#);
    assert_eq!((at.as_deref(), fields.as_str()), (Some("2025-10-09T08:53:20.5Z"), "{at=1760000000.5}"));
    let (_, at, fields, counts) = processed(vec![parse(None, false), time(false)], r#"{"at":"soon"}"#);
    assert_eq!((at, fields.as_str(), counts[0].failed), (None, r#"{at="soon"}"#, 1));
}

#[test]
fn several_lines_become_one() {
    let single = |trim, join: &str| vec![Action::SingleLine(SingleLine { trim, join: join.into() }).into()];
    let body = "  first\r\n\tsecond  \n\nthird";
    assert_eq!(made(single(true, ""), body), "{log=<firstsecondthird>}");
    assert_eq!(made(single(true, " | "), body), "{log=<first | second |  | third>}");
    assert_eq!(made(single(false, "\\n"), body), "{log=<  first\\n\tsecond  \\n\\nthird>}");
    assert_eq!(made(single(true, ""), "one"), "{log=<one>}");
}

#[test]
fn a_step_is_done_only_when_its_condition_holds() {
    let level = |level: &str| crate::process::Condition::Field {
        name: "level".into(),
        test: crate::process::Test::OneOf(vec![json!(level)]),
    };
    let steps = |when| {
        let marked = Step { when: Some(when), ..add("alert", json!(true)) };
        vec![parse(None, false), marked]
    };
    let body = r#"{"level":"error"}"#;
    assert_eq!(made(steps(level("error")), body), r#"{level="error" alert=true}"#);
    assert_eq!(made(steps(level("info")), body), r#"{level="error"}"#);
    for (action, fate) in [
        (Action::Drop(level("error")), Fate::Drop),
        (Action::Drop(level("info")), Fate::Send),
        (Action::Keep(level("error")), Fate::Send),
        (Action::Keep(level("info")), Fate::Drop),
    ] {
        let dropped = u64::from(fate == Fate::Drop);
        let (was, _, _, counts) = processed(vec![parse(None, false), action.clone().into()], body);
        assert_eq!(was, fate, "{action:?}");
        assert_eq!(counts.iter().map(|counts| counts.dropped).sum::<u64>(), dropped);
        assert!(counts.iter().all(|counts| counts.failed == 0));
    }
}
