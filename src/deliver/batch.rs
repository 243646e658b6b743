//! Records become requests: as few and as full as the service's limits allow.
//!
//! Limits are measured on the raw bytes, as the services do, not on the base64 text. Where packing allows,
//! work is done per run and not per record: the place of a cut is found by binary search in the run's table of
//! ends, and no byte is touched before it is sent.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::entry::{Entry, Framing, Key, Part};
use super::settings::{Aggregation, Batch, Firehose, Kinesis, Packing, PartitionKey};
use crate::record::Run;
use crate::units::{ByteSize, format_duration};

/// The most records in one call of PutRecordBatch or PutRecords (both services' API reference).
pub const MAX_ENTRIES: usize = 500;
/// The most bytes in one PutRecordBatch (Amazon Data Firehose quotas).
pub const FIREHOSE_REQUEST_SIZE: usize = 4 << 20;
/// The most bytes in one record of a delivery stream, before base64 (Amazon Data Firehose quotas: 1,000 KiB).
pub const FIREHOSE_RECORD_SIZE: usize = 1000 << 10;
/// The most bytes in one PutRecords, partition keys counted (Kinesis PutRecords API reference).
pub const KINESIS_REQUEST_SIZE: usize = 10 << 20;

/// The shape of a destination's requests: its service's limits and what the user set below them.
#[derive(Clone, Debug)]
pub struct Shape {
    max_entries: usize,
    /// Bytes, partition keys counted. Only a lone record may pass it.
    request_size: usize,
    /// Bytes, the partition key counted. Nothing may pass it.
    record_size: usize,
    packing: Option<Pack>,
    key: Option<PartitionKey>,
    max_age: Duration,
}

/// How many lines make one record of the service. A longer line goes alone.
#[derive(Clone, Copy, Debug)]
struct Pack {
    size: usize,
    lines: usize,
}

impl Shape {
    /// Of a delivery stream.
    pub fn firehose(settings: &Firehose) -> Self {
        Self::new(
            &settings.batch,
            FIREHOSE_REQUEST_SIZE,
            FIREHOSE_RECORD_SIZE,
            match settings.packing {
                Packing::Newline { max_size, max_lines } => Some((max_size, max_lines)),
                Packing::None => None,
            },
            None,
        )
    }

    /// Of a data stream.
    pub fn kinesis(settings: &Kinesis) -> Self {
        Self::new(
            &settings.batch,
            KINESIS_REQUEST_SIZE,
            bytes(settings.max_record_size).min(KINESIS_REQUEST_SIZE),
            match settings.aggregation {
                Aggregation::Newline { max_size } => Some((max_size, usize::MAX)),
                Aggregation::None => None,
            },
            Some(settings.partition_key.clone()),
        )
    }

    /// Of local files: lines, without a limit on a line.
    pub fn directory() -> Self {
        Self {
            max_entries: 1,
            request_size: 4 << 20,
            record_size: usize::MAX,
            packing: Some(Pack { size: 4 << 20, lines: usize::MAX }),
            key: None,
            max_age: Duration::from_millis(500),
        }
    }

    fn new(
        batch: &Batch,
        request_size: usize,
        record_size: usize,
        packing: Option<(ByteSize, usize)>,
        key: Option<PartitionKey>,
    ) -> Self {
        Self {
            max_entries: batch.max_records.clamp(1, MAX_ENTRIES),
            request_size: bytes(batch.target_size).min(request_size),
            record_size,
            packing: packing
                .map(|(size, lines)| Pack { size: bytes(size).min(record_size), lines: lines.max(1) }),
            key,
            max_age: batch.max_age,
        }
    }

    /// The most records of the service in a request.
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// The most bytes in a request; only a record that is alone in it may pass this, up to
    /// [`record_size`](Self::record_size).
    pub fn request_size(&self) -> usize {
        self.request_size
    }

    /// The most bytes in a record of the service, its partition key counted.
    pub fn record_size(&self) -> usize {
        self.record_size
    }

    fn key_size(&self) -> usize {
        match &self.key {
            None => 0,
            Some(PartitionKey::Random) => Key::RANDOM_LEN,
            Some(PartitionKey::Fixed(key)) => key.len(),
        }
    }
}

fn bytes(size: ByteSize) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

