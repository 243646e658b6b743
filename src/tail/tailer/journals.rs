//! Sequences of the journal's entries among the files: when they are met, how far they reach, and what is gone of them.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use tracing::{info, warn};

use super::super::checkpoint::{Entry, Progress, Status};
use super::super::identity::FileId;
use super::super::journal::listing::Sequence;
use super::super::journal::{Entries, JournalSettings, SURE, Wake};
use super::super::settings::StartAt;
use super::routing::{progress, reconcile_destinations};
use super::{Tailer, millis};
use crate::source::{Incarnation, Position};

/// What a look at the journal's files found.
#[derive(Debug, Default)]
pub struct Looked {
    /// There is a sequence that was not known.
    pub is_new: bool,
    /// Sequences of which nothing is there any more.
    pub gone: Vec<Incarnation>,
}

impl Tailer {
    /// Whoever reads the journal calls this when there is something to be read.
    pub fn wake_with(&mut self, wake: Wake) {
        self.journals.set_wake(wake);
    }

    /// Whether any route reads the journal.
    pub fn reads_journals(&self) -> bool {
        self.routes.iter().any(|route| route.journal.is_some())
    }

    /// Looks at the journal's files: which sequences there are, how far they reach, and what is gone.
    pub fn look_at_journals(&mut self, now: Instant, wall: SystemTime) -> Looked {
        let mut looked = Looked::default();
        let mut listed: Vec<(Vec<PathBuf>, Option<Vec<Sequence>>)> = Vec::new();
        self.journals.tidy(now);
        for route in 0..self.routes.len() {
            let Some(settings) = self.routes[route].journal.clone() else { continue };
            let at = match listed.iter().position(|(folders, _)| *folders == settings.folders) {
                Some(at) => at,
                None => {
                    listed.push((settings.folders.clone(), self.journals.list(&settings.folders, now)));
                    listed.len() - 1
                }
            };
            let Some(found) = &listed[at].1 else { continue };
            let mut seen = Vec::with_capacity(found.len());
            for sequence in found {
                let known = match self.known(route, sequence) {
                    Some(known) if self.is_numbered_anew(known, sequence) => {
                        looked.gone.push(known);
                        looked.is_new = true;
                        Some(self.renew(known, route, sequence, now, wall))
                    }
                    known => known,
                };
                looked.is_new |= known.is_none();
                let incarnation = known.unwrap_or_else(|| self.meet_sequence(route, sequence, now));
                self.see_sequence(incarnation, route, &settings, sequence, now);
                seen.push(incarnation);
            }
            looked.gone.extend(self.end_sequences(route, &seen, now, wall));
        }
        looked
    }

    /// Sequences that may have something to read.
    pub fn ready_journals(&mut self, now: Instant) -> Vec<Incarnation> {
        self.journals.take_ready(now)
    }

    /// Whether something of the journal is on its way.
    pub fn awaits_journal(&self) -> bool {
        self.journals.is_busy()
    }

    /// Whether this is a sequence of the journal and not a file.
    pub fn is_journal(&self, incarnation: Incarnation) -> bool {
        self.files.get(&incarnation).is_some_and(|tracked| tracked.entry.journal.is_some())
    }

    /// Entries from a number on, up to another one, in place of what is in the buffer: `want` bytes or one of them. Never
    /// waits; where nothing is ready yet, it will be announced.
    pub fn read_entries(
        &mut self,
        incarnation: Incarnation,
        from: u64,
        limit: Option<u64>,
        want: usize,
        buffer: &mut Vec<u8>,
        now: Instant,
    ) -> Entries {
        let longest = usize::try_from(self.settings.max_line.0).unwrap_or(usize::MAX);
        self.journals.read(incarnation, from, limit, want, longest, buffer, now)
    }

