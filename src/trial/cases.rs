//! The tests that stand in a configuration: their lines are run through the stages, and what comes is held against what
//! is expected.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use serde_json::Value;

use super::{Did, Log, Look, Made, Stages, look};
use crate::config::{Config, Expectation, ExpectedRecord, Said, TestCase};
use crate::process::{Fate, Outcome};
use crate::source::{DestinationName, RouteName};

/// A test that failed. Shown in several lines, each difference with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a message, kept beyond its line.
struct Came {
    line: usize,
    fate: Fate,
    record: Vec<u8>,
    to: Vec<DestinationName>,
    steps: Vec<Did>,
}

/// Runs the tests of a configuration that was read from this file; those that failed.
pub fn run_tests(config: &Config, file: &str) -> Vec<Failed> {
    config.tests.iter().filter_map(|test| run(config, test, file)).collect()
}

fn run(config: &Config, test: &TestCase, file: &str) -> Option<Failed> {
    let mut report = Report { file, text: String::new() };
    case(config, test, &mut report);
    if report.text.is_empty() {
        return None;
    }
    let name = test.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let at = report.at(&test.said);
    Some(Failed(format!("{at}{name} failed\n{}", report.text)))
}

fn case(config: &Config, test: &TestCase, report: &mut Report<'_>) {
    let log = Log::of_pod(config, &test.path, test.labels.clone());
    let Look { taken, refused } = {
        // Entries of the journal have no path of which one route would follow.
        let chosen = test.route.as_ref().map(|(name, _)| name);
        let of_journal = |name: &&RouteName| {
            config.routes.iter().any(|route| route.name == **name && route.journal.is_some())
        };
        look(config, &log, chosen.filter(of_journal))
    };
    let Some(route) = taken else {
        report.line(&test.said, &format!("no route takes {}", test.path.display()));
        for (route, refusal) in refused {
            let _ = writeln!(report.text, "    not {}: {refusal}", route.name);
        }
        return;
    };
    if let Some((expected, said)) = &test.route
        && *expected != route.name
    {
        report.differs(said, expected.as_str(), route.name.as_str());
    }
    let mut came = Vec::new();
    let read_at = test.read_at.unwrap_or_else(SystemTime::now);
    // Those of further routes come after those of the first.
    for route in std::iter::once(route).chain(&config.further_of(route, &test.path, log.pods())) {
        let mut stages = Stages::new(config, route, &log, 1, read_at, false);
        // Bytes in memory can always be read.
        let _ = stages.read(&test.lines[..], |made| came.push(Came::of(config, made)));
    }
    for ((expected, said), came) in test.expect.iter().zip(&came) {
        let before = report.text.len();
        hold(expected, said, came, report);
        if report.text.len() > before {
            let _ = writeln!(report.text, "    line {} {}", came.line, came.told());
        }
    }
    if came.len() != test.expect.len() {
        let message = format!("{} expected, and there are {}", messages(test.expect.len()), came.len());
        report.line(&test.expect_said, &message);
        for came in came.iter().skip(test.expect.len()) {
            let _ = writeln!(report.text, "    line {} {}", came.line, came.told());
        }
    }
}

fn messages(count: usize) -> String {
    if count == 1 { "1 message is".to_owned() } else { format!("{count} messages are") }
}

impl Came {
    fn of(config: &Config, made: &Made<'_>) -> Self {
        let names = made.to.iter().filter_map(|index| config.destinations.get(*index));
        Self {
            line: made.line,
            // What no destination takes is dropped, too.
            fate: if made.to.is_empty() && made.fate == Fate::Send { Fate::Drop } else { made.fate },
            record: made.record.to_vec(),
            to: names.map(|destination| destination.name.clone()).collect(),
            steps: made.steps.to_vec(),
        }
    }

