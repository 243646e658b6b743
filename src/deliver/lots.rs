//! Records by their keys, where a record of the service may hold only those of one key, or where each key's order
//! is kept.
//!
//! Kept in order, a key gives one entry at a time: it is *busy* from the time when that entry is taken out until it is
//! settled, or its records are put back in front of those that came after them. So at most one request with
//! records of a key is under way, with one entry of it, and what failed is always sent before what followed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::time::Instant;

use super::batch::{Draft, Linger, cut, fit};
use super::entry::{Entry, Part};
use super::key::Key;
use super::shape::Shape;

/// Records that wait, by their keys.
#[derive(Debug)]
pub(super) struct Lots {
    ordered: bool,
    lots: HashMap<Key, Lot>,
    /// The keys of which records may go, oldest first.
    free: VecDeque<Key>,
    /// Keys that are busy until a time.
    held: BTreeMap<(Instant, u64), Key>,
    next_held: u64,
    /// How many entries of the free keys are full.
    full: usize,
}

#[derive(Debug, Default)]
struct Lot {
    parts: VecDeque<Part>,
    bytes: usize,
    records: usize,
    busy: bool,
    /// How many of its entries are counted as full.
    full: usize,
}

impl Lots {
    pub(super) fn new(ordered: bool) -> Self {
        Self {
            ordered,
            lots: HashMap::new(),
            free: VecDeque::new(),
            held: BTreeMap::new(),
            next_held: 0,
            full: 0,
        }
    }

    pub(super) fn is_ordered(&self) -> bool {
        self.ordered
    }

    /// Takes records of one key in, behind those that it has.
    pub(super) fn offer(&mut self, key: &Key, part: Part, shape: &Shape) {
        let lot = self.lots.entry(key.clone()).or_default();
        let fresh = lot.parts.is_empty() && !lot.busy;
        lot.add(&part);
        lot.parts.push_back(part);
        if fresh {
            self.free.push_back(key.clone());
        }
        self.count(key, shape);
    }

    /// Everything that waits, in no particular order.
    pub(super) fn into_parts(self) -> impl Iterator<Item = Part> {
        self.lots.into_values().flat_map(|lot| lot.parts)
    }

    /// Takes records back that were taken out and must be sent before all others of their key, in their order. The
    /// key stays busy.
    pub(super) fn put_back(&mut self, key: &Key, parts: Vec<Part>) {
        let lot = self.lots.entry(key.clone()).or_default();
        lot.busy = true;
        for part in parts.into_iter().rev() {
            lot.add(&part);
            lot.parts.push_front(part);
        }
    }

    /// Nothing of a key is under way any more.
    pub(super) fn release(&mut self, key: &Key, shape: &Shape) {
        let Some(lot) = self.lots.get_mut(key) else { return };
        lot.busy = false;
        if lot.parts.is_empty() {
            self.lots.remove(key);
        } else {
            self.free.push_back(key.clone());
            self.count(key, shape);
        }
    }

    /// A key is to be released at a time.
    pub(super) fn release_at(&mut self, key: Key, at: Instant) {
        self.held.insert((at, self.next_held), key);
        self.next_held += 1;
    }

    /// Releases what is to be released by now.
    pub(super) fn release_due(&mut self, now: Instant, shape: &Shape) {
        while let Some(first) = self.held.first_entry() {
            if first.key().0 > now {
                break;
            }
            let key = first.remove();
            self.release(&key, shape);
        }
    }

    /// When something is to be done although nothing is full.
    pub(super) fn due(&self, shape: &Shape) -> Option<Instant> {
        let oldest = self.free.iter().filter_map(|key| self.lots[key].since()).min();
        let held = self.held.keys().next().map(|(at, _)| *at);
        oldest.map(|since| since + shape.max_age).into_iter().chain(held).min()
    }

    /// The next request: of full entries, or else of all that there is if something is due or does not linger.
    pub(super) fn take(&mut self, now: Instant, linger: Linger, shape: &Shape) -> Option<Draft> {
        let due =
            || self.free.iter().any(|key| self.lots[key].since().is_some_and(|at| at + shape.max_age <= now));
        let size = shape.packing.map_or(0, |pack| pack.size);
        let only_full = if !self.free.is_empty() && (linger == Linger::Off || due()) {
            false
        } else if self.full >= shape.max_entries || self.full * size >= shape.request_size {
            true
        } else {
            return None;
        };
        let mut draft = Draft { entries: Vec::new(), size: 0 };
        let mut passed = VecDeque::new();
        while draft.entries.len() < shape.max_entries && draft.size < shape.request_size {
            let Some(key) = self.free.pop_front() else { break };
            let Some(lot) = self.lots.get_mut(&key) else { continue };
            if only_full && lot.full == 0 {
                passed.push_back(key);
                continue;
            }
            let entry = lot.entry(&key, shape);
            if !draft.entries.is_empty() && draft.size + entry.size() > shape.request_size {
                for part in entry.parts.into_iter().rev() {
                    lot.add(&part);
                    lot.parts.push_front(part);
                }
                passed.push_back(key);
                break;
            }
            draft.size += entry.size();
            draft.entries.push(entry);
            self.full -= std::mem::take(&mut lot.full);
            if self.ordered {
                lot.busy = true;
            } else if lot.parts.is_empty() {
                self.lots.remove(&key);
            } else {
                self.free.push_front(key.clone());
                self.count(&key, shape);
            }
        }
        // What was passed over is older than the rest.
        passed.append(&mut self.free);
        self.free = passed;
        (!draft.entries.is_empty()).then_some(draft)
    }

    /// Counts the full entries of a free key.
    fn count(&mut self, key: &Key, shape: &Shape) {
        let Some(lot) = self.lots.get_mut(key) else { return };
        let full = match shape.packing {
            _ if lot.busy => 0,
            None => lot.records,
            Some(pack) => (lot.bytes / pack.size).max(lot.records / pack.lines),
        };
        let full = if self.ordered { full.min(1) } else { full };
        self.full = self.full - lot.full + full;
        lot.full = full;
    }
}

impl Lot {
    fn since(&self) -> Option<Instant> {
        self.parts.front().map(|part| part.since)
    }

    fn add(&mut self, part: &Part) {
        self.bytes += part.run.data().len();
        self.records += part.run.len();
    }

    /// Takes its first records out, as many as one entry takes. There must be some.
    fn entry(&mut self, key: &Key, shape: &Shape) -> Entry {
        let mut entry = Entry::new(shape.framing, Some(key.clone()));
        while let Some(mut part) = self.parts.pop_front() {
            let (count, full) = match shape.packing {
                None => (1, true),
                Some(pack) => {
                    let base = if entry.records == 0 {
                        Entry::empty_size(shape.framing, key.size())
                    } else {
                        entry.base_size()
                    };
                    let limit = pack.size.min(shape.request_size);
                    let fit = fit(
                        &part.run,
                        (shape.framing, key.size()),
                        base,
                        limit,
                        pack.lines - entry.records,
                        pack.step,
                    );
                    // A record that is longer than an entry may be goes alone.
                    if fit.count == 0 && entry.records == 0 { (1, true) } else { (fit.count, fit.full) }
                }
            };
            if count > 0 {
                let taken = cut(&mut part, count);
                self.bytes -= taken.run.data().len();
                self.records -= taken.run.len();
                entry.push(taken);
            }
            if !part.run.is_empty() {
                self.parts.push_front(part);
            }
            if full {
                break;
            }
        }
        entry
    }
}
