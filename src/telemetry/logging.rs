//! kinetail's own log: text for people on a terminal, a JSON object a line otherwise, to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::limit::{RateLimit, Suppressed};
use crate::config::{LogFormat, LogSettings};

/// What the libraries below us say at `info` is for their developers.
const QUIET: &str = "aws_config=warn,aws_runtime=warn,aws_smithy_runtime=warn,aws_smithy_http_client=warn,\
                     hyper=warn,hyper_util=warn,rustls=warn,notify=warn";

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
        registry.with(fmt::layer().with_writer(io::stderr).with_ansi(terminal).with_target(false)).try_init()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(json.with_writer(io::stderr)).try_init()
    };
    set.map_err(|_| LoggingError::Twice)?;
    super::panics::tell();
    Ok(suppressed)
}

/// A level alone is about kinetail; a filter with targets says what it wants of whom.
fn filter(wanted: &str) -> Result<EnvFilter, LoggingError> {
    let plain = !wanted.contains(['=', ',']);
    let text = if plain { format!("{QUIET},{wanted}") } else { wanted.to_owned() };
    EnvFilter::try_new(text)
        .map_err(|error| LoggingError::Filter { filter: wanted.to_owned(), why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_keeps_the_libraries_quiet_and_a_filter_is_taken_as_it_is() {
        assert!(filter("debug").unwrap().to_string().contains("hyper=warn"));
        assert_eq!(filter("hyper=trace").unwrap().to_string(), "hyper=trace");
        let error = filter("kinetail=loud").unwrap_err().to_string();
        assert!(error.contains("kinetail=loud") && error.contains("debug"), "{error}");
    }
}
