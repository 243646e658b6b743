//! `journal` of a route, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Folder, OneOrMany, Text};

/// Which entries of the journal a route reads, and how their fields are called.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Journal {
    /// Only entries of these units, and what systemd says about them, as `journalctl --unit` takes them: `kubelet` is
    /// `kubelet.service`. Without it, of all units and of what is no unit, such as the kernel.
    #[schemars(example = &["kubelet", "crio"])]
    pub(crate) units: OneOrMany<Text>,
    /// Only entries of this priority and those that are more urgent.
    #[schemars(example = &"warning")]
    pub(crate) priority: Option<Priority>,
    /// Only entries with these values, `FIELD=value`, as journalctl takes them: of several values of one field any, of
    /// several fields all must hold, and `+` separates alternatives. They come on top of `units` and `priority`.
    #[schemars(example = &["_TRANSPORT=kernel", "+", "SYSLOG_IDENTIFIER=sshd"])]
    pub(crate) matches: OneOrMany<Text>,
    /// Folders with the journal's files, and with a folder for each machine's; those of journald itself unless said,
    /// `/var/log/journal` and `/run/log/journal`.
    #[schemars(example = &["/var/log/journal"])]
    pub(crate) folders: OneOrMany<Folder>,
    /// How journalctl is called: an absolute path, and arguments that come before kinetail's, for where it is run by
    /// another program. `/usr/bin/journalctl` unless said.
    #[schemars(example = &["/usr/bin/journalctl"])]
    pub(crate) command: OneOrMany<Text>,
    /// `MESSAGE` is called `log`, as the text of any other source is, or whatever `record` says in its place.
    pub(crate) message_as_log: bool,
    /// Names in lower case: `_SYSTEMD_UNIT` is called `_systemd_unit`.
    pub(crate) lowercase: bool,
    /// Names without the underscore of what journald itself vouches for: `_PID` is called `PID`.
    pub(crate) strip_underscores: bool,
}

/// How urgent an entry is, as syslog(3) has it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Priority {
    /// 0
    Emerg,
    /// 1
    Alert,
    /// 2
    Crit,
    /// 3
    Err,
    /// 4
    Warning,
    /// 5
    Notice,
    /// 6
    Info,
    /// 7, which is all
    Debug,
}
