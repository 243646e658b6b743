//! What a user can set about the buffer.

use std::time::Duration;

use crate::units::ByteSize;

/// A destination's own buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSettings {
    /// The most it may take on disk.
    pub max_size: ByteSize,
    /// What happens at that limit.
    pub when_full: WhenFull,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self { max_size: ByteSize(1 << 30), when_full: WhenFull::Block }
    }
}

/// A destination's dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSettings {
    /// The most they may take on disk.
    pub max_size: ByteSize,
    /// What happens at that limit.
    pub when_full: WhenFull,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self { max_size: ByteSize(1 << 30), when_full: WhenFull::Block }
    }
}

/// What happens when a destination's buffer, or the room for its dead letters, is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Nothing is given up: lines wait in the log files, poisoned records in the buffer.
    #[default]
    Block,
    /// The oldest chunk, or the oldest file of dead letters, is given up, and counted.
    DropOldest,
}

/// When what was appended to a buffer is synced. A kill of the process loses nothing in any of them: what it
/// wrote is the kernel's. They differ in what a power loss, or a crash of the kernel, takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In the background, this often. Neither reading nor sending waits for the disk. A power loss takes
    /// back at most so much: those lines are read again from their files, where they still are, and what was
    /// acknowledged in that time is sent again, with the same record ids.
    Every(Duration),
    /// After each round of reading, before anything more is read: a file is left, or read on, only when what
    /// was read of it is on the disk. Costs some syncs a round (up to twenty rounds a second), and the time
    /// that the disk takes for them.
    Always,
    /// Never; the kernel writes when it sees fit, usually within half a minute. Only the checkpoint is synced,
    /// a small file a second. A power loss takes back what the kernel had not written: the gaps are found and
    /// read again from their files, where they still are.
    Never,
}

impl Durability {
    /// The time between two checkpoints.
    pub fn interval(self) -> Duration {
        match self {
            Self::Every(interval) => interval,
            Self::Always | Self::Never => Duration::from_secs(1),
        }
    }
}

impl Default for Durability {
    fn default() -> Self {
        Self::Every(Duration::from_secs(1))
    }
}

/// What all buffers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSettings {
    /// The most that all destinations may take on disk together.
    pub max_size: ByteSize,
    /// Reading pauses while the file system of `data_dir` has less room than this.
    pub min_disk_free: ByteSize,
    /// The size at which a chunk is closed and the next begun.
    pub chunk_size: ByteSize,
    /// When what was appended is synced.
    pub sync: Durability,
    /// What becomes of the records of destinations that the configuration does not name any more.
    pub removed_destinations: RemovedDestinations,
}

/// What becomes of the records in the buffer of a destination that was removed from the configuration of a running
/// process. After a restart nothing is known of it but its records, which stay on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RemovedDestinations {
    /// They are delivered as before.
    #[default]
    Drain,
    /// They are kept, and go out when the destination is there again.
    Keep,
}

impl Default for BufferSettings {
    fn default() -> Self {
        Self {
            max_size: ByteSize(8 << 30),
            min_disk_free: ByteSize(512 << 20),
            chunk_size: ByteSize(16 << 20),
            sync: Durability::default(),
            removed_destinations: RemovedDestinations::default(),
        }
    }
}
