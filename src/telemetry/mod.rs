//! What kinetail tells of itself: its log, its metrics, whether it lives.
//!
//! Each stage counts for itself and registers its counters with the one [`Registry`](metrics::registry); the
//! admin port ([`admin`]) shows them, and the [`Status`](status::Status) that the agent makes of itself. What changes
//! anything, or shows records ([`tap`]), is asked for over a socket of its own ([`control`]). [`Liveness`] knows nothing but heartbeats: it never depends on a
//! destination, the disk's speed or another service.

pub mod admin;
pub mod control;
mod limit;
mod liveness;
pub mod logging;
pub mod metrics;
mod names;
pub mod panics;
pub mod progress;
pub mod service_manager;
pub mod status;
mod summary;
pub mod tap;

pub use limit::Suppressed;
pub use liveness::{Heartbeat, Liveness};
pub use names::NAMES;
pub use summary::{Summary, Sums};
