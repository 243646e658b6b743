//! Opening files, and reading what comes next in them.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Instant;

use tracing::warn;

use super::super::checkpoint::Status;
use super::super::content::{Content, ReadOutcome};
use super::super::identity::{FileId, Fingerprint, Proof};
use super::Tailer;
use crate::source::Incarnation;

impl Tailer {
    /// Opens a file, if it is still the one that was found and lies where it may, and there is room for one more.
    pub(super) fn open(&mut self, path: &Path, id: FileId) -> Option<Content> {
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
            // Replaced or renamed since it was found: the next scan will see.
            Ok(None) => {
                self.undecided = true;
                None
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound && self.refused.insert(path.to_owned()) {
                    warn!(event = "open_failed", path = %path.display(), %error, "the file cannot be opened");
                }
                self.undecided = true;
                None
            }
        }
    }

    pub(super) fn attach(&mut self, incarnation: Incarnation, content: Content) {
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
        // An offset without a proof of its own is as good as the file. So is the beginning, of which there is none.
        if proof.len == 0 && !content.holds(&tracked.entry.proof)? {
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

    /// Opens a file again that was left, to read a part of it once more. Returns whether its content is still
    /// there.
    pub fn reopen(&mut self, incarnation: Incarnation, now: Instant) -> bool {
        let Some(tracked) = self.files.get(&incarnation) else { return false };
        if tracked.is_open() || self.journals.extent(incarnation).is_some() {
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
}
