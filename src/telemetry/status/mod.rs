//! How the agent does, at one instant: what `/api/status`, `/readyz`, the status page and the commands that ask a
//! running agent show.
//!
//! The agent fills a [`Status`] from its own counters when somebody asks; nothing of it is kept up to date in
//! between. It names files, routes and destinations, and quotes no line of a log. As JSON it only grows: a key keeps its
//! name and its meaning.

mod readiness;

use std::fmt;

use serde::{Deserialize, Serialize};

/// Everything that can be said of a running agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of kinetail.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// When it started, RFC 3339.
    pub started: String,
    /// Seconds since then.
    pub uptime_seconds: u64,
    /// Nothing of [`Status::problems`] makes it unready.
    pub ready: bool,
    /// What is wrong, the worst first.
    pub problems: Vec<Problem>,
    /// The configuration that it runs with.
    pub configuration: Configuration,
    /// All files together.
    pub reading: Reading,
    /// In the order of the configuration.
    pub routes: Vec<Route>,
    /// The files that are followed, those first that are the furthest behind.
    pub files: Vec<File>,
    /// How old `files` is, in seconds: the reading thread tells of them when it is asked. None if it has not yet.
    pub files_age_seconds: Option<f64>,
    /// In the order of the configuration.
    pub destinations: Vec<Destination>,
    /// The buffers of all destinations together.
    pub buffer: Buffer,
    /// The file system of `data_dir`.
    pub disk: Disk,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Whether the agent is not ready because of it.
    pub unready: bool,
    /// The part that it is about: `configuration`, `files`, `disk`, `destination NAME`, or a part that is stuck.
    pub part: String,
    /// What is wrong.
    pub what: String,
    /// What to do; empty where `what` says it, or nobody knows.
    pub remedy: String,
}

impl Problem {
    /// One that makes the agent unready.
    pub fn unready(part: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unready: true, part: part.into(), what: what.into(), remedy: remedy.into() }
    }

    /// One that should be known, though the agent is ready.
    pub fn warning(part: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { unready: false, ..Self::unready(part, what, remedy) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// The configuration that the agent runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When it was loaded, RFC 3339.
    pub loaded: String,
    /// Why a later one was not taken; the agent goes on with this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Settings of it that count after a restart only.
    #[serde(default)]
    pub after_restart: Vec<String>,
}

/// All files together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The first look at all folders is over, and where each file begins is durable.
    pub following: bool,
    /// Files that are open.
    pub open_files: u64,
    /// Lines read since the start.
    pub lines: u64,
    /// Bytes read since the start.
    pub bytes: u64,
    /// Of late.
    pub lines_per_second: f64,
    /// Of late.
    pub bytes_per_second: f64,
    /// Bytes in open files that some destination has not read yet.
    pub behind_bytes: u64,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Where its records go.
    pub to: Vec<String>,
    /// Files of it that are followed.
    pub files: u64,
    /// Lines read since the start.
    pub lines: u64,
    /// Bytes read since the start.
    pub bytes: u64,
    /// Of late.
    pub lines_per_second: f64,
    /// Of late.
    pub bytes_per_second: f64,
    /// Bytes of its files that the destination that is the furthest behind has not read yet.
    pub behind_bytes: u64,
    /// For how long the oldest of them has not been read.
    pub behind_seconds: f64,
}

/// A file that is followed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Where it was when it was first followed, as far as it is text.
    pub path: String,
    /// Where it was last seen, if elsewhere: renamed by rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<String>,
    /// Its route.
    pub route: String,
    /// The name of its content for ever, as the checkpoint has it.
    pub incarnation: String,
    /// What is being done with it.
    pub state: FileState,
    /// Its length in bytes; none where it is not open, or compressed.
    pub length: Option<u64>,
    /// Bytes that the destination that is the furthest behind has not read yet.
    pub behind_bytes: u64,
    /// For how long the oldest of them has not been read.
    pub behind_seconds: f64,
    /// Read of late.
    pub bytes_per_second: f64,
    /// How far each of its destinations is.
    pub destinations: Vec<FilePosition>,
}

