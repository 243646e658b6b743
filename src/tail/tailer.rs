//! All followed files: who they are, where they are, and what comes next in them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

use super::checkpoint::{Checkpoint, Entry, Progress, Status};
use super::content::{Content, ReadOutcome};
use super::discovery::{self, Found, Roots, Selection};
use super::identity::{FileId, Fingerprint, Proof};
use super::settings::{StartAt, TailSettings};
use super::siblings;
use crate::source::{DestinationName, Incarnation, Position, RouteName};

/// Files carry the time of the kernel's last tick, which lags behind the clock.
const CLOCK_SLACK: Duration = Duration::from_secs(1);

/// A route, as far as following files goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// Its files.
    pub selection: Selection,
    /// Where it begins at its first ever start.
    pub start_at: StartAt,
    /// Its destinations.
    pub to: Vec<DestinationName>,
}

/// What a scan found.
#[derive(Debug, Default)]
pub struct Scan {
    /// Files that may have something to read.
    pub ready: Vec<Incarnation>,
    /// The folders in which changes can happen.
    pub folders: HashSet<PathBuf>,
}

/// What happened since the counts were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files that were renamed or deleted.
    pub rotations: u64,
    /// Files whose content was cut or replaced.
    pub truncations: u64,
    /// Files that were gone before they were read to their end.
    pub vanished: u64,
}

/// Whether a file's path still leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    AtPath,
    Away {
        /// Another file is at its path, or it cannot be written to any more.
        successor: bool,
    },
}

struct Tracked {
    entry: Entry,
    content: Option<Content>,
    place: Place,
    /// The furthest byte that was seen in it, read as a line or not, and when it came.
    seen: u64,
    grew: Instant,
}

impl Tracked {
    fn is_open(&self) -> bool {
        self.content.is_some()
    }

    fn base(&self) -> &OsStr {
        self.entry.path.file_name().unwrap_or_default()
    }

    fn folder(&self) -> &Path {
        self.entry.path.parent().unwrap_or(Path::new("/"))
    }

    /// Takes in what the file's beginning has grown by.
    fn refresh_fingerprint(&mut self) {
        if self.entry.fingerprint.is_full() {
            return;
        }
        let Some(Ok(beginning)) = self.content.as_mut().map(Content::beginning) else { return };
        if self.entry.fingerprint.matches(&beginning) {
            self.entry.fingerprint = Fingerprint::of(&beginning);
        }
    }

    /// Its length differs from what was read of it, or it may be time to leave it.
    fn has_news(&self) -> bool {
        let Some(content) = &self.content else { return false };
        if self.place != Place::AtPath || !self.entry.repairs.is_empty() {
            return true;
        }
        let read = self.entry.proof.end;
        let behind = self.entry.progress.iter().any(|progress| progress.position.offset < read);
        behind || content.is_gzip() || content.metadata().is_ok_and(|metadata| metadata.len() != read)
    }
}

/// All followed files.
pub struct Tailer {
    settings: TailSettings,
    routes: Vec<Route>,
    selections: Vec<Selection>,
    roots: Roots,
    files: HashMap<Incarnation, Tracked>,
    /// Which content a file holds now.
    by_id: HashMap<FileId, Incarnation>,
    /// Where writes are noticed, links resolved.
    by_path: HashMap<PathBuf, Incarnation>,
    started: HashSet<RouteName>,
    /// Until when the run before this one lived: unknown siblings written later appeared since.
    alive_until: SystemTime,
    counts: Counts,
    refused: HashSet<PathBuf>,
    /// A sibling could not be told yet; the next scan should come by itself.
    undecided: bool,
    /// Paths beside which something was in motion: the next scan looks there again.
    unsettled: HashSet<PathBuf>,
}

