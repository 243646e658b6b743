//! The configuration's file: whether it was changed.
//!
//! Its folder is watched, and every folder in which a link lies that leads to it: so an editor that writes it or puts another in
//! its place, and a ConfigMap whose links are exchanged, are noticed at once. What it is now is then seen by its name: which file
//! it leads to, its length and times. It is looked at seldom besides, as a network's file system tells nothing of what others do, and
//! every second where it cannot be watched.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::tail::{Watch, Watcher};

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

    /// A look at it.
    fn look(&mut self) -> Look {
        let now = Stamp::of(&self.path);
        if now.is_none() || now == self.known {
            self.fresh = None;
            return Look::Same;
        }
        if self.fresh != now {
            self.fresh = now;
            return Look::Fresh;
        }
        (self.known, self.fresh) = (now, None);
        Look::Changed
    }

    /// Waits until it has changed.
    pub(super) async fn changed(&mut self, notices: &mut Notices) {
        let (mut wait, mut settling) = (Duration::ZERO, false);
        loop {
            tokio::select! {
                () = notices.rung.notified(), if !settling => {}
                () = tokio::time::sleep(wait) => {}
            }
            let (mut file, mut watcher) = (self.clone(), notices.watcher.take());
            // The file system may be slow.
            let looked = tokio::task::spawn_blocking(move || {
                if let Some(watcher) = &mut watcher {
                    // Watched first: what happens from here on is noticed, and what happened before is seen.
                    watcher.follow(&folders(&file.path));
                    watcher.take();
                }
                let look = file.look();
                (file, watcher, look)
            });
            let Ok((file, watcher, look)) = looked.await else {
                // It can do no more than look from now on.
                wait = notices.pace.polled;
                continue;
            };
            (*self, notices.watcher) = (file, watcher);
            settling = look == Look::Fresh;
            wait = match look {
                Look::Changed => return,
                Look::Fresh => notices.pace.settle,
                Look::Same if notices.polls() => notices.pace.polled,
                Look::Same => notices.pace.watched,
            };
        }
    }
}

/// What a look at the file showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It is what was loaded. While it is not there, nothing has changed either.
    Same,
    /// It is another than what was loaded, and than at the last look: somebody may be in the middle of writing it.
    Fresh,
    /// It is another than what was loaded, and was so at the last look too. It then counts as loaded.
    Changed,
}

/// How it is noticed that something happens around the file.
pub(super) struct Notices {
    watcher: Option<Watcher>,
    rung: Arc<Notify>,
    pace: Pace,
}

/// Between two looks.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Of a file that may still be written.
    settle: Duration,
    /// Of one that is watched.
    watched: Duration,
    /// Of one that is not.
    polled: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        settle: Duration::from_millis(500),
        watched: Duration::from_secs(10),
        polled: Duration::from_secs(1),
    };
}

impl Notices {
    /// By watches, where they are wanted and to be had.
    pub(super) fn new(watch: Watch) -> Self {
        Self::at(watch, Pace::USUAL)
    }

    fn at(watch: Watch, pace: Pace) -> Self {
        let rung = Arc::new(Notify::new());
        let ring = Arc::clone(&rung);
        Self { watcher: Some(Watcher::new(watch, move || ring.notify_one())), rung, pace }
    }

    fn polls(&self) -> bool {
        self.watcher.as_ref().is_none_or(Watcher::polls)
    }
}

/// More links than this in a row are a circle, as the system has it.
const MOST_LINKS: usize = 40;

/// The folders in which something must happen for the path to lead to another file, or for its file to be written: where it lies, and
/// where each link lies that leads there. Of a path that leads nowhere, the last folder that is there.
fn folders(path: &Path) -> HashSet<PathBuf> {
    let mut folders = HashSet::new();
    let mut next = Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    for _ in 0..MOST_LINKS {
        let Some(path) = next else { break };
        let (folder, link) = first_link(&path);
        folders.insert(folder);
        next = link;
    }
    folders
}

