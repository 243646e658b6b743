//! Noticing changes: inotify on folders, and polling for those that cannot be watched.
//!
//! Folders are watched, not files: one watch sees everything in it, and a file that is renamed away stays
//! known by its open descriptor. Where a watch is refused (SELinux lets some container types read but not
//! watch, or the user's watches are used up) the folder is polled; that is said once in the log.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tracing::{info, warn};

use super::settings::Watch;

/// What changed since it was last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Files that were written to.
    pub written: HashSet<PathBuf>,
    /// Files or folders came, went or were renamed: a look at all folders is due.
    pub structure: bool,
    /// What went or was renamed.
    gone: HashSet<PathBuf>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.written.is_empty() && !self.structure
    }

    fn note(&mut self, event: notify::Result<Event>) {
        match event {
            Err(_) => self.structure = true,
            Ok(event) if event.need_rescan() => self.structure = true,
            Ok(event) => match event.kind {
                EventKind::Modify(notify::event::ModifyKind::Data(_) | notify::event::ModifyKind::Any) => {
                    self.written.extend(event.paths);
                }
                EventKind::Create(_) => self.structure = true,
                EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_)) => {
                    self.structure = true;
                    self.gone.extend(event.paths);
                }
                _ => {}
            },
        }
    }
}

/// Watches folders.
pub struct Watcher {
    /// None where polling was asked for or inotify cannot be had at all.
    inner: Option<RecommendedWatcher>,
    changes: Arc<Mutex<Changes>>,
    watched: HashSet<PathBuf>,
    polled: HashSet<PathBuf>,
    said: bool,
}

impl Watcher {
    /// `wake` is called after a change was noted; [`take`](Self::take) then has it.
    pub fn new(watch: Watch, wake: impl Fn() + Send + 'static) -> Self {
        let changes = Arc::new(Mutex::new(Changes::default()));
        let noted = Arc::clone(&changes);
        let handler = move |event| {
            let mut changes = noted.lock().unwrap_or_else(PoisonError::into_inner);
            let before = (changes.written.len(), changes.structure);
            changes.note(event);
            let news = before != (changes.written.len(), changes.structure);
            drop(changes);
            if news {
                wake();
            }
        };
        let mut said = false;
        let inner = match watch {
            Watch::Poll => None,
            Watch::Auto => notify::recommended_watcher(handler)
                .inspect_err(|error| {
                    warn!(event = "watch_unavailable", %error, "files cannot be watched, they are polled instead");
                    said = true;
                })
                .ok(),
        };
        Self { inner, changes, watched: HashSet::new(), polled: HashSet::new(), said }
    }

