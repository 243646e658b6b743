//! Container logs for the benchmark of the whole process.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::log_lines;
use crate::support::endpoint::Accepted;
use crate::support::logs::Container;

/// The logs of some containers.
pub(crate) struct Logs {
    files: Vec<(PathBuf, File)>,
    written: u64,
    bytes: u64,
    rng: fastrand::Rng,
    line: Option<usize>,
}

/// A file is rotated at this size.
const ROTATE: u64 = 10 << 20;

/// So many pods of one container each, in five namespaces.
pub(crate) fn containers(count: u64) -> impl Iterator<Item = Container> {
    (0..count).map(|number| Container {
        namespace: format!("shop-{}", number % 5),
        ..Container::of_pod(&format!("web-{number:04}-6d5f7c9b8d-x2k4q"))
    })
}

impl Logs {
    /// With lines of the usual mixture, or of so many bytes.
    pub(crate) fn new(folder: &Path, files: u64, line: Option<usize>) -> Self {
        let files = containers(files)
            .map(|container| {
                let path = container.folder(folder).join("0.log");
                fs::create_dir_all(path.parent().expect("it has one")).expect("a folder");
                let file = File::create(&path).expect("a log file");
                (path, file)
            })
            .collect();
        Self { files, written: 0, bytes: 0, rng: fastrand::Rng::with_seed(7), line }
    }

    /// Lines written so far.
    pub(crate) fn lines(&self) -> u64 {
        self.written
    }

    /// Bytes written so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes lines as fast as it goes, spread over the files.
    pub(crate) fn write(&mut self, lines: u64) {
        let count = self.files.len() as u64;
        for index in 0..self.files.len() {
            let mut out = BufWriter::new(self.files[index].1.try_clone().expect("a second handle"));
            for _ in 0..lines / count {
                let line = self.line();
                out.write_all(line.as_bytes()).expect("room on disk");
            }
            out.flush().expect("room on disk");
        }
    }

    /// Writes lines as time goes by, and rotates as kubelet does.
    pub(crate) async fn write_paced(&mut self, lines: u64, per_second: u64) {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        let per_tick = per_second / 100;
        while self.written < lines {
            tick.tick().await;
            for _ in 0..per_tick.min(lines - self.written) {
                let index = (self.written % self.files.len() as u64) as usize;
                let line = self.line();
                let (path, file) = &mut self.files[index];
                file.write_all(line.as_bytes()).expect("room on disk");
                if file.metadata().expect("it is open").len() > ROTATE {
                    let stamp = path.with_extension(format!("log.20260101-{:06}", self.written % 1_000_000));
                    fs::rename(&*path, stamp).expect("rotated");
                    *file = File::create(&*path).expect("a log file");
                }
            }
        }
    }

    /// How long after each line was written its record arrived, in seconds.
    pub(crate) fn latencies(records: &[Accepted]) -> impl Iterator<Item = f64> {
        records.iter().flat_map(|record| {
            let arrived = Timestamp::try_from(record.arrived).expect("a time of this age");
            record.data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(move |line| {
                let json: serde_json::Value = serde_json::from_slice(line).expect("a record");
                let written: Timestamp = json["time"].as_str().expect("a time").parse().expect("a time");
                arrived.duration_since(written).as_secs_f64()
            })
        })
    }

    fn line(&mut self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time =
            Timestamp::new(now.as_secs() as i64, now.subsec_nanos() as i32).expect("a time of this age");
        let line = match self.line {
            Some(length) => format!("{time:.9} stdout F {}\n", "x".repeat(length.saturating_sub(41))),
            None => log_lines::line(self.written, time, &mut self.rng),
        };
        self.written += 1;
        self.bytes += line.len() as u64;
        line
    }
}
