//! Texts that become numbers, booleans and times.

use std::borrow::Cow;

use super::context::Context;
use super::reach;
use super::time::TimeFormat;
use crate::event::{Field, Value};

/// What a text becomes.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A whole number of 64 bits.
    Int,
    /// A number; infinite ones are none.
    Float,
    /// `true`, `yes`, `on`, `1`, or the contrary, in whatever case.
    Bool,
    /// A text, also of what is a number in JSON.
    Text,
    /// A time, which is written as RFC 3339 in UTC.
    Time(TimeFormat),
}

/// Makes the fields of these names what they are told to be. What is empty or `-` becomes null. Returns
/// `false` if a text is not of its type.
pub(super) fn convert(types: &[(String, Type)], fields: &mut [Field<'_>], context: &Context<'_>) -> bool {
    types.iter().all(|(name, wanted)| {
        let Some(field) = fields.iter_mut().rev().find(|field| field.name == **name) else { return true };
        match converted(wanted, &field.value, context) {
            Some(value) => {
                field.value = value;
                true
            }
            None => false,
        }
    })
}

fn converted(wanted: &Type, value: &Value<'_>, context: &Context<'_>) -> Option<Value<'static>> {
    let text = reach::plain(value)?;
    let text = text.trim_ascii();
    if matches!(text, b"" | b"-") || *value == Value::NULL {
        return Some(Value::NULL);
    }
    if *wanted == Type::Text {
        return Some(Value::Text(Cow::Owned(text.to_owned())));
    }
    let text = std::str::from_utf8(text).ok()?;
    let json = match wanted {
        Type::Int => match text.parse::<i64>() {
            Ok(number) => number.to_string(),
            Err(_) => text.parse::<u64>().ok()?.to_string(),
        },
        Type::Float => serde_json::Number::from_f64(text.parse().ok()?)?.to_string(),
        Type::Bool => truth(text)?.to_string(),
        Type::Time(format) => format!("\"{}\"", format.read(text, || context.near())?),
        Type::Text => return None,
    };
    Some(Value::Raw(json.into()))
}

fn truth(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    match (is(["true", "yes", "on", "1"]), is(["false", "no", "off", "0"])) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}
