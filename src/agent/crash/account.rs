//! What was written to logs, and what came out of the buffers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a restart may bring back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// Nothing but the requests that were under way.
    InFlight,
    /// Acknowledgements that were not synced too.
    Acks,
}

/// One destination's side.
#[derive(Debug, Default)]
struct Received {
    /// By record id, how often it was handed out by this process.
    by_this_process: BTreeMap<String, u32>,
    /// Acknowledged, and noted as such without an error.
    acked: BTreeSet<String>,
    /// Handed out and not acknowledged when a process died.
    in_flight: BTreeSet<String>,
    texts: BTreeSet<String>,
    /// The last number of each series.
    last: HashMap<String, u32>,
}

/// The account of everything.
#[derive(Debug, Default)]
pub(super) struct Account {
    written: BTreeSet<String>,
    /// Messages that are to become dead letters.
    refused: BTreeSet<String>,
    /// The dead letters can be relied on.
    has_letters: bool,
    ids: HashMap<String, String>,
    texts: HashMap<String, String>,
    received: BTreeMap<usize, Received>,
    strict: bool,
}

impl Account {
    /// With no more indulgence than after kills.
    pub(super) fn new() -> Self {
        Self { strict: true, has_letters: true, ..Self::default() }
    }

    /// A message was written to a log. Its text begins with `<series>-<number>`, with growing numbers.
    pub(super) fn wrote(&mut self, text: &str) {
        assert!(self.written.insert(text.to_owned()), "the story writes {text} twice");
    }

    /// A message was written that becomes no record, but a dead letter.
    pub(super) fn refused(&mut self, text: &str) {
        assert!(self.refused.insert(text.to_owned()), "the story writes {text} twice");
    }

    /// These are the dead letters of a destination, each with its record id and text. None may be missing or be one of
    /// another message; one that was kept right before a process died may be there again.
    pub(super) fn letters(&mut self, letters: &[(String, String)], deaths: u32) {
        if !self.has_letters {
            return;
        }
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for (id, text) in letters {
            assert!(self.refused.contains(text), "{text:?} is a dead letter");
            let known = self.ids.entry(text.clone()).or_insert_with(|| id.clone());
            assert_eq!(known, id, "{text} came with two ids");
            *times.entry(text).or_default() += 1;
        }
        for text in &self.refused {
            let times = times.get(&**text).copied().unwrap_or(0);
            assert!(
                (1..=1 + deaths).contains(&times),
                "{text} is {times} dead letters after {deaths} deaths"
            );
        }
    }

    /// A record was handed out for a destination.
    pub(super) fn sent(&mut self, destination: usize, record: &[u8]) -> String {
        let record: serde_json::Value = serde_json::from_slice(record).expect("a record is JSON");
        let field = |name: &str| record[name].as_str().expect("every record has it").to_owned();
        let (id, text) = (field("record_id"), field("log"));
        assert!(self.written.contains(&text), "{text:?} was never written");
        let known = self.ids.entry(text.clone()).or_insert_with(|| id.clone());
        assert_eq!(*known, id, "{text} came with two ids");
        let known = self.texts.entry(id.clone()).or_insert_with(|| text.clone());
        assert_eq!(*known, text, "two messages share the id {id}");
        let received = self.received.entry(destination).or_default();
        let times = received.by_this_process.entry(id.clone()).or_default();
        *times += 1;
        if self.strict {
            assert_eq!(*times, 1, "{text} is twice in the buffer of destination {destination}");
            assert!(!received.acked.contains(&id), "{text} was delivered to {destination} and is sent again");
            if received.texts.insert(text.clone()) {
                let name = text.split_whitespace().next().expect("a name");
                let (series, number) = name.rsplit_once('-').expect("a series and a number");
                let number: u32 = number.parse().expect("a number");
                let last = received.last.entry(series.to_owned()).or_default();
                assert!(*last < number, "{text} came to {destination} after {series}-{last}");
                *last = number;
            }
        }
        received.texts.insert(text);
        received.in_flight.insert(id.clone());
        id
    }

    /// A record was acknowledged.
    pub(super) fn acked(&mut self, destination: usize, id: &str) {
        let received = self.received.entry(destination).or_default();
        received.acked.insert(id.to_owned());
        received.in_flight.remove(id);
    }

    /// The process died.
    pub(super) fn restarted(&mut self, lost: Lost) {
        for received in self.received.values_mut() {
            received.by_this_process.clear();
            received.in_flight.clear();
        }
        self.strict &= lost == Lost::InFlight;
    }

    /// A fault was injected after which order and single delivery are no longer promised, only that nothing is
    /// lost and ids stay.
    pub(super) fn indulge(&mut self) {
        self.strict = false;
        self.has_letters = false;
    }

    /// What knew the files is gone: the same line may come with another id.
    pub(super) fn new_ids(&mut self) {
        self.ids.clear();
    }

    /// Whether a destination has everything that was written.
    pub(super) fn missing(&self, destination: usize) -> Vec<&str> {
        let texts = self.received.get(&destination).map(|received| &received.texts);
        let missing = self.written.iter().filter(|text| texts.is_none_or(|texts| !texts.contains(*text)));
        missing.map(String::as_str).collect()
    }
}
