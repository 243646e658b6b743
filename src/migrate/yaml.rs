//! YAML with comments, as people write it.

use std::fmt::Write as _;

use serde_json::Value;

/// The widest that a comment becomes.
const WIDTH: usize = 100;

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A value in one line.
    Value(Value),
    /// Keys below each other.
    Map(Vec<Entry>),
    /// Items below each other, each with its comments.
    List(Vec<(Vec<String>, Node)>),
}

/// A key, what stands behind it, and the comments in front.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) comments: Vec<String>,
    pub(super) key: String,
    pub(super) node: Node,
}

impl Entry {
    pub(super) fn new(key: &str, node: impl Into<Node>) -> Self {
        Self { comments: Vec::new(), key: key.to_owned(), node: node.into() }
    }

    pub(super) fn commented(comment: impl Into<String>, key: &str, node: impl Into<Node>) -> Self {
        Self { comments: vec![comment.into()], ..Self::new(key, node) }
    }
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        Node::Value(value)
    }
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Node::Value(text.into())
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Node::Value(text.into())
    }
}

impl From<Vec<Entry>> for Node {
    fn from(entries: Vec<Entry>) -> Self {
        Node::Map(entries)
    }
}

/// Writes the entries of a map, indented by so many blanks.
pub(super) fn map(entries: &[Entry], indent: usize, out: &mut String) {
    for entry in entries {
        comments(&entry.comments, indent, out);
        let _ = write!(out, "{:indent$}{}:", "", scalar(&entry.key));
        value(&entry.node, indent + 2, out);
    }
}

/// Writes comments in lines of their own.
pub(super) fn comments(comments: &[String], indent: usize, out: &mut String) {
    for comment in comments {
        let mut line = String::new();
        for word in comment.split(' ') {
            if !line.is_empty() && indent + line.chars().count() + word.chars().count() > WIDTH {
                let _ = writeln!(out, "{:indent$}# {line}", "");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            // What a source holds must not end a comment.
            line.extend(word.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }));
        }
        let _ = writeln!(out, "{:indent$}# {line}", "");
    }
}

/// Writes what stands behind a key or a dash, and the line's end.
fn value(node: &Node, indent: usize, out: &mut String) {
    match node {
        Node::Value(value) => {
            out.push(' ');
            flow(value, out);
            out.push('\n');
        }
        Node::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
        Node::List(items) if items.is_empty() => out.push_str(" []\n"),
        Node::Map(entries) => {
            out.push('\n');
            map(entries, indent, out);
        }
        Node::List(items) => {
            out.push('\n');
            for (notes, item) in items {
                comments(notes, indent, out);
                let mut text = String::new();
                match item {
                    Node::Map(entries) => map(entries, indent + 2, &mut text),
                    other => value(other, indent + 2, &mut text),
                }
                // The first key, or the comment in front of it, stands behind the dash.
                let _ = writeln!(out, "{:indent$}- {}", "", text.trim());
            }
        }
    }
}

fn flow(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(&scalar(text)),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                flow(item, out);
            }
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                let _ = write!(out, "{}: ", scalar(key));
                flow(value, out);
            }
            out.push('}');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// A text that is read as this text again, with quotes only where it needs them.
fn scalar(text: &str) -> String {
    // `$$` is a `$` in kinetail's configuration.
    let text = text.replace("$$", "$$$$");
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let plain = begins
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./%@+*".contains(c))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf"]
            .contains(&text.to_ascii_lowercase().as_str());
    // A number with the unit of a time or size is no number.
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let measured = unit.len() < text.len() && ["ms", "s", "m", "h", "d", "KiB", "MiB", "GiB"].contains(&unit);
    if plain || measured {
        return text;
    }
    if text.chars().any(is_odd) {
        let quoted = Value::String(text).to_string();
        let escaped = |c: char| match is_odd(c) {
            true => format!("\\u{:04x}", u32::from(c)),
            false => c.to_string(),
        };
        return quoted.chars().map(escaped).collect();
    }
    format!("'{}'", text.replace('\'', "''"))
}

/// Characters that end a line in YAML, or may not stand in it.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_as_people_write_it() {
        let entries = vec![
            Entry::commented("why", "a", json!({"b": [1, "x y", null], "off": "off", "re": "^'\\d+$"})),
            Entry::new(
                "list",
                Node::List(vec![
                    (vec!["an item".into()], Node::Map(vec![Entry::new("k", "v"), Entry::new("w", "1")])),
                    (Vec::new(), "text".into()),
                ]),
            ),
            Entry::new("none", Node::List(Vec::new())),
        ];
        let mut out = String::new();
        map(&entries, 0, &mut out);
        let expected = r"# why
a: {b: [1, 'x y', null], 'off': 'off', re: '^''\d+$'}
list:
  # an item
  - k: v
    w: '1'
  - text
none: []
";
        assert_eq!(out, expected);
    }

    #[test]
    fn a_long_comment_is_broken_and_keeps_to_its_lines() {
        let mut out = String::new();
        comments(&[format!("{} end\nkey: value", "word ".repeat(40))], 4, &mut out);
        assert!(out.lines().count() == 3 && out.lines().all(|line| line.starts_with("    # ")), "{out}");
    }

    proptest! {
        #[test]
        fn any_text_is_read_again_as_it_was(text in any::<String>()) {
            let mut out = String::new();
            map(&[Entry::new(&format!("k{text}"), json!([text, {"x": text}]))], 0, &mut out);
            let read: serde_yaml::Value = serde_yaml::from_str(&out).unwrap();
            let undone = |value: &serde_yaml::Value| value.as_str().unwrap().replace("$$", "$");
            let value = &read[format!("k{text}").replace("$$", "$$$$")];
            prop_assert_eq!(undone(&value[0]), text.clone());
            prop_assert_eq!(undone(&value[1]["x"]), text);
        }
    }
}
