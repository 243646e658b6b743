//! The real pipeline, a step at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::super::bell::Bell;
use super::super::data_dir::DataDir;
use super::super::keeper::Work;
use super::super::open::{self, State};
use super::super::outlets::Place;
use super::super::parts::plan;
use super::super::pipeline::Pipeline;
use super::super::totals::Totals;
use crate::buffer::{self, DeadLetterSettings, DeadLetters, Queue, Reader};
use crate::config::{self, Config};
use crate::disk::HostDisk;
use crate::kubernetes::PodStore;
use crate::source::{DestinationName, Incarnation};
use crate::units::ByteSize;

/// What reads and what delivers, between a start and its end.
pub(in crate::agent) struct Agent {
    pub(in crate::agent) pipeline: Pipeline,
    pub(in crate::agent) totals: Totals,
    work: Work,
    outs: Vec<(Queue, Reader)>,
    data_dir: DataDir,
    place: Place,
}

/// A configuration for the logs that fit a pattern in a folder. The second destination has hardly any room.
pub(super) fn config(folder: &Path, pattern: &str, scarce: bool) -> Config {
    let folder = folder.display();
    let text = format!(
        "
data_dir: {folder}/data
tail: {{rotate_wait: 5s, flush_after: 1h}}
buffer: {{chunk_size: 64KiB, min_disk_free: 0}}
destinations:
  roomy: {{type: directory, path: {folder}/roomy}}
  tight: {{type: directory, path: {folder}/tight, buffer: {{max_size: 128KiB}}}}
routes:
  - {{name: logs, files: '{folder}/logs/{pattern}', format: cri, start_at: beginning, to: [roomy, tight]}}
"
    );
    let mut config = parse(&text);
    if scarce {
        // Far below what a configuration may say.
        config.tail.group_memory = ByteSize(1);
    }
    config
}

fn parse(text: &str) -> Config {
    config::parse(text, "test", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config
}

/// The same with other words: the route has another name, and destinations and settings are in another order.
pub(super) fn renamed(config: &Config) -> Config {
    let mut other = config.clone();
    other.destinations.reverse();
    other.routes[0].to.reverse();
    let name = if config.routes[0].name.as_str() == "logs" { "others" } else { "logs" };
    other.routes[0].name = name.into();
    other.tail.max_line = ByteSize(config.tail.max_line.0 ^ 4096);
    other
}

/// Without the destination that has hardly any room.
pub(super) fn without_tight(config: &Config) -> Config {
    let mut other = config.clone();
    other.destinations.retain(|to| to.name.as_str() != "tight");
    other.routes[0].to.retain(|name| name.as_str() != "tight");
    other
}

impl Agent {
    /// As the process starts: nothing is read before the first checkpoint.
    pub(in crate::agent) fn start(config: &Config, now: Instant, wall: SystemTime) -> Self {
        let disk = HostDisk::shared();
        let (bell, totals) = (Bell::default(), Totals::default());
        let data_dir = DataDir::open(&*disk, &config.data_dir).unwrap();
        let State { tailer, appenders, chains, turn, budget, .. } =
            open::open(config, &data_dir, &disk, &bell, &PodStore::default(), now, wall).unwrap();
        let names: Vec<DestinationName> = config.destinations.iter().map(|to| to.name.clone()).collect();
        let plans = config.routes.iter().map(|route| plan(route, &names)).collect();
        let outs = chains.into_iter().map(|(queue, chain)| (queue.clone(), buffer::reader(&queue, chain)));
        let mut outs: Vec<(Queue, Reader)> = outs.collect();
        // In the order by which the test names them, whatever the configuration's.
        outs.sort_by_key(|(queue, _)| queue.name().clone());
        let letters = names.iter().map(|name| {
            let settings = DeadLetterSettings::default();
            DeadLetters::new(&config.data_dir, name.clone(), settings, Arc::clone(&disk))
        });
        let letters = letters.collect();
        let pipeline = Pipeline::new(
            tailer,
            plans,
            appenders,
            letters,
            config.tail.clone(),
            data_dir.node,
            "host".into(),
            turn,
            totals.clone(),
        );
        let work = Work::new(Arc::clone(&disk), data_dir.path.clone(), config.buffer.sync, totals.clone());
        let place = Place { data_dir: config.data_dir.clone(), disk, budget, bell };
        let mut agent = Self { pipeline, totals, work, outs, data_dir, place };
        agent.pipeline.scan(now, wall);
        agent.checkpoint(wall);
        agent
    }

    /// Another configuration counts from now on.
    pub(super) fn reload(&mut self, config: &Config, now: Instant, wall: SystemTime) {
        let there: Vec<DestinationName> = self.outs.iter().map(|(queue, _)| queue.name().clone()).collect();
        let fresh = self.place.open(config, &there).unwrap();
        self.pipeline.read_last(config, now, wall);
        let rewired = self.pipeline.rewire(config, "host".into(), fresh);
        self.outs.retain(|(queue, _)| !rewired.gone.contains(queue.name()));
        self.outs.extend(rewired.readers);
        self.outs.sort_by_key(|(queue, _)| queue.name().clone());
        self.pipeline.scan(now, wall);
        self.checkpoint(wall);
    }

    /// A look at all folders, and turns until there is nothing to do or no room.
    pub(in crate::agent) fn look(&mut self, now: Instant, wall: SystemTime) {
        self.pipeline.scan(now, wall);
        self.pipeline.look_at_blocked(now, wall);
        self.pipeline.take_lost(now);
        self.pipeline.retry_blocked(now);
        self.turns(now, wall);
        if self.pipeline.wants_names() {
            self.checkpoint(wall);
            self.turns(now, wall);
        }
        self.pipeline.retry_blocked(now);
        self.turns(now, wall);
    }

    fn turns(&mut self, now: Instant, wall: SystemTime) {
        while self.pipeline.turn(now, wall, false) {}
    }

    pub(in crate::agent) fn checkpoint(&mut self, wall: SystemTime) {
        let kept = self.work.keep(self.pipeline.snapshot(wall));
        assert!(kept.saved, "the disk is good");
        self.pipeline.kept(&kept);
    }

    /// The records that wait in a destination's buffer; they count as delivered.
    pub(in crate::agent) fn deliver(&mut self, destination: usize) -> Vec<Vec<u8>> {
        self.deliver_some(destination, usize::MAX)
    }

    /// The same, until so many bytes of records were taken.
    pub(in crate::agent) fn deliver_some(&mut self, destination: usize, bytes: usize) -> Vec<Vec<u8>> {
        let (queue, reader) = &mut self.outs[destination];
        let (mut records, mut taken) = (Vec::new(), 0);
        while taken < bytes
            && let Some(run) = reader.next_run().unwrap()
        {
            taken += (0..run.len()).map(|index| run.record(index).len()).sum::<usize>();
            records.extend((0..run.len()).map(|index| run.record(index).to_vec()));
            queue.ack(run.chunk(), &[run.ordinals()]).unwrap();
        }
        records
    }

    pub(super) fn node(&self) -> u128 {
        self.data_dir.node
    }

    pub(super) fn incarnations(&self) -> Vec<Incarnation> {
        self.pipeline.tailer.entries().map(|entry| entry.incarnation).collect()
    }

    /// SIGTERM.
    pub(super) fn stop(mut self, now: Instant, wall: SystemTime) {
        self.pipeline.read_deleted(now, wall);
        self.checkpoint(wall);
    }
}
