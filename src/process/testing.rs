//! What tests of steps share.

use super::{Context, json};
use crate::event::{Fields, Message};

/// The context of a message that was read at the beginning of 2026.
pub(crate) fn context<'c>(message: &'c Message<'c>) -> Context<'c> {
    Context { message, time_read: "2026-01-02T03:04:05Z", kubernetes: None }
}

/// The fields of a JSON object.
pub(crate) fn fields(object: &str) -> Fields<'_> {
    let mut fields = Fields::default();
    assert!(fields.append_with(None, |into| json::read_fields(&object.into(), into)), "{object}");
    fields
}

/// The JSON text of fields, in their order.
pub(crate) fn text(fields: &Fields<'_>) -> String {
    String::from_utf8_lossy(&json::write_fields(fields)).into_owned()
}
