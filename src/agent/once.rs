//! How far a run is that ends with its files.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::watched::Watched;
use crate::telemetry::Sums;
use crate::telemetry::progress::{Far, Of, Progress};

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Shows how much of the files is read, and what of that is delivered.
pub(super) struct Show {
    over: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Show {
    /// From now on, until it is [over](Self::over).
    pub(super) fn start(watched: Watched) -> Self {
        let (over, told) = oneshot::channel();
        Self { over, task: tokio::spawn(show(watched, told)) }
    }

    /// Shows how far it came, however soon that is.
    pub(super) async fn over(self) {
        drop(self.over);
        // A panic in it was told by itself.
        let _ = self.task.await;
    }
}

async fn show(watched: Watched, mut over: oneshot::Receiver<()>) {
    let line =
        |far: &Far| info!(event = "progress", done = far.done, of = far.of, percent = far.percent(), "{far}");
    let mut progress = Progress::new("read", Of::Bytes, 0, line);
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_over = tokio::select! {
            _ = &mut over => true,
            _ = ticks.tick() => false,
        };
        let look = watched.clone();
        // It dies only with the runtime.
        let Ok(Sums { bytes, behind, delivered, buffered, .. }) =
            spawn_blocking(move || look.measured()).await
        else {
            return;
        };
        progress.at(bytes, bytes + behind, &format!("{delivered} records delivered, {buffered} wait"));
        if is_over {
            return progress.end();
        }
    }
}
