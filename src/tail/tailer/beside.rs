//! What rotation leaves beside a file: renamed and compressed files, copies, and such as came and went without
//! being seen.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use tracing::info;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::checkpoint::Status;
use super::super::content::Content;
use super::super::discovery;
use super::super::identity::{FileId, Fingerprint, Stamp};
use super::super::settings::StartAt;
use super::super::siblings::{self, LogKey};
use super::recognise::Recognised;
use super::scan::Met;
use super::{Tailer, Tracked};
use crate::source::{Incarnation, Position};

/// A path whose rotated files are looked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Base {
    /// As the route knows it.
    pub(super) path: PathBuf,
    /// Where that leads.
    pub(super) home: PathBuf,
    /// The index of the route.
    pub(super) route: usize,
    /// The file that was seen at the path and was renamed before it could be opened there.
    pub(super) slipped: Option<FileId>,
}

impl Tailer {
    pub(super) fn base_of(&self, incarnation: Incarnation) -> Option<Base> {
        let tracked = self.files.get(&incarnation)?;
        let entry = &tracked.entry;
        let route = match entry.status {
            Status::Following => self.routes.iter().position(|route| route.name == entry.route),
            // Whatever it fell under when it was left.
            Status::Finished | Status::Ignored => discovery::route_of(&self.selections, &entry.path),
        }?;
        Some(Base { path: entry.path.clone(), home: tracked.home().to_owned(), route, slipped: None })
    }

    /// Paths beside which something else stands than when they were last looked at, of all logs that are known: what
    /// stood at its path may have been renamed before it was opened, though nothing else of that log is open, nor
    /// stands at the path. `others` is what the walk saw in each folder.
    pub(super) fn changed_beside(&mut self, mut others: HashMap<PathBuf, Vec<OsString>>) -> Vec<Base> {
        let mut changed = Vec::new();
        let mut homes = HashMap::new();
        let mut listed = HashMap::new();
        // By what is open first, which says best under which route its log falls.
        let (open, left): (Vec<_>, Vec<_>) = self
            .files
            .iter()
            .filter(|(_, tracked)| tracked.entry.journal.is_none())
            .partition(|(_, tracked)| tracked.is_open());
        for (incarnation, tracked) in open.into_iter().chain(left) {
            let home = tracked.home();
            if homes.contains_key(home) {
                continue;
            }
            let folder = home.parent().unwrap_or(Path::new("/"));
            let names = match listed.get(folder) {
                Some(names) => names,
                None => {
                    // Reached through a link only, or gone.
                    let names = others.remove(folder).unwrap_or_else(|| names_in(folder));
                    listed.entry(folder.to_owned()).or_insert(by_log(folder, names))
                }
            };
            let name = home.file_name().unwrap_or_default();
            let beside = names.get(&LogKey::of(home)).into_iter().flatten();
            let beside = beside.filter(|other| siblings::is_rotated(name, other));
            // In whatever order the folder lists them.
            let hash =
                beside.fold(0, |hash: u64, other| hash.wrapping_add(self.mark_of(&folder.join(other))));
            if self.beside.get(home).copied().unwrap_or_default() != hash {
                changed.extend(self.base_of(*incarnation));
            }
            homes.insert(home.to_owned(), hash);
        }
        self.beside = homes;
        changed
    }

    /// By which it is told whether another file stands at this path, or other content in it. An open file tells
    /// of its content by itself.
    fn mark_of(&self, path: &Path) -> u64 {
        let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
        let (id, stamp) = (FileId::from(&metadata), Stamp::from(&metadata));
        let open = self.by_id.get(&id).is_some_and(|incarnation| self.files[incarnation].is_open());
        let content = if open { 0 } else { stamp.modified ^ stamp.len.rotate_left(48) };
        let seed = id.inode.rotate_left(32) ^ id.born ^ content;
        xxh3_64_with_seed(path.as_os_str().as_encoded_bytes(), seed)
    }

