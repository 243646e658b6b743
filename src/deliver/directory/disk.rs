//! The few things that are done to the disk here, all in one place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// The host's file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostDisk;

impl HostDisk {
    /// Creates a file that must not exist yet.
    pub(super) fn create(self, path: &Path) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        options.open(path).map(DiskFile)
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(self, path: &Path) -> io::Result<DiskFile> {
        OpenOptions::new().read(true).write(true).open(path).map(DiskFile)
    }

    /// Moves a file. Durable once the folders are synced.
    pub(super) fn rename(self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Removes a file.
    pub(super) fn remove(self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Makes creations, renames and removals in a folder durable.
    pub(super) fn sync_folder(self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Creates a folder and those above it, where they are missing.
    pub(super) fn create_folder(self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }
}

#[derive(Debug)]
pub(super) struct DiskFile(File);

impl DiskFile {
    /// Writes all parts, one after the other, at `offset`, or fails.
    pub(super) fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        for part in parts {
            self.0.write_all_at(part, offset)?;
            offset += part.len() as u64;
        }
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    /// Cuts the file to this length.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    /// The open file, for reading.
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}
