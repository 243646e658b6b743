//! The end of a content: it was truncated, cannot be found any more, has been read to its end, or is to be forgotten.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::{debug, info, warn};

use super::super::checkpoint::{Entry, Status};
use super::super::content::Content;
use super::super::identity::{FileId, Stamp};
use super::routing::progress;
use super::{Place, Tailer, millis};
use crate::source::{Incarnation, Position};

impl Tailer {
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
        self.look_beside(&base, now, wall);
        self.give_up(incarnation, now, wall);
        std::mem::take(&mut self.attached)
    }

    /// Leaves a file of whose content nothing was found again, unless that could not be told yet. What is renamed
    /// while a folder is listed may be in the list under neither of its names, so it takes two looks.
    pub(super) fn give_up(&mut self, incarnation: Incarnation, now: Instant, wall: SystemTime) {
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
        let read = progress(&self.routes, &tracked.entry).map(|progress| progress.position.offset).min();
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

    /// Leaves a file that has ended. Returns whether it did: not so if it was written to since it was read.
    pub fn finish(&mut self, incarnation: Incarnation, wall: SystemTime) -> bool {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return true };
        let metadata = tracked.content.as_ref().and_then(|content| content.metadata().ok());
        let compressed = tracked.content.as_ref().is_some_and(Content::is_gzip);
        // What is noted of it below says that there is nothing behind what was read.
        if !compressed && metadata.as_ref().is_some_and(|metadata| metadata.len() > tracked.entry.proof.end) {
            return false;
        }
        // By more than its last few bytes, should it be written to after all and be found compressed.
        if let Some(mut content) = tracked.content.take() {
            self.open -= 1;
            if !compressed
                && let Ok(end) = content.end()
                && end.end == tracked.entry.proof.end
            {
                tracked.entry.proof = end;
            }
        }
        tracked.entry.status = Status::Finished;
        match metadata.filter(|metadata| metadata.nlink() > 0) {
            Some(metadata) => tracked.entry.settled = Some(Stamp::from(&metadata)),
            None => {
                tracked.entry.vanished.get_or_insert(millis(wall));
            }
        }
        debug!(event = "file_finished", path = %tracked.entry.path.display(), offset = tracked.entry.proof.end);
        self.by_path.retain(|_, held| *held != incarnation);
        true
    }

    /// Forgets a file at once. If it is still there, the next scan meets it as one that was never seen.
    pub fn forget_now(&mut self, incarnation: Incarnation) -> Option<Entry> {
        let tracked = self.files.remove(&incarnation)?;
        self.open -= usize::from(tracked.is_open());
        self.by_id.retain(|_, other| *other != incarnation);
        self.by_path.retain(|_, other| *other != incarnation);
        self.by_log.retain(|_, files| {
            files.remove(&incarnation);
            !files.is_empty()
        });
        Some(tracked.entry)
    }

    /// Forgets files that have been gone for `forget_after`.
    pub fn forget(&mut self, wall: SystemTime) {
        let (limit, before) = (self.settings.forget_after, self.files.len());
        self.files.retain(|_, tracked| {
            if tracked.is_open() || tracked.entry.status == Status::Following {
                return true;
            }
            let entry = &mut tracked.entry;
            // Nobody looks any more whether it is there.
            if entry.journal.is_some() && entry.vanished.is_none() {
                return true;
            }
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
