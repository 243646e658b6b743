//! Records that a destination will never take, and lines that became no record, kept for people.
//!
//! Each destination has a folder `dead_letters/<name>/` with files `<number>.ndjson`, the highest number being
//! the one that is written: a JSON object a line, as [`Letter`] tells. A letter is synced before its record is
//! acknowledged, or before reading passes its line. So it is in the buffer, in the log file or here, and after
//! a crash at worst twice, with the same record id.
//!
//! Nothing is held open and nothing about the files is remembered between two letters but how much they take:
//! they are people's to read, move and remove while kinetail runs. At the limit that is measured anew, and
//! then what [`WhenFull`] says happens: the letter is refused and stays where it came from, or the oldest files
//! go, counted letter by letter.
//!
//! How letters come back into the buffer is told in [`aside`].

mod aside;
mod files;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing::warn;

pub use self::aside::{Aside, AsideBlock, SetAside};
use self::files::Files;
use super::settings::{DeadLetterSettings, WhenFull};
use crate::disk::Disk;
use crate::source::DestinationName;

/// One letter, before it knows its destination and time.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Letter<'a> {
    /// A word for people and metrics, such as `panic` or `too_large`.
    pub reason: &'a str,
    /// What is to be said besides.
    pub detail: String,
    /// Where it came from, as far as that is known.
    pub origin: Origin,
    /// The record as it would have been sent, or the text of a line that became none.
    pub record: String,
}

/// Where a letter came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The file's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in its content the line begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The id that its record has, or would have had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_id: Option<String>,
}

impl Origin {
    /// Of an encoded record, which names both by itself.
    pub fn of_record(record: &[u8]) -> Self {
        #[derive(serde::Deserialize)]
        struct Own {
            file: Option<String>,
            record_id: Option<String>,
        }
        let own = serde_json::from_slice::<Own>(record).ok();
        own.map_or_else(Self::default, |own| Self { file: own.file, offset: None, record_id: own.record_id })
    }
}

/// Why letters were not kept. None of them counts as kept.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// They are at their limit, which says that nothing goes.
    #[error("the dead letters are at their limit of {limit} bytes; move files away, or raise max_size")]
    Full {
        /// `dead_letters.max_size`.
        limit: u64,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] io::Error),
}

/// The dead letters of one destination. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct DeadLetters(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    destination: DestinationName,
    files: Files,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    settings: DeadLetterSettings,
    /// What all files take; none until they were looked at.
    bytes: Option<u64>,
    /// The file before could not be written or synced: what is in it is not known, so another is begun.
    suspect: bool,
    /// What the files and their folders are called is durable.
    named: bool,
    stats: DeadLetterStats,
}

/// What became of dead letters since the start, and what they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterStats {
    /// On disk, as far as it was looked at.
    pub bytes: u64,
    /// Letters kept, by reason.
    pub kept: BTreeMap<String, u64>,
    /// Letters that were given up to stay within the limit.
    pub dropped: u64,
    /// Letters that were put into the buffer again.
    pub replayed: u64,
}

impl State {
    /// The size at which a file is closed: `drop_oldest` gives up whole files, and few letters at once.
    fn file_size(&self) -> u64 {
        (self.settings.max_size.0 / 16).clamp(64 << 10, 64 << 20)
    }

    fn measured(&mut self, bytes: u64) {
        (self.bytes, self.stats.bytes) = (Some(bytes), bytes);
    }
}

impl DeadLetters {
    /// In `data_dir`. Nothing is made there before there is a dead letter.
    pub fn new(
        data_dir: &Path,
        destination: DestinationName,
        settings: DeadLetterSettings,
        disk: Arc<dyn Disk>,
    ) -> Self {
        let folder = data_dir.join("dead_letters").join(destination.as_str());
        let files = Files::new(folder, disk);
        let state = Mutex::new(State { settings, ..State::default() });
        Self(Arc::new(Shared { destination, files, state }))
    }

    /// Other limits, from now on.
    pub fn set_limits(&self, settings: DeadLetterSettings) {
        self.state().settings = settings;
    }

    /// The folder where they are.
    pub fn folder(&self) -> PathBuf {
        self.0.files.folder().to_owned()
    }

    /// What became of them.
    pub fn stats(&self) -> DeadLetterStats {
        let mut state = self.state();
        if state.bytes.is_none()
            && let Ok(bytes) = self.0.files.list().and_then(|files| self.0.files.bytes(&files))
        {
            state.measured(bytes);
        }
        state.stats.clone()
    }

    /// Keeps letters; durable when it returns.
    ///
    /// # Errors
    ///
    /// See [`NotKept`]: all of them are to be tried again.
    pub fn keep<'a>(
        &self,
        letters: impl IntoIterator<Item = Letter<'a>>,
        now: SystemTime,
    ) -> Result<(), NotKept> {
        let time = jiff::Timestamp::try_from(now).unwrap_or_default().to_string();
        let mut lines = Vec::new();
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for letter in letters {
            *reasons.entry(letter.reason.to_owned()).or_default() += 1;
            let line = Line { time: &time, destination: self.0.destination.as_str(), letter };
            serde_json::to_writer(&mut lines, &line).map_err(io::Error::from)?;
            lines.push(b'\n');
        }
        if lines.is_empty() {
            return Ok(());
        }
        let mut state = self.state();
        self.make_room(&mut state, lines.len() as u64)?;
        match self.0.files.append(&lines, state.file_size(), state.suspect, state.named) {
            Ok(()) => (state.suspect, state.named) = (false, true),
            Err(error) => {
                (state.suspect, state.bytes) = (true, None);
                return Err(error.into());
            }
        }
        let bytes = state.bytes.unwrap_or(0) + lines.len() as u64;
        state.measured(bytes);
        for (reason, count) in reasons {
            *state.stats.kept.entry(reason).or_default() += count;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that so many bytes more stay within the limit. Letters that alone go beyond it are taken
    /// where there are no others: to refuse them would hold their destination for ever.
    fn make_room(&self, state: &mut State, more: u64) -> Result<(), NotKept> {
        let limit = state.settings.max_size.0;
        let fits = |bytes: u64| bytes == 0 || bytes + more <= limit;
        if state.bytes.is_some_and(fits) {
            return Ok(());
        }
        // People may have moved files away since.
        let mut files = self.0.files.list()?;
        let mut bytes = self.0.files.bytes(&files)?;
        if !fits(bytes) && state.settings.when_full == WhenFull::DropOldest {
            files.reverse();
            while !fits(bytes) {
                let Some(oldest) = files.pop() else { break };
                let letters = self.0.files.remove(&oldest)?;
                state.stats.dropped += letters;
                bytes -= oldest.bytes;
                warn!(event = "dead_letters_dropped", destination = %self.0.destination, letters,
                    "the oldest dead letters are given up: they are at their limit");
            }
        }
        state.measured(bytes);
        if fits(bytes) { Ok(()) } else { Err(NotKept::Full { limit }) }
    }
}

/// A letter as it is written.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    destination: &'a str,
    #[serde(flatten)]
    letter: Letter<'a>,
}
