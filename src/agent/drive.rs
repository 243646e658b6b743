//! The pipeline's thread: what comes next, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;
use tracing::{info, warn};

use super::bell::Bell;
use super::data_dir::DataDir;
use super::glance::Glance;
use super::keeper::{Keeper, Kept};
use super::pipeline::{Asker, Pipeline, Rewired};
use crate::buffer::{BufferSettings, DeadLetters, Durability, Opened};
use crate::config::Config;
use crate::disk::Disk;
use crate::tail::amend::Amend;
use crate::tail::{Replay, TailSettings, Watch, Watcher};
use crate::telemetry::Heartbeat;

/// Between two rounds over the files that were written to. A line waits that long at most, and a file that is
/// written all the time costs twenty turns a second and not one a line.
const ROUND: Duration = Duration::from_millis(50);
/// Between two looks at all folders, however much comes and goes.
const SCAN_PAUSE: Pause =
    Pause { least: Duration::from_millis(200), times: 10, most: Duration::from_secs(5) };
/// A look at all folders though nothing was noticed: network and overlay file systems tell of nothing. A
/// thousandth of a core is spent on it, unless that were less than a look in two minutes.
const RESCAN: Pause = Pause { least: Duration::from_secs(30), times: 1000, most: Duration::from_secs(120) };
/// So many times what a look takes lie between two where folders are polled, up to so long.
const POLL: (u32, Duration) = (20, Duration::from_secs(10));
/// A look at all folders while a file waits for its end, as all rotated ones do in an outage.
const SETTLING: Pause = Pause { least: Duration::from_secs(1), times: 20, most: Duration::from_secs(10) };
/// Between two looks at a disk that is full or fails.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// Between two measurements of how far behind the files are.
const MEASURE: Duration = Duration::from_secs(10);
/// Turns between two looks at the bell and the clock.
const TURNS: usize = 16;

/// A time that grows with the work that follows it.
struct Pause {
    least: Duration,
    /// So many times what the work took.
    times: u32,
    most: Duration,
}

impl Pause {
    fn after(&self, took: Duration) -> Duration {
        took.saturating_mul(self.times).min(self.most).max(self.least)
    }
}

/// What the thread is told to do between two turns.
pub(super) enum Told {
    /// To go on by another configuration.
    Rewire(Rewire),
    /// To put dead letters into the buffer again; the asker is told how it goes.
    Replay(Vec<Replay>, Asker),
    /// To change how far a file is. What was done, or why not, is told when it is durable.
    Amend(Amend, oneshot::Sender<Result<String, String>>),
}

/// Another configuration to read by.
pub(super) struct Rewire {
    pub(super) config: Arc<Config>,
    /// What records carry as `host`.
    pub(super) host: String,
    /// The buffers of destinations that there were none of.
    pub(super) fresh: Vec<(Opened, DeadLetters)>,
    /// Is told when it is done and durable.
    pub(super) done: oneshot::Sender<Rewired>,
}

/// The thread's part of the agent.
pub(super) struct Drive {
    pub(super) pipeline: Pipeline,
    pub(super) keeper: Keeper,
    pub(super) watcher: Watcher,
    pub(super) bell: Bell,
    pub(super) glance: Glance,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) buffer: BufferSettings,
    pub(super) poll_interval: Duration,
    /// Read what is there now, to its end, and return.
    pub(super) once: bool,
    told: Receiver<Told>,
    watch: Watch,
    disk_low: bool,
    /// A look at all folders is due.
    scan_wanted: bool,
    /// How long the last one took.
    scan_took: Duration,
    /// Nothing more is read before a checkpoint is durable.
    owes_checkpoint: bool,
    /// Rests while the thread waits for the disk, however slow that is.
    heart: Option<Heartbeat>,
    /// The disk failed: the next checkpoint is not tried before this.
    not_before: Option<Instant>,
    /// How long at a stop what the files hold may be read.
    last_read: Option<Duration>,
}

impl Drive {
    #[expect(clippy::too_many_arguments, reason = "built once, of all that it joins")]
    pub(super) fn new(
        pipeline: Pipeline,
        keeper: Keeper,
        watcher: Watcher,
        bell: Bell,
        glance: Glance,
        stop: Arc<AtomicBool>,
        disk: Arc<dyn Disk>,
        data_dir: Arc<DataDir>,
        buffer: BufferSettings,
        tail: &TailSettings,
        once: bool,
        told: Receiver<Told>,
    ) -> Self {
        Self {
            pipeline,
            keeper,
            watcher,
            bell,
            glance,
            stop,
            disk,
            data_dir,
            buffer,
            poll_interval: tail.poll_interval,
            once,
            told,
            watch: tail.watch,
            disk_low: false,
            scan_wanted: false,
            scan_took: Duration::ZERO,
            owes_checkpoint: true,
            heart: None,
            not_before: None,
            last_read: None,
        }
    }

