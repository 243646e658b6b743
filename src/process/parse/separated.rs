//! Values separated by a delimiter, and patterns.

use std::borrow::Cow;
use std::cell::RefCell;

use crate::event::{Field, Value};
use crate::process::pattern::Pattern;

thread_local! {
    /// The reader of quoted columns for the delimiter that came last: to make one costs as much as thirty lines.
    static QUOTED: RefCell<Option<(u8, csv_core::Reader)>> = const { RefCell::new(None) };
}

/// CSV and what is like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    /// The names of the columns. A column that a line lacks is null; one that has no name is dropped.
    pub fields: Vec<String>,
    /// What stands between two columns: one byte.
    pub delimiter: u8,
}

pub(super) fn csv<'t>(form: &'t Csv, text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    if text.is_empty() {
        return None;
    }
    let first = into.len();
    if memchr::memchr(b'"', text).is_none() {
        let values = text.split(|byte| *byte == form.delimiter);
        into.extend(form.fields.iter().zip(values).map(|(name, value)| Field::text(&**name, value)));
    } else {
        QUOTED.with_borrow_mut(|kept| {
            let (_, reader) = match kept.take() {
                Some(of) if of.0 == form.delimiter => kept.insert(of),
                _ => {
                    let reader = csv_core::ReaderBuilder::new().delimiter(form.delimiter).build();
                    kept.insert((form.delimiter, reader))
                }
            };
            quoted(reader, form, text, into)
        })?;
    }
    let missing = &form.fields[into.len() - first..];
    into.extend(missing.iter().map(|name| Field { name: Cow::Borrowed(name), value: Value::NULL }));
    Some(())
}

/// The columns of a line with quotes.
fn quoted<'t>(
    reader: &mut csv_core::Reader,
    form: &'t Csv,
    text: &[u8],
    into: &mut Vec<Field<'t>>,
) -> Option<()> {
    reader.reset();
    let mut names = form.fields.iter();
    // A column's text is never longer than the line's.
    let mut column = vec![0; text.len()];
    let (mut input, mut written) = (text, 0);
    loop {
        let (result, read, wrote) = reader.read_field(input, &mut column[written..]);
        (input, written) = (&input[read..], written + wrote);
        match result {
            // The end of the line is told by an input of nothing.
            csv_core::ReadFieldResult::InputEmpty => {}
            csv_core::ReadFieldResult::OutputFull | csv_core::ReadFieldResult::End => return Some(()),
            csv_core::ReadFieldResult::Field { record_end } => {
                if let Some(name) = names.next() {
                    let value = Value::Text(Cow::Owned(column[..written].to_owned()));
                    into.push(Field { name: Cow::Borrowed(name), value });
                }
                written = 0;
                if record_end {
                    // What follows a line's end would be lost.
                    return input.is_empty().then_some(());
                }
            }
        }
    }
}

/// A pattern whose groups become fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    pattern: Pattern,
    /// The number of a group and the name of its field.
    fields: Vec<(usize, String)>,
    /// Groups that took no part are null, and not left out.
    nulls: bool,
}

impl Groups {
    /// With `names` for the groups in their order, or with the names that the groups have where `names` is
    /// empty. The error says why the two do not fit together.
    pub fn new(pattern: Pattern, names: &[String]) -> Result<Self, String> {
        let groups = pattern.groups();
        if !names.is_empty() && names.len() != groups.len() {
            return Err(format!("names {} fields, and the pattern has {} groups", names.len(), groups.len()));
        }
        let fields: Vec<(usize, String)> = if names.is_empty() {
            let named = |(at, name): (usize, Option<String>)| Some((at + 1, name?));
            groups.into_iter().enumerate().filter_map(named).collect()
        } else {
            names.iter().enumerate().map(|(at, name)| (at + 1, name.clone())).collect()
        };
        if fields.is_empty() {
            return Err("has no named group, such as (?<status>\\d+); name some, or give their names in \
                        `fields`"
                .to_owned());
        }
        Ok(Self { pattern, fields, nulls: !names.is_empty() })
    }
}

pub(super) fn regex<'t>(form: &'t Groups, text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
    let found = form.pattern.captures(text)?;
    for (group, name) in &form.fields {
        match found.get(*group) {
            Some(part) => into.push(Field::text(&**name, part.as_bytes())),
            None if form.nulls => into.push(Field { name: Cow::Borrowed(name), value: Value::NULL }),
            None => {}
        }
    }
    Some(())
}
