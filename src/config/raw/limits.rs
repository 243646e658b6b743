//! What every destination has: its buffer's limits, its dead letters', and when it gives up.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Size, Time};
use crate::buffer::{DeadLetterSettings, QueueSettings};
use crate::deliver::{RateLimit, Retry};

/// A destination's own buffer.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Queue {
    /// The most that it may take on disk; at least twice the `chunk_size` of the section `buffer`.
    #[schemars(extend("x-limits" = {"min": "128KiB"}))]
    pub(crate) max_size: Size,
    /// What happens at that limit.
    pub(crate) when_full: WhenQueueFull,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_size: Size(QueueSettings::default().max_size), when_full: WhenQueueFull::default() }
    }
}

/// What happens when a destination's buffer is full.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WhenQueueFull {
    /// the destination stops reading; its lines wait in the log files
    #[default]
    Block,
    /// the oldest records are given up, and counted
    DropOldest,
}

/// A destination's dead letters: records that it will never take, and lines that became no record.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeadLetters {
    /// The most that they may take on disk.
    #[schemars(extend("x-limits" = {"min": "1MiB"}))]
    pub(crate) max_size: Size,
    /// What happens at that limit.
    pub(crate) when_full: WhenLettersFull,
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { max_size: Size(DeadLetterSettings::default().max_size), when_full: WhenLettersFull::default() }
    }
}

/// What happens when a destination's dead letters are at their limit.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WhenLettersFull {
    /// the record stays in the buffer, and the line in its file, until there is room; others go on
    #[default]
    Block,
    /// the oldest letters are given up, and counted
    DropOldest,
}

/// How fast a destination may be sent to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RateLimits {
    /// The most bytes a second, before base64, partition keys counted.
    #[schemars(example = &"5MiB", extend("x-limits" = {"min": "1KiB"}))]
    pub(crate) bytes: Option<Size>,
    /// The most records of the service a second. One that many lines are packed into counts once.
    #[schemars(range(min = 1, max = 10_000_000), example = &1000)]
    pub(crate) records: Option<u64>,
    /// The most requests a second.
    #[schemars(range(min = 1, max = 1_000_000), example = &50)]
    pub(crate) requests: Option<u64>,
}

impl RateLimits {
    /// As delivery takes it.
    pub(crate) fn settings(&self) -> RateLimit {
        RateLimit {
            bytes: self.bytes.as_ref().map(|size| size.0.0),
            records: self.records,
            requests: self.requests,
        }
    }
}

/// How failures are tried again.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RetryPauses {
    /// The bound of the first pause; it doubles with every failure.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "1h"}))]
    pub(crate) initial_backoff: Time,
    /// The bound of all pauses.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "1h"}))]
    pub(crate) max_backoff: Time,
    /// After so many requests that did not take it, whatever the reason, a record becomes a dead letter.
    /// Requests that were denied (no access, no such stream) are not counted. Without it there is no end.
    #[schemars(range(min = 1, max = 1_000_000), example = &20)]
    pub(crate) max_attempts: Option<u32>,
    /// A record that has been in the buffer for so long becomes a dead letter. Without it no age is too great.
    #[schemars(example = &"7d", extend("x-limits" = {"min": "1s", "max": "365d"}))]
    pub(crate) max_record_age: Option<Time>,
}

impl Default for RetryPauses {
    fn default() -> Self {
        let settings = Retry::default();
        Self {
            initial_backoff: Time(settings.initial_backoff),
            max_backoff: Time(settings.max_backoff),
            max_attempts: None,
            max_record_age: None,
        }
    }
}