    fn told(&self) -> String {
        let mut text = match self.fate {
            Fate::Send => format!("became {}", String::from_utf8_lossy(&self.record)),
            Fate::Drop => {
                let by = self.steps.iter().find(|did| did.outcome == Outcome::Dropped);
                let by = by.map(|did| format!(" by process[{}] ({})", did.step, did.name));
                format!("was dropped{}", by.unwrap_or_default())
            }
            Fate::DeadLetter(_) => "became a dead letter".to_owned(),
        };
        for did in self.steps.iter().filter(|did| did.outcome == Outcome::Failed) {
            let _ = write!(text, "\n    process[{}] ({}) failed", did.step, did.name);
        }
        text
    }
}

fn hold(expected: &Expectation, said: &Said, came: &Came, report: &mut Report<'_>) {
    match (expected, came.fate) {
        (Expectation::Record(expected), Fate::Send) => hold_record(expected, came, report),
        (Expectation::Drop, Fate::Drop) | (Expectation::DeadLetter, Fate::DeadLetter(_)) => {}
        (expected, fate) => {
            let expected = match expected {
                Expectation::Record(_) => "a record",
                Expectation::Drop => "dropped",
                Expectation::DeadLetter => "a dead letter",
            };
            let came = match fate {
                Fate::Send => "a record",
                Fate::Drop => "dropped",
                Fate::DeadLetter(_) => "a dead letter",
            };
            report.differs(said, expected, came);
        }
    }
}

fn hold_record(expected: &ExpectedRecord, came: &Came, report: &mut Report<'_>) {
    if let Some((text, said)) = &expected.text
        && text.as_bytes() != came.record
    {
        report.differs(said, text, &String::from_utf8_lossy(&came.record));
    }
    let record: Option<Value> = serde_json::from_slice(&came.record).ok();
    for (names, value, said) in &expected.fields {
        let mut names = names.iter();
        let is = record.as_ref().and_then(|record| names.try_fold(record, |of, name| field(of, name)));
        match is {
            Some(is) if alike(value, is) => {}
            is => report.differs(
                said,
                &value.to_string(),
                &is.map_or_else(|| "(no such field)".to_owned(), Value::to_string),
            ),
        }
    }
    for (name, said) in &expected.without {
        if let Some(is) = record.as_ref().and_then(|record| field(record, name)) {
            report.differs(said, "(no such field)", &is.to_string());
        }
    }
    if let Some((to, said)) = &expected.to {
        let sorted = |names: &[DestinationName]| {
            let mut names: Vec<&str> = names.iter().map(DestinationName::as_str).collect();
            names.sort_unstable();
            format!("[{}]", names.join(", "))
        };
        let (expected, came) = (sorted(to), sorted(&came.to));
        if expected != came {
            report.differs(said, &expected, &came);
        }
    }
}

/// The field of this whole name, or else the one that dots lead to.
fn field<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    of.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        field(of.get(outer)?, inner)
    })
}

/// Whether a value is as expected: numbers by what they are and not by how they are written.
fn alike(expected: &Value, is: &Value) -> bool {
    match (expected, is) {
        (Value::Number(expected), Value::Number(is)) => expected == is || expected.as_f64() == is.as_f64(),
        (Value::Array(expected), Value::Array(is)) => {
            expected.len() == is.len() && expected.iter().zip(is).all(|(expected, is)| alike(expected, is))
        }
        (Value::Object(expected), Value::Object(is)) => {
            expected.len() == is.len()
                && expected.iter().all(|(name, value)| is.get(name).is_some_and(|is| alike(value, is)))
        }
        (expected, is) => expected == is,
    }
}

/// What differs, in lines.
struct Report<'f> {
    file: &'f str,
    text: String,
}

impl Report<'_> {
    fn at(&self, said: &Said) -> String {
        format!("{}:{}:{}: {}", self.file, said.place.line, said.place.column, said.path)
    }

    fn line(&mut self, said: &Said, what: &str) {
        let at = self.at(said);
        let _ = writeln!(self.text, "  {at}: {what}");
    }

    fn differs(&mut self, said: &Said, expected: &str, came: &str) {
        let at = self.at(said);
        let _ = writeln!(self.text, "  {at}\n    - {expected}\n    + {came}");
    }
}

#[cfg(test)]
mod tests;
