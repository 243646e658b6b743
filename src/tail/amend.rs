//! What a person changes of how far files are: in the checkpoint of a kinetail that does not run, or in one that does.

use std::fs::File;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::{Entry, Status};
use super::identity::Proof;
use super::journal::Journal;
use crate::disk::read_exact_at;
use crate::source::{DestinationName, Incarnation, Position};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amend {
    /// Reading goes on at this offset.
    Set {
        /// The file's path or its incarnation.
        file: String,
        /// In bytes from the beginning of its content; of a sequence of the journal, the number of an entry.
        offset: u64,
        /// For this destination only.
        destination: Option<DestinationName>,
    },
    /// The file is forgotten, and met anew if it is still there.
    Forget {
        /// The file's path or its incarnation.
        file: String,
    },
}

impl Amend {
    /// The file's path or its incarnation, as it was given.
    pub fn file(&self) -> &str {
        match self {
            Self::Set { file, .. } | Self::Forget { file } => file,
        }
    }
}

/// The one file of this path that is followed, or else the one that has this path or incarnation.
///
/// # Errors
///
/// In words: there is none, or there are several.
pub fn find<'a>(entries: impl Iterator<Item = &'a Entry>, file: &str) -> Result<Incarnation, String> {
    let named = |entry: &&Entry| entry.path == Path::new(file) || entry.incarnation.to_string() == file;
    let mut found: Vec<&Entry> = entries.filter(named).collect();
    if found.len() > 1 {
        found.retain(|entry| entry.status == Status::Following);
    }
    match found[..] {
        [entry] => Ok(entry.incarnation),
        [] => Err(format!("no file is known as {file}; `kinetail checkpoints ls` lists them")),
        _ => Err(format!(
            "several files are known as {file}; name the incarnation, which `kinetail checkpoints ls` lists"
        )),
    }
}

/// Has reading go on at an offset, for one destination or for all. Returns what was done, in words.
///
/// # Errors
///
/// In words: the file cannot be read, no line begins there, or it does not go to the destination. Nothing has changed then.
pub fn set(entry: &mut Entry, offset: u64, only: Option<&DestinationName>) -> Result<String, String> {
    if let Some(journal) = entry.journal {
        return set_entry(entry, journal, offset, only);
    }
    let path = entry.moved_to.clone().unwrap_or_else(|| entry.path.clone());
    let at = |error: &io::Error| format!("{}: {error}", path.display());
    let open = File::open(&path).map_err(|error| at(&error))?;
    let len = open.metadata().map_err(|error| at(&error))?.len();
    if offset > len {
        return Err(format!("{} has only {len} bytes", path.display()));
    }
    let mut before = vec![0; offset.min(Proof::FULL as u64) as usize];
    let start = offset - before.len() as u64;
    read_exact_at(&open, &mut before, start).map_err(|error| at(&error))?;
    if before.last().is_some_and(|byte| *byte != b'\n') {
        return Err(format!("no line of {} begins at {offset}", path.display()));
    }
    let count = move_to(entry, offset, only)?;
    if offset > entry.proof.end {
        entry.proof = Proof::of(&before, offset);
    }
    (entry.status, entry.settled, entry.vanished) = (Status::Following, None, None);
    Ok(format!("{} is read from {offset} on, for {count} destinations", path.display()))
}

/// Of a sequence of the journal, an offset is the number of an entry.
fn set_entry(
    entry: &mut Entry,
    journal: Journal,
    number: u64,
    only: Option<&DestinationName>,
) -> Result<String, String> {
    if number == 0 || number > journal.tail + 1 {
        return Err(format!("{} has entries 1 to {}", entry.name(), journal.tail));
    }
    let count = move_to(entry, number, only)?;
    entry.proof.end = entry.proof.end.max(number);
    (entry.status, entry.vanished) = (Status::Following, None);
    Ok(format!("{} is read from entry {number} on, for {count} destinations", entry.name()))
}

/// Has destinations go on at an offset; how many.
fn move_to(entry: &mut Entry, offset: u64, only: Option<&DestinationName>) -> Result<usize, String> {
    let mut count = 0;
    for progress in &mut entry.progress {
        if only.is_none_or(|only| progress.to == *only) {
            progress.position = Position::at(offset);
            count += 1;
        }
    }
    if count == 0 {
        return Err(format!("{} does not go to that destination", entry.name()));
    }
    Ok(count)
}

/// What is said of a file that was forgotten.
pub fn forgotten(entry: &Entry) -> String {
    format!("{} ({}) is forgotten", entry.name(), entry.incarnation)
}