    fn known(&self, route: usize, sequence: &Sequence) -> Option<Incarnation> {
        let of_route = |entry: &&Entry| entry.route == self.routes[route].name;
        let is_it = |entry: &&Entry| entry.journal.is_some_and(|journal| journal.sequence == sequence.id);
        // Beside one whose numbers were given out again.
        let latest = |entry: &&Entry| (entry.status == Status::Following, entry.vanished.is_none());
        self.entries().filter(of_route).filter(is_it).max_by_key(latest).map(|entry| entry.incarnation)
    }

    fn is_numbered_anew(&self, incarnation: Incarnation, sequence: &Sequence) -> bool {
        self.entry(incarnation).is_some_and(|entry| numbered_anew(entry, sequence).is_some())
    }

    /// Another incarnation, from where the numbers were given out again. What is before it and was not read is read.
    fn renew(
        &mut self,
        incarnation: Incarnation,
        route: usize,
        sequence: &Sequence,
        now: Instant,
        wall: SystemTime,
    ) -> Incarnation {
        let Some(before) = self.files.get_mut(&incarnation) else { return incarnation };
        let Some(from) = numbered_anew(&before.entry, sequence) else { return incarnation };
        self.counts.truncations += 1;
        info!(event = "journal_numbered_anew", path = %before.entry.path.display(), route = %before.entry.route,
            sequence = %sequence.id, from, "a power loss took entries from the journal, and others have their numbers");
        (before.entry.status, before.entry.vanished) = (Status::Finished, Some(millis(wall)));
        let progress = before.entry.progress.clone();
        self.journals.leave(incarnation);
        let mut entry = self.new_entry(sequence.folder.clone(), FileId::NONE, route, Position::at(from));
        entry.journal = Some(sequence.told());
        for own in &mut entry.progress {
            let behind = progress.iter().find(|other| other.to == own.to).map(|other| other.position.offset);
            *own = Progress::at(own.to.clone(), Position::at(behind.map_or(from, |behind| behind.min(from))));
        }
        let new = entry.incarnation;
        self.track(entry, now);
        new
    }

    /// A sequence that the route has not read yet.
    fn meet_sequence(&mut self, route: usize, sequence: &Sequence, now: Instant) -> Incarnation {
        let first = !self.started.contains(&self.routes[route].name);
        let tail = sequence.extent().tail;
        let start =
            if first && self.routes[route].start_at == StartAt::End { tail + 1 } else { sequence.head() };
        let mut entry = self.new_entry(sequence.folder.clone(), FileId::NONE, route, Position::at(start));
        entry.journal = Some(sequence.told());
        let incarnation = entry.incarnation;
        info!(event = "journal_sequence_found", path = %entry.path.display(), route = %entry.route,
            sequence = %sequence.id, entry = start, "reading a sequence of the journal's entries");
        self.track(entry, now);
        incarnation
    }

    fn see_sequence(
        &mut self,
        incarnation: Incarnation,
        route: usize,
        settings: &JournalSettings,
        sequence: &Sequence,
        now: Instant,
    ) {
        let head = self.journals.see(incarnation, settings, sequence, now);
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let entry = &mut tracked.entry;
        entry.path.clone_from(&sequence.folder);
        (entry.status, entry.vanished) = (Status::Following, None);
        entry.journal = Some(sequence.told());
        reconcile_destinations(entry, &self.routes[route].to);
        // What is gone is counted once, as far as any destination lacks it.
        let Some(head) = head else { return };
        let read = progress(&self.routes, &tracked.entry).map(|progress| progress.position.offset);
        let again = tracked.entry.repairs.iter().map(|repair| repair.from.offset);
        let from = read.chain(again).min().unwrap_or(head);
        let gone = self.journals.count_gone(incarnation, from, head);
        if gone > 0 {
            self.counts.entries_gone += gone;
            warn!(event = "journal_entries_gone", path = %tracked.entry.path.display(), route = %tracked.entry.route,
                sequence = %sequence.id, from, to = head, entries = gone,
                "journald removed entries before they were read: at most so many, of all units; they are lost");
        }
    }

