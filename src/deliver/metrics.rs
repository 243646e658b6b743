//! What is counted of delivery, per destination.

mod by_shard;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::answer::{Class, Failure};
use super::dispatch::Dispatcher;
use super::entry::Request;
use super::health::Health;
use super::refusal::Refused;
use super::settled::{RequestOutcome, Settled};
use crate::source::DestinationName;
use by_shard::ByShards;

/// Upper bounds of the latency's buckets, in seconds: a request takes some 20 ms near by, and 30 s at most.
const LATENCY_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// Codes of failures that somebody must do something about.
const USUAL_CODES: [&str; 5] = [
    "AccessDeniedException",
    "Credentials",
    "ExpiredTokenException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
];

/// Upper bounds of the buckets for how full requests are.
const FILL_BUCKETS: [f64; 7] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDestination {
    destination: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    destination: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    destination: String,
    code: String,
}

/// The families of this stage's metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    delivered_records: Family<ByDestination, Counter>,
    delivered_bytes: Family<ByDestination, Counter>,
    billed_units: Family<ByDestination, Counter>,
    billed_on_demand: Family<ByDestination, Counter>,
    retried_records: Family<ByDestination, Counter>,
    delivered_entries: Family<ByDestination, Counter>,
    service_errors: Family<ByDestination, Counter>,
    key_fallbacks: Family<ByDestination, Counter>,
    throttled: Family<ByDestination, Counter>,
    failed: Family<ByCode, Counter>,
    refused: Family<ByCode, Counter>,
    requests: Family<ByOutcome, Counter>,
    latency: Family<ByDestination, Histogram, fn() -> Histogram>,
    fill: Family<ByDestination, Histogram, fn() -> Histogram>,
    in_flight: Family<ByDestination, Gauge>,
    allowed: Family<ByDestination, Gauge>,
    learned_rate: Family<ByDestination, Gauge>,
    shards: ByShards,
    healthy: Family<ByDestination, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            delivered_records: Family::default(),
            delivered_bytes: Family::default(),
            billed_units: Family::default(),
            billed_on_demand: Family::default(),
            retried_records: Family::default(),
            delivered_entries: Family::default(),
            service_errors: Family::default(),
            key_fallbacks: Family::default(),
            throttled: Family::default(),
            failed: Family::default(),
            refused: Family::default(),
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            fill: Family::new_with_constructor(|| Histogram::new(FILL_BUCKETS)),
            in_flight: Family::default(),
            allowed: Family::default(),
            learned_rate: Family::default(),
            shards: ByShards::default(),
            healthy: Family::default(),
        }
    }
}

