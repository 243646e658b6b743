//! A request and its entries: which records travel in which record of the service.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::key::{Key, KeySize};
use super::{aggregate, gzip};
use crate::record::Run;

/// One call to a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tells the answer's request from the others that are in flight.
    pub id: u64,
    /// The service's records, in order. Never empty.
    pub entries: Arc<[Entry]>,
    /// Bytes that count towards the service's limit: payloads before base64 and compression, and partition keys.
    pub size: usize,
}

impl Request {
    /// Which attempt it is for the record in it that was sent most often, from 1.
    pub fn attempt(&self) -> u32 {
        let parts = self.entries.iter().flat_map(|entry| &entry.parts);
        parts.map(|part| part.sent).max().unwrap_or_default().saturating_add(1)
    }
}

/// One record of the service, made of one or many of ours. Its bytes stay in the mapped chunks until it is
/// sent.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) parts: Vec<Part>,
    pub(super) framing: Framing,
    pub(super) key: Option<Key>,
    /// Bytes of its records, newlines counted.
    data: usize,
    /// What the records take in an aggregate; only counted where one is made.
    framed: usize,
    pub(super) records: usize,
    /// The payload in compressed form, made once when it is first sent.
    compressed: OnceLock<Bytes>,
}

/// How an entry's records are written into its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each ended by a newline, the last one too, so that records put behind each other stay lines.
    Lines,
    /// A single record without its newline.
    Bare,
    /// An aggregate of the Kinesis Producer Library; a single record as it is, without its newline.
    Aggregate,
    /// [`Lines`](Self::Lines) as a gzip member.
    GzipLines,
    /// [`Bare`](Self::Bare) as a gzip member.
    GzipBare,
}

impl Framing {
    pub(super) fn compressed(self) -> Self {
        match self {
            Self::Lines | Self::GzipLines => Self::GzipLines,
            Self::Bare | Self::Aggregate | Self::GzipBare => Self::GzipBare,
        }
    }

    /// Whether a record that is alone is sent with its newline.
    pub(super) fn keeps_newline(self) -> bool {
        matches!(self, Self::Lines | Self::GzipLines)
    }
}

/// Records that wait for their acknowledgement, and how often they were refused while others of the same
/// request were taken.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) run: Run,
    pub(super) failures: u32,
    /// Requests that did not take them.
    pub(super) attempts: u32,
    /// Requests that they were in before, those of a destination that is denied among them.
    pub(super) sent: u32,
    /// When they were first offered.
    pub(super) since: tokio::time::Instant,
    /// When they are given up.
    pub(super) expires: Option<tokio::time::Instant>,
    /// Their key, where it is made of what is in them.
    pub(super) key: Option<Key>,
}

impl Part {
    pub(super) fn new(run: Run, since: tokio::time::Instant) -> Self {
        Self { run, failures: 0, attempts: 0, sent: 0, since, expires: None, key: None }
    }
}

impl Entry {
    pub(super) fn new(framing: Framing, key: Option<Key>) -> Self {
        Self { parts: Vec::new(), framing, key, data: 0, framed: 0, records: 0, compressed: OnceLock::new() }
    }

    pub(super) fn push(&mut self, part: Part) {
        self.data += part.run.data().len();
        if self.framing == Framing::Aggregate {
            self.framed += framed_size(&part.run, usize::MAX, self.key_size().hash.is_some()).0;
        }
        self.records += part.run.len();
        self.parts.push(part);
    }

    /// Notes that one more request that it was in is over.
    pub(super) fn was_sent(&mut self) {
        self.parts.iter_mut().for_each(|part| part.sent = part.sent.saturating_add(1));
    }

    /// How many of our records it holds.
    pub fn records(&self) -> usize {
        self.records
    }

    /// The bytes of its payload, before base64 and compression.
    pub fn payload_size(&self) -> usize {
        match self.framing {
            Framing::Lines | Framing::GzipLines => self.data,
            Framing::Aggregate if self.records > 1 => self.base_size() - self.key_size().text,
            Framing::Bare | Framing::GzipBare | Framing::Aggregate => self.data.saturating_sub(1),
        }
    }

    /// The bytes that count towards the service's limits: payload, before compression, and partition key.
    pub fn size(&self) -> usize {
        self.payload_size() + self.key_size().text
    }

