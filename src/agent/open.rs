//! Putting together what an earlier run left: the checkpoint, and in each destination's buffer what was written
//! after it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde_json::Value;
use tracing::{error, info, warn};

use super::bell::Bell;
use super::data_dir::DataDir;
use super::pipeline;
use crate::buffer::{self, Appender, Budget, Chain, Known, Open, Opened, Queue, Recovered};
use crate::config::{Config, DestinationConfig, RouteConfig};
use crate::disk::{self, Disk, Report};
use crate::kubernetes::PodStore;
use crate::source::{DestinationName, Incarnation};
use crate::tail::checkpoint::{self, Loaded};
use crate::tail::{Checkpoint, Entry, Progress, Replay, Route, Tailer};
use crate::telemetry::progress::{self, Far, Of};

/// Everything of an earlier run, ready to go on.
pub(super) struct State {
    pub(super) tailer: Tailer,
    pub(super) appenders: Vec<Appender>,
    /// For each queue what its reader has to hold its frames against.
    pub(super) chains: Vec<(Queue, Chain)>,
    /// The number of the last turn.
    pub(super) turn: u64,
    /// What all buffers share.
    pub(super) budget: Arc<Budget>,
    /// Files of dead letters on their way back into buffers.
    pub(super) replays: Vec<Replay>,
}

/// Opens the checkpoint and the buffers, in the order of the configuration's destinations.
pub(super) fn open(
    config: &Config,
    data_dir: &DataDir,
    disk: &Arc<dyn Disk>,
    bell: &Bell,
    pods: &PodStore,
    now: Instant,
    wall: SystemTime,
) -> io::Result<State> {
    let Found { checkpoint, is_last } = load(config, &**disk, &data_dir.path)?;
    let budget = Budget::new(config.buffer.max_size.0);
    let turn_of_checkpoint = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.turn);
    let mut turn = turn_of_checkpoint;
    let mut appenders = Vec::new();
    let mut found = Vec::new();
    let mut replays = checkpoint.as_ref().map(|checkpoint| checkpoint.replays.clone()).unwrap_or_default();
    for destination in &config.destinations {
        let known = checkpoint.as_ref().filter(|_| is_last);
        let known = known.and_then(|checkpoint| known_of(checkpoint, &destination.name));
        let mut opened = queue(config, destination, known, &data_dir.path, disk, &budget, bell)?;
        turn = turn.max(opened.turn);
        pipeline::recovered(&destination.name, &mut opened.files, &mut replays);
        found.push((destination.name.clone(), opened.files));
        appenders.push(opened.appender);
    }
    let mut tailer = Tailer::new(config.tail.clone(), routes(config, pods), checkpoint.as_ref(), now, wall);
    let ring = bell.clone();
    tailer.wake_with(Arc::new(move || ring.ring()));
    merge(config, &mut tailer, &found, turn_of_checkpoint, is_last, now);
    tailer.assign();
    let chains = appenders
        .iter()
        .map(|appender| (appender.queue().clone(), chain(&tailer, &replays, appender.queue().name())))
        .collect();
    Ok(State { tailer, appenders, chains, turn, budget, replays })
}

/// Opens the buffer of a destination. Of one that no checkpoint knows all counts that is whole.
pub(super) fn queue(
    config: &Config,
    destination: &DestinationConfig,
    known: Option<Known>,
    data_dir: &Path,
    disk: &Arc<dyn Disk>,
    budget: &Arc<Budget>,
    bell: &Bell,
) -> io::Result<Opened> {
    let ring = bell.clone();
    let name = &destination.name;
    let line = |far: &Far| info!(event = "recovering", destination = %name, done = far.done, of = far.of, percent = far.percent(), "{far}");
    let mut progress = progress::Progress::new("recovery of the buffer", Of::Bytes, 0, line);
    buffer::open(Open {
        name: destination.name.clone(),
        data_dir,
        settings: destination.queue.clone(),
        chunk_size: config.buffer.chunk_size.0,
        known,
        disk: Arc::clone(disk),
        budget: Arc::clone(budget),
        wake: Arc::new(move || ring.ring()),
        progress: &mut |done, of| progress.at(done, of, name.as_str()),
    })
}

/// The routes, as far as following files goes.
pub(super) fn routes(config: &Config, pods: &PodStore) -> Vec<Route> {
    let route = |route: &RouteConfig| Route {
        name: route.name.clone(),
        selection: route.selection_with(pods),
        journal: route.journal.as_ref().map(|journal| journal.source.clone()),
        start_at: route.start_at,
        to: if route.to.is_empty() { vec![nowhere()] } else { route.to.clone() },
    };
    config.routes.iter().map(route).collect()
}

/// In place of a destination, where a route has none: how far its files were read, so that their lines are counted
/// once. No destination can have this name.
pub(super) fn nowhere() -> DestinationName {
    "".into()
}

fn known_of(checkpoint: &Checkpoint, destination: &DestinationName) -> Option<Known> {
    let mark = *checkpoint.marks.get(destination)?;
    let first = checkpoint.first.get(destination).copied().unwrap_or_default();
    Some(Known { first, mark })
}

/// The last checkpoint that can be read, and whether it is the last that was written.
struct Found {
    checkpoint: Option<Checkpoint>,
    is_last: bool,
}

