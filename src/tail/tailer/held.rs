//! Files that only an open descriptor keeps: deleted ones that were not read to their end. They take room on a disk on
//! which nobody sees them, so there is a limit to it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Instant, SystemTime};

use tracing::{info, warn};

use super::super::checkpoint::Status;
use super::routing::progress;
use super::{Route, Tailer, Tracked, millis};
use crate::source::Incarnation;

/// The unit of a file's blocks, whatever its file system's is (stat(2)).
const BLOCK: u64 = 512;

impl Tailer {
    /// Files that were deleted: only their open descriptors still hold them.
    pub fn deleted(&self) -> Vec<Incarnation> {
        self.held().into_iter().map(|held| held.incarnation).collect()
    }

    /// Leaves deleted files, those first that did not grow the longest, while they take more than they may, or
    /// while others wait to be opened.
    pub(super) fn bound_held(&mut self, wall: SystemTime) -> Vec<Incarnation> {
        let mut held = self.held();
        held.sort_unstable_by_key(|held| (held.grew, held.incarnation));
        let mut bytes: u64 = held.iter().map(|held| held.on_disk).sum();
        let mut waiting = std::mem::take(&mut self.waiting);
        let mut abandoned = Vec::new();
        for held in held {
            if bytes <= self.settings.max_held_deleted.0 && waiting == 0 {
                break;
            }
            bytes -= held.on_disk;
            waiting = waiting.saturating_sub(1);
            // What was read to its end is left soon by itself, and nothing of it is lost.
            if held.unread > 0 {
                self.abandon(&held, wall, "tail.max_held_deleted or tail.max_open_files is reached");
                abandoned.push(held.incarnation);
            }
        }
        if waiting > 0 && !self.full {
            warn!(
                event = "too_many_files",
                open = self.open,
                waiting,
                "tail.max_open_files, or the system's limit, is \
                reached; the others wait until files are left"
            );
        } else if waiting == 0 && self.full {
            info!(event = "files_fit", open = self.open, "all files are open again");
        }
        self.full = waiting > 0;
        abandoned
    }

    /// Leaves deleted files of which it is not known under which routes they fall, for a stop: nobody can read them later.
    pub fn leave_unrouted(&mut self, wall: SystemTime) -> Vec<Incarnation> {
        let mut abandoned = Vec::new();
        for held in self.held() {
            let waits = self.files.get(&held.incarnation).is_some_and(Tracked::waits_for_route);
            if waits && held.unread > 0 {
                self.abandon(&held, wall, "it is not known which route takes it, and the process stops");
                abandoned.push(held.incarnation);
            }
        }
        abandoned
    }

    fn abandon(&mut self, held: &Held, wall: SystemTime, why: &str) {
        let Some(tracked) = self.files.get_mut(&held.incarnation) else { return };
        tracked.content = None;
        (tracked.entry.status, tracked.entry.vanished) = (Status::Finished, Some(millis(wall)));
        self.open -= 1;
        self.by_path.retain(|_, other| *other != held.incarnation);
        self.counts.abandoned += 1;
        self.counts.abandoned_bytes += held.unread;
        warn!(event = "file_abandoned", path = %tracked.entry.path.display(), route = %tracked.entry.route,
            unread_bytes = held.unread, on_disk = held.on_disk,
            "a deleted file was left before it was read to its end: {why}");
    }

    fn held(&self) -> Vec<Held> {
        self.files
            .iter()
            .filter_map(|(incarnation, tracked)| Held::of(*incarnation, tracked, &self.routes))
            .collect()
    }
}

/// A deleted file.
struct Held {
    incarnation: Incarnation,
    grew: Instant,
    /// The room that it takes.
    on_disk: u64,
    /// Bytes that some destination has not read; of a compressed file at least one.
    unread: u64,
}

impl Held {
    fn of(incarnation: Incarnation, tracked: &Tracked, routes: &[Route]) -> Option<Self> {
        let content = tracked.content.as_ref()?;
        let metadata: Metadata = content.metadata().ok().filter(|metadata| metadata.nlink() == 0)?;
        let read = progress(routes, &tracked.entry).map(|progress| progress.position.reread_from()).min();
        let unread = match read {
            _ if content.is_gzip() => 1,
            Some(read) => metadata.len().saturating_sub(read),
            None => 0,
        };
        Some(Self { incarnation, grew: tracked.grew, on_disk: metadata.blocks() * BLOCK, unread })
    }
}
