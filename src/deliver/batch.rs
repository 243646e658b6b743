//! Records become requests: as few and as full as the service's limits allow.
//!
//! Limits are measured on the raw bytes, as the services do, not on the base64 text. Where packing allows,
//! work is done per run and not per record: the place of a cut is found by binary search in the run's table of
//! ends, and no byte is touched before it is sent.

use std::collections::VecDeque;
use std::fmt;

use tokio::time::Instant;

use super::entry::{Entry, Framing, Part, framed_size};
use super::key::{KeySize, Keys};
use super::lots::Lots;
use super::refusal::{Reason, Refused};
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
    /// The shape's own.
    request_size: usize,
    keys: Option<Keys>,
    /// In place of all below, where an entry may hold only records of one key.
    lots: Option<Lots>,
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
        let keys = shape.key.as_ref().map(|key| Keys::new(key, shape.hash_key.as_ref(), rng));
        let sorted =
            shape.ordered || shape.packing.is_some() && keys.as_ref().is_some_and(Keys::are_of_records);
        Self {
            keys,
            request_size: shape.request_size,
            lots: sorted.then(|| Lots::new(shape.ordered)),
            shape,
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

    /// Makes requests of no more than so many bytes, within the shape's limit.
    pub(super) fn limit_requests(&mut self, most: Option<usize>) {
        self.shape.request_size = most.map_or(self.request_size, |most| most.min(self.request_size));
    }

    /// The most bytes in one request, where a low rate does not make them smaller.
    pub(super) fn request_size(&self) -> usize {
        self.request_size
    }

    /// How many requests are full and wait to be taken.
    pub(super) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// When the open request is to be taken although it is not full; none while it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.lots {
            Some(lots) => lots.due(&self.shape),
            None => self.since.map(|since| since + self.shape.max_age),
        }
    }

    /// Everything that was offered and not taken, in no particular order.
    pub(super) fn into_parts(self) -> impl Iterator<Item = Part> {
        let drafts = self.ready.into_iter().chain([self.open]);
        let placed = drafts.flat_map(|draft| draft.entries).flat_map(|entry| entry.parts);
        placed.chain(self.lots.into_iter().flat_map(Lots::into_parts))
    }

    /// Gives up everything that was offered and not taken.
    pub(super) fn forget(&mut self) {
        self.lots = self.lots.as_ref().map(|lots| Lots::new(lots.is_ordered()));
        self.ready.clear();
        self.open = Draft { entries: Vec::new(), size: 0 };
        (self.sealed, self.since) = (false, None);
    }

    /// Takes records in. What is too large for the service comes back.
    pub(super) fn offer(&mut self, mut part: Part) -> Vec<Refused> {
        let mut refused = Vec::new();
        let Some(keys) = self.keys.as_mut().filter(|keys| self.lots.is_some() || keys.are_of_records())
        else {
            self.place_all(part, &mut refused);
            return refused;
        };
        // All keys first, as they borrow what the records are put into.
        let mut of_keys = Vec::new();
        while !part.run.is_empty() {
            let (key, count) = match &part.key {
                Some(key) => (key.clone(), part.run.len()),
                None => keys.of_first(&part.run),
            };
            of_keys.push(Part { key: Some(key), ..cut(&mut part, count) });
        }
        for part in of_keys {
            if self.lots.is_some() {
                self.sort_in(part, &mut refused);
            } else {
                self.place_all(part, &mut refused);
            }
        }
        refused
    }

    fn place_all(&mut self, mut part: Part, refused: &mut Vec<Refused>) {
        while !part.run.is_empty() {
            match self.place(&part) {
                Place::Grow(fit) => self.push(&mut part, fit),
                Place::Seal => self.sealed = true,
                Place::Start(fit) => {
                    let key = match (&part.key, &mut self.keys) {
                        (Some(key), _) => Some(key.clone()),
                        (None, keys) => keys.as_mut().map(|keys| keys.of(part.run.record(0))),
                    };
                    self.open.entries.push(Entry::new(self.shape.framing, key));
                    self.push(&mut part, fit);
                }
                Place::Close => self.close(),
                Place::Nowhere { size } => refused.push(self.too_large(&mut part, size)),
            }
        }
    }

    /// Puts records of one key with others of it.
    fn sort_in(&mut self, mut part: Part, refused: &mut Vec<Refused>) {
        while !part.run.is_empty() {
            let fits = match self.size_alone(&part, part.run.data().len()) <= self.shape.record_size {
                true => part.run.len(),
                false => (0..part.run.len())
                    .take_while(|index| {
                        let len = part.run.end(*index) - part.run.start(*index);
                        self.size_alone(&part, len) <= self.shape.record_size
                    })
                    .count(),
            };
            if let (Some(lots), Some(key), 1..) = (&mut self.lots, part.key.clone(), fits) {
                lots.offer(&key, cut(&mut part, fits), &self.shape);
            }
            if !part.run.is_empty() {
                let size = self.size_alone(&part, part.run.end(0));
                refused.push(self.too_large(&mut part, size));
            }
        }
    }

    /// The size of an entry with a single record of this length, newline counted.
    fn size_alone(&self, part: &Part, len: usize) -> usize {
        self.key_size(part).text + len - usize::from(!self.shape.framing.keeps_newline())
    }

    fn key_size(&self, part: &Part) -> KeySize {
        match (&part.key, &self.keys) {
            (Some(key), _) => key.size(),
            (None, Some(keys)) => keys.size(),
            (None, None) => KeySize::default(),
        }
    }

    fn too_large(&self, part: &mut Part, size: usize) -> Refused {
        Refused { run: cut(part, 1).run, reason: Reason::TooLarge { size, limit: self.shape.record_size } }
    }

    /// The lots, where each key's order is kept.
    pub(super) fn ordered(&mut self) -> Option<(&mut Lots, &Shape)> {
        self.lots.as_mut().filter(|lots| lots.is_ordered()).map(|lots| (lots, &self.shape))
    }

    /// How many records lacked what their key is made of, since this was last asked.
    pub(super) fn take_key_fallbacks(&mut self) -> u64 {
        self.keys.as_mut().map_or(0, Keys::take_fallbacks)
    }

    /// The next request: a full one, or else the open one if it is due or does not linger.
    pub(super) fn take(&mut self, now: Instant, linger: Linger) -> Option<Draft> {
        if let Some(lots) = &mut self.lots {
            lots.release_due(now, &self.shape);
            return lots.take(now, linger, &self.shape);
        }
        if self.ready.is_empty() {
            let due = self.due()?;
            if linger == Linger::Off || due <= now {
                self.close();
            }
        }
        self.ready.pop_front()
    }

    /// Where the run's first records go.
    fn place(&self, part: &Part) -> Place {
        let (shape, run) = (&self.shape, &part.run);
        let key = self.key_size(part);
        let (framing, request_size) = (shape.framing, shape.request_size);
        if let (Some(pack), Some(last), false) = (shape.packing, self.open.entries.last(), self.sealed) {
            let base = last.base_size();
            let limit = pack.size.min(request_size.saturating_sub(self.open.size - last.size()));
            let fit =
                fit(run, (framing, key), base, limit, pack.lines.saturating_sub(last.records), pack.step);
            return if fit.count > 0 { Place::Grow(fit) } else { Place::Seal };
        }
        let room = request_size.saturating_sub(self.open.size);
        let size = self.size_alone(part, run.end(0));
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
                let base = Entry::empty_size(framing, key);
                match fit(run, (framing, key), base, room.min(pack.size), pack.lines, pack.step) {
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
pub(super) struct Fit {
    pub(super) count: usize,
    /// The entry takes no more after them.
    pub(super) full: bool,
}

/// How many of the run's first records an entry takes that has `base` bytes and may have `limit`, and at most so
/// many records. One that gets full ends before a billing step that its last records would only begin, if that leaves
/// clearly less of a step unused.
pub(super) fn fit(
    run: &Run,
    (framing, key): (Framing, KeySize),
    base: usize,
    limit: usize,
    lines: usize,
    step: Option<usize>,
) -> Fit {
    let within = |limit: usize, most: usize| {
        let room = limit.saturating_sub(base);
        match framing {
            Framing::Aggregate => {
                let (size, count) = framed_size(&run.slice(0..most.min(run.len())), room, key.hash.is_some());
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
        let count = step.map_or(count, |step| {
            let begun = size / step * step;
            // A record more costs too: it must be worth it.
            if begun <= base || size.next_multiple_of(step) - size < step / 8 {
                return count;
            }
            let (shorter, before) = within(begun, count);
            if before > 0 && begun - shorter < size.next_multiple_of(step) - size { before } else { count }
        });
        return Fit { count, full: true };
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
pub(super) fn cut(part: &mut Part, count: usize) -> Part {
    Part { run: part.run.split_to(count), ..part.clone() }
}

#[cfg(test)]
mod tests;