    /// Leaves sequences of a route of which no file was there for long enough.
    fn end_sequences(
        &mut self,
        route: usize,
        seen: &[Incarnation],
        now: Instant,
        wall: SystemTime,
    ) -> Vec<Incarnation> {
        let name = &self.routes[route].name;
        let mut ended = Vec::new();
        for (incarnation, tracked) in &mut self.files {
            let entry = &tracked.entry;
            let Some(journal) = entry.journal else { continue };
            if entry.route != *name || entry.status != Status::Following {
                continue;
            }
            if seen.contains(incarnation) {
                tracked.missed = false;
                continue;
            }
            if !std::mem::replace(&mut tracked.missed, true) {
                tracked.grew = now;
            }
            if now.saturating_duration_since(tracked.grew) < SURE {
                continue;
            }
            let read = progress(&self.routes, entry).map(|progress| progress.position.offset).min();
            let from = read.unwrap_or(u64::MAX);
            // Of the last number it was not known whether there is an entry for it.
            let is_read = self
                .journals
                .extent(*incarnation)
                .is_some_and(|_| self.journals.is_exhausted(*incarnation, from));
            let until = if is_read { from } else { journal.tail + 1 };
            let gone = self.journals.count_gone(*incarnation, from, until);
            self.journals.leave(*incarnation);
            if gone > 0 {
                self.counts.entries_gone += gone;
                warn!(event = "journal_entries_gone", path = %entry.path.display(), route = %entry.route,
                    sequence = %journal.sequence, from, to = until, entries = gone,
                    "the last of this journal was removed before it was read: at most so many entries, of all units, and \
                     whatever was written after them; they are lost");
            } else {
                info!(event = "journal_sequence_gone", path = %entry.path.display(), route = %entry.route,
                    sequence = %journal.sequence, "a sequence of the journal's entries is gone; it was read to its end");
            }
            (tracked.entry.status, tracked.entry.vanished) = (Status::Finished, Some(millis(wall)));
            ended.push(*incarnation);
        }
        ended
    }

    /// How many bytes an offset stands for: of the journal, an entry has so many on average.
    pub(super) fn bytes_for_offset(&self, entry: &Entry) -> u64 {
        entry.journal.map_or(1, |_| self.journals.bytes_for_entry(entry.incarnation))
    }

    /// How far a sequence reaches that is read, and when it was written last as far as is known.
    pub(super) fn extent_of_journal(&self, entry: &Entry) -> Option<(u64, SystemTime)> {
        let extent = self.journals.extent(entry.incarnation)?;
        let furthest =
            entry.progress.iter().map(|progress| progress.position.offset).max().unwrap_or_default();
        // The last number may be that of an entry that filters left out.
        let end =
            if self.journals.is_exhausted(entry.incarnation, furthest) { furthest } else { extent.tail + 1 };
        // Looked at each second, it is seen as it grows.
        Some((end, SystemTime::now()))
    }

    /// A route that does not read it any more, or reads something else, leaves a sequence where it stands.
    pub(super) fn assign_journals(&mut self) {
        for (incarnation, tracked) in &mut self.files {
            let entry = &mut tracked.entry;
            if entry.journal.is_none() || entry.status != Status::Following {
                continue;
            }
            match self.routes.iter().find(|route| route.name == entry.route && route.journal.is_some()) {
                Some(route) => reconcile_destinations(entry, &route.to),
                None => {
                    info!(event = "file_left", path = %entry.path.display(), route = %entry.route,
                        "no route reads this journal any more; it is left where it stands");
                    entry.status = Status::Finished;
                    self.journals.leave(*incarnation);
                }
            }
        }
    }
}

/// From which number on a sequence that is known has others' numbers.
fn numbered_anew(entry: &Entry, sequence: &Sequence) -> Option<u64> {
    let read = entry.progress.iter().map(|progress| progress.position.offset).max().unwrap_or_default();
    entry.journal.and_then(|told| sequence.numbered_anew(&told, read))
}
