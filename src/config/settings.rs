//! The validated configuration: what the agent is built from.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cases::TestCase;
use crate::buffer::{BufferSettings, DeadLetterSettings, QueueSettings};
use crate::decode::Decoding;
use crate::deliver::{CloudWatch, Destination};
use crate::encode::Layout;
use crate::kubernetes::{KubernetesSettings, PodPattern, PodStore, Wish};
use crate::process::{Condition, JournalFields, Step};
use crate::source::{DestinationName, RouteName, Verdict};
use crate::tail::{JournalSettings, Only, Pattern, RateLimit, Selection, StartAt, TailSettings, routes_of};

/// A configuration in which everything was checked: names resolve, patterns and templates compile, limits
/// are the services'.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the buffer, checkpoints and dead letters are kept.
    pub data_dir: PathBuf,
    /// Whether the configuration is loaded again when its file changes.
    pub watch_config: bool,
    /// What records carry as `host`; the machine's host name unless said.
    pub host: Option<String>,
    /// How files are followed.
    pub tail: TailSettings,
    /// What all buffers share.
    pub buffer: BufferSettings,
    /// On SIGTERM, how long delivery may go on before what is left stays in the buffer.
    pub drain_timeout: Duration,
    /// The admin port, where there is one.
    pub admin: Option<AdminSettings>,
    /// What is sent to CloudWatch, where anything is.
    pub cloudwatch: Option<CloudWatch>,
    /// kinetail's own log.
    pub log: LogSettings,
    /// What the API of Kubernetes is asked for, if it is.
    pub kubernetes: Option<Arc<KubernetesSettings>>,
    /// In the order of the file.
    pub destinations: Vec<DestinationConfig>,
    /// In the order of the file: the first match wins, unless it looks further.
    pub routes: Vec<RouteConfig>,
    /// Tests of the routing. The agent has no use for them.
    pub tests: Vec<TestCase>,
}

impl Config {
    /// The routes that a file of this path falls under, in their order; the first says how it is read.
    pub fn routes_of(&self, path: &std::path::Path) -> Vec<usize> {
        let selections: Vec<Selection> = self.routes.iter().map(RouteConfig::selection).collect();
        routes_of(&selections, path)
    }
}

impl Config {
    /// The routes that a file of this path falls under beside its first, each reading it as the first does.
    pub fn further_of(
        &self,
        first: &RouteConfig,
        path: &std::path::Path,
        pods: &PodStore,
    ) -> Vec<RouteConfig> {
        let later = self.routes.iter().skip_while(|route| route.name != first.name).skip(1);
        let mut goes_on = first.go_on;
        let further = later.filter(|route| {
            let takes = goes_on && route.selection_with(pods).verdict(path) != Verdict::Leaves;
            goes_on &= !takes || route.go_on;
            takes
        });
        let as_first = |route: &RouteConfig| RouteConfig {
            decoding: first.decoding.clone(),
            skip_header_lines: first.skip_header_lines,
            ..route.clone()
        };
        further.map(as_first).collect()
    }
}

/// One entry of `destinations`.
#[derive(Clone, Debug, PartialEq)]
pub struct DestinationConfig {
    /// Its key.
    pub name: DestinationName,
    /// Its own buffer.
    pub queue: QueueSettings,
    /// Its dead letters.
    pub dead_letters: DeadLetterSettings,
    /// Where its records go.
    pub to: Destination,
}

/// One entry of `routes`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfig {
    /// Its name, unique.
    pub name: RouteName,
    /// The files it takes.
    pub files: Vec<Pattern>,
    /// The files it leaves to later routes.
    pub exclude: Vec<Pattern>,
    /// A file that it takes may fall under later routes, too.
    pub go_on: bool,
    /// Of these, only those of the pods and containers named here.
    pub pods: Option<PodPattern>,
    /// What pods may say of their own logs.
    pub annotations: Vec<Wish>,
    /// Lines are left out unless their pod says of `exclude` that it is `"false"`.
    pub opt_in: bool,
    /// How their lines are written, how long they may be, and which belong together.
    pub decoding: Decoding,
    /// So many lines at the beginning of each file are passed over.
    pub skip_header_lines: u32,
    /// The journal that it reads in place of files.
    pub journal: Option<JournalConfig>,
    /// Where reading begins in files that are there at the route's first ever start.
    pub start_at: StartAt,
    /// How fast they may be read.
    pub rate_limit: Option<RateLimit>,
    /// What is done with each message.
    pub process: Vec<Step>,
    /// How its records lie.
    pub layout: Layout,
    /// The destinations; each name exists. Without any, lines are read, dropped and counted.
    pub to: Vec<DestinationName>,
    /// Destinations that get only messages of which a condition holds.
    pub when: Vec<(DestinationName, Condition)>,
}

/// A journal as a route reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalConfig {
    /// Which entries.
    pub source: JournalSettings,
    /// How their fields are called.
    pub fields: JournalFields,
}

impl RouteConfig {
    /// How the fields of entries are called, where it reads the journal.
    pub fn journal_fields(&self) -> Option<JournalFields> {
        self.journal.as_ref().map(|journal| journal.fields)
    }

    /// Whether a file of this path falls to this route, as long as no earlier route takes it for itself.
    pub fn takes(&self, path: &std::path::Path) -> bool {
        self.selection().verdict(path) != Verdict::Leaves
    }

    /// Whether it is decided by labels of the pod, too, which files it takes.
    pub fn asks_for_labels(&self) -> bool {
        self.pods.as_ref().is_some_and(|pods| !pods.labels.is_empty())
    }

    /// Which files it takes, as far as paths tell; which it takes by labels is not known.
    pub fn selection(&self) -> Selection {
        let Some(pods) = self.pods.clone() else { return self.selection_by(None) };
        let (by_labels, rule) = (self.asks_for_labels(), pods.rule());
        let only = Only::those(move |path| pods.matches(path));
        self.selection_by(Some(if by_labels { only.once_known(&rule, |_| Verdict::Unknown) } else { only }))
    }

    /// Which files it takes, as discovery wants to know it.
    pub fn selection_with(&self, store: &PodStore) -> Selection {
        let Some(pods) = self.pods.clone().filter(|pods| !pods.labels.is_empty()) else {
            return self.selection();
        };
        let store = store.clone();
        let (names, rule) = (pods.clone(), pods.rule());
        let by_path = Only::those(move |path| names.matches(path));
        self.selection_by(Some(by_path.once_known(&rule, move |path| pods.verdict(path, &store))))
    }

    fn selection_by(&self, only: Option<Only>) -> Selection {
        Selection { files: self.files.clone(), exclude: self.exclude.clone(), only, go_on: self.go_on }
    }
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// After how long without progress a part counts as stuck. Reading and each delivery show some at least every
    /// five seconds, what writes checkpoints whenever there is one to write.
    pub stuck_after: Duration,
    /// So many files have metrics of their own: those that are the furthest behind.
    pub top_files: usize,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9602)),
            stuck_after: Duration::from_secs(60),
            top_files: 0,
        }
    }
}

/// kinetail's own log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// A filter such as `info` or `kinetail=debug,warn`; the flag and the environment win over it.
    pub level: Option<String>,
    /// How it is written.
    pub format: LogFormat,
    /// Its lines are delivered where they stand in followed files.
    pub deliver_own_lines: bool,
}

/// How kinetail's own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// A JSON object a line.
    Json,
}
