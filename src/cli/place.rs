//! Which kinetail a command is about, and how it is asked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use hyper::Method;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};

use super::DataDirArgs;
use crate::agent::hold;
use crate::config;
use crate::telemetry::control::{self, NotAsked};

/// The `data_dir` that was named, or that of the configuration. What else is wrong with the configuration does not
/// matter as long as that can be read.
pub(super) fn data_dir(args: &DataDirArgs) -> Result<PathBuf, String> {
    if let Some(data_dir) = &args.data_dir {
        return Ok(data_dir.clone());
    }
    let loaded = config::load(&args.config.config);
    loaded.map(|loaded| loaded.config.data_dir).map_err(|mistakes| {
        format!("{mistakes}\nor say where the running kinetail has its data: --data-dir DIR")
    })
}

/// Asks a running kinetail.
pub(super) fn asking<T: for<'a> Deserialize<'a>>(
    data_dir: &Path,
    method: Method,
    target: &str,
) -> Result<T, String> {
    let asked = control::ask(data_dir, method, target, &());
    runtime()?.block_on(asked).map_err(|error| error.to_string())
}

/// Asks a running kinetail for a change, or, where none runs, has it made on disk: `data_dir` is held meanwhile.
pub(super) fn changing<T: for<'a> Deserialize<'a>>(
    data_dir: &Path,
    target: &str,
    body: &impl Serialize,
    on_disk: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    match runtime()?.block_on(control::ask(data_dir, Method::POST, target, body)) {
        Err(NotAsked::NotRunning { .. }) => {
            // One without a socket would be found out here.
            let _held = hold(data_dir).map_err(|error| error.to_string())?;
            on_disk()
        }
        asked => asked.map_err(|error| error.to_string()),
    }
}

/// For a command, which does one thing at a time.
pub(super) fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())
}

/// How a command ends: with 0 if all was done and is well, with 1 otherwise.
pub(super) fn ended(done: Result<bool, String>, err: &mut dyn Write) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            ExitCode::FAILURE
        }
    }
}
