//! Logs that are never at rest: at any moment one may hold half a line, a split line's first part, or be renamed
//! and not reopened yet.

use std::path::Path;

use fastrand::Rng;

use super::{Stream, Writer, Written, containers};

/// The logs of some containers, to which anything may happen.
pub struct Busy {
    logs: Vec<Log>,
    rng: Rng,
    traces: bool,
}

struct Log {
    writer: Writer,
    line: Line,
    renamed: bool,
}

/// The last line.
enum Line {
    Whole,
    /// The first part of a split line, after which lines of the other stream may come.
    Split,
    /// Half a line's bytes.
    Torn,
    /// The first lines of a trace and a part of the next, after which lines of the other stream may come.
    Trace,
    /// A trace that no line has ended yet, after which lines of the other stream may come.
    Held,
}

impl Busy {
    /// Of this many containers. What happens comes from a seed. No rotated file is deleted.
    pub fn containers(root: &Path, count: usize, mut rng: Rng) -> Self {
        let logs = containers(root, count)
            .into_iter()
            .map(|writer| writer.seed(rng.u64(..)).max_files(usize::MAX))
            .map(|writer| Log { writer, line: Line::Whole, renamed: false })
            .collect();
        Self { logs, rng, traces: false }
    }

    /// The settings of a route for such logs: a trace is one record, and lines of no use are dropped.
    pub const ROUTE: [&str; 5] = [
        "files: '{root}/pods/*/*/*.log'",
        "format: cri",
        "start_at: beginning",
        "multiline: {start: ' trace$', continue: '^  at ', flush_after: 10m}",
        "process: [{drop: {log: {matches: '^debug'}}}]",
    ];

    /// With traces of several lines, of which [`Writer::begin_trace`] tells, and lines that begin with `debug`, which
    /// nobody remembers.
    pub fn with_traces(mut self) -> Self {
        self.traces = true;
        self
    }

    /// Something happens to some of the logs; one at least gets a whole line.
    pub fn go_on(&mut self) {
        let whole = self.whole();
        while self.whole() == whole {
            for log in &mut self.logs {
                if self.traces {
                    log.go_on_with_traces(&mut self.rng);
                }
                log.go_on(&mut self.rng);
            }
        }
    }

    /// What was begun is ended.
    pub fn end(&mut self) {
        for log in &mut self.logs {
            log.end_line();
            if log.renamed {
                log.reopen();
            }
        }
    }

    /// How many whole lines and traces there are.
    pub fn whole(&self) -> usize {
        self.logs.iter().map(Log::whole).sum()
    }

    /// All lines; some have only begun unless [`Busy::end`] was called.
    pub fn lines(&self) -> impl Iterator<Item = &Written> {
        self.logs.iter().flat_map(|log| log.writer.written())
    }
}

impl Log {
    fn whole(&self) -> usize {
        self.writer.written().len() - usize::from(!matches!(self.line, Line::Whole))
    }

    fn go_on_with_traces(&mut self, rng: &mut Rng) {
        match (rng.u8(..6), &self.line) {
            (0, Line::Whole) => {
                self.writer.begin_trace();
                self.line = Line::Trace;
            }
            (1, Line::Trace) => {
                self.writer.end_line();
                self.line = Line::Held;
            }
            (2 | 3, Line::Trace | Line::Held) => self.writer.line(Stream::Stderr),
            (4, Line::Whole | Line::Split | Line::Trace | Line::Held) => {
                self.writer.raw(b"2026-01-02T03:04:05.000000001Z stderr F debug: of no use\n");
            }
            _ => {}
        }
    }

    fn go_on(&mut self, rng: &mut Rng) {
        match rng.u8(..20) {
            0..8 => {}
            8..14 => {
                self.end_line();
                self.writer.lines(rng.usize(1..30));
            }
            14 | 15 => match self.line {
                Line::Whole => {
                    self.writer.begin_line(Stream::Stdout);
                    self.line = Line::Split;
                }
                Line::Split => self.writer.line(Stream::Stderr),
                Line::Torn | Line::Trace | Line::Held => self.end_line(),
            },
            16 | 17 => {
                self.end_line();
                self.writer.tear_line();
                self.line = Line::Torn;
            }
            _ if self.renamed => self.reopen(),
            18 => {
                self.writer.rename_away();
                self.renamed = true;
            }
            _ => {
                self.end_line();
                self.writer.rotate();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::replace(&mut self.line, Line::Whole);
        if matches!(line, Line::Split | Line::Torn | Line::Trace) {
            self.writer.end_line();
        }
        if matches!(line, Line::Trace | Line::Held) {
            self.writer.line(Stream::Stdout);
        }
    }

    /// A runtime ends a line in the file in which it began it.
    fn reopen(&mut self) {
        self.end_line();
        self.writer.reopen();
        self.renamed = false;
    }
}
