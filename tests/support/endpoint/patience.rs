//! Waiting for an event without waiting for ever.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tokio::sync::oneshot;

/// After this long the awaited event is taken never to come. It only turns a hang into a failure that says what
/// was missing: no test depends on the time itself.
const PATIENCE: Duration = Duration::from_secs(180);

/// Awaits an event, and panics with `missing` if it does not come. Counts wall time on a thread of its own, as
/// tokio's clock may be paused, and a paused clock runs ahead while a test waits for a socket.
pub async fn patiently<T>(missing: impl FnOnce() -> String, event: impl Future<Output = T>) -> T {
    let (_came, ended) = channel::<()>();
    let (give_up, given_up) = oneshot::channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            // Nobody listens any more if the event came at the same moment.
            let _ = give_up.send(());
        }
    });
    tokio::select! {
        biased;
        value = event => value,
        Ok(()) = given_up => panic!("waited {PATIENCE:?} in vain: {}", missing()),
    }
}