/// Records that a destination will not get, and why: they become dead letters.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The records.
    pub run: Run,
    /// Why.
    pub reason: Reason,
}

/// Why a destination will not get a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is larger than the service's limit for one record.
    TooLarge {
        /// Its bytes, the partition key counted.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The service refused it for its content.
    Invalid {
        /// The service's error code.
        code: String,
        /// What it said.
        message: String,
    },
    /// It was not taken often enough (`retry.max_attempts`).
    Attempts {
        /// So often.
        attempts: u32,
        /// Why not, the last time.
        last: String,
    },
    /// It was in the buffer for too long (`retry.max_record_age`).
    Age {
        /// The limit.
        limit: Duration,
    },
}

impl Reason {
    /// A short name for metrics: the service's where it gave one.
    pub fn code(&self) -> &str {
        match self {
            Reason::TooLarge { .. } => "RecordTooLarge",
            Reason::Invalid { code, .. } => code,
            Reason::Attempts { .. } => "MaxAttempts",
            Reason::Age { .. } => "MaxRecordAge",
        }
    }

    /// What dead letters call it.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::TooLarge { .. } => "too_large",
            Reason::Invalid { .. } => "refused",
            Reason::Attempts { .. } => "max_attempts",
            Reason::Age { .. } => "max_record_age",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::TooLarge { size, limit } => {
                write!(f, "the record has {size} bytes, the service takes at most {limit}")
            }
            Reason::Invalid { code, message } => write!(f, "the service refused it: {code}: {message}"),
            Reason::Attempts { attempts, last } => {
                write!(f, "{attempts} requests did not take it (retry.max_attempts); the last one: {last}")
            }
            Reason::Age { limit } => {
                let limit = format_duration(*limit);
                write!(f, "it was in the buffer for longer than {limit} (retry.max_record_age)")
            }
        }
    }
}

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
                Place::Grow(count) => self.push(cut(&mut part, count)),
                Place::Start(count) => {
                    let entry = self.new_entry();
                    self.open.size += entry.size();
                    self.open.entries.push(entry);
                    self.push(cut(&mut part, count));
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
        let room = shape.request_size.saturating_sub(self.open.size);
        if let (Some(pack), Some(last)) = (shape.packing, self.open.entries.last()) {
            let room = room.min(pack.size.saturating_sub(last.size()));
            let count = records_within(run, room, pack.lines.saturating_sub(last.records));
            if count > 0 {
                return Place::Grow(count);
            }
        }
        let newline = usize::from(shape.packing.is_none());
        let size = shape.key_size() + run.end(0) - newline;
        if size > shape.record_size {
            return Place::Nowhere { size };
        }
        let full = self.open.entries.len() >= shape.max_entries || size > room;
        if full && !self.open.entries.is_empty() {
            return Place::Close;
        }
        Place::Start(match shape.packing {
            None => 1,
            Some(pack) => {
                let room = room.min(pack.size).saturating_sub(shape.key_size());
                records_within(run, room, pack.lines).max(1)
            }
        })
    }

    /// Puts the part into the last entry of the open request.
    fn push(&mut self, part: Part) {
        let since = self.since.get_or_insert(part.since);
        *since = part.since.min(*since);
        let last = self.open.entries.last_mut().expect("an entry was found or made for it");
        let before = last.payload;
        last.push(part);
        self.open.size += last.payload - before;
        let entries = self.open.entries.len();
        if self.open.size >= self.shape.request_size
            || (self.shape.packing.is_none() && entries >= self.shape.max_entries)
        {
            self.close();
        }
    }

    fn new_entry(&mut self) -> Entry {
        let framing = match self.shape.packing {
            Some(_) => Framing::Lines,
            None => Framing::Bare,
        };
        let key = match (&self.shape.key, &self.fixed_key) {
            (None, _) => None,
            (Some(_), Some(key)) => Some(Key::Fixed(key.clone())),
            (Some(_), None) => Some(Key::Random(self.rng.u64(..))),
        };
        Entry::new(framing, key)
    }

    fn close(&mut self) {
        let empty = Draft { entries: Vec::new(), size: 0 };
        self.since = None;
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
    /// So many into the last entry of the open request.
    Grow(usize),
    /// So many into a new entry of the open request.
    Start(usize),
    /// Into the next request.
    Close,
    /// The service does not take a record of this size.
    Nowhere { size: usize },
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
