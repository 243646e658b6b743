//! `destinations`: limits that depend on each other, and keys that need another.

use super::Validator;
use crate::buffer::{BufferSettings, DeadLetterSettings, QueueSettings, WhenFull};
use crate::config::diagnostics::Path;
use crate::config::document::Node;
use crate::config::raw;
use crate::config::settings::DestinationConfig;
use crate::deliver::{
    Aggregation, Aws, Batch, Compression, Destination, Directory, ExplicitHashKey, Firehose, Kinesis,
    Ordering, Packing, PartitionKey, Retry, RetryLimits, Template,
};
use crate::source::DestinationName;
use crate::units::ByteSize;

/// What Firehose takes out of one record where dynamic partitioning de-aggregates (Amazon Data Firehose quotas).
const FIREHOSE_LINES: usize = 500;
/// In effect no limit.
const MOST_LINES: usize = 100_000;
/// Two payload units; what the Kinesis Producer Library aggregates up to.
const AGGREGATE: ByteSize = ByteSize(50 << 10);
/// Logs shrink to about a tenth: two payload units again.
const COMPRESSED_AGGREGATE: ByteSize = ByteSize(500 << 10);

impl Validator<'_> {
    pub(super) fn destinations(
        &mut self,
        path: &Path,
        entries: Vec<(String, Option<raw::Destination>)>,
        buffer: &BufferSettings,
    ) -> Vec<DestinationConfig> {
        if entries.is_empty() {
            self.error(path, "is empty; name at least one place where records go");
        }
        let mut destinations = Vec::new();
        for (name, entry) in entries {
            let path = path.key(&name);
            if let Some(Err(message)) = raw::Form::named("name").map(|form| (form.check)(&name)) {
                let place = self.document.locate_key(&path);
                self.errors.add(place, &path, message);
            }
            let Some(entry) = entry else { continue };
            let dead_letters = dead_letters(match &entry {
                raw::Destination::Firehose(typed) => &typed.dead_letters,
                raw::Destination::Kinesis(typed) => &typed.dead_letters,
                raw::Destination::Directory(typed) => &typed.dead_letters,
            });
            let made = match entry {
                raw::Destination::Firehose(typed) => self.firehose(&path, typed, buffer),
                raw::Destination::Kinesis(typed) => self.kinesis(&path, typed, buffer),
                raw::Destination::Directory(typed) => self.directory(&path, typed, buffer),
            };
            if let Some((to, queue)) = made {
                let name = DestinationName::from(name.as_str());
                destinations.push(DestinationConfig { name, queue, dead_letters, to });
            }
        }
        destinations
    }

    fn firehose(
        &mut self,
        path: &Path,
        typed: raw::Firehose,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let retry = self.retry(path, &typed.retry);
        self.need_role(path, &typed.role_arn, &typed.external_id, &typed.session_name);
        self.aws(path, &typed.aws());
        let packed = typed.packed_record.clone();
        if typed.packing == Some(raw::PackingKind::None) && packed.is_some() {
            let message = "has no meaning with `packing: none`, which sends one line a record; leave it out";
            self.error(&path.key("packed_record"), message);
        }
        let packed = packed.unwrap_or_default();
        let compression = compression(typed.compression);
        if typed.packing == Some(raw::PackingKind::None) && compression == Compression::Gzip {
            let message =
                "is for `packing: newline`: what takes one JSON object a record cannot read it compressed";
            self.error(&path.key("compression"), message);
        }
        let aws = typed.aws();
        let to = Firehose {
            stream: typed.stream?.0,
            aws,
            packing: match typed.packing? {
                raw::PackingKind::None => Packing::None,
                raw::PackingKind::Newline => {
                    let most = if compression == Compression::Gzip { MOST_LINES } else { FIREHOSE_LINES };
                    Packing::Newline {
                        max_size: packed.max_size.0,
                        max_lines: packed.max_lines.unwrap_or(most),
                    }
                }
            },
            compression,
            batch: Batch {
                max_records: typed.batch.max_records,
                target_size: typed.batch.target_size.0,
                max_age: typed.batch.max_age.0,
                max_in_flight: typed.max_in_flight,
            },
            rate_limit: typed.rate_limit.settings(),
            retry,
        };
        Some((Destination::Firehose(to), queue))
    }

    fn kinesis(
        &mut self,
        path: &Path,
        typed: raw::Kinesis,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let retry = self.retry(path, &typed.retry);
        self.need_role(path, &typed.role_arn, &typed.external_id, &typed.session_name);
        self.aws(path, &typed.aws());
        let aggregated = typed.aggregated_record.clone();
        if typed.aggregation == Some(raw::AggregationKind::None) && aggregated.is_some() {
            let message =
                "has no meaning with `aggregation: none`, which sends one line a record; leave it out";
            self.error(&path.key("aggregated_record"), message);
        }
        let compression = compression(typed.compression);
        if typed.aggregation == Some(raw::AggregationKind::Kpl) && compression == Compression::Gzip {
            let message = "does not go with `aggregation: kpl`: no consumer could take compressed aggregates apart; \
                           use `aggregation: newline`, or leave it out";
            self.error(&path.key("compression"), message);
        }
        let aggregated_size = aggregated.and_then(|it| it.max_size).map_or(
            if compression == Compression::Gzip { COMPRESSED_AGGREGATE } else { AGGREGATE },
            |size| size.0,
        );
        let max_record_size = typed.max_record_size.0;
        if typed.aggregation != Some(raw::AggregationKind::None) && aggregated_size > max_record_size {
            let message = format!(
                "aggregated_record.max_size ({aggregated_size}) is more than max_record_size \
                 ({max_record_size})"
            );
            self.error(&path.key("aggregated_record").key("max_size"), message);
        }
        let partition_key = partition_key(typed.partition_key.0.clone());
        if typed.ordering == raw::OrderingKind::PerKey
            && matches!(partition_key, PartitionKey::Random | PartitionKey::ContentHash)
        {
            let message = "per_key needs a partition_key that records have in common: a template such as \
                           \"${kubernetes.pod_name}\", or a fixed one";
            self.error(&path.key("ordering"), message);
        }
        let aws = typed.aws();
        let to = Kinesis {
            stream: typed.stream?.0,
            aws,
            aggregation: match typed.aggregation? {
                raw::AggregationKind::None => Aggregation::None,
                raw::AggregationKind::Newline => Aggregation::Newline { max_size: aggregated_size },
                raw::AggregationKind::Kpl => Aggregation::Kpl { max_size: aggregated_size },
            },
            compression,
            partition_key,
            explicit_hash_key: typed.explicit_hash_key.and_then(|key| explicit_hash_key(&key.0)),
            ordering: match typed.ordering {
                raw::OrderingKind::None => Ordering::None,
                raw::OrderingKind::PerKey => Ordering::PerKey,
            },
            max_record_size,
            batch: Batch {
                max_records: typed.batch.max_records,
                target_size: typed.batch.target_size.0,
                max_age: typed.batch.max_age.0,
                max_in_flight: typed.max_in_flight,
            },
            rate_limit: typed.rate_limit.settings(),
            retry,
        };
        Some((Destination::Kinesis(to), queue))
    }

    fn directory(
        &mut self,
        path: &Path,
        typed: raw::Directory,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let to = Directory {
            path: typed.path?.0,
            max_size: typed.max_size.0,
            max_age: typed.max_age.0,
            compression: match typed.compression {
                raw::CompressionKind::None => Compression::None,
                raw::CompressionKind::Gzip => Compression::Gzip,
            },
        };
        Some((Destination::Directory(to), queue))
    }

    fn queue(&mut self, path: &Path, typed: &raw::Queue, buffer: &BufferSettings) -> QueueSettings {
        let path = path.key("buffer").key("max_size");
        let max_size = typed.max_size.0;
        let (chunk, all) = (buffer.chunk_size, buffer.max_size);
        // One chunk is written while the one before is delivered or given up.
        if max_size.0 < chunk.0.saturating_mul(2) {
            let message = format!(
                "its buffer's max_size of {max_size} is less than two chunks of {chunk}; raise it, or lower \
                 buffer.chunk_size"
            );
            self.error(&path, message);
        } else if max_size > all && self.document.locate(&path).1 == path {
            let message = format!("is never reached: all buffers together may take {all} (buffer.max_size)");
            self.warn(&path, message);
        }
        QueueSettings {
            max_size,
            when_full: match typed.when_full {
                raw::WhenQueueFull::Block => WhenFull::Block,
                raw::WhenQueueFull::DropOldest => WhenFull::DropOldest,
            },
        }
    }

    fn retry(&mut self, path: &Path, typed: &raw::RetryPauses) -> Retry {
        let retry = Retry {
            initial_backoff: typed.initial_backoff.0,
            max_backoff: typed.max_backoff.0,
            limits: RetryLimits {
                max_attempts: typed.max_attempts,
                max_record_age: typed.max_record_age.as_ref().map(|age| age.0),
            },
        };
        if retry.initial_backoff > retry.max_backoff {
            let path = path.key("retry");
            self.error(&path, "initial_backoff is longer than max_backoff");
        }
        retry
    }

    /// What says nothing, or too much, about the way to AWS.
    pub(super) fn aws(&mut self, path: &Path, aws: &Aws) {
        let said = |path: Path, document: &Node| document.locate(&path).1 == path;
        if !aws.role_chain.is_empty() && aws.role_arn.is_none() && !said(path.key("role_arn"), self.document)
        {
            let message = "leads to no role; the last one to assume is said by role_arn";
            self.error(&path.key("role_chain"), message);
        }
        for (key, on) in [("fips", aws.fips), ("dual_stack", aws.dual_stack)] {
            if on == Some(true) && aws.endpoint.is_some() {
                let message = "has no effect beside an endpoint, which says all; leave it out, or name the \
                               endpoint that is meant";
                self.error(&path.key(key), message);
            }
        }
    }

    /// What concerns an assumed role needs a role.
    pub(super) fn need_role<A, B, C>(
        &mut self,
        path: &Path,
        role: &Option<A>,
        external_id: &Option<B>,
        session: &Option<C>,
    ) {
        // Where the role's ARN itself was refused, it is there nevertheless.
        if role.is_some() || self.document.locate(&path.key("role_arn")).1 == path.key("role_arn") {
            return;
        }
        for (key, said) in [("external_id", external_id.is_some()), ("session_name", session.is_some())] {
            if said {
                self.error(&path.key(key), "is for assuming a role; say which by role_arn");
            }
        }
    }
}

fn partition_key(typed: String) -> PartitionKey {
    match typed.as_str() {
        "random" => PartitionKey::Random,
        "content_hash" => PartitionKey::ContentHash,
        template if template.contains("${") => {
            Template::parse(template).map_or(PartitionKey::Fixed(typed), PartitionKey::Template)
        }
        _ => PartitionKey::Fixed(typed),
    }
}

fn explicit_hash_key(typed: &str) -> Option<ExplicitHashKey> {
    match typed.parse() {
        Ok(number) => Some(ExplicitHashKey::Fixed(number)),
        Err(_) => Template::parse(typed).ok().map(ExplicitHashKey::Template),
    }
}

fn compression(typed: raw::RecordCompression) -> Compression {
    match typed {
        raw::RecordCompression::None => Compression::None,
        raw::RecordCompression::Gzip => Compression::Gzip,
    }
}

fn dead_letters(typed: &raw::DeadLetters) -> DeadLetterSettings {
    DeadLetterSettings {
        max_size: typed.max_size.0,
        when_full: match typed.when_full {
            raw::WhenLettersFull::Block => WhenFull::Block,
            raw::WhenLettersFull::DropOldest => WhenFull::DropOldest,
        },
    }
}
