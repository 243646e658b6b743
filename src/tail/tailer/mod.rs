//! All followed files: who they are, where they are, and what comes next in them.
//!
//! Here is what is known of them; [`scan`](Tailer::scan) finds out what has become of them, and [`beside`] what
//! rotation made of them.

mod beside;
mod held;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

use self::beside::{Base, ByLog};
use super::checkpoint::{Checkpoint, Entry, Progress, Status};
use super::content::{Content, ReadOutcome};
use super::discovery::{Roots, Selection};
use super::identity::{FileId, Fingerprint, Proof, Stamp};
use super::settings::{StartAt, TailSettings};
use super::siblings::LogKey;
use crate::source::{DestinationName, Incarnation, Position, RouteName};

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
    /// Files that were left though not all of them was read.
    pub abandoned: Vec<Incarnation>,
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
    /// Deleted files that were left unread because of [`TailSettings`]' limits.
    pub abandoned: u64,
    /// The bytes in them that some destination had not read.
    pub abandoned_bytes: u64,
}

/// A write may bear a time that is a little earlier than that of a look before it: the kernel's clock for files
/// is coarse, and a network file system's is another's.
const CLOCK_LAG: Duration = Duration::from_secs(1);

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
    /// Up to where it was ever seen to reach, and since when it does.
    reaches: u64,
    grew: Instant,
    /// It was looked for once and not found.
    missed: bool,
    /// It no longer holds what was read of it, though that was not noticed by reading yet.
    truncated: bool,
}

impl Tracked {
    fn is_open(&self) -> bool {
        self.content.is_some()
    }

    /// Beside it lies what rotation makes of the file.
    fn home(&self) -> &Path {
        self.entry.home.as_ref().unwrap_or(&self.entry.path)
    }

    /// Whether content that begins like this may be its own, or a part of it.
    fn could_begin(&self, beginning: &[u8]) -> bool {
        // What an open file holds now may be something else than what was read of it.
        self.is_open() || self.entry.fingerprint.len > 0 && self.entry.fingerprint.matches(beginning)
    }

