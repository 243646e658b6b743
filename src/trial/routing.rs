//! Which route takes a file, and why others do not.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::Log;
use crate::config::{Config, RouteConfig};
use crate::kubernetes::Mismatch;
use crate::source::RouteName;

/// What came of looking for a path's route.
#[derive(Debug)]
pub struct Look<'c> {
    /// The route that takes it.
    pub taken: Option<&'c RouteConfig>,
    /// Those that were looked at before, and why they do not take it.
    pub refused: Vec<(&'c RouteConfig, Refusal)>,
}

/// Why a route does not take a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// None of its `files` matches.
    NoPattern,
    /// This pattern of its `exclude` does.
    Excluded(String),
    /// Its `match` says other pods.
    Pod(Mismatch),
    /// It reads the journal, and this is none of its folders.
    NoJournal,
    /// Another was chosen.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoPattern => f.write_str("none of its `files` matches"),
            Refusal::Excluded(pattern) => write!(f, "its `exclude` has {pattern}"),
            Refusal::NoJournal => {
                f.write_str("it reads the journal, and the path is in none of its `folders`")
            }
            Refusal::Other => f.write_str("it is not the one that was chosen"),
            Refusal::Pod(mismatch) => write!(f, "its `match` does not hold: {mismatch}"),
        }
    }
}

/// Looks for the route of a file, in the order of the configuration, or for the one that is chosen. A route that reads
/// the journal takes what is in the journal's folders.
pub fn look<'c>(config: &'c Config, log: &Log, chosen: Option<&RouteName>) -> Look<'c> {
    let mut refused = Vec::new();
    for route in &config.routes {
        let refusal = match chosen {
            Some(chosen) => (*chosen != route.name).then_some(Refusal::Other),
            None => refusal(route, log),
        };
        match refusal {
            None => return Look { taken: Some(route), refused },
            Some(refusal) => refused.push((route, refusal)),
        }
    }
    Look { taken: None, refused }
}

fn refusal(route: &RouteConfig, log: &Log) -> Option<Refusal> {
    let path = log.path();
    if let Some(journal) = &route.journal {
        let inside = journal.source.folders.iter().any(|folder| path.starts_with(folder));
        return (!inside).then_some(Refusal::NoJournal);
    }
    if !route.files.iter().any(|pattern| pattern.matches(path)) {
        return Some(Refusal::NoPattern);
    }
    if let Some(pattern) = route.exclude.iter().find(|pattern| pattern.matches(path)) {
        return Some(Refusal::Excluded(pattern.as_str().to_owned()));
    }
    let pods = route.pods.as_ref()?;
    let by_labels = || log.labels().and_then(|labels| pods.unlike(labels));
    pods.mismatch(path).or_else(by_labels).map(Refusal::Pod)
}

/// The path of the log that rotation left this of: `0.log` for `0.log.20261121-101500.gz`.
pub fn unrotated(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let end = name.find(".log.")? + ".log".len();
    Some(path.with_file_name(&name[..end]))
}

/// Opens a log file; gzip is seen by its first bytes.
///
/// # Errors
///
/// When it cannot be opened or read.
pub fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::new(File::open(path)?);
    let compressed = file.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const UID: &str = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0";

    #[test]
    fn it_is_told_why_a_route_does_not_take_a_path_and_what_is_told_is_what_it_does() {
        let text = "
destinations: {d: {type: directory, path: out}}
routes:
  - {name: nginx, files: '/var/log/nginx/*.log', to: d}
  - {name: shop, files: '/var/log/pods/*/*/*.log', exclude: '/var/log/pods/shop_canary*/*/*.log', match: {namespace: [shop, cart-*], container: app}, to: d}
";
        let config = config::parse(text, "test", &|_| None).unwrap().config;
        let pod = |name: &str, container: &str| format!("/var/log/pods/{name}_{UID}/{container}/0.log");
        let refused = "nginx: none of its `files` matches; shop: ";
        for (path, told) in [
            ("/var/log/nginx/access.log".to_owned(), ""),
            ("/var/log/nginx/old/access.log".to_owned(), "none of its `files` matches"),
            (pod("shop_web-1", "app"), "nginx"),
            (pod("shop_canary-1", "app"), "its `exclude` has /var/log/pods/shop_canary*/*/*.log"),
            (
                pod("pay_web-1", "app"),
                "its `match` does not hold: the namespace is pay, and `namespace` is [shop, cart-*]",
            ),
            (
                pod("shop_web-1", "proxy"),
                "its `match` does not hold: the container is proxy, and `container` is [app]",
            ),
            (
                "/var/log/pods/x/y/0.log".to_owned(),
                "its `match` does not hold: the path is not that of a container's log",
            ),
        ] {
            let path = Path::new(&path);
            let found = look(&config, &Log::at(path), None);
            let takes = config.routes.iter().find(|route| route.takes(path)).map(|route| &route.name);
            assert_eq!(found.taken.map(|route| &route.name), takes, "{}", path.display());
            let lines = found.refused.iter().map(|(route, refusal)| format!("{}: {refusal}", route.name));
            let text = lines.collect::<Vec<_>>().join("; ");
            let expected = match told {
                "" => String::new(),
                "nginx" => refused.trim_end_matches("; shop: ").to_owned(),
                told => format!("{refused}{told}"),
            };
            assert_eq!(text, expected, "{}", path.display());
        }
    }

    #[test]
    fn labels_are_held_against_what_routes_ask_for_where_they_are_known() {
        let text = "
destinations: {d: {type: directory, path: out}}
kubernetes: {}
routes:
  - {name: team, files: '/var/log/pods/*/*/*.log', match: {labels: {team: [a, b-*]}}, to: d}
  - {name: all, files: '/var/log/pods/*/*/*.log', to: d}
";
        let config = config::parse(text, "test", &|_| None).unwrap().config;
        let path = format!("/var/log/pods/shop_web-1_{UID}/app/0.log");
        let of = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let found = look(&config, &Log::of_pod(&config, &path, labels.collect()), None);
            let why = found.refused.first().map(|(_, refusal)| refusal.to_string());
            (found.taken.map(|route| route.name.to_string()).unwrap_or_default(), why.unwrap_or_default())
        };
        assert_eq!(of(&[("team", "b-1")]), ("team".to_owned(), String::new()));
        let (to, why) = of(&[("team", "c")]);
        assert_eq!(
            (&*to, &*why),
            ("all", "its `match` does not hold: the label team is c, and `labels` has [a, b-*]")
        );
        let (to, why) = of(&[]);
        assert_eq!(
            (&*to, &*why),
            ("all", "its `match` does not hold: there is no label team, and `labels` has [a, b-*]")
        );
        let any = look(&config, &Log::at(&path), None);
        assert_eq!(any.taken.map(|route| route.name.as_str()), Some("team"), "they may be any");
    }

    #[test]
    fn what_rotation_left_belongs_to_its_log() {
        let of = |path: &str| unrotated(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(of("/a/0.log.20261121-101500.gz").as_deref(), Some("/a/0.log"));
        assert_eq!(of("/a/0.log"), None);
    }
}
