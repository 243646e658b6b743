//! Tests of the routing that stand in the configuration, checked: what `kinetail check` runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::Value;

use super::diagnostics::Place;
use crate::source::{DestinationName, RouteName};

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// In the file.
    pub place: Place,
    /// The path of the key, such as `tests[0].expect[1]`.
    pub path: String,
}

/// One entry of `tests`.
#[derive(Clone, Debug, PartialEq)]
pub struct TestCase {
    /// Where it stands.
    pub said: Said,
    /// What it shows.
    pub name: Option<String>,
    /// The path of the file in which the lines stand.
    pub path: PathBuf,
    /// The labels of the pod behind it.
    pub labels: BTreeMap<String, String>,
    /// The lines, each ended by a newline.
    pub lines: Vec<u8>,
    /// When they are read; now unless said.
    pub read_at: Option<SystemTime>,
    /// The route that is expected.
    pub route: Option<(RouteName, Said)>,
    /// What is expected of each message.
    pub expect: Vec<(Expectation, Said)>,
    /// Where that is said.
    pub expect_said: Said,
}

/// What is expected of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// A record.
    Record(ExpectedRecord),
    /// That it is dropped.
    Drop,
    /// That it becomes a dead letter.
    DeadLetter,
}

/// What is expected of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpectedRecord {
    /// Values by the names that lead to them. An object is only here if it is to be empty.
    pub fields: Vec<(Vec<String>, Value, Said)>,
    /// The whole of it.
    pub text: Option<(String, Said)>,
    /// Fields that must not be there.
    pub without: Vec<(String, Said)>,
    /// The destinations that get it, in order.
    pub to: Option<(Vec<DestinationName>, Said)>,
}