impl Metrics {
    /// Puts them under their names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "delivered_records",
            "Records that the destination acknowledged",
            self.delivered_records.clone(),
        );
        registry.register_with_unit(
            "delivered",
            "Payload of the records that the destination acknowledged, before base64",
            Unit::Bytes,
            self.delivered_bytes.clone(),
        );
        registry.register(
            "delivered_entries",
            "Records of the service that it took",
            self.delivered_entries.clone(),
        );
        registry.register(
            "service_errors",
            "Requests that ended in an error as a whole, throttling apart",
            self.service_errors.clone(),
        );
        registry.register(
            "billed_units",
            "What the service bills: steps of 5 KB a record (Firehose), payload units of 25 KB a record (provisioned data streams)",
            self.billed_units.clone(),
        );
        registry.register_with_unit(
            "billed_on_demand",
            "What an on-demand data stream bills: each record rounded up to the next KB",
            Unit::Bytes,
            self.billed_on_demand.clone(),
        );
        registry.register("retried_records", "Records that are sent again", self.retried_records.clone());
        registry.register(
            "partition_key_fallbacks",
            "Records without the fields that their partition key or explicit hash key is made of",
            self.key_fallbacks.clone(),
        );
        registry.register(
            "throttled_entries",
            "Records of the service that it throttled, alone or with their request",
            self.throttled.clone(),
        );
        registry.register(
            "failed_entries",
            "Records of the service that it did not take, by its error code",
            self.failed.clone(),
        );
        registry.register(
            "refused_records",
            "Records that the destination will not get, by reason: they are dead letters",
            self.refused.clone(),
        );
        registry.register(
            "requests",
            "Requests, by outcome: taken, partial (some of it was not taken) or failed",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "How long requests took",
            Unit::Seconds,
            self.latency.clone(),
        );
        registry.register(
            "request_fill_ratio",
            "How full requests are, by their bytes or by their records, whichever is more",
            self.fill.clone(),
        );
        registry.register("requests_in_flight", "Requests that are under way", self.in_flight.clone());
        registry.register(
            "requests_allowed",
            "Requests that may be under way, by errors and latency",
            self.allowed.clone(),
        );
        registry.register(
            "learned_rate_bytes_per_second",
            "What the stream is found to take from this node; 0 as long as it does not throttle",
            self.learned_rate.clone(),
        );
        self.shards.register(registry);
        registry.register(
            "destination_healthy",
            "Whether the destination takes what it is sent: 1, backing off 0, denied -1",
            self.healthy.clone(),
        );
    }

    /// Those of one destination. Its counters exist from then on, at zero; of those by error code the usual ones: a time
    /// series that begins with its first failure shows no increase, and an alert would miss it.
    pub fn of(&self, name: &DestinationName) -> DestinationMetrics {
        for code in USUAL_CODES {
            let by = ByCode { destination: name.to_string(), code: code.to_owned() };
            drop(self.failed.get_or_create(&by));
        }
        let by = ByDestination { destination: name.to_string() };
        let outcome = |outcome: RequestOutcome| {
            let by = ByOutcome { destination: name.to_string(), outcome: outcome.word() };
            self.requests.get_or_create_owned(&by)
        };
        DestinationMetrics {
            name: name.to_string(),
            delivered_records: self.delivered_records.get_or_create_owned(&by),
            delivered_bytes: self.delivered_bytes.get_or_create_owned(&by),
            billed_units: self.billed_units.get_or_create_owned(&by),
            billed_on_demand: self.billed_on_demand.get_or_create_owned(&by),
            retried_records: self.retried_records.get_or_create_owned(&by),
            delivered_entries: self.delivered_entries.get_or_create_owned(&by),
            service_errors: self.service_errors.get_or_create_owned(&by),
            key_fallbacks: self.key_fallbacks.get_or_create_owned(&by),
            throttled: self.throttled.get_or_create_owned(&by),
            failed: self.failed.clone(),
            refused: self.refused.clone(),
            taken: outcome(RequestOutcome::Taken),
            partial: outcome(RequestOutcome::Partial),
            failed_requests: outcome(RequestOutcome::Failed),
            latency: self.latency.get_or_create_owned(&by),
            fill: self.fill.get_or_create_owned(&by),
            in_flight: self.in_flight.get_or_create_owned(&by),
            allowed: self.allowed.get_or_create_owned(&by),
            learned_rate: self.learned_rate.get_or_create_owned(&by),
            shards: self.shards.clone(),
            healthy: {
                let healthy = self.healthy.get_or_create_owned(&by);
                healthy.set(1);
                healthy
            },
        }
    }
}

/// The metrics of one destination.
#[derive(Clone, Debug)]
pub struct DestinationMetrics {
    name: String,
    delivered_records: Counter<u64, AtomicU64>,
    delivered_bytes: Counter<u64, AtomicU64>,
    billed_units: Counter<u64, AtomicU64>,
    billed_on_demand: Counter<u64, AtomicU64>,
    retried_records: Counter<u64, AtomicU64>,
    delivered_entries: Counter<u64, AtomicU64>,
    service_errors: Counter<u64, AtomicU64>,
    key_fallbacks: Counter<u64, AtomicU64>,
    throttled: Counter<u64, AtomicU64>,
    failed: Family<ByCode, Counter>,
    refused: Family<ByCode, Counter>,
    taken: Counter<u64, AtomicU64>,
    partial: Counter<u64, AtomicU64>,
    failed_requests: Counter<u64, AtomicU64>,
    latency: Histogram,
    fill: Histogram,
    in_flight: Gauge,
    allowed: Gauge,
    learned_rate: Gauge,
    shards: ByShards,
    healthy: Gauge,
}

