//! Telling whether a file is still the one that was read.
//!
//! Device and inode are not enough: an inode is reused, often at once, and a truncated file keeps its own. So a
//! file is known by three things: its [`FileId`], the [`Fingerprint`] of its first bytes, and a [`Proof`] of the
//! bytes right before the offset where reading goes on. The proof is checked at every read, in the same system call, so
//! that a file that was truncated and has grown past the old offset again is noticed before a byte of it
//! is taken for the old file's.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Which file of which file system, as long as nobody writes it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    #[serde(rename = "dev")]
    pub device: u64,
    /// The inode.
    #[serde(rename = "ino")]
    pub inode: u64,
    /// When the inode was made, nanoseconds since 1970, which tells it from an earlier one of its number. 0 where
    /// the file system does not say.
    #[serde(default)]
    pub born: u64,
}

impl FileId {
    /// Of content that no file holds any more, as far as is known.
    pub const NONE: Self = Self { device: 0, inode: 0, born: 0 };

    /// Whether it may be the same file though the ids differ: devices are numbered anew when a machine starts,
    /// and not every kernel tells when a file was born.
    pub fn may_be(self, other: Self) -> bool {
        self.inode == other.inode && (self.born == other.born || self.born == 0 || other.born == 0)
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), born: nanos(metadata.created()) }
    }
}

/// By which a file on disk is known not to have been written to since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Its length in bytes, as it lies on disk.
    pub len: u64,
    /// When it was last written to, nanoseconds since 1970.
    pub modified: u64,
}

impl Stamp {
    /// When it was last written to.
    pub fn modified(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.modified)
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self { len: metadata.len(), modified: nanos(metadata.modified()) }
    }
}

/// Nanoseconds since 1970; 0 if they are not known.
fn nanos(time: io::Result<SystemTime>) -> u64 {
    let since = time.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or_default())
}

/// A hash of the first bytes of a file's content. It grows with the file, up to [`Fingerprint::FULL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// How many bytes.
    pub len: u16,
    /// xxh3 of them.
    pub hash: u64,
}

impl Fingerprint {
    /// The most bytes that a fingerprint covers.
    pub const FULL: usize = 1024;

    /// Of a file that begins with these bytes; those beyond [`FULL`](Self::FULL) are not looked at.
    pub fn of(beginning: &[u8]) -> Self {
        let covered = &beginning[..beginning.len().min(Self::FULL)];
        Self { len: covered.len() as u16, hash: xxh3_64(covered) }
    }

    /// Whether it can still grow.
    pub fn is_full(self) -> bool {
        usize::from(self.len) == Self::FULL
    }

    /// Whether a file that begins with these bytes may be the one.
    pub fn matches(self, beginning: &[u8]) -> bool {
        let covered = beginning.get(..usize::from(self.len));
        covered.is_some_and(|covered| covered.is_empty() || xxh3_64(covered) == self.hash)
    }
}

/// A hash of the bytes right before an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The offset.
    pub end: u64,
    /// How many bytes before it; none at the beginning of a file.
    pub len: u16,
    /// xxh3 of them.
    pub hash: u64,
}

impl Proof {
    /// The most bytes that a proof covers.
    pub const FULL: usize = 1024;

    /// Of the offset `end`, given bytes that end there.
    pub fn of(before: &[u8], end: u64) -> Self {
        let covered = &before[before.len().saturating_sub(Self::FULL)..];
        Self { end, len: covered.len() as u16, hash: if covered.is_empty() { 0 } else { xxh3_64(covered) } }
    }

    /// Where the bytes begin that it covers.
    pub fn start(&self) -> u64 {
        self.end - u64::from(self.len)
    }

    /// Whether these are the bytes that it covers.
    pub fn holds(&self, bytes: &[u8]) -> bool {
        bytes.len() == usize::from(self.len) && (bytes.is_empty() || xxh3_64(bytes) == self.hash)
    }
}

/// Reads up to `buffer.len()` bytes at `offset`, fewer only at the end of the file.
pub(super) fn read_full_at(file: &std::fs::File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt;
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_matches_what_the_file_grew_to_and_nothing_else() {
        let short = Fingerprint::of(b"hello");
        assert!(short.matches(b"hello") && short.matches(b"hello world"));
        assert!(!short.matches(b"hell") && !short.matches(b"jello"));
        assert!(Fingerprint::default().matches(b"anything") && Fingerprint::of(b"").matches(b"anything"));
        assert!(Fingerprint::of(&[7; 5000]).is_full());
    }

    #[test]
    fn a_proof_tells_files_with_an_equal_beginning_apart() {
        let beginning = vec![b'x'; 4096];
        let one = [&beginning[..], b"one"].concat();
        let two = [&beginning[..], b"two"].concat();
        assert_eq!(Fingerprint::of(&one), Fingerprint::of(&two));
        let proof = Proof::of(&one, 4099);
        assert_eq!(proof.start(), 4099 - 1024);
        assert!(proof.holds(&one[3075..]) && !proof.holds(&two[3075..]));
        assert!(Proof::of(b"", 0).holds(b""));
    }
}
