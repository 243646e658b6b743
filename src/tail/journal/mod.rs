//! systemd's journal as a source, beside files.
//!
//! **What stands for a file.** journald numbers its entries. The files that follow each other by rotation share one
//! sequence of numbers, whose name each of them bears ([`Id128`]); journald begins another sequence where it cannot
//! go on with the last: after a power loss, with a journal that is not kept over a boot, and up to systemd 253 for each
//! user's journal. So a *sequence* is to a route what a file's content is: it has an incarnation of its own, an entry's
//! number is its offset, and positions, chains, repairs and record ids are what they are for files. A sequence that
//! appears is read from its first entry; one of which nothing is left on disk has ended. Where a power loss took entries
//! that journald had not synced, it gives their numbers to others: from there on the sequence has another incarnation
//! ([`numbered_anew`](listing::Sequence::numbered_anew)).
//!
//! **How it is read.** By journalctl, a run of which reads from a number to the end of the journal as it is then
//! (`reader`). journalctl and not libsystemd: kinetail stays one binary that needs no library of the host, a damaged
//! journal costs a process that is not ours, and the files' layout is the business of the systemd that wrote them. Whether
//! there is something new is seen in the files' headers ([`header`]), once a second, without a process.
//!
//! What holds:
//!
//! 1. A position never passes an entry that may still come: not beyond the last entry that was read, nor, where filters
//!    leave nothing to read, the highest number that was given out when the run began. journald gives out a number just
//!    before it writes the entry.
//! 2. What is not in the files any more is taken for gone, and counted, only after two looks a second apart.
//! 3. Memory: for each place at which a sequence is read, two batches of 256 KiB and an entry, and at most
//!    `READERS` such places.

pub mod export;
pub mod header;
pub mod listing;
mod reader;
mod settings;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

pub use self::header::Id128;
use self::listing::Extent;
use self::reader::{Batch, Reader};
pub use self::settings::JournalSettings;
use crate::journal::Framed;
use crate::source::Incarnation;

/// At so many places of a sequence it is read at once: destinations that are behind have places of their own.
const READERS: usize = 3;
/// A place at which nobody asked for anything for so long is left; it costs a run to come back to it.
const IDLE: Duration = Duration::from_secs(5);
/// For so long it must have looked as if something was gone.
pub(super) const SURE: Duration = Duration::from_secs(1);
/// Between two runs that failed; doubled up to the other.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// What an entry takes until that was seen, in bytes.
const ENTRY: u64 = 512;
/// How often the same failure is told.
const TELL: Duration = Duration::from_secs(300);

/// Wakes the thread that reads.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// What a checkpoint says of a sequence beside what it says of every file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// Which sequence it is.
    pub sequence: Id128,
    /// The highest number that was seen in it.
    pub tail: u64,
    /// The boot in which its last file was written then.
    pub boot: Id128,
    /// When the last entry that was seen was written, microseconds since 1970.
    pub time: u64,
}

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entries {
    /// Everything before this number was read.
    pub end: u64,
    /// There is more right now.
    pub more: bool,
}

/// A sequence as it is now, and who reads it.
#[derive(Debug)]
struct Live {
    id: Id128,
    settings: JournalSettings,
    /// The number of its first entry at the last look, and since when it is that.
    head: (u64, Instant),
    /// What is before this number is gone: looks that were [`SURE`] apart said so.
    gone: u64,
    /// Up to here it was counted what is gone.
    counted: u64,
    extent: Extent,
    readers: Vec<Reader>,
    /// Up to this number there was nothing to read when it reached that far.
    exhausted: Option<(Extent, u64)>,
    /// There may be something that nobody was told of.
    news: bool,
    failure: Option<Failure>,
    /// How many numbers were read, and the bytes of their entries.
    read: (u64, u64),
}

#[derive(Debug)]
struct Failure {
    reason: String,
    told: Instant,
    again: Instant,
    pause: Duration,
}

/// All sequences that are read.
pub struct Journals {
    live: HashMap<Incarnation, Live>,
    wake: Wake,
    /// What was wrong with a route's folders.
    refused: HashMap<Vec<PathBuf>, (String, Instant)>,
}

impl fmt::Debug for Journals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Journals").field(&self.live).finish()
    }
}

impl Default for Journals {
    fn default() -> Self {
        Self { live: HashMap::new(), wake: Arc::new(|| {}), refused: HashMap::new() }
    }
}

impl Journals {
    /// Is to call this when something is ready to be read.
    pub(super) fn set_wake(&mut self, wake: Wake) {
        self.wake = wake;
    }

    /// What is in these folders; none if that cannot be told now, which is said.
    pub(super) fn list(&mut self, folders: &[PathBuf], now: Instant) -> Option<Vec<listing::Sequence>> {
        match listing::list(folders) {
            Ok(found) => {
                if self.refused.remove(folders).is_some() {
                    info!(event = "journal_found", "the journal can be looked at again");
                }
                Some(found)
            }
            Err(reason) => {
                let told = self.refused.get(folders);
                if told.is_none_or(|(before, told)| *before != reason || now >= *told + TELL) {
                    warn!(event = "journal_unreadable", reason, "the journal is not read; it is tried again");
                    self.refused.insert(folders.to_vec(), (reason, now));
                }
                None
            }
        }
    }

