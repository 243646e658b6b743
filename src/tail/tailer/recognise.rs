//! Whether a file that stands somewhere is one that is known.
//!
//! A file is held against what is known in this order, and the first that fits counts:
//!
//! 1. its id is known, and its content is what was read under that id;
//! 2. an open file holds the same content, so there is nothing to read in a copy of it;
//! 3. its content is that of a file that is found no more: it was copied or compressed;
//! 4. its content is that of a file that was left and has its name without `.gz`: it is being compressed.
//!
//! Whatever still stands where it was is no candidate for 3: two files may hold the same lines.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use tracing::warn;

use super::super::checkpoint::Status;
use super::super::content::Content;
use super::super::identity::{Fingerprint, Proof, Stamp};
use super::super::siblings;
use super::scan::has_more;
use super::{Place, Tailer, Tracked};
use crate::source::Incarnation;

/// What came of holding a file against what is known.
pub(super) enum Recognised {
    /// It is the content of this file, whose own place holds it no more.
    As(Incarnation),
    /// There is nothing to read in it, or not yet.
    Nothing,
    /// Nothing like it is known.
    New,
}

impl Tailer {
    /// Whether a file, if it is open, still holds what was read of it; a copy may have been written over it.
    pub(super) fn holds_its_own(&mut self, incarnation: Incarnation) -> bool {
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
        if self.is_of_twin(content, path, logs, &could_be) {
            self.undecided |= !self.is_settled(stamp, wall);
            return Recognised::Nothing;
        }
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
            // However long ago it was begun, it may still become a copy.
            Ok(Some((_, end))) if end.end == 0 && self.is_beside_one_of(&candidates, path) => {
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

    /// Whether a path is one that rotation could give to a copy of one of these files, which is open where its log is
    /// written.
    fn is_beside_one_of(&self, candidates: &[(Incarnation, u64)], path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        candidates.iter().map(|(incarnation, _)| &self.files[incarnation]).any(|tracked| {
            tracked.is_open()
                && tracked.place == Place::AtPath
                && siblings::is_rotated(tracked.home().file_name().unwrap_or_default(), name)
        })
    }

    /// Whether it is what compression makes of a file that was left and still stands beside it: `app.log.1.gz` is there
    /// before `app.log.1` goes.
    fn is_of_twin(
        &mut self,
        content: &mut Content,
        path: &Path,
        logs: &[Option<&Path>],
        could_be: impl Fn(&Tracked) -> bool,
    ) -> bool {
        if !content.is_gzip() {
            return false;
        }
        let plain = path.with_extension("");
        let twins = self.of_logs(logs).filter(|tracked| {
            let entry = &tracked.entry;
            !could_be(tracked) && *entry.moved_to.as_ref().unwrap_or(&entry.path) == plain
        });
        let known: Vec<(Fingerprint, Proof)> =
            twins.map(|tracked| (tracked.entry.fingerprint, tracked.entry.proof)).collect();
        known.iter().any(|(fingerprint, proof)| {
            fingerprint.len > 0 && content.is(*fingerprint, proof).is_ok_and(|same| same)
        })
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
    pub(super) fn is_unreadable(&mut self, path: &Path, stamp: Stamp, wall: SystemTime, error: &io::Error) {
        if !self.is_settled(stamp, wall) {
            self.undecided = true;
        } else if self.refused.insert(path.to_owned()) {
            warn!(event = "read_failed", path = %path.display(), %error, "the file cannot be read and is left out");
        }
    }

    pub(super) fn is_settled(&self, stamp: Stamp, wall: SystemTime) -> bool {
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
}
