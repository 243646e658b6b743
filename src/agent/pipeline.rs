//! From files to buffers, in one thread: each ready file gets its turn, a block at a time.
//!
//! A turn reads a block, decodes and encodes its lines, and appends one frame to the buffer of each of the file's
//! destinations: records and position together. Nothing of a line is kept between turns but a group that is
//! still open, and of that the position knows where it began.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tracing::{debug, error, warn};

use super::casualties::{Casualties, Graves};
use super::keeper::{Kept, Snapshot};
use super::lane::{Cursor, Lane};
use super::totals::Totals;
use crate::buffer::{Append, Appender, Body, DeadLetters, Step};
use crate::decode::{Format, Limits};
use crate::encode::{self, Encoder, FileContext};
use crate::event::{Fields, Message};
use crate::kubernetes::Pod;
use crate::process::Chain;
use crate::record::Records;
use crate::source::{DestinationName, Incarnation, Position, RouteName};
use crate::tail::identity::Proof;
use crate::tail::{Checkpoint, Lines, ReadOutcome, Repair, TailSettings, Tailer};

/// What a turn reads at most. Large enough that a frame's fixed cost does not count, small enough that many
/// files get their turn soon.
pub(super) const BLOCK: usize = 256 << 10;
/// What a runtime puts in front of a line's text, generously.
const LINE_OVERHEAD: usize = 64 << 10;
/// Before a buffer that could not be written is tried again.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// What a route does with its files' lines.
pub(super) struct Plan {
    pub(super) name: RouteName,
    pub(super) format: Format,
    pub(super) chain: Chain,
    /// The indices of its destinations.
    pub(super) to: Vec<usize>,
}

/// The state of reading: plain code that is told the time and what happened.
pub(super) struct Pipeline {
    pub(super) tailer: Tailer,
    plans: Vec<Plan>,
    outs: Vec<Appender>,
    /// For each of them until when it is not tried, because the disk failed.
    paused: Vec<Option<Instant>>,
    lanes: HashMap<Incarnation, Lane>,
    ready: VecDeque<Incarnation>,
    queued: HashSet<Incarnation>,
    /// Where lines go that became no record.
    graves: Graves,
    /// Lanes with a group that is still open.
    grouping: HashSet<Incarnation>,
    /// Files whose incarnation is durable. No line of another is read: a power loss would take the incarnation
    /// back, and what was sent by then would be sent again with other record ids.
    named: HashSet<Incarnation>,
    /// Those of the snapshot that is being made durable.
    naming: Vec<Incarnation>,
    /// Files that wait for it.
    nameless: HashSet<Incarnation>,
    scratch: Scratch,
    settings: TailSettings,
    node: u128,
    host: String,
    turn: u64,
    /// Something that a checkpoint has to know has changed.
    dirty: bool,
    totals: Totals,
}

#[derive(Default)]
struct Scratch {
    block: Vec<u8>,
    records: Records,
    casualties: Casualties,
    fields: Fields<'static>,
    source: Vec<u8>,
}

/// Destinations that did not take a frame.
#[derive(Default)]
struct Stuck {
    to: Vec<usize>,
    /// The room that it takes, in bytes.
    room: u64,
}

