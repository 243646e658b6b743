//! A disk for tests that counts every operation, can fail or stop at any of them, and knows what a power loss
//! would leave.
//!
//! What a live process sees lies in a real folder, so that chunks can be mapped. Beside it stands what is durable:
//! for each file its bytes as of its last good sync and the pages written since, for each folder the changes
//! of names that were not synced. A kill keeps everything that was written; a power loss keeps what was synced
//! and of the rest any subset, page by page and name by name, drawn from a seed.

mod pages;
mod seam;
mod tests;
mod world;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rustix::io::Errno;

use self::seam::SimFile;
use self::world::World;
use super::{Disk, DiskFile};

/// What is done to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Create,
    Open,
    Rename,
    Remove,
    SyncFolder,
    CreateFolder,
    Write,
    Sync,
    SetLen,
    Reserve,
}

/// How it is with the disk, from one moment to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    #[default]
    Fine,
    /// Only what is reserved can be written.
    Full,
    /// The kernel has remounted it read-only.
    ReadOnly,
    /// Syncs fail, and what they should have written is dropped.
    SyncsFail,
    /// Nothing can be written, made durable or renamed.
    Broken,
}

/// The disk. Clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    world: Arc<Mutex<World>>,
    changed: Arc<Condvar>,
}

/// What a disk has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Operations that were tried.
    pub(crate) operations: u64,
    /// Those of them that failed.
    pub(crate) failures: u64,
    /// How often it was asked for its free room.
    pub(crate) looks: u64,
}

impl SimDisk {
    /// Over a folder; what is in it is durable.
    pub(crate) fn over(root: &Path, seed: u64) -> Self {
        let changed = Arc::<Condvar>::default();
        let mut world = World {
            changed: Arc::clone(&changed),
            root: root.to_owned(),
            rng: Rng::with_seed(seed),
            seen: Seen::default(),
            failing: None,
            weather: Weather::Fine,
            stop_at: None,
            fail_at: None,
            stopped: false,
            last: String::new(),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            free: u64::MAX / 2,
        };
        world.look();
        Self { world: Arc::new(Mutex::new(world)), changed }
    }

    /// As the seam that the stages take.
    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// How many operations were tried.
    pub(crate) fn ops(&self) -> u64 {
        self.world().seen.operations
    }

    /// The last operation that was tried, for messages.
    pub(crate) fn last(&self) -> String {
        self.world().last.clone()
    }

    /// The process dies in the operation of this number: of a write a part may still happen, and nothing after
    /// it does.
    pub(crate) fn stop_at(&self, op: u64) {
        self.world().stop_at = Some(op);
    }

    /// The operation of this number fails once: a write after a part of it, a sync with the loss of its pages.
    pub(crate) fn fail_at(&self, op: u64, error: Errno) {
        self.world().fail_at = Some((op, error));
    }

    /// Whether it came to where it was to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.world().stopped
    }

    /// Changes the weather.
    pub(crate) fn set(&self, weather: Weather) {
        self.world().weather = weather;
    }

    /// What the weather is.
    pub(crate) fn weather(&self) -> Weather {
        self.world().weather
    }

    /// Syncs of files below this folder fail, whatever the weather.
    pub(crate) fn fail_syncs_below(&self, folder: Option<&Path>) {
        self.world().failing = folder.map(Path::to_owned);
    }

    /// Waits until something happens that fits.
    pub(crate) fn wait_until(&self, happens: impl Fn(&Seen) -> bool) {
        let world = self.world();
        drop(self.changed.wait_while(world, |world| !happens(&world.seen)));
    }

    /// Says how much room is left.
    pub(crate) fn set_free(&self, free: u64) {
        self.world().free = free;
    }

    /// The process was killed; the next one sees everything that it wrote. What was not synced still is not.
    pub(crate) fn restart(&self) {
        let mut world = self.world();
        (world.stop_at, world.fail_at, world.stopped) = (None, None, false);
    }

    /// The power fails: the folder holds what was synced and some of the rest.
    pub(crate) fn lose_power(&self, seed: u64) {
        self.restart();
        self.world().lose_power(&mut Rng::with_seed(seed));
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, world: &World, inode: usize) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { disk: self.clone(), inode, file: Arc::clone(&world.inodes[inode].file) })
    }
}
