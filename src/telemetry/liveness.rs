//! Whether every part still makes progress.
//!
//! A part that waits for a disk is slow, not stuck, and starting the process anew would not make the disk faster. So a
//! part that knows that it waits for one rests meanwhile, and of a part that is silent the system is asked whether
//! its thread is in the middle of reading or writing.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// In place of the time of a heartbeat: the part rests.
const RESTING: u64 = u64::MAX;

/// The heartbeats of all parts. Clones share them.
#[derive(Clone, Debug)]
pub struct Liveness {
    start: Instant,
    tasks: Arc<Mutex<Vec<Task>>>,
}

#[derive(Debug)]
struct Task {
    name: String,
    limit: Duration,
    pulse: Arc<Pulse>,
}

#[derive(Debug, Default)]
struct Pulse {
    /// Milliseconds after the start.
    last: AtomicU64,
    /// The thread that beat last.
    thread: AtomicI32,
}

/// The heart of one part. When it and its clones are dropped, the part has ended and is not missed.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    start: Instant,
    pulse: Arc<Pulse>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { start: Instant::now(), tasks: Arc::default() }
    }
}

impl Liveness {
    /// A part that beats at least once in `limit` as long as it makes progress.
    pub fn task(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        let heart = Heartbeat { start: self.start, pulse: Arc::default() };
        heart.beat();
        let task = Task { name: name.into(), limit, pulse: Arc::clone(&heart.pulse) };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| Arc::strong_count(&task.pulse) > 1);
        tasks.push(task);
        heart
    }

    /// The parts that have not beaten in time, and for how long.
    pub fn stuck(&self, now: Instant) -> Vec<(String, Duration)> {
        self.silent(now, waits_for_disk)
    }

    fn silent(&self, now: Instant, waits_for_disk: impl Fn(i32) -> bool) -> Vec<(String, Duration)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter(|task| Arc::strong_count(&task.pulse) > 1)
            .filter_map(|task| {
                let last = Some(task.pulse.last.load(Ordering::Relaxed)).filter(|last| *last != RESTING)?;
                let silent = now.saturating_duration_since(self.start + Duration::from_millis(last));
                let stuck = silent > task.limit && !waits_for_disk(task.pulse.thread.load(Ordering::Relaxed));
                stuck.then(|| (task.name.clone(), silent))
            })
            .collect()
    }
}

impl Heartbeat {
    /// Says that the part makes progress.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// The part waits for something that takes as long as it takes, until it beats again.
    pub fn rest(&self) {
        self.pulse.last.store(RESTING, Ordering::Relaxed);
    }

    /// Says, on another thread than the part's, that it has been given something to do: from now on it is missed
    /// until it beats or rests.
    pub fn called(&self) {
        self.pulse.last.store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_millis() as u64
    }

    fn beat_at(&self, now: Instant) {
        self.pulse.thread.store(this_thread(), Ordering::Relaxed);
        self.pulse.last.store(self.millis(now), Ordering::Relaxed);
    }
}

fn this_thread() -> i32 {
    thread_local!(static ID: Cell<i32> = const { Cell::new(0) });
    if ID.get() == 0 {
        ID.set(rustix::thread::gettid().as_raw_nonzero().get());
    }
    ID.get()
}

/// Whether a thread of this process is in a wait that nothing interrupts, which is how the kernel waits for disks and
/// network file systems: state `D` in proc_pid_stat(5).
fn waits_for_disk(thread: i32) -> bool {
    fs::read_to_string(format!("/proc/self/task/{thread}/stat")).is_ok_and(|stat| is_in_disk_wait(&stat))
}

fn is_in_disk_wait(stat: &str) -> bool {
    // The name before it may hold anything, parentheses too.
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(stuck: Vec<(String, Duration)>) -> Vec<String> {
        stuck.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_part_that_stops_beating_is_named() {
        let liveness = Liveness::default();
        let reading = liveness.task("reading", Duration::from_secs(10));
        let delivery = liveness.task("delivery", Duration::from_secs(60));
        let start = Instant::now();
        delivery.beat_at(start);
        assert!(liveness.stuck(start + Duration::from_secs(9)).is_empty());
        assert_eq!(names(liveness.stuck(start + Duration::from_secs(30))), ["reading"]);
        reading.beat_at(start + Duration::from_secs(30));
        assert!(liveness.stuck(start + Duration::from_secs(31)).is_empty());
    }

    #[test]
    fn a_part_that_waits_for_a_disk_is_not_stuck_however_long_it_waits() {
        let liveness = Liveness::default();
        let reading = liveness.task("reading", Duration::from_secs(10));
        let later = Instant::now() + Duration::from_secs(3600);
        let this = this_thread();
        assert!(liveness.silent(later, |thread| thread == this).is_empty());
        assert_eq!(names(liveness.silent(later, |_| false)), ["reading"]);
        reading.rest();
        assert!(liveness.silent(later, |_| false).is_empty());
        reading.beat();
        assert_eq!(names(liveness.stuck(later)), ["reading"]);
    }

    #[test]
    fn a_part_that_rests_is_missed_once_it_was_given_something_to_do() {
        let liveness = Liveness::default();
        let keeper = liveness.task("writing checkpoints", Duration::from_secs(10));
        keeper.rest();
        let later = Instant::now() + Duration::from_secs(3600);
        assert!(liveness.stuck(later).is_empty());
        let by = keeper.clone();
        let caller = std::thread::spawn(move || {
            by.called();
            this_thread()
        });
        let caller = caller.join().unwrap();
        assert_eq!(names(liveness.silent(later, |thread| thread == caller)), ["writing checkpoints"]);
        keeper.rest();
        assert!(liveness.stuck(later).is_empty());
    }

    #[test]
    fn a_part_that_has_ended_is_not_missed() {
        let liveness = Liveness::default();
        drop(liveness.task("delivery", Duration::ZERO));
        assert!(liveness.stuck(Instant::now() + Duration::from_secs(5)).is_empty());
    }

    #[test]
    fn the_state_of_a_thread_is_read_past_its_name() {
        assert!(is_in_disk_wait("17 (a (D) b) D 1 17 17 0"));
        assert!(!is_in_disk_wait("17 (keeper) D) S 1 17 17 0"));
        assert!(!is_in_disk_wait("gone"));
        assert!(!waits_for_disk(this_thread()));
    }
}
