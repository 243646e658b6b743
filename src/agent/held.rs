//! What the last durable checkpoint said of a destination whose buffer could not be made durable since.

use std::collections::HashMap;
use std::path::Path;

use crate::source::{DestinationName, Incarnation, Mark};
use crate::tail::checkpoint::Loaded;
use crate::tail::{Checkpoint, Entry, Progress, Repair, Status, checkpoint};

/// Said instead of what is in the buffer now, until all of that up to a mark was delivered.
pub(super) struct Held {
    /// Everything before it has to be delivered before the buffer counts again.
    pub(super) until: Mark,
    /// None while the last checkpoint cannot be read.
    said: Option<Said>,
}

struct Said {
    mark: Option<Mark>,
    first: Option<u64>,
    files: HashMap<Incarnation, (Option<Progress>, Vec<Repair>)>,
    replays: HashMap<Incarnation, Progress>,
}

impl Held {
    /// From now on.
    pub(super) fn new(until: Mark) -> Self {
        Self { until, said: None }
    }

    /// Puts what the last durable checkpoint said of the destination in the place of what a newer one says.
    /// Returns whether that is known; if not, the newer one must not be written.
    pub(super) fn restore(
        &mut self,
        name: &DestinationName,
        data_dir: &Path,
        newer: &mut Checkpoint,
    ) -> bool {
        if self.said.is_none()
            && let Ok(Loaded::Checkpoint(last)) = checkpoint::load(data_dir)
        {
            self.said = Some(Said::by(name, &last));
        }
        if let Some(said) = &self.said {
            said.restore(name, newer);
        }
        self.said.is_some()
    }
}

impl Said {
    fn by(name: &DestinationName, last: &Checkpoint) -> Self {
        let of = |entry: &Entry| {
            let progress = entry.progress.iter().find(|progress| progress.to == *name).cloned();
            (progress, entry.repairs.iter().filter(|repair| repair.to == *name).cloned().collect())
        };
        Self {
            mark: last.marks.get(name).copied(),
            first: last.first.get(name).copied(),
            files: last.files.iter().map(|entry| (entry.incarnation, of(entry))).collect(),
            replays: last.replays.iter().map(|it| (it.incarnation, it.progress.clone())).collect(),
        }
    }

    fn restore(&self, name: &DestinationName, checkpoint: &mut Checkpoint) {
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
                (entry.status, entry.vanished, entry.settled) = (Status::Following, None, None);
            }
            *now = before;
            entry.repairs.retain(|repair| repair.to != *name);
            entry.repairs.extend(repairs);
        }
        for replay in checkpoint.replays.iter_mut().filter(|replay| replay.progress.to == *name) {
            let before = self.replays.get(&replay.incarnation).cloned();
            replay.progress = before.unwrap_or_else(|| Progress::at(name.clone(), Default::default()));
        }
    }
}
