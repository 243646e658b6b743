//! A line every half minute that says how it goes.

use std::time::Duration;

use tracing::info;

use crate::units::ByteSize;

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Records delivered, over all destinations.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Records in the buffers.
    pub buffered: u64,
    /// Bytes in followed files that some destination has not read yet.
    pub behind: u64,
    /// The age of the oldest record that waits.
    pub oldest: Duration,
}

/// Tells [`Sums`] and what they grew by.
#[derive(Debug, Default)]
pub struct Summary {
    last: Sums,
}

impl Summary {
    /// The time between two lines.
    pub const EVERY: Duration = Duration::from_secs(30);

    /// Writes the line.
    pub fn tell(&mut self, now: Sums) {
        let text = self.text(&now);
        info!(
            event = "summary",
            lines = now.lines,
            bytes = now.bytes,
            delivered = now.delivered,
            delivered_bytes = now.delivered_bytes,
            buffered = now.buffered,
            behind_bytes = now.behind,
            oldest_seconds = now.oldest.as_secs(),
            "{text}"
        );
        self.last = now;
    }

    fn text(&self, now: &Sums) -> String {
        let behind = if now.behind == 0 && now.buffered == 0 {
            "nothing waits".to_owned()
        } else {
            format!(
                "{} records wait (the oldest for {} s), {} not read yet",
                now.buffered,
                now.oldest.as_secs(),
                ByteSize(now.behind)
            )
        };
        format!(
            "{} lines read (+{}, {}), {} records delivered (+{}, {}), {behind}",
            now.lines,
            now.lines - self.last.lines,
            ByteSize(now.bytes - self.last.bytes),
            now.delivered,
            now.delivered - self.last.delivered,
            ByteSize(now.delivered_bytes - self.last.delivered_bytes),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_totals_what_came_since_and_how_far_behind() {
        let mut summary = Summary::default();
        let first = Sums { lines: 10, bytes: 2048, delivered: 8, delivered_bytes: 1024, ..Sums::default() };
        summary.tell(first);
        let next = Sums {
            lines: 15,
            bytes: 3072,
            buffered: 7,
            behind: 1 << 20,
            oldest: Duration::from_secs(3),
            ..first
        };
        assert_eq!(
            summary.text(&next),
            "15 lines read (+5, 1KiB), 8 records delivered (+0, 0B), 7 records wait (the oldest for 3 s), 1MiB not read yet"
        );
        assert!(Summary::default().text(&first).ends_with("nothing waits"));
    }
}