impl Tailer {
    /// Of routes, and of what an earlier run left.
    pub fn new(
        settings: TailSettings,
        routes: Vec<Route>,
        checkpoint: Option<&Checkpoint>,
        now: Instant,
        wall: SystemTime,
    ) -> Self {
        let selections: Vec<Selection> = routes.iter().map(|route| route.selection.clone()).collect();
        let patterns = selections.iter().flat_map(|selection| &selection.files);
        let roots = Roots::new(&settings.allowed_roots, patterns);
        let mut tailer = Self {
            settings,
            routes,
            selections,
            roots,
            files: HashMap::new(),
            by_id: HashMap::new(),
            by_path: HashMap::new(),
            started: HashSet::new(),
            alive_until: wall.checked_sub(CLOCK_SLACK).unwrap_or(UNIX_EPOCH),
            counts: Counts::default(),
            refused: HashSet::new(),
            undecided: false,
            unsettled: HashSet::new(),
        };
        if let Some(checkpoint) = checkpoint {
            tailer.started = checkpoint.routes.iter().cloned().collect();
            tailer.alive_until = (UNIX_EPOCH + Duration::from_millis(checkpoint.saved))
                .checked_sub(CLOCK_SLACK)
                .unwrap_or(UNIX_EPOCH);
            for entry in &checkpoint.files {
                tailer.track(entry.clone(), now);
            }
        }
        tailer
    }

    /// Adds what a buffer says of a file that the checkpoint did not know or knew less of.
    pub fn recovered(&mut self, entry: Entry, now: Instant) {
        match self.files.get_mut(&entry.incarnation) {
            Some(tracked) => {
                let progress = std::mem::take(&mut tracked.entry.progress);
                let repairs = std::mem::take(&mut tracked.entry.repairs);
                tracked.entry = Entry { progress, repairs, ..entry };
                let (id, incarnation) = (tracked.entry.id, tracked.entry.incarnation);
                self.by_id.insert(id, incarnation);
            }
            None => self.track(entry, now),
        }
    }

    fn track(&mut self, entry: Entry, now: Instant) {
        let incarnation = entry.incarnation;
        let newer = self.by_id.get(&entry.id).is_none_or(|other| {
            self.files[other].entry.status != Status::Following || entry.status == Status::Following
        });
        if newer {
            self.by_id.insert(entry.id, incarnation);
        }
        let tracked =
            Tracked { seen: entry.proof.end, entry, content: None, place: Place::AtPath, grew: now };
        self.files.insert(incarnation, tracked);
    }

    /// What is known of a file.
    pub fn entry(&self, incarnation: Incarnation) -> Option<&Entry> {
        self.files.get(&incarnation).map(|tracked| &tracked.entry)
    }

    /// What is known of a file, to move it on.
    pub fn entry_mut(&mut self, incarnation: Incarnation) -> Option<&mut Entry> {
        self.files.get_mut(&incarnation).map(|tracked| &mut tracked.entry)
    }

