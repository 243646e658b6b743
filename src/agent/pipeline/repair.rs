//! Lines whose records were lost with a damaged chunk are read once more.

use std::time::Instant;

use tracing::error;

use super::Pipeline;
use super::lane::Cursor;
use crate::source::Incarnation;
use crate::tail::Repair;
use crate::tail::identity::Proof;

impl Pipeline {
    /// Lines whose records were lost with a damaged chunk are read once more.
    pub(in crate::agent) fn take_lost(&mut self, now: Instant) {
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

    pub(super) fn add_repair(&mut self, incarnation: Incarnation, repair: &Repair) {
        let Some(index) = self.outs.iter().position(|out| *out.queue().name() == repair.to) else { return };
        let Some(lane) = self.lanes.get_mut(&incarnation) else { return };
        let decoding = lane.decoding(&self.plans);
        let cursor = Cursor::at(vec![index], repair.from.clone(), Proof::default(), decoding);
        lane.cursors.push(cursor.until(repair.until.clone()));
    }
}
