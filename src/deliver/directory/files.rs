//! The files themselves: open, written, closed and recovered. Time is passed in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use super::super::entry::{Entry, Request};
use super::super::gzip;
use super::super::settings::{Compression, Directory};
use crate::disk::{Disk, DiskFile};
use crate::source::DestinationName;

/// The last part of an open file's name; the first is a dot.
const OPEN: &str = ".open";
/// `YYYY-MM-DD-HH-MM-SS`.
const TIME_LEN: usize = 19;
const UUID_LEN: usize = 36;

/// The files of one destination.
#[derive(Debug)]
pub(super) struct Files {
    disk: Arc<dyn Disk>,
    settings: Directory,
    name: DestinationName,
    open: Option<Open>,
    /// Files left open by an earlier life, or by a failed write, were looked after.
    recovered: bool,
    /// What of an open file was acknowledged, if it is this life's.
    acknowledged: Option<(PathBuf, u64)>,
}

#[derive(Debug)]
struct Open {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    length: u64,
    since: Instant,
}

impl Files {
    pub(super) fn new(settings: Directory, name: DestinationName, disk: Arc<dyn Disk>) -> Self {
        Self { disk, settings, name, open: None, recovered: false, acknowledged: None }
    }

    /// Writes a request's lines and syncs them. After an error none of them count, and the file is looked
    /// after before anything else is written.
    pub(super) fn write(&mut self, request: &Request, now: Timestamp, at: Instant) -> io::Result<()> {
        self.recover()?;
        let compressed;
        let parts: Vec<&[u8]> = match self.settings.compression {
            Compression::None => request.entries.iter().flat_map(Entry::pieces).collect(),
            Compression::Gzip => {
                compressed = gzip::member(request.entries.iter().flat_map(Entry::pieces));
                vec![&compressed]
            }
        };
        let added = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.close_if_due(at)?;
        if let Some(open) = &self.open
            && open.length + added > self.settings.max_size.0
        {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create(now, at)?,
        };
        let written = open.file.write_at(&parts, open.length);
        if let Err(error) = written.and_then(|()| open.file.sync()) {
            self.recovered = false;
            return Err(error);
        }
        open.length += added;
        self.acknowledged = Some((open.path.clone(), open.length));
        self.open = Some(open);
        Ok(())
    }

    /// When the open file reaches its age.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.as_ref().map(|open| open.since + self.settings.max_age)
    }

    pub(super) fn close_if_due(&mut self, at: Instant) -> io::Result<()> {
        match self.due() {
            Some(due) if due <= at => self.close(),
            _ => Ok(()),
        }
    }

    /// Moves the open file, if there is one, to its place.
    pub(super) fn close(&mut self) -> io::Result<()> {
        let Some(open) = self.open.take() else {
            return Ok(());
        };
        let result = self.finish(&open.path);
        // Should it fail, recovery finds the file.
        self.recovered = result.is_ok();
        result
    }

    fn create(&mut self, now: Timestamp, at: Instant) -> io::Result<Open> {
        self.disk.create_folder(&self.settings.path)?;
        let path = self.settings.path.join(format!(".{}{OPEN}", self.file_name(now)));
        let file = self.disk.create(&path)?;
        self.acknowledged = Some((path.clone(), 0));
        let open = Open { file, path, length: 0, since: at };
        if let Err(error) = self.disk.sync_folder(&self.settings.path) {
            self.recovered = false;
            return Err(error);
        }
        Ok(open)
    }

    fn file_name(&self, now: Timestamp) -> String {
        let time = now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d-%H-%M-%S");
        let suffix = match self.settings.compression {
            Compression::None => "",
            Compression::Gzip => ".gz",
        };
        format!("{}-1-{time}-{}{suffix}", self.name, uuid(fastrand::u128(..)))
    }

    /// Finishes what was left open.
    fn recover(&mut self) -> io::Result<()> {
        if self.recovered {
            return Ok(());
        }
        self.open = None;
        for (name, path) in names(&self.settings.path)? {
            if !closed_name(&name).is_some_and(|closed| self.is_ours(closed)) {
                continue;
            }
            let file = self.disk.open(&path)?;
            let whole = match &self.acknowledged {
                Some((known, length)) if *known == path => *length,
                _ if name.ends_with(".gz.open") => whole_members(file.file())?,
                _ => whole_lines(file.file())?,
            };
            file.set_len(whole)?;
            file.sync()?;
            if whole == 0 {
                self.disk.remove(&path)?;
            } else {
                self.finish(&path)?;
            }
        }
        self.acknowledged = None;
        self.recovered = true;
        Ok(())
    }

    /// Moves a whole file to its place.
    fn finish(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(closed) = name.and_then(closed_name) else {
            return Err(io::Error::other(format!("{path:?} is not an open file")));
        };
        let time = &closed[self.name.as_str().len() + "-1-".len()..];
        // Of `YYYY-MM-DD-HH-…`.
        let folder: PathBuf = time.split('-').take(4).collect();
        let folder = self.settings.path.join(folder);
        self.disk.create_folder(&folder)?;
        self.disk.rename(path, &folder.join(closed))?;
        // The folders on the way may be new, too.
        for folder in folder.ancestors() {
            self.disk.sync_folder(folder)?;
            if folder == self.settings.path {
                break;
            }
        }
        Ok(())
    }

    /// Whether this is a name that [`file_name`](Self::file_name) gives, and not another destination's.
    fn is_ours(&self, closed: &str) -> bool {
        let plain = closed.strip_suffix(".gz").unwrap_or(closed);
        plain.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix("-1-")).is_some_and(|rest| {
            let digits_at = |range: std::ops::Range<usize>| {
                rest.get(range).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
            };
            rest.len() == TIME_LEN + 1 + UUID_LEN && digits_at(0..4) && digits_at(5..7) && digits_at(8..10)
        })
    }
}

/// The names in a folder, if it is there; those that are not UTF-8 are not ours and are left out.
fn names(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            names.push((name, entry.path()));
        }
    }
    Ok(names)
}

/// The name that an open file will have.
fn closed_name(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(OPEN)
}

/// A random UUID (version 4, RFC 9562) of these bits.
fn uuid(bits: u128) -> String {
    let bits = bits & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// The bytes up to the last newline.
fn whole_lines(mut file: &File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut window = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(window.len() as u64);
        let part = &mut window[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(part)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The bytes of the gzip members that are complete.
fn whole_members(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let mut whole = 0;
    while !reader.fill_buf()?.is_empty() {
        let mut member = flate2::bufread::GzDecoder::new(&mut reader);
        match io::copy(&mut member, &mut io::sink()) {
            Ok(_) => whole = reader.stream_position()?,
            // A file that cannot be read is another matter than a member that breaks off.
            Err(error) if error.raw_os_error().is_some() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(whole)
}

#[cfg(test)]
mod tests;
