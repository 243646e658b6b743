//! What a user can set about a destination.

use std::path::PathBuf;
use std::time::Duration;

use super::template::Template;
use crate::units::ByteSize;

/// Where records go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// An Amazon Data Firehose delivery stream.
    Firehose(Firehose),
    /// An Amazon Kinesis data stream.
    Kinesis(Kinesis),
    /// Local files laid out as Firehose writes S3.
    Directory(Directory),
}

/// An Amazon Data Firehose delivery stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firehose {
    /// Its name.
    pub stream: String,
    /// Where it is and who asks.
    pub aws: Aws,
    /// How lines become Firehose records.
    pub packing: Packing,
    /// How those are compressed; gzip only where lines are packed.
    pub compression: Compression,
    /// How records become requests.
    pub batch: Batch,
    /// How fast it may be sent to.
    pub rate_limit: RateLimit,
    /// How failures are tried again.
    pub retry: Retry,
}

/// How lines become Firehose records. There is no default: a wrong guess breaks the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Many lines in one record, each ended by a newline.
    Newline {
        /// The most bytes in one record; at most 1,024,000 (the service's limit).
        max_size: ByteSize,
        /// The most lines in one record.
        max_lines: usize,
    },
    /// One line a record, without a newline.
    None,
}

/// An Amazon Kinesis data stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinesis {
    /// Its name or ARN.
    pub stream: String,
    /// Where it is and who asks.
    pub aws: Aws,
    /// How lines become records of the stream.
    pub aggregation: Aggregation,
    /// How those are compressed; not where they are aggregates, which nobody could take apart.
    pub compression: Compression,
    /// What decides a record's shard.
    pub partition_key: PartitionKey,
    /// What takes the place of its hash.
    pub explicit_hash_key: Option<ExplicitHashKey>,
    /// Which records come in their order.
    pub ordering: Ordering,
    /// The stream's MaxRecordSize, data and partition key; 1 MiB unless the stream was raised, at most 10 MiB.
    pub max_record_size: ByteSize,
    /// How records become requests.
    pub batch: Batch,
    /// How fast it may be sent to.
    pub rate_limit: RateLimit,
    /// How failures are tried again.
    pub retry: Retry,
}

/// How lines become records of a data stream. There is no default: consumers must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// One line a record.
    None,
    /// Many lines in one record, each ended by a newline.
    Newline {
        /// The most bytes in one record, the partition key counted, before compression.
        max_size: ByteSize,
    },
    /// Many lines in one record, in the format of the Kinesis Producer Library.
    Kpl {
        /// The most bytes in one record, the partition key counted.
        max_size: ByteSize,
    },
}

/// What decides a record's shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PartitionKey {
    /// Evenly over all shards.
    #[default]
    Random,
    /// Always this key: everything in one shard.
    Fixed(String),
    /// Made of each record's fields. A record that lacks one has the path of its file.
    Template(Template),
    /// A hash of the record, or of the first of an aggregate: as even as at random, and a record that is sent a
    /// second time comes to the same shard.
    ContentHash,
}

/// What takes the place of the partition key's hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExplicitHashKey {
    /// Always this number.
    Fixed(u128),
    /// A number made of each record's fields. A record for which it is none has its partition key's hash.
    Template(Template),
}

/// Which records a data stream gets in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ordering {
    /// None: what failed is sent again while others go on.
    #[default]
    None,
    /// Those of one partition key.
    PerKey,
}

/// Where an AWS service is and who asks. What is not said comes from the environment, as in every AWS SDK.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aws {
    /// Such as `eu-central-1`.
    pub region: Option<String>,
    /// A URL in place of the service's own, such as a VPC interface endpoint's.
    pub endpoint: Option<String>,
    /// A PEM file with the certificates to trust in place of the system's.
    pub ca_bundle: Option<PathBuf>,
    /// Use the service's FIPS 140 endpoint, or not.
    pub fips: Option<bool>,
    /// Use the service's dual-stack endpoint (IPv4 and IPv6), or not.
    pub dual_stack: Option<bool>,
    /// A profile of the shared configuration files.
    pub profile: Option<String>,
    /// Roles to assume one after the other before `role_arn`.
    pub role_chain: Vec<Role>,
    /// The ARN of a role to assume with the credentials found.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// The name of the assumed role's session; `kinetail` unless said.
    pub session_name: Option<String>,
    /// How long a connection may take to open; 5 seconds unless said.
    pub connect_timeout: Option<Duration>,
    /// How long a request may take from start to end; 30 seconds unless said.
    pub request_timeout: Option<Duration>,
}

/// A role to assume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// The external id that its trust policy asks for.
    pub external_id: Option<String>,
    /// The name of the session; `kinetail` unless said.
    pub session_name: Option<String>,
}

impl Aws {
    /// The roles to assume one after the other, `role_arn` the last.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        let last = self.role_arn.iter().map(|arn| Role {
            arn: arn.clone(),
            external_id: self.external_id.clone(),
            session_name: self.session_name.clone(),
        });
        self.role_chain.iter().cloned().chain(last)
    }
}

/// How records become requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The most records in one request; at most 500 (both services' limit).
    pub max_records: usize,
    /// A request is sent once it holds this much, measured on the bytes before base64. Never above the
    /// service's limit (Firehose 4 MiB, Kinesis 10 MiB).
    pub target_size: ByteSize,
    /// A record waits no longer than this for its request to fill.
    pub max_age: Duration,
    /// The most requests under way at once.
    pub max_in_flight: usize,
}

/// How fast a destination may be sent to, all of it a second; without limit where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes before base64, partition keys counted.
    pub bytes: Option<u64>,
    /// Records of the service: packed or aggregated ones count once.
    pub records: Option<u64>,
    /// Requests.
    pub requests: Option<u64>,
}

/// How failures are tried again: full-jitter exponential backoff, without end unless limited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// The longest first pause.
    pub initial_backoff: Duration,
    /// The longest pause of all.
    pub max_backoff: Duration,
    /// When a record is given up.
    pub limits: RetryLimits,
}

/// When a record is given up and becomes a dead letter; never unless limited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryLimits {
    /// After so many requests that did not take it. One that was denied is not counted: nothing is wrong with
    /// the record.
    pub max_attempts: Option<u32>,
    /// Once it has been in the buffer for so long.
    pub max_record_age: Option<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(30),
            limits: RetryLimits::default(),
        }
    }
}

/// Local files laid out as Firehose writes S3: `YYYY/MM/DD/HH/<name>-1-YYYY-MM-DD-HH-MM-SS-<uuid>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The folder under which the files go.
    pub path: PathBuf,
    /// A file is closed at this size.
    pub max_size: ByteSize,
    /// A file is closed at this age.
    pub max_age: Duration,
    /// Whether the files are gzip.
    pub compression: Compression,
}

/// How a file's content, or a record, is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip; a file's name then ends with `.gz`.
    Gzip,
}
