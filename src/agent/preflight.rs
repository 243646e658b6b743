//! What would keep a destination from taking records is said when it is first there. Nothing waits for it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::deliver::{Level, Service, TestRecord};
use crate::source::DestinationName;

/// Asks a destination of AWS once.
pub(super) fn start(asking: &mut JoinSet<()>, destination: DestinationName, service: Arc<Service>) {
    // Those that have answered.
    while asking.try_join_next().is_some() {}
    asking.spawn(async move {
        for finding in service.preflight(&TestRecord::None).await {
            match finding.level {
                Level::Good => debug!(event = "preflight", %destination, "{finding}"),
                Level::Warning | Level::Problem => {
                    warn!(event = "preflight", %destination, about = finding.about, "{finding}");
                }
            }
        }
    });
}
