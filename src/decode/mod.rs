//! From lines to messages: container runtimes' formats taken off, split lines joined.

/// How a file's lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, a message a line.
    #[default]
    Plain,
    /// The Kubernetes container runtime interface's: `<time> <stream> <P|F> <text>` (containerd, CRI-O).
    Cri,
    /// Docker's json-file driver: `{"log":"…\n","stream":"stdout","time":"…"}`.
    Docker,
}
