//! `routes`, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::NameGlob;
use super::{Condition, Entries, Glob, Journal, List, Multiline, Name, OneOrMany, Record, Size, Step};
use crate::kubernetes::Wish;

/// Which files, how their lines are read, what is done with them and where they go.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Route {
    /// Its name in metrics, in the log and in `data_dir`: 1 to 64 of `A-Z a-z 0-9 _ . -`, no two alike.
    /// `route-1`, `route-2` and so on by their order unless said; a route that may move or get neighbours
    /// should have a name, since what was read is remembered under it.
    #[schemars(example = &"payments")]
    pub(crate) name: Option<Name>,
    /// The files it takes: patterns of absolute paths with `*`, `**`, `?`, `[…]` and `{a,b}`, in folders and
    /// in names. `*` does not cross a `/`, `**` does. Every route but one with `format: journald` names some.
    #[schemars(example = &["/var/log/pods/payments_*/*/*.log"])]
    pub(crate) files: Option<OneOrMany<Glob>>,
    /// The files it leaves to later routes: patterns as in `files`.
    #[schemars(example = &["/var/log/pods/openshift-*/*/*.log"])]
    pub(crate) exclude: OneOrMany<Glob>,
    /// Looks further: files that this route takes fall under later routes, too, up to the first that does not say this.
    /// Each of them has its own steps, records and destinations. How a file is read (`format`, `multiline`, `start_at`,
    /// `skip_header_lines`, `rate_limit`) its first route says.
    #[serde(rename = "continue")]
    pub(crate) go_on: bool,
    /// Of these files, only the logs of the pods and containers whose names match, as the files' paths tell them.
    #[serde(rename = "match")]
    pub(crate) pods: Option<PodMatch>,
    /// What pods may say of their own logs by annotations, known from the API (section `kubernetes`). Each route says it for
    /// itself, `multiline` a file's first.
    #[schemars(example = &["exclude", "parser", "multiline"])]
    pub(crate) annotations: OneOrMany<WishName>,
    /// How the lines are written.
    pub(crate) format: FormatName,
    /// Which entries of the journal, with `format: journald`; all of them unless said.
    #[schemars(example = serde_json::json!({"units": ["kubelet", "crio"]}))]
    pub(crate) journal: Option<Journal>,
    /// Which lines are one record: the stack traces of the languages named here, or whatever patterns tell. Each stream
    /// of a container is joined by itself. Without it every line is a record.
    #[schemars(example = &"java")]
    pub(crate) multiline: Option<Multiline>,
    /// Where reading begins in files that are there when the route starts for the first time ever. Files that
    /// appear later, also while kinetail is not running, are read from their beginning.
    pub(crate) start_at: StartPosition,
    /// How many lines at the beginning of each file are no messages but a header, and are passed over. A file that
    /// follows another by rotation has a header of its own. Only with `format: plain`.
    #[schemars(range(max = 10_000), example = &1)]
    pub(crate) skip_header_lines: u32,
    /// How fast the files may be read, for logs that grow faster than their share. What is read again for a
    /// destination that was behind is not limited. Without it there is no limit.
    #[schemars(example = serde_json::json!({"bytes": "1MiB"}))]
    pub(crate) rate_limit: Option<Rate>,
    /// What is done with each message, in this order.
    pub(crate) process: List<Step>,
    /// How its records lie, in place of what the section `record` says.
    pub(crate) record: Option<Record>,
    /// The destinations, by their names. In a list, `{destination: NAME, when: CONDITION}` sends only messages of
    /// which the condition holds after all steps. `[]` reads the files, drops their messages and counts them.
    #[schemars(
        required,
        example = &["archive"],
        extend("x-missing" = "name one or more of the destinations, such as `to: [NAME]`")
    )]
    pub(crate) to: Option<OneOrMany<Target>>,
}

/// A destination of a route.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum Target {
    /// By its name.
    Named(String),
    /// With a condition.
    With(TargetOptions),
}

/// A destination with a condition.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TargetOptions {
    /// The destination's name.
    #[schemars(
        required,
        example = &"archive",
        extend("x-missing" = "name the destination, such as `destination: NAME`")
    )]
    pub(crate) destination: Option<String>,
    /// It gets only messages of which this holds.
    pub(crate) when: Option<Condition>,
}

/// Names of pods and containers, and labels of pods: patterns with `*`, `?`, `[…]` and `{a,b}`. All that are said must match.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PodMatch {
    /// Namespaces.
    #[schemars(example = &["payments", "shop-*"])]
    pub(crate) namespace: OneOrMany<NameGlob>,
    /// Pods' names.
    #[schemars(example = &["web-*"])]
    pub(crate) pod: OneOrMany<NameGlob>,
    /// Containers' names.
    #[schemars(example = &["app"])]
    pub(crate) container: OneOrMany<NameGlob>,
    /// Labels of the pod, by their names, and what they must be. They are known from the API (section `kubernetes`).
    #[schemars(example = serde_json::json!({"app.kubernetes.io/part-of": ["shop", "cart-*"]}))]
    pub(crate) labels: Entries<OneOrMany<NameGlob>>,
    /// What becomes of a file whose pod's labels are not known within `kubernetes.wait`, or because the API is out of reach.
    pub(crate) on_unknown: WhenUnknown,
}

/// What becomes of a file whose pod's labels are not known.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WhenUnknown {
    /// it is held open and not read until they are
    #[default]
    Wait,
    /// this route takes it
    Take,
    /// this route leaves it to later ones
    Leave,
}

/// What pods may say of their own logs.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WishName {
    /// that lines are left out: `kinetail.io/exclude`, `fluentbit.io/exclude`
    Exclude,
    /// which parser takes the place of the route's own: `kinetail.io/parser`, `fluentbit.io/parser`
    Parser,
    /// which stack traces are joined: `kinetail.io/multiline`
    Multiline,
    /// that lines are kept: those of other pods are left out; `kinetail.io/exclude: "false"`
    OptIn,
}

impl WishName {
    /// What annotations speak of; none of `opt_in`, which has none of its own.
    pub(crate) fn wish(self) -> Option<Wish> {
        match self {
            Self::Exclude => Some(Wish::Exclude),
            Self::Parser => Some(Wish::Parser),
            Self::Multiline => Some(Wish::Multiline),
            Self::OptIn => None,
        }
    }
}

/// A limit of reading: bytes or lines a second, or both. A second's worth may come at once.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rate {
    /// Bytes of log a second.
    #[schemars(example = &"1MiB", extend("x-limits" = {"min": "1KiB"}))]
    pub(crate) bytes: Option<Size>,
    /// Lines a second.
    #[schemars(range(min = 1), example = &1000)]
    pub(crate) lines: Option<u32>,
    /// Whose limit it is.
    pub(crate) per: RateOf,
    /// What happens above it.
    pub(crate) when_exceeded: WhenRateExceeded,
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum RateOf {
    /// each file's own
    #[default]
    File,
    /// that of all files of the route together
    Route,
}

/// What happens above a limit of reading.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum WhenRateExceeded {
    /// reading waits, and lines wait in their file
    #[default]
    Pause,
    /// lines are given up, and counted
    Drop,
}

/// How the lines of a file are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum FormatName {
    /// text, a message a line
    #[default]
    Plain,
    /// as containerd and CRI-O write `/var/log/pods`; split lines are joined
    Cri,
    /// as docker's json-file driver writes; split lines are joined
    Docker,
    /// no files: the entries of systemd's journal, read by journalctl
    Journald,
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum StartPosition {
    /// at their end: only what is written from now on
    #[default]
    End,
    /// at their beginning
    Beginning,
}
