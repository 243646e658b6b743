//! The registry of metrics.

use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A registry for the process: every name begins with `kinetail_`.
pub fn registry() -> Registry {
    let mut registry = Registry::with_prefix("kinetail");
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("build", "What was built", build);
    registry
}
