//! A look at all folders: what is new, what has moved, what is gone.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

use super::super::checkpoint::Status;
use super::super::content::{Content, ReadOutcome};
use super::super::discovery::{self, Found, Walk};
use super::super::identity::{FileId, Fingerprint, Proof, Stamp};
use super::super::settings::StartAt;
use super::beside::Base;
use super::recognise::Recognised;
use super::routing::{further, reconcile_destinations, rules_of};
use super::{CLOCK_LAG, Place, Scan, Tailer};
use crate::source::{Incarnation, Position};

/// What a file of a known id holds.
pub(super) enum Met {
    /// What was read of it. Its content is given where there is more to read.
    Same(Option<Box<Content>>),
    /// Something else: it was truncated, or the id is another file's now.
    Other,
    /// It cannot be told now.
    Unknown,
}

impl Tailer {
    /// Looks at all folders, meets what is new, and sees what has moved.
    pub fn scan(&mut self, now: Instant, wall: SystemTime) -> Scan {
        let walk = discovery::walk(&self.selections, &self.roots);
        self.take_in(walk, now, wall)
    }

    /// What was seen in all folders from `wall` on. Since then anything may have happened to it.
    pub(super) fn take_in(&mut self, walk: Walk, now: Instant, wall: SystemTime) -> Scan {
        self.undecided = walk.unsure;
        // The clock was set back: what was written since the last scan bears times before that.
        let earliest = wall.checked_sub(now.saturating_duration_since(self.scanned_at) + CLOCK_LAG);
        self.known_until = self.known_until.min(earliest.unwrap_or(UNIX_EPOCH));
        (self.scanned, self.scanned_at) = ([self.scanned[1], wall], now);
        let looked = self.look_at_journals(now, wall);
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
                Some(incarnation) if self.meet(incarnation, &found, now) => {
                    seen.insert(incarnation);
                }
                _ => fresh.push(found),
            }
        }
        let away: Vec<Incarnation> = self
            .files
            .iter()
            .filter(|(incarnation, tracked)| {
                tracked.entry.status == Status::Following
                    && tracked.entry.journal.is_none()
                    && !seen.contains(*incarnation)
            })
            .map(|(incarnation, _)| *incarnation)
            .collect();
        let mut bases = std::mem::take(&mut self.look_again);
        bases.extend(away.iter().filter_map(|incarnation| self.see_away(*incarnation)));
        for found in fresh {
            bases.extend(self.adopt(found, &seen, now, wall));
        }
        bases.extend(self.changed_beside(walk.others));
        self.listed.clear();
        for base in bases {
            self.look_beside(&base, now, wall);
        }
        self.listed = HashMap::new();
        for incarnation in away {
            self.give_up(incarnation, now, wall);
        }
        self.started.extend(self.routes.iter().map(|route| route.name.clone()));
        self.handed_over.clear();
        self.attached.clear();
        let mut abandoned = self.bound_held(wall);
        abandoned.extend(looked.gone);
        let ready = self.files.iter().filter(|(_, tracked)| tracked.has_news(&self.routes));
        let ready = ready.map(|(incarnation, _)| *incarnation).collect();
        Scan { ready, abandoned, folders: walk.folders }
    }

    /// A file whose id is known. Returns whether it still holds what that id stands for.
    fn meet(&mut self, incarnation: Incarnation, found: &Found, now: Instant) -> bool {
        let content = match self.verify(incarnation, &found.path, found.id, found.stamp) {
            Met::Same(content) => content,
            Met::Unknown => return true,
            Met::Other => {
                if self.files[&incarnation].entry.path == found.path {
                    info!(event = "file_replaced", path = %found.path.display(),
                        "the file was truncated or replaced while kinetail was not looking; it is read from its beginning");
                    self.counts.truncations += 1;
                }
                return false;
            }
        };
        let route = self.routes[found.route].name.clone();
        let (further, to) = further(&self.routes, found.route, &found.path);
        let stays = !discovery::is_decided(&self.selections, &found.path)
            || self.entry(incarnation).is_some_and(|entry| self.stays(entry, &found.path));
        let rules = rules_of(&self.routes, &found.path);
        let Some(tracked) = self.files.get_mut(&incarnation) else { return false };
        tracked.place = Place::AtPath;
        let entry = &mut tracked.entry;
        entry.vanished = None;
        if content.is_some() {
            tracked.grew = now;
        }
        if entry.status == Status::Following && !stays && !entry.unrouted {
            (entry.route, entry.further, entry.rules) = (route, further, rules);
            reconcile_destinations(entry, &to);
        }
        entry.moved_to = (found.path != entry.path).then(|| found.path.clone());
        if let Some(content) = content {
            self.attach(incarnation, *content);
            self.note_home(incarnation);
        }
        true
    }

    /// Holds what an id leads to now against what was read of the file.
    pub(super) fn verify(
        &mut self,
        incarnation: Incarnation,
        path: &std::path::Path,
        id: FileId,
        stamp: Stamp,
    ) -> Met {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return Met::Other };
        if tracked.is_open() || tracked.entry.settled == Some(stamp) {
            return Met::Same(None);
        }
        let (fingerprint, proof, status) =
            (tracked.entry.fingerprint, tracked.entry.proof, tracked.entry.status);
        // Nothing was seen in it by which it could be known, and its number may be another file's by now.
        if fingerprint.len == 0 && id.born == 0 {
            return Met::Other;
        }
        let Some(mut content) = self.open(path, id) else {
            self.undecided = true;
            return Met::Unknown;
        };
        let outcome =
            content.is(fingerprint, &proof).and_then(|same| Ok((same, has_more(&mut content, &proof)?)));
        match outcome {
            Ok((false, _)) => Met::Other,
            Ok((true, more)) => {
                let Some(tracked) = self.files.get_mut(&incarnation) else { return Met::Other };
                if status == Status::Following || status == Status::Finished && more {
                    // It may have been left, and written to since.
                    tracked.entry.status = Status::Following;
                    return Met::Same(Some(Box::new(content)));
                }
                tracked.entry.settled = Some(stamp);
                Met::Same(None)
            }
            // A file that is being compressed, or a disk that fails: told where it is read.
            Err(error) => {
                debug!(event = "verify_failed", path = %path.display(), %error);
                Met::Unknown
            }
        }
    }

    /// A file whose path no longer leads to it. Returns beside what it has to be looked for.
    fn see_away(&mut self, incarnation: Incarnation) -> Option<Base> {
        let tracked = self.files.get_mut(&incarnation)?;
        let Some(content) = &tracked.content else {
            tracked.place = Place::Away { successor: true };
            return self.base_of(incarnation);
        };
        let deleted = content.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
        if !deleted {
            tracked.entry.moved_to = content.path_now().filter(|path| *path != tracked.entry.path);
        }
        if tracked.place == Place::AtPath {
            self.counts.rotations += 1;
            info!(event = "rotated", path = %tracked.entry.path.display(), deleted, "the file was rotated; it is read to its end");
        }
        self.set_away(incarnation);
        None
    }

    pub(super) fn set_away(&mut self, incarnation: Incarnation) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let over = tracked.content.as_ref().is_some_and(|content| {
            content.is_gzip() || content.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
        });
        let followed = || {
            fs::metadata(&tracked.entry.path)
                .is_ok_and(|metadata| FileId::from(&metadata) != tracked.entry.id)
        };
        tracked.place = Place::Away { successor: over || followed() };
    }

    /// A file that was never seen under this id. Returns beside what there may be others that are new.
    fn adopt(
        &mut self,
        found: Found,
        seen: &HashSet<Incarnation>,
        now: Instant,
        wall: SystemTime,
    ) -> Option<Base> {
        let first = self.is_first(found.route, &found.path);
        let Some(mut content) = self.open(&found.path, found.id) else {
            let there = fs::metadata(&found.path).is_ok_and(|metadata| FileId::from(&metadata) == found.id);
            // It was renamed since, and stands beside its path now.
            let Found { path, route, id, .. } = found;
            return (!there).then(|| Base { home: path.clone(), path, route, slipped: Some(id) });
        };
        let real = content.path_now();
        let logs = [Some(found.path.as_path()), real.as_deref()];
        let could_be =
            |tracked: &super::Tracked| !seen.contains(&tracked.entry.incarnation) || tracked.is_open();
        match self.recognise(&mut content, &found.path, found.stamp, wall, &logs, could_be) {
            Recognised::As(incarnation) => {
                self.resume_elsewhere(incarnation, found.path, found.id, content, now);
                return None;
            }
            // It may have a predecessor all the same that came and went between two looks.
            Recognised::Nothing => {
                let home = real.unwrap_or_else(|| found.path.clone());
                return Some(Base { path: found.path, home, route: found.route, slipped: None });
            }
            Recognised::New if !self.is_whole(&mut content, &found.path, found.stamp, wall) => return None,
            Recognised::New => {}
        }
        let decided = discovery::is_decided(&self.selections, &found.path);
        let ends = if decided { Vec::new() } else { self.beginning_at_ends(&found.path) };
        let (start, proof) =
            if decided && first && self.routes[found.route].start_at == StartAt::End && !content.is_gzip() {
                end_of(&mut content, found.stamp.len).unwrap_or_default()
            } else {
                (Position::default(), Proof::default())
            };
        let mut entry = self.new_entry(found.path, found.id, found.route, start);
        entry.proof = proof;
        entry.fingerprint =
            content.beginning().map(|beginning| Fingerprint::of(&beginning)).unwrap_or_default();
        info!(event = "file_found", path = %entry.path.display(), route = %entry.route, offset = entry.proof.end, "following a file");
        let incarnation = entry.incarnation;
        self.track(entry, now);
        self.attach(incarnation, content);
        self.note_end(incarnation, ends);
        self.note_home(incarnation);
        self.base_of(incarnation)
    }

    /// Remembers where the path of an open file leads.
    fn note_home(&mut self, incarnation: Incarnation) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let real: Option<PathBuf> = tracked.content.as_ref().and_then(Content::path_now);
        if tracked.entry.moved_to.is_none() {
            tracked.entry.home = real.filter(|real| *real != tracked.entry.path);
            self.note_log(incarnation);
        }
    }
}

/// Whether there is something behind what was read.
pub(super) fn has_more(content: &mut Content, proof: &Proof) -> std::io::Result<bool> {
    let mut next = Vec::new();
    Ok(matches!(content.read(proof, 1, &mut next)?, ReadOutcome::Bytes(1..)))
}

/// Where a file ends, at the start of its last line if that has no newline yet. Where that line is too long to
/// find its start, the rest of it is passed over.
pub(super) fn end_of(content: &mut Content, len: u64) -> std::io::Result<(Position, Proof)> {
    let start = len.saturating_sub(Proof::FULL as u64);
    let mut tail = Vec::new();
    content.read(&Proof { end: start, len: 0, hash: 0 }, (len - start) as usize, &mut tail)?;
    let newline = tail.iter().rposition(|byte| *byte == b'\n');
    let end = newline.map_or(if start == 0 { 0 } else { tail.len() }, |newline| newline + 1);
    let offset = start + end as u64;
    let mid_line = newline.is_none() && start > 0;
    Ok((Position { mid_line, ..Position::at(offset) }, Proof::of(&tail[..end], offset)))
}
