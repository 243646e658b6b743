//! Pods and containers by patterns of their names.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};

use super::Pod;

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
}

impl PodPattern {
    /// Whether this is the path of a container's log, and the container is one of these.
    pub fn matches(&self, path: &Path) -> bool {
        let Some(pod) = Pod::from_path(path) else { return false };
        let takes = |patterns: &[NamePattern], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.0.is_match(name))
        };
        takes(&self.namespaces, &pod.namespace)
            && takes(&self.pods, &pod.name)
            && takes(&self.containers, &pod.container)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(namespaces: &[&str], pods: &[&str], containers: &[&str]) -> PodPattern {
        let all = |texts: &[&str]| texts.iter().map(|text| NamePattern::new(text).unwrap()).collect();
        PodPattern { namespaces: all(namespaces), pods: all(pods), containers: all(containers) }
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
