//! `data_dir`: one kinetail at a time, and the node's id that record ids are made with.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tracing::error;

use crate::disk::{self, Disk, NewerFormat, Report};

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
    /// A newer kinetail keeps the node's id there.
    #[error(transparent)]
    Newer(#[from] NewerFormat),
}

impl DataDir {
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, DataDirError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| DataDirError::Io { path, error }
        };
        disk.create_folder(path).map_err(failed(path))?;
        let lock = hold(path)?;
        let node = node_id(disk, path)?;
        Ok(Self { path: path.to_owned(), node, _lock: lock })
    }
}

/// Keeps every kinetail from using `data_dir`, as long as the file that is returned is open.
///
/// # Errors
///
/// One uses it, or it cannot be written.
pub fn hold(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join("lock");
    let failed = |error| DataDirError::Io { path: lock_path.clone(), error };
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let lock = lock.map_err(failed)?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::InUse(path.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}

/// The node's id, of which two copies are kept: without it records that are sent again would carry other
/// record ids.
fn node_id(disk: &dyn Disk, data_dir: &Path) -> Result<u128, DataDirError> {
    let paths = ["node-id", "node-id.copy"].map(|name| data_dir.join(name));
    for path in &paths {
        refuse_newer(path)?;
    }
    let mut nodes = [None; 2];
    for (path, node) in paths.iter().zip(&mut nodes) {
        let failed = |error| DataDirError::Io { path: path.clone(), error };
        match read_node_id(path) {
            Ok(found) => *node = Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if is_damage(&error) => {
                let reason = "it does not hold 32 hexadecimal digits and their checksum".into();
                let report = Report { kind: "node id", reason, found: Value::Null };
                let kept = disk::quarantine(disk, data_dir, path, "", &report).map_err(failed)?;
                error!(event = "node_id_damaged", path = %path.display(), kept = %kept.display(),
                    "the node's id cannot be read and was moved away; its other copy counts, or a new id: then \
                     records that are sent again carry other record ids");
            }
            Err(error) => return Err(failed(error)),
        }
    }
    let node = nodes[0].or(nodes[1]).unwrap_or_else(|| fastrand::u128(..));
    // The copy first: it is there before an id is used.
    for (path, found) in paths.iter().zip(nodes).rev() {
        if found != Some(node) {
            let failed = |error| DataDirError::Io { path: path.clone(), error };
            disk::replace(disk, path, &[written(node).as_bytes()]).map_err(failed)?;
        }
    }
    Ok(node)
}

/// The first version has no line that tells its version; every later one begins with `kinetail node-id VERSION`.
fn refuse_newer(path: &Path) -> Result<(), NewerFormat> {
    let bytes = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.get(..64).unwrap_or(&bytes));
    let rest = text.strip_prefix("kinetail node-id ").unwrap_or_default();
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    match digits.parse() {
        Ok(version) => Err(NewerFormat {
            path: path.to_owned(),
            kind: "a node's id",
            version,
            known: 1,
            instead: "move both copies of it (`node-id`, `node-id.copy`) away: then records that are sent again carry other record ids",
        }),
        Err(_) => Ok(()),
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::IsADirectory) || disk::is_damage(error)
}

fn read_node_id(path: &Path) -> io::Result<u128> {
    let text = fs::read_to_string(path)?;
    let node = text.get(..32).and_then(|digits| u128::from_str_radix(digits, 16).ok());
    node.filter(|node| written(*node) == text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// 32 hexadecimal digits and their CRC-32: a flipped bit makes a digit of a digit.
fn written(node: u128) -> String {
    let digits = format!("{node:032x}");
    format!("{digits} crc32={:08x}\n", crc32fast::hash(digits.as_bytes()))
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
    fn a_damaged_node_id_is_restored_from_its_copy() {
        let folder = tempfile::tempdir().unwrap();
        let node = || DataDir::open(&HostDisk, folder.path()).unwrap().node;
        let first = node();
        for name in ["node-id", "node-id.copy"] {
            let good = written(first);
            let other_digit = good.replacen(&good[..1], if good.starts_with('0') { "1" } else { "0" }, 1);
            for damaged in ["??", "", "0f", "\u{0}\u{0}", &good[..32], &other_digit] {
                fs::write(folder.path().join(name), damaged).unwrap();
                assert_eq!(node(), first, "{name} was {damaged:?}");
            }
            fs::remove_file(folder.path().join(name)).unwrap();
            assert_eq!(node(), first, "{name} was removed");
        }
    }

    #[test]
    fn a_node_id_of_a_newer_kinetail_is_refused_and_left_where_it_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["node-id", "node-id.copy"] {
            DataDir::open(&HostDisk, folder.path()).unwrap();
            let path = folder.path().join(name);
            fs::write(&path, "kinetail node-id 2 \u{1}").unwrap();
            let refused = DataDir::open(&HostDisk, folder.path()).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("of version 2"), "{refused}");
            assert_eq!(fs::read_to_string(&path).unwrap(), "kinetail node-id 2 \u{1}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_node_without_a_readable_id_gets_a_new_one_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        let node = || DataDir::open(&HostDisk, folder.path()).unwrap().node;
        let first = node();
        for name in ["node-id", "node-id.copy"] {
            fs::write(folder.path().join(name), "??").unwrap();
        }
        let second = node();
        assert_ne!(first, second);
        assert_eq!(node(), second);
    }
}
