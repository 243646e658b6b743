//! Which journal files there are, and which entries they have.
//!
//! journald renames the file that it writes to and begins another under the same name. Who lists a folder while that
//! happens may see one of them twice, or miss one, and would take what is in it for vacuumed. So a listing counts only
//! if another look right after it shows the same files under the same names.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::Journal;
use super::header::{Header, Id128};

/// How often a listing is tried while journald rotates.
const TRIES: usize = 5;

/// The files of one sequence of entries.
#[derive(Debug)]
pub struct Sequence {
    /// Its name.
    pub id: Id128,
    /// The folder of its last file.
    pub folder: PathBuf,
    /// Its files, open.
    pub files: Vec<(File, Header)>,
}

impl Sequence {
    /// The number of the first entry.
    pub fn head(&self) -> u64 {
        self.files.iter().map(|(_, header)| header.head).min().unwrap_or_default()
    }

    /// What a checkpoint says of it, as it is now.
    pub fn told(&self) -> Journal {
        let last = self.files.iter().map(|(_, header)| header).max_by_key(|header| header.tail);
        let (tail, boot, time) = last.map_or((0, Id128(0), 0), |last| (last.tail, last.boot, last.times.1));
        Journal { sequence: self.id, tail, boot, time }
    }

    /// From which number on journald has numbered anew, since this was told and up to `read` was read. After a power loss
    /// it goes on behind what of its files was on the disk, and entries that were read and lost there leave their
    /// numbers to others. The file of these is of another boot, and begins after all that was known.
    pub fn numbered_anew(&self, told: &Journal, read: u64) -> Option<u64> {
        let known = read.max(told.tail + 1);
        let anew =
            self.files.iter().map(|(_, header)| header).filter(|header| {
                header.head < known && header.boot != told.boot && header.times.0 > told.time
            });
        anew.map(|header| header.head).min()
    }

    /// What is there now.
    pub fn extent(&self) -> Extent {
        Extent {
            tail: self.files.iter().map(|(_, header)| header.tail).max().unwrap_or_default(),
            entries: self.files.iter().map(|(_, header)| header.entries).sum(),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, last) = (self.folder.display(), self.extent().tail);
        write!(f, "{folder}: entries {} to {last} of sequence {}", self.head(), self.id)
    }
}

/// How far a sequence reaches. Where two looks show the same, nothing was written in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The highest number that was given out.
    pub tail: u64,
    /// How many entries are wholly written.
    pub entries: u64,
}

/// Looks into folders and the folders of machines in them.
///
/// # Errors
///
/// A folder or file is there and cannot be read; the text says which, and what helps. Nothing is told then: what cannot
/// be read would pass for gone.
pub fn list(folders: &[PathBuf]) -> Result<Vec<Sequence>, String> {
    for _ in 0..TRIES {
        let before = names(folders)?;
        let Some(found) = open(&before)? else { continue };
        if names(folders)? == before {
            return Ok(found);
        }
    }
    Err("the journal's files change all the time; they are looked at again".to_owned())
}

/// Journal files with their inodes.
type Names = BTreeMap<PathBuf, u64>;

fn names(folders: &[PathBuf]) -> Result<Names, String> {
    let mut all = Names::new();
    for folder in folders {
        for machine in look_into(folder, &mut all)? {
            look_into(&machine, &mut all)?;
        }
    }
    Ok(all)
}

/// Notes the journal files in a folder. Returns the folders of machines in it.
fn look_into(folder: &Path, all: &mut Names) -> Result<Vec<PathBuf>, String> {
    let refused = |error: &io::Error| unreadable(folder, error);
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(refused(&error)),
    };
    let mut machines = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| refused(&error))?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.ends_with(b".journal") || name.ends_with(b".journal~") {
            all.insert(entry.path(), entry.ino());
        } else if name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit) {
            machines.push(entry.path());
        }
    }
    Ok(machines)
}