/// What a turn of one cursor came to.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// There may be more right now.
    More,
    /// The end of the file as it is now.
    End,
    /// It cannot be read now.
    Failed,
    /// Nothing can be done until there is room.
    Blocked,
    /// The file is another now.
    Replaced,
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
            plans,
            paused: vec![None; outs.len()],
            outs,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            queued: HashSet::new(),
            graves: Graves::new(node, letters),
            grouping: HashSet::new(),
            named: HashSet::new(),
            naming: Vec::new(),
            nameless: HashSet::new(),
            scratch: Scratch::default(),
            settings,
            node,
            host,
            turn,
            dirty: true,
            totals,
        }
    }

    /// Puts a file in the line of those that get a turn.
    pub(super) fn enqueue(&mut self, incarnation: Incarnation) {
        if self.queued.insert(incarnation) {
            self.ready.push_back(incarnation);
        }
    }

    /// A write was noticed at this path.
    pub(super) fn written(&mut self, path: &Path) {
        if let Some(incarnation) = self.tailer.at(path) {
            self.enqueue(incarnation);
        }
    }

    /// Whether a file waits for a checkpoint, or for a destination that has no room.
    pub(super) fn is_blocked(&self) -> bool {
        self.wants_names()
            || self.lanes.values().any(|lane| lane.cursors.iter().any(|cursor| cursor.blocked.is_some()))
    }

    /// Files that a destination without room holds back get another try.
    pub(super) fn retry_blocked(&mut self) {
        let waiting: Vec<Incarnation> = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.cursors.iter().any(|cursor| cursor.blocked.is_some()))
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in waiting {
            self.enqueue(incarnation);
        }
    }

    /// Lanes whose open group has waited long enough.
    pub(super) fn flush_due(&mut self, now: Instant) {
        let age = self.settings.flush_after;
        let due = |lane: &Lane| {
            lane.cursors.iter().filter_map(|cursor| cursor.decoder.next_flush(age)).any(|due| due <= now)
        };
        let due: Vec<Incarnation> = self
            .grouping
            .iter()
            .filter(|incarnation| self.lanes.get(*incarnation).is_some_and(due))
            .copied()
            .collect();
        for incarnation in due {
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
        self.count_changes();
        self.dirty |= files != self.tailer.entries().count();
        scan.folders
    }

    fn count_changes(&mut self) {
        let counts = self.tailer.take_counts();
        self.totals.rotations.inc_by(counts.rotations);
        self.totals.truncations.inc_by(counts.truncations);
        self.totals.vanished.inc_by(counts.vanished);
        self.dirty |= counts != Default::default();
    }

    /// Lines whose records were lost with a damaged chunk are read once more.
    pub(super) fn take_lost(&mut self, now: Instant) {
        for index in 0..self.outs.len() {
            for lost in self.outs[index].queue().take_lost() {
                let to = self.outs[index].queue().name().clone();
                self.dirty = true;
                if !self.tailer.reopen(lost.incarnation, now) {
                    self.totals.unrepaired.inc_by(1);
                    error!(event = "lines_lost", destination = %to, incarnation = %lost.incarnation,
                        from = lost.from.offset, to = lost.to.offset,
                        "records were damaged in the buffer and their file is gone: these lines are lost");
                    continue;
                }
                self.totals.repairs.inc_by(1);
                let repair = Repair { to, from: lost.from, until: lost.to };
                if let Some(entry) = self.tailer.entry_mut(lost.incarnation) {
                    entry.repairs.push(repair.clone());
                }
                if self.lanes.contains_key(&lost.incarnation) {
                    self.add_repair(lost.incarnation, &repair);
                }
                self.enqueue(lost.incarnation);
            }
        }
    }

    fn add_repair(&mut self, incarnation: Incarnation, repair: &Repair) {
        let Some(index) = self.outs.iter().position(|out| *out.queue().name() == repair.to) else { return };
        let limits = self.limits();
        let Some(lane) = self.lanes.get_mut(&incarnation) else { return };
        let format = self.plans[lane.route].format;
        let mut cursor = Cursor::at(vec![index], repair.from.clone(), Proof::default(), format, limits);
        cursor.until = Some(repair.until.clone());
        lane.cursors.push(cursor);
    }

    /// Gives the next ready file its turn. Returns whether there was one.
    ///
    /// With `to_end` the end of a file counts as its last: what has no newline is a line, and open groups come
    /// out. For files that nobody will read again, and for `--once`.
    pub(super) fn turn(&mut self, now: Instant, wall: SystemTime, to_end: bool) -> bool {
        let Some(incarnation) = self.ready.pop_front() else {
            self.tailer.caught_up();
            return false;
        };
        self.queued.remove(&incarnation);
        let Some(mut lane) = self.lanes.remove(&incarnation).or_else(|| self.lane(incarnation)) else {
            return true;
        };
        let mut index = 0;
        let (mut more, mut ended) = (false, true);
        while index < lane.cursors.len() {
            match self.advance(incarnation, &mut lane, index, now, wall, to_end) {
                Turn::More => (more, ended) = (true, false),
                Turn::End => {}
                Turn::Blocked | Turn::Failed => ended = false,
                Turn::Replaced => {
                    self.replaced(incarnation, now, wall);
                    return true;
                }
            }
            let done = lane.cursors[index]
                .until
                .as_ref()
                .is_some_and(|until| lane.cursors[index].proof.end >= until.offset);
            if done {
                lane.cursors.remove(index);
            } else {
                index += 1;
            }
        }
        lane.merge();
        let open = lane.cursors.iter().any(|cursor| !cursor.decoder.open().is_empty());
        if ended && !open && self.tailer.has_ended(incarnation, now) {
            self.tailer.finish(incarnation, wall);
            self.grouping.remove(&incarnation);
            self.graves.forget(incarnation);
            self.dirty = true;
            return true;
        }
        if open {
            self.grouping.insert(incarnation);
        } else {
            self.grouping.remove(&incarnation);
        }
        if !more {
            lane.cursors.iter_mut().for_each(|cursor| cursor.decoder.shrink());
        }
        self.lanes.insert(incarnation, lane);
        if more {
            self.enqueue(incarnation);
        }
        true
    }

    /// Makes the lane of a file that gets its first turn.
    fn lane(&mut self, incarnation: Incarnation) -> Option<Lane> {
        let limits = self.limits();
        let entry = self.tailer.entry(incarnation)?;
        if !self.named.contains(&incarnation) {
            self.nameless.insert(incarnation);
            return None;
        }
        let route = self.plans.iter().position(|plan| plan.name == entry.route)?;
        let plan = &self.plans[route];
        let kubernetes = Pod::from_path(&entry.path).map(|pod| pod.fields());
        let context = FileContext { path: &entry.path, host: &self.host, kubernetes: kubernetes.as_ref() };
        let encoder = Encoder::new(self.node, incarnation, context);
        let mut cursors: Vec<Cursor> = Vec::new();
        for out in &plan.to {
            let name = self.outs[*out].queue().name();
            let Some(progress) = entry.progress.iter().find(|progress| progress.to == *name) else {
                continue;
            };
            match cursors.iter_mut().find(|cursor| cursor.position == progress.position) {
                Some(cursor) => cursor.to.push(*out),
                None => {
                    let position = progress.position.clone();
                    cursors.push(Cursor::at(vec![*out], position, entry.proof, plan.format, limits));
                }
            }
        }
        let repairs = entry.repairs.clone();
        self.lanes.insert(incarnation, Lane { route, encoder, cursors });
        for repair in &repairs {
            self.add_repair(incarnation, repair);
        }
        self.lanes.remove(&incarnation)
    }

    fn limits(&self) -> Limits {
        Limits { max_message: self.settings.max_line.0 as usize }
    }

    /// One block for one cursor: read, decode, encode, append.
    fn advance(
        &mut self,
        incarnation: Incarnation,
        lane: &mut Lane,
        index: usize,
        now: Instant,
        wall: SystemTime,
        to_end: bool,
    ) -> Turn {
        if let Some(room) = lane.cursors[index].blocked {
            let mut waiting = lane.cursors[index].to.clone();
            waiting.retain(|out| !self.may_take(*out, room, now));
            if waiting.len() == lane.cursors[index].to.len() {
                // The file is its buffer: that it was emptied must be seen while a copy is still there. A compressed
                // one is not emptied, and would have to be decompressed in every round.
                let replaced =
                    !self.tailer.is_compressed(incarnation) && self.tailer.is_replaced(incarnation);
                return if replaced { Turn::Replaced } else { Turn::Blocked };
            }
            lane.leave_behind(index, &waiting, room, self.plans[lane.route].format, self.limits());
        }
        lane.cursors[index].blocked = None;
        let mut scratch = std::mem::take(&mut self.scratch);
        let turn = loop {
            match self.block(incarnation, lane, index, now, wall, to_end, &mut scratch) {
                // What is read again up to the position, because a group was open, makes no frame of its own.
                Turn::More if lane.cursors[index].proof.end < lane.cursors[index].position.offset => {}
                turn => break turn,
            }
        };
        self.scratch = scratch;
        turn
    }

    /// Whether a destination that took no frame may take it now. What was read for it is read again then, so it is
    /// not enough that there is some room.
    fn may_take(&mut self, out: usize, room: u64, now: Instant) -> bool {
        self.paused[out].is_none_or(|until| until <= now)
            && self.outs[out].has_room(room)
            && self.graves.is_open(out, now)
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one turn")]
    fn block(
        &mut self,
        incarnation: Incarnation,
        lane: &mut Lane,
        index: usize,
        now: Instant,
        wall: SystemTime,
        to_end: bool,
        scratch: &mut Scratch,
    ) -> Turn {
        let limit = lane.limit(index);
        let max_line = self.settings.max_line.0 as usize + LINE_OVERHEAD;
        let cursor = &mut lane.cursors[index];
        let at = cursor.proof.end;
        let rereading = at < cursor.position.offset;
        let limit = if rereading { Some(cursor.position.offset) } else { limit };
        let mid_line = cursor.position.mid_line && !rereading;
        let mut room = limit.map_or(usize::MAX, |limit| (limit - at) as usize);
        let mut want = BLOCK.min(room);
        let (consumed, mid_line, full) = loop {
            let read = match self.tailer.read(incarnation, &cursor.proof, want, &mut scratch.block, now) {
                Ok(ReadOutcome::Bytes(read)) => read,
                Ok(ReadOutcome::Replaced) => return Turn::Replaced,
                Err(error) => {
                    let path =
                        self.tailer.entry(incarnation).map(|entry| entry.path.clone()).unwrap_or_default();
                    warn!(event = "read_failed", path = %path.display(), %error, "the file cannot be read; it is tried again");
                    return Turn::Failed;
                }
            };
            let full = read == want;
            let last = !full
                && !rereading
                && !cursor.is_repair()
                && (to_end || self.tailer.has_ended(incarnation, now));
            scratch.records.clear();
            scratch.casualties.clear();
            let mut lines = Lines::new(&scratch.block, at, mid_line, max_line, last);
            let plan = &self.plans[lane.route];
            let time_read = encode::time_read(wall);
            let mut emit = Emit {
                encoder: &mut lane.encoder,
                chain: &plan.chain,
                records: &mut scratch.records,
                fields: &mut scratch.fields,
                time_read: &time_read,
            };
            let casualties = &mut scratch.casualties;
            let count = casualties.lines(&mut lines, |casualties, line| {
                cursor.decoder.line(line.offset, line.bytes, line.cut, now, |message| {
                    casualties.message(&message, |message| emit.message(message));
                });
            });
            let consumed = lines.consumed();
            if consumed == 0 && full {
                // A line that is longer than what was read, or that another cursor took without its newline.
                if want == room {
                    room = usize::MAX;
                }
                want = (want * 4).clamp(BLOCK, max_line + 1).min(room);
                continue;
            }
            casualties.rest(|casualties| {
                cursor.decoder.flush_older_than(now, self.settings.flush_after, |message| {
                    casualties.message(&message, |message| emit.message(message));
                });
                if last {
                    cursor.decoder.flush(|message| {
                        casualties.message(&message, |message| emit.message(message));
                    });
                }
            });
            if rereading {
                // They are dead letters already.
                casualties.clear();
            } else {
                self.totals.lines.inc_by(count);
                self.totals.bytes.inc_by(consumed as u64);
            }
            break (consumed, lines.mid_line(), full);
        };
        self.count(lane, index);
        let cursor = &mut lane.cursors[index];
        let end = at + consumed as u64;
        let proof = if consumed == 0 { cursor.proof } else { Proof::of(&scratch.block[..consumed], end) };
        let position = Position { offset: end, mid_line, open: cursor.decoder.open() };
        if rereading && end < cursor.position.offset {
            cursor.proof = proof;
            return if consumed == 0 { Turn::End } else { Turn::More };
        }
        if position == cursor.position && scratch.records.is_empty() && scratch.casualties.is_empty() {
            cursor.proof = proof;
            return if full && consumed > 0 { Turn::More } else { Turn::End };
        }
        self.dirty = true;
        let Stuck { to, room } =
            self.append(incarnation, &lane.cursors[index], &position, proof, scratch, now, wall);
        // They stay where they are; the log file is their buffer until there is room.
        if !lane.leave_behind(index, &to, room, self.plans[lane.route].format, self.limits()) {
            return Turn::Blocked;
        }
        let cursor = &mut lane.cursors[index];
        cursor.position = position;
        cursor.proof = proof;
        if full && consumed > 0 { Turn::More } else { Turn::End }
    }

    /// Appends what a block made to the buffers of the cursor's destinations, and moves their positions. Returns
    /// those that did not take it.
    #[expect(clippy::too_many_arguments, reason = "the state of one turn")]
    fn append(
        &mut self,
        incarnation: Incarnation,
        cursor: &Cursor,
        position: &Position,
        proof: Proof,
        scratch: &mut Scratch,
        now: Instant,
        wall: SystemTime,
    ) -> Stuck {
        let mut stuck = Stuck::default();
        let Some(entry) = self.tailer.entry_mut(incarnation) else { return stuck };
        let furthest = entry.proof;
        if proof.end > entry.proof.end {
            entry.proof = proof;
        }
        let records = &scratch.records;
        scratch.source.clear();
        if !records.is_empty() {
            self.turn += 1;
            let bare = crate::tail::Entry { progress: Vec::new(), repairs: Vec::new(), ..entry.clone() };
            serde_json::to_writer(&mut scratch.source, &bare)
                .expect("an entry is always JSON, and memory takes it");
        }
        let body = Body::new(&scratch.source, records);
        for out in &cursor.to {
            // Before the position passes them.
            let casualties = &scratch.casualties;
            if !casualties.is_empty()
                && !self.graves.bury(*out, incarnation, &entry.path, casualties, now, wall)
            {
                stuck.to.push(*out);
                continue;
            }
            let appender = &mut self.outs[*out];
            let name = appender.queue().name().clone();
            let repair = entry
                .repairs
                .iter()
                .position(|repair| cursor.is_repair() && repair.to == name && repair.from == cursor.position);
            let progress = entry.progress.iter_mut().find(|progress| progress.to == name);
            if !records.is_empty() {
                let from = match (&progress, cursor.is_repair()) {
                    (Some(progress), false) => &progress.buffered,
                    _ => &cursor.position,
                };
                let step =
                    Step { turn: self.turn, incarnation, from, to: position, repair: cursor.is_repair() };
                match appender.append(&body, &step, wall) {
                    Append::Done => {
                        self.paused[*out] = None;
                        self.totals.frames.inc();
                    }
                    Append::Full(room) => {
                        stuck.room = stuck.room.max(room);
                        debug!(event = "buffer_full", destination = %name, "no room in the buffer; its log files wait");
                        stuck.to.push(*out);
                        continue;
                    }
                    Append::Failed(error) => {
                        error!(event = "append_failed", destination = %name, %error, "the buffer cannot be written; it is tried again");
                        self.paused[*out] = Some(now + DISK_PAUSE);
                        stuck.to.push(*out);
                        continue;
                    }
                }
            }
            if !casualties.is_empty() {
                self.graves.passed(*out, incarnation);
            }
            if let Some(index) = repair {
                if cursor.until.as_ref().is_some_and(|until| position.offset >= until.offset) {
                    entry.repairs.remove(index);
                } else {
                    entry.repairs[index].from = position.clone();
                }
            } else if let Some(progress) = progress
                && !cursor.is_repair()
            {
                progress.position = position.clone();
                if !records.is_empty() {
                    progress.buffered = position.clone();
                }
            }
        }
        if stuck.to.len() == cursor.to.len() {
            entry.proof = furthest;
        } else {
            self.totals.records.inc_by(records.len() as u64);
        }
        stuck
    }

    fn replaced(&mut self, incarnation: Incarnation, now: Instant, wall: SystemTime) {
        self.grouping.remove(&incarnation);
        self.graves.forget(incarnation);
        self.dirty = true;
        for incarnation in self.tailer.replaced(incarnation, now, wall) {
            self.enqueue(incarnation);
        }
        self.count_changes();
    }

    fn count(&mut self, lane: &mut Lane, index: usize) {
        let decoded = lane.cursors[index].decoder.take_counts();
        self.totals.malformed.inc_by(decoded.malformed);
        self.totals.cut.inc_by(decoded.cut);
        self.totals.unfinished.inc_by(decoded.unfinished);
        let encoded = lane.encoder.take_counts();
        self.totals.invalid_utf8.inc_by(encoded.invalid_utf8);
        self.totals.renamed_fields.inc_by(encoded.renamed_fields);
        for failures in self.plans[lane.route].chain.take_failures() {
            self.totals.step_failures.inc_by(failures.count);
        }
    }

    /// Reads deleted files to their end, for a stop: nobody can read them later.
    pub(super) fn read_deleted(&mut self, now: Instant, wall: SystemTime) {
        self.ready.clear();
        self.queued.clear();
        for incarnation in self.tailer.deleted() {
            self.enqueue(incarnation);
        }
        while self.turn(now, wall, true) {}
    }

    /// Whether a checkpoint would say more than the last one.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.dirty || self.outs.iter().any(|out| out.queue().wants_checkpoint())
    }

    /// Whether files wait for a checkpoint that knows them.
    pub(super) fn wants_names(&self) -> bool {
        !self.nameless.is_empty()
    }

    /// Whether a buffer could take more if a checkpoint let chunks go.
    pub(super) fn wants_release(&self) -> bool {
        self.outs.iter().any(|out| out.queue().wants_release())
    }

    /// Measures what takes a look at every file.
    pub(super) fn measure(&self) {
        self.totals.open_files.set(self.tailer.open_files() as i64);
        self.totals.behind.set(i64::try_from(self.tailer.behind()).unwrap_or(i64::MAX));
    }

    /// Everything as it is now, between two turns.
    pub(super) fn snapshot(&mut self, wall: SystemTime) -> Snapshot {
        self.dirty = false;
        self.tailer.forget(wall);
        let mut points = Vec::new();
        let mut marks: BTreeMap<DestinationName, _> = BTreeMap::new();
        let mut first: BTreeMap<DestinationName, _> = BTreeMap::new();
        for out in &self.outs {
            let queue = out.queue().clone();
            let point = queue.sync_point();
            for (incarnation, position) in &point.delivered {
                let progress = self.tailer.entry_mut(*incarnation).and_then(|entry| {
                    entry.progress.iter_mut().find(|progress| progress.to == *queue.name())
                });
                if let Some(progress) = progress {
                    progress.delivered = position.clone();
                }
            }
            marks.insert(queue.name().clone(), point.mark);
            first.insert(queue.name().clone(), point.first);
            points.push((queue, point));
        }
        self.naming = self.tailer.entries().map(|entry| entry.incarnation).collect();
        let saved = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis() as u64;
        let checkpoint = Checkpoint {
            saved,
            turn: self.turn,
            known_until: self.tailer.known_until(),
            routes: self.tailer.started().cloned().collect(),
            marks,
            first,
            files: self.tailer.entries().cloned().collect(),
        };
        Snapshot { checkpoint, points }
    }

    /// What became of a snapshot.
    pub(super) fn kept(&mut self, kept: &Kept) {
        self.dirty |= !kept.saved;
        if kept.saved {
            self.named = self.naming.drain(..).collect();
            for incarnation in std::mem::take(&mut self.nameless) {
                self.enqueue(incarnation);
            }
        }
        for out in &mut self.outs {
            if kept.failed.contains(out.queue().name()) {
                out.finish_chunk();
            }
        }
    }
}

/// Where decoded messages go.
struct Emit<'a> {
    encoder: &'a mut Encoder,
    chain: &'a Chain,
    records: &'a mut Records,
    fields: &'a mut Fields<'static>,
    time_read: &'a str,
}

impl Emit<'_> {
    fn message(&mut self, message: &Message<'_>) {
        let Self { encoder, chain, records, fields, time_read } = self;
        if chain.is_empty() {
            records.push_with(|out| {
                encoder.encode(message, time_read, out);
                true
            });
            return;
        }
        let processed = chain.run(message, std::mem::take(*fields));
        records.push_with(|out| {
            encoder.encode_fields(message, &processed, time_read, out);
            true
        });
        **fields = processed.recycle();
    }
}
