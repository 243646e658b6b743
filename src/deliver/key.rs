//! Partition keys: what decides a record's shard.

use std::borrow::Cow;
use std::sync::Arc;

use super::settings::{ExplicitHashKey, PartitionKey};
use super::template::{self, Template};
use crate::record::Run;

/// The most characters of a partition key (Kinesis PutRecords API reference).
const MAX_CHARS: usize = 256;

/// What decides an entry's shard.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    text: Text,
    /// A decimal number in place of the text's hash.
    hash: Option<Arc<str>>,
}

/// A key's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySize {
    /// Of the key itself, which count towards every limit.
    pub(super) text: usize,
    /// Of the number in place of its hash, if there is one.
    pub(super) hash: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Text {
    /// 16 hexadecimal digits: the service hashes the key, so 64 bits spread as evenly as more would, and a
    /// key's bytes count towards every limit.
    Bits(u64),
    Given(Arc<str>),
}

impl Key {
    /// The length of keys that are random, or a hash of the content.
    pub(super) const BITS_LEN: usize = 16;

    pub(super) fn size(&self) -> KeySize {
        let text = match &self.text {
            Text::Bits(_) => Self::BITS_LEN,
            Text::Given(text) => text.len(),
        };
        KeySize { text, hash: self.hash.as_ref().map(|hash| hash.len()) }
    }

    pub(super) fn text(&self) -> Cow<'_, str> {
        match &self.text {
            Text::Bits(bits) => format!("{bits:016x}").into(),
            Text::Given(text) => (&**text).into(),
        }
    }

    pub(super) fn hash(&self) -> Option<&str> {
        self.hash.as_deref()
    }
}

/// Gives entries and records their keys.
#[derive(Debug)]
pub(super) struct Keys {
    source: Source,
    hash: Option<HashSource>,
    rng: fastrand::Rng,
    /// Given last: neighbours mostly have the same.
    last: Option<Arc<str>>,
    fallbacks: u64,
}

#[derive(Debug)]
enum Source {
    Random,
    ContentHash,
    Fixed(Arc<str>),
    Template(Template),
}

#[derive(Debug)]
enum HashSource {
    Fixed(Arc<str>),
    Template(Template),
}

impl Keys {
    pub(super) fn new(key: &PartitionKey, hash: Option<&ExplicitHashKey>, rng: fastrand::Rng) -> Self {
        Self {
            source: match key {
                PartitionKey::Random => Source::Random,
                PartitionKey::ContentHash => Source::ContentHash,
                PartitionKey::Fixed(key) => Source::Fixed(key.as_str().into()),
                PartitionKey::Template(template) => Source::Template(template.clone()),
            },
            hash: hash.map(|hash| match hash {
                ExplicitHashKey::Fixed(number) => HashSource::Fixed(number.to_string().into()),
                ExplicitHashKey::Template(template) => HashSource::Template(template.clone()),
            }),
            rng,
            last: None,
            fallbacks: 0,
        }
    }

    /// Whether each record has a key of its own making, so that an entry may hold only records of one key.
    pub(super) fn are_of_records(&self) -> bool {
        matches!(self.source, Source::Template(_)) || matches!(self.hash, Some(HashSource::Template(_)))
    }

    /// The size of a key where records have none of their own.
    pub(super) fn size(&self) -> KeySize {
        let text = match &self.source {
            Source::Fixed(key) => key.len(),
            Source::Random | Source::ContentHash | Source::Template(_) => Key::BITS_LEN,
        };
        let hash = match &self.hash {
            Some(HashSource::Fixed(number)) => Some(number.len()),
            Some(HashSource::Template(_)) | None => None,
        };
        KeySize { text, hash }
    }

    /// The key of an entry that begins with this record.
    pub(super) fn of(&mut self, record: &[u8]) -> Key {
        let text = match &self.source {
            Source::Random => Text::Bits(self.rng.u64(..)),
            Source::ContentHash => Text::Bits(xxhash_rust::xxh3::xxh3_64(record)),
            Source::Fixed(key) => Text::Given(Arc::clone(key)),
            Source::Template(template) => match template.render(record) {
                Some(text) => self.given(&text),
                None => {
                    self.fallbacks += 1;
                    match template::field(record, "file") {
                        Some(file) => self.given(&file),
                        None => Text::Bits(xxhash_rust::xxh3::xxh3_64(record)),
                    }
                }
            },
        };
        let hash = match &self.hash {
            None => None,
            Some(HashSource::Fixed(number)) => Some(Arc::clone(number)),
            Some(HashSource::Template(template)) => {
                let number = template.render(record).and_then(|text| text.parse::<u128>().ok());
                self.fallbacks += u64::from(number.is_none());
                number.map(|number| number.to_string().into())
            }
        };
        Key { text, hash }
    }

