//! Waking the pipeline's thread.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung by whoever has news for the pipeline. It stays rung until it is heard, so no news is missed.
#[derive(Clone, Debug, Default)]
pub(super) struct Bell(Arc<(Mutex<Rung>, Condvar)>);

#[derive(Debug, Default)]
struct Rung {
    news: bool,
    alarm: bool,
}

impl Bell {
    /// Wakes the listener, now or when it next listens.
    pub(super) fn ring(&self) {
        self.set(|rung| !std::mem::replace(&mut rung.news, true));
    }

    /// Wakes the listener for ever: it is to stop.
    pub(super) fn alarm(&self) {
        self.set(|rung| !std::mem::replace(&mut rung.alarm, true));
    }

    /// Waits until it is rung, but not longer than this. Returns whether it was.
    pub(super) fn wait(&self, timeout: Duration) -> bool {
        self.wait_while(timeout, |rung| !rung.news && !rung.alarm)
    }

    /// Waits that long, whatever news there is; only an alarm ends it early. News stay for the next wait.
    pub(super) fn pause(&self, timeout: Duration) {
        let (rung, heard) = &*self.0;
        let guard = rung.lock().unwrap_or_else(PoisonError::into_inner);
        drop(heard.wait_timeout_while(guard, timeout, |rung| !rung.alarm));
    }

    fn wait_while(&self, timeout: Duration, quiet: impl Fn(&mut Rung) -> bool) -> bool {
        let (rung, heard) = &*self.0;
        let guard = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut guard, _) =
            heard.wait_timeout_while(guard, timeout, quiet).unwrap_or_else(PoisonError::into_inner);
        let rung = guard.news || guard.alarm;
        guard.news = false;
        rung
    }

    fn set(&self, change: impl FnOnce(&mut Rung) -> bool) {
        let (rung, heard) = &*self.0;
        if change(&mut rung.lock().unwrap_or_else(PoisonError::into_inner)) {
            heard.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_before_anyone_listens_is_heard_once() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        assert!(bell.wait(Duration::MAX));
        assert!(!bell.wait(Duration::ZERO));
    }

    #[test]
    fn an_alarm_ends_every_wait_from_then_on() {
        let bell = Bell::default();
        bell.ring();
        bell.alarm();
        bell.pause(Duration::MAX);
        assert!(bell.wait(Duration::MAX));
        assert!(bell.wait(Duration::MAX));
    }
}
