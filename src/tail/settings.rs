//! What a user can set about following files.

use std::path::PathBuf;
use std::time::Duration;

use crate::units::ByteSize;

/// Settings for all files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// Folders that a symbolic link may lead into. The folders of the patterns themselves always belong to it.
    pub allowed_roots: Vec<PathBuf>,
    /// The longest line; what goes beyond is cut off, marked and counted.
    pub max_line: ByteSize,
    /// How long the end of a rotated or deleted file must not have moved before it is left.
    pub rotate_wait: Duration,
    /// How changes are noticed.
    pub watch: Watch,
    /// How often files are looked at where they cannot be watched.
    pub poll_interval: Duration,
    /// How long what is known of a vanished file is kept.
    pub forget_after: Duration,
    /// How long an unfinished split line or group may wait for its rest.
    pub flush_after: Duration,
    /// How many files may be open. Others wait; deleted ones make room for them.
    pub max_open_files: usize,
    /// The most room on disk that deleted files may take, as long as they were not read to their end.
    pub max_held_deleted: ByteSize,
    /// The most memory that unfinished split lines and groups of all files may take.
    pub group_memory: ByteSize,
    /// At a stop, what the files hold is read first.
    pub read_on_stop: bool,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self {
            allowed_roots: vec!["/var/log".into(), "/var/lib/docker/containers".into()],
            max_line: ByteSize(1 << 20),
            rotate_wait: Duration::from_secs(5),
            watch: Watch::Auto,
            poll_interval: Duration::from_secs(1),
            forget_after: Duration::from_secs(7 * 86_400),
            flush_after: Duration::from_secs(5),
            max_open_files: 16_384,
            max_held_deleted: ByteSize(1 << 30),
            group_memory: ByteSize(16 << 20),
            read_on_stop: false,
        }
    }
}

/// How changes are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// By inotify, and by polling where that is refused.
    #[default]
    Auto,
    /// By polling alone.
    Poll,
}

/// Where reading begins in files that are there when a route starts for the first time ever. Files that
/// appear later are always read from their beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At their end: only what is written from now on.
    #[default]
    End,
    /// At their beginning.
    Beginning,
}
