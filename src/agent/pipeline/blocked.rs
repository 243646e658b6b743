//! Files that a destination without room holds back: their log is its buffer until there is room, and then they take
//! turns.

use std::time::{Instant, SystemTime};

use super::Pipeline;
use super::lane::Lane;
use crate::source::Incarnation;

impl Pipeline {
    /// Whether a file waits for a checkpoint, for a destination that has no room, for its share of time, or for what
    /// another process reads.
    pub(in crate::agent) fn is_blocked(&self) -> bool {
        self.wants_names()
            || !self.limited.is_empty()
            || !self.blocked.is_empty()
            || self.tailer.awaits_journal()
    }

    /// Where there is room again, the files that waited for it get a turn, those first that had theirs the longest ago.
    pub(in crate::agent) fn retry_blocked(&mut self, now: Instant) {
        if self.blocked.is_empty() {
            return;
        }
        let room: Vec<bool> = (0..self.outs.len())
            .map(|out| self.may_take(out, 0, now) && self.outs[out].may_resume())
            .collect();
        let has_room = |lane: &Lane| {
            let blocked = lane.cursors.iter().filter(|cursor| cursor.blocked.is_some());
            blocked.flat_map(|cursor| &cursor.to).any(|out| room[*out])
        };
        let lanes =
            self.blocked.iter().filter_map(|incarnation| Some((*incarnation, self.lanes.get(incarnation)?)));
        let ready = lanes.filter(|(_, lane)| has_room(lane));
        let mut ready: Vec<_> = ready.map(|(incarnation, lane)| (lane.served, incarnation)).collect();
        ready.sort_unstable();
        for (_, incarnation) in ready {
            if self.retries.insert(incarnation) {
                self.ready.push_back((incarnation, true));
            }
        }
    }

    /// Looks whether any of them was emptied, while a copy of it may still be there. A compressed one is not emptied,
    /// and would have to be decompressed each time.
    pub(in crate::agent) fn look_at_blocked(&mut self, now: Instant, wall: SystemTime) {
        let blocked: Vec<Incarnation> = self.blocked.iter().copied().collect();
        for incarnation in blocked {
            if !self.tailer.is_compressed(incarnation) && self.tailer.is_replaced(incarnation) {
                self.lanes.remove(&incarnation);
                self.replaced(incarnation, now, wall);
            }
        }
    }

    /// Whether a destination that took no frame takes it now. What was read for it has to be read again.
    pub(super) fn may_take(&mut self, out: usize, room: u64, now: Instant) -> bool {
        self.paused[out].is_none_or(|until| until <= now)
            && self.outs[out].has_room(room)
            && self.graves.is_open(out, now)
    }
}
