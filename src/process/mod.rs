//! What a route does with a message: parse it, change its fields, find out its time.
//!
//! A [`Chain`] is a route's steps, compiled. It starts from the message's text under `log` and hands on
//! [`Fields`](crate::event::Fields). A route without steps needs none of it: where
//! [`is_empty`](Chain::is_empty) says so, the encoder takes the message as it is.
//!
//! **Only what is touched is taken apart.** Parsing cuts a JSON object at its own fields and keeps the text of
//! each; a step that reaches into one of them opens that one object, one level at a time. So numbers, escapes
//! and nested objects that no step changes are passed on byte by byte.
//!
//! **Names.** A name may contain dots. At each level the field that bears the whole name literally comes
//! first; only if there is none, the part before the first dot names an object to reach into.
//!
//! **Failure.** A step that cannot do its work leaves the fields as they were and is counted; the step's
//! [`OnError`] says whether the message goes on.
//!
//! **The record's own fields** ([`OWN_FIELDS`](crate::event::OWN_FIELDS): its time, file, pod, id, …) do not
//! exist yet while steps run, so no step can change them. A step does see what the message itself says under
//! such a name, and may remove or rename it; what is left under such a name, from whatever step, the encoder
//! keeps as `log_<name>`. [`Step::own_names`] tells which names of a step would end like that.

mod chain;
mod condition;
mod context;
mod edit;
mod filter;
mod instance;
mod journald;
mod json;
mod layout;
mod parse;
mod pattern;
mod reach;
mod redact;
mod step;
#[cfg(test)]
pub(crate) mod testing;
mod time;
mod types;
mod wrap;

pub use chain::{Chain, Failed, Fate, Outcome, Processed, StepCounts};
pub use condition::{Bounds, Condition, Test};
pub use context::Context;
pub use filter::{Level, Sample, Truncate};
pub use instance::{Ec2Metadata, Instance, Known};
pub use journald::JournalFields;
pub use layout::{Flatten, Keys, Nest};
pub use parse::{AccessLog, Csv, Groups, KeyValue, Parse, Parser, SyslogForm};
pub use pattern::Pattern;
pub use redact::{Find, Preset, Redact, Replacement};
pub use step::{Action, OnError, SetTime, SingleLine, Step};
pub use time::TimeFormat;
pub use types::Type;
pub use wrap::AddMetadata;
