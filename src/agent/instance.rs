//! Asks what is known of the instance of EC2 that this is, where a step wants to know it.

use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::deliver::InstanceMetadata;
use crate::process::{Instance, Known};

/// How long all answers together may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Before it is asked again after a failure.
const PAUSE: Duration = Duration::from_secs(30);

/// The machine that this process runs on.
pub(super) fn this() -> &'static Instance {
    static THIS: LazyLock<Instance> = LazyLock::new(Instance::default);
    &THIS
}

/// Asks as soon as a step wants to know, and again after the time that it says. What was known stays through outages.
/// Does not end.
pub(super) async fn keep(instance: &Instance) {
    let mut wanted = instance.wanted();
    let mut failing = false;
    let metadata = InstanceMetadata::new();
    loop {
        let Ok(refresh) = wanted.wait_for(Option::is_some).await.map(|wanted| wanted.unwrap_or(LIMIT)) else {
            return pending().await;
        };
        let wait = match ask(&metadata).await {
            Ok(known) => {
                info!(
                    event = "instance_metadata_known",
                    tags = known.tags.len(),
                    "what is known of the instance is added to messages"
                );
                instance.tell(Some(known));
                failing = false;
                refresh
            }
            Err(error) => {
                instance.tell(None);
                if !failing {
                    warn!(
                        event = "instance_metadata_unavailable",
                        error,
                        "the instance's metadata cannot be had; messages go on without them, or with those of before, and it is tried again"
                    );
                }
                failing = true;
                PAUSE
            }
        };
        pause(wait, &mut wanted).await;
    }
}

/// Waits so long, or less where a step that came later wants it sooner.
async fn pause(wait: Duration, wanted: &mut watch::Receiver<Option<Duration>>) {
    tokio::select! {
        () = sleep(wait) => {}
        _ = wanted.wait_for(|refresh| refresh.is_some_and(|refresh| refresh < wait)) => {}
    }
}

async fn ask(metadata: &InstanceMetadata) -> Result<Known, String> {
    let described = timeout(LIMIT, metadata.describe());
    let described = described.await.map_err(|_| format!("no answer within {LIMIT:?}"))??;
    let mut fields = described.fields;
    fields.push(("metadataTimestamp".into(), format!("{:.3}", Timestamp::now())));
    Ok(Known { fields, tags: described.tags })
}
