//! Repeated messages are limited: a disk that fails a thousand times a second must not fill the log with it.
//!
//! Messages are the same if they have the same event, wherever in the code they come from, and are of the same destination
//! if they are of one: a destination that fails all the time silences nobody but itself. Of each kind so many a minute are
//! written; the rest is counted, and the counts are told with the next summary and at the end.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, warn};
use tracing_subscriber::layer::{Context, Layer};

/// The time over which messages are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Warnings and errors of one kind in that time.
const FEW: u32 = 5;
/// Other messages of one kind in that time: a node may start with hundreds of files, each worth a line.
const MANY: u32 = 300;
/// The event that tells the counts. It is limited by itself: one for each kind, as often as there are summaries.
const SUPPRESSED: &str = "messages_suppressed";

/// What was not written. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Suppressed(Arc<Mutex<HashMap<Kind, Window>>>);

/// What messages have in common that count together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Kind {
    /// The event, or for a library's message where it came from.
    event: String,
    destination: Option<String>,
    /// Of the same event a warning is not kept back because of many that are none.
    few: bool,
}

#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    suppressed: u64,
}

/// Messages that were not written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct KeptBack {
    event: String,
    /// The destination that they were of, if they were of one.
    destination: Option<String>,
    count: u64,
}

impl Suppressed {
    /// Tells what was not written since the last call.
    pub fn tell(&self) {
        for KeptBack { event, destination, count } in self.take(Instant::now()) {
            warn!(
                event = "messages_suppressed",
                of = event,
                destination,
                count,
                "the same message came more often than it was written"
            );
        }
    }

    fn take(&self, now: Instant) -> Vec<KeptBack> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        windows.retain(|kind, window| {
            let count = std::mem::take(&mut window.suppressed);
            if count > 0 {
                counts.push(KeptBack {
                    event: kind.event.clone(),
                    destination: kind.destination.clone(),
                    count,
                });
            }
            // Destinations come and go.
            !window.is_over(now)
        });
        counts.sort_unstable();
        counts
    }

    fn lets_through(&self, kind: Kind, now: Instant) -> bool {
        let most = if kind.few { FEW } else { MANY };
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(kind).or_insert(Window { since: now, written: 0, suppressed: 0 });
        if window.is_over(now) {
            (window.since, window.written) = (now, 0);
        }
        if window.written < most {
            window.written += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

/// The layer that keeps repeated messages back.
pub(super) struct RateLimit(pub(super) Suppressed);

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        // Whoever asks for more than `info` wants all of it.
        if *event.metadata().level() > Level::INFO {
            return true;
        }
        let mut kind = Kind::default();
        event.record(&mut kind);
        kind.event == SUPPRESSED || self.0.lets_through(kind.complete(event.metadata()), Instant::now())
    }
}

impl Kind {
    fn complete(mut self, metadata: &Metadata<'_>) -> Self {
        if self.event.is_empty() {
            metadata.target().clone_into(&mut self.event);
        }
        self.few = *metadata.level() <= Level::WARN;
        self
    }
}

impl Visit for Kind {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.event),
            "destination" => self.destination = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "destination" {
            let mut destination = String::new();
            // Writing into a string does not fail.
            let _ = write!(destination, "{value:?}");
            self.destination = Some(destination);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::info;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn kept_back(event: &str, destination: Option<&str>, count: u64) -> KeptBack {
        KeptBack { event: event.into(), destination: destination.map(str::to_owned), count }
    }

    /// What is kept back of what is said.
    fn limited(say: impl FnOnce()) -> Vec<KeptBack> {
        let suppressed = Suppressed::default();
        let subscriber = tracing_subscriber::registry().with(RateLimit(suppressed.clone()));
        tracing::subscriber::with_default(subscriber, say);
        suppressed.take(Instant::now())
    }

    #[test]
    fn of_a_repeated_message_a_few_a_minute_are_written_and_the_rest_is_counted() {
        let suppressed = Suppressed::default();
        let kind = Kind { event: "disk_failed".into(), destination: None, few: true };
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        for second in 0..u64::from(FEW) {
            assert!(suppressed.lets_through(kind.clone(), at(second)));
        }
        assert!(
            !suppressed.lets_through(kind.clone(), at(5)) && !suppressed.lets_through(kind.clone(), at(59))
        );
        assert_eq!(suppressed.take(at(59)), [kept_back("disk_failed", None, 2)]);
        assert!(!suppressed.lets_through(kind.clone(), at(59)), "telling the count begins no new minute");
        assert!(suppressed.lets_through(kind.clone(), at(60)));
        assert_eq!(suppressed.take(at(60)), [kept_back("disk_failed", None, 1)]);
        assert_eq!(suppressed.take(at(60)), []);
        assert_eq!(suppressed.take(at(120)), []);
        assert!(suppressed.0.lock().unwrap().is_empty(), "what does not come any more is forgotten");
    }

    #[test]
    fn an_event_that_comes_from_several_places_is_one_kind_of_message() {
        let told = limited(|| {
            for _ in 0..FEW {
                warn!(event = "storm", "here");
                warn!(event = "storm", path = "/a", "there");
            }
            for _ in 0..FEW {
                info!(event = "calm", "again");
            }
        });
        assert_eq!(told, [kept_back("storm", None, FEW.into())]);
    }

    #[test]
    fn a_destination_silences_nobody_but_itself() {
        let told = limited(|| {
            for _ in 0..FEW + 2 {
                warn!(event = "denied", destination = %"a", "no");
            }
            for _ in 0..FEW {
                warn!(event = "denied", destination = "b", "no");
            }
        });
        assert_eq!(told, [kept_back("denied", Some("a"), 2)]);
    }

    #[test]
    fn many_that_are_no_warnings_keep_no_warning_back() {
        let told = limited(|| {
            (0..MANY).for_each(|_| info!(event = "mixed", "fine"));
            (0..FEW).for_each(|_| warn!(event = "mixed", "not fine"));
        });
        assert_eq!(told, []);
    }

    #[test]
    fn the_counts_themselves_and_what_was_asked_for_are_never_kept_back() {
        let told = limited(|| {
            (0..FEW * 2).for_each(|_| warn!(event = SUPPRESSED, of = "a", "again"));
            (0..MANY * 2).for_each(|_| tracing::debug!(event = "request", "again"));
        });
        assert_eq!(told, []);
    }

    #[test]
    fn what_a_library_repeats_is_limited_by_where_it_comes_from() {
        let told = limited(|| {
            (0..FEW).for_each(|_| warn!(target: "library", "this"));
            (0..FEW).for_each(|_| warn!(target: "library", "that"));
        });
        assert_eq!(told, [kept_back("library", None, FEW.into())]);
    }
}