/// What is being done with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// There is something to read, and it is read.
    #[default]
    Reading,
    /// All of it is read; more may come.
    CaughtUp,
    /// A destination's buffer is full, or its disk failed: the file waits for room.
    Blocked,
    /// It has read as much as its route's `rate_limit` lets it.
    RateLimited,
    /// It is not open: too many files are, or it cannot be opened.
    Waiting,
    /// It was renamed or deleted, and is read to its end.
    Rotated,
    /// Which route takes it is not known before labels of its pod are: it is held and not read.
    Unrouted,
}

impl FileState {
    /// As it is written in JSON, with blanks.
    pub fn text(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::CaughtUp => "caught up",
            Self::Blocked => "blocked",
            Self::RateLimited => "rate limited",
            Self::Waiting => "waiting",
            Self::Rotated => "rotated",
            Self::Unrouted => "unrouted",
        }
    }
}

/// How far a file is for one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// The destination.
    pub name: String,
    /// The offset up to where its lines are in the destination's buffer, or were.
    pub offset: u64,
    /// The offset up to where chunks were delivered and removed.
    pub delivered: u64,
}

/// A destination.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// `firehose`, `kinesis` or `directory`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The stream's name or ARN, or the folder.
    pub target: String,
    /// It is not in the configuration any more; what is in its buffer still is.
    #[serde(default)]
    pub removed: bool,
    /// How it does.
    pub state: DestinationState,
    /// For how long it has done so, in seconds, where it is not fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_seconds: Option<f64>,
    /// Why, where it is not fine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was found by asking it at the start, beyond that all is well.
    pub findings: Vec<String>,
    /// What waits in its buffer.
    pub backlog: Backlog,
    /// The age of the oldest record that it has not taken, in the buffer or in a file, in seconds.
    pub lag_seconds: f64,
    /// Bytes of files that were not read for it yet.
    pub unread_bytes: u64,
    /// Records that it took since the start.
    pub delivered_records: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Of late.
    pub records_per_second: f64,
    /// Of late.
    pub bytes_per_second: f64,
    /// Requests that are under way.
    pub requests_in_flight: u64,
    /// Requests that may be under way.
    pub requests_allowed: u64,
    /// What the stream is found to take, in bytes a second; none as long as it does not throttle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned_bytes_per_second: Option<u64>,
    /// Records sent once more since the start.
    pub retried_records: u64,
    /// Entries of requests that it throttled since the start.
    pub throttled_entries: u64,
    /// Dead letters kept since the start.
    pub dead_letters: u64,
    /// Bytes of dead letters on disk.
    pub dead_letter_bytes: u64,
    /// Records given up since the start because its buffer was full.
    pub dropped_records: u64,
    /// Records given up since the start because somebody purged its buffer.
    #[serde(default)]
    pub purged_records: u64,
    /// The last thing that went wrong, if anything did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
}

/// How a destination does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DestinationState {
    /// It was neither sent anything nor asked yet.
    #[default]
    Untried,
    /// It takes what it is sent, or would.
    Fine,
    /// It fails, throttles or cannot be reached for the moment; what is not taken is sent again.
    BackingOff,
    /// It will take nothing until somebody does something: credentials, permissions, the stream's name.
    Denied,
}

impl DestinationState {
    /// As it is written in JSON, with blanks.
    pub fn text(self) -> &'static str {
        match self {
            Self::Untried => "not tried yet",
            Self::Fine => "fine",
            Self::BackingOff => "backing off",
            Self::Denied => "denied",
        }
    }
}

/// What waits in a destination's buffer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backlog {
    /// Records that were not acknowledged.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// The most that it may take on disk.
    pub max_bytes: u64,
    /// Chunk files.
    pub chunks: u64,
    /// The age of the oldest record, in seconds.
    pub oldest_seconds: f64,
}

/// A failure of a request, or of some of its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// When, RFC 3339.
    pub time: String,
    /// Its age in seconds.
    pub age_seconds: u64,
    /// The service's error code, or our own where no answer came.
    pub code: String,
    /// What it said besides; empty where that may quote a record.
    pub message: String,
}

/// The buffers of all destinations together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Bytes on disk.
    pub bytes: u64,
    /// `buffer.max_size`.
    pub max_bytes: u64,
}

/// The file system of `data_dir`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// `data_dir`.
    pub path: String,
    /// Bytes that are free, as far as that was seen.
    pub free_bytes: Option<u64>,
    /// `buffer.min_disk_free`: below it reading pauses.
    pub min_free_bytes: u64,
}