    /// Its length differs from what was read of it, or it may be time to leave it.
    fn has_news(&self) -> bool {
        let Some(content) = &self.content else { return false };
        if self.place != Place::AtPath || self.truncated || !self.entry.repairs.is_empty() {
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
    /// The files of each log, by the names that routes know and by those where links lead.
    by_log: HashMap<LogKey, HashSet<Incarnation>>,
    /// Where writes are noticed, links resolved.
    by_path: HashMap<PathBuf, Incarnation>,
    started: HashSet<RouteName>,
    /// Up to when everything that was there is known.
    known_until: SystemTime,
    /// When the last scan was.
    scanned: SystemTime,
    counts: Counts,
    refused: HashSet<PathBuf>,
    /// Files that were opened since they were last asked for.
    attached: Vec<Incarnation>,
    /// How many files are open.
    open: usize,
    /// So many files could not be opened at the last look, because too many are open.
    waiting: usize,
    /// That was said.
    full: bool,
    /// Something could not be told yet; the next scan should come by itself.
    undecided: bool,
    /// Beside what that was.
    look_again: HashSet<Base>,
    /// What stands in folders, as far as one look has to know it.
    listed: HashMap<PathBuf, ByLog>,
    /// What stood beside a path when it was last looked at.
    beside: HashMap<PathBuf, u64>,
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
            by_log: HashMap::new(),
            by_path: HashMap::new(),
            started: HashSet::new(),
            known_until: wall,
            scanned: wall,
            counts: Counts::default(),
            refused: HashSet::new(),
            attached: Vec::new(),
            open: 0,
            waiting: 0,
            full: false,
            undecided: false,
            look_again: HashSet::new(),
            listed: HashMap::new(),
            beside: HashMap::new(),
        };
        if let Some(checkpoint) = checkpoint {
            tailer.started = checkpoint.routes.iter().cloned().collect();
            tailer.known_until = UNIX_EPOCH + Duration::from_millis(checkpoint.known_until);
            tailer.scanned = tailer.known_until;
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
                let (incarnation, id, before) = (entry.incarnation, entry.id, tracked.entry.id);
                let progress = std::mem::take(&mut tracked.entry.progress);
                let repairs = std::mem::take(&mut tracked.entry.repairs);
                tracked.entry = Entry { progress, repairs, ..entry };
                (tracked.entry.id, tracked.reaches) = (before, tracked.entry.proof.end);
                self.now_at(incarnation, id);
                self.note_log(incarnation);
            }
            None => self.track(entry, now),
        }
    }

    /// Notes which file on disk holds the content now, and that it holds no other's.
    fn now_at(&mut self, incarnation: Incarnation, id: FileId) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let before = std::mem::replace(&mut tracked.entry.id, id);
        if before != id && self.by_id.get(&before) == Some(&incarnation) {
            self.by_id.remove(&before);
        }
        if id == FileId::NONE {
            return;
        }
        let other = self.by_id.insert(id, incarnation).filter(|other| *other != incarnation);
        if let Some(other) = other.and_then(|other| self.files.get_mut(&other)) {
            other.entry.id = FileId::NONE;
        }
    }

    fn track(&mut self, entry: Entry, now: Instant) {
        let (incarnation, id) = (entry.incarnation, entry.id);
        let tracked = Tracked {
            reaches: entry.proof.end,
            entry,
            content: None,
            place: Place::AtPath,
            grew: now,
            missed: false,
            truncated: false,
        };
        self.files.insert(incarnation, tracked);
        self.now_at(incarnation, id);
        self.note_log(incarnation);
    }

    /// Notes of which log a file is.
    fn note_log(&mut self, incarnation: Incarnation) {
        let Some(tracked) = self.files.get(&incarnation) else { return };
        for path in [tracked.entry.path.as_path(), tracked.home()] {
            self.by_log.entry(LogKey::of(path)).or_default().insert(incarnation);
        }
    }

    /// The files of the logs of these paths.
    fn of_logs<'a>(&'a self, paths: &[Option<&Path>]) -> impl Iterator<Item = &'a Tracked> + use<'a> {
        let logs: HashSet<LogKey> = paths.iter().flatten().map(|path| LogKey::of(path)).collect();
        let files: HashSet<Incarnation> =
            logs.iter().filter_map(|log| self.by_log.get(log)).flatten().copied().collect();
        files.into_iter().filter_map(|incarnation| self.files.get(&incarnation))
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

    /// Everything that the last scan found to read was looked into.
    pub fn caught_up(&mut self) {
        self.known_until = self.scanned.checked_sub(CLOCK_LAG).unwrap_or(UNIX_EPOCH);
    }

    /// Up to when everything that was there is known, milliseconds since 1970.
    pub fn known_until(&self) -> u64 {
        millis(self.known_until)
    }

    /// Files that are open.
    pub fn open_files(&self) -> usize {
        self.open
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
            || self.files.values().any(|tracked| tracked.is_open() && tracked.place != Place::AtPath)
    }

    fn new_entry(&self, path: PathBuf, id: FileId, route: usize, start: Position) -> Entry {
        let route = &self.routes[route];
        Entry {
            incarnation: Incarnation::mint(),
            id,
            path,
            home: None,
            moved_to: None,
            route: route.name.clone(),
            fingerprint: Fingerprint::default(),
            proof: Proof::default(),
            status: Status::Following,
            settled: None,
            vanished: None,
            progress: route.to.iter().map(|to| Progress::at(to.clone(), start.clone())).collect(),
            repairs: Vec::new(),
        }
    }

    /// Opens a file, if it is still the one that was found and lies where it may, and there is room for one more.
    fn open(&mut self, path: &Path, id: FileId) -> Option<Content> {
        if self.open >= self.settings.max_open_files {
            (self.undecided, self.waiting) = (true, self.waiting + 1);
            return None;
        }
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
        self.attached.push(incarnation);
        if let Some(real) = content.path_now() {
            self.by_path.insert(real, incarnation);
        }
        if let Some(tracked) = self.files.get_mut(&incarnation) {
            self.refused.remove(&tracked.entry.path);
            self.open += usize::from(tracked.content.replace(content).is_none());
            tracked.missed = false;
            tracked.entry.settled = None;
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
        // An offset without a proof of its own is as good as the file.
        if proof.len == 0 && proof.end > 0 && !content.holds(&tracked.entry.proof)? {
            return Ok(ReadOutcome::Replaced);
        }
        // Where there is little or nothing before the offset, the proof does not say much.
        if !tracked.entry.fingerprint.is_full() || proof.end < Fingerprint::FULL as u64 {
            let beginning = content.beginning()?;
            if !tracked.entry.fingerprint.matches(&beginning) {
                return Ok(ReadOutcome::Replaced);
            }
            tracked.entry.fingerprint = Fingerprint::of(&beginning);
        }
        let outcome = content.read(proof, want, buffer)?;
        if let ReadOutcome::Bytes(1..) = outcome {
            let reaches = proof.end + buffer.len() as u64;
            if reaches > tracked.reaches {
                (tracked.reaches, tracked.grew) = (reaches, now);
            }
        }
        Ok(outcome)
    }

    /// Whether a file is open and compressed.
    pub fn is_compressed(&self, incarnation: Incarnation) -> bool {
        self.files
            .get(&incarnation)
            .and_then(|tracked| tracked.content.as_ref())
            .is_some_and(Content::is_gzip)
    }

    /// Whether a file, of which nothing can be read now, no longer holds what was read of it.
    pub fn is_replaced(&mut self, incarnation: Incarnation) -> bool {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return false };
        let (fingerprint, proof) = (tracked.entry.fingerprint, tracked.entry.proof);
        // What cannot be read is told when it is read.
        tracked
            .content
            .as_mut()
            .is_some_and(|content| content.is(fingerprint, &proof).is_ok_and(|same| !same))
    }

    /// What a file holds is no longer what was read: it was truncated. From here on it is another incarnation, read
    /// from its beginning; the old one is finished from a copy, if there is one. Returns what is to be read next.
    ///
    /// What a rotated file holds is told by the next scan: a copy may have been put in its place.
    pub fn replaced(&mut self, incarnation: Incarnation, now: Instant, wall: SystemTime) -> Vec<Incarnation> {
        let Some(base) = self.base_of(incarnation) else { return Vec::new() };
        let Some(tracked) = self.files.get_mut(&incarnation) else { return Vec::new() };
        let Some(content) = tracked.content.take() else { return Vec::new() };
        self.open -= 1;
        tracked.truncated = false;
        let in_place = tracked.place == Place::AtPath && tracked.entry.moved_to.is_none();
        tracked.place = Place::Away { successor: true };
        let (id, offset) = (tracked.entry.id, tracked.entry.proof.end);
        self.now_at(incarnation, FileId::NONE);
        self.counts.truncations += 1;
        info!(event = "truncated", path = %base.path.display(), offset, "the file was truncated; it is read from its beginning");
        if in_place {
            let mut entry = self.new_entry(base.path.clone(), id, base.route, Position::default());
            entry.home = (base.home != base.path).then(|| base.home.clone());
            let new = entry.incarnation;
            self.track(entry, now);
            self.attach(new, content);
        } else {
            self.undecided = true;
        }
        self.listed.clear();
        if let Err(error) = self.look_beside(&base, now, wall) {
            debug!(event = "siblings_unread", path = %base.home.display(), %error);
        }
        self.give_up(incarnation, now, wall);
        std::mem::take(&mut self.attached)
    }

    /// Leaves a file of whose content nothing was found again, unless that could not be told yet. What is renamed
    /// while a folder is listed may be in the list under neither of its names, so it takes two looks.
    fn give_up(&mut self, incarnation: Incarnation, now: Instant, wall: SystemTime) {
        let base = self.base_of(incarnation);
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        if tracked.is_open() || tracked.entry.status != Status::Following {
            return;
        }
        if let Some(base) = base {
            let again = !std::mem::replace(&mut tracked.missed, true) && self.look_again.insert(base.clone());
            if again || self.look_again.contains(&base) {
                self.undecided = true;
                return;
            }
        }
        tracked.entry.status = Status::Finished;
        tracked.entry.vanished = Some(millis(wall));
        let read = tracked.entry.progress.iter().map(|progress| progress.position.offset).min();
        let stable = now.saturating_duration_since(tracked.grew) >= self.settings.rotate_wait;
        if stable && read >= Some(tracked.reaches) {
            debug!(event = "file_gone", path = %tracked.entry.path.display(), offset = tracked.reaches);
            return;
        }
        self.counts.vanished += 1;
        warn!(event = "file_vanished", path = %tracked.entry.path.display(), offset = read,
            "the file's content is gone; what was written to it after this offset and was not read is lost");
    }

    /// Whether a file that has nothing more to read now will have nothing more for ever.
    pub fn has_ended(&self, incarnation: Incarnation, now: Instant) -> bool {
        self.files.get(&incarnation).is_none_or(|tracked| match (&tracked.content, tracked.place) {
            (None, _) => tracked.entry.status != Status::Following,
            (Some(content), _) if content.is_gzip() => true,
            (_, Place::Away { successor: true }) => {
                now.saturating_duration_since(tracked.grew) >= self.settings.rotate_wait
            }
            _ => false,
        })
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
        self.open -= usize::from(content.is_some());
        let metadata = content.and_then(|content| content.metadata().ok());
        tracked.entry.status = Status::Finished;
        match metadata.filter(|metadata| metadata.nlink() > 0) {
            Some(metadata) => tracked.entry.settled = Some(Stamp::from(&metadata)),
            None => {
                tracked.entry.vanished.get_or_insert(millis(wall));
            }
        }
        debug!(event = "file_finished", path = %tracked.entry.path.display(), offset = tracked.entry.proof.end);
        self.by_path.retain(|_, held| *held != incarnation);
    }

    /// Forgets files that have been gone for `forget_after`.
    pub fn forget(&mut self, wall: SystemTime) {
        let (limit, before) = (self.settings.forget_after, self.files.len());
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
        if self.files.len() < before {
            self.by_id.retain(|_, incarnation| self.files.contains_key(incarnation));
            self.by_log.retain(|_, files| {
                files.retain(|incarnation| self.files.contains_key(incarnation));
                !files.is_empty()
            });
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
