//! What is counted of delivery, per destination.

mod by_shard;
mod families;
#[cfg(test)]
mod tests;

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::answer::{Class, Failure};
use super::dispatch::Dispatcher;
use super::entry::Request;
use super::health::Health;
use super::refusal::Refused;
use super::settled::{RequestOutcome, Settled};
use crate::metric::register;
use crate::source::DestinationName;
use by_shard::ByShards;
use families::{Families, Series};

/// Codes of failures that somebody must do something about.
const USUAL_CODES: [&str; 5] = [
    "AccessDeniedException",
    "Credentials",
    "ExpiredTokenException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
];

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
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    families: Families,
    failed: Family<ByCode, Counter>,
    refused: Family<ByCode, Counter>,
    requests: Family<ByOutcome, Counter>,
    shards: ByShards,
}

impl Metrics {
    /// Puts them under their names.
    pub fn register(&self, registry: &mut Registry) {
        self.families.register(registry);
        register!(registry, {
            "failed_entries": self.failed, "Records of the service that it did not take, by its error code";
            "refused_records": self.refused,
                "Records that the destination will not get, by reason: they are dead letters";
            "requests": self.requests, "Requests, by outcome: taken, partial (some of it was not taken) or failed";
        });
        self.shards.register(registry);
    }

    /// Those of one destination. Its counters exist from then on, at zero; of those by error code the usual ones: a time
    /// series that begins with its first failure shows no increase, and an alert would miss it.
    pub fn of(&self, name: &DestinationName) -> DestinationMetrics {
        for code in USUAL_CODES {
            let by = ByCode { destination: name.to_string(), code: code.to_owned() };
            drop(self.failed.get_or_create(&by));
        }
        let outcome = |outcome: RequestOutcome| {
            let by = ByOutcome { destination: name.to_string(), outcome: outcome.word() };
            self.requests.get_or_create_owned(&by)
        };
        let series = self.families.of(&name.into());
        series.healthy.set(1);
        DestinationMetrics {
            name: name.to_string(),
            series,
            failed: self.failed.clone(),
            refused: self.refused.clone(),
            taken: outcome(RequestOutcome::Taken),
            partial: outcome(RequestOutcome::Partial),
            failed_requests: outcome(RequestOutcome::Failed),
            shards: self.shards.clone(),
        }
    }
}

/// The metrics of one destination.
#[derive(Clone, Debug)]
pub struct DestinationMetrics {
    name: String,
    series: Series,
    failed: Family<ByCode, Counter>,
    refused: Family<ByCode, Counter>,
    taken: Counter,
    partial: Counter,
    failed_requests: Counter,
    shards: ByShards,
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
            delivered_records: self.series.delivered_records.get(),
            delivered_bytes: self.series.delivered_bytes.get(),
            retried_records: self.series.retried_records.get(),
            throttled_entries: self.series.throttled.get(),
            in_flight: now(&self.series.in_flight),
            allowed: now(&self.series.allowed),
            learned_rate: now(&self.series.learned_rate),
        }
    }

    /// Records that were acknowledged, for the summary.
    pub fn delivered_records(&self) -> u64 {
        self.series.delivered_records.get()
    }

    /// Payload bytes of the records that were acknowledged, for the summary.
    pub fn delivered_bytes(&self) -> u64 {
        self.series.delivered_bytes.get()
    }

    /// Notes how full a request is that is sent.
    pub fn sent(&self, fill: f64) {
        self.series.fill.observe(fill);
    }

    /// Counts what an answer settled, and how long it took.
    pub fn answered(&self, request: &Request, settled: &Settled, latency: Duration) {
        self.series.delivered_records.inc_by(settled.delivered_records as u64);
        self.series.delivered_bytes.inc_by(settled.delivered_bytes as u64);
        self.series.billed_units.inc_by(settled.billed_units as u64);
        self.series.billed_on_demand.inc_by(settled.billed_on_demand as u64);
        self.series.retried_records.inc_by(settled.retried_records as u64);
        self.series.latency.observe(latency.as_secs_f64());
        self.shards.count(&self.name, settled);
        for (failure, entries) in &settled.failures {
            self.failed(failure, *entries);
        }
        let taken = request.entries.len().saturating_sub(settled.failed_entries());
        self.series.delivered_entries.inc_by(taken as u64);
        self.series.service_errors.inc_by(u64::from(settled.service_error));
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
        self.series.key_fallbacks.inc_by(dispatcher.take_key_fallbacks());
        self.series.in_flight.set(i64::try_from(dispatcher.in_flight()).unwrap_or(i64::MAX));
        self.series.allowed.set(i64::try_from(dispatcher.allowed_in_flight()).unwrap_or(i64::MAX));
        self.series.learned_rate.set(dispatcher.learned_rate().map_or(0, |rate| rate as i64));
        self.series.healthy.set(match dispatcher.health() {
            Health::Fine => 1,
            Health::BackingOff { .. } => 0,
            Health::Denied { .. } => -1,
        });
    }

    fn failed(&self, failure: &Failure, entries: usize) {
        if failure.class == Class::Throttled {
            self.series.throttled.inc_by(entries as u64);
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
