//! What the control socket asks for, done by the agent.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::bell::Bell;
use super::delivery::Order;
use super::drive::Told;
use super::parts::Agent;
use super::reload::{Ask, Asks};
use super::watched::{Watched, WatchedDestination};
use crate::buffer::{DeadLetterSettings, DeadLetters, SetAside};
use crate::disk::Disk;
use crate::source::{DestinationName, Position};
use crate::tail::amend::Amend;
use crate::tail::checkpoint::{self, Loaded};
use crate::tail::{Progress, Replay};
use crate::telemetry::Liveness;
use crate::telemetry::control::{self, Control, Done, PurgeOf, Purged, Reloaded, ReplayOf, Replayed};
use crate::telemetry::tap::{Tapped, Taps, Wanted};

/// Said where the agent does not come to answer any more.
const ENDING: &str = "kinetail is about to end; ask again when it runs, or while it is stopped";

/// Opens the control socket. Without it everything goes on; only nobody can be asked.
pub(super) fn serve(side: &mut JoinSet<&'static str>, agent: &Agent, asks: Asks) {
    let path = control::path_in(&agent.config.data_dir);
    let listener = match control::bind(&agent.config.data_dir) {
        Ok(listener) => listener,
        Err(error) => {
            warn!(event = "control_unavailable", path = %path.display(), %error,
                "the control socket cannot be opened: commands cannot ask this process; a signal still can");
            return;
        }
    };
    let controls = Arc::new(Controls {
        asks,
        watched: agent.watched.clone(),
        liveness: agent.liveness.clone(),
        taps: agent.taps.clone(),
        tell: agent.tell.clone(),
        bell: agent.bell.clone(),
    });
    side.spawn(async move {
        if let Err(error) = control::serve(listener, controls.control()).await {
            warn!(event = "control_ended", %error, "the control socket is closed");
        }
        "the control socket"
    });
}

/// What of the agent is needed for it.
struct Controls {
    asks: Asks,
    watched: Watched,
    liveness: Liveness,
    taps: Taps,
    tell: Sender<Told>,
    bell: Bell,
}

impl Controls {
    fn control(self: Arc<Self>) -> Control {
        let (reload, status, tap) = (Arc::clone(&self), Arc::clone(&self), Arc::clone(&self));
        let (purge, amend, replay) = (Arc::clone(&self), Arc::clone(&self), self);
        Control {
            reload: Arc::new(move || {
                let controls = Arc::clone(&reload);
                Box::pin(async move { controls.reload().await })
            }),
            status: Arc::new(move || status.watched.snapshot(&status.liveness, usize::MAX)),
            tap: Arc::new(move |wanted| tap.tap(wanted)),
            purge: Arc::new(move |of| {
                let controls = Arc::clone(&purge);
                Box::pin(async move { controls.purge(&of).await })
            }),
            amend: Arc::new(move |change| {
                let controls = Arc::clone(&amend);
                Box::pin(async move { controls.amend(change).await })
            }),
            replay: Arc::new(move |of| {
                let controls = Arc::clone(&replay);
                Box::pin(async move { controls.replay(of).await })
            }),
        }
    }

