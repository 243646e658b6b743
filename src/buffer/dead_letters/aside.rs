//! Letters on their way back into the buffer of their destination.
//!
//! A file of which letters are to be replayed is renamed to `<number>.<incarnation>.replay`: nothing is appended to it any
//! more, and under the incarnation it is followed like a log file, with positions that lie in the buffer's frames and in
//! checkpoints. So what it says holds at every instant:
//!
//! 1. The letters of a set-aside file that were chosen are all still in it until [`finish`](DeadLetters::finish), which is
//!    called once a durable checkpoint says that the last of them is in the buffer, and the buffer was synced.
//! 2. Letters that were not chosen stay, and come back under the file's number; they are replaced in one step, so that doing
//!    it again after a crash does nothing.
//! 3. A set-aside file that no checkpoint and no frame knows had nothing put into the buffer: it gets its name back
//!    ([`take_back`](DeadLetters::take_back)).
//!
//! What can be replayed is what was a record. The letter of a line that became none, because a step panicked or failed, has
//! the line's offset and only its text: it stays.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use tracing::{info, warn};

use super::files::is_gone;
use super::{DeadLetters, Files};
use crate::disk::{Disk, DiskFile};
use crate::source::Incarnation;

/// Bytes of one write of letters that stay.
const WRITE: usize = 1 << 20;

/// A file of letters that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Under which it is followed.
    pub incarnation: Incarnation,
    /// The file's number.
    pub number: u64,
    /// The bytes of its whole letters.
    pub bytes: u64,
    /// How many of them were chosen.
    pub letters: u64,
}

/// What was set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    /// The files, the oldest first.
    pub files: Vec<Aside>,
    /// Letters of the same reasons that are no records, or that cannot be read: they stay.
    pub no_records: u64,
}

/// A part of a set-aside file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AsideBlock {
    /// Where it ends.
    pub to: u64,
    /// The letters in it that were chosen.
    pub letters: u64,
}

/// What of a letter decides about its replay.
#[derive(Deserialize)]
struct Kept {
    reason: String,
    #[serde(default)]
    origin: KeptOrigin,
    record: String,
}

#[derive(Default, Deserialize)]
struct KeptOrigin {
    offset: Option<u64>,
}

/// What a line of a file of letters is for a replay.
enum Chosen {
    Record(String),
    /// Chosen by its reason, but no record.
    NoRecord,
    Not,
}

impl Chosen {
    /// Without reasons all are chosen.
    fn of(line: &[u8], reasons: &[String]) -> Self {
        let Ok(kept) = serde_json::from_slice::<Kept>(line) else {
            // Torn, or of another kinetail: it stays, and is told where its reason does not matter.
            return if reasons.is_empty() { Self::NoRecord } else { Self::Not };
        };
        if !reasons.is_empty() && !reasons.contains(&kept.reason) {
            return Self::Not;
        }
        let mut record = kept.record;
        record.truncate(record.trim_end_matches('\n').len());
        if kept.origin.offset.is_some() || record.is_empty() { Self::NoRecord } else { Self::Record(record) }
    }
}

impl DeadLetters {
    /// Sets the files aside that hold letters of these reasons, or of any if none is given. Reads all files; letters that
    /// come meanwhile go into another one.
    ///
    /// # Errors
    ///
    /// The disk failed; files that were set aside by then have their names back.
    pub fn set_aside(&self, reasons: &[String]) -> io::Result<SetAside> {
        let mut set = SetAside::default();
        let done = self.set_each_aside(reasons, &mut set).and_then(|()| self.0.files.sync());
        self.state().bytes = None;
        if let Err(error) = done {
            self.take_these_back(&set.files);
            return Err(error);
        }
        Ok(set)
    }

    fn set_each_aside(&self, reasons: &[String], set: &mut SetAside) -> io::Result<()> {
        let listed = {
            let mut state = self.state();
            // To none of those that are there now anything is appended any more.
            state.suspect = true;
            self.0.files.list()?
        };
        for kept in listed {
            let (mut bytes, mut letters) = (0, 0);
            let read = each_line(&kept.path, 0, u64::MAX, |line| {
                bytes += line.len() as u64;
                match Chosen::of(line, reasons) {
                    Chosen::Record(_) => letters += 1,
                    Chosen::NoRecord => set.no_records += 1,
                    Chosen::Not => {}
                }
                true
            });
            match read {
                // Somebody moved it away.
                Err(error) if is_gone(&error) => continue,
                read => read?,
            }
            if letters == 0 {
                continue;
            }
            let aside = Aside { incarnation: Incarnation::mint(), number: kept.number, bytes, letters };
            match self.0.files.rename(&kept.path, &self.path_aside(aside.number, aside.incarnation)) {
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
                Ok(()) => set.files.push(aside),
            }
        }
        Ok(())
    }

    /// Reads a part of a set-aside file, from an offset to at most `end`, and gives the records of its chosen letters to
    /// `push`, until they come to `most` bytes.
    ///
    /// # Errors
    ///
    /// The disk failed. [`NotFound`](io::ErrorKind::NotFound) tells that somebody removed the file.
    pub fn read_aside(
        &self,
        (number, incarnation): (u64, Incarnation),
        reasons: &[String],
        (from, end): (u64, u64),
        most: usize,
        mut push: impl FnMut(&str),
    ) -> io::Result<AsideBlock> {
        let (mut block, mut bytes) = (AsideBlock { to: from, letters: 0 }, 0);
        each_line(&self.path_aside(number, incarnation), from, end, |line| {
            if let Chosen::Record(record) = Chosen::of(line, reasons) {
                if bytes > 0 && bytes + record.len() > most {
                    return false;
                }
                push(&record);
                (bytes, block.letters) = (bytes + record.len(), block.letters + 1);
            }
            block.to += line.len() as u64;
            // What is passed over takes its time, too.
            (block.to - from) < 4 * most as u64
        })?;
        Ok(block)
    }

