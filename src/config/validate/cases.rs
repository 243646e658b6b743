//! `tests`: paths and times that must be such, destinations and routes that must exist.

use std::path::PathBuf;
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Validator;
use super::routes::NEEDS_API;
use crate::config::cases::{Expectation, ExpectedRecord, Said, TestCase};
use crate::config::diagnostics::{Path, did_you_mean};
use crate::config::raw;
use crate::config::settings::RouteConfig;
use crate::source::{DestinationName, RouteName};

impl Validator<'_> {
    /// The tests that can be run. `routes` and `destinations` are those that exist, where that is known.
    pub(super) fn cases(
        &mut self,
        path: &Path,
        typed: &raw::Cases,
        routes: Option<&[RouteConfig]>,
        destinations: Option<&[&str]>,
        has_api: bool,
    ) -> Vec<TestCase> {
        let routes: Option<Vec<&str>> =
            routes.map(|routes| routes.iter().map(|route| route.name.as_str()).collect());
        typed
            .iter()
            .filter_map(|(index, case)| {
                self.case(&path.index(index), case, routes.as_deref(), destinations, has_api)
            })
            .collect()
    }

    fn case(
        &mut self,
        path: &Path,
        typed: &raw::Case,
        routes: Option<&[&str]>,
        destinations: Option<&[&str]>,
        has_api: bool,
    ) -> Option<TestCase> {
        let file = typed.path.as_ref().map(|file| file.0.as_str());
        if let Some(relative) = file.filter(|file| !file.starts_with('/')) {
            let message = format!("{relative:?} is not an absolute path; begin it with a /");
            self.error(&path.key("path"), message);
        }
        let read_at = typed.read_at.as_ref().and_then(|time| match time.0.parse::<Timestamp>() {
            Ok(time) => Some(SystemTime::from(time)),
            Err(_) => {
                let message = format!("{:?} is not a time; write it like 2026-11-21T10:00:00Z", time.0);
                self.error(&path.key("read_at"), message);
                None
            }
        });
        let route = typed.route.as_ref().map(|route| {
            let path = path.key("route");
            self.need_known(&path, "route", &route.0, routes);
            (RouteName::from(route.0.as_str()), self.said(&path))
        });
        let expect = path.key("expect");
        let expected = typed.expect.as_ref()?;
        let expected: Vec<_> = expected
            .iter()
            .map(|(index, expected)| {
                let path = expect.index(index);
                (self.expectation(&path, expected, destinations), self.said(&path))
            })
            .collect();
        let mut lines = Vec::new();
        for (_, text) in typed.lines.as_ref()?.iter() {
            lines.extend_from_slice(text.as_bytes());
            if !text.ends_with('\n') {
                lines.push(b'\n');
            }
        }
        if !typed.labels.0.is_empty() && !has_api {
            self.error(&path.key("labels"), NEEDS_API);
        }
        let labels =
            typed.labels.0.iter().filter_map(|(name, value)| Some((name.clone(), value.as_ref()?.0.clone())));
        Some(TestCase {
            said: self.said(path),
            name: typed.name.as_ref().map(|name| name.0.clone()),
            path: PathBuf::from(file?),
            labels: labels.collect(),
            lines,
            read_at,
            route,
            expect: expected,
            expect_said: self.said(&expect),
        })
    }

    fn expectation(
        &mut self,
        path: &Path,
        typed: &raw::Expected,
        destinations: Option<&[&str]>,
    ) -> Expectation {
        let raw::Expected { record, text, without, to, drop, dead_letter } = typed;
        let of_record = record.is_some() || text.is_some() || !without.is_empty() || !to.is_empty();
        match (of_record, drop, dead_letter) {
            (false, false, false) => {
                let message = "expects nothing; say `record`, `text`, `without`, `to`, `drop: true` or \
                               `dead_letter: true`";
                self.error(path, message);
            }
            (true, false, false) | (false, true, false) | (false, false, true) => {}
            _ => {
                let message = "expects two different things: a record (`record`, `text`, `without`, `to`), `drop` and \
                               `dead_letter` exclude each other";
                self.error(path, message);
            }
        }
        if *drop {
            return Expectation::Drop;
        }
        if *dead_letter {
            return Expectation::DeadLetter;
        }
        let mut expected = ExpectedRecord::default();
        if let Some(record) = record {
            self.fields(&path.key("record"), &mut Vec::new(), &record.0, &mut expected);
        }
        expected.text = text.as_ref().map(|text| (text.clone(), self.said(&path.key("text"))));
        let absent = path.key("without");
        expected.without =
            without.iter().map(|(index, field)| (field.0.clone(), self.said(&absent.index(index)))).collect();
        expected.to = (!to.is_empty()).then(|| {
            let path = path.key("to");
            let names = to.iter().map(|(index, name)| {
                self.need_known(&path.index(index), "destination", name, destinations);
                DestinationName::from(name.as_str())
            });
            (names.collect(), self.said(&path))
        });
        Expectation::Record(expected)
    }

    /// The leaves of what is expected.
    fn fields(
        &self,
        path: &Path,
        names: &mut Vec<String>,
        of: &Map<String, Value>,
        into: &mut ExpectedRecord,
    ) {
        for (name, value) in of {
            let path = path.key(name);
            names.push(name.clone());
            match value {
                Value::Object(inner) if !inner.is_empty() => self.fields(&path, names, inner, into),
                value => into.fields.push((names.clone(), value.clone(), self.said(&path))),
            }
            names.pop();
        }
    }

    fn said(&self, path: &Path) -> Said {
        let (place, path) = self.document.locate(path);
        Said { place, path: path.to_string() }
    }

    fn need_known(&mut self, path: &Path, what: &str, name: &str, known: Option<&[&str]>) {
        let Some(known) = known.filter(|known| !known.contains(&name)) else { return };
        let near = did_you_mean(name, known.iter().copied());
        self.error(path, format!("there is no {what} {name:?}{near}; there are: {}", known.join(", ")));
    }
}