    /// Everything that is known, for a checkpoint.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.files.values().map(|tracked| &tracked.entry)
    }

    /// Routes that were started.
    pub fn started(&self) -> impl Iterator<Item = &RouteName> {
        self.started.iter()
    }

    /// Files that are open.
    pub fn open_files(&self) -> usize {
        self.files.values().filter(|tracked| tracked.is_open()).count()
    }

    /// Bytes in open files that some destination has not read yet. Compressed files are not counted.
    pub fn behind(&self) -> u64 {
        let lag = |tracked: &Tracked| {
            let content = tracked.content.as_ref().filter(|content| !content.is_gzip())?;
            let read = tracked.entry.progress.iter().map(|progress| progress.position.offset).min()?;
            Some(content.metadata().ok()?.len().saturating_sub(read))
        };
        self.files.values().filter_map(lag).sum()
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// The file that a noticed write belongs to.
    pub fn at(&self, path: &Path) -> Option<Incarnation> {
        self.by_path.get(path).copied()
    }

    /// Whether a scan is due even if nothing is noticed: a file waits for its end, or a sibling could not be
    /// told yet.
    pub fn wants_scan(&self) -> bool {
        self.undecided
            || !self.unsettled.is_empty()
            || self.files.values().any(|tracked| tracked.is_open() && tracked.place != Place::AtPath)
    }

    /// Looks at all folders, meets what is new, and sees what has moved.
    pub fn scan(&mut self, now: Instant, wall: SystemTime) -> Scan {
        self.undecided = false;
        let walk = discovery::walk(&self.selections, &self.roots);
        for (path, reason) in walk.refused {
            if self.refused.insert(path.clone()) {
                warn!(event = "path_refused", path = %path.display(), reason, "this path is not followed");
            }
        }
        let mut seen = HashSet::new();
        let mut ids = HashSet::new();
        let mut fresh = Vec::new();
        for found in walk.found {
            // The second name of a file is no second file.
            if !ids.insert(found.id) {
                continue;
            }
            match self.by_id.get(&found.id).copied() {
                Some(incarnation) => {
                    seen.insert(self.meet(incarnation, &found, now).unwrap_or(incarnation));
                }
                None => fresh.push(found),
            }
        }
        let away: Vec<Incarnation> = self
            .files
            .iter()
            .filter(|(incarnation, tracked)| {
                tracked.entry.status == Status::Following && !seen.contains(*incarnation)
            })
            .map(|(incarnation, _)| *incarnation)
            .collect();
        let mut bases = std::mem::take(&mut self.unsettled);
        for incarnation in &away {
            if self.see_away(*incarnation) {
                bases.insert(self.files[incarnation].entry.path.clone());
            }
        }
        for found in fresh {
            let path = found.path.clone();
            if self.adopt(found, now, wall) {
                bases.insert(path);
            }
        }
        for base in bases {
            self.look_beside(&base, now, wall);
        }
        for incarnation in away {
            self.give_up_if_gone(incarnation, wall);
        }
        self.started.extend(self.routes.iter().map(|route| route.name.clone()));
        let ready =
            self.files.iter().filter(|(_, tracked)| tracked.has_news()).map(|(incarnation, _)| *incarnation);
        Scan { ready: ready.collect(), folders: walk.folders }
    }

    /// A file whose id is known. Returns the incarnation that it holds now, if that is another: then the one
    /// before is elsewhere, if anywhere.
    fn meet(&mut self, incarnation: Incarnation, found: &Found, now: Instant) -> Option<Incarnation> {
        let route = &self.routes[found.route];
        let tracked = self.files.get_mut(&incarnation)?;
        let entry = &mut tracked.entry;
        if entry.status == Status::Following {
            entry.route = route.name.clone();
            reconcile_destinations(entry, &route.to);
        }
        if tracked.is_open() {
            tracked.place = Place::AtPath;
            tracked.entry.moved_to = (found.path != tracked.entry.path).then(|| found.path.clone());
            return None;
        }
        let entry = &tracked.entry;
        match entry.status {
            Status::Ignored => return None,
            Status::Finished if found.len == entry.proof.end => return None,
            Status::Finished | Status::Following => {}
        }
        let mut content = self.open(&found.path, found.id)?;
        let tracked = self.files.get_mut(&incarnation)?;
        match content.is(tracked.entry.fingerprint, &tracked.entry.proof) {
            Ok(true) => {
                tracked.entry.status = Status::Following;
                tracked.entry.vanished = None;
                tracked.entry.moved_to = (found.path != tracked.entry.path).then(|| found.path.clone());
                tracked.place = Place::AtPath;
                tracked.grew = now;
                self.attach(incarnation, content);
                None
            }
            Ok(false) if content.is_gzip() => None,
            Ok(false) => {
                info!(event = "file_replaced", path = %found.path.display(),
                    "the file was truncated or replaced while kinetail was not looking; it is read from its beginning");
                self.counts.truncations += 1;
                let entry = self.new_entry(found.path.clone(), found.id, found.route, Position::default());
                let new = entry.incarnation;
                self.track(entry, now);
                self.by_id.insert(found.id, new);
                self.attach(new, content);
                Some(new)
            }
            Err(error) => {
                warn!(event = "read_failed", path = %found.path.display(), %error, "the file cannot be read");
                None
            }
        }
    }

    /// A file whose path no longer leads to it. Returns whether it has to be looked for beside its path.
    fn see_away(&mut self, incarnation: Incarnation) -> bool {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return false };
        let id = tracked.entry.id;
        let Some(content) = &tracked.content else {
            tracked.place = Place::Away { successor: true };
            return true;
        };
        let deleted = content.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        if !deleted {
            tracked.entry.moved_to = content.path_now().filter(|path| *path != tracked.entry.path);
        }
        let successor = deleted
            || content.is_gzip()
            || fs::metadata(&tracked.entry.path).is_ok_and(|metadata| FileId::from(&metadata) != id);
        if tracked.place == Place::AtPath {
            self.counts.rotations += 1;
            info!(event = "rotated", path = %tracked.entry.path.display(), deleted, "the file was rotated; it is read to its end");
        }
        tracked.place = Place::Away { successor };
        false
    }

    /// A file that was not found again, nor its content.
    fn give_up_if_gone(&mut self, incarnation: Incarnation, wall: SystemTime) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        if tracked.is_open() || tracked.entry.status != Status::Following {
            return;
        }
        tracked.entry.status = Status::Finished;
        tracked.entry.vanished = Some(millis(wall));
        self.counts.vanished += 1;
        warn!(event = "file_vanished", path = %tracked.entry.path.display(), offset = tracked.entry.proof.end,
            "the file was removed while kinetail was not running; what was written to it after this offset is lost");
    }

    /// A file that was never seen under this id. Returns whether siblings of it may be new too.
    fn adopt(&mut self, found: Found, now: Instant, wall: SystemTime) -> bool {
        let first = !self.started.contains(&self.routes[found.route].name);
        let Some(mut content) = self.open(&found.path, found.id) else { return false };
        let folder = found.path.parent().unwrap_or(Path::new("/")).to_owned();
        let name = found.path.file_name().unwrap_or_default().to_owned();
        let is_rotated =
            |tracked: &Tracked| tracked.folder() == folder && siblings::is_rotated(tracked.base(), &name);
        match self.recognise(&mut content, found.len, found.modified, wall, is_rotated) {
            Recognised::As(incarnation) => {
                self.resume_elsewhere(incarnation, found.path, found.id, content, now);
                return false;
            }
            Recognised::Copy => return false,
            Recognised::Unsettled => {
                self.undecided = true;
                return false;
            }
            Recognised::New => {}
        }
        let start = if first && self.routes[found.route].start_at == StartAt::End && !content.is_gzip() {
            end_of(&mut content, found.len).unwrap_or_default()
        } else {
            (Position::default(), Proof::default())
        };
        let mut entry = self.new_entry(found.path, found.id, found.route, start.0);
        entry.proof = start.1;
        entry.fingerprint =
            content.beginning().map(|beginning| Fingerprint::of(&beginning)).unwrap_or_default();
        info!(event = "file_found", path = %entry.path.display(), route = %entry.route, offset = entry.proof.end, incarnation = %entry.incarnation, inode = entry.id.inode, "following a file");
        let incarnation = entry.incarnation;
        self.track(entry, now);
        self.attach(incarnation, content);
        true
    }

    /// Looks at what rotation left beside a path: files that moved there, compressed ones, copies, and such as
    /// came and went without being seen.
    fn look_beside(&mut self, base: &Path, now: Instant, wall: SystemTime) {
        let folder = base.parent().unwrap_or(Path::new("/"));
        let name = base.file_name().unwrap_or_default();
        let Some(route) = discovery::route_of(&self.selections, base) else { return };
        // A folder that is gone took its files along.
        let Ok(siblings) = fs::read_dir(folder) else { return };
        for sibling in siblings.flatten() {
            let sibling_name = sibling.file_name();
            // What is being compressed is there under neither of its names for a moment.
            let in_motion = Path::new(&sibling_name).extension().is_some_and(|extension| extension == "tmp");
            if in_motion
                && siblings::is_rotated(name, Path::new(&sibling_name).file_stem().unwrap_or_default())
            {
                self.unsettled.insert(base.to_owned());
            }
            if siblings::is_rotated(name, &sibling_name) {
                self.look_at_sibling(base, route, &sibling.path(), now, wall);
            }
        }
    }

    fn look_at_sibling(&mut self, base: &Path, route: usize, path: &Path, now: Instant, wall: SystemTime) {
        let first = !self.started.contains(&self.routes[route].name);
        let Ok(metadata) = fs::symlink_metadata(path) else {
            self.unsettled.insert(base.to_owned());
            return;
        };
        if !metadata.is_file() {
            return;
        }
        let id = FileId::from(&metadata);
        let known = self.by_id.get(&id).copied();
        if known.is_some_and(|incarnation| self.files[&incarnation].is_open()) {
            return;
        }
        // A route that wants rotated files by their own names has met them already.
        if discovery::route_of(&self.selections, path).is_some() {
            return;
        }
        let Some(mut content) = self.open(path, id) else {
            self.unsettled.insert(base.to_owned());
            return;
        };
        if let Some(incarnation) = known {
            // By its inode it is known; whether the inode was not given to another file, its content tells. A
            // compressed file was held against its content when it was met.
            let entry = &self.files[&incarnation].entry;
            let finished = entry.status != Status::Following;
            if finished && content.is_gzip() && entry.moved_to.as_deref() == Some(path) {
                return;
            }
            // Of a file that was empty as long as it was known, nothing can be recognised.
            let blank = finished && entry.fingerprint.len == 0;
            if !blank && content.is(entry.fingerprint, &entry.proof).unwrap_or(false) {
                if !finished || metadata.len() > entry.proof.end && entry.status == Status::Finished {
                    self.resume_elsewhere(incarnation, path.to_owned(), id, content, now);
                }
                return;
            }
        }
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let of_base = |tracked: &Tracked| tracked.entry.path == base;
        match self.recognise(&mut content, metadata.len(), modified, wall, of_base) {
            Recognised::As(incarnation) => {
                self.resume_elsewhere(incarnation, path.to_owned(), id, content, now)
            }
            Recognised::Copy => {}
            Recognised::Unsettled => {
                self.unsettled.insert(base.to_owned());
            }
            Recognised::New if first => {
                let mut entry = self.new_entry(base.to_owned(), id, route, Position::default());
                entry.moved_to = Some(path.to_owned());
                entry.fingerprint =
                    content.beginning().map(|text| Fingerprint::of(&text)).unwrap_or_default();
                entry.status = Status::Ignored;
                self.track(entry, now);
            }
            Recognised::New if modified > self.alive_until => {
                info!(event = "rotated_file_found", path = %path.display(),
                    "a rotated file that was not seen before is read from its beginning");
                let mut entry = self.new_entry(base.to_owned(), id, route, Position::default());
                entry.moved_to = Some(path.to_owned());
                let incarnation = entry.incarnation;
                self.track(entry, now);
                self.by_id.insert(id, incarnation);
                self.attach(incarnation, content);
                self.set_away(incarnation);
            }
            Recognised::New => {}
        }
    }

    /// Holds content against what is known of the files among which it could belong.
    fn recognise(
        &mut self,
        content: &mut Content,
        len: u64,
        modified: SystemTime,
        wall: SystemTime,
        among: impl Fn(&Tracked) -> bool,
    ) -> Recognised {
        let Ok(beginning) = content.beginning() else { return Recognised::New };
        // What has not been read yet, or has grown since, must be known by what it holds now.
        for tracked in self.files.values_mut().filter(|tracked| among(tracked)) {
            tracked.refresh_fingerprint();
        }
        let mut candidates: Vec<(Incarnation, Fingerprint, Proof, bool)> = self
            .files
            .values()
            .filter(|tracked| among(tracked) && tracked.entry.fingerprint.len > 0)
            .filter(|tracked| tracked.entry.fingerprint.matches(&beginning))
            .map(|tracked| {
                (tracked.entry.incarnation, tracked.entry.fingerprint, tracked.entry.proof, tracked.is_open())
            })
            .collect();
        candidates.sort_by_key(|(_, _, proof, _)| std::cmp::Reverse(proof.end));
        let settled = wall.duration_since(modified).is_ok_and(|age| age >= self.settings.rotate_wait);
        for (incarnation, fingerprint, proof, open) in candidates {
            match content.is(fingerprint, &proof) {
                Ok(true) if open => return Recognised::Copy,
                Ok(true) => return Recognised::As(incarnation),
                // A copy that is still being written.
                _ if open && !settled && !content.is_gzip() && len < proof.end => {
                    return Recognised::Unsettled;
                }
                _ => {}
            }
        }
        Recognised::New
    }

    /// A known content that turned up in another place: renamed, compressed or copied.
    fn resume_elsewhere(
        &mut self,
        incarnation: Incarnation,
        path: PathBuf,
        id: FileId,
        content: Content,
        now: Instant,
    ) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let before = std::mem::replace(&mut tracked.entry.id, id);
        tracked.entry.vanished = None;
        tracked.entry.moved_to = Some(path);
        tracked.grew = now;
        // Its old inode may be another file's by now.
        if self.by_id.get(&before) == Some(&incarnation) {
            self.by_id.remove(&before);
        }
        self.by_id.insert(id, incarnation);
        // A finished file is resumed only where it has grown since.
        let grown = tracked.entry.status == Status::Finished
            && !content.is_gzip()
            && content.metadata().is_ok_and(|metadata| metadata.len() > tracked.entry.proof.end);
        if grown {
            tracked.entry.status = Status::Following;
        }
        if tracked.entry.status == Status::Following {
            info!(event = "rotated_file_resumed", path = %tracked.entry.path.display(),
                offset = tracked.entry.proof.end, gzip = content.is_gzip(), "a rotated file is read to its end");
            self.attach(incarnation, content);
            self.set_away(incarnation);
        }
    }

    fn set_away(&mut self, incarnation: Incarnation) {
        if let Some(tracked) = self.files.get_mut(&incarnation) {
            let path_taken = fs::metadata(&tracked.entry.path)
                .is_ok_and(|metadata| FileId::from(&metadata) != tracked.entry.id);
            let gzip = tracked.content.as_ref().is_some_and(Content::is_gzip);
            tracked.place = Place::Away { successor: path_taken || gzip };
        }
    }

    fn new_entry(&self, path: PathBuf, id: FileId, route: usize, start: Position) -> Entry {
        let route = &self.routes[route];
        Entry {
            incarnation: Incarnation::mint(),
            id,
            path,
            moved_to: None,
            route: route.name.clone(),
            fingerprint: Fingerprint::default(),
            proof: Proof::default(),
            status: Status::Following,
            vanished: None,
            progress: route.to.iter().map(|to| Progress::at(to.clone(), start.clone())).collect(),
            repairs: Vec::new(),
        }
    }

    /// Opens a file, if it is still the one that was found and lies where it may.
    fn open(&mut self, path: &Path, id: FileId) -> Option<Content> {
        let opened = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((FileId::from(&metadata) == id && metadata.is_file(), file))
        });
        let gzip = path.extension().is_some_and(|extension| extension == "gz");
        match opened.and_then(|(same, file)| if same { Content::new(file, gzip).map(Some) } else { Ok(None) })
        {
            Ok(Some(content)) => {
                // The name may have been redirected since it was resolved: the open file decides.
                let real = content.path_now();
                real.is_none_or(|real| self.roots.allow(&real)).then_some(content)
            }
            // Replaced since it was found: the next scan will see.
            Ok(None) => {
                self.undecided = true;
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                if self.refused.insert(path.to_owned()) {
                    warn!(event = "open_failed", path = %path.display(), %error, "the file cannot be opened");
                }
                self.undecided = true;
                None
            }
        }
    }

    fn attach(&mut self, incarnation: Incarnation, content: Content) {
        if let Some(real) = content.path_now() {
            self.by_path.insert(real, incarnation);
        }
        if let Some(tracked) = self.files.get_mut(&incarnation) {
            self.refused.remove(&tracked.entry.path);
            tracked.content = Some(content);
            tracked.refresh_fingerprint();
        }
    }

    /// Reads what follows a proof's offset, up to `want` bytes, in place of what is in the buffer.
    ///
    /// # Errors
    ///
    /// The file cannot be read. It is tried again with the next call.
    pub fn read(
        &mut self,
        incarnation: Incarnation,
        proof: &Proof,
        want: usize,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) -> io::Result<ReadOutcome> {
        buffer.clear();
        let Some(tracked) = self.files.get_mut(&incarnation) else { return Ok(ReadOutcome::Bytes(0)) };
        let Some(content) = &mut tracked.content else { return Ok(ReadOutcome::Bytes(0)) };
        let outcome = content.read(proof, want, buffer)?;
        if let ReadOutcome::Bytes(1..) = outcome {
            let end = proof.end + buffer.len() as u64;
            if end > tracked.seen {
                (tracked.seen, tracked.grew) = (end, now);
            }
            tracked.refresh_fingerprint();
        }
        Ok(outcome)
    }

    /// What a file holds is no longer what was read: it was truncated. From here on it is another incarnation,
    /// which is returned, read from its beginning; the old one is finished from a copy, if there is one. Of a
    /// rotated file that was overwritten, the next scan tells what it is.
    pub fn replaced(
        &mut self,
        incarnation: Incarnation,
        now: Instant,
        wall: SystemTime,
    ) -> Option<Incarnation> {
        let route = {
            let entry = &self.files.get(&incarnation)?.entry;
            self.routes.iter().position(|route| route.name == entry.route)?
        };
        self.counts.truncations += 1;
        let tracked = self.files.get_mut(&incarnation)?;
        let content = tracked.content.take()?;
        if tracked.place != Place::AtPath {
            // A rotated file was overwritten, as by the next copy. What it is now, a look beside the path tells.
            tracked.entry.status = Status::Finished;
            tracked.entry.vanished = Some(millis(wall));
            self.unsettled.insert(tracked.entry.path.clone());
            self.by_id.remove(&tracked.entry.id);
            return None;
        }
        let place = std::mem::replace(&mut tracked.place, Place::Away { successor: true });
        let (path, id, offset) = (tracked.entry.path.clone(), tracked.entry.id, tracked.entry.proof.end);
        let mut entry = self.new_entry(path.clone(), id, route, Position::default());
        entry.moved_to = self.files[&incarnation].entry.moved_to.clone();
        let new = entry.incarnation;
        self.track(entry, now);
        self.by_id.insert(id, new);
        self.attach(new, content);
        if let Some(tracked) = self.files.get_mut(&new) {
            tracked.place = place;
        }
        info!(event = "truncated", path = %path.display(), offset, "the file was truncated; it is read from its beginning");
        self.look_beside(&path, now, wall);
        let tracked = self.files.get_mut(&incarnation)?;
        if !tracked.is_open() {
            tracked.entry.status = Status::Finished;
            tracked.entry.vanished = Some(millis(wall));
        }
        Some(new)
    }

    /// Whether a file that has nothing more to read now will have nothing more for ever.
    pub fn has_ended(&self, incarnation: Incarnation, now: Instant) -> bool {
        self.files.get(&incarnation).is_none_or(|tracked| match (&tracked.content, tracked.place) {
            (None, _) => true,
            (Some(content), _) if content.is_gzip() => true,
            (_, Place::Away { successor: true }) => {
                now.saturating_duration_since(tracked.grew) >= self.settings.rotate_wait
            }
            _ => false,
        })
    }

    /// Whether it was deleted: only its open descriptor still holds it.
    pub fn is_deleted(&self, incarnation: Incarnation) -> bool {
        self.files
            .get(&incarnation)
            .and_then(|tracked| tracked.content.as_ref()?.metadata().ok())
            .is_some_and(|metadata| metadata.nlink() == 0)
    }

    /// Opens a file again that was left, to read a part of it once more. Returns whether its content is still
    /// there.
    pub fn reopen(&mut self, incarnation: Incarnation, now: Instant) -> bool {
        let Some(tracked) = self.files.get(&incarnation) else { return false };
        if tracked.is_open() {
            return true;
        }
        let (fingerprint, proof, id) = (tracked.entry.fingerprint, tracked.entry.proof, tracked.entry.id);
        let path = tracked.entry.moved_to.clone().unwrap_or_else(|| tracked.entry.path.clone());
        let Some(mut content) = self.open(&path, id) else { return false };
        if !content.is(fingerprint, &proof).unwrap_or(false) {
            return false;
        }
        self.attach(incarnation, content);
        if let Some(tracked) = self.files.get_mut(&incarnation) {
            tracked.entry.status = Status::Following;
            tracked.grew = now;
        }
        true
    }

    /// Leaves a file that has ended.
    pub fn finish(&mut self, incarnation: Incarnation, wall: SystemTime) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let content = tracked.content.take();
        tracked.entry.status = Status::Finished;
        if content.is_none_or(|content| content.metadata().is_ok_and(|metadata| metadata.nlink() == 0)) {
            tracked.entry.vanished = Some(millis(wall));
        }
        debug!(event = "file_finished", path = %tracked.entry.path.display(), offset = tracked.entry.proof.end);
        self.by_path.retain(|_, held| *held != incarnation);
    }

    /// Forgets files that have been gone for `forget_after`.
    pub fn forget(&mut self, wall: SystemTime) {
        let limit = self.settings.forget_after;
        self.files.retain(|_, tracked| {
            if tracked.is_open() || tracked.entry.status == Status::Following {
                return true;
            }
            let entry = &mut tracked.entry;
            let there = fs::metadata(entry.moved_to.as_ref().unwrap_or(&entry.path))
                .is_ok_and(|metadata| FileId::from(&metadata) == entry.id);
            if there {
                entry.vanished = None;
                return true;
            }
            let since = UNIX_EPOCH + Duration::from_millis(*entry.vanished.get_or_insert(millis(wall)));
            wall.duration_since(since).is_ok_and(|gone| gone < limit)
        });
        self.by_id.retain(|_, incarnation| self.files.contains_key(incarnation));
    }
}

