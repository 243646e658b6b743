//! Records become requests: as few and as full as the service's limits allow.
//!
//! Limits are measured on the raw bytes, as the services do, not on the base64 text. Where packing allows,
//! work is done per run and not per record: the place of a cut is found by binary search in the run's table of
//! ends, and no byte is touched before it is sent.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::entry::{Entry, Framing, Key, Part, framed_size};
use super::refusal::{Reason, Refused};
use super::settings::PartitionKey;
use super::shape::Shape;
use crate::record::Run;

/// Entries that make a request.
pub(super) struct Draft {
    pub(super) entries: Vec<Entry>,
    pub(super) size: usize,
}

/// Makes requests of the records it is offered. It never holds more than it was offered and loses nothing;
/// how much it is offered is the caller's care.
#[derive(Debug)]
pub(super) struct Batcher {
    shape: Shape,
    fixed_key: Option<Arc<str>>,
    rng: fastrand::Rng,
    /// Full ones, oldest first.
    ready: VecDeque<Draft>,
    /// The one that fills; only its last entry grows.
    open: Draft,
    /// The last entry of the open one is full.
    sealed: bool,
    /// When the oldest record of the open one was offered.
    since: Option<Instant>,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({} entries, {} bytes)", self.entries.len(), self.size)
    }
}

impl Batcher {
    /// An empty one. `rng` draws the random partition keys.
    pub(super) fn new(shape: Shape, rng: fastrand::Rng) -> Self {
        let fixed_key = match &shape.key {
            Some(PartitionKey::Fixed(key)) => Some(key.as_str().into()),
            _ => None,
        };
        Self {
            shape,
            fixed_key,
            rng,
            ready: VecDeque::new(),
            open: Draft { entries: Vec::new(), size: 0 },
            sealed: false,
            since: None,
        }
    }

    /// The limits that its requests keep.
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many requests are full and wait to be taken.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// When the open request is to be taken although it is not full; none while it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.shape.max_age)
    }

    /// Takes records in. What is too large for the service comes back.
    pub(super) fn offer(&mut self, mut part: Part) -> Vec<Refused> {
        let mut refused = Vec::new();
        while !part.run.is_empty() {
            match self.place(&part.run) {
                Place::Grow(fit) => self.push(&mut part, fit),
                Place::Seal => self.sealed = true,
                Place::Start(fit) => {
                    let entry = self.new_entry();
                    self.open.entries.push(entry);
                    self.push(&mut part, fit);
                }
                Place::Close => self.close(),
                Place::Nowhere { size } => refused.push(Refused {
                    run: cut(&mut part, 1).run,
                    reason: Reason::TooLarge { size, limit: self.shape.record_size },
                }),
            }
        }
        refused
    }

    /// The next request: a full one, or else the open one if it is due or does not linger.
    pub(super) fn take(&mut self, now: Instant, linger: Linger) -> Option<Draft> {
        if self.ready.is_empty() {
            let due = self.due()?;
            if linger == Linger::Off || due <= now {
                self.close();
            }
        }
        self.ready.pop_front()
    }

    /// Where the run's first records go.
    fn place(&self, run: &Run) -> Place {
        let shape = &self.shape;
        let (framing, request_size) = (shape.framing, shape.request_size);
        if let (Some(pack), Some(last), false) = (shape.packing, self.open.entries.last(), self.sealed) {
            let base = last.base_size();
            let limit = pack.size.min(request_size.saturating_sub(self.open.size - last.size()));
            let fit = fit(run, framing, base, limit, pack.lines.saturating_sub(last.records), pack.step);
            return if fit.count > 0 { Place::Grow(fit) } else { Place::Seal };
        }
        let room = request_size.saturating_sub(self.open.size);
        let newline = usize::from(!framing.keeps_newline());
        let size = shape.key_size() + run.end(0) - newline;
        if size > shape.record_size {
            return Place::Nowhere { size };
        }
        // What is left of a request below a billing step would make a record that costs the whole step.
        let least = shape.packing.and_then(|pack| pack.step).map_or(size, |step| step.max(size));
        let full = self.open.entries.len() >= shape.max_entries || least > room;
        if full && !self.open.entries.is_empty() {
            return Place::Close;
        }
        Place::Start(match shape.packing {
            None => Fit { count: 1, full: true },
            Some(pack) => {
                let base = Entry::empty_size(framing, shape.key_size());
                match fit(run, framing, base, room.min(pack.size), pack.lines, pack.step) {
                    Fit { count: 0, .. } => Fit { count: 1, full: true },
                    fit => fit,
                }
            }
        })
    }

    /// Puts the part's first records into the last entry of the open request.
    fn push(&mut self, part: &mut Part, fit: Fit) {
        let part = cut(part, fit.count);
        let since = self.since.get_or_insert(part.since);
        *since = part.since.min(*since);
        self.sealed = fit.full;
        let last = self.open.entries.last_mut().expect("an entry was found or made for it");
        let before = if last.records == 0 { 0 } else { last.size() };
        last.push(part);
        self.open.size += last.size() - before;
        let entries = self.open.entries.len();
        if self.open.size >= self.shape.request_size || (self.sealed && entries >= self.shape.max_entries) {
            self.close();
        }
    }

    fn new_entry(&mut self) -> Entry {
        let key = match (&self.shape.key, &self.fixed_key) {
            (None, _) => None,
            (Some(_), Some(key)) => Some(Key::Fixed(key.clone())),
            (Some(_), None) => Some(Key::Random(self.rng.u64(..))),
        };
        Entry::new(self.shape.framing, key)
    }

    fn close(&mut self) {
        let empty = Draft { entries: Vec::new(), size: 0 };
        self.since = None;
        self.sealed = false;
        self.ready.push_back(std::mem::replace(&mut self.open, empty));
    }
}

