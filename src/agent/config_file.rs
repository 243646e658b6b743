//! The configuration's file: whether it was changed.
//!
//! It is looked at by its name, again and again: what a link leads to, which file it is, its length and times. So a
//! ConfigMap is noticed whose links are exchanged, on every file system, and whichever editor wrote it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file, and what it was when it was last loaded.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    known: Option<Stamp>,
    /// What it was at the last look, where that was something new.
    fresh: Option<Stamp>,
}

/// By which it is told whether a file was written or replaced: device, inode, length, and the times of its content and
/// of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp([i128; 5]);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        let time = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let (modified, changed) = (time(of.mtime(), of.mtime_nsec()), time(of.ctime(), of.ctime_nsec()));
        Some(Self([of.dev().into(), of.ino().into(), of.len().into(), modified, changed]))
    }
}

impl ConfigFile {
    /// As it is now. To be made before it is loaded, so that no change is missed.
    pub fn at(path: PathBuf) -> Self {
        let known = Stamp::of(&path);
        Self { path, known, fresh: None }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A look at it. Whether it is another than what was loaded, and was so at the last look too: somebody may be in the
    /// middle of writing it. It then counts as loaded. While it is not there, nothing has changed.
    fn look(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        if now.is_none() || now == self.known {
            self.fresh = None;
            return false;
        }
        if self.fresh != now {
            self.fresh = now;
            return false;
        }
        (self.known, self.fresh) = (now, None);
        true
    }

    /// Waits until it has changed.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let mut file = self.clone();
            // The file system may be slow.
            let Ok((file, changed)) = tokio::task::spawn_blocking(move || {
                let changed = file.look();
                (file, changed)
            })
            .await
            else {
                continue;
            };
            *self = file;
            if changed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_has_changed_once_it_is_another_at_two_looks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kinetail.yaml");
        fs::write(&path, "a").unwrap();
        let mut file = ConfigFile::at(path.clone());
        assert!(!file.look() && !file.look());
        fs::write(&path, "ab").unwrap();
        assert!(!file.look(), "it may still be written");
        fs::write(&path, "abc").unwrap();
        assert!(!file.look(), "it is still written");
        assert!(file.look());
        assert!(!file.look(), "it is told once");
        fs::remove_file(&path).unwrap();
        assert!(!file.look() && !file.look(), "it is about to be replaced");
        fs::write(&path, "abc").unwrap();
        assert!(!file.look() && file.look());
    }

    #[test]
    fn links_that_are_exchanged_as_those_of_a_configmap_are_change_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("kinetail.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/kinetail.yaml", at("kinetail.yaml")).unwrap();
        let mut file = ConfigFile::at(at("kinetail.yaml"));
        assert!(!file.look() && !file.look());
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert!(!file.look());
        assert!(file.look());
    }
}
