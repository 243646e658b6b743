//! The configuration as it is typed. These types are what the file is read into, and what the JSON Schema and
//! the tables of `docs/configuration.md` are made from: their documentation speaks to users, and each limit
//! is said once, here.
//!
//! A key that must be there is an `Option` marked `required`: the check against the schema reports it when it
//! is missing, and the rest of the file can still be looked at.

mod aws;
mod cases;
mod cloudwatch;
mod condition;
mod destinations;
mod journal;
mod kubernetes;
mod limits;
mod list;
mod multiline;
mod parsers;
mod record;
mod records;
mod role;
mod routes;
mod scalar;
mod service;
mod steps;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(super) use aws::read_dimension_name;
pub(super) use cases::{Case, Cases, Expected};
pub(super) use cloudwatch::CloudWatch;
pub(super) use condition::{Condition, FieldTest};
pub(super) use destinations::{CompressionKind, Destination, Directory, Firehose, Kinesis};
pub(super) use journal::Journal;
pub(super) use kubernetes::Kubernetes;
pub(super) use limits::{DeadLetters, Queue, RetryPauses, WhenLettersFull, WhenQueueFull};
pub(super) use list::{Entries, List, OneOrMany};
pub(super) use multiline::{Multiline, TraceName};
pub(super) use parsers::{
    AccessOptions, CsvOptions, KeyValueOptions, Parse, ParseOptions, ParseWith, ParserName, RegexOptions,
    SyslogFormName, TypeName, TypeOfField,
};
pub(super) use record::{NameOrOff, PresetOfRecord, Record, RecordNames};
pub(super) use records::{AggregationKind, OrderingKind, PackingKind, RecordCompression};
pub(super) use routes::{
    FormatName, PodMatch, Rate, RateOf, Route, StartPosition, Target, WhenRateExceeded, WhenUnknown, WishName,
};
pub(super) use scalar::{
    DimensionValue, FieldName, FilePath, Folder, Form, Glob, Listen, LogFilter, Name, NameGlob, Regex, Size,
    Text, Time,
};
pub(super) use steps::{
    AddBrackets, BesideStep, OnErrorName, PresetName, Redact, Step, StepAction, TimeStep,
};

use super::settings::AdminSettings;
use crate::buffer::{BufferSettings, Durability};
use crate::tail::TailSettings;

/// The configuration of kinetail.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "kinetail configuration")]
pub(super) struct File {
    /// The folder for the buffer, checkpoints and dead letters. It must outlive a restart, and belongs to one
    /// kinetail alone. A relative path starts at the working directory.
    pub(super) data_dir: FilePath,
    /// Whether this file is loaded again by itself when it changes, also where it is behind links that are changed, as
    /// those of a ConfigMap are. SIGHUP does it in any case.
    pub(super) watch_config: bool,
    /// What records carry as `host`; the machine's host name unless said.
    #[schemars(example = &"${env:NODE_NAME}")]
    pub(super) host: Option<Text>,
    /// How files are followed.
    pub(super) tail: Tail,
    /// What the buffers of all destinations share.
    pub(super) buffer: Buffer,
    /// After SIGTERM or SIGINT, how long delivery may go on. What is left then stays in the buffer and goes
    /// out after the next start.
    #[schemars(extend("x-limits" = {"min": "0s", "max": "1h"}))]
    pub(super) drain_timeout: Time,
    /// The admin port with `/metrics`, `/livez`, `/readyz` and `/api/status`. Without this section there is none.
    pub(super) admin: Option<Admin>,
    /// Metrics to Amazon CloudWatch. Without this section there are none.
    pub(super) cloudwatch: Option<CloudWatch>,
    /// kinetail's own log, on standard error.
    pub(super) log: Log,
    /// What the API of Kubernetes tells of the pods of this node. Without this section it is not asked, and records have
    /// what the files' paths tell.
    #[schemars(example = serde_json::json!({"labels": ["app"]}))]
    pub(super) kubernetes: Option<Kubernetes>,
    /// How the records of all routes lie that do not say it themselves.
    pub(super) record: Record,
    /// Where records go: a name of your choice (1 to 64 of `A-Z a-z 0-9 _ . -`; it is also the name of the
    /// buffer's folder, so renaming a destination begins a new buffer) and what is there.
    #[schemars(
        required,
        extend("x-missing" = "name at least one place where records go, such as \
            `local: {type: directory, path: …}`")
    )]
    pub(super) destinations: Option<Entries<Destination>>,
    /// Which files go where. A file belongs to the first route that takes it, and with `continue: true` to later ones, too.
    #[schemars(
        required,
        example = serde_json::json!([{"files": ["/var/log/pods/payments_*/*/*.log"], "to": ["archive"]}]),
        extend("x-missing" = "say which files go where, such as `- {files: /var/log/*.log, to: NAME}`")
    )]
    pub(super) routes: Option<List<Route>>,
    /// Lines with what is expected to become of them. `kinetail check` runs these tests; a running agent passes them
    /// over.
    pub(super) tests: Cases,
}

