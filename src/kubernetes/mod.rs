//! What is known of the pod that wrote a file.
//!
//! ```text
//! path of the file ─► Pod ─┐
//!                          ├─► what a record carries under `kubernetes`
//! API ─► feed ─► PodStore ─┘
//! ```
//!
//! The path tells the namespace, the pod, its UID and the container, with no API at all ([`Pod`]). Where the
//! configuration wants more, [`feed()`] lists and watches the pods of this node, and the [`PodStore`] keeps of each what
//! records and routes may ask for ([`PodFacts`]). Whoever asks gets an answer at once: what is not known is not waited
//! for here. The store says whether waiting makes sense, and how long a reader waits is the reader's business.

mod annotations;
mod facts;
mod feed;
mod link;
mod matching;
mod metrics;
mod object;
mod pod;
mod settings;
mod store;

pub use annotations::{Said, Wish};
pub use facts::{ContainerFacts, Owner, PodFacts};
pub use feed::keep as feed;
pub use matching::{Mismatch, NamePattern, OnUnknown, PodPattern};
pub use metrics::{Enriched, Metrics};
pub use pod::Pod;
pub use settings::{ApiSettings, KubernetesSettings, RecordFields, Wanted};
pub use store::{Known, PodStore};