fn load(config: &Config, disk: &dyn Disk, data_dir: &Path) -> io::Result<Found> {
    let previous = checkpoint::previous_in(data_dir);
    if previous.is_dir() {
        // No file could take its place.
        quarantine_checkpoint(disk, data_dir, &previous, "a file should be here")?;
    }
    let mut is_last = true;
    loop {
        match checkpoint::load(data_dir)? {
            Loaded::None if is_last => return Ok(Found { checkpoint: None, is_last }),
            Loaded::None => {
                // It is not the first start, though nothing is known of the others: everything is read.
                let routes = config.routes.iter().map(|route| route.name.clone()).collect();
                let checkpoint = Checkpoint { routes, ..Checkpoint::default() };
                return Ok(Found { checkpoint: Some(checkpoint), is_last });
            }
            Loaded::Checkpoint(checkpoint) => {
                let files = checkpoint.files.len();
                info!(event = "checkpoint_loaded", files, "going on where the last run ended");
                return Ok(Found { checkpoint: Some(*checkpoint), is_last });
            }
            // Going on without it would send lines again under other record ids.
            Loaded::Newer(newer) => return Err(io::Error::other(newer)),
            Loaded::Damaged { path, reason } => {
                is_last = false;
                quarantine_checkpoint(disk, data_dir, &path, &reason)?;
            }
        }
    }
}

fn quarantine_checkpoint(disk: &dyn Disk, data_dir: &Path, path: &Path, reason: &str) -> io::Result<()> {
    let report = Report { kind: "checkpoint", reason: reason.into(), found: Value::Null };
    let kept = disk::quarantine(disk, data_dir, path, "", &report)?;
    error!(event = "checkpoint_damaged", reason, kept = %kept.display(),
        "a checkpoint cannot be read and was moved away; the one before it counts, and what the buffers \
         still hold; lines that were delivered since are sent again, with the same record ids");
    Ok(())
}

/// Takes over what frames say: where files stand in the buffer, and of those after the checkpoint also who the files are.
/// What a frame of an earlier turn says of its file is older than what is known: it is of a destination that was not in the
/// configuration for a while.
pub(super) fn merge(
    config: &Config,
    tailer: &mut Tailer,
    found: &[(DestinationName, HashMap<Incarnation, Recovered>)],
    turn_of_checkpoint: u64,
    is_last: bool,
    now: Instant,
) {
    let mut latest: HashMap<Incarnation, (u64, Entry)> = HashMap::new();
    for (destination, files) in found {
        for (incarnation, recovered) in files {
            if recovered.source.is_empty() || recovered.turn <= turn_of_checkpoint {
                continue;
            }
            match serde_json::from_slice::<Entry>(&recovered.source) {
                Ok(entry) => {
                    if latest.get(incarnation).is_none_or(|(turn, _)| *turn < recovered.turn) {
                        latest.insert(*incarnation, (recovered.turn, entry));
                    }
                }
                Err(error) => warn!(event = "frame_source_unread", %destination, %incarnation, %error,
                    "a frame does not tell its file; the file is met anew"),
            }
        }
    }
    // In the order in which they were written: the later incarnation is what the file holds now.
    let mut latest: Vec<(u64, Entry)> = latest.into_values().collect();
    latest.sort_by_key(|(turn, _)| *turn);
    for (_, mut entry) in latest {
        if tailer.entry(entry.incarnation).is_none() {
            // Met after the checkpoint, so not at a route's first start: it began at its beginning for all. If
            // the last checkpoint is not to be had, what is not in a buffer any more was delivered.
            let names = || std::iter::once(&entry.route).chain(&entry.further);
            let mut to: Vec<&DestinationName> = Vec::new();
            for route in names().filter_map(|name| config.routes.iter().find(|route| route.name == *name)) {
                to.extend(route.to.iter().filter(|name| !to.contains(name)).collect::<Vec<_>>());
            }
            let began = |to: &DestinationName| {
                let recovered = found
                    .iter()
                    .find(|(name, _)| name == to)
                    .and_then(|(_, files)| files.get(&entry.incarnation));
                recovered.filter(|_| !is_last).map(|recovered| recovered.from.clone()).unwrap_or_default()
            };
            entry.progress = to.into_iter().map(|to| Progress::at(to.clone(), began(to))).collect();
        }
        tailer.recovered(entry, now);
    }
    for (destination, files) in found {
        for (incarnation, recovered) in files {
            let Some(entry) = tailer.entry_mut(*incarnation) else { continue };
            for (from, to) in &recovered.repairs {
                let Some(index) =
                    entry.repairs.iter().position(|repair| repair.to == *destination && repair.from == *from)
                else {
                    continue;
                };
                if to.offset >= entry.repairs[index].until.offset {
                    entry.repairs.remove(index);
                } else {
                    entry.repairs[index].from = to.clone();
                }
            }
            if recovered.source.is_empty() {
                continue;
            }
            match entry.progress.iter_mut().find(|progress| progress.to == *destination) {
                Some(progress) => {
                    progress.position = recovered.to.clone();
                    progress.buffered = recovered.to.clone();
                }
                None => entry.progress.push(Progress {
                    to: destination.clone(),
                    position: recovered.to.clone(),
                    buffered: recovered.to.clone(),
                    delivered: recovered.from.clone(),
                }),
            }
        }
    }
}

pub(super) fn chain(tailer: &Tailer, replays: &[Replay], destination: &DestinationName) -> Chain {
    let mut chain = Chain::default();
    for entry in tailer.entries() {
        if let Some(progress) = entry.progress.iter().find(|progress| progress.to == *destination) {
            chain.delivered.insert(entry.incarnation, progress.delivered.clone());
            chain.buffered.insert(entry.incarnation, progress.buffered.clone());
        }
    }
    for Replay { incarnation, progress, .. } in replays.iter().filter(|it| it.progress.to == *destination) {
        chain.delivered.insert(*incarnation, progress.delivered.clone());
        chain.buffered.insert(*incarnation, progress.buffered.clone());
    }
    chain
}
