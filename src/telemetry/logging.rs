//! kinetail's own log: text for people on a terminal, a JSON object a line otherwise, to standard error.

use std::borrow::Cow;
use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::limit::{RateLimit, Suppressed};
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

/// Sets the log up for the process. `flag` (the command line or `KINETAIL_LOG`) wins over the configuration.
/// Returns the counts of what is held back because it repeats.
///
/// # Errors
///
/// The filter cannot be read, or there is a log already.
pub fn init(settings: &LogSettings, flag: Option<&str>) -> Result<Suppressed, LoggingError> {
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let wanted = flag.or(settings.level.as_deref()).unwrap_or("info");
    let filter = filter(wanted)?;
    let suppressed = Suppressed::default();
    let registry = tracing_subscriber::registry().with(filter).with(RateLimit(suppressed.clone()));
    let set = if text {
        registry.with(fmt::layer().with_writer(|| Indented).with_ansi(terminal).with_target(false)).try_init()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(json.with_writer(io::stderr)).try_init()
    };
    set.map_err(|_| LoggingError::Twice)?;
    super::panics::tell();
    Ok(suppressed)
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

/// Standard error, for text: a line break inside of an event is indented, so that nothing in it (a path may hold
/// one) can pass for an event of its own.
struct Indented;

impl io::Write for Indented {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stderr().lock().write_all(&indented(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// One event, which ends with a newline.
fn indented(event: &[u8]) -> Cow<'_, [u8]> {
    let inside = event.strip_suffix(b"\n").unwrap_or(event);
    if memchr::memchr2(b'\n', b'\r', inside).is_none() {
        return Cow::Borrowed(event);
    }
    let mut out = Vec::with_capacity(event.len() + 64);
    for byte in inside {
        match byte {
            b'\n' | b'\r' => out.extend_from_slice(b"\n    "),
            byte => out.push(*byte),
        }
    }
    out.extend_from_slice(&event[inside.len()..]);
    Cow::Owned(out)
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

    #[test]
    fn a_line_break_inside_of_an_event_cannot_begin_another() {
        assert_eq!(&*indented(b"plain\n"), b"plain\n");
        assert_eq!(&*indented(b"path=/a\n2026 ERROR x\r\ny\n"), b"path=/a\n    2026 ERROR x\n    \n    y\n");
        assert_eq!(&*indented(b""), b"");
    }
}
