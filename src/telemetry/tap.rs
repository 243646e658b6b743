//! Records as they pass, for people who look at a running agent: a sample of those that were just put into buffers.
//!
//! Reading never waits for whoever looks, and where nobody does it asks no more than [`Taps::is_open`], once a block. What
//! was sampled and not fetched yet is bounded; above that samples are dropped, and counted. Whatever steps took out of a
//! record is not in it here either: it is what will be sent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::record::Records;
use crate::source::{DestinationName, RouteName};

/// So many may look at the same time.
const MOST_TAPS: usize = 8;
/// Samples that wait to be fetched, and the bytes of their records; a single one may be longer.
const MOST_SAMPLES: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// Which records somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Those of this route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Those that go to this destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Those of files that have this path, or that fit this pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// So many a second at most.
    pub rate: u32,
}

/// What became of the records that were wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// So many passed.
    pub passed: u64,
    /// So many of them were above the rate.
    pub not_sampled: u64,
    /// So many samples were dropped, because those before them were not fetched.
    pub dropped: u64,
}

/// A record that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The route that made it.
    pub route: RouteName,
    /// The file that its line is of, as its route saw it.
    pub file: PathBuf,
    /// The destinations whose buffers took it.
    pub to: Vec<DestinationName>,
    /// As it will be sent, without the newline.
    pub record: Vec<u8>,
}

/// All who look. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Taps(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    taps: Vec<Arc<Tap>>,
    closed: bool,
}

#[derive(Debug)]
struct Tap {
    wanted: Wanted,
    file: Option<GlobMatcher>,
    news: Notify,
    state: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    samples: VecDeque<Sample>,
    bytes: usize,
    counts: Counts,
    /// What may still be taken, and when that was so.
    allowance: f64,
    at: Instant,
    closed: bool,
}

/// Why nobody else may look.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The pattern is none.
    #[error("{0}")]
    Pattern(#[from] globset::Error),
    /// Enough do already.
    #[error("{MOST_TAPS} look already; end one of them first")]
    TooMany,
    /// Nothing passes any more.
    #[error("reading has ended, so no record passes any more")]
    Ended,
}

impl Taps {
    /// Whether somebody looks.
    pub fn is_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Somebody looks from now on, until the answer is dropped.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub fn open(&self, wanted: Wanted, now: Instant) -> Result<Tapped, Refused> {
        let pattern = |text: &String| {
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            glob.map(|glob| glob.compile_matcher())
        };
        let file = wanted.file.as_ref().map(pattern).transpose()?;
        let mut all = self.lock();
        if all.closed {
            return Err(Refused::Ended);
        }
        if all.taps.len() >= MOST_TAPS {
            return Err(Refused::TooMany);
        }
        let state = Waiting {
            samples: VecDeque::new(),
            bytes: 0,
            counts: Counts::default(),
            allowance: f64::from(wanted.rate),
            at: now,
            closed: false,
        };
        let tap = Arc::new(Tap { wanted, file, news: Notify::new(), state: Mutex::new(state) });
        all.taps.push(Arc::clone(&tap));
        self.0.open.store(true, Ordering::Relaxed);
        Ok(Tapped { taps: self.clone(), tap })
    }

    /// Records of a file that buffers took. Of each of them `of` names the route, and gathers the destinations.
    pub fn pass<'a>(
        &self,
        file: &Path,
        records: &Records,
        mut of: impl FnMut(usize, &mut Vec<&'a DestinationName>) -> &'a RouteName,
        now: Instant,
    ) {
        let all = self.lock();
        let taps: Vec<&Arc<Tap>> = all.taps.iter().filter(|tap| tap.wants_file(file)).collect();
        if taps.is_empty() {
            return;
        }
        let (mut to, mut fits) = (Vec::new(), vec![Vec::new(); taps.len()]);
        for index in 0..records.len() {
            to.clear();
            let route = of(index, &mut to);
            for (tap, fits) in taps.iter().zip(&mut fits) {
                if tap.wants(route, &to) {
                    fits.push(index);
                }
            }
        }
        for (tap, fits) in taps.iter().zip(&fits) {
            tap.take(fits, now, |index| {
                to.clear();
                let route = of(index, &mut to).clone();
                let to = to.iter().map(|name| (*name).clone()).collect();
                Sample { route, file: file.to_owned(), to, record: records.record(index).to_vec() }
            });
        }
    }

