//! The configuration of another agent, said in kinetail's: what `kinetail migrate` prints.
//!
//! ```text
//! agent.json, agent.d ─► agent ──┐
//!                                ├─► Draft (destinations, routes, notes) ─► YAML with comments
//! fluent-bit.conf, .yaml ─► fluent ┘
//! ```
//!
//! Two things hold for all of it. Every key of the source is taken, or told in a comment with the reason (`keys` knows
//! all of them, and `docs/migrating.md` says the same, which a test holds). And what comes out is a good configuration:
//! what would not pass `kinetail check`, a regular expression of another dialect for instance, becomes a comment instead.

mod agent;
mod draft;
mod fluent;
mod keys;
#[cfg(test)]
mod tests;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};

pub use draft::Migrated;

/// Why a configuration cannot be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A file or folder cannot be read.
    #[error("{path}: {error}")]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {what}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and where.
        what: String,
    },
    /// There is nothing in it that kinetail does.
    #[error("{path}: {what}")]
    Nothing {
        /// Which file.
        path: PathBuf,
        /// What was looked for.
        what: String,
    },
}

/// Migrates the configuration of the Kinesis Agent (`.json`, with the folder of further flows), or of Fluent Bit in its
/// classic form (`.conf`) or in YAML.
///
/// # Errors
///
/// See [`MigrateError`].
pub fn migrate(file: &Path, folder: Option<&Path>) -> Result<Migrated, MigrateError> {
    let is = |extension: &str| file.extension().is_some_and(|is| is.eq_ignore_ascii_case(extension));
    if is("json") {
        return agent::migrate(file, folder);
    }
    if is("conf") || is("yaml") || is("yml") {
        return fluent::migrate(file);
    }
    Err(MigrateError::Syntax {
        path: file.to_owned(),
        what: "its name does not tell what it is; name an agent.json of the Kinesis Agent, or a .conf or .yaml of \
               Fluent Bit"
            .to_owned(),
    })
}

fn read(path: &Path) -> Result<String, MigrateError> {
    std::fs::read_to_string(path).map_err(|error| MigrateError::Read { path: path.to_owned(), error })
}
