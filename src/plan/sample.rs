//! Records of real log files.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::records::{Destinations, Recorded, keep};
use crate::config::Config;
use crate::kubernetes::PodStore;
use crate::trial::{Log, Stages, open, unrotated};
use crate::units::ByteSize;

/// The most bytes of log files that are looked at; all of them are in memory, and their records too.
const MOST: ByteSize = ByteSize(256 << 20);
/// A time that is shorter says nothing of a day.
const SHORTEST: Duration = Duration::from_secs(10);

/// Why a sample cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// A file or folder cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is too large.
    #[error(
        "{0}: its log files have more than {MOST}; name a folder with less of them, such as those of one hour: what \
         counts is how fast lines come, not how many there are"
    )]
    TooLarge(PathBuf),
    /// No route takes a file.
    #[error(
        "{0}: no route takes one of its {1} files; a sample's files lie under it as they lie under /, such as \
         {0}/var/log/pods/…, or it is a folder of this machine that a route names"
    )]
    NoFiles(PathBuf, usize),
    /// The time covered is not known: no line says when it was written.
    #[error(
        "{0}: its lines say no times; say with --period how long it took to write them, such as --period 1h"
    )]
    NoTimes(PathBuf),
    /// The time covered says nothing.
    #[error("{0}: its lines cover {1:?}, too little to tell of a day; take a longer sample, or say --period")]
    TooShort(PathBuf, Duration),
}

/// The records that the files below `dir` would become. A file is taken by the route that takes its path on this
/// machine, or its path with `dir` as the root; what rotation left of it is taken with it. The time is that of the
/// lines unless `period` says otherwise.
///
/// # Errors
///
/// See [`SampleError`].
pub fn sample(config: &Config, dir: &Path, period: Option<Duration>) -> Result<Recorded, SampleError> {
    let mut files = Vec::new();
    walk(dir, &mut files)?;
    let mut recorded = Recorded::default();
    let mut untimed = Vec::new();
    for (number, path) in (0_u64..).zip(&files) {
        let Some((routes, shown)) = routes_of(config, dir, path) else { continue };
        let room = MOST.0.saturating_sub(recorded.bytes);
        let text = read(path, room).map_err(|error| SampleError::Read { path: path.clone(), error })?;
        if text.len() as u64 > room {
            return Err(SampleError::TooLarge(dir.to_owned()));
        }
        let before = recorded.len();
        if !add(config, &routes, &shown, number, &text, &mut recorded) {
            untimed.push(before..recorded.len());
        }
    }
    if recorded.is_empty() {
        return Err(SampleError::NoFiles(dir.to_owned(), files.len()));
    }
    let covered = recorded.covered(&untimed).map(|(first, last)| last - first);
    let period = match (period, covered) {
        (Some(period), _) => period,
        (None, None) => return Err(SampleError::NoTimes(dir.to_owned())),
        (None, Some(covered)) if covered < SHORTEST => {
            return Err(SampleError::TooShort(dir.to_owned(), covered));
        }
        (None, Some(covered)) => covered,
    };
    recorded.settle(&untimed, period);
    Ok(recorded)
}

/// Adds a file's records; whether its lines say when they were written.
fn add(
    config: &Config,
    routes: &[usize],
    path: &Path,
    number: u64,
    text: &[u8],
    recorded: &mut Recorded,
) -> bool {
    // The first says how the file is read.
    let first = &config.routes[routes[0]];
    let (mut read, mut timed) = (0, true);
    for route in std::iter::once(first).chain(&config.further_of(first, path, &PodStore::default())) {
        let to = Destinations::of(config, route);
        let mut stages = Stages::new(config, route, &Log::at(path), number, SystemTime::now(), false);
        let mut last = None;
        let bytes = stages.read(text, |made| {
            let time = made.message.time.and_then(|time| time.parse::<Timestamp>().ok());
            // A line that is not in its file's format was written when its neighbour was.
            last = time.and_then(|time| Duration::try_from(time.as_duration()).ok()).or(last);
            timed &= last.is_some();
            keep(made, last.unwrap_or_default(), &to, recorded);
        });
        // Bytes in memory can always be read.
        read = bytes.unwrap_or_default();
    }
    recorded.bytes += read;
    timed
}

/// The routes that a file falls under, and the path that its records show. Rotated files are their log's.
fn routes_of(config: &Config, dir: &Path, path: &Path) -> Option<(Vec<usize>, PathBuf)> {
    let under = Path::new("/").join(path.strip_prefix(dir).ok()?);
    [path.to_owned(), under]
        .into_iter()
        .flat_map(|path| [unrotated(&path), Some(path)])
        .flatten()
        .map(|path| (config.routes_of(&path), path))
        .find(|(routes, _)| !routes.is_empty())
}