    /// Nothing passes any more.
    pub fn close(&self) {
        let mut all = self.lock();
        all.closed = true;
        for tap in &all.taps {
            tap.lock().closed = true;
            tap.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.0.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    fn wants_file(&self, path: &Path) -> bool {
        let named = |text: &String| Path::new(text) == path;
        self.wanted.file.as_ref().is_none_or(named) || self.file.as_ref().is_some_and(|it| it.is_match(path))
    }

    fn wants(&self, route: &RouteName, to: &[&DestinationName]) -> bool {
        let is_to = |wanted: &String| to.iter().any(|name| name.as_str() == wanted);
        !to.is_empty()
            && self.wanted.route.as_ref().is_none_or(|wanted| route.as_str() == wanted)
            && self.wanted.destination.as_ref().is_none_or(is_to)
    }

    /// Takes as many of these as it may, spread over all of them.
    fn take(&self, fits: &[usize], now: Instant, mut sample: impl FnMut(usize) -> Sample) {
        let mut waiting = self.lock();
        let rate = f64::from(self.wanted.rate);
        let since = now.saturating_duration_since(waiting.at).as_secs_f64();
        waiting.allowance = (waiting.allowance + since * rate).min(rate);
        waiting.at = now;
        let taken = fits.len().min(waiting.allowance as usize);
        waiting.allowance -= taken as f64;
        waiting.counts.passed += fits.len() as u64;
        waiting.counts.not_sampled += (fits.len() - taken) as u64;
        for nth in 0..taken {
            let sample = sample(fits[nth * fits.len() / taken]);
            let bytes = sample.record.len();
            let full = waiting.samples.len() >= MOST_SAMPLES || waiting.bytes + bytes > MOST_BYTES;
            if full && !waiting.samples.is_empty() {
                waiting.counts.dropped += 1;
                continue;
            }
            waiting.bytes += bytes;
            waiting.samples.push_back(sample);
        }
        drop(waiting);
        if taken > 0 {
            self.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who looks. Dropped, nothing is kept for them any more.
#[derive(Debug)]
pub struct Tapped {
    taps: Taps,
    tap: Arc<Tap>,
}

impl Tapped {
    /// The samples that came since the last call, once there are some; none when no more will come.
    pub async fn next(&mut self) -> Option<VecDeque<Sample>> {
        loop {
            {
                let mut waiting = self.tap.lock();
                if !waiting.samples.is_empty() {
                    waiting.bytes = 0;
                    return Some(std::mem::take(&mut waiting.samples));
                }
                if waiting.closed {
                    return None;
                }
            }
            self.tap.news.notified().await;
        }
    }

    /// What became of the records so far.
    pub fn counts(&self) -> Counts {
        self.tap.lock().counts
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        let mut all = self.taps.lock();
        all.taps.retain(|tap| !Arc::ptr_eq(tap, &self.tap));
        let open = !all.taps.is_empty();
        self.taps.0.open.store(open, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FILE: &str = "/var/log/a.log";

    fn records(texts: &[String]) -> Records {
        let mut records = Records::default();
        for text in texts {
            records.push_with(|out| {
                out.extend_from_slice(text.as_bytes());
                true
            });
        }
        records
    }

    fn numbered(count: usize) -> Records {
        records(&(0..count).map(|number| number.to_string()).collect::<Vec<_>>())
    }

    fn pass(taps: &Taps, records: &Records, now: Instant) {
        let (route, names) = (RouteName::from("logs"), ["a".into(), "b".into()]);
        let even = |index: usize| index.is_multiple_of(2);
        let of = |index: usize, to: &mut Vec<_>| {
            to.push(&names[usize::from(!even(index))]);
            &route
        };
        // The names are those of the pipeline, which live as long.
        taps.pass(Path::new(FILE), records, of, now);
    }

    fn texts(samples: Option<VecDeque<Sample>>) -> Vec<String> {
        let samples = samples.unwrap_or_default().into_iter();
        samples.map(|sample| String::from_utf8(sample.record).unwrap()).collect()
    }

    fn everything(rate: u32) -> Wanted {
        Wanted { rate, ..Wanted::default() }
    }

    #[tokio::test]
    async fn nobody_is_told_of_records_that_passed_before_they_looked_or_that_they_do_not_want() {
        let (taps, now) = (Taps::default(), Instant::now());
        assert!(!taps.is_open());
        pass(&taps, &numbered(3), now);
        let of = |change: fn(&mut Wanted)| {
            let mut wanted = everything(100);
            change(&mut wanted);
            taps.open(wanted, now).unwrap()
        };
        let mut all = of(|_| {});
        let mut to_b = of(|wanted| wanted.destination = Some("b".into()));
        let mut by_pattern = of(|wanted| wanted.file = Some("/var/*/a.log".into()));
        let others = [
            of(|wanted| wanted.route = Some("others".into())),
            of(|wanted| wanted.file = Some("/var/*.log".into())),
        ];
        assert!(taps.is_open());
        pass(&taps, &numbered(4), now);
        assert_eq!(texts(all.next().await), ["0", "1", "2", "3"]);
        assert_eq!(texts(by_pattern.next().await), ["0", "1", "2", "3"]);
        assert_eq!(texts(to_b.next().await), ["1", "3"]);
        assert!(others.iter().all(|tapped| tapped.counts() == Counts::default()));
        drop((all, to_b, by_pattern, others));
        assert!(!taps.is_open());
    }

    #[tokio::test]
    async fn so_many_a_second_are_taken_spread_over_what_passes() {
        let (taps, now) = (Taps::default(), Instant::now());
        let mut tapped = taps.open(everything(4), now).unwrap();
        pass(&taps, &numbered(8), now);
        assert_eq!(texts(tapped.next().await), ["0", "2", "4", "6"]);
        pass(&taps, &numbered(8), now);
        pass(&taps, &numbered(8), now + Duration::from_millis(500));
        assert_eq!(texts(tapped.next().await), ["0", "4"]);
        assert_eq!(tapped.counts(), Counts { passed: 24, not_sampled: 18, dropped: 0 });
    }

    #[tokio::test]
    async fn what_is_not_fetched_is_bounded_and_what_is_dropped_is_counted() {
        let (taps, now) = (Taps::default(), Instant::now());
        let mut tapped = taps.open(everything(1_000_000), now).unwrap();
        let long = records(&vec!["x".repeat(1 << 18); 6]);
        pass(&taps, &long, now);
        assert_eq!(tapped.counts().dropped, 2);
        assert_eq!(texts(tapped.next().await).len(), 4);
        pass(&taps, &records(&["x".repeat(2 << 20)]), now);
        assert_eq!(texts(tapped.next().await).len(), 1, "one is taken however long it is");
        pass(&taps, &numbered(MOST_SAMPLES + 10), now);
        assert_eq!(texts(tapped.next().await).len(), MOST_SAMPLES);
        assert_eq!(tapped.counts().dropped, 12);
    }

    #[tokio::test]
    async fn who_looks_hears_of_the_end_and_only_so_many_may() {
        let (taps, now) = (Taps::default(), Instant::now());
        let mut all: Vec<Tapped> = (0..MOST_TAPS).map(|_| taps.open(everything(1), now).unwrap()).collect();
        assert!(matches!(taps.open(everything(1), now), Err(Refused::TooMany)));
        pass(&taps, &numbered(1), now);
        taps.close();
        let mut last = all.pop().unwrap();
        assert_eq!(texts(last.next().await), ["0"], "what passed before the end is told");
        assert!(last.next().await.is_none());
        assert!(matches!(taps.open(everything(1), now), Err(Refused::Ended)));
        let wrong = Wanted { file: Some("/var/[".into()), ..everything(1) };
        assert!(matches!(Taps::default().open(wrong, now), Err(Refused::Pattern(_))));
    }
}
