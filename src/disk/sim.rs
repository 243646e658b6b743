//! A disk for tests that counts every operation, can fail or stop at any of them, and knows what a power loss
//! would leave.
//!
//! What a live process sees lies in a real folder, so that chunks can be mapped. Beside it stands what is durable:
//! for each file its bytes as of its last good sync and the pages written since, for each folder the changes
//! of names that were not synced. A kill keeps everything that was written; a power loss keeps what was synced
//! and of the rest any subset, page by page and name by name, drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rustix::io::Errno;

use super::{Disk, DiskFile, above};

const PAGE: u64 = 4096;

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

#[derive(Debug)]
struct World {
    changed: Arc<Condvar>,
    root: PathBuf,
    rng: Rng,
    seen: Seen,
    weather: Weather,
    stop_at: Option<u64>,
    fail_at: Option<(u64, Errno)>,
    stopped: bool,
    /// The last operation, for messages.
    last: String,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    unsynced_names: Vec<Change>,
    free: u64,
    failing: Option<PathBuf>,
}

#[derive(Debug)]
struct Inode {
    file: Arc<File>,
    durable: Vec<u8>,
    /// Pages that the kernel will still write.
    dirty: BTreeSet<u64>,
    len_dirty: bool,
    reserved: u64,
}

/// A change of names, in the order in which they were made.
#[derive(Clone, Debug)]
enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: usize,
    file: Arc<File>,
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

impl World {
    /// Takes what lies in the folder for durable.
    fn look(&mut self) {
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.expect("a folder of the test").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                self.known(&path).expect("a file of the test");
            }
        }
    }

    fn inode(&mut self, file: File) -> usize {
        self.inodes.push(Inode {
            file: Arc::new(file),
            durable: Vec::new(),
            dirty: BTreeSet::new(),
            len_dirty: false,
            reserved: 0,
        });
        self.inodes.len() - 1
    }

    /// The file of a name; one that a test put there by hand is durable as it is.
    fn known(&mut self, path: &Path) -> io::Result<usize> {
        if let Some(inode) = self.names.get(path) {
            return Ok(*inode);
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let inode = self.inode(file);
        self.inodes[inode].durable = fs::read(path)?;
        self.names.insert(path.to_owned(), inode);
        self.durable_names.insert(path.to_owned(), inode);
        Ok(inode)
    }

    /// Counts an operation. An error if it is not to happen; `Some` of an error if a part of it may.
    fn begin(&mut self, op: Op, of: &Path) -> io::Result<Option<Errno>> {
        let failed = self.judge(op, of);
        self.seen.failures += u64::from(!matches!(failed, Ok(None)));
        self.changed.notify_all();
        failed
    }

    fn judge(&mut self, op: Op, of: &Path) -> io::Result<Option<Errno>> {
        if self.stopped {
            return Err(io::Error::other("the process is dead"));
        }
        self.seen.operations += 1;
        let name = of.strip_prefix(&self.root).unwrap_or(of);
        self.last = format!("{op:?} {} (operation {})", name.display(), self.seen.operations);
        if self.stop_at == Some(self.seen.operations) {
            self.stopped = true;
            return Ok(Some(Errno::IO));
        }
        if let Some((_, error)) = self.fail_at.filter(|(at, _)| *at == self.seen.operations) {
            return Ok(Some(error));
        }
        if op == Op::Sync && self.failing.as_ref().is_some_and(|folder| of.starts_with(folder)) {
            return Ok(Some(Errno::IO));
        }
        let harmless = matches!(op, Op::Open);
        Ok(match self.weather {
            Weather::Full if matches!(op, Op::Create | Op::Reserve | Op::CreateFolder) => Some(Errno::NOSPC),
            Weather::ReadOnly if !harmless => Some(Errno::ROFS),
            Weather::SyncsFail if matches!(op, Op::Sync | Op::SyncFolder) => Some(Errno::IO),
            Weather::Broken if !harmless => Some(Errno::IO),
            _ => None,
        })
    }

    /// An operation that happens as a whole or not at all.
    fn whole(&mut self, op: Op, of: &Path) -> io::Result<()> {
        self.begin(op, of)?.map_or(Ok(()), |error| Err(error.into()))
    }

    fn lose_power(&mut self, rng: &mut Rng) {
        let mut kept = std::mem::take(&mut self.durable_names);
        for change in std::mem::take(&mut self.unsynced_names) {
            if rng.bool() {
                change.apply(&mut kept);
            }
        }
        let contents: BTreeMap<PathBuf, Vec<u8>> = kept
            .iter()
            .map(|(path, inode)| (path.clone(), self.inodes[*inode].after_power_loss(rng)))
            .collect();
        for path in self.names.keys() {
            fs::remove_file(path).expect("a file of the test");
        }
        for (path, content) in contents {
            fs::write(path, content).expect("a file of the test");
        }
        self.names.clear();
        self.inodes.clear();
        self.look();
    }
}

