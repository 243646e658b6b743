//! What became of generated lines: how many arrived, which were lost, how many came more than once.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::manifest::Manifest;
use super::marker::{self, Marker};

const BLOCK: usize = 1 << 20;
/// How many gaps of a log are named before the rest is only counted.
const GAPS_NAMED: usize = 10;

/// Something that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct CountError {
    /// What.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

/// Counts markers. Memory grows with the gaps between them, not with their number.
#[derive(Clone, Debug, Default)]
pub struct Count {
    logs: BTreeMap<(u64, u32), Seen>,
}

/// The lines of one log that were seen: runs without a gap, the first number with the one after the last.
#[derive(Clone, Debug, Default)]
struct Seen {
    ranges: BTreeMap<u64, u64>,
    distinct: u64,
    copies: u64,
}

impl Seen {
    fn add(&mut self, number: u64) {
        let before = self.ranges.range(..=number).next_back().map(|(start, end)| (*start, *end));
        if before.is_some_and(|(_, end)| number < end) {
            self.copies += 1;
            return;
        }
        self.distinct += 1;
        let mut end = number.saturating_add(1);
        if let Some(next) = self.ranges.remove(&end) {
            end = next;
        }
        match before {
            Some((start, reached)) if reached == number => self.ranges.insert(start, end),
            _ => self.ranges.insert(number, end),
        };
    }

    /// What is missing of the first `lines`, as runs.
    fn gaps(&self, lines: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in &self.ranges {
            if *start >= lines {
                break;
            }
            if *start > at {
                gaps.push((at, *start));
            }
            at = *end;
        }
        if at < lines {
            gaps.push((at, lines));
        }
        gaps
    }
}

impl Count {
    /// Everything in a file, or in all files below a folder. gzip is seen by its first bytes. What has no markers
    /// adds nothing.
    ///
    /// # Errors
    ///
    /// Something cannot be read, or is not whole.
    pub fn add_path(&mut self, path: &Path) -> Result<(), CountError> {
        let at = |error| CountError { path: path.to_owned(), error };
        if path.is_dir() {
            let mut entries = std::fs::read_dir(path)
                .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
                .map_err(at)?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            return entries.iter().try_for_each(|entry| self.add_path(&entry.path()));
        }
        self.add(File::open(path).map_err(at)?).map_err(at)
    }

    /// Everything that a reader gives, gzip or not.
    ///
    /// # Errors
    ///
    /// Reading failed.
    pub fn add(&mut self, reader: impl Read) -> io::Result<()> {
        let mut reader = BufReader::new(reader);
        let mut magic = Vec::with_capacity(2);
        reader.by_ref().take(2).read_to_end(&mut magic)?;
        let whole = io::Cursor::new(magic.clone()).chain(reader);
        if magic == [0x1f, 0x8b] { self.scan(MultiGzDecoder::new(whole)) } else { self.scan(whole) }
    }

    fn scan(&mut self, mut reader: impl Read) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK];
        let mut held = 0;
        loop {
            let read = match reader.read(&mut buffer[held..]) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = held + read;
            let counted = Marker::scan(&buffer[..end], |marker| {
                self.logs.entry((marker.run, marker.log)).or_default().add(marker.number);
            });
            // A marker may go on in the next block; one that was counted is not looked at again.
            let keep = counted.max(end.saturating_sub(marker::LONGEST));
            buffer.copy_within(keep..end, 0);
            held = end - keep;
        }
    }

    /// Holds what was counted against what a run wrote.
    pub fn report(&self, manifest: &Manifest) -> Report {
        let run = manifest.run().unwrap_or_default();
        let mut report =
            Report { run: manifest.run.clone(), complete: manifest.complete, ..Report::default() };
        let nothing = Seen::default();
        for (number, log) in manifest.logs.iter().enumerate() {
            let seen = u32::try_from(number).ok().and_then(|number| self.logs.get(&(run, number)));
            let seen = seen.unwrap_or(&nothing);
            let gaps = seen.gaps(log.lines);
            let lost: u64 = gaps.iter().map(|(start, end)| end - start).sum();
            report.written += log.lines;
            report.arrived += log.lines - lost;
            report.beyond += seen.distinct - (log.lines - lost);
            report.lost += lost;
            report.copies += seen.copies;
            if lost > 0 || seen.copies > 0 {
                report.logs.push(LogReport { path: log.path.clone(), gaps, copies: seen.copies });
            }
        }
        let others =
            self.logs.iter().filter(|((of, log), _)| *of != run || *log as usize >= manifest.logs.len());
        report.others = others.map(|(_, seen)| seen.distinct).sum();
        report
    }
}

