//! Names and files, live and durable, and what is to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar};

use fastrand::Rng;
use rustix::io::Errno;

use super::super::above;
use super::pages::Inode;
use super::{Op, Seen, Weather};

#[derive(Debug)]
pub(super) struct World {
    pub(super) changed: Arc<Condvar>,
    pub(super) root: PathBuf,
    pub(super) rng: Rng,
    pub(super) seen: Seen,
    pub(super) weather: Weather,
    pub(super) stop_at: Option<u64>,
    pub(super) fail_at: Option<(u64, Errno)>,
    pub(super) stopped: bool,
    /// The last operation, for messages.
    pub(super) last: String,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) unsynced_names: Vec<Change>,
    pub(super) free: u64,
    pub(super) failing: Option<PathBuf>,
}

/// A change of names, in the order in which they were made.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Create(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

impl World {
    /// Takes what lies in the folder for durable.
    pub(super) fn look(&mut self) {
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

    pub(super) fn inode(&mut self, file: File) -> usize {
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
    pub(super) fn known(&mut self, path: &Path) -> io::Result<usize> {
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
    pub(super) fn begin(&mut self, op: Op, of: &Path) -> io::Result<Option<Errno>> {
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
    pub(super) fn whole(&mut self, op: Op, of: &Path) -> io::Result<()> {
        self.begin(op, of)?.map_or(Ok(()), |error| Err(error.into()))
    }

    pub(super) fn lose_power(&mut self, rng: &mut Rng) {
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
    pub(super) fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Create(path, _) | Self::Remove(path) => vec![above(path)],
            Self::Rename(from, to, _) => vec![above(from), above(to)],
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
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
