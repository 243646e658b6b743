//! Where files go that cannot be read: `data_dir/quarantine`, each with a report beside it.
//!
//! `<name>` is the file as it was found, `<name>.report.json` says what it was, why it was moved and what was
//! in it, as far as that is known. Together they take 256 MiB; above that the oldest are removed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Disk, replace};

/// The most that quarantine may take on disk, in bytes; the newest file is kept however large it is. A few chunks of the
/// default size: enough to look into what damaged them, and no danger to a node.
const MOST: u64 = 256 << 20;

/// What a person wants to know of a file that was moved away.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What it was taken for: `chunk`, `acknowledgements`, `checkpoint`, `foreign file`.
    pub kind: &'static str,
    /// Why it cannot be used.
    pub reason: String,
    /// What was in it, as far as known.
    pub found: serde_json::Value,
}

#[derive(Serialize)]
struct Written<'a> {
    was: String,
    moved: String,
    bytes: Option<u64>,
    #[serde(flatten)]
    report: &'a Report,
}

/// Moves a file or folder to quarantine and writes its report. Returns where it is now.
///
/// # Errors
///
/// It could not be moved. That the report could not be written is no error: the file matters more.
pub fn quarantine(
    disk: &dyn Disk,
    data_dir: &Path,
    path: &Path,
    prefix: &str,
    report: &Report,
) -> io::Result<PathBuf> {
    let folder = data_dir.join("quarantine");
    disk.create_folder(&folder)?;
    let now = SystemTime::now();
    let stamp = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kept = folder.join(format!("{prefix}{stamp}-{name}"));
    let written = Written {
        was: path.display().to_string(),
        moved: jiff::Timestamp::try_from(now).unwrap_or_default().to_string(),
        bytes: fs::metadata(path).ok().map(|metadata| metadata.len()),
        report,
    };
    let mut beside = kept.clone().into_os_string();
    beside.push(".report.json");
    let text = serde_json::to_vec_pretty(&written)?;
    if let Err(error) = replace(disk, Path::new(&beside), &[&text, b"\n"]) {
        tracing::warn!(event = "report_not_written", path = %kept.display(), %error,
            "what is known of a file in quarantine could not be written beside it");
    }
    disk.rename(path, &kept)?;
    bound(disk, &folder, &kept, MOST);
    Ok(kept)
}

/// Removes the oldest files while all of them take more than they may. What cannot be removed now is tried with the next
/// file.
fn bound(disk: &dyn Disk, folder: &Path, newest: &Path, most: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let files = entries.filter_map(|entry| {
        let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))).ok()?;
        // When it was moved here; it may have been written to long before.
        metadata.is_file().then(|| ((metadata.ctime(), metadata.ctime_nsec()), path, metadata.len()))
    });
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    let mut bytes: u64 = files.iter().map(|(_, _, len)| len).sum();
    for (_, path, len) in files {
        if bytes <= most || path == newest {
            return;
        }
        if disk.remove(&path).is_ok() {
            bytes -= len;
            tracing::warn!(event = "quarantine_full", path = %path.display(), bytes = len, most,
                "the oldest file in quarantine was removed to make room for another");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostDisk;
    use super::*;

    #[test]
    fn the_oldest_files_make_room_and_the_newest_stays_however_large_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let disk = HostDisk::shared();
        let names = |folder: &Path| {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        };
        for (name, len) in [("c-first", 40), ("a-second", 40), ("b-third", 40)] {
            let path = folder.path().join(name);
            fs::write(&path, vec![0; len]).unwrap();
            bound(&*disk, folder.path(), &path, 100);
        }
        assert_eq!(names(folder.path()), ["a-second", "b-third"]);
        let large = folder.path().join("large");
        fs::write(&large, vec![0; 500]).unwrap();
        bound(&*disk, folder.path(), &large, 100);
        assert_eq!(names(folder.path()), ["large"]);
    }
}
