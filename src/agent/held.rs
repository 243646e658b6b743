//! What the last durable checkpoint said of a destination whose buffer could not be made durable since.

use std::collections::HashMap;

use crate::source::{DestinationName, Incarnation, Mark};
use crate::tail::{Checkpoint, Progress, Repair, Status};

/// Said instead of what is in the buffer now, until all of that up to a mark was delivered.
pub(super) struct Held {
    /// Everything before it has to be delivered before the buffer counts again.
    pub(super) until: Mark,
    mark: Option<Mark>,
    first: Option<u64>,
    files: HashMap<Incarnation, (Option<Progress>, Vec<Repair>)>,
}

impl Held {
    /// By the last durable checkpoint.
    pub(super) fn new(name: &DestinationName, last: &Checkpoint, until: Mark) -> Self {
        let of = |entry: &crate::tail::Entry| {
            let progress = entry.progress.iter().find(|progress| progress.to == *name).cloned();
            (progress, entry.repairs.iter().filter(|repair| repair.to == *name).cloned().collect())
        };
        Self {
            until,
            mark: last.marks.get(name).copied(),
            first: last.first.get(name).copied(),
            files: last.files.iter().map(|entry| (entry.incarnation, of(entry))).collect(),
        }
    }

    /// Puts it in the place of what a newer checkpoint says of the destination.
    pub(super) fn restore(&self, name: &DestinationName, checkpoint: &mut Checkpoint) {
        match self.mark {
            Some(mark) => checkpoint.marks.insert(name.clone(), mark),
            None => checkpoint.marks.remove(name),
        };
        match self.first {
            Some(first) => checkpoint.first.insert(name.clone(), first),
            None => checkpoint.first.remove(name),
        };
        for entry in &mut checkpoint.files {
            let Some(now) = entry.progress.iter_mut().find(|progress| progress.to == *name) else { continue };
            let (before, repairs) = self.files.get(&entry.incarnation).cloned().unwrap_or_default();
            // A file that was met since began at its beginning.
            let before = before.unwrap_or_else(|| Progress::at(name.clone(), Default::default()));
            if before.position != now.position && entry.status == Status::Finished {
                // What was read to its end may have to be read again.
                (entry.status, entry.settled, entry.vanished) = (Status::Following, None, None);
            }
            *now = before;
            entry.repairs.retain(|repair| repair.to != *name);
            entry.repairs.extend(repairs);
        }
    }
}
