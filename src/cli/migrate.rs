//! `kinetail migrate`: the configuration of another agent, said in kinetail's.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config;
use crate::migrate::migrate;

/// `kinetail migrate`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct MigrateArgs {
    /// The Kinesis Agent's agent.json, or Fluent Bit's configuration, .conf or .yaml
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Of the Kinesis Agent, the folder with further flows (agent.d)
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

/// Prints the YAML to `out`: 0; 1 where it would not pass a check, which is told; 2 where the source cannot be read or
/// has nothing that kinetail does.
pub fn run(args: &MigrateArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let migrated = match migrate(&args.file, args.folder.as_deref()) {
        Ok(migrated) => migrated,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            return ExitCode::from(2);
        }
    };
    if out.write_all(migrated.text.as_bytes()).is_err() {
        return ExitCode::FAILURE;
    }
    if migrated.left_out > 0 {
        let is = if migrated.left_out == 1 { "thing was" } else { "things were" };
        let _ =
            writeln!(err, "{} {is} not carried over; the comments at the top list them", migrated.left_out);
    }
    // Variables have their values where it will run.
    let checked = config::parse(&migrated.text, "the configuration above", &|name| {
        Some(std::env::var(name).unwrap_or_else(|_| "variable".to_owned()))
    });
    match checked {
        Ok(_) => ExitCode::SUCCESS,
        Err(mistakes) => {
            let _ = writeln!(err, "it needs your hand:\n{mistakes}");
            ExitCode::FAILURE
        }
    }
}