    async fn reload(&self) -> Option<Reloaded> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { by: "the control socket", answer: Some(answer) }).await.ok()?;
        Some(answered.await.ok()?.into())
    }

    fn tap(&self, wanted: Wanted) -> Result<Tapped, String> {
        let routes = self.watched.routes();
        known("route", wanted.route.as_deref(), routes.iter().map(|route| route.name.as_str()))?;
        if let Some(wanted) = &wanted.destination {
            self.destination(wanted)?;
        }
        self.taps.open(wanted, Instant::now()).map_err(|why| why.to_string())
    }

    /// What is under way is waited for first: whether it was delivered is not known before.
    async fn purge(&self, of: &PurgeOf) -> Result<Purged, String> {
        let to = self.destination(&of.destination)?;
        let (asker, answer) = oneshot::channel();
        let orders = to.orders.upgrade().ok_or(ENDING)?;
        orders.send(Order::Purge(asker)).map_err(|_| ENDING)?;
        drop(orders);
        let given_up = answer.await.map_err(|_| ENDING)?;
        let problem = given_up.not_noted.map(|error| error.to_string());
        Ok(Purged { given_up: given_up.records, problem })
    }

    async fn amend(&self, change: Amend) -> Result<Done, String> {
        let (done, answer) = oneshot::channel();
        self.tell(Told::Amend(change, done))?;
        answer.await.map_err(|_| ENDING)?.map(|done| Done { done })
    }

    async fn replay(&self, of: ReplayOf) -> Result<watch::Receiver<Replayed>, String> {
        let letters = self.destination(&of.destination)?.letters;
        let (replays, told) = spawn_blocking(move || set_aside(&letters, &of))
            .await
            .map_err(|died| died.to_string())?
            .map_err(|error| error.to_string())?;
        let (asker, answer) = watch::channel(told);
        if !replays.is_empty() {
            self.tell(Told::Replay(replays, Arc::new(asker)))?;
        }
        Ok(answer)
    }

    fn tell(&self, told: Told) -> Result<(), String> {
        self.tell.send(told).map_err(|_| ENDING)?;
        self.bell.ring();
        Ok(())
    }

    fn destination(&self, name: &str) -> Result<WatchedDestination, String> {
        let destinations = self.watched.destinations();
        known("destination", Some(name), destinations.iter().map(|to| to.queue.name().as_str()))?;
        let of_name = destinations.into_iter().find(|to| to.queue.name().as_str() == name);
        of_name.ok_or_else(|| ENDING.to_owned())
    }
}

/// Sets letters aside, for a pipeline or a checkpoint to know. Returns how far it is then.
pub(super) fn set_aside(letters: &DeadLetters, of: &ReplayOf) -> std::io::Result<(Vec<Replay>, Replayed)> {
    let SetAside { files, no_records } = letters.set_aside(&of.reasons)?;
    let told = Replayed {
        letters: 0,
        of: files.iter().map(|file| file.letters).sum(),
        no_records,
        files: files.len() as u64,
        waits: false,
    };
    info!(
        event = "replaying",
        destination = of.destination,
        letters = told.of,
        files = told.files,
        "dead letters are put into the buffer again"
    );
    let to = DestinationName::from(of.destination.as_str());
    let replay = |file: crate::buffer::Aside| Replay {
        incarnation: file.incarnation,
        number: file.number,
        reasons: of.reasons.clone(),
        end: file.bytes,
        progress: Progress::at(to.clone(), Position::default()),
    };
    Ok((files.into_iter().map(replay).collect(), told))
}

/// Sets letters aside while no kinetail runs, and has the next one that starts put them into the buffer. The caller holds
/// `data_dir`.
///
/// # Errors
///
/// In words: there is no checkpoint, or the disk failed; nothing has changed then.
pub fn replay_at_next_start(
    data_dir: &Path,
    of: &ReplayOf,
    disk: &Arc<dyn Disk>,
) -> Result<Replayed, String> {
    let mut checkpoint = match checkpoint::load(data_dir).map_err(|error| error.to_string())? {
        Loaded::Checkpoint(checkpoint) => checkpoint,
        Loaded::None => {
            return Err(format!("{} has no checkpoint: no kinetail ran there", data_dir.display()));
        }
        Loaded::Damaged { path, reason } => return Err(format!("{}: {reason}", path.display())),
        Loaded::Newer(newer) => return Err(newer.to_string()),
    };
    let to = of.destination.as_str().into();
    let letters = DeadLetters::new(data_dir, to, DeadLetterSettings::default(), Arc::clone(disk));
    let (replays, told) = set_aside(&letters, of).map_err(|error| error.to_string())?;
    checkpoint.replays.extend(replays);
    // Without it the next start gives the files their names back.
    checkpoint::save(&**disk, data_dir, &checkpoint).map_err(|error| error.to_string())?;
    Ok(told)
}

/// Refuses a name that nothing has.
fn known<'a>(
    what: &str,
    wanted: Option<&str>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), String> {
    match wanted {
        Some(wanted) if !names.clone().any(|name| name == wanted) => {
            let names = names.collect::<Vec<_>>().join(", ");
            Err(format!("no {what} is called {wanted}; there are: {names}"))
        }
        _ => Ok(()),
    }
}
