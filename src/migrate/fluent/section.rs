//! Sections of a source, whichever form it was written in.

use serde_json::Value;

use super::tags::{Tags, Takes, takes};
use crate::migrate::draft::{Taken, text_of};
use crate::migrate::keys::Table;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Input,
    Filter,
    Output,
    Parser,
    MultilineParser,
    Other,
}

impl Kind {
    pub(super) fn named(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "SERVICE" => Kind::Service,
            "INPUT" => Kind::Input,
            "FILTER" => Kind::Filter,
            "OUTPUT" => Kind::Output,
            "PARSER" => Kind::Parser,
            "MULTILINE_PARSER" => Kind::MultilineParser,
            _ => Kind::Other,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Service => "service",
            Kind::Input => "input",
            Kind::Filter => "filter",
            Kind::Output => "output",
            Kind::Parser => "parser",
            Kind::MultilineParser => "multiline parser",
            Kind::Other => "section",
        }
    }
}

/// A section: its keys in order, a key that is there several times included.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) kind: Kind,
    /// Where it begins: `fluent-bit.conf:12`.
    pub(super) place: String,
    /// What it was called.
    pub(super) title: String,
    pub(super) entries: Vec<(String, Value)>,
}

/// All sections of a configuration, included files too.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) sections: Vec<Section>,
}

impl Source {
    pub(super) fn of(&self, kind: Kind) -> impl Iterator<Item = &Section> {
        self.sections.iter().filter(move |section| section.kind == kind)
    }
}

impl Section {
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let mut found = self.entries.iter().filter(|(name, _)| name.eq_ignore_ascii_case(key));
        found.next_back().map(|(_, value)| text_of(value)).filter(|text| !text.is_empty())
    }

    pub(super) fn name(&self) -> String {
        self.get("name").unwrap_or_default()
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name)
    }

    /// Where it is, for comments: `fluent-bit.conf:12 [INPUT tail]`.
    pub(super) fn at(&self) -> String {
        match self.get("name") {
            Some(name) => format!("{} [{} {name}]", self.place, self.title),
            None => format!("{} [{}]", self.place, self.title),
        }
    }

    pub(super) fn taken(&self, table: &'static Table) -> Taken<'_> {
        let entries = self.entries.iter().map(|(key, value)| (key.as_str(), value.clone()));
        Taken::new(self.at(), table, entries)
    }

    /// Whether records with these tags reach this filter or output.
    pub(super) fn takes(&self, tags: &Tags) -> Takes {
        match (self.get("match"), self.get("match_regex")) {
            (Some(pattern), _) => takes(&pattern, tags),
            (None, Some(regex)) => tags.matched(&regex),
            (None, None) => Takes::None,
        }
    }
}
