//! Pods and containers by patterns of their names.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::store::Labels;
use super::{Pod, PodStore};
use crate::source::Verdict;

/// A pattern of a name: `*`, `?`, `[…]` and `{a,b}`. Two are equal if their texts are.
#[derive(Clone, Debug)]
pub struct NamePattern(GlobMatcher);

impl NamePattern {
    /// Compiles it; the error is for people.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.len() > 256 {
            return Err(format!(
                "{text:?} is not a pattern of a name; write 1 to 256 characters, such as shop-*"
            ));
        }
        match GlobBuilder::new(text).build() {
            Ok(glob) => Ok(Self(glob.compile_matcher())),
            Err(error) => Err(format!("{text:?} is not a pattern of a name: {}", error.kind())),
        }
    }

    /// Whether it takes a name.
    pub fn takes(&self, name: &str) -> bool {
        self.0.is_match(name)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }
}

impl PartialEq for NamePattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// Which pods' and containers' logs a route takes. A list that is empty takes every name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodPattern {
    /// Namespaces.
    pub namespaces: Vec<NamePattern>,
    /// Pods.
    pub pods: Vec<NamePattern>,
    /// Containers.
    pub containers: Vec<NamePattern>,
    /// Labels that the pod must have, and patterns of which one must take the label's value.
    pub labels: Vec<(String, Vec<NamePattern>)>,
    /// What becomes of a file whose pod's labels do not become known.
    pub on_unknown: OnUnknown,
}

/// What becomes of a file whose pod's labels do not become known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnknown {
    /// It is not read until they are.
    #[default]
    Wait,
    /// The route takes it.
    Take,
    /// The route leaves it to later ones.
    Leave,
}

impl PodPattern {
    /// Whether this is the path of a container's log, and the container is one of these, as far as the path tells.
    pub fn matches(&self, path: &Path) -> bool {
        Pod::from_path(path).is_some_and(|pod| self.other(&pod).is_none())
    }

    /// Whether a pod with these labels is one of these, as far as labels tell.
    pub fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.unlike(labels).is_none()
    }

    /// What it asks for beside the path: the same text for the same labels.
    pub fn rule(&self) -> String {
        let texts = |patterns: &[NamePattern]| {
            patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect::<Vec<_>>()
        };
        let labels: BTreeMap<&str, Vec<String>> =
            self.labels.iter().map(|(name, patterns)| (name.as_str(), texts(patterns))).collect();
        format!("{labels:?} {:?}", self.on_unknown)
    }

    /// Whether a container's log is taken, by its path and by what a store knows of its pod's labels.
    pub fn verdict(&self, path: &Path, store: &PodStore) -> Verdict {
        let Some(pod) = Pod::from_path(path).filter(|pod| self.other(pod).is_none()) else {
            return Verdict::Leaves;
        };
        if self.labels.is_empty() {
            return Verdict::Takes;
        }
        let taken = match store.first_labels(&pod) {
            Labels::Known(labels) => self.has_labels(&labels),
            Labels::Awaited => return Verdict::Unknown,
            Labels::Missing => match self.on_unknown {
                OnUnknown::Wait => return Verdict::Unknown,
                OnUnknown::Take => true,
                OnUnknown::Leave => false,
            },
        };
        if taken { Verdict::Takes } else { Verdict::Leaves }
    }

    /// The first thing by which this is not the path of one of these containers' logs.
    pub fn mismatch(&self, path: &Path) -> Option<Mismatch> {
        let Some(pod) = Pod::from_path(path) else { return Some(Mismatch::NoContainer) };
        let (what, patterns, name) = self.other(&pod)?;
        let wanted = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Some(Mismatch::Other { what, name: name.to_owned(), wanted })
    }

    /// The first label that is not as it is asked for.
    pub fn unlike(&self, labels: &BTreeMap<String, String>) -> Option<Mismatch> {
        let (name, patterns) = self.labels.iter().find(|(name, patterns)| {
            labels.get(name).is_none_or(|value| !patterns.iter().any(|pattern| pattern.takes(value)))
        })?;
        let wanted = patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        Some(Mismatch::Label { name: name.clone(), value: labels.get(name).cloned(), wanted })
    }

    /// The first of a pod's names that no pattern takes, with what it names and the patterns.
    fn other<'p>(&'p self, pod: &'p Pod) -> Option<(&'static str, &'p [NamePattern], &'p str)> {
        let names = [
            ("namespace", &*self.namespaces, &*pod.namespace),
            ("pod", &self.pods, &pod.name),
            ("container", &self.containers, &pod.container),
        ];
        names.into_iter().find(|(_, patterns, name)| {
            !patterns.is_empty() && !patterns.iter().any(|pattern| pattern.takes(name))
        })
    }
}

/// Why a path is not that of a container's log that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It is the path of something else.
    NoContainer,
    /// One of its names is another.
    Other {
        /// `namespace`, `pod` or `container`.
        what: &'static str,
        /// Its name.
        name: String,
        /// The patterns of which one should match it.
        wanted: Vec<String>,
    },
    /// One of its pod's labels is another, or not there.
    Label {
        /// The label.
        name: String,
        /// What it is.
        value: Option<String>,
        /// The patterns of which one should match it.
        wanted: Vec<String>,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::NoContainer => f.write_str("the path is not that of a container's log"),
            Mismatch::Other { what, name, wanted } => {
                write!(f, "the {what} is {name}, and `{what}` is [{}]", wanted.join(", "))
            }
            Mismatch::Label { name, value: Some(value), wanted } => {
                write!(f, "the label {name} is {value}, and `labels` has [{}]", wanted.join(", "))
            }
            Mismatch::Label { name, value: None, wanted } => {
                write!(f, "there is no label {name}, and `labels` has [{}]", wanted.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(namespaces: &[&str], pods: &[&str], containers: &[&str]) -> PodPattern {
        let all = |texts: &[&str]| texts.iter().map(|text| NamePattern::new(text).unwrap()).collect();
        PodPattern {
            namespaces: all(namespaces),
            pods: all(pods),
            containers: all(containers),
            ..PodPattern::default()
        }
    }

    #[test]
    fn a_container_is_taken_by_what_its_path_tells() {
        let uid = "0c6a3d8e-5f0b-4a58-9a35-1f6ad2a1f001";
        let pod = format!("/var/log/pods/shop-eu_web-7d9f_{uid}/app/0.log");
        let link = format!("/var/log/containers/web-7d9f_shop-eu_app-{}.log", "a".repeat(64));
        for path in [pod.as_str(), &link] {
            let taken = |namespaces: &[&str], pods: &[&str], containers: &[&str]| {
                pattern(namespaces, pods, containers).matches(Path::new(path))
            };
            assert!(taken(&["shop-*"], &[], &[]) && taken(&["x", "shop-{eu,us}"], &["web-*"], &["app"]));
            assert!(taken(&[], &[], &[]));
            assert!(!taken(&["shop"], &[], &[]) && !taken(&["shop-*"], &["api*"], &[]));
            assert!(!taken(&[], &[], &["istio-*"]));
        }
        assert!(!pattern(&[], &[], &[]).matches(Path::new("/var/log/app.log")));
        assert!(NamePattern::new("[a").is_err() && NamePattern::new("").is_err());
    }
}
