//! How a container runtime, or nobody, frames a line of text.

use fastrand::Rng;
use jiff::Timestamp;
use jiff::tz::Offset;

/// The stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    /// As log files name it.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Who writes the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// containerd's CRI lines: times end in `Z`, lines are split at 16 KiB.
    Containerd,
    /// CRI-O's (conmon's) CRI lines: times carry an offset, a part is what one read of at most 8 KiB got.
    Crio,
    /// Docker's json-file driver: an object a line, split at 16 KiB.
    Docker,
    /// The program itself: bare lines, no streams.
    Plain,
}

impl Format {
    /// The framed parts of one line, each to be written at once.
    pub(super) fn frame(self, time: Timestamp, stream: Stream, text: &str, rng: &mut Rng) -> Vec<Vec<u8>> {
        let parts = self.split(text, rng);
        let last = parts.len() - 1;
        parts
            .into_iter()
            .enumerate()
            .map(|(index, part)| self.part(time, stream, part, index == last))
            .collect()
    }

    /// The time as records must show it; none for plain files.
    pub fn time(self, time: Timestamp) -> Option<String> {
        match self {
            Format::Containerd | Format::Docker => Some(format!("{time:.9}")),
            Format::Crio => {
                let offset = Offset::from_hours(2).expect("an offset");
                Some(format!("{:.9}", time.display_with_offset(offset)))
            }
            Format::Plain => None,
        }
    }

    /// One framed part of a line.
    pub(super) fn part(self, time: Timestamp, stream: Stream, part: &str, last: bool) -> Vec<u8> {
        let time = self.time(time);
        let time = time.as_deref().unwrap_or_default();
        let stream = stream.name();
        match self {
            Format::Plain => format!("{part}\n"),
            Format::Containerd | Format::Crio => {
                format!("{time} {stream} {} {part}\n", if last { "F" } else { "P" })
            }
            Format::Docker => {
                let log = if last { format!("{part}\n") } else { part.to_owned() };
                format!("{}\n", serde_json::json!({"log": log, "stream": stream, "time": time}))
            }
        }
        .into_bytes()
    }

    /// Cuts a line where this runtime cuts it; never inside of a character, as texts here are ASCII.
    fn split<'a>(self, text: &'a str, rng: &mut Rng) -> Vec<&'a str> {
        let limit = match self {
            Format::Plain => return vec![text],
            Format::Containerd | Format::Docker => 16 << 10,
            Format::Crio => 8 << 10,
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while rest.len() > limit {
            let (part, more) = rest.split_at(limit);
            parts.push(part);
            rest = more;
        }
        // conmon also gets a part of a short line when the program writes the line in two goes.
        if self == Format::Crio && rest.len() > 1 && rng.u8(..10) == 0 {
            let (part, more) = rest.split_at(rng.usize(1..rest.len()));
            parts.push(part);
            rest = more;
        }
        parts.push(rest);
        parts
    }
}