/// The folder of a path's first link, and the path by where that leads; or the folder of its end.
fn first_link(path: &Path) -> (PathBuf, Option<PathBuf>) {
    let mut at = PathBuf::from("/");
    let mut rest = path.components();
    while let Some(component) = rest.next() {
        match component {
            Component::ParentDir => drop(at.pop()),
            Component::Normal(name) => {
                let next = at.join(name);
                if let Ok(to) = fs::read_link(&next) {
                    let to = at.join(to).join(rest.as_path());
                    return (at, Some(to));
                }
                // The file, or something that is not there yet.
                if !next.is_dir() {
                    break;
                }
                at = next;
            }
            Component::RootDir | Component::Prefix(_) | Component::CurDir => {}
        }
    }
    (at, None)
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
        let mut looks = |count: usize| (0..count).map(|_| file.look()).collect::<Vec<_>>();
        assert_eq!(looks(2), [Look::Same, Look::Same]);
        fs::write(&path, "ab").unwrap();
        assert_eq!(looks(1), [Look::Fresh], "it may still be written");
        fs::write(&path, "abc").unwrap();
        assert_eq!(looks(1), [Look::Fresh], "it is still written");
        assert_eq!(looks(2), [Look::Changed, Look::Same], "it is told once");
        fs::remove_file(&path).unwrap();
        assert_eq!(looks(2), [Look::Same, Look::Same], "it is about to be replaced");
        fs::write(&path, "abc").unwrap();
        assert_eq!(looks(2), [Look::Fresh, Look::Changed]);
    }

    /// A folder as a ConfigMap is mounted, with two versions of which the first is to be seen.
    fn mounted() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        for (version, text) in [("..1", "one"), ("..2", "two")] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("kinetail.yaml"), text).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/kinetail.yaml", root.join("kinetail.yaml")).unwrap();
        (folder, root)
    }

    fn exchange(root: &Path) {
        symlink("..2", root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    }

    #[test]
    fn each_folder_is_known_in_which_something_may_change_the_file() {
        let (_folder, root) = mounted();
        let path = root.join("kinetail.yaml");
        assert_eq!(folders(&path), [root.clone(), root.join("..1")].into());
        exchange(&root);
        assert_eq!(folders(&path), [root.clone(), root.join("..2")].into());
        // A folder on the way that is a link, and a file that is not there yet.
        symlink("..2/../..1", root.join("link")).unwrap();
        assert_eq!(folders(&root.join("link/kinetail.yaml")), [root.clone(), root.join("..1")].into());
        assert_eq!(folders(&root.join("none/kinetail.yaml")), [root.clone()].into());
        symlink("circle", root.join("circle")).unwrap();
        assert_eq!(folders(&root.join("circle")), [root.clone()].into());
    }

    /// Looks at what it was told of and, but for once a day, at nothing else.
    const TOLD: Pace = Pace {
        settle: Duration::from_millis(1),
        watched: Duration::from_secs(86_400),
        polled: Duration::from_secs(86_400),
    };

    #[tokio::test]
    async fn whatever_happens_to_a_file_that_is_watched_is_noticed_at_once() {
        let (_folder, root) = mounted();
        let path = root.join("kinetail.yaml");
        let mut notices = Notices::at(Watch::Auto, TOLD);
        let watcher = notices.watcher.as_mut().unwrap();
        watcher.follow(&folders(&path));
        if watcher.polls() {
            return; // this machine does not let us watch; the substitute has a test of its own
        }
        let changes: [&dyn Fn(); 5] = [
            &|| exchange(&root),
            &|| fs::write(root.join("..2/kinetail.yaml"), "in its place").unwrap(),
            &|| {
                fs::remove_file(&path).unwrap();
                fs::write(&path, "no link any more").unwrap();
            },
            &|| {
                fs::write(root.join("new"), "put in its place").unwrap();
                fs::rename(root.join("new"), &path).unwrap();
            },
            &|| fs::write(&path, "written again").unwrap(),
        ];
        let mut file = ConfigFile::at(path.clone());
        for (number, change) in changes.into_iter().enumerate() {
            let mut changed = std::pin::pin!(file.changed(&mut notices));
            // It has looked by now, and would look again tomorrow.
            tokio::select! {
                () = &mut changed => panic!("before change {number} nothing has changed"),
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            change();
            changed.await;
        }
        assert_eq!(file.look(), Look::Same, "it is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_cannot_be_watched_is_looked_at_every_second() {
        let (_folder, root) = mounted();
        let mut file = ConfigFile::at(root.join("kinetail.yaml"));
        let mut notices = Notices::new(Watch::Poll);
        assert!(notices.polls());
        let start = tokio::time::Instant::now();
        let change = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            exchange(&root);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = file.changed(&mut notices) => {}
            () = change => {}
        }
        let took = start.elapsed();
        assert!((30..33).contains(&took.as_secs()), "{took:?}");
    }
}