    /// Removes the letters of a set-aside file that were chosen: all of them are durable in the buffer. What stays gets its
    /// name back. May be called again.
    ///
    /// # Errors
    ///
    /// The disk failed; it is to be tried again.
    pub fn finish(&self, number: u64, incarnation: Incarnation, reasons: &[String]) -> io::Result<()> {
        let path = self.path_aside(number, incarnation);
        let (files, mut removed) = (&self.0.files, 0);
        let rest = match files.rewrite(&path, |line| match Chosen::of(line, reasons) {
            Chosen::Record(_) => {
                removed += 1;
                false
            }
            _ => true,
        }) {
            // Done already, or somebody removed it.
            Err(error) if is_gone(&error) => 0,
            rest => rest?,
        };
        let mut state = self.state();
        if rest > 0 {
            self.give_name_back(&path, number)?;
        }
        files.sync()?;
        state.stats.replayed += removed;
        state.bytes = None;
        Ok(())
    }

    /// Gives those set-aside files their names back that are none of these. What is not possible is told in the log.
    pub fn take_back(&self, known: &[Incarnation]) {
        let asides = match self.0.files.asides() {
            Ok(asides) => asides,
            Err(error) => {
                let folder = self.folder();
                warn!(event = "dead_letters_unread", folder = %folder.display(), %error, "dead letters cannot be listed");
                return;
            }
        };
        let mut state = self.state();
        for (path, number, incarnation) in asides {
            if known.contains(&incarnation) {
                continue;
            }
            match self.give_name_back(&path, number) {
                Ok(()) => {
                    info!(event = "replay_taken_back", path = %path.display(), "dead letters of which none was put into the buffer stay")
                }
                Err(error) => warn!(event = "replay_not_taken_back", path = %path.display(), %error,
                    "dead letters that were to be replayed keep a name under which only people find them"),
            }
        }
        state.bytes = None;
    }

    fn take_these_back(&self, files: &[Aside]) {
        let _state = self.state();
        for file in files {
            let path = self.path_aside(file.number, file.incarnation);
            if let Err(error) = self.give_name_back(&path, file.number) {
                // The next start does it.
                warn!(event = "replay_not_taken_back", path = %path.display(), %error, "dead letters keep another name for now");
            }
        }
    }

    /// Where a set-aside file is.
    pub fn path_aside(&self, number: u64, incarnation: Incarnation) -> PathBuf {
        self.0.files.folder().join(format!("{number:010}.{incarnation}.replay"))
    }

    /// Under its number, or under the next one that is free. The caller holds the state.
    fn give_name_back(&self, path: &std::path::Path, number: u64) -> io::Result<()> {
        let files: &Files = &self.0.files;
        let mut to = files.path_of(number);
        if to.exists() {
            let newest = files.list()?.pop().map_or(0, |newest| newest.number);
            to = files.path_of(newest + 1);
        }
        files.rename(path, &to)
    }
}

impl Files {
    /// Puts those lines in the place of a file that are to stay, in one step; removes it if there are none. Returns their
    /// bytes.
    fn rewrite(&self, path: &std::path::Path, mut stays: impl FnMut(&[u8]) -> bool) -> io::Result<u64> {
        let temporary = path.with_extension("rest");
        match self.disk().remove(&temporary) {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
        let (mut file, mut lines, mut len) = (None::<Arc<dyn DiskFile>>, Vec::new(), 0);
        let mut failed = Ok(());
        let disk: &dyn Disk = self.disk();
        let mut write = |lines: &mut Vec<u8>| -> io::Result<()> {
            if file.is_none() {
                file = Some(disk.create(&temporary)?);
            }
            file.iter().try_for_each(|file| file.write_at(&[lines.as_slice()], len))?;
            len += lines.len() as u64;
            lines.clear();
            Ok(())
        };
        each_line(path, 0, u64::MAX, |line| {
            if stays(line) {
                lines.extend_from_slice(line);
            }
            if lines.len() >= WRITE {
                failed = write(&mut lines);
            }
            failed.is_ok()
        })?;
        failed?;
        if !lines.is_empty() {
            write(&mut lines)?;
        }
        match file {
            Some(file) => {
                file.sync()?;
                self.rename(&temporary, path)?;
                // It comes back under another name only as it is now.
                self.sync()?;
            }
            None => self.disk().remove(path)?,
        }
        Ok(len)
    }
}

/// Gives whole lines with their newlines to `take`, from an offset to at most `end`, until it returns `false`.
fn each_line(
    path: &std::path::Path,
    from: u64,
    end: u64,
    mut take: impl FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, File::open(path)?);
    file.seek(SeekFrom::Start(from))?;
    let (mut line, mut at) = (Vec::new(), from);
    while at < end {
        line.clear();
        at += file.read_until(b'\n', &mut line)? as u64;
        if line.last() != Some(&b'\n') || !take(&line) {
            break;
        }
    }
    Ok(())
}
