//! The steps that a user can write under `process`.

use std::collections::BTreeMap;

use crate::event::is_own_field;

/// One step; a route has a list of them, done in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `parse: json`
    ParseJson(ParseJson),
    /// `add: {name: value, …}`: sets fields; values are strings, numbers, booleans or null.
    Add(Vec<(String, serde_json::Value)>),
    /// `remove: [name, …]`; a name with dots reaches into objects.
    Remove(Vec<String>),
    /// `rename: {from: to, …}`. All are taken away under their old names before any is set under its new one,
    /// so the order does not matter and names can be swapped.
    Rename(BTreeMap<String, String>),
    /// Panics over texts that hold this: a defect that only tests have.
    #[cfg(test)]
    PanicOver(String),
}

/// Parses the message as a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ParseJson {
    /// Puts the object under this field instead of merging it at the top.
    pub under: Option<String>,
    /// Keeps the text of the message beside the parsed fields. Where parsing fails it is always kept.
    pub keep_original: bool,
}

impl Step {
    /// What the step is called in the configuration, and where it is counted.
    pub fn name(&self) -> &'static str {
        match self {
            Step::ParseJson(_) => "parse: json",
            Step::Add(_) => "add",
            Step::Remove(_) => "remove",
            Step::Rename(_) => "rename",
            #[cfg(test)]
            Step::PanicOver(_) => "panic",
        }
    }

    /// The names this step is told to set that belong to the record itself, or lie inside of such a field. No
    /// step can set these, so a configuration that asks for it is in error.
    pub fn own_names(&self) -> Vec<&str> {
        let names: Vec<&str> = match self {
            Step::ParseJson(parse) => parse.under.as_deref().into_iter().collect(),
            Step::Add(fields) => fields.iter().map(|(name, _)| &**name).collect(),
            Step::Remove(_) => Vec::new(),
            Step::Rename(names) => names.values().map(|to| &**to).collect(),
            #[cfg(test)]
            Step::PanicOver(_) => Vec::new(),
        };
        let is_own = |name: &&str| name.split('.').next().is_some_and(is_own_field);
        names.into_iter().filter(is_own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_tells_which_of_its_names_are_the_records_own() {
        let add = |name: &str| Step::Add(vec![(name.into(), "x".into())]);
        assert_eq!(add("cluster").own_names(), [""; 0]);
        assert_eq!(add("host").own_names(), ["host"]);
        assert_eq!(add("kubernetes.cluster").own_names(), ["kubernetes.cluster"]);
        assert_eq!(add("hostname").own_names(), [""; 0]);
        let rename = Step::Rename([("time".into(), "at".into()), ("id".into(), "record_id".into())].into());
        assert_eq!(rename.own_names(), ["record_id"]);
        assert_eq!(Step::Remove(vec!["host".into()]).own_names(), [""; 0]);
        let under = ParseJson { under: Some("stream".into()), keep_original: false };
        assert_eq!(Step::ParseJson(under).own_names(), ["stream"]);
    }
}
