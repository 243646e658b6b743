//! The files that dead letters are kept in: `<number>.ndjson`, the highest number the newest.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, read_exact_at};
use crate::source::Incarnation;

const BLOCK: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

impl Files {
    pub(super) fn new(folder: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self { folder, disk }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Where the file of a number is.
    pub(super) fn path_of(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.ndjson"))
    }

    /// Those that are set aside for a replay, with the numbers that they had and under which they are followed.
    pub(super) fn asides(&self) -> io::Result<Vec<(PathBuf, u64, Incarnation)>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if is_gone(&error) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut asides = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if let Some((number, incarnation)) = path.file_name().and_then(|name| aside_of(name.to_str()?)) {
                asides.push((path, number, incarnation));
            }
        }
        asides.sort_unstable();
        Ok(asides)
    }

    /// Gives a file another name.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    /// Makes the files' names durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.folder.is_dir() { self.disk.sync_folder(&self.folder) } else { Ok(()) }
    }

    /// The bytes of all files, also of those that are set aside.
    pub(super) fn bytes(&self, listed: &[Kept]) -> io::Result<u64> {
        let asides = self.asides()?;
        let aside = asides.iter().filter_map(|(path, ..)| Some(path.metadata().ok()?.len()));
        Ok(listed.iter().map(|file| file.bytes).chain(aside).sum())
    }

    /// All that are there now, the oldest first. What has another name is set aside, or somebody else's.
    pub(super) fn list(&self) -> io::Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(number) = name.to_str().and_then(number_of) else { continue };
            match entry.metadata() {
                Ok(metadata) => files.push(Kept { number, path: entry.path(), bytes: metadata.len() }),
                // Moved away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        files.sort_unstable_by_key(|file| file.number);
        Ok(files)
    }

    /// Writes whole lines at the end of the newest file, or into a new one where that has `full` bytes or where
    /// a `fresh` one is asked for; durable when it returns. `named` tells that this process made durable before what
    /// the files and their folders are called: one that was killed may have left a file whose name is not.
    pub(super) fn append(&self, lines: &[u8], full: u64, fresh: bool, named: bool) -> io::Result<()> {
        let newest = self.list()?.pop();
        let next = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let opened = match newest.filter(|_| !fresh).map(|newest| self.disk.open(&newest.path)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Some(Ok(file)) => {
                // Also where it is full: what is left behind is whole.
                let end = whole_lines(&*file)?;
                (end < full).then_some((file, end))
            }
            _ => None,
        };
        let (file, end) = match opened {
            Some(opened) => opened,
            None => (self.begin(next)?, 0),
        };
        let written = file.write_at(&[lines], end).and_then(|()| file.sync());
        let written = written.and_then(|()| if named { Ok(()) } else { self.sync_names() });
        if written.is_err() {
            // What is tried again must not be there twice, nor a torn line before it.
            let _ = file.set_len(end);
        }
        written
    }

    /// Removes a file and returns how many letters were in it.
    pub(super) fn remove(&self, kept: &Kept) -> io::Result<u64> {
        let letters = match File::open(&kept.path) {
            Ok(mut file) => count_lines(&mut file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        self.disk.remove(&kept.path)?;
        Ok(letters)
    }

    fn begin(&self, number: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create_folder(&self.folder)?;
        let file = self.disk.create(&self.path_of(number))?;
        self.disk.sync_folder(&self.folder)?;
        Ok(file)
    }

    /// The files' names, that of their folder, and that of the folder of all destinations.
    fn sync_names(&self) -> io::Result<()> {
        self.folder.ancestors().take(3).try_for_each(|folder| self.disk.sync_folder(folder))
    }
}

fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".ndjson")?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn aside_of(name: &str) -> Option<(u64, Incarnation)> {
    let (number, incarnation) = name.strip_suffix(".replay")?.split_once('.')?;
    Some((number.parse().ok()?, Incarnation(u128::from_str_radix(incarnation, 16).ok()?)))
}

/// Whether a file is not there any more: people may move and remove them.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Cuts off a line that a crash left without its end, and returns the length of what is whole.
fn whole_lines(file: &dyn DiskFile) -> io::Result<u64> {
    let len = file.file().metadata()?.len();
    let mut block = vec![0; BLOCK];
    let mut end = len;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..(end - start) as usize];
        read_exact_at(file.file(), part, start)?;
        if let Some(newline) = memchr::memrchr(b'\n', part) {
            end = start + newline as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len {
        file.set_len(end)?;
    }
    Ok(end)
}

fn count_lines(file: &mut File) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut lines = 0;
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok(lines),
            Ok(read) => lines += memchr::memchr_iter(b'\n', &block[..read]).count() as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
