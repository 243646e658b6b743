//! `data_dir`: one kinetail at a time, and the node's id that record ids are made with.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{FlockOperation, flock};

use crate::disk::{self, Disk};

/// `data_dir`, held by this process alone as long as it lives.
#[derive(Debug)]
pub(super) struct DataDir {
    pub(super) path: PathBuf,
    /// Persistent and random: part of every record id.
    pub(super) node: u128,
    _lock: File,
}

/// Why `data_dir` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The disk or its permissions.
    #[error("data_dir {path}: {error}; it must be a folder that kinetail may create and write")]
    Io {
        /// The folder or a file in it.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Somebody else has it.
    #[error(
        "data_dir {0} is in use by another kinetail; stop that one, or give this one a data_dir of its own"
    )]
    InUse(PathBuf),
    /// The node's id cannot be read.
    #[error(
        "{0} does not hold a node id (32 hexadecimal digits); restore it, or remove it to get a new one: \
             records that are sent again then carry other record ids"
    )]
    NodeId(PathBuf),
}

impl DataDir {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| DataDirError::Io { path, error }
        };
        disk.create_folder(path).map_err(failed(path))?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed(&lock_path))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(DataDirError::InUse(path.to_owned())),
            Err(error) => return Err(failed(&lock_path)(error.into())),
        }
        let node = node_id(disk, &path.join("node-id"))?;
        Ok(Self { path: path.to_owned(), node, _lock: lock })
    }
}

fn node_id(disk: &dyn Disk, path: &Path) -> Result<u128, DataDirError> {
    let failed = |error| DataDirError::Io { path: path.to_owned(), error };
    match fs::read_to_string(path) {
        Ok(text) => u128::from_str_radix(text.trim(), 16).map_err(|_| DataDirError::NodeId(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let node = fastrand::u128(..);
            disk::replace(disk, path, &[format!("{node:032x}\n").as_bytes()]).map_err(failed)?;
            Ok(node)
        }
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(DataDirError::NodeId(path.to_owned()))
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostDisk;

    #[test]
    fn the_second_kinetail_on_a_data_dir_is_refused_and_the_next_one_has_the_same_node_id() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let first = DataDir::open(&HostDisk, &path).unwrap();
        let message = DataDir::open(&HostDisk, &path).unwrap_err().to_string();
        assert!(message.contains("in use by another kinetail"), "{message}");
        let node = first.node;
        drop(first);
        assert_eq!(DataDir::open(&HostDisk, &path).unwrap().node, node);
    }

    #[test]
    fn a_damaged_node_id_is_never_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("node-id"), "??").unwrap();
        assert!(matches!(DataDir::open(&HostDisk, folder.path()), Err(DataDirError::NodeId(_))));
    }
}