    /// What changed since the last call.
    pub fn take(&mut self) -> Changes {
        let mut changes = std::mem::take(&mut *self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        for folder in changes.gone.drain() {
            // A watch is of a folder and not of its name, under which there may be another by now.
            if self.watched.contains(&folder) {
                self.leave(&folder);
            }
        }
        changes
    }

    /// Watches these folders and no others. Returns whether one is new: what happened in it before the watch
    /// stood was not noted, so it must be looked at once more.
    pub fn follow(&mut self, folders: &HashSet<PathBuf>) -> bool {
        let mut new = false;
        for folder in folders {
            if !self.watched.contains(folder) && !self.polled.contains(folder) {
                new |= self.add(folder);
            }
        }
        let gone: Vec<PathBuf> = self.watched.difference(folders).cloned().collect();
        for folder in gone {
            self.leave(&folder);
        }
        self.polled.retain(|folder| folders.contains(folder));
        new
    }

    /// Whether some folder has to be polled.
    pub fn polls(&self) -> bool {
        self.inner.is_none() || !self.polled.is_empty()
    }

    fn leave(&mut self, folder: &Path) {
        if let Some(inner) = &mut self.inner {
            // The kernel drops the watch of a removed folder itself.
            let _ = inner.unwatch(folder);
        }
        self.watched.remove(folder);
    }

    fn add(&mut self, folder: &Path) -> bool {
        let Some(inner) = &mut self.inner else { return false };
        match inner.watch(folder, RecursiveMode::NonRecursive) {
            Ok(()) => self.watched.insert(folder.to_owned()),
            Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => false,
            Err(error) => {
                self.polled.insert(folder.to_owned());
                if !std::mem::replace(&mut self.said, true) {
                    let remedy = match error.kind {
                        notify::ErrorKind::MaxFilesWatch => "raise fs.inotify.max_user_watches",
                        _ => "allow watching it, or set tail.watch: poll",
                    };
                    info!(event = "watch_refused", folder = %folder.display(), %error, remedy,
                        "a folder cannot be watched and is polled instead; others may follow");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, Flag, ModifyKind};
    use std::time::Duration;

    #[test]
    fn a_lost_event_means_a_look_at_everything() {
        let mut changes = Changes::default();
        changes.note(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
        assert!(changes.structure);
    }

    #[test]
    fn writes_name_the_file_and_everything_else_the_structure() {
        let mut changes = Changes::default();
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        changes.note(Ok(Event::new(write).add_path("/a".into())));
        assert!(!changes.structure && changes.written.contains(Path::new("/a")));
        changes.note(Ok(Event::new(EventKind::Create(CreateKind::File)).add_path("/b".into())));
        assert!(changes.structure);
    }

    #[test]
    fn a_write_in_a_watched_folder_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::write(path.join("a.log"), "").unwrap();
        let (wake, woken) = std::sync::mpsc::channel();
        let mut watcher = Watcher::new(Watch::Auto, move || wake.send(()).unwrap());
        watcher.follow(&[path.clone()].into());
        if watcher.polls() {
            return; // this machine does not let us watch; the substitute has tests of its own
        }
        std::fs::write(path.join("a.log"), "x").unwrap();
        woken.recv().unwrap();
        assert!(watcher.take().written.contains(&path.join("a.log")));
    }

    #[test]
    fn a_folder_that_is_removed_and_made_again_is_watched_again() {
        let above = tempfile::tempdir().unwrap();
        let above = std::fs::canonicalize(above.path()).unwrap();
        let folder = above.join("logs");
        let folders = [above, folder.clone()].into();
        std::fs::create_dir(&folder).unwrap();
        let (wake, woken) = std::sync::mpsc::channel();
        let mut watcher = Watcher::new(Watch::Auto, move || wake.send(()).unwrap());
        watcher.follow(&folders);
        if watcher.polls() {
            return; // this machine does not let us watch; the substitute has tests of its own
        }
        let empty = |folder: &Path| {
            std::fs::remove_file(folder.join("first.log"))?;
            std::fs::remove_dir(folder)
        };
        type Way<'w> = &'w dyn Fn(&Path) -> std::io::Result<()>;
        let ways: [(&str, Way<'_>); 3] = [
            ("first.log", &|folder| std::fs::remove_dir(folder)),
            ("second.log", &empty),
            ("third.log", &|folder| std::fs::rename(folder, folder.with_extension("old"))),
        ];
        for (name, way) in ways {
            way(&folder).unwrap();
            std::fs::create_dir(&folder).unwrap();
            // A name of its own: what is told late of the folder before does not count.
            let path = folder.join(name);
            let mut seen = Changes::default();
            // As the reading thread does it: after each change a look at the folders.
            while !seen.written.contains(&path) {
                woken.recv_timeout(Duration::from_secs(60)).expect("a write in the new folder is noted");
                seen = watcher.take();
                if watcher.follow(&folders) {
                    std::fs::write(&path, "x").unwrap();
                }
            }
        }
    }

    #[test]
    fn where_polling_is_asked_for_nothing_is_watched() {
        let mut watcher = Watcher::new(Watch::Poll, || {});
        assert!(!watcher.follow(&["/".into()].into()));
        assert!(watcher.polls());
    }
}
