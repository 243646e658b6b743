//! From files to buffers, in one thread: each ready file gets its turn, a block at a time.
//!
//! A turn reads a block, decodes and encodes its lines, and appends one frame to the buffer of each of the file's
//! destinations: records and position together. Nothing of a line is kept between turns but a group that is
//! still open, and of that the position knows where it began.

mod amend;
mod append;
mod block;
mod blocked;
mod emit;
mod groups;
mod header;
mod lane;
mod measure;
mod pods;
mod rate;
mod repair;
mod replay;
mod rewire;
mod snapshot;
mod tapped;
mod unread;
mod wishes;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::time::{Instant, SystemTime};

#[cfg(test)]
pub(super) use self::block::BLOCK;
use self::block::{Scratch, Turn};
use self::groups::Groups;
use self::lane::{Branch, Cursor, Lane};
use self::pods::{PodOfLane, Pods};
use self::replay::Replaying;
pub(super) use self::replay::{Asker, recovered};
pub(super) use self::rewire::Rewired;
use self::unread::Unread;
use self::wishes::Joined;
pub(super) use self::wishes::Own;
use super::casualties::{Graves, Stake};
use super::open::nowhere;
use super::totals::{RouteTotals, Totals};
use crate::buffer::{Appender, DeadLetters};
use crate::decode::{Decoding, Marker};
use crate::encode::{Encoder, FileContext, Layout};
use crate::process::{Chain, Condition};
use crate::source::{Incarnation, RouteName};
use crate::tail::{Bucket, RateLimit, TailSettings, Tailer};
use crate::telemetry::tap::Taps;

/// What a route does with its files' lines.
pub(super) struct Plan {
    pub(super) name: RouteName,
    /// How they become messages.
    pub(super) decoding: Decoding,
    /// So many lines at the beginning of each file are no messages.
    pub(super) header_lines: u32,
    pub(super) chain: Chain,
    /// What its pods may say of their logs.
    pub(super) own: Own,
    /// How fast its files may be read.
    pub(super) rate: Option<RateLimit>,
    pub(super) layout: Layout,
    /// The indices of its destinations. Without any, lines are dropped and counted.
    pub(super) to: Vec<usize>,
    /// Those of them that get only messages of which a condition holds.
    pub(super) when: Vec<(usize, Condition)>,
}

/// The state of reading: plain code that is told the time and what happened.
pub(super) struct Pipeline {
    pub(super) tailer: Tailer,
    plans: Vec<Plan>,
    /// What each of them has read.
    routes: Vec<RouteTotals>,
    outs: Vec<Appender>,
    /// For each of them until when it is not tried, because the disk failed.
    paused: Vec<Option<Instant>>,
    lanes: HashMap<Incarnation, Lane>,
    /// Files in the order of their turns, and whether what waits for room is tried again then.
    ready: VecDeque<(Incarnation, bool)>,
    queued: HashSet<Incarnation>,
    /// Of each route what its files may read together.
    buckets: Vec<Option<Bucket>>,
    /// Files that have read more than they may, and until when they wait.
    limited: HashMap<Incarnation, Instant>,
    /// The process is about to end: nothing waits any more.
    hurried: bool,
    /// Where lines go that became no record.
    graves: Graves,
    /// Files that a destination without room holds back.
    blocked: HashSet<Incarnation>,
    /// Those of them that have a turn to come in which they are tried again.
    retries: HashSet<Incarnation>,
    /// Files with a group of lines that is still open.
    groups: Groups,
    /// Files whose incarnation is durable. No line of another is read: a power loss would take the incarnation
    /// back, and what was sent by then would be sent again with other record ids.
    named: HashSet<Incarnation>,
    /// Those of the snapshot that is being made durable.
    naming: Vec<Incarnation>,
    /// Files that wait for it.
    nameless: HashSet<Incarnation>,
    pods: Pods,
    scratch: Scratch,
    settings: TailSettings,
    node: u128,
    host: String,
    turn: u64,
    /// Something that a checkpoint has to know has changed.
    dirty: bool,
    /// When what is unread came.
    unread: HashMap<Incarnation, Unread>,
    totals: Totals,
    own_log: OwnLog,
    taps: Taps,
    replays: Vec<Replaying>,
}

