//! `kinetail tap`: records as they pass through a running agent.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::DataDirArgs;
use super::place::{data_dir, ended, runtime};
use crate::telemetry::control::{self, Passed, Told};
use crate::telemetry::tap::{Counts, Wanted};

/// `kinetail tap`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TapArgs {
    /// Only records that this route makes
    #[arg(long)]
    pub route: Option<String>,
    /// Only records that go to this destination
    #[arg(long)]
    pub destination: Option<String>,
    /// Only records of the file that has this path, or of files that fit this pattern, such as '/var/log/pods/shop_*/*/*.log'
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// So many records a second at most; of more that pass at once, some spread over all of them
    #[arg(long, value_name = "RECORDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Where its data is.
    #[command(flatten)]
    pub place: DataDirArgs,
}

/// Prints records until there were enough, until SIGINT or SIGTERM, or until reading ends; then says what was not shown.
/// Exits with 1 if nobody could be asked.
pub fn run(args: &TapArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    ended(tap(args, out, err), err)
}

fn tap(args: &TapArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<bool, String> {
    let data_dir = data_dir(&args.place)?;
    let file = args.file.as_ref().map(std::path::absolute).transpose().map_err(|error| error.to_string())?;
    let wanted = Wanted {
        route: args.route.clone(),
        destination: args.destination.clone(),
        file: file.map(|path| path.display().to_string()),
        rate: args.rate,
    };
    let (mut shown, mut counts, mut why, mut begun) = (0, Counts::default(), "", false);
    let mut failed = None;
    let enough = |shown: u64| args.count.is_some_and(|most| shown >= most);
    let told = |told: Told| {
        if !std::mem::replace(&mut begun, true) {
            let _ = writeln!(err, "records are shown as they pass; Ctrl-C ends it");
        }
        match told {
            Told::Counts(now) => counts = now,
            Told::End(now) => (counts, why) = (now, "; reading has ended"),
            // The counts that come after what was sampled together say of it, too.
            Told::Record(_) if enough(shown) => return ControlFlow::Continue(()),
            Told::Record(passed) => match print(&passed, args.place.json, out) {
                Ok(()) => {
                    shown += 1;
                    return ControlFlow::Continue(());
                }
                Err(error) => failed = Some(error),
            },
        }
        if enough(shown) || failed.is_some() || !why.is_empty() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let ended_by_us = runtime()?.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        tokio::select! {
            ended = control::ask_lines(&data_dir, "/tap", &wanted, told) => ended.map_err(|error| error.to_string()),
            _ = interrupt.recv() => Ok(true),
            _ = terminate.recv() => Ok(true),
        }
    })?;
    // Whoever reads them has seen enough.
    if let Some(error) = failed.filter(|error| error.kind() != io::ErrorKind::BrokenPipe) {
        return Err(error.to_string());
    }
    if !ended_by_us {
        why = "; kinetail has ended";
    }
    let Counts { passed, not_sampled, dropped } = counts;
    let _ = writeln!(
        err,
        "{passed} records passed, {shown} shown; {not_sampled} were above --rate, {dropped} came faster than they were \
         taken off{why}"
    );
    Ok(true)
}

fn print(passed: &Passed, json: bool, out: &mut dyn Write) -> io::Result<()> {
    if json {
        serde_json::to_writer(&mut *out, passed)?;
        writeln!(out)?;
    } else {
        // A record that is no JSON comes as a string.
        match serde_json::from_str::<String>(passed.record.get()) {
            Ok(text) => writeln!(out, "{text}")?,
            Err(_) => writeln!(out, "{}", passed.record.get())?,
        }
    }
    out.flush()
}
