//! What is kept of the files between runs: who they are, and how far they are in each destination's buffer.
//!
//! ```text
//! kinetail checkpoint 1 crc32=1a2b3c4d len=1234⏎
//! {"saved":…,"turn":…,"known_until":…,"routes":[…],"marks":{…},"files":[…]}⏎
//! ```
//!
//! The first line names the version and guards the rest; the rest is JSON, so that a person can read it at
//! night. A snapshot is written only after everything it says was made durable, so whatever a crash leaves, the
//! file never claims more than the buffers hold. The one before it stays beside it as `checkpoint.previous`: it
//! counts when the last one is damaged, or when a crash came between the two renames that replace it
//! ([`disk::replace_keeping`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::identity::{FileId, Fingerprint, Proof, Stamp};
use super::journal::Journal;
use crate::disk::{self, Disk};
use crate::source::{DestinationName, Incarnation, Mark, Position, RouteName};

const NAME: &str = "checkpoint";
const PREVIOUS: &str = "checkpoint.previous";
const VERSION: u32 = 1;

/// A snapshot of everything that a restart has to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When it was taken, milliseconds since 1970.
    pub saved: u64,
    /// The number of the last turn; turns grow over restarts.
    pub turn: u64,
    /// Up to when everything that was there is known here, milliseconds since 1970: an unknown rotated file that
    /// was written later was never seen, and is read.
    pub known_until: u64,
    /// Routes that were started before: `start_at` no longer applies to them.
    pub routes: Vec<RouteName>,
    /// Up to where each destination's buffer is durable.
    pub marks: BTreeMap<DestinationName, Mark>,
    /// The first chunk of each destination's queue: those before it were delivered, and are removed if they are
    /// still there.
    #[serde(default)]
    pub first: BTreeMap<DestinationName, u64>,
    /// The files.
    pub files: Vec<Entry>,
    /// Files of dead letters that are put into their destination's buffer again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<Replay>,
}

/// What is kept of one incarnation of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name for ever.
    pub incarnation: Incarnation,
    /// Which file it was when last seen.
    #[serde(flatten)]
    pub id: FileId,
    /// Where it was when it was first followed: what the route saw, and what records carry.
    #[serde(with = "path")]
    pub path: PathBuf,
    /// Where that led, if elsewhere: through links. Rotation leaves what it makes of the file beside it.
    #[serde(default, with = "optional_path", skip_serializing_if = "Option::is_none")]
    pub home: Option<PathBuf>,
    /// Where it was last seen, if elsewhere: renamed by rotation.
    #[serde(default, with = "optional_path", skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<PathBuf>,
    /// The route that it fell to.
    pub route: RouteName,
    /// Those that it falls under beside it, because routes look further.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<RouteName>,
    /// Which routes it falls under is not known yet; it is not read before that is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrouted: bool,
    /// By which rules that was decided, where more than its path counted. Where others count now, it is decided anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<u64>,
    /// Its first bytes.
    pub fingerprint: Fingerprint,
    /// The bytes before the furthest offset that was read.
    pub proof: Proof,
    /// What becomes of it.
    pub status: Status,
    /// What its file was like when it held no more than was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Stamp>,
    /// Since when it is gone from disk, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vanished: Option<u64>,
    /// It is no file but a sequence of the journal's entries; `path` is the folder of the journal's files, and entries
    /// have their numbers for offsets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,
    /// How far it is for each destination.
    pub progress: Vec<Progress>,
    /// Parts to read once more, because a chunk that held their records was damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repairs: Vec<Repair>,
}

impl Entry {
    /// What it is called where somebody looks for it.
    pub fn name(&self) -> String {
        match self.journal {
            Some(journal) => format!("{} (sequence {})", self.path.display(), journal.sequence),
            None => self.path.to_string_lossy().into_owned(),
        }
    }
}

/// What becomes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is read.
    Following,
    /// It was read to its end and left; kept so that it is known when it turns up compressed.
    Finished,
    /// It was there, rotated already, before its route was first started.
    Ignored,
}

