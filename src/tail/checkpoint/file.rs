//! How a checkpoint lies on disk.
//!
//! ```text
//! kinetail checkpoint 1 crc32=1a2b3c4d len=1234⏎
//! {"version":1,"saved":…,"turn":…,"known_until":…,"routes":[…],"marks":{…},"files":[…]}⏎
//! ```
//!
//! The first line names the version and guards the rest; the rest is JSON, so that a person can read it at
//! night. A snapshot is written only after everything it says was made durable, so whatever a crash leaves, the
//! file never claims more than the buffers hold. The one before it stays beside it as `checkpoint.previous`: it
//! counts when the last one is damaged, or when a crash came between the two renames that replace it
//! ([`disk::replace_keeping`]).
//!
//! Every version begins with such a line, so that one of a newer kinetail is told from damage ([`NewerFormat`]): positions that
//! are not understood must not be taken for none. The body says its version again, because a flipped bit makes a 3 of a 1.
//! A key that an older kinetail must not pass over raises the version; one that it may pass over has a default.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::Checkpoint;
use crate::disk::{self, Disk, NewerFormat};

const NAME: &str = "checkpoint";
const PREVIOUS: &str = "checkpoint.previous";
const VERSION: u32 = 1;

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
    /// One of a newer kinetail, which is not to be touched.
    Newer(NewerFormat),
}

/// Why bytes are no checkpoint for this kinetail.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// They are damaged, or something else.
    #[error("{0}")]
    Damaged(String),
    /// They are of a newer version.
    #[error("it is of version {0}, which this kinetail cannot read")]
    Newer(u32),
}

impl From<&str> for Unreadable {
    fn from(reason: &str) -> Self {
        Self::Damaged(reason.into())
    }
}

/// The body as it is written.
#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    #[serde(flatten)]
    checkpoint: &'a Checkpoint,
}

/// What a body says of itself.
#[derive(Deserialize)]
struct Itself {
    version: u32,
}

/// Where the checkpoint is.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Reads the checkpoint in `data_dir`; if there is none under its name, the one before it. Where the last one is damaged, and
/// the one before it is of a newer kinetail, that is told and not the damage: the damage must not be put away before it is
/// clear who goes on.
///
/// # Errors
///
/// It is there and the disk cannot give it.
pub fn load(data_dir: &Path) -> io::Result<Loaded> {
    let loaded = load_one(path_in(data_dir))?;
    if matches!(loaded, Loaded::Checkpoint(_) | Loaded::Newer(_)) {
        return Ok(loaded);
    }
    let previous = load_one(previous_in(data_dir))?;
    Ok(match loaded {
        Loaded::Damaged { .. } if !matches!(previous, Loaded::Newer(_)) => loaded,
        _ => previous,
    })
}

fn load_one(path: PathBuf) -> io::Result<Loaded> {
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::None),
        Err(error) if disk::is_damage(&error) || error.kind() == io::ErrorKind::IsADirectory => {
            return Ok(Loaded::Damaged { path, reason: error.to_string() });
        }
        Err(error) => return Err(error),
    };
    Ok(match decode(&bytes) {
        Ok(checkpoint) => Loaded::Checkpoint(Box::new(checkpoint)),
        Err(Unreadable::Damaged(reason)) => Loaded::Damaged { path, reason },
        Err(Unreadable::Newer(version)) => Loaded::Newer(NewerFormat {
            path,
            kind: "a checkpoint",
            version,
            known: VERSION,
            instead: "move it away and leave an empty file in its place: then the checkpoint before it counts, if it can be read \
                          here, and else files are read from their beginning and sent once more, in part under other record ids",
        }),
    })
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
    let body = serde_json::to_vec(&Body { version: VERSION, checkpoint })?;
    let header =
        format!("kinetail checkpoint {VERSION} crc32={:08x} len={}\n", crc32fast::hash(&body), body.len());
    let content = [header.as_bytes(), &body, b"\n"];
    disk::replace_keeping(disk, &path_in(data_dir), &previous_in(data_dir), &content)
}

