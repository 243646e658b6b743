//! `${env:NAME}` and `${env:NAME:-default}` inside scalars, put in after the file was parsed: so what a
//! variable holds can become a number or a text, never a key, a list or a comment.

use super::diagnostics::{Findings, Path};
use super::document::{Kind, Node};

/// Puts the variables in, everywhere below `node`. An unset variable without a default is reported and leaves
/// [`Kind::Bad`] behind.
pub(super) fn expand(
    node: &mut Node,
    path: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
    findings: &mut Findings,
) {
    match &mut node.kind {
        Kind::Scalar { text, .. } => match expand_text(text, lookup) {
            Ok(expanded) => *text = expanded,
            Err(message) => {
                findings.add(node.place, path, message);
                node.kind = Kind::Bad;
            }
        },
        Kind::List(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                expand(item, &path.index(index), lookup, findings);
            }
        }
        Kind::Map(entries) => {
            for entry in entries {
                expand(&mut entry.node, &path.key(&entry.key), lookup, findings);
            }
        }
        Kind::Bad => {}
    }
}

/// One text with its variables put in and `$$` made `$`. Any other `$`, such as that of a `${field}`, stays.
fn expand_text(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${env:") {
            let (inside, after) = after.split_once('}').ok_or_else(|| {
                format!("`{rest}` has no closing brace; write ${{env:NAME}} or ${{env:NAME:-default}}")
            })?;
            out.push_str(&variable(inside, lookup)?);
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn variable(inside: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let valid = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    if !valid {
        return Err(format!(
            "{name:?} is not the name of an environment variable; write ${{env:NAME}} or \
             ${{env:NAME:-default}}"
        ));
    }
    // As in a shell: `:-` also stands in for a variable that is set and empty.
    match (lookup(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write ${{env:{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "REGION" => Some("eu-central-1".to_owned()),
            "EMPTY" => Some(String::new()),
            "SELF" => Some("${env:SELF}".to_owned()),
            _ => None,
        };
        expand_text(text, &lookup)
    }

    #[test]
    fn variables_are_put_in_and_templates_are_left_alone() {
        for (text, becomes) in [
            ("${env:REGION}", "eu-central-1"),
            ("a-${env:REGION}-${env:NONE:-b}", "a-eu-central-1-b"),
            ("${env:EMPTY}", ""),
            ("${env:EMPTY:-x}", "x"),
            ("${env:NONE:-}", ""),
            ("${kubernetes.pod_id}", "${kubernetes.pod_id}"),
            ("$${env:REGION}", "${env:REGION}"),
            ("cost: 5$", "cost: 5$"),
            ("$$", "$"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(becomes), "{text}");
        }
    }

    #[test]
    fn what_a_variable_holds_is_not_expanded_again() {
        assert_eq!(expanded("${env:SELF}").as_deref(), Ok("${env:SELF}"));
    }

    #[test]
    fn an_unset_variable_and_a_malformed_one_are_refused() {
        assert!(expanded("${env:NONE}").unwrap_err().contains("NONE is not set"));
        assert!(expanded("${env:NONE").unwrap_err().contains("no closing brace"));
        assert!(expanded("${env:1X}").unwrap_err().contains("not the name"));
        assert!(expanded("${env:}").is_err());
    }
}
