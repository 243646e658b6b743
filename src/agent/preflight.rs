//! At start, what would keep destinations from taking records is said. Nothing waits for it.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::deliver::{Level, Service, TestRecord};
use crate::source::DestinationName;

/// Asks every destination of AWS once, all at the same time. Ends with what is returned.
pub(super) fn start(services: Vec<(DestinationName, Arc<Service>)>) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for (destination, service) in services {
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
    asking
}
