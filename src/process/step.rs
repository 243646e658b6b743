//! The steps that a user can write under `process`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::chain::Processed;
use super::{
    AddMetadata, Condition, Context, Ec2Metadata, Flatten, Keys, Level, Nest, Parse, Redact, Sample,
    TimeFormat, Truncate, reach,
};
use crate::event::{Fields, LOG, Value};

/// One step; a route has a list of them, done in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// It is done only with messages of which this holds.
    pub when: Option<Condition>,
    /// What becomes of a message on which it cannot be done.
    pub on_error: OnError,
    /// The field that then tells the name of the step, where the message is kept.
    pub error_field: Option<String>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `parse: …`
    Parse(Parse),
    /// `time: …`
    Time(SetTime),
    /// `single_line: …`
    SingleLine(SingleLine),
    /// `add: {name: value, …}`: sets fields; values are strings, numbers, booleans or null.
    Add(Vec<(String, serde_json::Value)>),
    /// `add_metadata: …`
    AddMetadata(AddMetadata),
    /// `ec2_metadata: …`
    Ec2Metadata(Ec2Metadata),
    /// `add_brackets: {}`: puts the text into braces.
    AddBrackets,
    /// `remove: [name, …]`; a name with dots reaches into objects.
    Remove(Vec<String>),
    /// `rename: {from: to, …}`. All are taken away under their old names before any is set under its new one,
    /// so the order does not matter and names can be swapped.
    Rename(BTreeMap<String, String>),
    /// `flatten: …`
    Flatten(Flatten),
    /// `nest: …`
    Nest(Nest),
    /// `keys: …`
    Keys(Keys),
    /// `redact: …`
    Redact(Redact),
    /// `truncate: …`
    Truncate(Truncate),
    /// `level: …`
    Level(Level),
    /// `drop: …`: drops messages of which this holds.
    Drop(Condition),
    /// `keep: …`: drops messages of which this does not hold.
    Keep(Condition),
    /// `sample: …`
    Sample(Sample),
    /// Panics over texts that hold this: a defect that only tests have.
    #[cfg(test)]
    PanicOver(String),
}

/// Makes one line of a message of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleLine {
    /// Takes white space off both ends of every line.
    pub trim: bool,
    /// What stands between two lines then; `\\n`, a backslash and an n, tells where they ended.
    pub join: String,
}

impl SingleLine {
    pub(super) fn apply(&self, fields: &mut Fields<'_>) -> bool {
        let Some(text) = reach::text(fields, LOG) else { return false };
        let lines = text.split(|byte| *byte == b'\n').map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if self.trim { line.trim_ascii() } else { line }
        });
        let mut joined = Vec::with_capacity(text.len());
        for (index, line) in lines.enumerate() {
            if index > 0 {
                joined.extend_from_slice(self.join.as_bytes());
            }
            joined.extend_from_slice(line);
        }
        if joined != *text {
            fields.set(LOG, Value::Text(Cow::Owned(joined)));
        }
        true
    }
}

/// What becomes of a message on which a step cannot be done. It is counted in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It stays as it was before the step, and goes on.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
    /// Its text becomes a dead letter.
    DeadLetter,
}

/// Makes the time in a field the record's own.
#[derive(Clone, Debug, PartialEq)]
pub struct SetTime {
    /// The field.
    pub field: String,
    /// How the time is written there.
    pub format: TimeFormat,
    /// Keeps the field.
    pub keep: bool,
}

impl SetTime {
    pub(super) fn apply(&self, made: &mut Processed<'_>, context: &Context<'_>) -> bool {
        let time = reach::get(&made.fields, &self.field).and_then(|value| {
            let text = reach::plain(&value)?;
            self.format.read(std::str::from_utf8(&text).ok()?, || context.near())
        });
        let Some(time) = time else { return false };
        made.time = Some(time.to_string());
        if !self.keep {
            reach::take(&mut made.fields, &self.field);
        }
        true
    }
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self { action, when: None, on_error: OnError::default(), error_field: None }
    }
}

impl Step {
    /// What the step is called in the configuration, and where it is counted.
    pub fn name(&self) -> &'static str {
        match &self.action {
            Action::Parse(parse) => parse.parser.step_name(),
            Action::Time(_) => "time",
            Action::SingleLine(_) => "single_line",
            Action::Add(_) => "add",
            Action::AddMetadata(_) => "add_metadata",
            Action::Ec2Metadata(_) => "ec2_metadata",
            Action::AddBrackets => "add_brackets",
            Action::Remove(_) => "remove",
            Action::Rename(_) => "rename",
            Action::Flatten(_) => "flatten",
            Action::Nest(_) => "nest",
            Action::Keys(_) => "keys",
            Action::Redact(_) => "redact",
            Action::Truncate(_) => "truncate",
            Action::Level(_) => "level",
            Action::Drop(_) => "drop",
            Action::Keep(_) => "keep",
            Action::Sample(_) => "sample",
            #[cfg(test)]
            Action::PanicOver(_) => "panic",
        }
    }

    /// The names this step is told to set that belong to the record itself, as `is_own` tells, or lie inside of such
    /// a field. No step can set these: what is left under them is kept under another name.
    pub fn own_names(&self, is_own: impl Fn(&str) -> bool) -> Vec<&str> {
        let mut names: Vec<&str> = match &self.action {
            Action::Parse(parse) => parse.under.as_deref().into_iter().collect(),
            Action::Add(fields) => fields.iter().map(|(name, _)| &**name).collect(),
            Action::Rename(names) => names.values().map(|to| &**to).collect(),
            Action::Nest(nest) => vec![&nest.under],
            Action::Level(level) => vec![&level.to],
            Action::Ec2Metadata(metadata) => metadata.under.as_deref().into_iter().collect(),
            _ => Vec::new(),
        };
        names.extend(self.error_field.as_deref());
        names.retain(|name| name.split('.').next().is_some_and(&is_own));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::is_own_field;
    use crate::process::Parser;

    fn own_names(action: Action) -> Vec<String> {
        Step::from(action).own_names(is_own_field).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_step_tells_which_of_its_names_are_the_records_own() {
        let add = |name: &str| Action::Add(vec![(name.into(), "x".into())]);
        assert_eq!(own_names(add("cluster")), [""; 0]);
        assert_eq!(own_names(add("host")), ["host"]);
        assert_eq!(own_names(add("kubernetes.cluster")), ["kubernetes.cluster"]);
        assert_eq!(own_names(add("hostname")), [""; 0]);
        let rename = Action::Rename([("time".into(), "at".into()), ("id".into(), "record_id".into())].into());
        assert_eq!(own_names(rename), ["record_id"]);
        assert_eq!(own_names(Action::Remove(vec!["host".into()])), [""; 0]);
        let under = Parse { under: Some("stream".into()), ..Parse::with(Parser::Json) };
        assert_eq!(own_names(Action::Parse(under)), ["stream"]);
        let marked = Step { error_field: Some("time".into()), ..Action::Remove(Vec::new()).into() };
        assert_eq!(marked.own_names(is_own_field), ["time"]);
    }
}
