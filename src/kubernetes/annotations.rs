//! What a pod says of its own logs by annotations.
//!
//! `kinetail.io/exclude`, `kinetail.io/parser` and `kinetail.io/multiline` count; for those who come from there, so do
//! `fluentbit.io/exclude` and `fluentbit.io/parser`, where none of the first kind speaks of the same. Each can be for one
//! stream or one container: `parser_stderr`, `parser-nginx`, `parser_stderr-nginx`. The one that says more counts, a container
//! more than a stream. A file that is joined by `multiline` is joined as a whole: that has no form for a stream.

use super::PodFacts;
use crate::source::Stream;

const OWN: &str = "kinetail.io/";
const FLUENT_BIT: &str = "fluentbit.io/";

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wish {
    /// Lines are left out.
    Exclude,
    /// Text is taken apart.
    Parser,
    /// Lines are joined.
    Multiline,
}

impl Wish {
    /// All of them.
    pub const ALL: [Wish; 3] = [Wish::Exclude, Wish::Parser, Wish::Multiline];
    /// What is counted where it cannot be said which of them was meant.
    pub const UNKNOWN: &str = "unknown";

    /// What it is called in annotations and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Wish::Exclude => "exclude",
            Wish::Parser => "parser",
            Wish::Multiline => "multiline",
        }
    }
}

/// An annotation that speaks of logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said<'n> {
    /// Its whole name.
    pub name: &'n str,
    /// What it says.
    pub value: &'n str,
    /// Whether it is Fluent Bit's.
    pub of_fluent_bit: bool,
    what: Wish,
    stream: Option<Stream>,
    container: Option<&'n str>,
}

/// Whether an annotation may speak of logs.
pub(super) fn is_wish(name: &str) -> bool {
    match name.strip_prefix(OWN) {
        Some(_) => true,
        None => name.strip_prefix(FLUENT_BIT).is_some_and(|rest| {
            [Wish::Exclude, Wish::Parser].iter().any(|wish| rest.starts_with(wish.name()))
        }),
    }
}

impl Said<'_> {
    /// What it speaks of.
    pub fn what(&self) -> Wish {
        self.what
    }
}

impl PodFacts {
    /// What is said of one container's stream. Of a file without streams the forms for streams say nothing.
    pub fn said(&self, what: Wish, container: &str, stream: Stream) -> Option<Said<'_>> {
        let said = self.wishes().filter_map(Result::ok).filter(|said| {
            said.what == what
                && said.container.is_none_or(|name| name == container)
                && said.stream.is_none_or(|name| name == stream)
        });
        said.max_by_key(|said| (!said.of_fluent_bit, said.container.is_some(), said.stream.is_some()))
    }

    /// Annotations that are meant to speak of logs and are not understood: their names and values, and why.
    pub fn misunderstood(&self) -> impl Iterator<Item = (&str, &str, String)> {
        self.wishes().filter_map(Result::err)
    }

    fn wishes(&self) -> impl Iterator<Item = Result<Said<'_>, (&str, &str, String)>> {
        let wishes = self.annotations.iter().filter(|(name, _)| is_wish(name));
        wishes.map(|(name, value)| self.wish(name, value).map_err(|why| (name.as_str(), value.as_str(), why)))
    }

    fn wish<'n>(&'n self, name: &'n str, value: &'n str) -> Result<Said<'n>, String> {
        let of_fluent_bit = name.starts_with(FLUENT_BIT);
        let rest = name.split_once('/').map_or(name, |(_, rest)| rest);
        let found = Wish::ALL.iter().find_map(|what| Some((*what, rest.strip_prefix(what.name())?)));
        let Some((what, rest)) = found else {
            return Err("there is exclude, parser and multiline".to_owned());
        };
        let (stream, rest) = match rest.strip_prefix('_') {
            Some(rest) => {
                let (stream, _) = rest.split_once('-').unwrap_or((rest, ""));
                let known =
                    [Stream::Stdout, Stream::Stderr].into_iter().find(|one| one.name() == Some(stream));
                (Some(known.ok_or("behind _ stands stdout or stderr")?), &rest[stream.len()..])
            }
            None => (None, rest),
        };
        if stream.is_some() && what == Wish::Multiline {
            return Err("a file is joined as a whole: leave out the stream".to_owned());
        }
        let container = match rest.strip_prefix('-') {
            Some(container) if self.containers.iter().any(|one| one.name == container) => Some(container),
            Some(container) => return Err(format!("the pod has no container {container}")),
            None if rest.is_empty() => None,
            None => {
                return Err(
                    "there is exclude, parser and multiline, each with _stream and -container".to_owned()
                );
            }
        };
        Ok(Said { name, value, of_fluent_bit, what, stream, container })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::ContainerFacts;

    fn pod(annotations: &[(&str, &str)]) -> PodFacts {
        let container = |name: &str| ContainerFacts { name: name.into(), ..ContainerFacts::default() };
        PodFacts {
            annotations: annotations.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            containers: vec![container("app"), container("my-proxy")],
            ..PodFacts::default()
        }
    }

    #[test]
    fn what_says_more_counts_and_kinetails_own_more_than_fluent_bits() {
        let pod = pod(&[
            ("fluentbit.io/parser", "a"),
            ("fluentbit.io/parser_stderr", "b"),
            ("fluentbit.io/parser-my-proxy", "c"),
            ("fluentbit.io/parser_stderr-my-proxy", "d"),
            ("kinetail.io/parser_stdout-app", "e"),
            ("fluentbit.io/other", "no wish"),
        ]);
        let value = |container: &str, stream: Stream| {
            pod.said(Wish::Parser, container, stream).map(|said| said.value)
        };
        assert_eq!(value("app", Stream::Stdout), Some("e"));
        assert_eq!(value("app", Stream::Stderr), Some("b"));
        assert_eq!(value("app", Stream::Plain), Some("a"));
        assert_eq!(value("my-proxy", Stream::Stdout), Some("c"));
        assert_eq!(value("my-proxy", Stream::Stderr), Some("d"));
        assert_eq!(pod.said(Wish::Exclude, "app", Stream::Stdout), None);
        assert_eq!(pod.misunderstood().count(), 0);
    }

    #[test]
    fn what_is_not_understood_is_told_with_what_would_be() {
        for (name, told) in [
            ("kinetail.io/parsr", "there is exclude, parser and multiline"),
            ("kinetail.io/parser_stdou", "behind _ stands stdout or stderr"),
            ("kinetail.io/parser-ap", "the pod has no container ap"),
            ("kinetail.io/multiline_stdout", "leave out the stream"),
            ("kinetail.io/excluded", "each with _stream and -container"),
        ] {
            let pod = pod(&[(name, "x")]);
            let found: Vec<_> = pod.misunderstood().collect();
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!((found[0].0, found[0].1), (name, "x"));
            assert!(found[0].2.contains(told), "{}", found[0].2);
            for what in Wish::ALL {
                assert_eq!(pod.said(what, "app", Stream::Stdout), None, "{name}");
            }
        }
    }
}
