//! The one seam for durable I/O: everything that kinetail keeps goes through a [`Disk`], so that a test can
//! fail a write, cut it short, fill the disk, or lose what was not synced.
//!
//! Files are created 0600 and folders 0700: they hold people's logs.

mod newer;
mod quarantine;
#[cfg(test)]
pub(crate) mod sim;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use newer::NewerFormat;
pub use quarantine::{Report, quarantine};

/// A file system, as far as kinetail keeps things on it.
pub trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Replaces `to` by `from`, in one step. Durable once the folder is synced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Creates a folder and those above it, where they are missing; durable when it returns.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The bytes that an unprivileged process may still write to the file system of this path.
    fn free(&self, path: &Path) -> io::Result<u64>;
}

/// A file of a [`Disk`].
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all parts, one after the other, at `offset`, or fails. After a failure any prefix of them may
    /// have been written.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Makes what was written durable (fdatasync). After a failure nothing is known of what was written since
    /// the last success: the kernel may have dropped it, and trying again would answer success wrongly.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to this length.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves room for the first `len` bytes without changing the file's length, so that writing them
    /// cannot meet a full disk. File systems that cannot do it are no error.
    fn reserve(&self, len: u64) -> io::Result<()>;
    /// The open file, for reading and mapping.
    fn file(&self) -> &File;
}

/// The host's file system.
#[derive(Debug, Default)]
pub struct HostDisk;

impl HostDisk {
    /// As the seam that the stages take.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for HostDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Arc::new(HostFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HostFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && folder.parent().is_some() => {
                self.create_folder(above(folder))?;
                return self.create_folder(folder);
            }
            Err(_) if folder.is_dir() => return Ok(()),
            Err(error) => return Err(error),
        }
        // Without this a power loss could take the folder with everything that was synced in it.
        self.sync_folder(above(folder))
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// The folder that a path lies in.
fn above(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    }
}

/// The bytes of one write. For larger ones the page cache takes larger pieces of memory, which are not among those
/// that were just freed: on virtual machines the host then has to find each anew, at many times the cost of the
/// write itself.
const WRITE: usize = 64 << 10;
/// The parts of one write; IOV_MAX of Linux.
const PARTS: usize = 1024;

#[derive(Debug)]
struct HostFile(File);

impl DiskFile for HostFile {
    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let mut call = Vec::with_capacity(left.len().min(PARTS));
            let mut room = WRITE;
            for part in left.iter().take(PARTS) {
                call.push(IoSlice::new(&part[..part.len().min(room)]));
                room = room.saturating_sub(part.len());
                if room == 0 {
                    break;
                }
            }
            let written = rustix::io::pwritev(&self.0, &call, offset);
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn reserve(&self, len: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, len) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    fn file(&self) -> &File {
        &self.0
    }
}

/// Puts `content` in place of the file at `path`, so that at any instant, power loss included, either the old
/// or the new content is there whole.
pub fn replace(disk: &dyn Disk, path: &Path, content: &[&[u8]]) -> io::Result<()> {
    let temporary = write_beside(disk, path, content)?;
    disk.rename(&temporary, path)?;
    disk.sync_folder(above(path))
}

/// As [`replace`], and keeps the old content under another name. At any instant the content is whole under at
/// least one of the two.
pub fn replace_keeping(disk: &dyn Disk, path: &Path, kept: &Path, content: &[&[u8]]) -> io::Result<()> {
    let temporary = write_beside(disk, path, content)?;
    match disk.rename(path, kept) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    disk.rename(&temporary, path)?;
    disk.sync_folder(above(path))
}

fn write_beside(disk: &dyn Disk, path: &Path, content: &[&[u8]]) -> io::Result<PathBuf> {
    let temporary = temporary_name(path);
    match disk.remove(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = disk.create(&temporary)?;
    file.write_at(content, 0)?;
    file.sync()?;
    Ok(temporary)
}

fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

/// Whether an error of reading means that bytes are not to be had, now or later: a bad sector, or a file that
/// is shorter than it was.
pub fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.kind() == ErrorKind::UnexpectedEof
}

/// Reads exactly `buffer.len()` bytes at `offset`.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn parts_are_written_one_after_the_other_and_only_the_owner_may_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/file");
        HostDisk.create_folder(path.parent().unwrap()).unwrap();
        let file = HostDisk.create(&path).unwrap();
        file.reserve(1 << 20).unwrap();
        file.write_at(&[b"ab", b"", b"cde"], 0).unwrap();
        file.write_at(&[b"", b"f"], 5).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"abcdef");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }

    #[test]
    fn a_file_is_replaced_whole_even_over_the_rest_of_an_earlier_attempt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        fs::write(folder.path().join("checkpoint.tmp"), "torn").unwrap();
        replace(&HostDisk, &path, &[b"one"]).unwrap();
        replace(&HostDisk, &path, &[b"two", b"!"]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two!");
        assert!(!folder.path().join("checkpoint.tmp").exists());
    }
}
