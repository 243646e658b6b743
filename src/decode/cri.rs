//! The log format of the Kubernetes container runtime interface: `<time> <stream> <tags> <text>`.
//!
//! Tags are separated by `:`; the first is `P` for a part that another follows or `F` for the last or only
//! one. (Kubernetes, `pkg/kubelet/kuberuntime/logs`, and the CRI's design document on logging.)

use memchr::memchr;

use super::{Part, rfc3339};
use crate::source::Stream;

/// Takes one line apart; none if it is not of this format.
pub(super) fn parse(line: &[u8]) -> Option<Part<'_>> {
    let (time, rest) = line.split_at(rfc3339::prefix(line)?);
    let (stream, rest) = if let Some(rest) = rest.strip_prefix(b" stdout ") {
        (Stream::Stdout, rest)
    } else {
        (Stream::Stderr, rest.strip_prefix(b" stderr ")?)
    };
    let ends = match *rest.first()? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    let text = match rest.get(1) {
        Some(b' ') => &rest[2..],
        // An empty text whose separating blank got lost.
        None => &rest[1..],
        Some(b':') => memchr(b' ', rest).map_or(&rest[rest.len()..], |blank| &rest[blank + 1..]),
        Some(_) => return None,
    };
    Some(Part { time: std::str::from_utf8(time).ok()?, stream, text, ends })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-01-02T03:04:05.123456789Z";

    #[test]
    fn lines_of_both_runtimes_come_apart() {
        for time in [TIME, "2026-01-02T03:04:05.123456789+02:00"] {
            for (rest, stream, ends, text) in [
                (" stdout F hello", Stream::Stdout, true, "hello"),
                (" stderr P half a", Stream::Stderr, false, "half a"),
                (" stdout F ", Stream::Stdout, true, ""),
                (" stdout F", Stream::Stdout, true, ""),
                (" stdout F  two blanks", Stream::Stdout, true, " two blanks"),
                (" stdout P:x:y text", Stream::Stdout, false, "text"),
                (" stdout F:x", Stream::Stdout, true, ""),
            ] {
                let line = format!("{time}{rest}");
                let part = Part { time, stream, text: text.as_bytes(), ends };
                assert_eq!(parse(line.as_bytes()), Some(part), "{line}");
            }
        }
    }

    #[test]
    fn other_lines_are_not_taken_for_this_format() {
        for rest in [
            "",
            " ",
            " stdin F text",
            " stdout",
            " stdout ",
            " stdout X text",
            " stdout FF text",
            " stdout p text",
            "  stdout F text",
            " stdoutF text",
            "stdout F text",
        ] {
            let line = format!("{TIME}{rest}");
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
        assert_eq!(parse(b"hello world"), None);
    }
}
