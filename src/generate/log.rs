//! One log: its place, its frame, its rotation.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use jiff::tz::Offset;

/// containerd and Docker split a line at this many bytes.
const PART: usize = 16 << 10;

/// Who seems to write the logs, and where they lie under the folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// a container runtime of Kubernetes: NAMESPACE_POD_UID/CONTAINER/0.log
    #[default]
    Cri,
    /// Docker's json-file: ID/ID-json.log
    Docker,
    /// a program itself: app-00.log
    Plain,
}

/// How a log is rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum RotationKind {
    /// renamed, and a new file begun, as kubelet, Docker and logrotate do
    #[default]
    Rename,
    /// copied and truncated, as logrotate's copytruncate does
    Copytruncate,
    /// not at all
    None,
}

/// When and how a log is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How.
    pub kind: RotationKind,
    /// At this many bytes.
    pub size: u64,
    /// So many files are kept, the one in use included; what is beyond is deleted, read or not.
    pub max_files: usize,
    /// Whether rotated files but the last are compressed.
    pub compress: bool,
}

/// A log that is being written.
#[derive(Debug)]
pub(super) struct Log {
    format: LogFormat,
    rotation: Rotation,
    path: PathBuf,
    file: File,
    size: u64,
    /// Rotated files, the oldest first.
    rotated: Vec<PathBuf>,
    /// Framed lines that were not written yet.
    pending: Vec<u8>,
    pending_lines: u64,
    lines: u64,
}

impl Log {
    /// The log of this number. What lies there already is kept, and written behind.
    pub(super) fn create(
        dir: &Path,
        number: u32,
        format: LogFormat,
        rotation: Rotation,
        run: u64,
    ) -> io::Result<Self> {
        let path = dir.join(place(format, number, run));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = open(&path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            format,
            rotation,
            path,
            file,
            size,
            rotated: Vec::new(),
            pending: Vec::new(),
            pending_lines: 0,
            lines: 0,
        })
    }

    /// The file in use.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lines written.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// The number of the next line.
    pub(super) fn next(&self) -> u64 {
        self.lines + self.pending_lines
    }

    /// Frames a line; [`Log::write`] writes it.
    pub(super) fn push(&mut self, text: &str, stderr: bool, now: Timestamp) {
        let stream = if stderr { "stderr" } else { "stdout" };
        let limit = if self.format == LogFormat::Plain { usize::MAX } else { PART };
        let mut rest = text;
        loop {
            let (part, more) = rest.split_at(rest.floor_char_boundary(limit.min(rest.len())));
            rest = more;
            let last = rest.is_empty();
            let out = &mut self.pending;
            // Writing to memory cannot fail.
            let _ = match self.format {
                LogFormat::Plain => writeln!(out, "{part}"),
                LogFormat::Cri => writeln!(
                    out,
                    "{:.9} {stream} {} {part}",
                    now.display_with_offset(Offset::UTC),
                    if last { 'F' } else { 'P' }
                ),
                LogFormat::Docker => {
                    let log = if last { format!("{part}\n") } else { part.to_owned() };
                    let line = serde_json::json!({"log": log, "stream": stream, "time": format!("{now:.9}")});
                    writeln!(out, "{line}")
                }
            };
            if last {
                break;
            }
        }
        self.pending_lines += 1;
    }

    /// Writes what was framed, and rotates first where the file has its size.
    pub(super) fn write(&mut self, now: Timestamp) -> io::Result<()> {
        if self.size >= self.rotation.size && self.rotation.kind != RotationKind::None {
            self.rotate(now)?;
        }
        self.file.write_all(&self.pending)?;
        self.size += self.pending.len() as u64;
        self.pending.clear();
        self.lines += std::mem::take(&mut self.pending_lines);
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let target = match self.format {
            LogFormat::Cri => {
                // kubelet names them to the second: a second rotation within one waits.
                let target = with_end(&self.path, &now.strftime(".%Y%m%d-%H%M%S").to_string());
                if target.exists() || with_end(&target, ".gz").exists() {
                    return Ok(());
                }
                target
            }
            LogFormat::Docker | LogFormat::Plain => {
                self.shift()?;
                with_end(&self.path, ".1")
            }
        };
        if self.rotation.kind == RotationKind::Copytruncate {
            fs::copy(&self.path, &target)?;
            self.file.set_len(0)?;
        } else {
            fs::rename(&self.path, &target)?;
            self.file = open(&self.path)?;
        }
        self.size = 0;
        self.rotated.push(target);
        let kept = self.rotation.max_files.saturating_sub(1);
        while self.rotated.len() > kept {
            fs::remove_file(self.rotated.remove(0))?;
        }
        if self.rotation.compress && self.rotated.len() > 1 {
            let last = self.rotated.len() - 2;
            let path = &mut self.rotated[last];
            if path.extension().is_none_or(|end| end != "gz") {
                *path = compress(path)?;
            }
        }
        Ok(())
    }

    /// `.1` becomes `.2` and so on, the oldest first; so none is written over.
    fn shift(&mut self) -> io::Result<()> {
        let count = self.rotated.len();
        for (index, path) in self.rotated.iter_mut().enumerate() {
            let end = if path.extension().is_some_and(|end| end == "gz") { ".gz" } else { "" };
            let target = with_end(&self.path, &format!(".{}{end}", count - index + 1));
            fs::rename(&*path, &target)?;
            *path = target;
        }
        Ok(())
    }
}