/// How far a file is for one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The destination.
    pub to: DestinationName,
    /// Where reading goes on.
    pub position: Position,
    /// Where the last frame in the buffer ended: lines after it made no records. The next frame begins here.
    pub buffered: Position,
    /// How far chunks were delivered and removed.
    pub delivered: Position,
}

impl Progress {
    /// At a start.
    pub fn at(to: DestinationName, position: Position) -> Self {
        Self { to, buffered: position.clone(), delivered: position.clone(), position }
    }
}

/// A part to read once more for one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repair {
    /// The destination.
    pub to: DestinationName,
    /// Where to go on.
    pub from: Position,
    /// Where it ends.
    pub until: Position,
}

/// A file of dead letters on its way back into its destination's buffer. It has an incarnation and a position as a log
/// file has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    /// Part of the file's name.
    pub incarnation: Incarnation,
    /// The file's number among the destination's dead letters.
    pub number: u64,
    /// Letters of these reasons are put into the buffer, those of any if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
    /// The bytes of the file.
    pub end: u64,
    /// How far it is.
    pub progress: Progress,
}

impl Replay {
    /// Whether all of it is in the buffer.
    pub fn is_over(&self) -> bool {
        self.progress.position.offset >= self.end
    }
}

/// What was found in `data_dir`.
#[derive(Debug)]
pub enum Loaded {
    /// There is none: the first start.
    None,
    /// The last one.
    Checkpoint(Box<Checkpoint>),
    /// One that cannot be read.
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// Where the checkpoint is.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Reads the checkpoint in `data_dir`; if there is none under its name, the one before it.
///
/// # Errors
///
/// It is there and the disk cannot give it.
pub fn load(data_dir: &Path) -> io::Result<Loaded> {
    for path in [path_in(data_dir), previous_in(data_dir)] {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) if disk::is_damage(&error) || error.kind() == io::ErrorKind::IsADirectory => {
                return Ok(Loaded::Damaged { path, reason: error.to_string() });
            }
            Err(error) => return Err(error),
        };
        return Ok(match decode(&bytes) {
            Ok(checkpoint) => Loaded::Checkpoint(Box::new(checkpoint)),
            Err(reason) => Loaded::Damaged { path, reason },
        });
    }
    Ok(Loaded::None)
}

/// Where the one before it is.
pub fn previous_in(data_dir: &Path) -> PathBuf {
    data_dir.join(PREVIOUS)
}

/// Replaces the checkpoint in `data_dir`; durable when it returns.
///
/// # Errors
///
/// The disk failed; the one before is still there.
pub fn save(disk: &dyn Disk, data_dir: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    let body = serde_json::to_vec(checkpoint)?;
    let header =
        format!("kinetail checkpoint {VERSION} crc32={:08x} len={}\n", crc32fast::hash(&body), body.len());
    let content = [header.as_bytes(), &body, b"\n"];
    disk::replace_keeping(disk, &path_in(data_dir), &previous_in(data_dir), &content)
}

/// Reads a checkpoint's bytes; an error says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Checkpoint, String> {
    let newline = memchr::memchr(b'\n', bytes).ok_or("it has no first line")?;
    let header = std::str::from_utf8(&bytes[..newline]).map_err(|_| "its first line is not text")?;
    let rest = header.strip_prefix("kinetail checkpoint ").ok_or("it is not a kinetail checkpoint")?;
    let mut words = rest.split(' ');
    let version = words.next().unwrap_or_default();
    if version != VERSION.to_string() {
        return Err(format!("it is of version {version}, which this kinetail cannot read"));
    }
    let checksum = words.next().and_then(|word| word.strip_prefix("crc32="));
    let len = words.next().and_then(|word| word.strip_prefix("len="));
    let checksum =
        checksum.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or("its first line is damaged")?;
    let len: usize = len.and_then(|len| len.parse().ok()).ok_or("its first line is damaged")?;
    let body = bytes[newline + 1..].get(..len).ok_or("its end is missing")?;
    if crc32fast::hash(body) != checksum {
        return Err("its checksum does not match".into());
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Paths as text where they are text, as bytes where they are not.
mod path {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub(super) enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }

    impl From<&Path> for Written {
        fn from(path: &Path) -> Self {
            path.to_str().map_or_else(
                || Self::Bytes(path.as_os_str().as_bytes().to_vec()),
                |text| Self::Text(text.to_owned()),
            )
        }
    }

    impl From<Written> for PathBuf {
        fn from(written: Written) -> Self {
            match written {
                Written::Text(text) => text.into(),
                Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
            }
        }
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(path).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Written::deserialize(deserializer).map(PathBuf::from)
    }
}

