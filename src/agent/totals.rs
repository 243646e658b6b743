//! What was done so far, for the summary and the metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter that one thread raises and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Raises it.
    pub fn add(&self, more: u64) {
        if more > 0 {
            self.0.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Sets it, for what goes up and down.
    pub fn set(&self, now: u64) {
        self.0.store(now, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Lines read.
    pub lines: Count,
    /// Bytes read.
    pub bytes: Count,
    /// Records encoded.
    pub records: Count,
    /// Lines that were longer than `max_line`.
    pub cut: Count,
    /// Lines that were not in their route's format.
    pub malformed: Count,
    /// Split lines that ended without their last part.
    pub unfinished: Count,
    /// Messages that were not valid UTF-8.
    pub invalid_utf8: Count,
    /// Parsed fields that carried a name of the record's own.
    pub renamed_fields: Count,
    /// Messages that a step could not be done on.
    pub step_failures: Count,
    /// Frames appended.
    pub frames: Count,
    /// Rotations seen.
    pub rotations: Count,
    /// Truncations seen.
    pub truncations: Count,
    /// Files that were gone before they were read to their end.
    pub vanished: Count,
    /// Parts of files read once more because a chunk was damaged.
    pub repairs: Count,
    /// Lost records that could not be read again, because their file is gone.
    pub unrepaired: Count,
    /// Checkpoints written.
    pub checkpoints: Count,
    /// Syncs or checkpoints that failed.
    pub sync_failures: Count,
    /// Files that are open now.
    pub open_files: Count,
    /// Bytes in them that some destination has not read yet.
    pub behind: Count,
}
