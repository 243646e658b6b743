//! From messages to records: single-line JSON objects with an id each.
//!
//! A record carries, in this order, `time`, `stream` (not for plain files), the message's fields (`log` where
//! nothing was parsed), `truncated: true` where its end is missing, `file`, `host`, `kubernetes` where the
//! file is a pod's, and `record_id`. `docs/record-format.md` describes each for users. What is the same for
//! all records of a file is encoded once.
//!
//! That is the default [`Layout`]; others use other names, leave things out, or send the message alone.
//!
//! What holds for every record of a layout that is not raw, whatever the bytes of the message:
//!
//! - it is one JSON object in UTF-8 without a newline, and no name occurs twice at its top;
//! - text that is not UTF-8 is kept with U+FFFD in place of what is not, and counted;
//! - the record's own fields ([`OWN_FIELDS`](crate::event::OWN_FIELDS)) say what kinetail knows. A field of
//!   the message under such a name is kept as `log_<name>`, with `_` appended until the name is free, and
//!   counted: a log line cannot forge where it came from. That holds for fields that a step has added, too;
//! - the same line has the same `record_id` whenever it is read ([`record_id`]).

mod encoder;
mod id;
mod layout;
mod string;

pub use encoder::{Counts, Encoder, time_read, write_value};

pub use crate::event::FileContext;
pub use id::record_id;
pub use layout::{Layout, Names};
