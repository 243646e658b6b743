//! Putting together what an earlier run left: the checkpoint, and in each destination's buffer what was written
//! after it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use tracing::{error, info, warn};

use super::bell::Bell;
use super::data_dir::DataDir;
use crate::buffer::{self, Appender, Budget, Chain, Open, Queue, Recovered};
use crate::config::Config;
use crate::disk::Disk;
use crate::source::{DestinationName, Incarnation};
use crate::tail::checkpoint::{self, Loaded};
use crate::tail::{Checkpoint, Entry, Progress, Route, Selection, Tailer};

/// Everything of an earlier run, ready to go on.
pub(super) struct State {
    pub(super) tailer: Tailer,
    pub(super) appenders: Vec<Appender>,
    /// For each queue what its reader has to hold its frames against.
    pub(super) chains: Vec<(Queue, Chain)>,
    /// The number of the last turn.
    pub(super) turn: u64,
}

/// Opens the checkpoint and the buffers, in the order of the configuration's destinations.
pub(super) fn open(
    config: &Config,
    data_dir: &DataDir,
    disk: &Arc<dyn Disk>,
    bell: &Bell,
    now: Instant,
    wall: SystemTime,
) -> io::Result<State> {
    let checkpoint = load(&**disk, &data_dir.path)?;
    let budget = Budget::new(config.buffer.max_size.0);
    let mut turn = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.turn);
    let mut appenders = Vec::new();
    let mut found = Vec::new();
    for destination in &config.destinations {
        let ring = bell.clone();
        let opened = buffer::open(Open {
            name: destination.name.clone(),
            data_dir: &data_dir.path,
            settings: destination.queue.clone(),
            chunk_size: config.buffer.chunk_size.0,
            // A destination that the checkpoint does not know was added since: all of its queue is after it.
            mark: checkpoint.as_ref().and_then(|checkpoint| checkpoint.marks.get(&destination.name).copied()),
            disk: Arc::clone(disk),
            budget: Arc::clone(&budget),
            wake: Arc::new(move || ring.ring()),
        })?;
        turn = turn.max(opened.turn);
        found.push((destination.name.clone(), opened.files));
        appenders.push(opened.appender);
    }
    let routes = config
        .routes
        .iter()
        .map(|route| Route {
            name: route.name.clone(),
            selection: Selection { files: route.files.clone(), exclude: route.exclude.clone() },
            start_at: route.start_at,
            to: route.to.clone(),
        })
        .collect();
    let mut tailer = Tailer::new(config.tail.clone(), routes, checkpoint.as_ref(), now, wall);
    merge(config, &mut tailer, &found, now);
    let chains = appenders
        .iter()
        .map(|appender| (appender.queue().clone(), chain(&tailer, appender.queue().name())))
        .collect();
    Ok(State { tailer, appenders, chains, turn })
}

fn load(disk: &dyn Disk, data_dir: &Path) -> io::Result<Option<Checkpoint>> {
    match checkpoint::load(data_dir)? {
        Loaded::None => Ok(None),
        Loaded::Checkpoint(checkpoint) => {
            info!(
                event = "checkpoint_loaded",
                files = checkpoint.files.len(),
                "going on where the last run ended"
            );
            Ok(Some(*checkpoint))
        }
        Loaded::Damaged(reason) => {
            let folder = data_dir.join("quarantine");
            disk.create_folder(&folder)?;
            let stamp =
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
            let kept = folder.join(format!("checkpoint-{stamp}"));
            disk.rename(&checkpoint::path_in(data_dir), &kept)?;
            error!(event = "checkpoint_damaged", reason, kept = %kept.display(),
                "the checkpoint cannot be read and was moved away; positions are taken from the buffers where they \
                 still have records, other files begin as on a first start");
            Ok(None)
        }
    }
}

/// Takes over what frames after the checkpoint say: who the files are, and where they stand.
fn merge(
    config: &Config,
    tailer: &mut Tailer,
    found: &[(DestinationName, HashMap<Incarnation, Recovered>)],
    now: Instant,
) {
    let mut latest: HashMap<Incarnation, (u64, Entry)> = HashMap::new();
    for (destination, files) in found {
        for (incarnation, recovered) in files {
            if recovered.source.is_empty() {
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
            // Met after the checkpoint, so not at a route's first start: it began at its beginning for all.
            let route = config.routes.iter().find(|route| route.name == entry.route);
            entry.progress = route
                .map(|route| route.to.iter().map(|to| Progress::at(to.clone(), Default::default())).collect())
                .unwrap_or_default();
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

fn chain(tailer: &Tailer, destination: &DestinationName) -> Chain {
    let mut chain = Chain::default();
    for entry in tailer.entries() {
        if let Some(progress) = entry.progress.iter().find(|progress| progress.to == *destination) {
            chain.delivered.insert(entry.incarnation, progress.delivered.clone());
            chain.buffered.insert(entry.incarnation, progress.buffered.clone());
        }
    }
    chain
}