    /// A sequence is there. Returns the number of its first entry if it has been that for long enough.
    pub(super) fn see(
        &mut self,
        incarnation: Incarnation,
        settings: &JournalSettings,
        found: &listing::Sequence,
        now: Instant,
    ) -> Option<u64> {
        let live = self.live.entry(incarnation).or_insert_with(|| Live {
            id: found.id,
            settings: settings.clone(),
            head: (0, now),
            gone: 0,
            counted: 0,
            extent: Extent::default(),
            readers: Vec::new(),
            exhausted: None,
            news: true,
            failure: None,
            read: (0, 0),
        });
        let (head, extent) = (found.head(), found.extent());
        live.news |= live.extent != extent;
        live.extent = extent;
        if live.head.0 != head {
            live.head = (head, now);
        }
        let sure = now.saturating_duration_since(live.head.1) >= SURE;
        if sure && live.gone < head {
            (live.gone, live.news) = (head, true);
        }
        if live.settings != *settings {
            live.settings = settings.clone();
            live.readers.clear();
            (live.exhausted, live.failure, live.news) = (None, None, true);
        }
        sure.then_some(head)
    }

    /// How many numbers there are from one on up to another that were not counted yet.
    pub(super) fn count_gone(&mut self, incarnation: Incarnation, from: u64, to: u64) -> u64 {
        let Some(live) = self.live.get_mut(&incarnation) else { return to.saturating_sub(from) };
        let gone = to.saturating_sub(from.max(live.counted));
        live.counted = live.counted.max(to);
        gone
    }

    /// It is not read any more.
    pub(super) fn leave(&mut self, incarnation: Incarnation) {
        self.live.remove(&incarnation);
    }

    /// Leaves places at which nobody reads.
    pub(super) fn tidy(&mut self, now: Instant) {
        for live in self.live.values_mut() {
            // One that has nothing yet may be looking for a long time for what the filters let through.
            live.readers.retain(|reader| now < reader.used + IDLE || !reader.has_news());
        }
    }

    /// How far a sequence reaches that is there.
    pub(super) fn extent(&self, incarnation: Incarnation) -> Option<Extent> {
        self.live.get(&incarnation).map(|live| live.extent)
    }

    /// How many bytes of entries there are for a number, on average of what was read.
    pub(super) fn bytes_for_entry(&self, incarnation: Incarnation) -> u64 {
        let read = self.live.get(&incarnation).map_or((0, 0), |live| live.read);
        read.1.checked_div(read.0).unwrap_or(ENTRY).max(1)
    }

    /// Whether nothing can be read from this number on, as the sequence is now.
    pub(super) fn is_exhausted(&self, incarnation: Incarnation, from: u64) -> bool {
        self.live.get(&incarnation).is_none_or(|live| live.is_exhausted(from))
    }

    /// Sequences that may have something to read, each told once for each news.
    pub(super) fn take_ready(&mut self, now: Instant) -> Vec<Incarnation> {
        let ready = self.live.iter_mut().filter_map(|(incarnation, live)| {
            let again = live.failure.as_ref().is_some_and(|failure| now >= failure.again);
            let paused = live.failure.is_some() && !again;
            let news = live.readers.iter().any(Reader::has_news) || !paused && (again || live.news);
            live.news &= paused;
            news.then_some(*incarnation)
        });
        ready.collect()
    }

