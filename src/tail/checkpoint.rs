//! What is kept of the files between runs: who they are, and how far they are in each destination's buffer. How it lies on
//! disk stands in `file`.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use self::file::{Loaded, Unreadable, decode, load, path_in, previous_in, save};
use super::identity::{FileId, Fingerprint, Proof, Stamp};
use super::journal::Journal;
use crate::source::{DestinationName, Incarnation, Mark, Position, RouteName};

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
