//! Fields added, removed and renamed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::reach;
use crate::event::{Fields, Value};

/// Sets fields to the JSON text of their values. Returns `false` if one could not be set.
pub(super) fn add<'a>(fields: &mut Fields<'a>, added: &'a [(String, String)]) -> bool {
    let add = |done, (name, json): &'a (String, String)| {
        reach::set(fields, name, Value::Raw(Cow::Borrowed(json))).is_ok() && done
    };
    added.iter().fold(true, add)
}

/// Takes fields away.
pub(super) fn remove(fields: &mut Fields<'_>, names: &[String]) {
    for name in names {
        reach::take(fields, name);
    }
}

/// Renames fields, all at once. Returns `false` if one could not be set under its new name; it keeps its old one.
pub(super) fn rename<'a>(fields: &mut Fields<'a>, names: &'a BTreeMap<String, String>) -> bool {
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