    /// How long at a stop what the files hold may be read, if that is wanted.
    pub(super) fn read_on_stop(&mut self, config: &Config) {
        self.last_read = config.tail.read_on_stop.then_some(config.drain_timeout);
    }

    /// Meets the files that are there and writes the first checkpoint. Until it is durable nothing is read:
    /// where a route began is decided once, and must not be decided again after a crash.
    pub(super) fn begin(&mut self, heart: &Heartbeat) {
        self.heart = Some(heart.clone());
        self.scan();
        self.checkpoint_now();
        self.glance.follows();
        let files = self.pipeline.tailer.open_files();
        info!(event = "ready", files, "{files} files are followed");
    }

    /// Runs until it is told to stop, or with `once` until everything was read.
    pub(super) fn run(mut self, heart: &Heartbeat) -> Self {
        let start = Instant::now();
        let (mut last_scan, mut next_scan, mut next_sync) = (start, start + self.scan_after(), start);
        let mut next_look = start;
        let (mut next_measure, mut next_retry) = (start, start);
        while !self.stop.load(Ordering::Acquire) {
            heart.beat();
            while let Ok(told) = self.told.try_recv() {
                match told {
                    Told::Rewire(rewire) => self.rewire(rewire),
                    Told::Amend(change, done) => self.amend(&change, done),
                    Told::Replay(replays, asker) => {
                        self.pipeline.begin_replay(replays, &asker);
                        continue;
                    }
                }
                let now = Instant::now();
                (last_scan, next_scan) = (now, now + self.scan_after());
            }
            let changes = self.watcher.take();
            for path in &changes.written {
                self.pipeline.written(path);
            }
            self.scan_wanted |= changes.structure;
            let now = Instant::now();
            if now >= next_scan || self.scan_wanted && now >= last_scan + SCAN_PAUSE.after(self.scan_took) {
                self.scan();
                (last_scan, next_scan) = (now, now + self.scan_after());
            }
            self.pipeline.take_lost(now);
            if now >= next_look {
                self.look_at_disk();
                self.pipeline.look_at_blocked(now, SystemTime::now());
                self.pipeline.decide();
                self.pipeline.look_at_journals(now, SystemTime::now());
                next_look = now + DISK_PAUSE;
                self.scan_wanted |= self.pipeline.tailer.wants_scan();
            }
            if now >= next_sync || self.pipeline.wants_release() || self.pipeline.wants_names() {
                self.checkpoint();
                next_sync = now + self.buffer.sync.interval();
            }
            if now >= next_measure {
                self.pipeline.measure(now, SystemTime::now());
                next_measure = now + MEASURE;
            }
            if self.glance.is_wanted() {
                self.glance.tell(self.pipeline.files(now, SystemTime::now()));
            }
            self.pipeline.flush_due(now);
            self.pipeline.rate_due(now);
            self.pipeline.pods_due(now);
            if self.owes_checkpoint && !self.disk_low {
                self.checkpoint_now();
            }
            if self.owes_checkpoint || self.disk_low {
                self.bell.pause(DISK_PAUSE);
                continue;
            }
            // Before those that never wait have taken the room.
            if now >= next_retry {
                self.pipeline.retry_blocked(now);
                next_retry = now + ROUND;
            }
            self.pipeline.journals_due(now);
            let busy = self.turns() | self.pipeline.replay(Instant::now(), SystemTime::now());
            if self.buffer.sync == Durability::Always && self.pipeline.wants_checkpoint() {
                self.checkpoint_now();
            }
            if busy {
                continue;
            }
            let waits =
                self.pipeline.is_blocked() || self.pipeline.awaits_pods() || self.pipeline.is_replaying();
            if self.once && !waits {
                break;
            }
            let mut until = next_scan.min(next_sync).min(next_look);
            if self.scan_wanted {
                until = until.min(last_scan + SCAN_PAUSE.after(self.scan_took));
            }
            let dues = [self.pipeline.next_rate_due(), self.pipeline.next_pod_due()];
            until = dues.into_iter().flatten().fold(until, Instant::min);
            let now = Instant::now();
            if self.bell.wait(until.saturating_duration_since(now)) && !self.once {
                // Let a little more come, so that a round is worth its price.
                self.bell.pause((now + ROUND).saturating_duration_since(Instant::now()));
            }
            self.pipeline.retry_blocked(Instant::now());
        }
        if !self.once {
            if self.pipeline.wants_names() {
                self.checkpoint_now();
            }
            self.read_last(heart);
            self.pipeline.read_deleted(Instant::now(), SystemTime::now());
        }
        self.pipeline.leave_unrouted(SystemTime::now());
        self.pipeline.measure(Instant::now(), SystemTime::now());
        self.glance.tell_last(self.pipeline.files(Instant::now(), SystemTime::now()));
        self.pipeline.show_no_more();
        heart.rest();
        self
    }

