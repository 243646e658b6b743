//! The files that are the furthest behind, as metrics. They are off unless they are asked for: a path is a label of its
//! own, so that over time there are as many series as files that were ever among the first.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::Registry;

use super::shown::Shown;
use crate::metric::register;
use crate::telemetry::status::File;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ByFile {
    route: String,
    file: String,
}

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct TopFiles {
    /// So many at most.
    most: usize,
    bytes: Shown<ByFile>,
    seconds: Shown<ByFile, f64, AtomicU64>,
}

impl TopFiles {
    /// So many at most; without any there are no such metrics.
    pub(super) fn new(most: usize, registry: &mut Registry) -> Self {
        let made = Self { most, ..Self::default() };
        if most > 0 {
            register!(registry, {
                "file_lag_bytes": made.bytes.family(),
                    "Bytes of a file that the destination that is the furthest behind has not read, of the files that are \
                     the furthest behind (admin.top_files)";
                "file_lag_seconds": made.seconds.family(), "For how long the oldest of them has not been read";
            });
        }
        made
    }

    /// These are the files now, those first that are the furthest behind.
    pub(super) fn show(&self, files: &[File]) {
        let (mut bytes, mut seconds) = (BTreeMap::new(), BTreeMap::new());
        for file in files.iter().filter(|file| file.behind_bytes > 0) {
            if bytes.len() == self.most {
                break;
            }
            // What was rotated away may have had the same path.
            let path = file.moved_to.as_ref().unwrap_or(&file.path);
            let by = ByFile { route: file.route.clone(), file: path.clone() };
            let behind = i64::try_from(file.behind_bytes).unwrap_or(i64::MAX);
            bytes.entry(by.clone()).or_insert(behind);
            seconds.entry(by).or_insert(file.behind_seconds);
        }
        self.bytes.show(bytes);
        self.seconds.show(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, behind_bytes: u64) -> File {
        File { path: path.into(), route: "web".into(), behind_bytes, behind_seconds: 1.5, ..File::default() }
    }

    #[test]
    fn as_many_files_as_wanted_are_shown_and_none_that_is_not_behind() {
        let mut registry = Registry::with_prefix("kinetail");
        let top = TopFiles::new(2, &mut registry);
        let told = || {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let samples = text.lines().filter(|line| line.starts_with("kinetail_file_lag_bytes"));
            let mut samples: Vec<String> = samples.map(str::to_owned).collect();
            samples.sort_unstable();
            samples
        };
        top.show(&[file("/a", 9), file("/b", 5), file("/c", 1)]);
        let of = |path: &str, bytes: u64| {
            format!("kinetail_file_lag_bytes{{route=\"web\",file=\"{path}\"}} {bytes}")
        };
        assert_eq!(told(), [of("/a", 9), of("/b", 5)]);
        top.show(&[file("/c", 7), file("/a", 0)]);
        assert_eq!(told(), [of("/c", 7)]);
    }

    #[test]
    fn unless_they_are_asked_for_there_are_no_metrics_of_files() {
        let mut registry = Registry::default();
        TopFiles::new(0, &mut registry).show(&[file("/a", 9)]);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert_eq!(text, "# EOF\n");
    }
}
