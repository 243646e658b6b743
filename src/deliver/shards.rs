//! What answers say about the shards of a data stream: how much each took and refused, and which of them is hot.
//!
//! A shard takes so much a second, whatever its neighbours do. Where one partition key has more than its share, its shard
//! refuses records while others are idle, and the stream's own figures hide it. So what goes to each shard is
//! counted, and of a shard that refuses, what the largest part of its load has for a key. It is watched only then: as
//! long as nothing is refused no key is looked at.
//!
//! What is held is bounded: [`MOST_COUNTED`] shards have counters of their own and [`MOST_WATCHED`] are watched, with
//! [`Heaviest::SLOTS`] keys of each that refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::answer::{Answer, Class, Outcome};
use super::entry::Entry;
use super::settings::PartitionKey;
use super::settled::Settled;
use super::shape::Shape;

/// What a shard takes in a second: bytes, partition keys counted (Kinesis Data Streams quotas).
pub const SHARD_BYTES: usize = 1 << 20;
/// What a shard takes in a second: records of the service (Kinesis Data Streams quotas).
pub const SHARD_RECORDS: usize = 1000;

/// So many shards of a destination have counters of their own; what went to others is counted together.
const MOST_COUNTED: usize = 64;
/// A shard that no answer named for so long gives its counters up: after a resharding others need the place.
const SILENT: Duration = Duration::from_secs(3600);
/// So many shards are watched; an on-demand stream may have more, of which a hot one is soon among these.
const MOST_WATCHED: usize = 1024;
/// Over so long it is looked at which shard is hot.
const WINDOW: Duration = Duration::from_secs(10);
/// A shard that refused fewer records than this in that time only shows how a rate is learned.
const LEAST_REFUSED: u64 = 5;
/// A shard with so much of the load of an average one, in per cent, is hot whatever its keys.
const UNEVEN: u64 = 150;
/// A hot shard is told again only after so long.
const TELL_AGAIN: Duration = Duration::from_secs(300);

/// A shard of a data stream, by the number in its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u64);

impl Shard {
    const PREFIX: &str = "shardId-";

    /// The first shard that a text names: an answer's `ShardId`, or the message of a record that was throttled.
    pub(super) fn named_in(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once(Self::PREFIX)?;
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok().map(Self)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:012}", Self::PREFIX, self.0)
    }
}

/// What became of the records of the service that went to a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCount {
    /// Records that it took.
    pub taken: u64,
    /// Their bytes, partition keys counted.
    pub bytes: u64,
    /// Records that it refused because it was sent too much.
    pub throttled: u64,
}

/// A shard that refuses records because more than its share goes there.
#[derive(Clone, Debug, PartialEq)]
pub struct HotShard {
    /// Which it is.
    pub shard: Shard,
    /// Records of the service that it refused in the last ten seconds or more.
    pub refused: u64,
    /// Its load beside that of an average shard that this node sends to.
    pub times_average: f64,
    /// What the largest part of its load has in common; none where keys are drawn at random, or no key has a
    /// tenth of it.
    pub key: Option<HotKey>,
}

/// What fills a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct HotKey {
    /// The partition key, or the explicit hash key where there is one.
    pub key: String,
    /// Its part of the shard's load, from 0 to 1; at least this.
    pub share: f64,
}

/// The shards of one destination.
#[derive(Debug, Default)]
pub(super) struct Shards {
    /// Keys are made of what is in the records, so that one may fill a shard.
    keyed: bool,
    /// Those that have counters of their own, and when they were named last.
    counted: BTreeMap<Shard, Instant>,
    begun: Option<Instant>,
    watched: BTreeMap<Shard, Load>,
    /// Hot ones, and when they were told.
    told: BTreeMap<Shard, Instant>,
}

/// What went to a shard in a window.
#[derive(Debug, Default)]
struct Load {
    sum: u64,
    refused: u64,
    keys: Option<Heaviest>,
}

impl Shards {
    pub(super) fn of(shape: &Shape) -> Self {
        let keyed = matches!(shape.key, Some(PartitionKey::Fixed(_) | PartitionKey::Template(_)));
        Self { keyed: keyed || shape.hash_key.is_some(), ..Self::default() }
    }