/// The lines of kinetail's own log that are in followed files.
#[derive(Default)]
struct OwnLog {
    /// By what they are known, where they are to be left out.
    marker: Option<Marker>,
    /// Some were, and that was said.
    met: bool,
}

impl Pipeline {
    #[expect(clippy::too_many_arguments, reason = "built once, of all that it joins")]
    pub(super) fn new(
        tailer: Tailer,
        plans: Vec<Plan>,
        outs: Vec<Appender>,
        letters: Vec<DeadLetters>,
        settings: TailSettings,
        node: u128,
        host: String,
        turn: u64,
        totals: Totals,
    ) -> Self {
        Self {
            tailer,
            buckets: vec![None; plans.len()],
            limited: HashMap::new(),
            hurried: false,
            routes: plans.iter().map(|plan| totals.of_route(&plan.name)).collect(),
            plans,
            paused: vec![None; outs.len()],
            outs,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            queued: HashSet::new(),
            graves: Graves::new(node, letters),
            blocked: HashSet::new(),
            retries: HashSet::new(),
            groups: Groups::default(),
            named: HashSet::new(),
            naming: Vec::new(),
            nameless: HashSet::new(),
            pods: Pods::default(),
            scratch: Scratch::default(),
            settings,
            node,
            host,
            turn,
            dirty: true,
            unread: HashMap::new(),
            totals,
            own_log: OwnLog::default(),
            taps: Taps::default(),
            replays: Vec::new(),
        }
    }

    /// Leaves out the lines of kinetail's own log, which this marks: each that is delivered could be the cause of
    /// another.
    pub(super) fn leaving_out(mut self, own_log: Option<Marker>) -> Self {
        self.own_log.marker = own_log;
        self
    }

    /// Puts a file in the line of those that get a turn.
    pub(super) fn enqueue(&mut self, incarnation: Incarnation) {
        if self.queued.insert(incarnation) {
            self.ready.push_back((incarnation, false));
        }
    }

    /// A write was noticed at this path.
    pub(super) fn written(&mut self, path: &Path) {
        if let Some(incarnation) = self.tailer.written(path) {
            self.enqueue(incarnation);
        }
    }

    /// Looks at all folders. Returns those in which changes can happen.
    pub(super) fn scan(&mut self, now: Instant, wall: SystemTime) -> HashSet<std::path::PathBuf> {
        let files = self.tailer.entries().count();
        let scan = self.tailer.scan(now, wall);
        for incarnation in scan.ready {
            self.enqueue(incarnation);
        }
        for incarnation in scan.abandoned {
            self.lanes.remove(&incarnation);
            self.leave(incarnation);
        }
        // A group that was open when an earlier process ended is read again, though nothing more may come.
        let forgotten = self.tailer.with_open_groups().filter(|open| !self.lanes.contains_key(open));
        for incarnation in forgotten.collect::<Vec<_>>() {
            self.enqueue(incarnation);
        }
        self.count_changes();
        self.dirty |= files != self.tailer.entries().count();
        scan.folders
    }

    /// Looks at the journal's files, where a route reads them.
    pub(super) fn look_at_journals(&mut self, now: Instant, wall: SystemTime) {
        if self.tailer.reads_journals() {
            let looked = self.tailer.look_at_journals(now, wall);
            self.dirty |= looked.is_new;
            for incarnation in looked.gone {
                self.lanes.remove(&incarnation);
                self.leave(incarnation);
            }
            self.count_changes();
        }
    }

    /// Sequences of the journal's entries that have something to read get a turn.
    pub(super) fn journals_due(&mut self, now: Instant) {
        for incarnation in self.tailer.ready_journals(now) {
            self.enqueue(incarnation);
        }
    }

