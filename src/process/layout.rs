//! Steps that change how fields lie: objects flattened and made, keys written otherwise.
//!
//! Where that makes two names alike, the later one gets a number ([`Fields::of_all`]): no value is lost.

use std::borrow::Cow;

use super::reach;
use crate::event::{Field, Fields, Value};

/// The deepest that names are joined or objects looked into.
const MAX_DEPTH: usize = 127;

/// Puts the fields of objects in the objects' place, their names joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flatten {
    /// The objects; all unless said.
    pub fields: Vec<String>,
    /// What stands between the names.
    pub separator: String,
}

/// Puts fields into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nest {
    /// The object, made where it does not exist.
    pub under: String,
    /// The fields that are moved.
    pub fields: Vec<String>,
    /// Fields whose names begin with this are moved, too, without it.
    pub prefix: Option<String>,
}

/// Writes the names of fields otherwise, in objects too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// In lower case.
    pub lower_case: bool,
    /// Dots become this: OpenSearch takes dots for objects, and refuses records in which both stand.
    pub dots: Option<String>,
}

impl Flatten {
    pub(super) fn apply(&self, fields: &mut Fields<'_>) {
        let mut made = Vec::new();
        for mut field in fields.take_all() {
            let wanted = self.fields.is_empty() || self.fields.iter().any(|name| *name == field.name);
            if wanted && reach::open(&mut field.value).is_some() {
                self.spread(field, 0, &mut made);
            } else {
                made.push(field);
            }
        }
        *fields = Fields::of_all(made);
    }

    fn spread<'a>(&self, mut field: Field<'a>, depth: usize, into: &mut Vec<Field<'a>>) {
        let inner = match reach::open(&mut field.value) {
            Some(inner) if depth < MAX_DEPTH && !inner.is_empty() => inner.take_all(),
            _ => return into.push(field),
        };
        for Field { name, value } in inner {
            let name = Cow::Owned(format!("{}{}{name}", field.name, self.separator));
            self.spread(Field { name, value }, depth + 1, into);
        }
    }
}

impl Nest {
    /// Returns `false` if something else than an object stands in its place; then nothing has changed.
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> bool {
        if fields.get_mut(&self.under).is_some_and(|under| reach::open(under).is_none()) {
            return false;
        }
        let (mut left, mut moved) = (Vec::new(), Vec::new());
        for Field { name, value } in fields.take_all() {
            let rest = self.prefix.as_deref().and_then(|prefix| name.strip_prefix(prefix));
            if name == self.under {
                left.push(Field { name, value });
            } else if self.fields.iter().any(|field| *field == name) {
                moved.push(Field { name, value });
            } else if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
                moved.push(Field { name: Cow::Owned(rest.to_owned()), value });
            } else {
                left.push(Field { name, value });
            }
        }
        *fields = Fields::of_all(left);
        if moved.is_empty() {
            return true;
        }
        let mut inner =
            fields.get_mut(&self.under).and_then(reach::open).map(Fields::take_all).unwrap_or_default();
        inner.append(&mut moved);
        fields.set(&*self.under, Value::Object(Fields::of_all(inner)));
        true
    }
}

impl Keys {
    pub(super) fn apply(&self, fields: &mut Fields<'_>) {
        self.write(fields, 0);
    }

    fn write(&self, fields: &mut Fields<'_>, depth: usize) {
        let mut all = fields.take_all();
        for Field { name, value } in &mut all {
            if depth < MAX_DEPTH
                && let Some(inner) = reach::open(value)
            {
                self.write(inner, depth + 1);
            }
            if self.lower_case && name.chars().any(char::is_uppercase) {
                *name = Cow::Owned(name.to_lowercase());
            }
            if let Some(dots) = self.dots.as_deref().filter(|_| name.contains('.')) {
                *name = Cow::Owned(name.replace('.', dots));
            }
        }
        *fields = Fields::of_all(all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::{fields, text};

    const START: &str = r#"{"a":{"B":1,"c.d":{"e":[{"F":2}],"g":{}}},"a.B":3,"X":"t"}"#;

    fn flatten(names: &[&str], separator: &str) -> Flatten {
        let fields = names.iter().map(|name| name.to_string()).collect();
        Flatten { fields, separator: separator.into() }
    }

    #[test]
    fn objects_are_flattened_and_nothing_is_lost() {
        let mut all = fields(START);
        flatten(&[], ".").apply(&mut all);
        assert_eq!(text(&all), r#"{"a.B":1,"a.c.d.e":[{"F":2}],"a.c.d.g":{},"a.B_2":3,"X":"t"}"#);
        let mut some = fields(r#"{"a":{"b":1},"c":{"d":{"e":2}}}"#);
        flatten(&["c", "none"], "_").apply(&mut some);
        assert_eq!(text(&some), r#"{"a":{"b":1},"c_d_e":2}"#);
    }

    #[test]
    fn fields_are_moved_into_an_object() {
        let nest = |under: &str, names: &[&str], prefix: Option<&str>| Nest {
            under: under.into(),
            fields: names.iter().map(|name| name.to_string()).collect(),
            prefix: prefix.map(str::to_owned),
        };
        let start = r#"{"method":"GET","http_path":"/","http_":1,"n":2,"o":{"method":0}}"#;
        for (step, done, expected) in [
            (
                nest("http", &["method"], Some("http_")),
                true,
                r#"{"http_":1,"n":2,"o":{"method":0},"http":{"method":"GET","path":"/"}}"#,
            ),
            (
                nest("o", &["method", "none"], None),
                true,
                r#"{"http_path":"/","http_":1,"n":2,"o":{"method":0,"method_2":"GET"}}"#,
            ),
            (nest("n", &["method"], None), false, start),
            (nest("p", &["none"], Some("zz")), true, start),
        ] {
            let mut made = fields(start);
            assert_eq!(step.apply(&mut made), done);
            assert_eq!(text(&made), expected);
        }
    }

    #[test]
    fn keys_are_written_otherwise_also_inside_of_objects() {
        let mut lower = fields(START);
        Keys { lower_case: true, dots: None }.apply(&mut lower);
        assert_eq!(text(&lower), r#"{"a":{"b":1,"c.d":{"e":[{"F":2}],"g":{}}},"a.b":3,"x":"t"}"#);
        let mut dots = fields(START);
        Keys { lower_case: false, dots: Some("_".into()) }.apply(&mut dots);
        assert_eq!(text(&dots), r#"{"a":{"B":1,"c_d":{"e":[{"F":2}],"g":{}}},"a_B":3,"X":"t"}"#);
        let mut alike = fields(r#"{"A":1,"a":2,"É":3}"#);
        Keys { lower_case: true, dots: None }.apply(&mut alike);
        assert_eq!(text(&alike), r#"{"a":1,"a_2":2,"é":3}"#);
    }
}
