//! How a destination does.

use tokio::time::Instant;

use super::answer::{Class, Failure};

/// How a destination does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes what it is sent, or was not asked yet.
    Fine,
    /// It fails or throttles for the moment; what is not taken is sent again.
    BackingOff {
        /// Since when.
        since: Instant,
        /// The last failure.
        reason: String,
    },
    /// It will take nothing until somebody does something: credentials, permissions, the stream's name, …
    Denied {
        /// Since when.
        since: Instant,
        /// The last failure.
        reason: String,
    },
}

impl Health {
    /// After a failure that stopped the destination. A time that goes on keeps its beginning.
    pub(super) fn worsen(&mut self, failure: &Failure, now: Instant) {
        let reason = failure.to_string();
        let denied = failure.class == Class::Hold;
        let since = match self {
            Health::BackingOff { since, .. } if !denied => *since,
            Health::Denied { since, .. } if denied => *since,
            _ => now,
        };
        *self = if denied { Health::Denied { since, reason } } else { Health::BackingOff { since, reason } };
    }
}
