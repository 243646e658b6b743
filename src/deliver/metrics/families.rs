//! The metrics that each destination has once.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metric::{ByDestination, families};

/// Upper bounds of the latency's buckets, in seconds: a request takes some 20 ms near by, and 30 s at most.
const LATENCY_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0];

/// Upper bounds of the buckets for how full requests are.
const FILL_BUCKETS: [f64; 7] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95];

families! {
    /// Of all destinations.
    pub(super) struct Families by ByDestination => Series {
        delivered_records: Counter, "delivered_records", "Records that the destination acknowledged";
        delivered_bytes: Counter, "delivered_bytes",
            "Payload of the records that the destination acknowledged, before base64";
        delivered_entries: Counter, "delivered_entries", "Records of the service that it took";
        service_errors: Counter, "service_errors",
            "Requests that ended in an error as a whole, throttling apart";
        billed_units: Counter, "billed_units",
            "What the service bills: steps of 5 KB a record (Firehose), payload units of 25 KB a record (provisioned \
             data streams)";
        billed_on_demand: Counter, "billed_on_demand_bytes",
            "What an on-demand data stream bills: each record rounded up to the next KB";
        retried_records: Counter, "retried_records", "Records that are sent again";
        key_fallbacks: Counter, "partition_key_fallbacks",
            "Records without the fields that their partition key or explicit hash key is made of";
        throttled: Counter, "throttled_entries",
            "Records of the service that it throttled, alone or with their request";
        latency: Histogram = Histogram::new(LATENCY_BUCKETS), "request_duration_seconds", "How long requests took";
        fill: Histogram = Histogram::new(FILL_BUCKETS), "request_fill_ratio",
            "How full requests are, by their bytes or by their records, whichever is more";
        in_flight: Gauge, "requests_in_flight", "Requests that are under way";
        allowed: Gauge, "requests_allowed", "Requests that may be under way, by errors and latency";
        learned_rate: Gauge, "learned_rate_bytes_per_second",
            "What the stream is found to take from this node; 0 as long as it does not throttle";
        healthy: Gauge, "destination_healthy",
            "Whether the destination takes what it is sent: 1, backing off 0, denied -1";
    }
}
