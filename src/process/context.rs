//! What is known of a message beside its fields.

use jiff::Timestamp;

use crate::event::Message;

/// A message on its way through the steps, and when it was read.
#[derive(Clone, Copy, Debug)]
pub struct Context<'c> {
    /// The message as the decoder found it.
    pub message: &'c Message<'c>,
    /// When it was read, RFC 3339; its time where it has none of its own.
    pub time_read: &'c str,
}

impl Context<'_> {
    /// A time near to which the message was written, for times that do not tell their year.
    pub(super) fn near(&self) -> Timestamp {
        let time = self.message.time.unwrap_or(self.time_read);
        time.parse().or_else(|_| self.time_read.parse()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}