    /// Counts what an answer says of the shards, in [`Settled`]: the counters, and a hot shard from time to time.
    pub(super) fn answered(
        &mut self,
        entries: &[Entry],
        answer: &Answer,
        now: Instant,
        settled: &mut Settled,
    ) {
        let Outcome::Judged(failures) = &answer.outcome else { return };
        if answer.shards.is_empty() {
            return;
        }
        self.turn(now, settled);
        let mut failures = failures.iter().peekable();
        let mut counts = BTreeMap::<Shard, ShardCount>::new();
        for (index, (entry, shard)) in entries.iter().zip(&answer.shards).enumerate() {
            let failure = failures.next_if(|(failed, _)| *failed == index).map(|(_, failure)| failure.class);
            let (Some(shard), None | Some(Class::Throttled)) = (shard, failure) else { continue };
            let size = entry.sent_size();
            let count = counts.entry(*shard).or_default();
            match failure {
                None => {
                    count.taken += 1;
                    count.bytes += size as u64;
                }
                Some(_) => count.throttled += 1,
            }
            self.watch(*shard, entry, load(size), failure.is_some());
        }
        for (shard, count) in counts {
            let counted = self.counted.len() < MOST_COUNTED || self.counted.contains_key(&shard);
            if counted {
                self.counted.insert(shard, now);
            }
            let sum = settled.shards.entry(counted.then_some(shard)).or_default();
            sum.taken += count.taken;
            sum.bytes += count.bytes;
            sum.throttled += count.throttled;
        }
    }

    fn watch(&mut self, shard: Shard, entry: &Entry, load: u64, refused: bool) {
        if self.watched.len() >= MOST_WATCHED && !self.watched.contains_key(&shard) {
            return;
        }
        let watched = self.watched.entry(shard).or_default();
        watched.sum += load;
        watched.refused += u64::from(refused);
        if self.keyed && (refused || watched.keys.is_some()) {
            let key = entry.explicit_hash_key().map(Cow::Borrowed).or_else(|| entry.partition_key());
            watched.keys.get_or_insert_default().add(&key.unwrap_or_default(), load);
        }
    }

    /// Looks for the hottest shard when a window is over, and begins the next.
    fn turn(&mut self, now: Instant, settled: &mut Settled) {
        let begun = *self.begun.get_or_insert(now);
        if now.saturating_duration_since(begun) < WINDOW {
            return;
        }
        self.begun = Some(now);
        self.counted.retain(|shard, named| {
            let stays = now.saturating_duration_since(*named) < SILENT;
            if !stays {
                settled.silent_shards.push(*shard);
            }
            stays
        });
        self.told.retain(|_, told| now.saturating_duration_since(*told) < TELL_AGAIN);
        let watched = std::mem::take(&mut self.watched);
        let average = watched.values().map(|load| load.sum).sum::<u64>() / watched.len().max(1) as u64;
        let new = watched.iter().filter(|(shard, _)| !self.told.contains_key(shard));
        let hot = new.filter_map(|(shard, load)| load.hot(*shard, average)).max_by_key(|hot| hot.refused);
        if let Some(hot) = &hot {
            self.told.insert(hot.shard, now);
        }
        settled.hot_shard = hot;
        // Of one that refused, all keys of the next window count.
        for (shard, load) in watched {
            if load.refused > 0 {
                let keys = load.keys.map(|_| Heaviest::default());
                self.watched.insert(shard, Load { keys, ..Load::default() });
            }
        }
    }
}

impl Load {
    fn hot(&self, shard: Shard, average: u64) -> Option<HotShard> {
        if self.refused < LEAST_REFUSED {
            return None;
        }
        let key = self.keys.as_ref().and_then(Heaviest::most);
        let by_key = key.as_ref().is_some_and(|key| key.share >= 0.5);
        (by_key || self.sum * 100 >= average * UNEVEN).then(|| HotShard {
            shard,
            refused: self.refused,
            times_average: self.sum as f64 / average.max(1) as f64,
            key: key.filter(|key| key.share >= 0.1),
        })
    }
}

/// What a record of this size takes of a shard's second, in millionths: of its bytes or of its records, whichever is more.
fn load(size: usize) -> u64 {
    (size as u64 * 1_000_000 / SHARD_BYTES as u64).max(1_000_000 / SHARD_RECORDS as u64)
}

/// The heaviest of many keys, in the space of a few ("Space-Saving", Metwally, Agrawal and El Abbadi 2005): a new key takes
/// the place of the lightest, and its weight, which it might have had, as a possible error.
#[derive(Debug, Default)]
struct Heaviest {
    total: u64,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    key: String,
    weight: u64,
    error: u64,
}

impl Heaviest {
    const SLOTS: usize = 16;

    fn add(&mut self, key: &str, weight: u64) {
        self.total += weight;
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.key == key) {
            slot.weight += weight;
        } else if self.slots.len() < Self::SLOTS {
            self.slots.push(Slot { key: key.to_owned(), weight, error: 0 });
        } else if let Some(lightest) = self.slots.iter_mut().min_by_key(|slot| slot.weight) {
            lightest.key.clear();
            lightest.key.push_str(key);
            lightest.error = lightest.weight;
            lightest.weight += weight;
        }
    }

    /// The heaviest by what it weighs for certain.
    fn most(&self) -> Option<HotKey> {
        let certain = |slot: &Slot| slot.weight - slot.error;
        let slot = self.slots.iter().max_by_key(|slot| certain(slot))?;
        Some(HotKey { key: slot.key.clone(), share: certain(slot) as f64 / self.total.max(1) as f64 })
    }
}

#[cfg(test)]
mod tests;
