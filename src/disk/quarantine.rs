//! Where files go that cannot be read: `data_dir/quarantine`, each with a report beside it.
//!
//! `<name>` is the file as it was found, `<name>.report.json` says what it was, why it was moved and what was
//! in it, as far as that is known.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::{Disk, replace};

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
    Ok(kept)
}
