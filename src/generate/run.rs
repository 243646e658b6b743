//! A run of the generator: what is due is written, the manifest follows once a second.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::lines::{self, Mix, Sizes};
use super::log::{Log, LogFormat, Rotation};
use super::manifest::{LogLines, Manifest};
use super::marker::Marker;
use super::pace::Pace;

const TICK: Duration = Duration::from_millis(20);
const MANIFEST_EVERY: Duration = Duration::from_secs(1);
/// Before it is written; bounds what a tick holds in memory.
const PENDING_LINES: u64 = 10_000;

/// What to write.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder under which the logs lie; made where it is not there.
    pub dir: PathBuf,
    /// Lines a second over all logs; none: as fast as the disk takes them.
    pub rate: Option<f64>,
    /// How long lines are.
    pub sizes: Sizes,
    /// What lines say.
    pub mix: Mix,
    /// How many logs; lines go to them in turn.
    pub logs: u32,
    /// Who seems to write them.
    pub format: LogFormat,
    /// When and how they are rotated.
    pub rotation: Rotation,
    /// When the run ends.
    pub amount: Amount,
    /// The run's name in markers.
    pub run: u64,
    /// What chance comes from.
    pub seed: u64,
}

/// When a run ends; at SIGTERM and SIGINT in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// After so many lines.
    pub lines: Option<u64>,
    /// After so long.
    pub time: Option<Duration>,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct GenerateError {
    /// What was written.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

/// Writes logs when it is told the time.
#[derive(Debug)]
pub struct Generator {
    settings: Settings,
    manifest: PathBuf,
    logs: Vec<Log>,
    pace: Pace,
    rng: Rng,
    /// The log whose turn it is.
    turn: usize,
    written: u64,
    told: Duration,
}

impl Generator {
    /// Makes the logs and the manifest.
    ///
    /// # Errors
    ///
    /// A file or folder cannot be made.
    pub fn new(settings: Settings) -> Result<Self, GenerateError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| GenerateError { path, error }
        };
        std::fs::create_dir_all(&settings.dir).map_err(at(&settings.dir))?;
        let logs = (0..settings.logs.max(1))
            .map(|number| {
                let rotation = settings.rotation.clone();
                Log::create(&settings.dir, number, settings.format, rotation, settings.run)
                    .map_err(at(&settings.dir))
            })
            .collect::<Result<Vec<Log>, _>>()?;
        let generator = Self {
            manifest: Manifest::path(&settings.dir, settings.run),
            logs,
            pace: Pace::new(settings.rate),
            rng: Rng::with_seed(settings.seed),
            turn: 0,
            written: 0,
            told: Duration::ZERO,
            settings,
        };
        generator.tell(false)?;
        Ok(generator)
    }

    /// Where the manifest is.
    pub fn manifest(&self) -> &Path {
        &self.manifest
    }

    /// The lines written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes what is due at this time since the start; `wall` is what lines say. False once all is written.
    ///
    /// # Errors
    ///
    /// A log or the manifest cannot be written.
    pub fn go_on(&mut self, now: Duration, wall: Timestamp) -> Result<bool, GenerateError> {
        let amount = self.settings.amount;
        let over = amount.time.is_some_and(|time| now >= time);
        let mut due = self.pace.due(amount.time.map_or(now, |time| now.min(time)));
        if let Some(lines) = amount.lines {
            due = due.min(lines.saturating_sub(self.written));
        }
        if !self.pace.is_paced() && over {
            due = 0;
        }
        while due > 0 {
            let now = due.min(PENDING_LINES);
            self.write(now, wall)?;
            due -= now;
        }
        if now >= self.told + MANIFEST_EVERY {
            self.told = now;
            self.tell(false)?;
        }
        Ok(!over && amount.lines.is_none_or(|lines| self.written < lines))
    }

    /// Writes the manifest for the last time.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn end(self) -> Result<Manifest, GenerateError> {
        self.tell(true)
    }

    fn write(&mut self, count: u64, wall: Timestamp) -> Result<(), GenerateError> {
        let mut left = count;
        while left > 0 {
            let number = self.turn % self.logs.len();
            self.turn += 1;
            let log = &mut self.logs[number];
            let kind = self.settings.mix.draw(&mut self.rng);
            let stderr = self.rng.u8(..10) == 0;
            let together = lines::lines_of(kind, &mut self.rng).min(left);
            for index in 0..together {
                // As many logs as a u32 counts were made.
                let marker = Marker { run: self.settings.run, log: number as u32, number: log.next() };
                let text = lines::text(kind, index, marker, self.settings.sizes, wall, &mut self.rng);
                log.push(&text, stderr, wall);
            }
            left -= together;
        }
        for log in &mut self.logs {
            log.write(wall).map_err(|error| GenerateError { path: log.path().to_owned(), error })?;
        }
        self.written += count;
        Ok(())
    }

    fn tell(&self, complete: bool) -> Result<Manifest, GenerateError> {
        let logs = self.logs.iter();
        let manifest = Manifest {
            run: format!("{:08x}", self.settings.run),
            complete,
            logs: logs.map(|log| LogLines { path: log.path().to_owned(), lines: log.lines() }).collect(),
        };
        match manifest.write(&self.manifest) {
            Ok(()) => Ok(manifest),
            Err(error) => Err(GenerateError { path: self.manifest.clone(), error }),
        }
    }
}

