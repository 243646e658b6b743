//! What rotation leaves beside a file: renamed and compressed files, copies, and such as came and went without
//! being seen.
//!
//! A file there is held against what is known in this order, and the first that fits counts:
//!
//! 1. its id is known, and its content is what was read under that id;
//! 2. an open file holds the same content, so there is nothing to read in a copy of it;
//! 3. its content is that of a file that is found no more: it was copied or compressed.
//!
//! Whatever still stands where it was is no candidate for 3: two files may hold the same lines.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use tracing::{info, warn};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::checkpoint::Status;
use super::super::content::Content;
use super::super::discovery;
use super::super::identity::{FileId, Fingerprint, Proof, Stamp};
use super::super::siblings::{self, LogKey};
use super::scan::{Met, has_more};
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
}

pub(super) enum Recognised {
    /// It is the content of this file, whose own place holds it no more.
    As(Incarnation),
    /// There is nothing to read in it, or not yet.
    Nothing,
    /// Nothing like it is known.
    New,
}

impl Tailer {
    pub(super) fn base_of(&self, incarnation: Incarnation) -> Option<Base> {
        let tracked = self.files.get(&incarnation)?;
        let route = self.routes.iter().position(|route| route.name == tracked.entry.route)?;
        Some(Base { path: tracked.entry.path.clone(), home: tracked.home().to_owned(), route })
    }

