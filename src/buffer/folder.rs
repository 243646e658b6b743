//! The files in a queue's folder, before anything is known of what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tracing::{error, warn};

use super::frame::FormatError;
use super::queue::Shared;
use super::report::{put_aside, put_aside_chunk};
use crate::disk::{Disk, Report, quarantine};
use crate::source::DestinationName;

/// Makes the folder of a queue, where it is missing. What is there in its place goes to quarantine.
pub(super) fn make(disk: &dyn Disk, data_dir: &Path, name: &DestinationName) -> io::Result<PathBuf> {
    let buffers = data_dir.join("buffer");
    let folder = buffers.join(name.as_str());
    for folder in [&buffers, &folder] {
        if folder.exists() && !folder.is_dir() {
            let reason = "a folder of the buffer should be here".into();
            let report = Report { kind: "foreign file", reason, found: Value::Null };
            quarantine(disk, data_dir, folder, "", &report)?;
        }
    }
    disk.create_folder(&folder)?;
    Ok(folder)
}

/// Queues in `data_dir` of none of these names that hold chunks, and the bytes that they take. What cannot be read is left
/// out.
pub fn others(data_dir: &Path, names: &[DestinationName]) -> Vec<(DestinationName, u64)> {
    let folders = fs::read_dir(data_dir.join("buffer")).into_iter().flatten().flatten();
    let bytes_of = |folder: PathBuf| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let chunks = files.filter(|file| matches!(named(&file.path()), Some((_, "chunk"))));
        chunks.filter_map(|file| Some(file.metadata().ok()?.len())).sum::<u64>()
    };
    let queues = folders.filter_map(|folder| {
        let name = DestinationName::from(folder.file_name().to_str()?);
        Some((name, bytes_of(folder.path())))
    });
    let mut others: Vec<(DestinationName, u64)> =
        queues.filter(|(name, bytes)| *bytes > 0 && !names.contains(name)).collect();
    others.sort();
    others
}

/// The numbers of the chunks in the folder; anything else there goes to quarantine.
pub(super) fn list(shared: &Shared) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    let mut acks = Vec::new();
    for entry in fs::read_dir(&shared.folder)? {
        let entry = entry?;
        let path = entry.path();
        let named = if entry.file_type()?.is_file() { named(&path) } else { None };
        match named {
            Some((number, "chunk")) => numbers.push(number),
            Some((number, "acks")) => acks.push((number, path)),
            _ => {
                let reason = "it does not belong into the buffer's folder".into();
                let report = Report { kind: "foreign file", reason, found: Value::Null };
                let kept = put_aside(shared, &path, &report)?;
                warn!(event = "foreign_file", path = %path.display(), kept = %kept.display(),
                    "a file that does not belong into the buffer was moved away");
            }
        }
    }
    for (number, path) in acks {
        if !numbers.contains(&number) {
            shared.disk.remove(&path)?;
        }
    }
    Ok(numbers)
}

pub(super) fn named(path: &Path) -> Option<(u64, &str)> {
    let stem = path.file_stem()?.to_str()?;
    let number = u64::from_str_radix(stem, 16).ok().filter(|number| format!("{number:016x}") == stem)?;
    Some((number, path.extension()?.to_str()?))
}

/// Removes a chunk of which nothing is wanted any more.
pub(super) fn discard(shared: &Shared, number: u64) -> io::Result<()> {
    shared.disk.remove(&shared.chunk_path(number))?;
    match shared.disk.remove(&acks_path(shared, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where the acknowledgements of a chunk are.
pub(super) fn acks_path(shared: &Shared, number: u64) -> PathBuf {
    shared.folder.join(format!("{number:016x}.acks"))
}

/// Moves a chunk that cannot be read out of the way, with its acknowledgements.
pub(super) fn unreadable(shared: &Shared, number: u64, path: &Path, reason: FormatError) -> io::Result<()> {
    let kept = put_aside_chunk(shared, path, reason.to_string())?;
    let acks = acks_path(shared, number);
    if acks.exists() {
        let reason = "the chunk that it belongs to cannot be read".into();
        put_aside(shared, &acks, &Report { kind: "acknowledgements", reason, found: Value::Null })?;
    }
    error!(event = "chunk_quarantined", destination = %shared.name, path = %path.display(), kept = %kept.display(), %reason,
        "a chunk cannot be read and was moved away; its lines are read again where their files still have them");
    Ok(())
}