/// A file's content, and no more than a byte beyond `most` of it.
fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open(path)?.take(most + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), SampleError> {
    let at = |error| SampleError::Read { path: dir.to_owned(), error };
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(at)?;
    entries.sort();
    for path in entries {
        if path.is_dir() && !path.is_symlink() {
            walk(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn config() -> Config {
        let text = "
destinations:
  archive: {type: firehose, stream: a, packing: newline}
  audit: {type: kinesis, stream: b, aggregation: none}
routes:
  - {files: /var/log/pods/*/*/*.log, format: cri, to: [archive, audit]}
  - {files: /var/log/*.log, to: audit}
";
        config::parse(text, "test", &|_| None).unwrap().config
    }

    fn write(dir: &Path, path: &str, text: impl AsRef<[u8]>) {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn cri(from: u32, count: u32) -> String {
        (from..from + count)
            .map(|second| {
                format!("2026-11-21T10:{:02}:{:02}.5Z stdout F line {second}\n", second / 60, second % 60)
            })
            .collect()
    }

    const POD: &str = "var/log/pods/shop_web_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app";

    #[test]
    fn files_under_the_folder_are_routed_as_if_it_were_the_root_and_rotated_ones_too() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &format!("{POD}/0.log"), cri(60, 60));
        write(dir.path(), &format!("{POD}/0.log.20261121-100100"), cri(30, 30));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, cri(0, 30).as_bytes()).unwrap();
        write(dir.path(), &format!("{POD}/0.log.20261121-100030.gz"), gzip.finish().unwrap());
        write(dir.path(), "etc/passwd", "root");
        let recorded = sample(&config(), dir.path(), None).unwrap();
        assert_eq!(recorded.len(), 120);
        assert_eq!(recorded.period, Duration::from_secs(119));
        let rounds: Vec<_> = recorded.rounds(0).collect();
        assert_eq!(rounds.len(), 120, "a line a second is a round each");
        assert_eq!(rounds[119].0, Duration::from_secs(119));
        let record: serde_json::Value = serde_json::from_slice(rounds[0].1.data()).unwrap();
        assert_eq!((&record["log"], &record["kubernetes"]["pod_name"]), (&"line 0".into(), &"web".into()));
        assert_eq!(record["file"], format!("/{POD}/0.log"));
        assert_eq!(recorded.rounds(1).count(), 120);
    }

    #[test]
    fn a_file_of_several_routes_becomes_records_of_each_and_its_header_none() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "var/log/app.log", "head\na\nb\n");
        let text = "
destinations:
  archive: {type: firehose, stream: a, packing: newline}
  audit: {type: kinesis, stream: b, aggregation: none}
routes:
  - {files: /var/log/*.log, skip_header_lines: 1, continue: true, to: [archive, audit]}
  - {files: /var/log/*.log, process: [{drop: {log: a}}], to: audit}
";
        let config = config::parse(text, "test", &|_| None).unwrap().config;
        let recorded = sample(&config, dir.path(), Some(Duration::from_secs(60))).unwrap();
        let count = |to: usize| recorded.rounds(to).map(|(_, records)| records.len()).sum::<usize>();
        assert_eq!((count(0), count(1)), (2, 3));
    }

    #[test]
    fn lines_without_times_need_the_period_and_are_spread_over_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "var/log/app.log", "a\n".repeat(100));
        let error = sample(&config(), dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("--period 1h"), "{error}");
        let recorded = sample(&config(), dir.path(), Some(Duration::from_secs(1000))).unwrap();
        assert_eq!(recorded.period, Duration::from_secs(1000));
        assert_eq!(recorded.rounds(1).nth(50).unwrap().0, Duration::from_secs(500));
        assert_eq!(recorded.rounds(0).count(), 0, "that route leads elsewhere");
    }

    #[test]
    fn lines_without_times_were_written_in_the_time_of_those_that_have_some() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &format!("{POD}/0.log"), cri(0, 101));
        write(dir.path(), "var/log/app.log", "a\n".repeat(50));
        write(dir.path(), "var/log/other.log", "b\n".repeat(2));
        let recorded = sample(&config(), dir.path(), None).unwrap();
        assert_eq!(recorded.period, Duration::from_secs(100));
        assert_eq!(recorded.rounds(0).count(), 101);
        let times: Vec<Duration> = recorded.rounds(1).map(|(at, _)| at).collect();
        assert_eq!((times[0], times[100]), (Duration::ZERO, Duration::from_secs(100)));
        // Every second line of the first file coincides with one of the container's; so does the second of the other.
        let at = |second: u64| {
            recorded.rounds(1).find(|(at, _)| *at == Duration::from_secs(second)).unwrap().1.len()
        };
        assert_eq!([at(0), at(1), at(2), at(50)], [3, 1, 2, 3]);
    }

    #[test]
    fn what_says_nothing_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let told = |dir: &Path| sample(&config(), dir, None).unwrap_err().to_string();
        assert!(told(&dir.path().join("none")).contains("none"));
        write(dir.path(), "home/x.log", "a\n");
        assert!(told(dir.path()).contains("no route takes one of its 1 files"));
        write(dir.path(), &format!("{POD}/0.log"), cri(0, 5));
        assert!(told(dir.path()).contains("too little"));
        let stretched = sample(&config(), dir.path(), Some(Duration::from_secs(40))).unwrap();
        assert_eq!(stretched.rounds(0).nth(1).unwrap().0, Duration::from_secs(10));
    }
}
