//! `kinetail reload`: a running agent loads its configuration again.

use std::io::Write;
use std::process::ExitCode;

use hyper::Method;

use super::DataDirArgs;
use super::place::{asking, data_dir};
use crate::telemetry::control::Reloaded;

/// Asks the agent and says what came of it: exits with 0 if the configuration counts, with 1 if it was refused or nobody
/// was there to ask.
pub fn run(args: &DataDirArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let asked = data_dir(args).and_then(|data_dir| asking::<Reloaded>(&data_dir, Method::POST, "/reload"));
    let reloaded = match asked {
        Ok(reloaded) => reloaded,
        Err(why) => {
            let _ = writeln!(err, "{why}");
            return ExitCode::FAILURE;
        }
    };
    let said = if args.json {
        serde_json::to_string(&reloaded).map_or(Ok(()), |json| writeln!(out, "{json}"))
    } else if let Some(problem) = &reloaded.problem {
        writeln!(err, "refused, the configuration before goes on:\n{problem}")
    } else if reloaded.after_restart.is_empty() {
        writeln!(out, "the configuration counts")
    } else {
        let settings = reloaded.after_restart.join(", ");
        writeln!(out, "the configuration counts; after a restart also what changed in: {settings}")
    };
    if reloaded.applied && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
