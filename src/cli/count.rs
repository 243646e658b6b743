//! `kinetail count`: what became of the lines of `kinetail generate`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::generate::{Count, Manifest};

/// `kinetail count`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CountArgs {
    /// The manifest that `kinetail generate` wrote beside its logs
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// What arrived: files, folders with all that is in them, or - for standard input; plain or gzip
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// Counts, and writes the report to `out`: 0 if nothing was lost, 1 if something was, 2 if something cannot be read.
pub fn run(args: &CountArgs, stdin: impl Read, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    match count(args, stdin, out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            ExitCode::from(2)
        }
    }
}

fn count(
    args: &CountArgs,
    stdin: impl Read,
    out: &mut impl Write,
) -> Result<u64, Box<dyn std::error::Error>> {
    let manifest = Manifest::read(&args.manifest)?;
    let mut count = Count::default();
    let mut stdin = Some(stdin);
    for path in &args.paths {
        match stdin.take_if(|_| path == Path::new("-")) {
            Some(stdin) => count.add(stdin)?,
            None => count.add_path(path)?,
        }
    }
    let report = count.report(&manifest);
    write!(out, "{report}")?;
    Ok(report.lost)
}
