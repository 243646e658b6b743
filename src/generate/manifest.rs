//! What a run has written: how many lines there are to find.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{self, HostDisk};

/// What a run has written. It may be behind by what was written in the last second before the generator was killed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// As markers carry it.
    pub run: String,
    /// Whether the run came to its end.
    pub complete: bool,
    /// By their numbers in markers.
    pub logs: Vec<LogLines>,
}

/// What was written to one log.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LogLines {
    /// The file in use.
    pub path: PathBuf,
    /// Its lines, rotated ones included.
    pub lines: u64,
}

impl Manifest {
    /// Where the manifest of a run lies, beside the logs.
    pub fn path(dir: &Path, run: u64) -> PathBuf {
        dir.join(format!("kinetail-generate-{run:08x}.json"))
    }

    /// The run as a number.
    pub fn run(&self) -> Option<u64> {
        u64::from_str_radix(&self.run, 16).ok()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is none; the message says which.
    pub fn read(path: &Path) -> io::Result<Self> {
        let told = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let text = std::fs::read(path).map_err(|error| told(error.to_string()))?;
        let manifest: Self = serde_json::from_slice(&text)
            .map_err(|error| told(format!("is not a manifest of `kinetail generate`: {error}")))?;
        match manifest.run() {
            Some(_) => Ok(manifest),
            None => Err(told(format!("{:?} is not the name of a run", manifest.run))),
        }
    }

    /// Writes it whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other)?;
        disk::replace(&HostDisk, path, &[&text])
    }
}