    /// Reads what the files hold, those included that nobody has noticed yet, where nobody can read them later.
    fn read_last(&mut self, heart: &Heartbeat) {
        let Some(time) = self.last_read else { return };
        let until = Instant::now() + time;
        heart.rest();
        self.scan();
        self.checkpoint_now();
        if !self.owes_checkpoint && !self.disk_low {
            self.pipeline.read_all(until);
        }
    }

    /// Goes on by another configuration. As at a start, nothing is read before a checkpoint knows where new routes
    /// begin.
    fn rewire(&mut self, rewire: Rewire) {
        let Rewire { config, host, fresh, done } = rewire;
        if self.pipeline.wants_names() {
            self.checkpoint_now();
        }
        self.pipeline.read_last(&config, Instant::now(), SystemTime::now());
        let rewired = self.pipeline.rewire(&config, host, fresh);
        self.keeper.set_durability(config.buffer.sync);
        (self.buffer, self.poll_interval) = (config.buffer.clone(), config.tail.poll_interval);
        self.read_on_stop(&config);
        if self.watch != config.tail.watch {
            let ring = self.bell.clone();
            self.watcher = Watcher::new(config.tail.watch, move || ring.ring());
            self.watch = config.tail.watch;
        }
        self.scan();
        self.checkpoint_now();
        // Whoever asked may be gone.
        let _ = done.send(rewired);
    }

    /// Changes how far a file is. One that was forgotten is met anew.
    fn amend(&mut self, change: &Amend, done: oneshot::Sender<Result<String, String>>) {
        let mut amended = self.pipeline.amend(change, Instant::now());
        match &amended {
            Ok(what) => {
                info!(event = "checkpoint_amended", what, "a position was changed as was asked for");
                self.scan();
                self.checkpoint_now();
                if self.owes_checkpoint {
                    amended = Err(format!(
                        "{what}, but the checkpoint cannot be written, as the log says: reading waits until it can, and a \
                         kill before that takes the change back"
                    ));
                }
            }
            Err(why) => info!(event = "checkpoint_not_amended", why),
        }
        // Whoever asked may be gone.
        let _ = done.send(amended);
    }

    /// The last checkpoint.
    pub(super) fn end(&mut self) {
        self.checkpoint_now();
    }

    fn turns(&mut self) -> bool {
        for _ in 0..TURNS {
            if !self.pipeline.turn(Instant::now(), SystemTime::now(), self.once) {
                return false;
            }
        }
        true
    }

    fn scan(&mut self) {
        let start = Instant::now();
        let folders = self.pipeline.scan(start, SystemTime::now());
        self.scan_took = start.elapsed();
        // What happened in a folder before it was watched was not noticed.
        self.scan_wanted = self.watcher.follow(&folders);
    }

    fn scan_after(&self) -> Duration {
        if self.watcher.polls() {
            let (times, most) = POLL;
            Pause { least: self.poll_interval, times, most }.after(self.scan_took)
        } else if self.pipeline.tailer.wants_scan() {
            SETTLING.after(self.scan_took)
        } else {
            RESCAN.after(self.scan_took)
        }
    }

    fn checkpoint(&mut self) {
        if let Some(kept) = self.keeper.finished() {
            self.kept(&kept);
        }
        let now = Instant::now();
        let may = !self.keeper.is_busy() && self.not_before.is_none_or(|time| time <= now);
        if may && self.pipeline.wants_checkpoint() {
            self.keeper.keep(self.pipeline.snapshot(SystemTime::now()));
        }
    }

    /// Writes a checkpoint and waits for it. Where it fails, it is owed.
    fn checkpoint_now(&mut self) {
        self.heart.iter().for_each(Heartbeat::rest);
        if let Some(kept) = self.keeper.wait() {
            self.kept(&kept);
        }
        self.keeper.keep(self.pipeline.snapshot(SystemTime::now()));
        let kept = self.keeper.wait();
        self.owes_checkpoint = kept.is_none_or(|kept| {
            self.kept(&kept);
            !kept.saved
        });
        self.heart.iter().for_each(Heartbeat::beat);
    }

    fn kept(&mut self, kept: &Kept) {
        self.pipeline.kept(kept);
        self.not_before = (!kept.saved || kept.held).then(|| Instant::now() + DISK_PAUSE);
    }

    fn look_at_disk(&mut self) {
        let path = &self.data_dir.path;
        let free = self.disk.free(path).ok();
        self.glance.saw_free(free);
        let low = free.is_some_and(|free| free < self.buffer.min_disk_free.0);
        if low != self.disk_low {
            let least = self.buffer.min_disk_free;
            if low {
                warn!(event = "disk_low", path = %path.display(), min_disk_free = %least,
                    "reading pauses: the disk of data_dir has less room than buffer.min_disk_free");
            } else {
                info!(event = "disk_recovered", path = %path.display(), "there is room on disk again; reading goes on");
            }
        }
        self.disk_low = low;
    }
}