/// Reads a checkpoint's bytes.
///
/// # Errors
///
/// What is wrong with them, or that they are of a newer version.
pub fn decode(bytes: &[u8]) -> Result<Checkpoint, Unreadable> {
    let newline = memchr::memchr(b'\n', bytes).ok_or("it has no first line")?;
    let header = std::str::from_utf8(&bytes[..newline]).map_err(|_| "its first line is not text")?;
    let rest = header.strip_prefix("kinetail checkpoint ").ok_or("it is not a kinetail checkpoint")?;
    let mut words = rest.split(' ');
    let version = words.next().unwrap_or_default();
    let version: u32 = version.parse().map_err(|_| "its first line is damaged")?;
    let body = body(words, &bytes[newline + 1..]);
    if version > VERSION {
        // What is whole and says that it is older had a bit of its first line flipped.
        let older = body.as_ref().ok().and_then(|body| serde_json::from_slice::<Itself>(body).ok());
        return Err(match older {
            Some(Itself { version: 0..=VERSION }) => "its first line is damaged".into(),
            _ => Unreadable::Newer(version),
        });
    }
    if version != VERSION {
        return Err(Unreadable::Damaged(format!("there is no version {version}")));
    }
    serde_json::from_slice(body?).map_err(|error| Unreadable::Damaged(error.to_string()))
}

/// What follows the first line, if it is what the rest of that line says.
fn body<'a, 'w>(mut words: impl Iterator<Item = &'w str>, rest: &'a [u8]) -> Result<&'a [u8], &'static str> {
    let checksum = words.next().and_then(|word| word.strip_prefix("crc32="));
    let len = words.next().and_then(|word| word.strip_prefix("len="));
    let checksum =
        checksum.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or("its first line is damaged")?;
    let len: usize = len.and_then(|len| len.parse().ok()).ok_or("its first line is damaged")?;
    let body = rest.get(..len).ok_or("its end is missing")?;
    if crc32fast::hash(body) == checksum { Ok(body) } else { Err("its checksum does not match") }
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Progress, Repair, Status};
    use super::*;
    use crate::disk::HostDisk;
    use crate::source::{Incarnation, Mark, Position};
    use crate::tail::identity::{FileId, Fingerprint, Proof, Stamp};
    use crate::tail::journal::{Id128, Journal};
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
    fn one_of_a_newer_kinetail_is_told_from_damage_and_none_is_taken_for_it_by_a_flipped_bit() {
        let folder = tempfile::tempdir().unwrap();
        save(&HostDisk, folder.path(), &sample()).unwrap();
        let good = fs::read(path_in(folder.path())).unwrap();
        for newer in [
            "kinetail checkpoint 2\n",
            "kinetail checkpoint 10 crc32=0 len=1\n\u{1}",
            "kinetail checkpoint 3 zstd\nx",
        ] {
            assert!(matches!(decode(newer.as_bytes()), Err(Unreadable::Newer(2..))), "{newer}");
            // Whatever the last one is, nothing is done before it is clear who goes on.
            for last in [Some(&b"garbage"[..]), Some(b""), None] {
                fs::write(previous_in(folder.path()), newer).unwrap();
                match last {
                    Some(last) => fs::write(path_in(folder.path()), last).unwrap(),
                    None => fs::remove_file(path_in(folder.path())).unwrap(),
                }
                let Loaded::Newer(found) = load(folder.path()).unwrap() else {
                    panic!("{newer} after {last:?}")
                };
                assert_eq!(found.path, previous_in(folder.path()));
            }
            fs::write(path_in(folder.path()), newer).unwrap();
            assert!(
                matches!(load(folder.path()).unwrap(), Loaded::Newer(found) if found.path == path_in(folder.path()))
            );
        }
        fs::write(path_in(folder.path()), &good).unwrap();
        assert!(matches!(load(folder.path()).unwrap(), Loaded::Checkpoint(_)), "the last one is good");
        for bit in 0..good.iter().position(|byte| *byte == b'\n').unwrap() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&flipped), Err(Unreadable::Newer(_))), "bit {bit}");
        }
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
