//! Encoded records with the times at which they were written.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::config::{Config, RouteConfig};
use crate::decode::{Decoder, Limits};
use crate::encode::{Encoder, FileContext};
use crate::event::{Fields, Message};
use crate::kubernetes::Pod;
use crate::process::{Chain, Condition, Context, Fate};
use crate::record::{Records, Run};
use crate::source::{DestinationName, Incarnation};

/// Records that arrive within so much time of each other are read in one turn, as the agent reads in rounds.
const ROUND: Duration = Duration::from_millis(50);

/// Records in the order of their times.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    data: Vec<u8>,
    records: Vec<One>,
    /// Bytes of log files, compressed ones as they were.
    pub bytes: u64,
    /// The time that they cover.
    pub period: Duration,
}

#[derive(Clone, Debug)]
struct One {
    /// Since the first.
    at: Duration,
    /// Where it lies in the data, its newline included.
    range: (usize, usize),
    /// The destinations that get it.
    to: Destinations,
}

/// Which destinations a route leads to: indices into the configuration's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Destinations(Arc<[usize]>);

impl Destinations {
    pub(super) fn of(config: &Config, route: &RouteConfig) -> Self {
        let indices = route
            .to
            .iter()
            .filter_map(|name| config.destinations.iter().position(|destination| destination.name == *name));
        Self(indices.collect())
    }

    /// Those that are not among others.
    pub(super) fn without(&self, others: &[usize]) -> Self {
        Self(self.0.iter().copied().filter(|index| !others.contains(index)).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl Recorded {
    pub(super) fn push(&mut self, at: Duration, to: &Destinations, record: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(record);
        self.data.push(b'\n');
        self.records.push(One { at, range: (start, self.data.len()), to: to.clone() });
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The time from the first to the last of the records that are not among these ranges, which know no times; none
    /// if there is none.
    pub(super) fn covered(&self, untimed: &[Range<usize>]) -> Option<(Duration, Duration)> {
        let times = self.records.iter().enumerate();
        let times = times.filter(|(index, _)| !untimed.iter().any(|range| range.contains(index)));
        times
            .map(|(_, record)| (record.at, record.at))
            .reduce(|(first, last), (at, _)| (first.min(at), last.max(at)))
    }

    /// Puts the records in the order of their times.
    pub(super) fn sort(&mut self) {
        self.records.sort_by_key(|record| record.at);
    }

    /// Lets the times begin at zero and last for `period`, and puts the records in their order. Those of each range
    /// without times are spread over it evenly.
    pub(super) fn settle(&mut self, untimed: &[Range<usize>], period: Duration) {
        let (first, last) = self.covered(untimed).unwrap_or_default();
        let factor = match last - first {
            Duration::ZERO => 1.0,
            covered => period.as_secs_f64() / covered.as_secs_f64(),
        };
        for record in &mut self.records {
            record.at = record.at.saturating_sub(first).mul_f64(factor);
        }
        for range in untimed {
            let len = range.len() as f64;
            for (number, record) in self.records[range.clone()].iter_mut().enumerate() {
                record.at = period.mul_f64(number as f64 / len);
            }
        }
        self.sort();
        self.period = period;
    }

    /// The records for a destination, round by round.
    pub(super) fn rounds(&self, destination: usize) -> impl Iterator<Item = (Duration, Run)> {
        let mut left =
            self.records.iter().filter(move |record| record.to.0.contains(&destination)).peekable();
        std::iter::from_fn(move || {
            let at = left.peek()?.at;
            let mut round = Records::default();
            while let Some(record) =
                left.next_if(|record| record.at < at + ROUND && round.data().len() < 1 << 20)
            {
                let (start, end) = record.range;
                round.push_with(|out| {
                    out.extend_from_slice(&self.data[start..end - 1]);
                    true
                });
            }
            let (ends, data) = (Bytes::copy_from_slice(round.ends()), Bytes::copy_from_slice(round.data()));
            Some((at, Run::new(0, 0, ends, data, SystemTime::UNIX_EPOCH)))
        })
    }
}

/// What makes records of a file's messages, as the agent does it.
pub(super) struct Maker {
    encoder: Encoder,
    chain: Chain,
    /// Destinations that get only messages of which a condition holds.
    when: Vec<(usize, Condition)>,
    time_read: String,
    record: Vec<u8>,
}

impl Maker {
    pub(super) fn new(config: &Config, route: &RouteConfig, path: &Path, number: u64) -> Self {
        let kubernetes = Pod::from_path(path).map(|pod| pod.fields());
        let host = config.host.as_deref().unwrap_or("host");
        let file = FileContext { path, host, kubernetes: kubernetes.as_ref() };
        let when = |(name, when): &(DestinationName, Condition)| {
            let index = config.destinations.iter().position(|destination| destination.name == *name)?;
            Some((index, when.clone()))
        };
        Self {
            encoder: Encoder::with(route.layout.clone(), 1, Incarnation(number.into()), file),
            chain: Chain::new(route.process.clone()),
            when: route.when.iter().filter_map(when).collect(),
            time_read: crate::encode::time_read(SystemTime::now()),
            record: Vec::new(),
        }
    }

    /// Puts a message's record among others, for those of these destinations that it goes to.
    pub(super) fn record(
        &mut self,
        message: &Message<'_>,
        at: Duration,
        to: &Destinations,
        into: &mut Recorded,
    ) {
        self.record.clear();
        if self.chain.is_empty() && self.when.is_empty() {
            self.encoder.encode(message, &self.time_read, &mut self.record);
            return into.push(at, to, &self.record);
        }
        let context = Context { message, time_read: &self.time_read };
        let made = self.chain.run(&context, Fields::default());
        if made.fate != Fate::Send {
            return;
        }
        let refused = self.when.iter().filter(|(_, when)| !when.holds(&made.fields, &context));
        let refused: Vec<usize> = refused.map(|(index, _)| *index).collect();
        let to = if refused.is_empty() { to.clone() } else { to.without(&refused) };
        if to.is_empty() {
            return;
        }
        let message = Message { time: made.time.as_deref().or(message.time), ..*message };
        self.encoder.encode_fields(&message, &made.fields, &self.time_read, &mut self.record);
        into.push(at, &to, &self.record);
    }

    pub(super) fn decoder(config: &Config, route: &RouteConfig) -> Decoder {
        let max_message = usize::try_from(config.tail.max_line.0).unwrap_or(usize::MAX);
        Decoder::new(route.format, Limits { max_message })
    }
}