    /// Whether something is on its way that was not read yet. What went wrong again and again is not waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.live.values().any(|live| match &live.failure {
            Some(failure) => failure.pause < PAUSE.1,
            None => live.news || !live.readers.is_empty(),
        })
    }

    /// Frames from this number on, up to another one, `want` bytes or at least one of them, in place of what is in the
    /// block. Never waits: where nothing is ready, a run of journalctl is begun, and the listener woken when it has
    /// something.
    #[expect(clippy::too_many_arguments, reason = "the state of one turn")]
    pub(super) fn read(
        &mut self,
        incarnation: Incarnation,
        from: u64,
        limit: Option<u64>,
        want: usize,
        longest: usize,
        block: &mut Vec<u8>,
        now: Instant,
    ) -> Entries {
        block.clear();
        let nothing = Entries { end: from, more: false };
        let Some(live) = self.live.get_mut(&incarnation) else { return nothing };
        let mut at = 0;
        while at < live.readers.len() {
            let reader = &mut live.readers[at];
            if let Some(reason) = reader.failed() {
                let came_on = reader.came_on();
                live.readers.remove(at);
                live.failed(reason, came_on, now);
                continue;
            }
            let taken = reader.taken;
            let ready = reader.batch(|batch| match from {
                // Another place may still want what comes before this one.
                _ if from == batch.next && !batch.last && taken < from => Ready::Elsewhere,
                _ if from == batch.next && !batch.last => Ready::Taken,
                _ if (batch.from..batch.next).contains(&from) || from == batch.next => {
                    let entries = take(batch, from, limit, want, block);
                    let all = batch.last && entries.end == batch.next && block.is_empty();
                    Ready::Here { entries, all }
                }
                _ => Ready::Elsewhere,
            });
            match ready {
                Some(Ready::Elsewhere) => at += 1,
                None if reader.at != from => at += 1,
                None => {
                    reader.used = now;
                    return nothing;
                }
                Some(Ready::Taken) => {
                    reader.used = now;
                    reader.pass();
                    return nothing;
                }
                Some(Ready::Here { entries, all }) => {
                    live.read.0 += entries.end - from;
                    live.read.1 += block.len() as u64;
                    if entries.end > from {
                        (reader.used, reader.taken) = (now, reader.taken.max(entries.end));
                    }
                    if all {
                        live.exhausted = Some((reader.extent, entries.end));
                        // What came since the run began was told to nobody.
                        live.news |= live.extent != reader.extent;
                        if reader.taken >= entries.end {
                            live.readers.remove(at);
                            live.recovered();
                        }
                    }
                    return entries;
                }
            }
        }
        let paused = live.failure.as_ref().is_some_and(|failure| now < failure.again);
        if !paused
            && !live.is_exhausted(from)
            && let Err(reason) = live.start(from, longest, &self.wake, now)
        {
            live.failed(reason, false, now);
        }
        nothing
    }
}

/// What a reader has for a place.
enum Ready {
    /// What follows it, and whether that is nothing for now.
    Here {
        entries: Entries,
        all: bool,
    },
    /// What came before it, which was taken.
    Taken,
    Elsewhere,
}

/// Frames of a batch from a number on, as [`Journals::read`] wants them.
fn take(batch: &Batch, from: u64, limit: Option<u64>, want: usize, block: &mut Vec<u8>) -> Entries {
    let limit = limit.unwrap_or(u64::MAX);
    let (mut rest, mut end) = (&batch.frames[..], batch.next);
    while let Some(framed) = Framed::first(rest) {
        let (whole, after) = rest.split_at(framed.room());
        if framed.number >= limit || !block.is_empty() && block.len() + whole.len() > want {
            end = framed.number;
            break;
        }
        if framed.number >= from {
            block.extend_from_slice(whole);
        }
        rest = after;
    }
    Entries { end: end.min(limit), more: !block.is_empty() }
}

impl Live {
    fn is_exhausted(&self, from: u64) -> bool {
        from > self.extent.tail
            || self.exhausted.is_some_and(|(extent, until)| extent == self.extent && from >= until)
    }

    /// Begins a run from a number on.
    fn start(&mut self, from: u64, longest: usize, wake: &Wake, now: Instant) -> Result<(), String> {
        let found = listing::list(&self.settings.folders)?;
        let Some(sequence) = found.into_iter().find(|found| found.id == self.id) else {
            // The next look tells whether it is gone.
            self.news = true;
            return Ok(());
        };
        // What is not there counts as gone only once a second look says so, too. Without a file journalctl would take
        // those of this machine.
        if sequence.head() > from.max(self.gone) || sequence.extent().tail < from {
            return Ok(());
        }
        if self.readers.len() >= READERS
            && let Some((longest_idle, _)) =
                self.readers.iter().enumerate().min_by_key(|(_, reader)| reader.used)
        {
            self.readers.remove(longest_idle);
        }
        let program = || self.settings.command.first().map(|program| program.to_string_lossy().into_owned());
        let reader = Reader::start(&self.settings, &sequence, from, longest, Arc::clone(wake), now)
            .map_err(|error| format!("{} cannot be started: {error}", program().unwrap_or_default()))?;
        self.extent = reader.extent;
        self.readers.push(reader);
        Ok(())
    }

    /// A run went wrong, having read something or not. It is tried again, each time later.
    fn failed(&mut self, reason: String, came_on: bool, now: Instant) {
        let before = self.failure.take();
        let pause = match &before {
            Some(before) if !came_on => (before.pause * 2).min(PAUSE.1),
            _ => PAUSE.0,
        };
        let told = before.filter(|before| before.reason == reason && now < before.told + TELL);
        let told = told.map_or_else(
            || {
                warn!(event = "journalctl_failed", sequence = %self.id, reason,
                    "the journal could not be read to its end; it is tried again, and nothing of it is passed over");
                now
            },
            |before| before.told,
        );
        self.failure = Some(Failure { reason, told, again: now + pause, pause });
    }

    fn recovered(&mut self) {
        if self.failure.take().is_some() {
            info!(event = "journalctl_recovered", sequence = %self.id, "the journal is read again");
        }
    }
}