enum Recognised {
    /// It is the content of this file, whose own place holds it no more.
    As(Incarnation),
    /// It is a copy of a file that is still there: nothing to read in it.
    Copy,
    /// It may be a copy that is still being written: to be looked at again.
    Unsettled,
    /// Nothing like it is known.
    New,
}

/// Gives an entry progress for every destination of its route. One that was added to the configuration begins
/// where the others are.
fn reconcile_destinations(entry: &mut Entry, to: &[DestinationName]) {
    let furthest =
        entry.progress.iter().map(|progress| &progress.position).max_by_key(|position| position.offset);
    let furthest = furthest.cloned().unwrap_or_default();
    for name in to {
        if !entry.progress.iter().any(|progress| progress.to == *name) {
            entry.progress.push(Progress::at(name.clone(), furthest.clone()));
        }
    }
}

/// Where a file ends, at the start of its last line if that has no newline yet.
fn end_of(content: &mut Content, len: u64) -> io::Result<(Position, Proof)> {
    let start = len.saturating_sub(Proof::FULL as u64);
    let mut tail = Vec::new();
    content.read(&Proof { end: start, len: 0, hash: 0 }, (len - start) as usize, &mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n').map_or(tail.len(), |newline| newline + 1);
    let offset = start + end as u64;
    Ok((Position::at(offset), Proof::of(&tail[..end], offset)))
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