/// What became of a run's lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    run: String,
    complete: bool,
    /// By the manifest.
    pub written: u64,
    /// Different lines.
    pub arrived: u64,
    /// Written and not there.
    pub lost: u64,
    /// There once more.
    pub copies: u64,
    /// There and not in the manifest, which was behind.
    pub beyond: u64,
    /// Lines of other runs.
    pub others: u64,
    logs: Vec<LogReport>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct LogReport {
    path: PathBuf,
    gaps: Vec<(u64, u64)>,
    copies: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, written, arrived, lost, copies, .. } = self;
        writeln!(f, "run {run}: {written} lines written, {arrived} arrived, {lost} lost, {copies} copies")?;
        for LogReport { path, gaps, copies } in &self.logs {
            let lost: u64 = gaps.iter().map(|(start, end)| end - start).sum();
            write!(f, "  {}: {lost} lost, {copies} copies", path.display())?;
            for (index, (start, end)) in gaps.iter().take(GAPS_NAMED).enumerate() {
                let before = if index == 0 { "; lines" } else { "," };
                match end - start {
                    1 => write!(f, "{before} {start}")?,
                    _ => write!(f, "{before} {start}-{}", end - 1)?,
                }
            }
            match gaps.len().checked_sub(GAPS_NAMED) {
                Some(more @ 1..) => writeln!(f, " and {more} more gaps")?,
                _ => writeln!(f)?,
            }
        }
        if !self.complete {
            writeln!(f, "  the run has not ended: its manifest may be behind by a second")?;
        }
        if self.beyond > 0 {
            writeln!(f, "  {} more lines arrived than the manifest knows", self.beyond)?;
        }
        if self.others > 0 {
            writeln!(f, "  {} lines of other runs were passed over", self.others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::manifest::LogLines;
    use super::*;

    fn manifest(lines: &[u64]) -> Manifest {
        let logs = lines.iter().enumerate();
        let logs = logs.map(|(log, lines)| LogLines { path: format!("{log}.log").into(), lines: *lines });
        Manifest { run: "00000007".into(), complete: true, logs: logs.collect() }
    }

    fn text(numbers: impl IntoIterator<Item = u64>) -> String {
        numbers
            .into_iter()
            .map(|number| format!("{{\"log\":\"{}\"}}\n", Marker { run: 7, log: 0, number }))
            .collect()
    }

    /// One byte or a few at a time, so that markers are cut at every place.
    struct Dribble<'a>(&'a [u8], fastrand::Rng);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let len = self.1.usize(1..40).min(self.0.len()).min(buffer.len());
            buffer[..len].copy_from_slice(&self.0[..len]);
            self.0 = &self.0[len..];
            Ok(len)
        }
    }

    #[test]
    fn loss_and_copies_are_told_apart_in_any_order() {
        let mut numbers: Vec<u64> = (0..1000).filter(|number| ![3, 500, 501, 999].contains(number)).collect();
        numbers.extend([10, 10, 11]);
        fastrand::Rng::with_seed(3).shuffle(&mut numbers);
        let mut count = Count::default();
        count.add(Dribble(text(numbers).as_bytes(), fastrand::Rng::with_seed(5))).unwrap();
        let report = count.report(&manifest(&[1000, 2]));
        assert_eq!((report.written, report.arrived, report.lost, report.copies), (1002, 996, 6, 3));
        assert_eq!(
            report.to_string(),
            "run 00000007: 1002 lines written, 996 arrived, 6 lost, 3 copies\n  \
             0.log: 4 lost, 3 copies; lines 3, 500-501, 999\n  1.log: 2 lost, 0 copies; lines 0-1\n"
        );
    }

    #[test]
    fn what_the_manifest_does_not_know_is_neither_lost_nor_arrived() {
        let mut count = Count::default();
        count.add(text(0..12).as_bytes()).unwrap();
        count
            .add(
                format!("{} {}", Marker { run: 8, log: 0, number: 1 }, Marker { run: 7, log: 9, number: 1 })
                    .as_bytes(),
            )
            .unwrap();
        let report = count.report(&Manifest { complete: false, ..manifest(&[10]) });
        assert_eq!((report.arrived, report.lost, report.beyond, report.others), (10, 0, 2, 2));
        assert!(report.to_string().contains("may be behind"), "{report}");
    }

    #[test]
    fn members_of_gzip_and_folders_are_read_through() {
        let dir = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for part in [0..5, 5..9] {
            let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            member.write_all(text(part).as_bytes()).unwrap();
            members.extend(member.finish().unwrap());
        }
        std::fs::create_dir_all(dir.path().join("2026/01")).unwrap();
        std::fs::write(dir.path().join("2026/01/packed.gz"), &members).unwrap();
        std::fs::write(dir.path().join("2026/empty"), "").unwrap();
        std::fs::write(dir.path().join("plain"), text(9..10)).unwrap();
        let mut count = Count::default();
        count.add_path(dir.path()).unwrap();
        assert_eq!(count.report(&manifest(&[10])).lost, 0);
        std::fs::write(dir.path().join("cut.gz"), &members[..20]).unwrap();
        let error = count.add_path(dir.path()).unwrap_err().to_string();
        assert!(error.contains("cut.gz"), "{error}");
    }
}
