//! Whether every part still makes progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    last: Arc<AtomicU64>,
}

/// The heart of one part.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self { start: Instant::now(), tasks: Arc::default() }
    }
}

impl Liveness {
    /// A part that beats at least once in `limit` as long as it makes progress.
    pub fn task(&self, name: impl Into<String>, limit: Duration) -> Heartbeat {
        let heart = Heartbeat { start: self.start, last: Arc::default() };
        heart.beat(Instant::now());
        let task = Task { name: name.into(), limit, last: Arc::clone(&heart.last) };
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        heart
    }

    /// The parts that have not beaten in time, and for how long.
    pub fn stuck(&self, now: Instant) -> Vec<(String, Duration)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .iter()
            .filter_map(|task| {
                let last = self.start + Duration::from_millis(task.last.load(Ordering::Relaxed));
                let silent = now.saturating_duration_since(last);
                (silent > task.limit).then(|| (task.name.clone(), silent))
            })
            .collect()
    }
}

impl Heartbeat {
    /// Says that the part makes progress.
    pub fn beat(&self, now: Instant) {
        let millis = now.saturating_duration_since(self.start).as_millis();
        self.last.store(millis as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_stops_beating_is_named() {
        let liveness = Liveness::default();
        let reading = liveness.task("reading", Duration::from_secs(10));
        let delivery = liveness.task("delivery", Duration::from_secs(60));
        let start = Instant::now();
        delivery.beat(start);
        assert!(liveness.stuck(start + Duration::from_secs(9)).is_empty());
        let stuck = liveness.stuck(start + Duration::from_secs(30));
        assert_eq!(stuck.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["reading"]);
        reading.beat(start + Duration::from_secs(30));
        assert!(liveness.stuck(start + Duration::from_secs(31)).is_empty());
    }
}
