//! What a user can set about the buffer.

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

/// What all buffers share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSettings {
    /// The most that all destinations may take on disk together.
    pub max_size: ByteSize,
    /// Reading pauses while the file system of `data_dir` has less room than this.
    pub min_disk_free: ByteSize,
    /// The size at which a chunk is closed and the next begun.
    pub chunk_size: ByteSize,
}

impl Default for BufferSettings {
    fn default() -> Self {
        Self {
            max_size: ByteSize(8 << 30),
            min_disk_free: ByteSize(512 << 20),
            chunk_size: ByteSize(16 << 20),
        }
    }
}