    pub(super) fn count_changes(&mut self) {
        let counts = self.tailer.take_counts();
        self.totals.rotations.inc_by(counts.rotations);
        self.totals.truncations.inc_by(counts.truncations);
        self.totals.vanished.inc_by(counts.vanished);
        self.totals.abandoned.inc_by(counts.abandoned);
        self.totals.abandoned_bytes.inc_by(counts.abandoned_bytes);
        self.totals.entries_gone.inc_by(counts.entries_gone);
        self.dirty |= counts != Default::default();
    }

    /// Gives the next ready file its turn. Returns whether there was one.
    ///
    /// With `to_end` the end of a file counts as its last: what has no newline is a line, and open groups come
    /// out. For files that nobody will read again, and for `--once`.
    pub(super) fn turn(&mut self, now: Instant, wall: SystemTime, to_end: bool) -> bool {
        let Some((incarnation, retry)) = self.ready.pop_front() else {
            self.tailer.caught_up();
            return false;
        };
        let queue = if retry { &mut self.retries } else { &mut self.queued };
        queue.remove(&incarnation);
        self.limited.remove(&incarnation);
        let Some(mut lane) = self.lanes.remove(&incarnation).or_else(|| self.lane(incarnation, now)) else {
            return true;
        };
        lane.retry = retry || self.hurried;
        self.refresh_pod(incarnation, &mut lane);
        let mut index = 0;
        let (mut more, mut ended) = (false, true);
        while index < lane.cursors.len() {
            match self.advance(incarnation, &mut lane, index, now, wall, to_end) {
                Turn::More => (more, ended) = (true, false),
                Turn::End => {}
                Turn::Blocked | Turn::Waits | Turn::Failed => ended = false,
                Turn::Replaced => {
                    self.replaced(incarnation, now, wall);
                    return true;
                }
            }
            let cursor = &lane.cursors[index];
            if cursor.ends_at(cursor.proof.end) {
                lane.cursors.remove(index);
            } else {
                index += 1;
            }
        }
        lane.merge();
        if ended && !lane.is_open() && self.tailer.has_ended(incarnation, now) {
            if self.tailer.finish(incarnation, wall) {
                self.leave(incarnation);
                return true;
            }
            more = true;
        }
        self.groups.note(incarnation, &lane);
        if lane.is_blocked() {
            self.blocked.insert(incarnation);
        } else {
            self.blocked.remove(&incarnation);
        }
        if !more {
            lane.cursors.iter_mut().for_each(|cursor| cursor.decoder.shrink());
        }
        self.lanes.insert(incarnation, lane);
        self.bound_groups();
        if more {
            self.enqueue(incarnation);
        }
        true
    }