mod optional_path {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::path::Written;

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Written::from).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Written>::deserialize(deserializer)?.map(PathBuf::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostDisk;
    use crate::tail::journal::Id128;
    use std::os::unix::ffi::OsStringExt;

    fn sample() -> Checkpoint {
        let position = Position { offset: 7, mid_line: true, open: vec![] };
        Checkpoint {
            saved: 1,
            turn: 2,
            known_until: 1,
            routes: vec!["r".into()],
            replays: Vec::new(),
            marks: [("d".into(), Mark { chunk: 3, offset: 4 })].into(),
            first: [("d".into(), 2)].into(),
            files: vec![Entry {
                incarnation: Incarnation(5),
                id: FileId { device: 6, inode: 7, born: 8 },
                path: std::ffi::OsString::from_vec(b"/var/log/\xff\n.log".to_vec()).into(),
                home: Some("/data/a.log".into()),
                moved_to: Some("/var/log/a.log.1".into()),
                route: "r".into(),
                further: vec!["s".into()],
                unrouted: true,
                rules: Some(u64::MAX),
                fingerprint: Fingerprint::of(b"abc"),
                proof: Proof::of(b"abc", 3),
                status: Status::Following,
                settled: Some(Stamp { len: 9, modified: 10 }),
                vanished: None,
                journal: Some(Journal { sequence: Id128(7), tail: 9, boot: Id128(8), time: 1 }),
                progress: vec![Progress::at("d".into(), position.clone())],
                repairs: vec![Repair { to: "d".into(), from: Position::at(0), until: position }],
            }],
        }
    }

    #[test]
    fn a_checkpoint_reads_back_as_saved_whatever_the_paths() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load(folder.path()).unwrap(), Loaded::None));
        save(&HostDisk, folder.path(), &sample()).unwrap();
        let Loaded::Checkpoint(read) = load(folder.path()).unwrap() else { panic!("it was just saved") };
        assert_eq!(*read, sample());
    }

    #[test]
    fn the_checkpoint_before_the_last_one_counts_where_that_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        save(&HostDisk, folder.path(), &sample()).unwrap();
        save(&HostDisk, folder.path(), &Checkpoint { turn: 3, ..sample() }).unwrap();
        let turn = || match load(folder.path()).unwrap() {
            Loaded::Checkpoint(checkpoint) => checkpoint.turn,
            other => panic!("{other:?}"),
        };
        assert_eq!(turn(), 3);
        fs::write(path_in(folder.path()), "garbage").unwrap();
        assert!(
            matches!(load(folder.path()).unwrap(), Loaded::Damaged { path, .. } if path == path_in(folder.path()))
        );
        fs::remove_file(path_in(folder.path())).unwrap();
        assert_eq!(turn(), 2);
    }

    #[test]
    fn a_cut_or_flipped_checkpoint_is_told_and_never_believed() {
        let folder = tempfile::tempdir().unwrap();
        save(&HostDisk, folder.path(), &sample()).unwrap();
        let bytes = fs::read(path_in(folder.path())).unwrap();
        // The last byte is the closing newline, which nothing depends on.
        for len in 0..bytes.len() - 1 {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        for bit in 0..(bytes.len() - 1) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped).map_or(true, |read| read == sample()), "bit {bit}");
        }
    }
}
