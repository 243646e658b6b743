//! `cloudwatch`, as typed.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::list::{Entries, OneOrMany};
use super::scalar::{DimensionValue, MetricName, Namespace, Time};
use super::service::aws_service;
use crate::deliver::MetricPattern;

aws_service! {
    /// Metrics to Amazon CloudWatch.
    pub(crate) struct CloudWatch {
        "https://vpce-0a1b.monitoring.eu-central-1.vpce.amazonaws.com",
        {
            /// The namespace that they are put into: 1 to 255 of `A-Z a-z 0-9 . - _ / # :` and blanks, not beginning with
            /// `AWS/` or a colon. The Kinesis Agent's is `AWSKinesisAgent`.
            #[serde(default = "namespace")]
            pub(crate) namespace: Namespace,
            /// How often they are measured and sent. Below a minute they are metrics of high resolution.
            #[schemars(extend("x-limits" = {"min": "1s", "max": "1h"}))]
            #[serde(default = "interval")]
            pub(crate) interval: Time,
            /// Whether the metrics of the Kinesis Agent are sent, under its names and with its dimension `Destination`.
            #[serde(default = "yes")]
            pub(crate) agent_metrics: bool,
            /// Which of kinetail's own metrics are sent: names of docs/metrics.md, or beginnings of names with a `*`
            /// behind them; `[]` for none. CloudWatch bills each of them with each set of dimensions.
            #[serde(default = "metrics")]
            pub(crate) metrics: OneOrMany<MetricName>,
            /// Dimensions that all of them carry beside their own: at most 20 names and values. Without any, the metrics
            /// of all hosts are one: sums over all of them, and the largest and least of any.
            #[schemars(example = serde_json::json!({"Node": "${env:NODE_NAME}"}))]
            #[serde(default)]
            pub(crate) dimensions: Entries<DimensionValue>,
        }
        {}
    }
}

/// What tells whether records come through, how late they are and what was lost. Each has the destination, the route
/// or nothing for its dimension, so that their number is that of the configuration's names.
const USUAL: [&str; 13] = [
    "kinetail_lines_total",
    "kinetail_lag_seconds",
    "kinetail_behind_bytes",
    "kinetail_delivered_records_total",
    "kinetail_throttled_entries_total",
    "kinetail_destination_healthy",
    "kinetail_dead_letters_total",
    "kinetail_buffer_size_bytes",
    "kinetail_buffer_dropped_records_total",
    "kinetail_files_vanished_total",
    "kinetail_files_abandoned_total",
    "kinetail_disk_free_bytes",
    "kinetail_config_last_reload_successful",
];

fn namespace() -> Namespace {
    Namespace("kinetail".to_owned())
}

fn interval() -> Time {
    Time(Duration::from_secs(60))
}

fn yes() -> bool {
    true
}

fn metrics() -> OneOrMany<MetricName> {
    USUAL.iter().filter_map(|name| MetricPattern::new(name).ok()).map(MetricName).collect()
}
