//! A route's steps, compiled.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ParseJson, Step, json, reach};
use crate::event::{Fields, LOG, Message, Value};

/// What a parsed field `log` is called where the text of the message keeps that name.
const PARSED_LOG: &str = "log_log";

/// A route's steps, in order. Shared by all files of the route.
#[derive(Debug, Default)]
pub struct Chain {
    steps: Vec<Compiled>,
}

/// How often a step failed and left the fields as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// The step's place in the list, from 0.
    pub step: usize,
    /// What it is called in the configuration.
    pub name: &'static str,
    /// How often it failed.
    pub count: u64,
}

#[derive(Debug)]
struct Compiled {
    name: &'static str,
    action: Action,
    failures: AtomicU64,
}

#[derive(Debug)]
enum Action {
    ParseJson(ParseJson),
    /// Names and the JSON text of their values.
    Add(Vec<(String, String)>),
    Remove(Vec<String>),
    Rename(Vec<(String, String)>),
    #[cfg(test)]
    PanicOver(String),
}

impl Chain {
    /// Compiles the steps of a route.
    pub fn new(steps: Vec<Step>) -> Self {
        let compile = |step: Step| Compiled {
            name: step.name(),
            action: match step {
                Step::ParseJson(parse) => Action::ParseJson(parse),
                Step::Add(fields) => {
                    let json = |(name, value): (String, serde_json::Value)| (name, value.to_string());
                    Action::Add(fields.into_iter().map(json).collect())
                }
                Step::Remove(names) => Action::Remove(names),
                Step::Rename(names) => Action::Rename(names.into_iter().collect()),
                #[cfg(test)]
                Step::PanicOver(text) => Action::PanicOver(text),
            },
            failures: AtomicU64::new(0),
        };
        Self { steps: steps.into_iter().map(compile).collect() }
    }

    /// There is nothing to do: messages can be encoded as they are.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Makes the fields of a message, in the room of `spare`: fields that are no longer needed, or
    /// [`Fields::default`].
    pub fn run<'a>(&'a self, message: &Message<'a>, spare: Fields<'_>) -> Fields<'a> {
        let mut fields = spare.refill(message);
        for step in &self.steps {
            if !step.action.apply(&mut fields) {
                step.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        fields
    }

    /// The steps that failed since this was last called.
    pub fn take_failures(&self) -> Vec<Failures> {
        let failures = |(step, compiled): (usize, &Compiled)| Failures {
            step,
            name: compiled.name,
            count: compiled.failures.swap(0, Ordering::Relaxed),
        };
        let all = self.steps.iter().enumerate().map(failures);
        all.filter(|failures| failures.count > 0).collect()
    }
}

impl Action {
    /// Returns `false` if it could not be done, or not all of it; what was not done has changed nothing.
    fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> bool {
        match self {
            Action::ParseJson(parse) => match &parse.under {
                None => merge(fields, parse.keep_original),
                Some(under) => put_under(fields, under, parse.keep_original),
            },
            Action::Add(added) => {
                let add = |done, (name, json): &'a (String, String)| {
                    reach::set(fields, name, Value::Raw(Cow::Borrowed(json))).is_ok() && done
                };
                added.iter().fold(true, add)
            }
            Action::Remove(names) => {
                for name in names {
                    reach::take(fields, name);
                }
                true
            }
            Action::Rename(names) => rename(fields, names),
            #[cfg(test)]
            Action::PanicOver(poison) => {
                let text = log_text(fields).unwrap_or_default();
                assert!(!text.contains(poison.as_str()), "over {text}");
                true
            }
        }
    }
}

/// Puts the fields of the object that the message is in place of its text.
fn merge(fields: &mut Fields<'_>, keep_original: bool) -> bool {
    let Some(text) = log_text(fields) else {
        return false;
    };
    let replaced = (!keep_original).then_some(LOG);
    fields.append_with(replaced, |into| {
        let first = into.len();
        let is_object = json::read_fields(&text, into);
        if keep_original {
            for field in into[first..].iter_mut().filter(|field| field.name == LOG) {
                field.name = Cow::Borrowed(PARSED_LOG);
            }
        }
        is_object
    })
}

/// Puts the object that the message is under a field.
fn put_under<'a>(fields: &mut Fields<'a>, under: &'a str, keep_original: bool) -> bool {
    let object = log_text(fields).and_then(|text| match text {
        Cow::Borrowed(text) => json::object_text(text).map(Cow::Borrowed),
        Cow::Owned(text) => json::object_text(&text).map(|text| Cow::Owned(text.to_owned())),
    });
    let Some(object) = object else {
        return false;
    };
    // Taken away first, so that `under` may be, or lie in, a new field of the same name.
    let original = if keep_original { None } else { fields.remove(LOG) };
    let done = reach::set(fields, under, Value::Raw(object)).is_ok();
    if let (false, Some(original)) = (done, original) {
        fields.set(LOG, original);
    }
    done
}

/// The text of the message, if it is text and UTF-8.
fn log_text<'a>(fields: &Fields<'a>) -> Option<Cow<'a, str>> {
    match fields.get(LOG)? {
        Value::Text(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        // A string in JSON, such as an earlier step parsed.
        Value::Raw(text) => serde_json::from_str(text).ok().map(Cow::Owned),
        Value::Object(_) => None,
    }
}

fn rename<'a>(fields: &mut Fields<'a>, names: &'a [(String, String)]) -> bool {
    let mut taken = Vec::new();
    for (from, to) in names {
        if let Some(value) = reach::take(fields, from) {
            taken.push((from, to, value));
        }
    }
    let mut done = true;
    for (from, to, value) in taken {
        if let Err(value) = reach::set(fields, to, value) {
            done = false;
            if let Err(value) = reach::set(fields, from, value) {
                // Another field was renamed into the place that it was taken from.
                fields.set(from, value);
            }
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::source::Stream;

    fn parse(under: Option<&str>, keep_original: bool) -> Step {
        Step::ParseJson(ParseJson { under: under.map(str::to_owned), keep_original })
    }

    fn rename(names: &[(&str, &str)]) -> Step {
        Step::Rename(names.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect())
    }

    fn remove(names: &[&str]) -> Step {
        Step::Remove(names.iter().map(|name| name.to_string()).collect())
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
        let made = text(&chain.run(&message, Fields::default()));
        let failures = chain.take_failures();
        assert_eq!(chain.take_failures(), []);
        (made, failures.iter().map(|failure| (failure.step, failure.count)).collect())
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
                let steps = vec![Step::Add(vec![("k".into(), json!(true))]), parse(under, false)];
                let expected = format!("{{log=<{}> k=true}}", String::from_utf8_lossy(body));
                assert_eq!(run(steps, body), (expected, vec![(1, 1)]));
            }
        }
        let in_the_way = vec![Step::Add(vec![("x".into(), json!(1))]), parse(Some("x.y"), false)];
        assert_eq!(run(in_the_way, b"{}"), ("{x=1 log=<{}>}".into(), vec![(1, 1)]));
    }

    #[test]
    fn fields_are_added_also_inside_of_objects() {
        let add = |name: &str, value| Step::Add(vec![(name.into(), value)]);
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
            let fields = chain.run(&message, spare);
            assert_eq!(fields.len(), 1);
            spare = fields.recycle();
        }
    }
}
