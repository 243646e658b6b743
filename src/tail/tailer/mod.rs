//! All followed files: who they are, where they are, and what comes next in them.
//!
//! Here is what is known of them; [`scan`](Tailer::scan) finds out what has become of them, [`beside`] what
//! rotation made of them, and [`recognise`] whether it is one of them. [`routing`] says by which route they are read, [`reading`] reads them, and [`leaving`] is
//! about their end.

mod beside;
mod held;
mod journals;
mod leaving;
mod reading;
mod recognise;
mod routing;
mod scan;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::beside::{Base, ByLog};
pub use self::journals::Looked;
pub use self::view::View;
use super::checkpoint::{Checkpoint, Entry, Progress, Status};
use super::content::Content;
use super::discovery::{self, Roots, Selection};
use super::identity::{FileId, Fingerprint, Proof};
use super::journal::{JournalSettings, Journals};
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
    /// The journal that it reads in place of files.
    pub journal: Option<JournalSettings>,
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
    /// Files that were left though not all of them was read, and sequences of the journal that are gone.
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
    /// Entries of the journal that were removed before they were read, at most.
    pub entries_gone: u64,
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
    /// Where its end was when it was met, if it is not known yet whether a route takes it that begins there.
    end: Option<EndWhenMet>,
}

/// The end of a file when it was met, for routes that began then.
struct EndWhenMet {
    routes: Vec<RouteName>,
    position: Position,
    proof: Proof,
}

impl Tracked {
    fn is_open(&self) -> bool {
        self.content.is_some()
    }

    /// It is followed, and not read before it is known under which routes it falls.
    fn waits_for_route(&self) -> bool {
        self.entry.unrouted && self.entry.status == Status::Following
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
    fn has_news(&self, routes: &[Route]) -> bool {
        let Some(content) = &self.content else { return false };
        if self.place != Place::AtPath || self.truncated || !self.entry.repairs.is_empty() {
            return true;
        }
        let read = self.entry.proof.end;
        let behind = routing::progress(routes, &self.entry).any(|progress| progress.position.offset < read);
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
    /// Logs that another route followed before, as long as theirs was never started.
    handed_over: HashSet<PathBuf>,
    /// Up to when everything that was there is known.
    known_until: SystemTime,
    /// When the scan before the last one was, and the last.
    scanned: [SystemTime; 2],
    /// When the last scan was, by a clock that nobody sets.
    scanned_at: Instant,
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
    journals: Journals,
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
        let roots = routing::roots(&settings, &selections);
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
            handed_over: HashSet::new(),
            known_until: wall,
            scanned: [wall; 2],
            scanned_at: now,
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
            journals: Journals::default(),
        };
        if let Some(checkpoint) = checkpoint {
            tailer.started = checkpoint.routes.iter().cloned().collect();
            tailer.known_until = UNIX_EPOCH + Duration::from_millis(checkpoint.known_until);
            tailer.scanned = [tailer.known_until; 2];
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
            end: None,
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

    /// Everything that the last scan found to read was looked into. As long as something could not be told, it must not
    /// count as known: a file that was just being compressed, or was renamed between two looks at it. Nor does what only
    /// one scan could have seen: a folder that is listed while a file in it is renamed may show neither of its names.
    pub fn caught_up(&mut self) {
        if self.undecided {
            return;
        }
        let [before, last] = self.scanned;
        self.known_until = before.min(last).checked_sub(CLOCK_LAG).unwrap_or(UNIX_EPOCH);
    }

    /// Up to when everything that was there is known, milliseconds since 1970.
    pub fn known_until(&self) -> u64 {
        millis(self.known_until)
    }

    /// Files that are open.
    pub fn open_files(&self) -> usize {
        self.open
    }

    /// Files with groups of lines that are open for some destination.
    pub fn with_open_groups(&self) -> impl Iterator<Item = Incarnation> {
        let is_open = |tracked: &Tracked| {
            tracked.is_open()
                && tracked.entry.progress.iter().any(|progress| !progress.position.open.is_empty())
        };
        let open = self.files.iter().filter(move |(_, tracked)| is_open(tracked));
        open.map(|(incarnation, _)| *incarnation)
    }

    /// What happened since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }

    /// A write was noticed at this path. Returns the open file that it belongs to; one that was left is looked for
    /// by a scan, which is due then.
    pub fn written(&mut self, path: &Path) -> Option<Incarnation> {
        let open = self.by_path.get(path).copied();
        if open.is_none() {
            let left = |tracked: &Tracked| {
                tracked.entry.status == Status::Finished && tracked.entry.moved_to.as_deref() == Some(path)
            };
            let was_left = self.of_logs(&[Some(path)]).any(left);
            self.undecided |= was_left;
        }
        open
    }

    /// Whether a scan is due even if nothing is noticed: a file waits for its end, or a sibling could not be
    /// told yet.
    pub fn wants_scan(&self) -> bool {
        self.undecided
            || self.files.values().any(|tracked| tracked.is_open() && tracked.place != Place::AtPath)
    }

    fn new_entry(&self, path: PathBuf, id: FileId, route: usize, start: Position) -> Entry {
        let (mut further, mut to) = routing::further(&self.routes, route, &path);
        let mut unrouted = !discovery::is_decided(&self.selections, &path);
        let rules = routing::rules_of(&self.routes, &path);
        let mut name = self.routes[route].name.clone();
        // What follows a file by rotation goes where that went, though what that was decided by is not known any more.
        if unrouted && let Some(before) = self.routed_before(&path) {
            (name, further, to, unrouted) = (
                before.route.clone(),
                before.further.clone(),
                routing::destinations_of(&self.routes, before),
                false,
            );
        }
        Entry {
            incarnation: Incarnation::mint(),
            id,
            path,
            home: None,
            moved_to: None,
            route: name,
            further,
            unrouted,
            rules,
            fingerprint: Fingerprint::default(),
            proof: Proof::default(),
            status: Status::Following,
            settled: None,
            vanished: None,
            journal: None,
            progress: to.into_iter().map(|to| Progress::at(to, start.clone())).collect(),
            repairs: Vec::new(),
        }
    }
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
