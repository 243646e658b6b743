//! What the service manager (systemd) is told over its socket: that the agent is ready, how it goes, that it lives,
//! that it stops. Without a socket (`NOTIFY_SOCKET`) nothing is said.
//!
//! The watchdog is fed as long as every part makes progress, by the same heartbeats as `/livez`; where one is stuck,
//! the service manager ends the process and starts it anew. A destination that is out never gets there.

use std::env;
use std::future::pending;
use std::io;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tracing::warn;

use super::Liveness;

/// How often the status is told where there is no watchdog, and at most.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// The agent could not start and tries again.
pub fn waiting(why: &str) {
    tell(&[NotifyState::Status(why)]);
}

/// The agent reads and delivers.
pub fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("started")]);
}

/// The agent loads its configuration again. [`reloaded`] has to follow.
pub fn reloading() {
    // Its time tells the service manager this reload from an earlier one.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now, NotifyState::Status("loading the configuration")]),
        Err(error) => warn!(event = "service_manager_unreachable", %error, "the time could not be had"),
    }
}

/// What became of the configuration; the agent goes on in any case.
pub fn reloaded(what: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(what)]);
}

/// The agent has begun to stop.
pub fn stopping(why: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(why)]);
}

/// Tells how it goes, and that it lives, for ever.
///
/// A service manager that stops reading holds up nothing but this.
pub async fn keep_telling(liveness: Liveness, status: impl Fn() -> String) {
    if env::var_os("NOTIFY_SOCKET").is_none() {
        return pending().await;
    }
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = tokio::time::interval(pace(watchdog));
    loop {
        ticks.tick().await;
        let stuck = liveness.stuck(Instant::now());
        let status = news(&stuck, status());
        let feed = watchdog.is_some() && stuck.is_empty();
        // The socket makes the sender wait while nobody reads from it; delivery must not wait with it.
        let told = tokio::task::spawn_blocking(move || {
            tell(&[NotifyState::Status(&status)]);
            if feed {
                tell(&[NotifyState::Watchdog]);
            }
        });
        if told.await.is_err() {
            return;
        }
    }
}

/// Twice in the watchdog's time, so that one late turn does not end the process.
fn pace(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(STATUS_EVERY, |limit| (limit / 2).clamp(Duration::from_millis(1), STATUS_EVERY))
}

fn news(stuck: &[(String, Duration)], status: String) -> String {
    match stuck {
        [] => status,
        [(name, silent), ..] => format!("{name} has made no progress for {} s; {status}", silent.as_secs()),
    }
}

/// A service manager that does not listen is none of the agent's business: it is told once more at the next turn.
fn tell(state: &[NotifyState<'_>]) {
    let told: io::Result<()> = sd_notify::notify(state);
    if let Err(error) = told {
        warn!(event = "service_manager_unreachable", %error, "the service manager's socket takes nothing");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time_and_the_status_told_at_least_every_ten_seconds() {
        assert_eq!(pace(None), Duration::from_secs(10));
        assert_eq!(pace(Some(Duration::from_secs(3))), Duration::from_millis(1500));
        assert_eq!(pace(Some(Duration::from_secs(300))), Duration::from_secs(10));
        assert_eq!(pace(Some(Duration::ZERO)), Duration::from_millis(1));
    }

    #[test]
    fn the_status_names_what_is_stuck_first() {
        let stuck = [("delivery to archive".to_owned(), Duration::from_secs(70))];
        assert_eq!(news(&stuck, "fine".into()), "delivery to archive has made no progress for 70 s; fine");
        assert_eq!(news(&[], "fine".into()), "fine");
    }
}