/// Opens the files. None where one of them is another by now.
fn open(names: &Names) -> Result<Option<Vec<Sequence>>, String> {
    let mut found: BTreeMap<Id128, Sequence> = BTreeMap::new();
    for (path, inode) in names {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, &error)),
        };
        let metadata = file.metadata().map_err(|error| unreadable(path, &error))?;
        if metadata.ino() != *inode {
            return Ok(None);
        }
        if !metadata.is_file() {
            continue;
        }
        let Some(header) = Header::read(&file).map_err(|error| unreadable(path, &error))? else { continue };
        let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
        let sequence = found.entry(header.sequence).or_insert_with(|| Sequence {
            id: header.sequence,
            folder: folder.clone(),
            files: Vec::new(),
        });
        if header.tail >= sequence.extent().tail {
            sequence.folder = folder;
        }
        sequence.files.push((file, header));
    }
    Ok(Some(found.into_values().collect()))
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    let help = if error.kind() == io::ErrorKind::PermissionDenied {
        "; kinetail's user must be in the group systemd-journal, or have the capability DAC_READ_SEARCH"
    } else {
        ""
    };
    format!("{} cannot be read: {error}{help}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's header, of a boot and with the times of its first and its last entry.
    fn of_boot(boot: u128, times: (u64, u64), tail: u64, head: u64) -> Vec<u8> {
        let mut bytes = journal(1, 1, tail, head);
        bytes[56..72].copy_from_slice(&boot.to_be_bytes());
        bytes[184..192].copy_from_slice(&times.0.to_le_bytes());
        bytes[192..200].copy_from_slice(&times.1.to_le_bytes());
        bytes
    }

    #[test]
    fn numbers_that_were_given_out_again_after_a_power_loss_are_told_from_rotation_and_from_a_clean_boot() {
        let root = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: Vec<u8>| fs::write(root.path().join(name), bytes).unwrap();
        let look = || list(&[root.path().to_owned()]).unwrap().remove(0);
        put("system@1.journal", of_boot(1, (10, 19), 100, 1));
        put("system.journal", of_boot(2, (20, 29), 150, 101));
        let told = look().told();
        assert_eq!((told.tail, told.boot, told.time), (150, Id128(2), 29));
        assert_eq!(look().numbered_anew(&told, 151), None, "nothing has changed");
        put("system@2.journal", of_boot(2, (20, 35), 160, 101));
        put("system.journal", of_boot(2, (36, 40), 170, 161));
        assert_eq!(look().numbered_anew(&told, 165), None, "rotated, and read since");
        put("system.journal", of_boot(3, (50, 60), 170, 161));
        assert_eq!(look().numbered_anew(&told, 161), None, "a boot after which all was there");
        // Of what was read up to 150, what follows 120 was not on the disk.
        put("system@2.journal", of_boot(2, (20, 24), 120, 101));
        put("system.journal", of_boot(3, (50, 60), 125, 121));
        assert_eq!(look().numbered_anew(&told, 151), Some(121));
        put("system.journal", of_boot(3, (50, 60), 500, 121));
        assert_eq!(look().numbered_anew(&told, 151), Some(121), "and it has gone on from there");
    }

    fn journal(sequence: u128, entries: u64, tail: u64, head: u64) -> Vec<u8> {
        let mut bytes = vec![0; 272];
        bytes[..8].copy_from_slice(b"LPKSHHRH");
        bytes[72..88].copy_from_slice(&sequence.to_be_bytes());
        for (at, number) in [(152, entries), (160, tail), (168, head)] {
            bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn files_are_told_by_their_sequence_in_all_folders() {
        let root = tempfile::tempdir().unwrap();
        let machine = root.path().join("0123456789abcdef0123456789abcdef");
        fs::create_dir(&machine).unwrap();
        fs::create_dir(root.path().join("remote")).unwrap();
        let put = |path: &str, bytes: &[u8]| fs::write(root.path().join(path), bytes).unwrap();
        put("0123456789abcdef0123456789abcdef/system.journal", &journal(1, 4, 30, 21));
        put("0123456789abcdef0123456789abcdef/system@1.journal", &journal(1, 10, 20, 11));
        put("0123456789abcdef0123456789abcdef/system@0.journal~", &journal(2, 3, 3, 1));
        put("0123456789abcdef0123456789abcdef/user-1000.journal", &journal(3, 1, 25, 25));
        put("0123456789abcdef0123456789abcdef/new.journal", b"");
        put("0123456789abcdef0123456789abcdef/notes.txt", &journal(9, 1, 1, 1));
        put("remote/other.journal", &journal(9, 1, 1, 1));
        let folders = [root.path().to_owned(), root.path().join("none")];
        let found = list(&folders).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|sequence| (sequence.id.0, sequence.head(), sequence.extent(), sequence.files.len()))
            .collect();
        let extent = |tail, entries| Extent { tail, entries };
        assert_eq!(told, [(1, 11, extent(30, 14), 2), (2, 1, extent(3, 3), 1), (3, 25, extent(25, 1), 1)]);
        assert!(found.iter().all(|sequence| sequence.folder == machine));
        assert_eq!(list(&[machine]).unwrap().len(), 3, "the folder of a machine itself");
    }

    #[test]
    fn a_file_that_is_another_by_now_is_not_taken_for_the_one_that_was_listed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("system.journal");
        fs::write(&path, journal(1, 1, 1, 1)).unwrap();
        let listed = names(&[root.path().to_owned()]).unwrap();
        fs::rename(&path, root.path().join("system@1.journal")).unwrap();
        assert!(open(&listed).unwrap().is_none(), "it is gone");
        fs::write(&path, journal(1, 1, 2, 2)).unwrap();
        assert!(open(&listed).unwrap().is_none(), "it is another");
        assert_ne!(names(&[root.path().to_owned()]).unwrap(), listed);
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("file");
        fs::write(&folder, "").unwrap();
        let error = list(std::slice::from_ref(&folder)).unwrap_err();
        assert!(error.starts_with(&format!("{} cannot be read: ", folder.display())), "{error}");
        let denied = unreadable(&folder, &io::ErrorKind::PermissionDenied.into());
        assert!(denied.contains("systemd-journal"), "{denied}");
    }
}
