//! kinetail's own log: text for people on a terminal, a JSON object a line otherwise, to standard error.
//!
//! Where it does not go to a terminal it may end in a file that kinetail follows: what a shell, systemd, a container runtime or a
//! log daemon writes is not seen from here. Therefore each line carries the [mark](Log::mark) of this process, and who reads
//! lines can tell which are its own, whatever was put around them.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::limit::{RateLimit, Suppressed};
use super::progress::write_above;
use crate::config::{LogFormat, LogSettings};

/// Why there can be no log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error(
        "log level {filter:?}: {why}; write error, warn, info, debug, trace, or a filter such as kinetail=debug,warn"
    )]
    Filter {
        /// As it was given.
        filter: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is one already.
    #[error("a log was set up already")]
    Twice,
}

/// The log of a process.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What is held back because it repeats.
    pub suppressed: Suppressed,
    /// What is in each of its lines and in no other; none if it goes to a terminal.
    pub mark: Option<Arc<str>>,
}

/// Sets the log up for the process. `flag` (the command line or `KINETAIL_LOG`) wins over the configuration.
///
/// # Errors
///
/// The filter cannot be read, or there is a log already.
pub fn init(settings: &LogSettings, flag: Option<&str>) -> Result<Log, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let wanted = flag.or(settings.level.as_deref()).unwrap_or("info");
    let filter = filter(wanted)?;
    let log = Log { suppressed: Suppressed::default(), mark: (!terminal).then(mark) };
    let registry = tracing_subscriber::registry().with(filter).with(RateLimit(log.suppressed.clone()));
    let stderr = StandardError { mark: log.mark.clone(), text };
    let set = if text {
        let text = fmt::layer().with_ansi(terminal).with_target(false);
        registry.with(text.with_writer(move || stderr.clone())).try_init()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(json.with_writer(move || stderr.clone())).try_init()
    };
    set.map_err(|_| LoggingError::Twice)?;
    super::panics::tell();
    Ok(log)
}

/// A mark that nobody can guess, and no line holds by chance. Log formats leave each of its characters as it is, and
/// the first is rare in logs, so that blocks without it are soon looked through.
fn mark() -> Arc<str> {
    format!("~{:016x}", fastrand::u64(..)).into()
}

/// A level alone is about kinetail. The libraries below stay at `warn`: what they say beyond it is for their
/// developers, and holds requests with their payload and signature. A filter with targets says what it wants of
/// whom.
fn filter(wanted: &str) -> Result<EnvFilter, LoggingError> {
    let plain = !wanted.contains(['=', ',']);
    let level = wanted.trim().to_ascii_lowercase();
    let text = match level.as_str() {
        "info" | "debug" | "trace" if plain => format!("warn,kinetail={level}"),
        _ => wanted.to_owned(),
    };
    EnvFilter::try_new(text)
        .map_err(|error| LoggingError::Filter { filter: wanted.to_owned(), why: error.to_string() })
}

/// Standard error. An event is written at once.
#[derive(Clone)]
struct StandardError {
    /// Near the beginning of each line, where nobody cuts it off.
    mark: Option<Arc<str>>,
    text: bool,
}

impl io::Write for StandardError {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        write_above(&self.lines(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl StandardError {
    /// The lines of one event, which ends with a newline. In text a line break inside of it is indented, so that nothing
    /// in it (a path may hold one) can pass for an event of its own; JSON has none.
    fn lines(&self, event: &[u8]) -> Vec<u8> {
        let inside = event.strip_suffix(b"\n").unwrap_or(event);
        let mut out = Vec::with_capacity(event.len() + 64);
        // Both begin with the time.
        let (end_of_time, mark) = match (&self.mark, self.text) {
            (None, _) => (0, String::new()),
            (Some(mark), false) => (place_behind(b',', inside), format!("\"instance\":\"{mark}\",")),
            (Some(mark), true) => (place_behind(b' ', inside), format!("instance={mark} ")),
        };
        let (time, rest) = inside.split_at(end_of_time);
        out.extend_from_slice(time);
        out.extend_from_slice(mark.as_bytes());
        for byte in rest {
            match byte {
                b'\n' | b'\r' => {
                    out.extend_from_slice(b"\n    ");
                    out.extend_from_slice(mark.as_bytes());
                }
                byte => out.push(*byte),
            }
        }
        out.extend_from_slice(&event[inside.len()..]);
        out
    }
}

/// The place behind the first such byte, or the beginning.
fn place_behind(byte: u8, text: &[u8]) -> usize {
    memchr::memchr(byte, text).map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_keeps_the_libraries_quiet_and_a_filter_is_taken_as_it_is() {
        for (wanted, made) in [
            ("debug", "kinetail=debug,warn"),
            ("TRACE", "kinetail=trace,warn"),
            ("info", "kinetail=info,warn"),
            ("error", "error"),
            ("off", "off"),
        ] {
            assert_eq!(filter(wanted).unwrap().to_string(), made);
        }
        assert_eq!(filter("hyper=trace").unwrap().to_string(), "hyper=trace");
        let error = filter("kinetail=loud").unwrap_err().to_string();
        assert!(error.contains("kinetail=loud") && error.contains("debug"), "{error}");
    }

    fn written(text: bool, mark: Option<&str>, event: &str) -> String {
        let stderr = StandardError { mark: mark.map(Arc::from), text };
        String::from_utf8(stderr.lines(event.as_bytes())).unwrap()
    }

    #[test]
    fn a_line_break_inside_of_an_event_cannot_begin_another() {
        assert_eq!(written(true, None, "plain\n"), "plain\n");
        let broken = "path=/a\n2026 ERROR x\r\ny\n";
        assert_eq!(written(true, None, broken), "path=/a\n    2026 ERROR x\n    \n    y\n");
        assert_eq!(written(true, None, ""), "");
    }

    #[test]
    fn every_line_is_marked_behind_its_time() {
        let json = "{\"timestamp\":\"2026\",\"level\":\"INFO\"}\n";
        assert_eq!(
            written(false, Some("~1"), json),
            "{\"timestamp\":\"2026\",\"instance\":\"~1\",\"level\":\"INFO\"}\n"
        );
        assert_eq!(written(false, None, json), json);
        assert_eq!(
            written(true, Some("~1"), "2026  INFO a\nb\n"),
            "2026 instance=~1  INFO a\n    instance=~1 b\n"
        );
    }

    #[test]
    fn a_mark_is_another_each_time() {
        assert_ne!(mark(), mark());
        assert_eq!(mark().len(), 17);
    }
}