/// Whether a request that is not full waits for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Linger {
    /// It waits until the oldest record in it is as old as is allowed.
    On,
    /// It does not: the buffer is being emptied.
    Off,
}

/// Where records go.
enum Place {
    /// Into the last entry of the open request.
    Grow(Fit),
    /// Not into the last entry of the open request, nor will any other.
    Seal,
    /// Into a new entry of the open request.
    Start(Fit),
    /// Into the next request.
    Close,
    /// The service does not take a record of this size.
    Nowhere { size: usize },
}

/// How many of a run's first records an entry takes.
#[derive(Clone, Copy)]
struct Fit {
    count: usize,
    /// The entry takes no more after them.
    full: bool,
}

/// How many of the run's first records an entry takes that has `base` bytes and may have `limit`, and at most so
/// many records. One that gets full ends before a billing step that its last records would only begin.
fn fit(run: &Run, framing: Framing, base: usize, limit: usize, lines: usize, step: Option<usize>) -> Fit {
    let within = |limit: usize, most: usize| {
        let room = limit.saturating_sub(base);
        match framing {
            Framing::Aggregate => {
                let (size, count) = framed_size(&run.slice(0..most.min(run.len())), room);
                (base + size, count)
            }
            _ => {
                let count = records_within(run, room, most);
                (base + if count > 0 { run.end(count - 1) } else { 0 }, count)
            }
        }
    };
    let (size, count) = within(limit, lines);
    if count < run.len() || count == lines {
        let begun = step.map_or(0, |step| size / step * step);
        let before = if begun > base { within(begun, count).1 } else { count };
        return Fit { count: if before > 0 { before } else { count }, full: true };
    }
    Fit { count, full: false }
}

/// How many of the run's first records fit into so many bytes, and at most so many records.
fn records_within(run: &Run, room: usize, most: usize) -> usize {
    let (mut low, mut high) = (0, run.len().min(most));
    if high > 0 && run.end(high - 1) <= room {
        return high;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if run.end(middle) <= room {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Takes the first records of a part off.
fn cut(part: &mut Part, count: usize) -> Part {
    Part { run: part.run.split_to(count), ..*part }
}

#[cfg(test)]
mod tests;
