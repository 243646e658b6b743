//! How things are with the API: what is said of it, and when it is tried again.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::watcher;
use tracing::{info, warn};

use super::PodStore;

/// The pauses between attempts: doubled each time, within these bounds, and up to half of it longer by chance, so that the
/// nodes of a cluster do not come back all at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// After so long without an answer the client is made anew, with what its files hold then.
const RENEW: Duration = Duration::from_secs(60);

/// How things are. Clones are the same.
#[derive(Clone)]
pub(super) struct Link {
    store: PodStore,
    /// Whether it is what pods are known by: without it, nobody waits for them.
    vital: bool,
    outage: Arc<Mutex<Outage>>,
}

#[derive(Default)]
struct Outage {
    since: Option<Instant>,
    attempts: u32,
}

impl Link {
    /// By which pods are known.
    pub(super) fn new(store: PodStore) -> Self {
        Self { store, vital: true, outage: Arc::default() }
    }

    /// By which other things are known.
    pub(super) fn aside(store: PodStore) -> Self {
        Self { vital: false, ..Self::new(store) }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was answered.
    pub(super) fn answered(&self) {
        let over = std::mem::take(&mut *self.outage()).since;
        if self.vital {
            self.store.answers();
            if let Some(since) = over {
                info!(event = "kubernetes_api_available", after = ?since.elapsed(), "the API of Kubernetes answers again");
            }
        }
    }

    /// Something was not. Is said once an outage.
    pub(super) fn failed(&self, resource: &'static str, error: &str) {
        self.store.metrics().failed(resource);
        let first = {
            let mut outage = self.outage();
            outage.attempts += 1;
            let first = outage.since.is_none();
            outage.since.get_or_insert_with(Instant::now);
            first
        };
        if self.vital {
            self.store.failing();
        } else {
            self.store.goes_without(resource);
        }
        if first {
            warn!(
                event = "kubernetes_api_unavailable",
                resource,
                error,
                "the API of Kubernetes does not tell of {resource}; records go on with what is known, and it is tried again: \
                 {error}"
            );
        }
    }

    /// Whether it has not answered for so long that what the client knows may be old.
    pub(super) fn wants_renewal(&self) -> bool {
        self.outage().since.is_some_and(|since| since.elapsed() >= RENEW)
    }

    /// Before the next attempt.
    pub(super) fn pause(&self) -> Duration {
        let (least, most) = PAUSES;
        let doubled = 2_u32.saturating_pow(self.outage().attempts.saturating_sub(1).min(16));
        least.saturating_mul(doubled).min(most).mul_f64(1.0 + fastrand::f64() / 2.0)
    }
}

/// Whether the API has forgotten where a watch wants to go on.
pub(super) fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) | watcher::Error::WatchError(status) => {
            status.code == 410
        }
        _ => false,
    }
}

/// An error with its remedy. `doing` is what was not allowed.
pub(super) fn explained(error: &(dyn Error + 'static), doing: &str) -> String {
    let text = chain(error);
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    let status = causes.find_map(|cause| match cause.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    });
    match status {
        Some(403) => format!("{text}; bind the service account to a ClusterRole that lets it {doing}"),
        Some(401) => {
            format!("{text}; the token is not known: see that the service account's token is mounted")
        }
        _ => text,
    }
}

/// An error with what is behind it, each text once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |&error| error.source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