    /// Paths beside which something else stands than when they were last looked at. `others` is what the walk
    /// saw in each folder.
    pub(super) fn changed_beside(&mut self, mut others: HashMap<PathBuf, Vec<OsString>>) -> Vec<Base> {
        let mut changed = Vec::new();
        let mut homes = HashMap::new();
        let mut listed = HashMap::new();
        for (incarnation, tracked) in self.files.iter().filter(|(_, tracked)| tracked.is_open()) {
            let home = tracked.home();
            if homes.contains_key(home) {
                continue;
            }
            let folder = home.parent().unwrap_or(Path::new("/"));
            let names = match listed.get(folder) {
                Some(names) => names,
                None => {
                    // Reached through a link only.
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

    pub(super) fn look_beside(&mut self, base: &Base, now: Instant, wall: SystemTime) -> io::Result<()> {
        let first = self.is_first(base.route, &base.path);
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
                    if let Some(content) = content {
                        self.resume_elsewhere(incarnation, path, id, *content, now);
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
                Recognised::New if first || stamp.modified() > self.known_until => {
                    let mut entry = self.new_entry(base.path.clone(), id, base.route, Position::default());
                    entry.home = (base.home != base.path).then(|| base.home.clone());
                    entry.fingerprint = Fingerprint::of(&content.beginning()?);
                    let incarnation = entry.incarnation;
                    if first {
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
                Recognised::New => {}
            }
        }
        if std::mem::replace(&mut self.undecided, true) {
            self.look_again.insert(base.clone());
        } else {
            self.undecided = undecided;
        }
        Ok(())
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
            } else if is_temporary(&path)
                && siblings::is_rotated(name, path.file_stem().unwrap_or_default())
                && let Ok(metadata) = fs::symlink_metadata(&path)
            {
                // One is being compressed, as kubelet does it.
                self.undecided |= !self.is_settled(Stamp::from(&metadata), wall);
            }
        }
        found
    }

    /// Whether a file, if it is open, still holds what was read of it; a copy may have been written over it.
    fn holds_its_own(&mut self, incarnation: Incarnation) -> bool {
        let replaced = self.is_replaced(incarnation);
        if let Some(tracked) = self.files.get_mut(&incarnation) {
            tracked.truncated |= replaced;
        }
        !replaced
    }

    /// Holds content against what is known of the files of these logs that it could be of.
    pub(super) fn recognise(
        &mut self,
        content: &mut Content,
        path: &Path,
        stamp: Stamp,
        wall: SystemTime,
        logs: &[Option<&Path>],
        could_be: impl Fn(&Tracked) -> bool,
    ) -> Recognised {
        let mut candidates: Vec<(Incarnation, u64)> = self
            .of_logs(logs)
            .filter(|tracked| could_be(tracked))
            .map(|tracked| (tracked.entry.incarnation, tracked.entry.proof.end))
            .collect();
        if candidates.is_empty() {
            return Recognised::New;
        }
        candidates.sort_by_key(|(_, end)| std::cmp::Reverse(*end));
        let ends = content.beginning().and_then(|beginning| {
            candidates.retain(|(incarnation, _)| self.files[incarnation].could_begin(&beginning));
            // A copy that has just been begun has nothing to be known by.
            let new = candidates.is_empty() && !beginning.is_empty();
            Ok(if new { None } else { Some((Fingerprint::of(&beginning), content.end()?)) })
        });
        let (fingerprint, end) = match ends {
            Ok(None) => return Recognised::New,
            Ok(Some((_, end))) if end.end == 0 && !self.is_settled(stamp, wall) => {
                self.undecided = true;
                return Recognised::Nothing;
            }
            Ok(Some(ends)) => {
                // What is a copy now may be another file once it has grown.
                self.undecided |= !self.is_settled(stamp, wall);
                ends
            }
            Err(error) => {
                self.is_unreadable(path, stamp, wall, &error);
                return Recognised::Nothing;
            }
        };
        for (incarnation, _) in candidates {
            let Ok(found) = self.compare(incarnation, content, fingerprint, &end) else { continue };
            match found {
                Recognised::New => {}
                found => return found,
            }
        }
        Recognised::New
    }

    /// Whether a file is not one that is still being compressed.
    pub(super) fn is_whole(
        &mut self,
        content: &mut Content,
        path: &Path,
        stamp: Stamp,
        wall: SystemTime,
    ) -> bool {
        !content.is_gzip()
            || content.end().inspect_err(|error| self.is_unreadable(path, stamp, wall, error)).is_ok()
    }

    /// A file that is still being compressed ends too early; it is looked at again.
    fn is_unreadable(&mut self, path: &Path, stamp: Stamp, wall: SystemTime, error: &io::Error) {
        if !self.is_settled(stamp, wall) {
            self.undecided = true;
        } else if self.refused.insert(path.to_owned()) {
            warn!(event = "read_failed", path = %path.display(), %error, "the file cannot be read and is left out");
        }
    }

    fn is_settled(&self, stamp: Stamp, wall: SystemTime) -> bool {
        wall.duration_since(stamp.modified()).is_ok_and(|age| age >= self.settings.rotate_wait)
    }

    /// Holds content, of which beginning and end are given, against one file.
    fn compare(
        &mut self,
        incarnation: Incarnation,
        content: &mut Content,
        beginning: Fingerprint,
        end: &Proof,
    ) -> io::Result<Recognised> {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return Ok(Recognised::New) };
        let (fingerprint, proof) = (tracked.entry.fingerprint, tracked.entry.proof);
        if let Some(open) = &mut tracked.content {
            // What the file holds now counts, and not what was read of it: it may have been truncated since.
            if end.end > 0 && open.is(beginning, end)? {
                return Ok(Recognised::Nothing);
            }
            if fingerprint.len > 0 && !open.is(fingerprint, &proof)? && content.is(fingerprint, &proof)? {
                tracked.truncated = true;
                self.undecided = true;
                return Ok(Recognised::Nothing);
            }
            return Ok(Recognised::New);
        }
        if fingerprint.len == 0 || !content.is(fingerprint, &proof)? {
            return Ok(Recognised::New);
        }
        if tracked.entry.status == Status::Finished && has_more(content, &proof)? {
            // Written to after it was left; or another file that begins like it, if that is not much.
            if usize::from(proof.len) < Proof::FULL {
                return Ok(Recognised::New);
            }
            tracked.entry.status = Status::Following;
        }
        Ok(Recognised::As(incarnation))
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
