//! What the reading thread tells of itself: a table of its files when it is asked for one, and what it sees anyway.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bell::Bell;
use crate::telemetry::status::File;

/// A table that is no older than this is not made anew: whoever asks more often costs no more.
const FRESH: Duration = Duration::from_millis(500);
/// How long to wait for a new one. A thread that waits for the disk, or is stuck, tells nothing; the last table is
/// shown then.
const PATIENCE: Duration = Duration::from_secs(2);
/// Of a disk that could not be asked.
const UNKNOWN: u64 = u64::MAX;

/// Between the reading thread and those who look. Clones are the same.
#[derive(Clone)]
pub(super) struct Glance(Arc<Shared>);

struct Shared {
    bell: Bell,
    wanted: AtomicBool,
    following: AtomicBool,
    ended: AtomicBool,
    free: AtomicU64,
    table: Mutex<Table>,
    told: Condvar,
}

/// The files at one instant.
#[derive(Clone, Default)]
pub(super) struct Table {
    /// Those first that are the furthest behind.
    pub(super) files: Arc<Vec<File>>,
    /// When it was made; none before the first.
    pub(super) made: Option<Instant>,
}

impl Glance {
    /// Whose reading thread is woken by this bell.
    pub(super) fn new(bell: Bell) -> Self {
        Self(Arc::new(Shared {
            bell,
            wanted: AtomicBool::default(),
            following: AtomicBool::default(),
            ended: AtomicBool::default(),
            free: AtomicU64::new(UNKNOWN),
            table: Mutex::default(),
            told: Condvar::default(),
        }))
    }

    /// Whether somebody waits for a table; asked by the reading thread, once.
    pub(super) fn is_wanted(&self) -> bool {
        self.0.wanted.load(Ordering::Relaxed) && self.0.wanted.swap(false, Ordering::AcqRel)
    }

    /// The files as they are now, from the reading thread.
    pub(super) fn tell(&self, files: Vec<File>) {
        *self.table() = Table { files: Arc::new(files), made: Some(Instant::now()) };
        self.0.told.notify_all();
    }

    /// The same, and that there will be no other: reading has ended. Nobody waits for one any more.
    pub(super) fn tell_last(&self, files: Vec<File>) {
        self.0.ended.store(true, Ordering::Release);
        self.tell(files);
    }

    /// The first look at all folders is over, and where files begin is durable.
    pub(super) fn follows(&self) {
        self.0.following.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(super) fn is_following(&self) -> bool {
        self.0.following.load(Ordering::Acquire)
    }

    /// The bytes that are free on the disk of `data_dir`.
    pub(super) fn saw_free(&self, bytes: Option<u64>) {
        self.0.free.store(bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
    }

    /// As they were seen last.
    pub(super) fn free(&self) -> Option<u64> {
        Some(self.0.free.load(Ordering::Relaxed)).filter(|free| *free != UNKNOWN)
    }

    /// The files, as they are now if the reading thread tells in time. Waits; not for async code.
    pub(super) fn look(&self) -> Table {
        self.look_within(PATIENCE)
    }

    fn look_within(&self, patience: Duration) -> Table {
        let stale = |table: &mut Table| {
            !self.0.ended.load(Ordering::Acquire) && table.made.is_none_or(|made| made.elapsed() > FRESH)
        };
        let mut table = self.table();
        if stale(&mut table) {
            self.0.wanted.store(true, Ordering::Release);
            self.0.bell.ring();
            let told = self.0.told.wait_timeout_while(table, patience, stale);
            (table, _) = told.unwrap_or_else(PoisonError::into_inner);
        }
        table.clone()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> File {
        File { path: path.into(), ..File::default() }
    }

    #[test]
    fn who_looks_wakes_the_reading_thread_and_gets_what_it_tells() {
        let bell = Bell::default();
        let glance = Glance::new(bell.clone());
        let reading = {
            let glance = glance.clone();
            std::thread::spawn(move || {
                assert!(bell.wait(Duration::MAX));
                assert!(glance.is_wanted());
                glance.tell(vec![file("/a")]);
            })
        };
        let table = glance.look_within(Duration::MAX);
        assert_eq!(table.files[0].path, "/a");
        reading.join().unwrap();
        assert!(!glance.is_wanted());
    }

    #[test]
    fn nobody_waits_for_a_thread_that_has_told_its_last() {
        let glance = Glance::new(Bell::default());
        glance.tell_last(vec![file("/a")]);
        glance.table().made = None;
        assert_eq!(glance.look_within(Duration::MAX).files[0].path, "/a");
    }

    #[test]
    fn a_thread_that_tells_nothing_holds_nobody_up() {
        let glance = Glance::new(Bell::default());
        assert!(glance.look_within(Duration::ZERO).made.is_none());
        assert_eq!(glance.free(), None);
        glance.saw_free(Some(7));
        assert_eq!(glance.free(), Some(7));
    }
}