/// Runs until all is written, or SIGTERM or SIGINT. The manifest is written in any case but a kill. `ready` is called
/// once signals are heeded.
///
/// # Errors
///
/// A log or the manifest cannot be written, or signals cannot be had.
pub async fn run(mut generator: Generator, ready: impl FnOnce()) -> Result<Manifest, GenerateError> {
    let refused = |error| GenerateError { path: PathBuf::from("signals"), error };
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    ready();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let start = Instant::now();
    loop {
        let paced = generator.pace.is_paced();
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = ticks.tick(), if paced => {}
            () = tokio::task::yield_now(), if !paced => {}
        }
        match generator.go_on(start.elapsed(), Timestamp::now()) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                // What was written before is to be counted all the same.
                let _ = generator.end();
                return Err(error);
            }
        }
    }
    generator.end()
}

#[cfg(test)]
mod tests {
    use super::super::count::Count;
    use super::super::log::RotationKind;
    use super::*;

    fn settings(dir: &Path) -> Settings {
        Settings {
            dir: dir.to_owned(),
            rate: Some(1000.0),
            sizes: Sizes::default(),
            mix: "json,access,text,stack,long".parse().unwrap(),
            logs: 3,
            format: LogFormat::Cri,
            rotation: Rotation { kind: RotationKind::Rename, size: 100_000, max_files: 100, compress: true },
            amount: Amount { lines: Some(2500), time: None },
            run: 7,
            seed: 1,
        }
    }

    fn wall(now: Duration) -> Timestamp {
        Timestamp::new(1_790_000_000, 0).unwrap() + jiff::SignedDuration::try_from(now).unwrap()
    }

    #[test]
    fn what_is_written_is_counted_line_by_line_through_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let mut generator = Generator::new(settings(dir.path())).unwrap();
        let mut now = Duration::ZERO;
        while generator.go_on(now, wall(now)).unwrap() {
            now += Duration::from_millis(500);
        }
        assert!((2..4).contains(&now.as_secs()), "a thousand lines a second: {now:?}");
        let path = generator.manifest().to_owned();
        let manifest = generator.end().unwrap();
        assert_eq!(manifest, Manifest::read(&path).unwrap());
        assert!(manifest.complete);
        assert_eq!(manifest.logs.iter().map(|log| log.lines).sum::<u64>(), 2500);
        let mut count = Count::default();
        count.add_path(dir.path()).unwrap();
        let report = count.report(&manifest);
        assert_eq!((report.arrived, report.lost, report.copies), (2500, 0, 0), "{report}");
    }

    #[test]
    fn a_run_ends_with_its_time_and_its_manifest_follows() {
        let dir = tempfile::tempdir().unwrap();
        let amount = Amount { lines: None, time: Some(Duration::from_secs(3)) };
        let mut generator = Generator::new(Settings { amount, ..settings(dir.path()) }).unwrap();
        let lines_told = |generator: &Generator| {
            let manifest = Manifest::read(generator.manifest()).unwrap();
            assert!(!manifest.complete);
            manifest.logs.iter().map(|log| log.lines).sum::<u64>()
        };
        assert_eq!(lines_told(&generator), 0);
        assert!(generator.go_on(Duration::from_secs(1), wall(Duration::ZERO)).unwrap());
        assert_eq!(lines_told(&generator), 1000);
        assert!(generator.go_on(Duration::from_secs(2), wall(Duration::ZERO)).unwrap());
        assert!(!generator.go_on(Duration::from_millis(3500), wall(Duration::ZERO)).unwrap());
        assert_eq!(generator.written(), 3000);
    }
}
