//! Another configuration, between two turns. What a file's next turn needs is made anew from where the file stands, as
//! after a restart; the files stay open, and the buffers are the same.

use std::time::{Instant, SystemTime};

use super::{Groups, Pipeline, Plan, recovered};
use crate::agent::open::{self, merge};
use crate::agent::parts::plan;
use crate::buffer::{self, Appender, DeadLetters, Opened, Queue, Reader};
use crate::config::Config;
use crate::source::DestinationName;
use crate::tail::Bucket;

/// What became of the destinations.
pub(in crate::agent) struct Rewired {
    /// The reading ends of the buffers that were opened.
    pub(in crate::agent) readers: Vec<(Queue, Reader)>,
    /// Destinations that the configuration does not know any more and of whose buffers nothing is left.
    pub(in crate::agent) gone: Vec<DestinationName>,
}

impl Pipeline {
    /// Goes on by another configuration. `fresh` are the buffers of destinations that there were none of; the others stay,
    /// also of destinations that are in no route any more, until they are empty.
    pub(in crate::agent) fn rewire(
        &mut self,
        config: &Config,
        host: String,
        fresh: Vec<(Opened, DeadLetters)>,
    ) -> Rewired {
        let before: Vec<DestinationName> = self.outs.iter().map(|out| out.queue().name().clone()).collect();
        let mut outs: Vec<(Appender, DeadLetters)> =
            std::mem::take(&mut self.outs).into_iter().zip(self.graves.take_letters()).collect();
        let mut found = Vec::new();
        let mut replays = self.replays();
        for (mut opened, letters) in fresh {
            self.turn = self.turn.max(opened.turn);
            recovered(opened.queue.name(), &mut opened.files, &mut replays);
            letters.take_back(&replays.iter().map(|replay| replay.incarnation).collect::<Vec<_>>());
            found.push((opened.queue.name().clone(), opened.files));
            outs.push((opened.appender, letters));
        }
        let mut gone = Vec::new();
        outs.retain_mut(|(out, _)| {
            let name = out.queue().name().clone();
            if config.destinations.iter().any(|to| to.name == name) {
                return true;
            }
            // Closed, what is in it can be let go once it is delivered.
            out.finish_chunk();
            let needed = !out.queue().is_empty()
                || replays.iter().any(|replay| replay.progress.to == name)
                || self.tailer.entries().flat_map(|entry| &entry.repairs).any(|repair| repair.to == name);
            if !needed {
                gone.push(name);
            }
            needed
        });
        let (outs, letters): (Vec<Appender>, Vec<DeadLetters>) = outs.into_iter().unzip();
        let names: Vec<DestinationName> = outs.iter().map(|out| out.queue().name().clone()).collect();
        let now_at: Vec<Option<usize>> =
            before.iter().map(|name| names.iter().position(|other| other == name)).collect();
        let mut paused = vec![None; outs.len()];
        for (until, out) in self.paused.iter().zip(&now_at) {
            out.iter().for_each(|out| paused[*out] = *until);
        }
        (self.outs, self.paused) = (outs, paused);
        self.graves.rewire(letters, &now_at);
        let plans: Vec<Plan> = config.routes.iter().map(|route| plan(route, &names)).collect();
        self.buckets = plans.iter().map(|plan| self.bucket_of(plan)).collect();
        self.routes = plans.iter().map(|plan| self.totals.of_route(&plan.name)).collect();
        self.plans = plans;
        self.begin_excluded();
        (self.settings, self.host) = (config.tail.clone(), host);
        self.forget_turns();
        self.take_over(&replays);
        // What this process knows of a file is newer than what an earlier one wrote of it.
        merge(config, &mut self.tailer, &found, u64::MAX, true, Instant::now());
        self.tailer.reroute(config.tail.clone(), open::routes(config, &self.pods.store));
        for incarnation in self.tailer.opened() {
            self.enqueue(incarnation);
        }
        self.dirty = true;
        let readers = found.iter().filter_map(|(name, _)| {
            let queue = self.outs.iter().map(Appender::queue).find(|queue| queue.name() == name)?;
            Some((queue.clone(), buffer::reader(queue, open::chain(&self.tailer, &replays, name))))
        });
        Rewired { readers: readers.collect(), gone }
    }

    /// Reads deleted files to their end that no route of another configuration takes: nobody can read them later.
    pub(in crate::agent) fn read_last(&mut self, config: &Config, now: Instant, wall: SystemTime) {
        let files = self.tailer.last_chance(&open::routes(config, &self.pods.store));
        self.read_to_end(files, now, wall);
    }

    /// What a route's files have read together counts on, as long as its limit is the same.
    fn bucket_of(&self, plan: &Plan) -> Option<Bucket> {
        let route = self.plans.iter().position(|before| before.name == plan.name)?;
        self.buckets[route].filter(|_| self.plans[route].rate == plan.rate)
    }

    fn forget_turns(&mut self) {
        self.lanes.clear();
        self.ready.clear();
        self.queued.clear();
        self.retries.clear();
        self.blocked.clear();
        self.limited.clear();
        self.groups = Groups::default();
        self.scratch.selected.clear();
    }
}