/// Where a log lies.
fn place(format: LogFormat, number: u32, run: u64) -> PathBuf {
    match format {
        LogFormat::Cri => {
            let uid = format!("{run:08x}-0000-4000-8000-{number:012x}");
            PathBuf::from(format!("load-test_app-{number:02}_{uid}/app/0.log"))
        }
        LogFormat::Docker => {
            let id = format!("{run:048x}{number:016x}");
            PathBuf::from(format!("{id}/{id}-json.log"))
        }
        LogFormat::Plain => PathBuf::from(format!("app-{number:02}.log")),
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// As kubelet does: into a file of another name first, so that nobody takes half of it for the whole.
fn compress(path: &Path) -> io::Result<PathBuf> {
    let (target, half) = (with_end(path, ".gz"), with_end(path, ".tmp"));
    let mut encoder = GzEncoder::new(File::create(&half)?, Compression::fast());
    io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?;
    fs::rename(&half, &target)?;
    fs::remove_file(path)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(kind: RotationKind) -> Rotation {
        Rotation { kind, size: 1, max_files: 4, compress: true }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::new(1_790_000_000 + second, 0).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn rotated_container_logs_are_named_compressed_and_deleted_as_kubelet_does() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::create(dir.path(), 0, LogFormat::Cri, rotation(RotationKind::Rename), 1).unwrap();
        for line in 0..6 {
            log.push(&format!("line {line}"), line == 5, at(line));
            log.write(at(line)).unwrap();
        }
        let folder = log.path().parent().unwrap().to_owned();
        assert!(folder.ends_with("load-test_app-00_00000001-0000-4000-8000-000000000000/app"));
        assert_eq!(
            names(&folder),
            ["0.log", "0.log.20260921-141323.gz", "0.log.20260921-141324.gz", "0.log.20260921-141325"]
        );
        assert_eq!(
            fs::read_to_string(log.path()).unwrap(),
            "2026-09-21T14:13:25.000000000+00:00 stderr F line 5\n"
        );
        assert_eq!(log.lines(), 6);
    }

    #[test]
    fn copytruncate_and_numbers_keep_every_line_within_the_files_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log =
            Log::create(dir.path(), 0, LogFormat::Plain, rotation(RotationKind::Copytruncate), 1).unwrap();
        for line in 0..4 {
            log.push(&format!("line {line}"), false, at(0));
            log.write(at(0)).unwrap();
        }
        assert_eq!(names(dir.path()), ["app-00.log", "app-00.log.1", "app-00.log.2.gz", "app-00.log.3.gz"]);
        assert_eq!(fs::read_to_string(dir.path().join("app-00.log.1")).unwrap(), "line 2\n");
        let mut text = String::new();
        let oldest = File::open(dir.path().join("app-00.log.3.gz")).unwrap();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(oldest), &mut text).unwrap();
        assert_eq!(text, "line 0\n");
    }

    #[test]
    fn a_long_line_is_split_as_runtimes_do() {
        let dir = tempfile::tempdir().unwrap();
        for (number, (format, parts)) in
            [(LogFormat::Cri, 3), (LogFormat::Docker, 3), (LogFormat::Plain, 1)].into_iter().enumerate()
        {
            let number = u32::try_from(number).unwrap();
            let mut log = Log::create(dir.path(), number, format, rotation(RotationKind::None), 1).unwrap();
            log.push(&"x".repeat(40 << 10), false, at(0));
            log.write(at(0)).unwrap();
            let text = fs::read_to_string(log.path()).unwrap();
            assert_eq!(text.lines().count(), parts, "{format:?}");
            assert_eq!((log.lines(), log.next()), (1, 1));
        }
    }
}
