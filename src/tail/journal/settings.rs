//! What a route can set about reading the journal.

use std::ffi::OsString;
use std::path::PathBuf;

/// Which entries of which journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The folders in which journal files are looked for, and in the folders of machines in them.
    pub folders: Vec<PathBuf>,
    /// How journalctl is called: an absolute path, and what comes before the arguments that are added here.
    pub command: Vec<OsString>,
    /// What of it is read, in journalctl's arguments.
    pub filters: Vec<OsString>,
}

impl JournalSettings {
    /// Where journald keeps its files, with and without a disk for them.
    pub const FOLDERS: [&'static str; 2] = ["/var/log/journal", "/run/log/journal"];
    /// Where distributions have it.
    pub const COMMAND: &'static str = "/usr/bin/journalctl";
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self {
            folders: Self::FOLDERS.map(PathBuf::from).to_vec(),
            command: vec![Self::COMMAND.into()],
            filters: Vec::new(),
        }
    }
}
