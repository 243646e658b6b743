//! Repeated messages are limited: a disk that fails a thousand times a second must not fill the log with it.
//!
//! What counts as the same message is its place in the code. Of each, so many a minute are written; the rest
//! is counted, and the count is told with the next summary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The time over which messages are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// Warnings and errors of one kind in that time.
const FEW: u32 = 5;
/// Other messages of one kind in that time: a node may start with hundreds of files, each worth a line.
const MANY: u32 = 300;

/// What was not written. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct Suppressed(Arc<Mutex<HashMap<Identifier, Window>>>);

#[derive(Debug)]
struct Window {
    since: Instant,
    written: u32,
    suppressed: u64,
    name: String,
}

impl Suppressed {
    /// How many messages were not written since the last call, by the name of their event.
    pub fn take(&self) -> Vec<(String, u64)> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<(String, u64)> = windows
            .values_mut()
            .filter(|window| window.suppressed > 0)
            .map(|window| (window.name.clone(), std::mem::take(&mut window.suppressed)))
            .collect();
        counts.sort_unstable();
        counts
    }

    fn lets_through(&self, id: Identifier, limit: u32, now: Instant, name: impl FnOnce() -> String) -> bool {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.entry(id).or_insert_with(|| Window {
            since: now,
            written: 0,
            suppressed: 0,
            name: name(),
        });
        if now.saturating_duration_since(window.since) >= WINDOW {
            (window.since, window.written) = (now, 0);
        }
        if window.written < limit {
            window.written += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }
}

/// The layer that keeps repeated messages back.
pub(super) struct RateLimit(pub(super) Suppressed);

impl<S: Subscriber> Layer<S> for RateLimit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let limit = match *metadata.level() {
            Level::ERROR | Level::WARN => FEW,
            Level::INFO => MANY,
            // Whoever asks for more wants all of it.
            _ => return true,
        };
        self.0.lets_through(metadata.callsite(), limit, Instant::now(), || {
            let mut name = EventName(None);
            event.record(&mut name);
            name.0.unwrap_or_else(|| metadata.target().to_owned())
        })
    }
}

struct EventName(Option<String>);

impl Visit for EventName {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn of_a_repeated_message_a_few_a_minute_are_written_and_the_rest_is_counted() {
        use tracing::Callsite as _;
        let suppressed = Suppressed::default();
        let id = tracing::callsite! { name: "here", kind: tracing::metadata::Kind::EVENT, fields: }
            .metadata()
            .callsite();
        let start = Instant::now();
        let ask = |after: u64| {
            suppressed
                .lets_through(id.clone(), 2, start + Duration::from_secs(after), || "disk_failed".into())
        };
        assert_eq!([ask(0), ask(1), ask(2), ask(59)], [true, true, false, false]);
        assert_eq!(suppressed.take(), [("disk_failed".to_owned(), 2)]);
        assert!(ask(60));
        assert_eq!(suppressed.take(), []);
    }

    #[test]
    fn the_layer_names_what_it_held_back_by_its_event() {
        let suppressed = Suppressed::default();
        let subscriber = tracing_subscriber::registry().with(RateLimit(suppressed.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..FEW + 7 {
                tracing::warn!(event = "storm", "again");
            }
            for _ in 0..FEW + 7 {
                tracing::info!(event = "calm", "again");
            }
        });
        assert_eq!(suppressed.take(), [("storm".to_owned(), 7)]);
    }
}
