//! Several lines that are one message: stack traces, and whatever else a route's patterns tell.
//!
//! Lines are judged by themselves and by the state of the record that is open in their stream
//! ([`Multiline::judge`]); a [`Joiner`] does what the verdict says. They are whole lines already: the parts that a
//! runtime made of them were joined before.
//!
//! **Only what is open is remembered.** Once a record is out, whether a line ended it or a limit did, its stream is as
//! it was in the beginning. So the place where an open record began is all that a restart needs: read again from
//! there, the same lines make the same records.
//!
//! **Nothing is dropped.** A record that reaches its size or number of lines comes out, and the line that had no room
//! in it is judged anew. Each line is in exactly one record, and a record's text is its lines with newlines between.

mod joiner;
mod patterns;
mod presets;
#[cfg(test)]
mod tests;
mod traces;

use std::time::Duration;

pub(super) use joiner::Joiner;
pub use patterns::LinePatterns;
pub use presets::Preset;
use traces::{Candidates, Traces};

/// Which lines of a stream belong together, and for how long and how far.
#[derive(Clone, Debug, PartialEq)]
pub struct Multiline {
    rules: Rules,
    /// How long no further line must have come before a record comes out that may go on.
    pub flush_after: Duration,
    /// The most bytes of a record's text. Its first line stays whole, as long as a line may be.
    pub max_size: usize,
    /// The most lines of a record.
    pub max_lines: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum Rules {
    Patterns(LinePatterns),
    Traces(Traces),
}

/// What is remembered of an open record beside its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Of one that patterns tell: nothing.
    Open,
    /// Of a trace: where in each preset's rules it may be.
    Trace(Candidates),
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    /// It belongs to the open record; otherwise it is the first of its own.
    continues: bool,
    /// What the record is then; none if nothing can follow.
    then: Option<State>,
}

impl Multiline {
    /// How long a record waits for its next line unless said: longer than programs and runtimes pause within one.
    pub const FLUSH_AFTER: Duration = Duration::from_secs(2);
    /// The most bytes of a record unless said: what a deep trace with its causes takes, and with room to escape it in
    /// JSON well below the 1,000 KiB that Firehose takes.
    pub const MAX_SIZE: usize = 256 << 10;
    /// The most lines of a record unless said.
    pub const MAX_LINES: usize = 10_000;

    /// By patterns of lines.
    pub fn by_patterns(patterns: LinePatterns) -> Self {
        Self::with(Rules::Patterns(patterns))
    }

    /// The stack traces of these.
    pub fn traces(presets: &[Preset]) -> Self {
        Self::with(Rules::Traces(Traces::new(presets)))
    }

    fn with(rules: Rules) -> Self {
        Self { rules, flush_after: Self::FLUSH_AFTER, max_size: Self::MAX_SIZE, max_lines: Self::MAX_LINES }
    }

    /// What a line is that comes after others of its stream: `open` is the state of the record that is open there.
    fn judge(&self, open: Option<State>, line: &[u8]) -> Verdict {
        match (&self.rules, open) {
            (Rules::Patterns(patterns), open) => patterns.judge(open.is_some(), line),
            (Rules::Traces(traces), Some(State::Trace(candidates))) => match traces.next(candidates, line) {
                Some(next) => Verdict { continues: true, then: Some(State::Trace(next)) },
                None => self.judge(None, line),
            },
            (Rules::Traces(traces), _) => {
                Verdict { continues: false, then: traces.first(line).map(State::Trace) }
            }
        }
    }
}