    pub(super) fn look_beside(&mut self, base: &Base, now: Instant, wall: SystemTime) {
        let first = self.is_first(base.route, &base.path);
        let from_beginning = !first || self.routes[base.route].start_at == StartAt::Beginning;
        let undecided = std::mem::take(&mut self.undecided);
        let mut present = HashSet::new();
        let mut unknown = Vec::new();
        for path in self.rotated(&base.home, wall) {
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                // It was just renamed.
                self.undecided = true;
                continue;
            };
            if !metadata.is_file() {
                continue;
            }
            let id = FileId::from(&metadata);
            let stamp = Stamp::from(&metadata);
            let known = self.by_id.get(&id).copied().filter(|incarnation| self.holds_its_own(*incarnation));
            match known.map(|incarnation| (incarnation, self.verify(incarnation, &path, id, stamp))) {
                Some((incarnation, Met::Same(content))) => {
                    present.insert(incarnation);
                    match content {
                        Some(content) => self.resume_elsewhere(incarnation, path, id, *content, now),
                        None => self.note_place(incarnation, path),
                    }
                }
                Some((incarnation, Met::Unknown)) => {
                    present.insert(incarnation);
                }
                Some((_, Met::Other)) | None => unknown.push((path, id, stamp)),
            }
        }
        for (path, id, stamp) in unknown {
            let Some(mut content) = self.open(&path, id) else { continue };
            let could_be =
                |tracked: &Tracked| tracked.is_open() || !present.contains(&tracked.entry.incarnation);
            match self.recognise(&mut content, &path, stamp, wall, &[Some(base.home.as_path())], could_be) {
                Recognised::As(incarnation) => self.resume_elsewhere(incarnation, path, id, content, now),
                Recognised::Nothing => {}
                // A route that wants rotated files by their own names meets them by itself.
                Recognised::New if discovery::route_of(&self.selections, &path).is_some() => {}
                Recognised::New => {
                    let slipped = base.slipped == Some(id) && from_beginning;
                    if slipped || first || stamp.modified() > self.known_until {
                        self.meet_rotated(base, path, (id, stamp), content, first && !slipped, (now, wall));
                    } else if self.refused.insert(path.clone()) {
                        info!(event = "rotated_file_passed_over", path = %path.display(),
                            "a rotated file is left out: it is older than what is known of its log");
                    }
                }
            }
        }
        if std::mem::replace(&mut self.undecided, true) {
            self.look_again.insert(base.clone());
        } else {
            self.undecided = undecided;
        }
    }

    /// A rotated file of which nothing is known: read from its beginning, unless its log is met for the first time, of
    /// which what was rotated before is left out.
    fn meet_rotated(
        &mut self,
        base: &Base,
        path: PathBuf,
        (id, stamp): (FileId, Stamp),
        mut content: Content,
        left_out: bool,
        (now, wall): (Instant, SystemTime),
    ) {
        let beginning = match content.beginning() {
            Ok(beginning) => beginning,
            Err(error) => return self.is_unreadable(&path, stamp, wall, &error),
        };
        let mut entry = self.new_entry(base.path.clone(), id, base.route, Position::default());
        entry.home = (base.home != base.path).then(|| base.home.clone());
        entry.fingerprint = Fingerprint::of(&beginning);
        let incarnation = entry.incarnation;
        if left_out {
            entry.status = Status::Ignored;
            entry.moved_to = Some(path);
            self.track(entry, now);
        } else if self.is_whole(&mut content, &path, stamp, wall) {
            info!(event = "rotated_file_found", path = %path.display(),
                "a rotated file that was not seen before is read from its beginning");
            self.track(entry, now);
            self.resume_elsewhere(incarnation, path, id, content, now);
        }
    }

    /// What stands beside a path and has a name that rotation could have made of its name.
    fn rotated(&mut self, home: &Path, wall: SystemTime) -> Vec<PathBuf> {
        let folder = home.parent().unwrap_or(Path::new("/"));
        let listed = self.listed.entry(folder.to_owned()).or_insert_with(|| by_log(folder, names_in(folder)));
        let names = listed.get(&LogKey::of(home)).cloned().unwrap_or_default();
        let name = home.file_name().unwrap_or_default();
        let mut found = Vec::new();
        for other in names {
            let path = folder.join(&other);
            if siblings::is_rotated(name, &other) {
                found.push(path);
            } else if is_temporary(&path) && siblings::is_rotated(name, path.file_stem().unwrap_or_default())
            {
                // One is being compressed, as kubelet does it, or was just ended and renamed.
                let metadata = fs::symlink_metadata(&path);
                self.undecided |=
                    !metadata.is_ok_and(|metadata| self.is_settled(Stamp::from(&metadata), wall));
            }
        }
        found
    }

    /// Where a file is now that was left: rotation gives other names to what it rotated before.
    fn note_place(&mut self, incarnation: Incarnation, path: PathBuf) {
        if let Some(tracked) = self.files.get_mut(&incarnation).filter(|tracked| !tracked.is_open()) {
            tracked.entry.vanished = None;
            tracked.entry.moved_to = (path != tracked.entry.path).then_some(path);
        }
    }

    /// A known content that turned up in another place: renamed, compressed or copied.
    pub(super) fn resume_elsewhere(
        &mut self,
        incarnation: Incarnation,
        path: PathBuf,
        id: FileId,
        content: Content,
        now: Instant,
    ) {
        self.now_at(incarnation, id);
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        tracked.entry.vanished = None;
        tracked.entry.moved_to = (path != tracked.entry.path).then_some(path);
        tracked.grew = now;
        tracked.entry.settled = None;
        if tracked.entry.status == Status::Ignored {
            return;
        }
        if tracked.entry.status == Status::Following && self.take_up(incarnation) {
            let tracked = &self.files[&incarnation];
            info!(event = "rotated_file_resumed", path = %tracked.entry.path.display(),
                offset = tracked.entry.proof.end, gzip = content.is_gzip(), "a rotated file is read to its end");
            self.attach(incarnation, content);
            self.set_away(incarnation);
        }
    }
}

/// The names in a folder, by log.
pub(super) type ByLog = HashMap<LogKey, Vec<OsString>>;

fn by_log(folder: &Path, names: Vec<OsString>) -> ByLog {
    let mut by_log = ByLog::new();
    for name in names {
        let path = folder.join(&name);
        let key = if is_temporary(&path) { LogKey::of(&path.with_extension("")) } else { LogKey::of(&path) };
        by_log.entry(key).or_default().push(name);
    }
    by_log
}

fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tmp")
}

fn names_in(folder: &Path) -> Vec<OsString> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect()
}
