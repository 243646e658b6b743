//! Messages wrapped, as consumers of the Kinesis Agent know them.

use std::borrow::Cow;

use super::chain::Processed;
use super::{Context, json, reach};
use crate::event::{Fields, LOG, Value};

/// What the wrapped message stands under.
const DATA: &str = "data";
/// What is known of it stands under.
const METADATA: &str = "metadata";
/// Its time stands under.
const TIME: &str = "ts";

/// Wraps the message: fixed values under `metadata`, the message itself as a text under `data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddMetadata {
    /// The JSON text of the object under `metadata`.
    metadata: String,
    /// Whether the record's time stands beside it, under `ts`.
    timestamp: bool,
}

impl AddMetadata {
    /// With these values.
    pub fn new(metadata: serde_json::Map<String, serde_json::Value>, timestamp: bool) -> Self {
        Self { metadata: serde_json::Value::Object(metadata).to_string(), timestamp }
    }

    pub(super) fn apply<'a>(&'a self, made: &mut Processed<'a>, context: &Context<'_>) {
        let fields = &mut made.fields;
        let is_text = fields.len() == 1 && matches!(fields.get(LOG), Some(Value::Text(_)));
        let text = match is_text.then(|| fields.remove(LOG)).flatten() {
            Some(Value::Text(text)) => text,
            _ => {
                let text = Cow::Owned(json::write_fields(fields));
                fields.take_all();
                text
            }
        };
        fields.set(METADATA, Value::Raw(Cow::Borrowed(&self.metadata)));
        fields.set(DATA, Value::Text(text));
        if self.timestamp {
            let time = made.time.as_deref().or(context.message.time).unwrap_or(context.time_read);
            let time = Value::Text(Cow::Owned(time.as_bytes().to_owned()));
            fields.set(TIME, time);
        }
    }
}

/// Puts the text into braces. Returns `false` if there is none.
pub(super) fn add_brackets(fields: &mut Fields<'_>) -> bool {
    let Some(text) = reach::text(fields, LOG) else { return false };
    let mut wrapped = Vec::with_capacity(text.len() + 2);
    wrapped.push(b'{');
    wrapped.extend_from_slice(&text);
    wrapped.push(b'}');
    fields.set(LOG, Value::Text(Cow::Owned(wrapped)));
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::Message;
    use crate::process::{Action, Chain, Parse, Parser, Step, TimeFormat, testing};
    use crate::source::Stream;

    fn made(steps: Vec<Action>, message: &Message<'_>) -> String {
        let chain = Chain::new(steps.into_iter().map(Step::from).collect());
        let made = chain.run(&testing::context(message), Fields::default());
        testing::text(&made.fields)
    }

    fn message(body: &[u8]) -> Message<'_> {
        Message { start: 0, stream: Stream::Plain, time: None, body, cut: false }
    }

    fn wrap(timestamp: bool) -> Action {
        let metadata = json!({"team": "pay", "at": {"zones": [1, 2]}});
        Action::AddMetadata(AddMetadata::new(metadata.as_object().unwrap().clone(), timestamp))
    }

    #[test]
    fn a_message_is_wrapped_beside_what_is_known_of_it() {
        assert_eq!(
            made(vec![wrap(false)], &message(b"a \"b\"")),
            r#"{"metadata":{"team":"pay","at":{"zones":[1,2]}},"data":"a \"b\""}"#
        );
    }

    #[test]
    fn what_was_parsed_is_wrapped_as_the_json_that_it_is() {
        let parsed = vec![Action::Parse(Parse::with(Parser::Logfmt)), wrap(false)];
        assert_eq!(
            made(parsed.clone(), &message(b"a=1 b=\"x y\"")),
            r#"{"metadata":{"team":"pay","at":{"zones":[1,2]}},"data":"{\"a\":\"1\",\"b\":\"x y\"}"}"#
        );
        let unparsed = made(parsed, &message(b"a=\"1"));
        assert!(unparsed.ends_with(r#""data":"a=\"1"}"#), "a text that is no logfmt stays one: {unparsed}");
        let beside = vec![Action::Add(vec![("b".into(), json!(2))]), wrap(false)];
        let beside = made(beside, &message(b"x"));
        assert!(beside.ends_with(r#""data":"{\"log\":\"x\",\"b\":2}"}"#), "{beside}");
    }

    #[test]
    fn the_time_is_that_of_the_record() {
        let own = Message { time: Some("2026-05-06T07:08:09Z"), ..message(b"x") };
        assert!(made(vec![wrap(true)], &own).ends_with(r#""data":"x","ts":"2026-05-06T07:08:09Z"}"#));
        assert!(
            made(vec![wrap(true)], &message(b"x")).ends_with(r#""data":"x","ts":"2026-01-02T03:04:05Z"}"#)
        );
        let time = crate::process::SetTime {
            field: "at".into(),
            format: TimeFormat::new(&[], None).unwrap(),
            keep: false,
        };
        let steps = vec![Action::Parse(Parse::with(Parser::Json)), Action::Time(time), wrap(true)];
        let text = made(steps, &message(br#"{"at":"2026-02-03T04:05:06Z","m":1}"#));
        assert!(text.ends_with(r#""data":"{\"m\":1}","ts":"2026-02-03T04:05:06Z"}"#), "{text}");
    }

    #[test]
    fn brackets_make_an_object_of_what_is_in_one() {
        assert_eq!(made(vec![Action::AddBrackets], &message(b"\"a\":1")), r#"{"log":"{\"a\":1}"}"#);
        let parsed = vec![Action::AddBrackets, Action::Parse(Parse::with(Parser::Json))];
        assert_eq!(made(parsed, &message(b"\"a\":1")), r#"{"a":1}"#);
        let without_text = vec![Action::Remove(vec!["log".into()]), Action::AddBrackets];
        assert_eq!(made(without_text, &message(b"x")), "{}");
    }

    #[test]
    fn bytes_that_are_not_utf8_come_through_the_wrapping() {
        let body = b"{\"a\":\"\xff\"}";
        let chain = Chain::new(vec![wrap(false).into()]);
        let message = message(body);
        let context = testing::context(&message);
        let made = chain.run(&context, Fields::default());
        assert_eq!(made.fields.get("data"), Some(&Value::text(body)));
        let chain = Chain::new(vec![Action::Parse(Parse::with(Parser::Logfmt)).into(), wrap(false).into()]);
        let message = self::message(b"a=\xff\"\n");
        let made = chain.run(&testing::context(&message), Fields::default());
        assert_eq!(made.fields.get("data"), Some(&Value::text(b"{\"a\":\"\xff\\\"\"}")));
    }
}