    /// Makes the lane of a file that gets its first turn.
    fn lane(&mut self, incarnation: Incarnation, now: Instant) -> Option<Lane> {
        let path = self.tailer.entry(incarnation).filter(|entry| !entry.unrouted)?.path.clone();
        if !self.named.contains(&incarnation) {
            self.nameless.insert(incarnation);
            return None;
        }
        let pod = self.pod_of(incarnation, &path, now)?;
        let entry = self.tailer.entry(incarnation)?;
        let route = self.plans.iter().position(|plan| plan.name == entry.route)?;
        let further = entry.further.iter();
        let further = further.filter_map(|name| self.plans.iter().position(|plan| plan.name == *name));
        let routes: Vec<usize> = std::iter::once(route).chain(further).collect();
        let said = self.said(&routes, pod.as_ref(), None);
        let entry = self.tailer.entry(incarnation)?;
        let kubernetes = pod.as_ref().and_then(PodOfLane::in_conditions);
        let context = FileContext { path: &entry.path, host: &self.host, kubernetes };
        let branches: Vec<Branch> = routes
            .iter()
            .zip(said.chosen)
            .map(|(route, chosen)| {
                let plan = &self.plans[*route];
                let encoder = Encoder::with(plan.layout.clone(), self.node, incarnation, context);
                let is_first = plan.name == entry.route;
                let encoder = if is_first { encoder } else { encoder.under(&plan.name) };
                Branch { route: *route, encoder, chosen, wanted: true, nowhere: 0, excluded: 0 }
            })
            .collect();
        let stakes = stakes(&routes, &self.plans);
        let decoding = said.joined.as_ref().map_or(&self.plans[route].decoding, Joined::decoding);
        let mut outs: Vec<usize> = Vec::new();
        for out in routes.iter().flat_map(|route| &self.plans[*route].to) {
            if !outs.contains(out) {
                outs.push(*out);
            }
        }
        let mut cursors: Vec<Cursor> = Vec::new();
        for out in &outs {
            let name = self.outs[*out].queue().name();
            let Some(progress) = entry.progress.iter().find(|progress| progress.to == *name) else {
                continue;
            };
            match cursors.iter_mut().find(|cursor| cursor.position == progress.position) {
                Some(cursor) => cursor.to.push(*out),
                None => {
                    let position = progress.position.clone();
                    cursors.push(Cursor::at(vec![*out], position, entry.proof, decoding));
                }
            }
        }
        if outs.is_empty() {
            let read = entry.progress.iter().find(|progress| progress.to == nowhere())?;
            cursors.push(Cursor::at(Vec::new(), read.position.clone(), entry.proof, decoding));
        }
        let repairs = entry.repairs.clone();
        let lane = Lane {
            route,
            branches,
            pod,
            joined: said.joined.clone(),
            stakes,
            header_end: None,
            cursors,
            served: 0,
            retry: false,
            bucket: None,
        };
        self.lanes.insert(incarnation, lane);
        for repair in &repairs {
            self.add_repair(incarnation, repair);
        }
        self.lanes.remove(&incarnation)
    }

    /// Forgets what was kept for a file's next turn.
    fn leave(&mut self, incarnation: Incarnation) {
        self.blocked.remove(&incarnation);
        self.limited.remove(&incarnation);
        self.pods.forget(incarnation);
        self.groups.closed(incarnation);
        self.graves.forget(incarnation);
        self.dirty = true;
    }

    pub(super) fn replaced(&mut self, incarnation: Incarnation, now: Instant, wall: SystemTime) {
        self.leave(incarnation);
        for incarnation in self.tailer.replaced(incarnation, now, wall) {
            self.enqueue(incarnation);
        }
        self.count_changes();
    }

    /// Reads deleted files to their end, for a stop: nobody can read them later.
    pub(super) fn read_deleted(&mut self, now: Instant, wall: SystemTime) {
        self.read_to_end(self.tailer.deleted(), now, wall);
    }

    /// Reads all files to their end, as far as the buffers take it and until this time.
    pub(super) fn read_all(&mut self, until: Instant) {
        self.hurried = true;
        self.tailer.opened().into_iter().for_each(|incarnation| self.enqueue(incarnation));
        while Instant::now() < until && self.turn(Instant::now(), SystemTime::now(), true) {}
    }

    /// Reads these files to their end, and no others.
    fn read_to_end(&mut self, files: Vec<Incarnation>, now: Instant, wall: SystemTime) {
        let hurried = std::mem::replace(&mut self.hurried, true);
        self.ready.clear();
        self.retries.clear();
        self.queued.clear();
        files.into_iter().for_each(|incarnation| self.enqueue(incarnation));
        while self.turn(now, wall, true) {}
        self.hurried = hurried;
    }
}

/// Who loses a message on its way through each of the routes of a file. Of a file with one route it is everybody.
fn stakes(routes: &[usize], plans: &[Plan]) -> Vec<Stake> {
    if routes.len() == 1 {
        return vec![Stake::default()];
    }
    let later = |at: usize| routes[at..].iter().flat_map(|route| plans[*route].to.iter().copied()).collect();
    let stake = |(at, route): (usize, &usize)| Stake {
        further: (at > 0).then(|| plans[*route].name.clone()),
        failed: Some(plans[*route].to.clone()),
        panicked: Some(later(at)),
    };
    routes.iter().enumerate().map(stake).collect()
}