impl Default for File {
    fn default() -> Self {
        Self {
            data_dir: FilePath("/var/lib/kinetail".into()),
            watch_config: false,
            host: None,
            tail: Tail::default(),
            buffer: Buffer::default(),
            drain_timeout: Time(std::time::Duration::from_secs(20)),
            admin: None,
            cloudwatch: None,
            log: Log::default(),
            kubernetes: None,
            record: Record::default(),
            destinations: None,
            routes: None,
            tests: Cases::default(),
        }
    }
}

/// How files are followed.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tail {
    /// Folders that a symbolic link may lead into. The folders of the routes' patterns always belong to it.
    pub(super) allowed_roots: OneOrMany<Folder>,
    /// The longest line. What goes beyond is cut off, marked in the record and counted.
    #[schemars(extend("x-limits" = {"min": "64B", "max": "64MiB"}))]
    pub(super) max_line: Size,
    /// How long the end of a rotated or deleted file must not have moved before it is left.
    #[schemars(extend("x-limits" = {"min": "0s", "max": "1h"}))]
    pub(super) rotate_wait: Time,
    /// How changes are noticed.
    pub(super) watch: WatchMode,
    /// How often files are looked at where they cannot be watched.
    #[schemars(extend("x-limits" = {"min": "10ms", "max": "1h"}))]
    pub(super) poll_interval: Time,
    /// How long what is known of a vanished file is kept. A file that comes back later is read anew.
    #[schemars(extend("x-limits" = {"min": "1m", "max": "365d"}))]
    pub(super) forget_after: Time,
    /// How long an unfinished split line or group may wait for its rest.
    #[schemars(extend("x-limits" = {"min": "1ms", "max": "1h"}))]
    pub(super) flush_after: Time,
    /// How many files may be open at once, also within the system's limit (`ulimit -n`). Others wait. For one that
    /// waits, the oldest deleted file is left that was not read to its end yet.
    #[schemars(range(min = 16, max = 1_000_000))]
    pub(super) max_open_files: u32,
    /// The most room that deleted files may take on disk. They are held open until they are read to their end, for
    /// as long as an outage lasts; above this the oldest are left unread, and what that loses is counted.
    pub(super) max_held_deleted: Size,
    /// The most memory for unfinished split lines and groups of all files together. Above it the longest idle are
    /// given up, and read again from their file when they end.
    #[schemars(extend("x-limits" = {"min": "64KiB", "max": "4GiB"}))]
    pub(super) group_memory: Size,
    /// On SIGTERM and SIGINT, read what the files hold by then before the process ends, as far as the buffers take it and for no
    /// longer than `drain_timeout`; delivery has as long again after it. For files that go with the process, as those of an
    /// `emptyDir` go with their pod. Without it they are read on at the next start.
    pub(super) read_on_stop: bool,
}

impl Default for Tail {
    fn default() -> Self {
        let settings = TailSettings::default();
        Self {
            allowed_roots: settings.allowed_roots.into_iter().map(Folder).collect(),
            max_line: Size(settings.max_line),
            rotate_wait: Time(settings.rotate_wait),
            watch: WatchMode::default(),
            poll_interval: Time(settings.poll_interval),
            forget_after: Time(settings.forget_after),
            flush_after: Time(settings.flush_after),
            max_open_files: u32::try_from(settings.max_open_files).unwrap_or(u32::MAX),
            max_held_deleted: Size(settings.max_held_deleted),
            group_memory: Size(settings.group_memory),
            read_on_stop: settings.read_on_stop,
        }
    }
}

/// How changes are noticed.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum WatchMode {
    /// by inotify, and by polling where that is refused or runs out of watches
    #[default]
    Auto,
    /// by polling alone, as file systems of the network need it
    Poll,
}