    /// The key of a run's first records, and how many have it.
    pub(super) fn of_first(&mut self, run: &Run) -> (Key, usize) {
        let fallbacks = self.fallbacks;
        let key = self.of(run.record(0));
        // A run comes from one file.
        let of_the_file = match (&self.source, &self.hash) {
            (Source::Template(template), None | Some(HashSource::Fixed(_))) => template.is_of_the_file(),
            (Source::Template(template), Some(HashSource::Template(hash))) => {
                template.is_of_the_file() && hash.is_of_the_file()
            }
            (Source::Fixed(_), Some(HashSource::Template(hash))) => hash.is_of_the_file(),
            (Source::Fixed(_), None | Some(HashSource::Fixed(_))) => true,
            (Source::Random | Source::ContentHash, _) => false,
        };
        if of_the_file {
            self.fallbacks = fallbacks + (self.fallbacks - fallbacks) * run.len() as u64;
            return (key, run.len());
        }
        let mut count = 1;
        while count < run.len() {
            let fallbacks = self.fallbacks;
            if self.of(run.record(count)) != key {
                // It is asked for again.
                self.fallbacks = fallbacks;
                break;
            }
            count += 1;
        }
        (key, count)
    }

    /// How many records had none of the fields that make their key, since this was last asked.
    pub(super) fn take_fallbacks(&mut self) -> u64 {
        std::mem::take(&mut self.fallbacks)
    }

    fn given(&mut self, text: &str) -> Text {
        let hashed;
        let text = if text.len() > MAX_CHARS && text.chars().nth(MAX_CHARS).is_some() {
            hashed = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(text.as_bytes()));
            &hashed
        } else {
            text
        };
        let last = match self.last.take() {
            Some(last) if *last == *text => last,
            _ => text.into(),
        };
        self.last = Some(Arc::clone(&last));
        Text::Given(last)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::run_of;
    use super::*;

    fn keys(key: &str, hash: Option<&str>) -> Keys {
        let hash = hash.map(|hash| ExplicitHashKey::Template(Template::parse(hash).unwrap()));
        let key = PartitionKey::Template(Template::parse(key).unwrap());
        Keys::new(&key, hash.as_ref(), fastrand::Rng::with_seed(1))
    }

    #[test]
    fn a_record_without_the_field_has_its_files_path_for_a_key_and_is_counted() {
        let mut keys = keys("${level}", None);
        assert_eq!(keys.of(br#"{"level":"warn","file":"/a"}"#).text(), "warn");
        assert_eq!(keys.of(br#"{"file":"/a"}"#).text(), "/a");
        assert_eq!(keys.of(br#"{}"#).text().len(), Key::BITS_LEN);
        assert_eq!((keys.take_fallbacks(), keys.take_fallbacks()), (2, 0));
    }

    #[test]
    fn a_key_of_more_than_256_characters_is_hashed() {
        let mut keys = keys("${k}", None);
        let fits = "é".repeat(256);
        assert_eq!(keys.of(format!("{{\"k\":\"{fits}\"}}").as_bytes()).text(), fits);
        let long = keys.of(format!("{{\"k\":\"{fits}x\"}}").as_bytes());
        assert_eq!(long.text().len(), 32);
        assert_eq!(keys.of(format!("{{\"k\":\"{fits}x\"}}").as_bytes()), long);
        assert_ne!(keys.of(format!("{{\"k\":\"{fits}y\"}}").as_bytes()), long);
    }

    #[test]
    fn neighbours_of_one_key_are_found_and_what_a_file_has_in_common_is_looked_up_once() {
        let records: [&[u8]; 4] =
            [br#"{"k":1,"host":"h"}"#, br#"{"k":1,"host":"h"}"#, br#"{"k":2}"#, br#"{"k":1}"#];
        let run = run_of(1, 0, &records);
        assert_eq!(keys("${k}", None).of_first(&run).1, 2);
        let mut of_the_file = keys("${host}", None);
        assert_eq!(of_the_file.of_first(&run).1, 4);
        assert_eq!(of_the_file.take_fallbacks(), 0, "only the first record is looked at");
        let mut gone = keys("${kubernetes.pod_name}", None);
        gone.of_first(&run);
        assert_eq!(gone.take_fallbacks(), 4);
    }

    #[test]
    fn an_explicit_hash_key_is_a_number_or_is_left_out_and_counted() {
        let mut keys = keys("k", Some("${n}"));
        assert_eq!(
            keys.of(br#"{"n":"0340282366920938463463374607431768211455"}"#).hash(),
            Some("340282366920938463463374607431768211455")
        );
        assert_eq!(keys.of(br#"{"n":"340282366920938463463374607431768211456"}"#).hash(), None);
        assert_eq!(keys.take_fallbacks(), 1);
    }

    #[test]
    fn the_same_content_has_the_same_key() {
        let mut keys = Keys::new(&PartitionKey::ContentHash, None, fastrand::Rng::with_seed(1));
        assert_eq!(keys.of(b"a"), keys.of(b"a"));
        assert_ne!(keys.of(b"a"), keys.of(b"b"));
    }
}
