//! Records that buffers took are shown to those who look.

use std::time::Instant;

use super::Pipeline;
use super::block::Scratch;
use super::lane::Lane;
use crate::source::{DestinationName, Incarnation};
use crate::telemetry::tap::Taps;

/// A record that goes to a destination of its own choice: one with a condition, or of a file of several routes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Note {
    /// Which of the block's records it is.
    pub(super) record: usize,
    /// The branch of its file that made it.
    pub(super) branch: usize,
    pub(super) out: usize,
}

impl Pipeline {
    /// Who looks at records as they pass.
    pub(in crate::agent) fn shown_to(mut self, taps: Taps) -> Self {
        self.taps = taps;
        self
    }

    /// Nothing is read any more.
    pub(in crate::agent) fn show_no_more(&self) {
        self.taps.close();
    }

    /// Shows a block's records, but for what a destination did not take.
    pub(super) fn show(
        &self,
        incarnation: Incarnation,
        lane: &Lane,
        index: usize,
        stuck: &[usize],
        scratch: &Scratch,
        now: Instant,
    ) {
        let Some(entry) = self.tailer.entry(incarnation) else { return };
        let name = |out: usize| self.outs[out].queue().name();
        let took = |out: &usize| lane.cursors[index].to.contains(out) && !stuck.contains(out);
        let chosen = |out: &usize| scratch.selected.iter().any(|(other, _)| other == out);
        let all: Vec<&DestinationName> = lane.cursors[index]
            .to
            .iter()
            .filter(|out| took(out) && !chosen(out))
            .map(|out| name(*out))
            .collect();
        let of = |record: usize, to: &mut Vec<_>| {
            to.extend(&all);
            let first = scratch.notes.partition_point(|note| note.record < record);
            let notes = scratch.notes[first..].iter().take_while(|note| note.record == record);
            let mut branch = 0;
            for note in notes {
                branch = note.branch;
                if took(&note.out) {
                    to.push(name(note.out));
                }
            }
            &self.plans[lane.branches[branch].route].name
        };
        self.taps.pass(&entry.path, &scratch.records, of, now);
    }
}