/// What the buffers of all destinations share.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Buffer {
    /// The most that the buffers of all destinations may take on disk together.
    #[schemars(extend("x-limits" = {"min": "1MiB"}))]
    pub(super) max_size: Size,
    /// Reading pauses while the file system of `data_dir` has less room than this.
    pub(super) min_disk_free: Size,
    /// The size at which a file of the buffer is closed and the next begun. Disk space is given back a file
    /// at a time.
    #[schemars(extend("x-limits" = {"min": "64KiB", "max": "1GiB"}))]
    pub(super) chunk_size: Size,
    /// When what was appended is synced to the disk: `always`, `never`, or after a time (`every`, 10ms to 5m). They
    /// differ in what a power loss takes back and in what they cost (see below).
    #[schemars(example = &"always")]
    pub(super) sync: Sync,
    /// What becomes of the records in the buffer of a destination that is removed from the configuration while kinetail
    /// runs.
    pub(super) removed_destinations: WhenRemoved,
}

/// What becomes of a removed destination's records.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum WhenRemoved {
    /// they are delivered
    #[default]
    Drain,
    /// they are kept on disk until the destination is in the configuration again
    Keep,
}

/// When a buffer is synced.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(super) enum Sync {
    /// With every round, or not at all.
    Named(SyncName),
    /// In the background.
    Every(SyncEvery),
}

/// When a buffer is synced, where that needs no number.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline, extend("x-or" = "a time between two syncs, such as {every: 1s}"))]
pub(super) enum SyncName {
    /// after each round of reading, before anything more is read
    Always,
    /// when the kernel sees fit
    Never,
}

/// A buffer that is synced in the background.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub(super) struct SyncEvery {
    /// The time between two syncs.
    #[schemars(example = &"250ms", extend("x-limits" = {"min": "10ms", "max": "5m"}))]
    pub(super) every: Time,
}

impl From<Durability> for Sync {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Every(every) => Self::Every(SyncEvery { every: Time(every) }),
            Durability::Always => Self::Named(SyncName::Always),
            Durability::Never => Self::Named(SyncName::Never),
        }
    }
}

impl From<Sync> for Durability {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Every(SyncEvery { every }) => Self::Every(every.0),
            Sync::Named(SyncName::Always) => Self::Always,
            Sync::Named(SyncName::Never) => Self::Never,
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        let settings = BufferSettings::default();
        Self {
            max_size: Size(settings.max_size),
            min_disk_free: Size(settings.min_disk_free),
            chunk_size: Size(settings.chunk_size),
            sync: settings.sync.into(),
            removed_destinations: WhenRemoved::default(),
        }
    }
}

/// The admin port.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    /// The IP address and port where it listens. Whoever reaches it can read it: keep it on loopback, or let
    /// only Prometheus in.
    pub(super) listen: Listen,
    /// After how long without progress a part of kinetail makes `/livez` red, so that whoever watches it starts
    /// kinetail anew. Waiting for a disk or a destination does not count.
    #[schemars(extend("x-limits" = {"min": "10s", "max": "1h"}))]
    pub(super) stuck_after: Time,
    /// So many files have metrics of their own, with their paths as labels: those that are the furthest behind. Over time
    /// there are more series than that. All files are at `/api/status` in any case.
    #[schemars(range(min = 0, max = 100), example = &10)]
    pub(super) top_files: usize,
}

impl Default for Admin {
    fn default() -> Self {
        let settings = AdminSettings::default();
        Self {
            listen: Listen(settings.listen),
            stuck_after: Time(settings.stuck_after),
            top_files: settings.top_files,
        }
    }
}

/// kinetail's own log.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    /// What is written: `error`, `warn`, `info`, `debug` or `trace`, or a filter by module. `info` unless
    /// said. The flag `--log-level` and the variable `KINETAIL_LOG` win over it.
    #[schemars(example = &"kinetail=debug,warn")]
    pub(super) level: Option<LogFilter>,
    /// How it is written.
    pub(super) format: LogStyle,
    /// Whether its lines are delivered where they stand in followed files, such as the log of kinetail's own container. They
    /// are left out and counted otherwise, since every line that is delivered could cause another.
    pub(super) deliver_own_lines: bool,
}

/// How kinetail's own log is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum LogStyle {
    /// text on a terminal, JSON otherwise
    #[default]
    Auto,
    /// text for people
    Text,
    /// a JSON object a line
    Json,
}
