//! The few things that are done to the disk here, all in one place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Makes a file that was not there before.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

/// Writes at the file's end, and to the disk.
pub(super) fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_data()
}

/// Cuts the file, on the disk too.
pub(super) fn cut(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)?;
    file.sync_all()
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

/// Moves a file into a folder below `top`, which is made where needed; afterwards all of it is on the disk.
pub(super) fn move_below(top: &Path, from: &Path, folder: &Path, name: &str) -> io::Result<()> {
    let target = top.join(folder);
    fs::create_dir_all(&target)?;
    fs::rename(from, target.join(name))?;
    for folder in target.ancestors() {
        sync_folder(folder)?;
        if folder == top {
            break;
        }
    }
    Ok(())
}

/// Puts a folder's entries on the disk.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn make_folders(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// The names in a folder; those that are not UTF-8 are left out.
pub(super) fn names(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.path()));
        }
    }
    Ok(names)
}
