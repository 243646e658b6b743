//! What is known of a message beside its fields.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::event::Message;

/// A message on its way through the steps, and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The message as the decoder found it.
    pub message: &'c Message<'c>,
    /// When it was read, RFC 3339; its time where it has none of its own.
    pub time_read: &'c str,
    /// What its record will carry under `kubernetes`, where a pod wrote it.
    pub kubernetes: Option<&'c Map<String, Value>>,
}

impl Context<'_> {
    /// What is known of the pod under a name such as `kubernetes.labels.app`. The outer is none where the name means a field
    /// of the message, the inner where nothing is known by it.
    pub(super) fn of_pod(&self, name: &str) -> Option<Option<&Value>> {
        let known = self.kubernetes?;
        Some(known_as(known, name.strip_prefix("kubernetes.")?))
    }

    /// A time near to which the message was written, for times that do not tell their year.
    pub(super) fn near(&self) -> Timestamp {
        let time = self.message.time.unwrap_or(self.time_read);
        time.parse().or_else(|_| self.time_read.parse()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// The value by a name that reaches into objects; names of labels have dots of their own.
fn known_as<'v>(known: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    known.get(name).or_else(|| {
        let (head, rest) = name.split_once('.')?;
        known_as(known.get(head)?.as_object()?, rest)
    })
}
