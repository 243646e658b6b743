//! What befalls a log file: kubelet's rotation, logrotate's, a restart, a replacement, the pod's end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Format, Writer};

impl Writer {
    /// Rotates the file as kubelet does for a container's log, or logrotate for any other: the older rotated files
    /// are compressed, the file is renamed and a fresh one begun.
    pub fn rotate(&mut self) {
        self.rename_away();
        self.reopen();
    }

    /// The first half of a rotation. Until [`Writer::reopen`], lines go into the renamed file, as with every
    /// runtime that was not yet asked to reopen.
    pub fn rename_away(&mut self) {
        match self.format {
            Format::Containerd | Format::Crio => self.rename_dated(),
            Format::Docker => self.rename_numbered(false),
            Format::Plain => self.rename_numbered(true),
        }
    }

    /// The second half of a rotation: a fresh file of the old name, which lines go into from now on.
    pub fn reopen(&mut self) {
        self.file = open(&self.path);
    }

    /// kubelet's order: leftovers of a compression go, then what is too much, then the older rotated files are
    /// compressed; only the newest stays plain.
    fn rename_dated(&mut self) {
        let mut rotated = siblings(&self.path);
        rotated.retain(|path| {
            let leftover = has_suffix(path, ".tmp");
            if leftover {
                fs::remove_file(path).expect("removes a leftover");
            }
            !leftover
        });
        // The file in use and the one that this rotation makes count as well.
        let excess = rotated.len().saturating_sub(self.max_files.saturating_sub(2));
        for path in rotated.drain(..excess) {
            fs::remove_file(path).expect("removes an excess file");
        }
        for path in rotated.iter().filter(|path| !has_suffix(path, ".gz")) {
            compress(path);
        }
        // Names have seconds only: two rotations never fall into one.
        self.pass(Duration::from_secs(1));
        let name = self.now.strftime("%Y%m%d-%H%M%S").to_string();
        fs::rename(&self.path, with_suffix(&self.path, &format!(".{name}"))).expect("renames the log");
    }

    /// `.1` is the newest and plain, higher numbers are older; with `compress` those are gzip (logrotate with
    /// `compress` and `delaycompress`), else plain too (Docker's json-file driver).
    fn rename_numbered(&mut self, compress: bool) {
        let log = |number: usize| {
            let gz = if compress && number > 1 { ".gz" } else { "" };
            with_suffix(&self.path, &format!(".{number}{gz}"))
        };
        let oldest = self.max_files - 1;
        if log(oldest).exists() {
            fs::remove_file(log(oldest)).expect("removes an excess file");
        }
        for number in (1..oldest).rev().filter(|number| log(*number).exists()) {
            let plain = with_suffix(&self.path, &format!(".{}", number + 1));
            if compress && number == 1 {
                fs::rename(log(1), &plain).expect("renames a rotated log");
                self::compress(&plain);
            } else {
                fs::rename(log(number), log(number + 1)).expect("renames a rotated log");
            }
        }
        fs::rename(&self.path, log(1)).expect("renames the log");
    }

    /// logrotate's `copytruncate`: the content is copied away and the file emptied; the program goes on writing
    /// through the same descriptor. Returns the copy's path.
    pub fn copytruncate(&mut self) -> PathBuf {
        let copy = with_suffix(&self.path, ".1");
        fs::copy(&self.path, &copy).expect("copies the log");
        self.file.set_len(0).expect("truncates the log");
        copy
    }

    /// A fresh file is put over the old one, which is gone: CRI-O with `log_size_max`.
    pub fn replace(&mut self) {
        let fresh = with_suffix(&self.path, ".fresh");
        self.file = open(&fresh);
        fs::rename(&fresh, &self.path).expect("renames the fresh log");
    }

    /// The file's content is gone and something else takes its place under the same inode number: what is left to
    /// see when a file is deleted and a new one happens to get its inode.
    pub fn replace_keeping_inode(&mut self) {
        self.file.set_len(0).expect("truncates the log");
        self.reopen();
    }

    /// The container restarts: `0.log` is left as it is, lines go into `1.log` from now on.
    pub fn restart(&mut self) {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str());
        let number: u32 =
            stem.and_then(|stem| stem.parse().ok()).expect("a container's log is called by a number");
        self.path = self.path.with_file_name(format!("{}.log", number + 1));
        self.reopen();
    }

    /// The file's name goes; lines still go into the file, for those who have it open.
    pub fn delete(&mut self) {
        fs::remove_file(&self.path).expect("deletes the log");
    }

    /// The pod is deleted: its folder goes at once; lines still go into the file, for those who have it open.
    pub fn delete_pod(&mut self) {
        let pod = self.path.parent().and_then(Path::parent);
        fs::remove_dir_all(pod.expect("a container's log lies in its pod's folder"))
            .expect("deletes the pod's folder");
    }
}

/// Opens a log for appending, as runtimes and programs do.
pub(super) fn open(path: &Path) -> File {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).expect("makes the log's folder");
    }
    OpenOptions::new().append(true).create(true).open(path).expect("opens the log")
}

/// Compresses a file as kubelet does: into a `.tmp`, which is renamed to `.gz`, then the file goes.
pub fn compress(path: &Path) {
    let tmp = with_suffix(path, ".tmp");
    let mut out = GzEncoder::new(File::create(&tmp).expect("makes the .tmp"), Compression::fast());
    io::copy(&mut File::open(path).expect("opens the log"), &mut out).expect("compresses the log");
    out.finish().and_then(|mut file| file.flush()).expect("ends the compressed log");
    fs::rename(tmp, with_suffix(path, ".gz")).expect("renames the .tmp");
    fs::remove_file(path).expect("removes the plain log");
}

/// The rotated files beside a log, oldest first.
pub fn siblings(path: &Path) -> Vec<PathBuf> {
    let prefix =
        format!("{}.", path.file_name().and_then(|name| name.to_str()).expect("a log's name is text"));
    let folder = path.parent().expect("a log lies in a folder");
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("reads the log's folder")
        .map(|entry| entry.expect("reads the log's folder").path())
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&prefix))
        })
        .collect();
    found.sort();
    found
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(suffix.as_bytes())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
