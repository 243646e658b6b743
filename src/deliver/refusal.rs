//! Why a destination will not get a record.

use std::fmt;
use std::time::Duration;

use crate::record::Run;
use crate::units::format_duration;

/// Records that a destination will not get, and why: they become dead letters.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The records.
    pub run: Run,
    /// Why.
    pub reason: Reason,
}

/// Why a destination will not get a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is larger than the service's limit for one record.
    TooLarge {
        /// Its bytes, the partition key counted.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The service refused it for its content.
    Invalid {
        /// The service's error code.
        code: String,
        /// What it said.
        message: String,
    },
    /// It was not taken often enough (`retry.max_attempts`).
    Attempts {
        /// So often.
        attempts: u32,
        /// Why not, the last time.
        last: String,
    },
    /// It was in the buffer for too long (`retry.max_record_age`).
    Age {
        /// The limit.
        limit: Duration,
    },
}

impl Reason {
    /// A short name for metrics: the service's where it gave one.
    pub fn code(&self) -> &str {
        match self {
            Reason::TooLarge { .. } => "RecordTooLarge",
            Reason::Invalid { code, .. } => code,
            Reason::Attempts { .. } => "MaxAttempts",
            Reason::Age { .. } => "MaxRecordAge",
        }
    }

    /// What dead letters call it.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::TooLarge { .. } => "too_large",
            Reason::Invalid { .. } => "refused",
            Reason::Attempts { .. } => "max_attempts",
            Reason::Age { .. } => "max_record_age",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::TooLarge { size, limit } => {
                write!(f, "the record has {size} bytes, the service takes at most {limit}")
            }
            Reason::Invalid { code, message } => write!(f, "the service refused it: {code}: {message}"),
            Reason::Attempts { attempts, last } => {
                write!(f, "{attempts} requests did not take it (retry.max_attempts); the last one: {last}")
            }
            Reason::Age { limit } => {
                let limit = format_duration(*limit);
                write!(f, "it was in the buffer for longer than {limit} (retry.max_record_age)")
            }
        }
    }
}
