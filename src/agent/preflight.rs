//! What would keep a destination from taking records is found out and said when it is first there. Nothing waits for it
//! but readiness.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::standing::Standing;
use crate::deliver::{Finding, Level, Service, TestRecord};
use crate::source::DestinationName;

/// Before a destination is asked again that would not take records, and was sent none that could tell.
const AGAIN: Duration = Duration::from_secs(30);

/// A destination that is asked.
pub(super) struct Asked {
    pub(super) destination: DestinationName,
    pub(super) service: Arc<Service>,
    pub(super) standing: Standing,
}

/// Asks a destination of AWS until it would take records or took some.
pub(super) fn start(asking: &mut JoinSet<()>, asked: Asked) {
    // Those that have answered.
    while asking.try_join_next().is_some() {}
    asking.spawn(asked.ask());
}

impl Asked {
    async fn ask(self) {
        let Self { destination, service, standing } = self;
        let mut asked_before = false;
        loop {
            let findings = service.preflight(&TestRecord::None).await;
            if standing.asked(findings.clone()) {
                findings.iter().for_each(|finding| say(&destination, finding));
            }
            if standing.is_settled() {
                if asked_before {
                    info!(event = "preflight_passed", %destination, "the destination would take records now");
                }
                return;
            }
            asked_before = true;
            tokio::time::sleep(AGAIN).await;
            if standing.is_settled() {
                return;
            }
        }
    }
}

fn say(destination: &DestinationName, finding: &Finding) {
    match finding.level {
        Level::Good => debug!(event = "preflight", %destination, "{finding}"),
        Level::Warning | Level::Problem => {
            warn!(event = "preflight", %destination, about = finding.about, "{finding}");
        }
    }
}
