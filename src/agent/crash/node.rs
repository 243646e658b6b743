//! A process without threads: what reads, what delivers and what makes durable, a step at a time.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::super::bell::Bell;
use super::super::data_dir::{DataDir, DataDirError};
use super::super::keeper::Work;
use super::super::open::{self, State};
use super::super::parts::plan;
use super::super::pipeline::Pipeline;
use super::super::totals::Totals;
use super::account::Account;
use crate::buffer::{self, DeadLetters, Queue, Reader};
use crate::config::Config;
use crate::disk::sim::SimDisk;
use crate::record::Run;
use crate::source::DestinationName;

/// A process.
pub(super) struct Node {
    pub(super) pipeline: Pipeline,
    pub(super) work: Work,
    outs: Vec<Out>,
    data_dir: DataDir,
    clock: Instant,
}

struct Out {
    queue: Queue,
    reader: Reader,
    under_way: Vec<Run>,
}

impl Node {
    /// Starts, and writes the first checkpoint: nothing is read before that is durable.
    pub(super) fn start(config: &Config, disk: &SimDisk) -> io::Result<Self> {
        let mut node = Self::open(config, disk)?;
        node.pipeline.scan(node.clock, SystemTime::now());
        if node.checkpoint() { Ok(node) } else { Err(io::Error::other("the first checkpoint failed")) }
    }

    /// Opens what an earlier process left.
    pub(super) fn open(config: &Config, disk: &SimDisk) -> io::Result<Self> {
        let disk = disk.shared();
        let (bell, totals) = (Bell::default(), Totals::default());
        let data_dir = DataDir::open(&*disk, &config.data_dir).map_err(|error| match error {
            DataDirError::Io { error, .. } => error,
            other => panic!("{other}"),
        })?;
        let clock = Instant::now();
        let State { tailer, appenders, chains, turn, replays, .. } =
            open::open(config, &data_dir, &disk, &bell, &Default::default(), clock, SystemTime::now())?;
        let names: Vec<DestinationName> = config.destinations.iter().map(|to| to.name.clone()).collect();
        let plans = config.routes.iter().map(|route| plan(route, &names)).collect();
        let outs = chains.into_iter().map(|(queue, chain)| Out {
            reader: buffer::reader(&queue, chain),
            queue,
            under_way: Vec::new(),
        });
        let outs = outs.collect();
        let letters = config.destinations.iter().map(|to| {
            DeadLetters::new(&data_dir.path, to.name.clone(), to.dead_letters.clone(), Arc::clone(&disk))
        });
        let letters = letters.collect();
        let (tail, node) = (config.tail.clone(), data_dir.node);
        let pipeline =
            Pipeline::new(tailer, plans, appenders, letters, tail, node, "host".into(), turn, totals.clone())
                .replaying(replays);
        let work = Work::new(Arc::clone(&disk), data_dir.path.clone(), config.buffer.sync, totals);
        Ok(Self { pipeline, work, outs, data_dir, clock })
    }

    /// What the agent's threads are made of.
    pub(super) fn into_parts(self) -> (Pipeline, Work, DataDir, Vec<Queue>) {
        (self.pipeline, self.work, self.data_dir, self.outs.into_iter().map(|out| out.queue).collect())
    }

    /// A look at all folders, and turns until there is nothing to do or no room.
    pub(super) fn look(&mut self) {
        self.pipeline.scan(self.clock, SystemTime::now());
        self.pipeline.take_lost(self.clock);
        self.pipeline.flush_due(self.clock);
        self.turns();
        if self.pipeline.wants_names() && self.checkpoint() {
            self.turns();
        }
        self.pipeline.look_at_blocked(self.clock, SystemTime::now());
        self.pipeline.retry_blocked(self.clock);
        self.turns();
    }

    fn turns(&mut self) {
        while self.pipeline.turn(self.clock, SystemTime::now(), false) {}
    }

    /// Makes durable what is there. Returns whether that worked.
    pub(super) fn checkpoint(&mut self) -> bool {
        let kept = self.work.keep(self.pipeline.snapshot(SystemTime::now()));
        self.pipeline.kept(&kept);
        kept.saved
    }

    /// Sends what a destination's buffer has.
    pub(super) fn send(&mut self, destination: usize, account: &mut Account) {
        let out = &mut self.outs[destination];
        while let Ok(Some(run)) = out.reader.next_run() {
            for index in 0..run.len() {
                account.sent(destination, run.record(index));
            }
            out.under_way.push(run);
        }
    }

    /// Some requests of those under way are answered, in any order: what `answered` picks of their number.
    pub(super) fn answer(
        &mut self,
        destination: usize,
        account: &mut Account,
        mut answered: impl FnMut(usize) -> Option<usize>,
    ) {
        let out = &mut self.outs[destination];
        while !out.under_way.is_empty()
            && let Some(index) = answered(out.under_way.len())
        {
            let run = out.under_way.remove(index);
            if out.queue.ack(run.chunk(), &[run.ordinals()]).is_ok() {
                for index in 0..run.len() {
                    account.acked(destination, &id_of(run.record(index)));
                }
            }
        }
    }

    /// What waits in a destination's buffer.
    pub(super) fn waiting(&self, destination: usize) -> u64 {
        self.outs[destination].queue.stats().records
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.clock += time;
    }
}

fn id_of(record: &[u8]) -> String {
    let record: serde_json::Value = serde_json::from_slice(record).expect("a record is JSON");
    record["record_id"].as_str().expect("every record has one").to_owned()
}
