//! How far the files are, for people and for metrics.

use std::collections::{BTreeMap, HashMap};
use std::time::{Instant, SystemTime};

use super::Pipeline;
use super::unread::Unread;
use crate::agent::open::nowhere;
use crate::agent::totals::{Lag, Lags};
use crate::source::{DestinationName, Incarnation, RouteName};
use crate::tail::View;
use crate::telemetry::status::{File, FilePosition, FileState};

impl Pipeline {
    /// Measures what takes a look at every file.
    pub(in crate::agent) fn measure(&mut self, now: Instant, wall: SystemTime) {
        self.totals.open_files.set(self.tailer.open_files() as i64);
        self.measure_pods();
        let mut unread = std::mem::take(&mut self.unread);
        let mut known: HashMap<Incarnation, Unread> = HashMap::with_capacity(unread.len());
        let mut routes: BTreeMap<RouteName, u64> = BTreeMap::new();
        let mut by: BTreeMap<(RouteName, DestinationName), Lag> = BTreeMap::new();
        let mut behind = 0;
        for view in self.tailer.views() {
            let entry = view.entry;
            *routes.entry(entry.route.clone()).or_default() += 1;
            let Some((length, written)) = view.extent else { continue };
            let mut notes = unread.remove(&entry.incarnation).unwrap_or_default();
            let least = least(&view);
            let age = wall.duration_since(written).unwrap_or_default();
            notes.note(now, length, least, now.checked_sub(age));
            notes.rate(now, furthest(&view));
            let unit = view.bytes_for_offset;
            behind += length.saturating_sub(least).saturating_mul(unit);
            for progress in &view.progress {
                let lag = by.entry((entry.route.clone(), progress.to.clone())).or_default();
                lag.add(
                    length.saturating_sub(progress.position.offset).saturating_mul(unit),
                    notes.since(progress.position.offset),
                );
            }
            known.insert(entry.incarnation, notes);
        }
        self.unread = known;
        self.totals.behind.set(i64::try_from(behind).unwrap_or(i64::MAX));
        self.totals.tell_lags(Lags { routes, by });
    }

    /// The files that are followed, those first that are the furthest behind.
    pub(in crate::agent) fn files(&mut self, now: Instant, wall: SystemTime) -> Vec<File> {
        self.measure(now, wall);
        let mut files = Vec::new();
        let mut unread = std::mem::take(&mut self.unread);
        for view in self.tailer.views() {
            let notes = unread.get_mut(&view.entry.incarnation);
            files.push(self.file(&view, notes, now));
        }
        self.unread = unread;
        files.sort_by(|a: &File, b| b.behind_bytes.cmp(&a.behind_bytes).then_with(|| a.path.cmp(&b.path)));
        files
    }

    fn file(&self, view: &View<'_>, notes: Option<&mut Unread>, now: Instant) -> File {
        let entry = view.entry;
        let least = least(view);
        let unit = view.bytes_for_offset;
        let behind_bytes =
            view.extent.map_or(0, |(length, _)| length.saturating_sub(least).saturating_mul(unit));
        let since = notes.as_ref().and_then(|notes| notes.since(least));
        File {
            path: entry.name(),
            moved_to: entry.moved_to.as_ref().map(|path| path.to_string_lossy().into_owned()),
            route: entry.route.to_string(),
            incarnation: entry.incarnation.to_string(),
            state: if !view.open {
                FileState::Waiting
            } else if entry.unrouted {
                FileState::Unrouted
            } else if self.blocked.contains(&entry.incarnation) {
                FileState::Blocked
            } else if self.limited.contains_key(&entry.incarnation) {
                FileState::RateLimited
            } else if view.away {
                FileState::Rotated
            } else if behind_bytes > 0 {
                FileState::Reading
            } else {
                FileState::CaughtUp
            },
            length: view.extent.map(|(length, _)| length).filter(|_| entry.journal.is_none()),
            behind_bytes,
            behind_seconds: since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64()),
            bytes_per_second: notes.map_or(0.0, |notes| notes.rate(now, furthest(view)) * unit as f64),
            destinations: view
                .progress
                .iter()
                .filter(|progress| progress.to != nowhere())
                .map(|progress| FilePosition {
                    name: progress.to.to_string(),
                    offset: progress.position.offset,
                    delivered: progress.delivered.offset,
                })
                .collect(),
        }
    }
}

fn least(view: &View<'_>) -> u64 {
    view.progress.iter().map(|progress| progress.position.offset).min().unwrap_or_default()
}

fn furthest(view: &View<'_>) -> u64 {
    view.progress.iter().map(|progress| progress.position.offset).max().unwrap_or_default()
}
