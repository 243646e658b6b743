//! Encoded records with the times at which they were written.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::config::{Config, RouteConfig};
use crate::process::Fate;
use crate::record::{Records, Run};
use crate::trial::Made;

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

/// Puts what the stages made of a file's messages among records.
pub(super) fn keep(made: &Made<'_>, at: Duration, to: &Destinations, into: &mut Recorded) {
    if made.fate != Fate::Send || made.to.is_empty() {
        return;
    }
    let mut wanted = to.iter().filter(|index| made.to.contains(index)).peekable();
    if wanted.peek().is_none() {
        return;
    }
    if to.iter().all(|index| made.to.contains(&index)) {
        return into.push(at, to, made.record);
    }
    into.push(at, &Destinations(wanted.collect()), made.record);
}
