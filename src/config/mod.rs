//! The configuration: what the user wrote, and what was made of it.
//!
//! ```text
//! text ─► document (a tree with places) ─► environment ─► shape (checked against the schema) ─► raw
//!      ─► validate ─► Config
//! ```
//!
//! Every step goes on after an error as far as it can, so that all that is wrong is told at once, each with
//! its place in the file; see [`Diagnostic`]. There are two kinds of type: in `raw` what is typed, with the
//! documentation for users, the defaults and the limits; in `settings` and the stages what was made of it, in
//! which everything is known to be right.

mod cases;
mod diagnostics;
mod document;
mod environment;
mod named;
mod raw;
mod schema;
mod settings;
mod shape;
mod validate;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use std::path::Path;

pub use cases::{Expectation, ExpectedRecord, Said, TestCase};
pub use diagnostics::{Diagnostic, Diagnostics, Place};
pub use named::{parser_named, traces_named};
pub use schema::schema;
pub use settings::{
    AdminSettings, Config, DestinationConfig, JournalConfig, LogFormat, LogSettings, RouteConfig,
};

use diagnostics::Findings;

/// A good configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the agent is built from.
    pub config: Config,
    /// What is allowed and probably not meant.
    pub warnings: Diagnostics,
}

/// Reads a file, with the variables of the process's own environment.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let file = path.display().to_string();
    let unreadable = |message: String| {
        let mut errors = Findings::new(&file);
        errors.add_without_place(message);
        errors.finish()
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = memchr::memchr_iter(b'\n', good).count() + 1;
        unreadable(format!("is not UTF-8; the first wrong byte is in line {line}"))
    })?;
    parse(&text, &file, &|name| std::env::var(name).ok())
}

/// Whether a text says what of kinetail's own log is written, as `log.level` and `--log-level` take it: a
/// level, or a filter such as `kinetail=debug,warn`. The error says what is wrong with it.
pub fn check_log_filter(text: &str) -> Result<(), String> {
    raw::Form::named("log-filter").map_or(Ok(()), |form| (form.check)(text))
}

/// Reads the text of a file. `file` is its name in messages; `env` looks variables up.
pub fn parse(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Diagnostics> {
    let mut errors = Findings::new(file);
    let mut warnings = Findings::new(file);
    let Some(mut document) = document::read(text, &mut errors) else {
        return Err(errors.finish());
    };
    environment::expand(&mut document, &diagnostics::Path::default(), env, &mut errors);
    let value = shape::check(&schema(), &document, &mut errors);
    let config = match serde_yaml::with::singleton_map_recursive::deserialize(value) {
        Ok(file) => validate::validate(file, &document, &mut errors, &mut warnings),
        Err(error) => {
            // The schema is made from the very types that are read here, so it should have said so before.
            let error: serde_yaml::Error = error;
            errors.add(document.place, &diagnostics::Path::default(), error.to_string());
            None
        }
    };
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings: warnings.finish() }),
        _ => Err(errors.finish()),
    }
}
