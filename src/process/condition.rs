//! Conditions on the fields of a message.

use std::borrow::Cow;

use super::{Context, Pattern, reach};
use crate::event::{Fields, Value};

/// What must hold of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Each of these.
    All(Vec<Condition>),
    /// At least one of these.
    Any(Vec<Condition>),
    /// Not this.
    Not(Box<Condition>),
    /// A test of a field. Of a field that does not exist nothing holds but that it does not exist.
    Field {
        /// Its name, dots reach into objects. `stream` is the record's own unless the message has such a field; names below
        /// `kubernetes.` are the record's own wherever a pod wrote the message.
        name: String,
        /// The test.
        test: Test,
    },
}

/// A test of a field's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is one of these. Numbers are compared as such, also where the field is a text.
    OneOf(Vec<serde_json::Value>),
    /// The pattern is found in its text.
    Matches(Pattern),
    /// It is there, whatever its value, or it is not.
    Exists(bool),
    /// It is a number within these bounds, or a text that is one.
    Number(Bounds),
}

/// Bounds of a number; those that are absent do not bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// It is greater than this.
    pub above: Option<f64>,
    /// It is this or greater.
    pub at_least: Option<f64>,
    /// It is less than this.
    pub below: Option<f64>,
    /// It is this or less.
    pub at_most: Option<f64>,
}

impl Condition {
    /// Whether it holds of these fields.
    pub fn holds(&self, fields: &Fields<'_>, context: &Context<'_>) -> bool {
        match self {
            Condition::All(conditions) => conditions.iter().all(|one| one.holds(fields, context)),
            Condition::Any(conditions) => conditions.iter().any(|one| one.holds(fields, context)),
            Condition::Not(condition) => !condition.holds(fields, context),
            Condition::Field { name, test } => match context.of_pod(name) {
                // What a message says of its pod is not asked.
                Some(known) => test.holds_of(known),
                None => test.holds_in(fields, name, context),
            },
        }
    }
}

impl Test {
    fn holds_of(&self, known: Option<&serde_json::Value>) -> bool {
        match known {
            Some(serde_json::Value::String(text)) => self.holds(&Value::text(text.as_bytes())),
            Some(other) => self.holds(&Value::Raw(other.to_string().into())),
            None => *self == Test::Exists(false),
        }
    }

    fn holds_in(&self, fields: &Fields<'_>, name: &str, context: &Context<'_>) -> bool {
        match reach::get(fields, name) {
            Some(value) => self.holds(&value),
            None => match context.message.stream.name().filter(|_| name == "stream") {
                Some(stream) => self.holds(&Value::text(stream.as_bytes())),
                None => *self == Test::Exists(false),
            },
        }
    }

    fn holds(&self, value: &Value<'_>) -> bool {
        if let Test::Exists(wanted) = self {
            return *wanted;
        }
        let Some(text) = reach::plain(value) else { return false };
        match self {
            Test::OneOf(wanted) => wanted.iter().any(|wanted| is_equal(wanted, &text)),
            Test::Matches(pattern) => pattern.is_match(&text),
            Test::Number(bounds) => number(&text).is_some_and(|number| bounds.hold(number)),
            Test::Exists(_) => false,
        }
    }
}

impl Bounds {
    fn hold(&self, number: f64) -> bool {
        self.above.is_none_or(|bound| number > bound)
            && self.at_least.is_none_or(|bound| number >= bound)
            && self.below.is_none_or(|bound| number < bound)
            && self.at_most.is_none_or(|bound| number <= bound)
    }
}

fn is_equal(wanted: &serde_json::Value, text: &[u8]) -> bool {
    match wanted {
        serde_json::Value::String(wanted) => wanted.as_bytes() == text,
        serde_json::Value::Number(wanted) => {
            wanted.as_f64().is_some_and(|wanted| number(text) == Some(wanted))
        }
        other => other.to_string().as_bytes() == text,
    }
}

fn number(text: &[u8]) -> Option<f64> {
    let text: Cow<'_, str> = String::from_utf8_lossy(text);
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Message;
    use crate::process::testing;
    use crate::source::Stream;

    fn field(name: &str, test: Test) -> Condition {
        Condition::Field { name: name.into(), test }
    }

    fn one_of(name: &str, values: &[serde_json::Value]) -> Condition {
        field(name, Test::OneOf(values.to_vec()))
    }

    fn holds(condition: &Condition) -> bool {
        let message = Message { start: 0, stream: Stream::Stderr, time: None, body: b"text", cut: false };
        let mut fields = Fields::of(&message);
        for (name, json) in [
            ("level", "\"error\""),
            ("status", "503"),
            ("ok", "true"),
            ("none", "null"),
            ("http", r#"{"path":"/health","took":1.5}"#),
        ] {
            fields.set(name, Value::Raw(json.into()));
        }
        fields.set("bytes", Value::text(b"0512"));
        condition.holds(&fields, &testing::context(&message))
    }

    #[test]
    fn fields_are_held_against_values() {
        for (name, value, expected) in [
            ("level", json!("error"), true),
            ("level", json!("Error"), false),
            ("status", json!(503), true),
            ("status", json!("503"), true),
            ("bytes", json!(512), true),
            ("bytes", json!("512"), false),
            ("ok", json!(true), true),
            ("ok", json!(false), false),
            ("http.path", json!("/health"), true),
            ("http", json!("/health"), false),
            ("missing", json!("x"), false),
            ("none", json!("x"), false),
            ("stream", json!("stderr"), true),
            ("log", json!("text"), true),
        ] {
            assert_eq!(holds(&one_of(name, std::slice::from_ref(&value))), expected, "{name} {value}");
        }
        assert!(holds(&one_of("level", &[json!("fatal"), json!("error")])));
    }

    #[test]
    fn patterns_numbers_and_existence() {
        let matches = |name, pattern| field(name, Test::Matches(Pattern::new(pattern).unwrap()));
        assert!(holds(&matches("http.path", "^/he")) && !holds(&matches("http.path", "^/x")));
        assert!(holds(&matches("status", "^5..$")));
        let number = |name, bounds| holds(&field(name, Test::Number(bounds)));
        let none = Bounds::default();
        assert!(number("status", Bounds { at_least: Some(503.0), at_most: Some(503.0), ..none }));
        assert!(!number("status", Bounds { above: Some(503.0), ..none }));
        assert!(!number("status", Bounds { below: Some(503.0), ..none }));
        assert!(number("http.took", Bounds { above: Some(1.0), below: Some(2.0), ..none }));
        assert!(number("bytes", Bounds { at_least: Some(500.0), ..none }));
        assert!(!number("level", none) && !number("missing", none));
        for (name, there) in [("none", true), ("http.took", true), ("http.x", false), ("stream", true)] {
            assert_eq!(holds(&field(name, Test::Exists(true))), there, "{name}");
            assert_eq!(holds(&field(name, Test::Exists(false))), !there, "{name}");
        }
    }

    #[test]
    fn conditions_are_joined() {
        let (yes, no) = (one_of("ok", &[json!(true)]), one_of("ok", &[json!(false)]));
        for (first, second, all, any) in
            [(&yes, &yes, true, true), (&yes, &no, false, true), (&no, &no, false, false)]
        {
            let both = vec![first.clone(), second.clone()];
            assert_eq!(holds(&Condition::All(both.clone())), all);
            assert_eq!(holds(&Condition::Any(both)), any);
        }
        assert!(holds(&Condition::Not(Box::new(no))) && !holds(&Condition::Not(Box::new(yes))));
    }
}
