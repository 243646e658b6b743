//! Files with open groups of lines: split lines that wait for their last part, within one bound for all of them.
//!
//! Above the bound the texts of those are given up whose last part came the longest ago. The groups themselves
//! stay open, at a few bytes each; when one ends, or has waited long enough, the file is read again from where it began.

use std::collections::HashMap;
use std::time::Instant;

use super::Pipeline;
use super::lane::Lane;
use crate::source::Incarnation;

/// Which files have open groups, and how many bytes of text these hold.
#[derive(Debug, Default)]
pub(super) struct Groups {
    files: HashMap<Incarnation, usize>,
    held: usize,
}

impl Groups {
    /// After a file's turn.
    pub(super) fn note(&mut self, incarnation: Incarnation, lane: &Lane) {
        self.closed(incarnation);
        if lane.is_open() {
            let held = lane.held();
            self.files.insert(incarnation, held);
            self.held += held;
        }
    }

    /// A file has none any more.
    pub(super) fn closed(&mut self, incarnation: Incarnation) {
        self.held -= self.files.remove(&incarnation).unwrap_or_default();
    }
}

impl Pipeline {
    /// Files of which an open group has waited long enough get a turn.
    pub(in crate::agent) fn flush_due(&mut self, now: Instant) {
        let age = self.settings.flush_after;
        let due = |lane: &Lane| {
            lane.cursors.iter().filter_map(|cursor| cursor.decoder.next_flush(age)).any(|due| due <= now)
        };
        let files = self.groups.files.keys();
        let due: Vec<Incarnation> =
            files.filter(|incarnation| self.lanes.get(*incarnation).is_some_and(due)).copied().collect();
        for incarnation in due {
            self.enqueue(incarnation);
        }
    }

    /// Gives up texts of open groups while they hold more than they may, down to half of that.
    pub(super) fn bound_groups(&mut self) {
        let most = self.settings.group_memory.0 as usize;
        if self.groups.held <= most {
            return;
        }
        let holds = self.groups.files.iter().filter(|(_, held)| **held > 0);
        let mut files: Vec<(Instant, Incarnation)> = holds
            .filter_map(|(incarnation, _)| {
                let cursors = self.lanes.get(incarnation)?.cursors.iter();
                Some((cursors.filter_map(|cursor| cursor.decoder.last_part()).max()?, *incarnation))
            })
            .collect();
        files.sort_unstable();
        for (_, incarnation) in files {
            if self.groups.held <= most / 2 {
                break;
            }
            if let Some(lane) = self.lanes.get_mut(&incarnation) {
                lane.cursors.iter_mut().for_each(|cursor| cursor.decoder.set_aside());
                self.groups.note(incarnation, lane);
                self.totals.groups_set_aside.inc();
            }
        }
    }
}
