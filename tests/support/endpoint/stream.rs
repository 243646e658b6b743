//! The streams of an endpoint: what each is like, and how its records are taken.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use fastrand::Rng;

use super::account::{Account, Keep, StreamAccount};
use super::faults::{Fault, Plan, Rule, RuleId, Rules};
use super::protocol::{Entry, ErrorAnswer, Outcomes, Put, Service, Taken};
use super::throttle::{Bucket, Rate};
use super::{firehose, kinesis};

/// A stream to be made. Names are unique in an endpoint, over both services.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(super) name: String,
    pub(super) service: Service,
    pub(super) shards: usize,
    pub(super) max_record: usize,
    pub(super) rate: Option<Rate>,
    /// What its description says in place of the usual.
    pub(super) described: serde_json::Map<String, serde_json::Value>,
}

impl Stream {
    /// A delivery stream that is not throttled.
    pub fn firehose(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: Service::Firehose,
            shards: 1,
            max_record: firehose::MAX_RECORD,
            rate: None,
            described: serde_json::Map::new(),
        }
    }

    /// A data stream of one shard that is not throttled.
    pub fn kinesis(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            service: Service::Kinesis,
            shards: 1,
            max_record: kinesis::DEFAULT_MAX_RECORD,
            rate: None,
            described: serde_json::Map::new(),
        }
    }

    /// A data stream's shards, which divide the hash keys evenly.
    pub fn shards(mut self, shards: usize) -> Self {
        assert!(shards > 0 && self.service == Service::Kinesis);
        self.shards = shards;
        self
    }

    /// A data stream's MaxRecordSize in bytes, data and partition key.
    pub fn max_record_size(mut self, bytes: usize) -> Self {
        assert!(bytes <= kinesis::MAX_RECORD && self.service == Service::Kinesis);
        self.max_record = bytes;
        self
    }

    /// Its description says this of the key, in place of the usual.
    pub fn described(mut self, key: &str, value: serde_json::Value) -> Self {
        self.described.insert(key.to_owned(), value);
        self
    }

    /// Refuses what comes faster: of each shard of a data stream, or of a delivery stream.
    pub fn throttled(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }
}

/// Everything that changes while an endpoint runs.
#[derive(Debug)]
pub(super) struct State {
    streams: HashMap<String, (Stream, Vec<Bucket>)>,
    rules: Rules,
    next_rule: u64,
    rng: Rng,
    sequence: u64,
    /// Access keys whose credentials are too old.
    pub(super) revoked: BTreeSet<String>,
    /// The date of answers, where it is not the real one.
    pub(super) date: Option<String>,
    /// What access keys may do.
    pub(super) policies: HashMap<String, serde_json::Value>,
    /// What goes wrong with metrics.
    pub(super) metrics_fault: Option<Fault>,
    pub(super) account: Account,
}

impl State {
    pub(super) fn new(streams: Vec<Stream>, keep: Keep, seed: u64, now: Duration) -> Self {
        let mut state = Self {
            streams: HashMap::new(),
            rules: Rules::default(),
            next_rule: 0,
            rng: Rng::with_seed(seed),
            sequence: 0,
            revoked: BTreeSet::new(),
            date: None,
            policies: HashMap::new(),
            metrics_fault: None,
            account: Account::default(),
        };
        for stream in streams {
            let account = StreamAccount::new(stream.service, keep);
            let buckets =
                stream.rate.map_or_else(Vec::new, |rate| vec![Bucket::new(rate, now); stream.shards]);
            let name = stream.name.clone();
            state.account.streams.insert(name.clone(), account);
            let earlier = state.streams.insert(name, (stream, buckets));
            assert!(earlier.is_none(), "two streams of one name: {earlier:?}");
        }
        state
    }

    pub(super) fn add_rule(&mut self, rule: Rule) -> RuleId {
        self.next_rule += 1;
        let id = RuleId(self.next_rule);
        self.rules.add(id, rule);
        id
    }

    pub(super) fn rules(&mut self) -> &mut Rules {
        &mut self.rules
    }

    /// A fresh request id.
    pub(super) fn request_id(&mut self) -> u128 {
        self.rng.u128(..)
    }

    /// The stream of this name in this service.
    pub(super) fn find(&self, service: Service, name: &str) -> Result<&Stream, ErrorAnswer> {
        match self.streams.get(name) {
            Some((stream, _)) if stream.service == service => Ok(stream),
            _ => Err(match service {
                Service::Firehose => firehose::not_found(name),
                Service::Kinesis => kinesis::not_found(name),
            }),
        }
    }

    /// Counts a put call and decides what happens to it. Returns the call's number.
    pub(super) fn begin(
        &mut self,
        service: Service,
        put: &Put,
        single: bool,
    ) -> Result<(u64, Plan), ErrorAnswer> {
        let stream = self.find(service, &put.stream)?;
        if service == Service::Kinesis {
            kinesis::check_record_sizes(put, stream.max_record)?;
        }
        let call = self.account_of(put).called(put, single);
        Ok((call, self.rules.plan(put, &mut self.rng)))
    }

    /// Takes the records of a call, those aside that its plan or the stream's rate refuses.
    pub(super) fn take(&mut self, call: u64, put: &Put, plan: &Plan, now: Duration) -> Outcomes {
        put.entries
            .iter()
            .map(|entry| {
                let outcome = self.take_entry(put, entry, plan, now);
                let account = self.account_of(put);
                match &outcome {
                    Ok(taken) => account.take(call, entry, *taken),
                    Err(refused) => account.entry_refused(&refused.code),
                }
                outcome
            })
            .collect()
    }

    fn take_entry(
        &mut self,
        put: &Put,
        entry: &Entry,
        plan: &Plan,
        now: Duration,
    ) -> Result<Taken, ErrorAnswer> {
        if let Some(refused) = plan.refuses(&entry.data, &mut self.rng) {
            return Err(refused);
        }
        let (stream, buckets) = self.streams.get_mut(&put.stream).expect("found before");
        let shard = entry.hash_key.map(|hash_key| kinesis::shard_of(hash_key, stream.shards));
        if let Some(bucket) = buckets.get_mut(shard.unwrap_or(0))
            && !bucket.take(entry.size(), now)
        {
            return Err(match shard {
                Some(shard) => kinesis::shard_throttled(&stream.name, shard),
                None => ErrorAnswer::service_unavailable(),
            });
        }
        self.sequence += 1;
        Ok(Taken { sequence: self.sequence, shard })
    }

    /// The account of the stream that a put names, which was found before.
    pub(super) fn account_of(&mut self, put: &Put) -> &mut StreamAccount {
        self.account.streams.get_mut(&put.stream).expect("found before")
    }
}
