//! Text with fields of a record in it: `${kubernetes.namespace_name}/${level}`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields that all records of a file have in common, and that only the encoder writes.
const OF_THE_FILE: [&str; 3] = ["file", "host", "kubernetes"];

/// A text with fields in it. `${a.b}` is the field `a.b`, or else `b` inside of `a`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(String),
}

impl Template {
    /// Reads one. The error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, field)) = rest.split_once("${") {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let Some((name, after)) = field.split_once('}') else {
                return Err(format!("{text:?} has a ${{ without its }}"));
            };
            if name.split('.').any(|part| part.trim().is_empty()) || name.contains(['$', '{']) {
                return Err(format!(
                    "${{{name}}} in {text:?} does not name a field; write it like ${{kubernetes.pod_name}}"
                ));
            }
            pieces.push(Piece::Field(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Whether it is the same for all records of a file.
    pub(super) fn is_of_the_file(&self) -> bool {
        self.0.iter().all(|piece| match piece {
            Piece::Text(_) => true,
            Piece::Field(name) => OF_THE_FILE.contains(&name.split('.').next().unwrap_or(name)),
        })
    }

    /// The text for a record, which is a JSON object; none if it lacks a field, or has it as something that is no
    /// text, number or truth value, or empty.
    pub(super) fn render(&self, record: &[u8]) -> Option<String> {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(piece) => text.push_str(piece),
                Piece::Field(name) => text.push_str(&field(record, name)?),
            }
        }
        Some(text)
    }
}

/// The text of a field of a JSON object.
pub(super) fn field<'a>(record: &'a [u8], name: &str) -> Option<Cow<'a, str>> {
    let mut json = serde_json::Deserializer::from_slice(record);
    let found = json.deserialize_map(Find { name }).ok()??;
    let text = found.get();
    match text.as_bytes().first()? {
        b'"' => {
            let text = match text.get(1..text.len() - 1)? {
                plain if !plain.contains('\\') => Cow::Borrowed(plain),
                _ => Cow::Owned(serde_json::from_str::<String>(text).ok()?),
            };
            (!text.is_empty()).then_some(text)
        }
        b'{' | b'[' | b'n' => None,
        _ => Some(Cow::Borrowed(text)),
    }
}

struct Find<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut exact = None;
        let mut inside = None;
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if key.0 == self.name {
                exact = Some(map.next_value()?);
            } else if let Some(rest) = self.name.strip_prefix(&*key.0).and_then(|rest| rest.strip_prefix('.'))
            {
                let value: &RawValue = map.next_value()?;
                let mut json = serde_json::Deserializer::from_str(value.get());
                inside = inside.or(json.deserialize_map(Find { name: rest }).ok().flatten());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(exact.or(inside))
    }
}

/// A key of an object, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);
        Borrowed::deserialize(deserializer).map(|key| Self(key.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &[u8] = br#"{"time":"t","level":"warn","n":7,"on":true,"none":null,"empty":"","o":{"a":{"b":"deep"},"a.b":"flat"},"o.x":"dotted","quo\"ted":"\u00e9","list":[1],"file":"/var/log/a","kubernetes":{"pod_name":"api-0"}}"#;

    #[track_caller]
    fn rendered(template: &str) -> Option<String> {
        Template::parse(template).unwrap().render(RECORD)
    }

    #[test]
    fn fields_are_put_in_as_text_also_out_of_objects() {
        for (template, text) in [
            ("${kubernetes.pod_name}/${level}", "api-0/warn"),
            ("n=${n} ${on}", "n=7 true"),
            ("${o.a.b}", "flat"),
            ("${o.x}", "dotted"),
            ("${quo\"ted}", "é"),
            ("fixed", "fixed"),
        ] {
            assert_eq!(rendered(template).as_deref(), Some(text), "{template}");
        }
    }

    #[test]
    fn what_is_missing_empty_or_no_single_value_is_none() {
        for template in ["${gone}", "${none}", "${empty}", "${o}", "${list}", "${n.x}", "x${level}${gone}"] {
            assert_eq!(rendered(template), None, "{template}");
        }
        assert_eq!(Template::parse("${a}").unwrap().render(b"no json"), None);
    }

    #[test]
    fn a_template_that_names_no_field_is_refused() {
        for template in ["${", "${}", "${a", "${a..b}", "${ }", "${a${b}"] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }

    #[test]
    fn what_a_file_has_in_common_is_known() {
        for (template, of_the_file) in
            [("${kubernetes.pod_name}@${host}", true), ("${file}", true), ("${kubernetes.x}${level}", false)]
        {
            assert_eq!(Template::parse(template).unwrap().is_of_the_file(), of_the_file, "{template}");
        }
    }
}