/// What was counted for one destination since the start, and how it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Records that were acknowledged.
    pub delivered_records: u64,
    /// Their payload's bytes.
    pub delivered_bytes: u64,
    /// Records that were sent again.
    pub retried_records: u64,
    /// Records of the service that it throttled.
    pub throttled_entries: u64,
    /// Requests that are under way.
    pub in_flight: u64,
    /// Requests that may be under way.
    pub allowed: u64,
    /// What the stream is found to take, in bytes a second; 0 as long as it does not throttle.
    pub learned_rate: u64,
}

impl DestinationMetrics {
    /// What was counted.
    pub fn figures(&self) -> Figures {
        let now = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or_default();
        Figures {
            delivered_records: self.delivered_records.get(),
            delivered_bytes: self.delivered_bytes.get(),
            retried_records: self.retried_records.get(),
            throttled_entries: self.throttled.get(),
            in_flight: now(&self.in_flight),
            allowed: now(&self.allowed),
            learned_rate: now(&self.learned_rate),
        }
    }

    /// Records that were acknowledged, for the summary.
    pub fn delivered_records(&self) -> u64 {
        self.delivered_records.get()
    }

    /// Payload bytes of the records that were acknowledged, for the summary.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.get()
    }

    /// Notes how full a request is that is sent.
    pub fn sent(&self, fill: f64) {
        self.fill.observe(fill);
    }

    /// Counts what an answer settled, and how long it took.
    pub fn answered(&self, request: &Request, settled: &Settled, latency: Duration) {
        self.delivered_records.inc_by(settled.delivered_records as u64);
        self.delivered_bytes.inc_by(settled.delivered_bytes as u64);
        self.billed_units.inc_by(settled.billed_units as u64);
        self.billed_on_demand.inc_by(settled.billed_on_demand as u64);
        self.retried_records.inc_by(settled.retried_records as u64);
        self.latency.observe(latency.as_secs_f64());
        self.shards.count(&self.name, settled);
        for (failure, entries) in &settled.failures {
            self.failed(failure, *entries);
        }
        let taken = request.entries.len().saturating_sub(settled.failed_entries());
        self.delivered_entries.inc_by(taken as u64);
        self.service_errors.inc_by(u64::from(settled.service_error));
        match settled.outcome(request) {
            RequestOutcome::Taken => self.taken.inc(),
            RequestOutcome::Partial => self.partial.inc(),
            RequestOutcome::Failed => self.failed_requests.inc(),
        };
        self.refused(&settled.refused);
    }

    /// Counts records that became dead letters.
    pub fn refused(&self, refused: &[Refused]) {
        for Refused { run, reason } in refused {
            let by = self.by_code(reason.code());
            self.refused.get_or_create(&by).inc_by(run.len() as u64);
        }
    }

    /// Shows how the destination does.
    pub fn watch(&self, dispatcher: &mut Dispatcher) {
        self.key_fallbacks.inc_by(dispatcher.take_key_fallbacks());
        self.in_flight.set(i64::try_from(dispatcher.in_flight()).unwrap_or(i64::MAX));
        self.allowed.set(i64::try_from(dispatcher.allowed_in_flight()).unwrap_or(i64::MAX));
        self.learned_rate.set(dispatcher.learned_rate().map_or(0, |rate| rate as i64));
        self.healthy.set(match dispatcher.health() {
            Health::Fine => 1,
            Health::BackingOff { .. } => 0,
            Health::Denied { .. } => -1,
        });
    }

    fn failed(&self, failure: &Failure, entries: usize) {
        if failure.class == Class::Throttled {
            self.throttled.inc_by(entries as u64);
        }
        let by = self.by_code(&failure.code);
        self.failed.get_or_create(&by).inc_by(entries as u64);
    }

    /// A code that is no plain word comes from something that is not the service: it would let a stranger
    /// choose the number of time series.
    fn by_code(&self, code: &str) -> ByCode {
        let plain = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        ByCode { destination: self.name.clone(), code: if plain { code } else { "other" }.to_owned() }
    }
}