    /// The bytes that the service is sent, partition key counted: what it bills.
    pub fn sent_size(&self) -> usize {
        self.compressed.get().map_or(self.payload_size(), Bytes::len) + self.key_size().text
    }

    /// What its size begins with where more records come to those that it has.
    pub(super) fn base_size(&self) -> usize {
        match self.framing {
            Framing::Aggregate => Self::empty_size(self.framing, self.key_size()) + self.framed,
            _ => self.size(),
        }
    }

    /// What the size of an entry with a key of this size begins with.
    pub(super) fn empty_size(framing: Framing, key: KeySize) -> usize {
        match framing {
            Framing::Aggregate => aggregate::envelope_size(key.text, key.hash) + key.text,
            _ => key.text,
        }
    }

    fn key_size(&self) -> KeySize {
        self.key.as_ref().map(Key::size).unwrap_or_default()
    }

    /// Where its records lie in the buffer.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.parts.iter().map(|part| &part.run)
    }

    /// The lines that its payload is made of, in order and in pieces: as they lie in the buffer, or a lone record
    /// without its newline.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let cut = usize::from(!self.framing.keeps_newline());
        self.runs().map(move |run| &run.data()[..run.data().len() - cut])
    }

    /// Whether its payload is its [`pieces`](Self::pieces), one after the other.
    pub(super) fn is_plain(&self) -> bool {
        match self.framing {
            Framing::Lines | Framing::Bare => true,
            Framing::Aggregate => self.records <= 1,
            Framing::GzipLines | Framing::GzipBare => false,
        }
    }

    /// Whether making its payload is work for more than a moment.
    pub(super) fn is_compressed(&self) -> bool {
        matches!(self.framing, Framing::GzipLines | Framing::GzipBare)
    }

    /// Its payload, in `scratch` or kept; to be called where it is not plain.
    pub(super) fn made<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        if self.is_compressed() {
            return self.compressed.get_or_init(|| gzip::member(self.pieces()).into());
        }
        scratch.clear();
        let key = self.key.as_ref().map_or(Cow::Borrowed(""), Key::text);
        let records = self.runs().flat_map(|run| (0..run.len()).map(|index| run.record(index)));
        let hash = self.key.as_ref().and_then(Key::hash);
        aggregate::encode(&key, hash, records, scratch);
        scratch
    }

    /// Its payload, copied together.
    #[cfg(test)]
    pub(super) fn payload(&self) -> Vec<u8> {
        if self.is_plain() {
            return self.pieces().collect::<Vec<_>>().concat();
        }
        let mut scratch = Vec::new();
        self.made(&mut scratch).to_vec()
    }

    /// What decides its shard, for a data stream.
    pub fn partition_key(&self) -> Option<Cow<'_, str>> {
        self.key.as_ref().map(Key::text)
    }

    /// What takes the place of the key's hash, for a data stream: a decimal number of 128 bits.
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.key.as_ref().and_then(Key::hash)
    }

    /// The entry without the parts that are given up, which are handed to `give_up`; none if nothing is left.
    pub(super) fn spend(self, mut give_up: impl FnMut(&mut Part) -> bool) -> Option<Entry> {
        let mut left = Entry::new(self.framing, self.key);
        for mut part in self.parts {
            if !give_up(&mut part) {
                left.push(part);
            }
        }
        (!left.parts.is_empty()).then_some(left)
    }

    /// The first `count` records in one entry, the others in a second. Both keep the key.
    pub(super) fn split_at(self, count: usize) -> (Entry, Entry) {
        let mut head = Entry::new(self.framing, self.key.clone());
        let mut tail = Entry::new(self.framing, self.key);
        let mut left = count;
        for mut part in self.parts {
            let len = part.run.len();
            if left >= len {
                left -= len;
                head.push(part);
            } else if left == 0 {
                tail.push(part);
            } else {
                let run = part.run.split_to(left);
                left = 0;
                head.push(Part { run, ..part.clone() });
                tail.push(part);
            }
        }
        (head, tail)
    }
}

/// What the first records of a run take in an aggregate, as many as fit into `room`, and how many that are.
pub(super) fn framed_size(run: &Run, room: usize, hash_key: bool) -> (usize, usize) {
    let mut size = 0;
    let mut start = 0;
    for index in 0..run.len() {
        let end = run.end(index);
        let more = size + aggregate::record_size(end - start - 1, hash_key);
        if more > room {
            return (size, index);
        }
        size = more;
        start = end;
    }
    (size, run.len())
}