impl Change {
    fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Create(path, _) | Self::Remove(path) => vec![above(path)],
            Self::Rename(from, to, _) => vec![above(from), above(to)],
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Create(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
            Self::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

impl Inode {
    fn len(&self) -> u64 {
        self.file.metadata().expect("an open file").len()
    }

    fn page(&self, page: u64) -> Vec<u8> {
        let mut bytes = vec![0; PAGE as usize];
        let read = self.file.read_at(&mut bytes, page * PAGE).expect("an open file");
        bytes.truncate(read);
        bytes
    }

    fn write(&mut self, bytes: &[u8], offset: u64) {
        self.file.write_all_at(bytes, offset).expect("the folder of the test takes it");
        if !bytes.is_empty() {
            self.dirty.extend(offset / PAGE..=(offset + bytes.len() as u64 - 1) / PAGE);
            self.len_dirty = true;
        }
    }

    fn sync(&mut self) {
        let len = self.len() as usize;
        self.durable.resize(len, 0);
        for page in std::mem::take(&mut self.dirty) {
            let bytes = self.page(page);
            overlay(&mut self.durable, &bytes, page);
        }
        self.len_dirty = false;
    }

    /// A failed sync: the pages count as clean, and are not on the disk.
    fn drop_pages(&mut self) {
        self.dirty.clear();
    }

    fn after_power_loss(&self, rng: &mut Rng) -> Vec<u8> {
        let mut content = self.durable.clone();
        if self.len_dirty && rng.bool() {
            content.resize(self.len() as usize, 0);
        }
        for page in &self.dirty {
            if rng.bool() {
                overlay(&mut content, &self.page(*page), *page);
            }
        }
        content
    }
}

/// Puts a page into content, as far as that reaches.
fn overlay(content: &mut [u8], bytes: &[u8], page: u64) {
    let start = content.len().min((page * PAGE) as usize);
    let len = bytes.len().min(content.len() - start);
    content[start..start + len].copy_from_slice(&bytes[..len]);
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.whole(Op::Create, path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let inode = world.inode(file);
        world.names.insert(path.to_owned(), inode);
        world.unsynced_names.push(Change::Create(path.to_owned(), inode));
        Ok(self.file(&world, inode))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.world();
        world.whole(Op::Open, path)?;
        let inode = world.known(path)?;
        Ok(self.file(&world, inode))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.whole(Op::Rename, to)?;
        if from.is_dir() {
            // A test made it; nobody asks for its durability.
            return fs::rename(from, to);
        }
        let inode = world.known(from)?;
        fs::rename(from, to)?;
        world.names.remove(from);
        world.names.insert(to.to_owned(), inode);
        world.unsynced_names.push(Change::Rename(from.to_owned(), to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.whole(Op::Remove, path)?;
        fs::remove_file(path)?;
        world.names.remove(path);
        world.unsynced_names.push(Change::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut world = self.world();
        let failed = world.begin(Op::SyncFolder, folder)?;
        if world.stopped {
            return Err(Errno::IO.into());
        }
        let changes = std::mem::take(&mut world.unsynced_names);
        let (synced, rest) = changes.into_iter().partition(|change| change.folders().contains(&folder));
        world.unsynced_names = rest;
        let synced: Vec<Change> = synced;
        match failed {
            Some(error) => Err(error.into()),
            None => {
                synced.iter().for_each(|change| change.apply(&mut world.durable_names));
                Ok(())
            }
        }
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            return Ok(());
        }
        self.world().whole(Op::CreateFolder, folder)?;
        fs::create_dir_all(folder)
    }

    fn free(&self, _: &Path) -> io::Result<u64> {
        let mut world = self.world();
        world.seen.looks += 1;
        world.changed.notify_all();
        Ok(world.free)
    }
}

impl SimFile {
    fn path(&self, world: &World) -> PathBuf {
        let name = world.names.iter().find(|(_, inode)| **inode == self.inode);
        name.map_or_else(|| "a removed file".into(), |(path, _)| path.clone())
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let bytes = parts.concat();
        let path = self.path(&world);
        let mut failed = world.begin(Op::Write, &path)?;
        let full = world.weather == Weather::Full;
        let mut most = bytes.len();
        if failed.is_some() {
            most = world.rng.usize(..=most);
        }
        let inode = &mut world.inodes[self.inode];
        if full && failed.is_none() {
            // What is there already or reserved has its blocks.
            let room = inode.reserved.max(inode.len().next_multiple_of(PAGE)).saturating_sub(offset);
            if (room as usize) < most {
                most = room as usize;
                failed = Some(Errno::NOSPC);
            }
        }
        inode.write(&bytes[..most], offset);
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        let failed = world.begin(Op::Sync, &path)?;
        if world.stopped {
            return Err(Errno::IO.into());
        }
        let inode = &mut world.inodes[self.inode];
        match failed {
            Some(error) => {
                inode.drop_pages();
                Err(error.into())
            }
            None => {
                inode.sync();
                Ok(())
            }
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        world.whole(Op::SetLen, &path)?;
        let inode = &mut world.inodes[self.inode];
        inode.file.set_len(len)?;
        inode.len_dirty = true;
        // The rest of the last page is zeroed.
        inode.dirty.insert(len / PAGE);
        inode.reserved = 0;
        Ok(())
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.world();
        let path = self.path(&world);
        world.whole(Op::Reserve, &path)?;
        world.inodes[self.inode].reserved = len;
        Ok(())
    }

    fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, SimDisk) {
        let root = tempfile::tempdir().unwrap();
        let disk = SimDisk::over(root.path(), 1);
        (root, disk)
    }

    #[test]
    fn a_power_loss_keeps_what_was_synced_and_some_of_the_rest() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..200 {
            let (root, disk) = disk();
            let [kept, torn] = ["kept", "torn"].map(|name| root.path().join(name));
            let file = disk.create(&kept).unwrap();
            file.write_at(&[b"synced"], 0).unwrap();
            file.sync().unwrap();
            disk.sync_folder(root.path()).unwrap();
            let file = disk.create(&torn).unwrap();
            file.write_at(&[&[1; 2 * PAGE as usize]], 0).unwrap();
            disk.lose_power(seed);
            assert_eq!(fs::read(&kept).unwrap(), b"synced");
            outcomes.insert(fs::read(&torn).ok());
        }
        // No name; a name without bytes; the length with neither, either or both pages.
        assert_eq!(outcomes.len(), 6);
    }

    #[test]
    fn a_failed_sync_drops_its_pages_for_good() {
        let (root, disk) = disk();
        let path = root.path().join("file");
        let file = disk.create(&path).unwrap();
        disk.sync_folder(root.path()).unwrap();
        file.write_at(&[b"lost"], 0).unwrap();
        disk.set(Weather::SyncsFail);
        assert!(file.sync().is_err());
        disk.set(Weather::Fine);
        file.sync().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"lost", "a live process still sees it");
        disk.lose_power(1);
        assert_eq!(fs::read(&path).unwrap(), [0; 4]);
    }

    #[test]
    fn after_the_stop_nothing_happens_and_of_the_write_it_fell_into_only_a_part() {
        let mut lens = BTreeSet::new();
        for seed in 0..50 {
            let root = tempfile::tempdir().unwrap();
            let disk = SimDisk::over(root.path(), seed);
            let path = root.path().join("file");
            disk.stop_at(2);
            let file = disk.create(&path).unwrap();
            assert!(file.write_at(&[b"abc"], 0).is_err());
            assert!(disk.is_stopped() && disk.remove(&path).is_err());
            lens.insert(fs::read(&path).unwrap().len());
        }
        assert_eq!(lens, [0, 1, 2, 3].into());
    }

    #[test]
    fn a_full_disk_takes_what_was_reserved() {
        let (root, disk) = disk();
        let file = disk.create(&root.path().join("file")).unwrap();
        file.reserve(PAGE).unwrap();
        disk.set(Weather::Full);
        file.write_at(&[&[1; PAGE as usize]], 0).unwrap();
        assert_eq!(file.write_at(&[b"more"], PAGE).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
