//! The operations of the seam.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::super::{Disk, DiskFile};
use super::pages::PAGE;
use super::world::{Change, World};
use super::{Op, SimDisk, Weather};

#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) inode: usize,
    pub(super) file: Arc<File>,
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
