//! A request and its entries: which records travel in which record of the service.

use std::sync::Arc;

use crate::record::Run;

/// One call to a service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Request {
    /// Tells the answer's request from the others that are in flight.
    pub id: u64,
    /// The service's records, in order. Never empty.
    pub entries: Arc<[Entry]>,
    /// Bytes that count towards the service's limit: payloads before base64, and partition keys.
    pub size: usize,
}

/// One record of the service, made of one or many of ours. Its bytes stay in the mapped chunks until it is
/// sent.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(super) parts: Vec<Part>,
    pub(super) framing: Framing,
    pub(super) key: Option<Key>,
    pub(super) payload: usize,
    pub(super) records: usize,
}

/// How an entry's records are written into its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each ended by a newline, the last one too, so that records put behind each other stay lines.
    Lines,
    /// A single record without its newline.
    Bare,
}

/// Records that wait for their acknowledgement, and how often they were refused while others of the same
/// request were taken.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) run: Run,
    pub(super) failures: u32,
    /// Requests that did not take them.
    pub(super) attempts: u32,
    /// When they were first offered.
    pub(super) since: tokio::time::Instant,
    /// When they are given up.
    pub(super) expires: Option<tokio::time::Instant>,
}

impl Part {
    pub(super) fn new(run: Run, since: tokio::time::Instant) -> Self {
        Self { run, failures: 0, attempts: 0, since, expires: None }
    }
}

/// What decides an entry's shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// 16 hexadecimal digits: the service hashes the key, so 64 random bits spread as evenly as more would,
    /// and a key's bytes count towards every limit.
    Random(u64),
    /// The same for all.
    Fixed(Arc<str>),
}

impl Key {
    pub(super) const RANDOM_LEN: usize = 16;

    pub(super) fn len(&self) -> usize {
        match self {
            Key::Random(_) => Self::RANDOM_LEN,
            Key::Fixed(key) => key.len(),
        }
    }
}

impl Entry {
    pub(super) fn new(framing: Framing, key: Option<Key>) -> Self {
        Self { parts: Vec::new(), framing, key, payload: 0, records: 0 }
    }

    pub(super) fn push(&mut self, part: Part) {
        debug_assert!(self.framing == Framing::Lines || (self.parts.is_empty() && part.run.len() == 1));
        self.payload += match self.framing {
            Framing::Lines => part.run.data().len(),
            Framing::Bare => part.run.data().len() - 1,
        };
        self.records += part.run.len();
        self.parts.push(part);
    }

    /// How many of our records it holds.
    pub fn records(&self) -> usize {
        self.records
    }

    /// The bytes of its payload, before base64.
    pub fn payload_size(&self) -> usize {
        self.payload
    }

    /// The bytes that count towards the service's limits: payload and partition key.
    pub fn size(&self) -> usize {
        self.payload + self.key.as_ref().map_or(0, Key::len)
    }

    /// Where its records lie in the buffer.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.parts.iter().map(|part| &part.run)
    }

    /// Its payload in pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let cut = usize::from(self.framing == Framing::Bare);
        self.runs().map(move |run| &run.data()[..run.data().len() - cut])
    }

    /// Its payload, copied together.
    #[cfg(test)]
    pub(super) fn payload(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.payload);
        for piece in self.pieces() {
            payload.extend_from_slice(piece);
        }
        payload
    }

    /// What decides its shard, for a data stream.
    pub fn partition_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| match key {
            Key::Random(bits) => format!("{bits:016x}"),
            Key::Fixed(key) => key.to_string(),
        })
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
