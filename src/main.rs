//! The `kinetail` command.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kinetail::agent::{self, ConfigFile, Options};
use kinetail::cli::{
    Cli, Command, RunArgs, buffer, check, checkpoints, completions, count, dead_letters, generate,
    iam_policy, migrate, online, plan, reload, schema, status, tap, trial,
};
use kinetail::config::{self, Config, RouteConfig};
use kinetail::tail::{self, Roots, Selection};
use kinetail::telemetry::logging;
use tracing::{error, warn};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Check(args) => {
            let path = &args.config.config;
            let (out, err) = (&mut io::stdout().lock(), &mut io::stderr().lock());
            let checked = match check::run(path, files, out, err) {
                Ok(check::Outcome::Good) if args.online => online::run(path, args.send_test_record, out),
                checked => checked,
            };
            match checked {
                Ok(outcome) => outcome.into(),
                Err(_) => ExitCode::FAILURE,
            }
        }
        Command::Try(args) => {
            let (out, err) = (&mut io::stdout().lock(), &mut io::stderr().lock());
            trial::run(&args, io::stdin().lock(), out, err)
        }
        Command::IamPolicy(args) => iam_policy::run(args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Plan(args) => plan::run(args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Reload(args) => reload::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Status(args) => status::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Files(args) => status::files(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Tap(args) => tap::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Buffer(args) => buffer::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::DeadLetters(args) => {
            dead_letters::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock())
        }
        Command::Checkpoints(args) => {
            checkpoints::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock())
        }
        Command::Completions(args) => completions::run(args, &mut io::stdout().lock()),
        Command::Migrate(args) => migrate::run(&args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Schema => schema::run(&mut io::stdout().lock()),
        Command::Generate(args) => generate::run(args, &mut io::stdout().lock(), &mut io::stderr().lock()),
        Command::Count(args) => {
            count::run(&args, io::stdin().lock(), &mut io::stdout().lock(), &mut io::stderr().lock())
        }
    }
}

fn run(args: &RunArgs) -> ExitCode {
    // Looked at before it is read, so that no change of it is missed.
    let file = ConfigFile::at(args.config.config.clone());
    let loaded = match config::load(file.path()) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes, 2),
    };
    let log = match logging::init(&loaded.config.log, args.log_level()) {
        Ok(log) => log,
        Err(error) => return refuse(&error, 2),
    };
    for warning in &loaded.warnings {
        warn!(event = "configuration_warning", "{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error, 1),
    };
    match runtime.block_on(agent::run(loaded.config, Options { once: args.once, log, file: Some(file) })) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!(event = "failed", "{failure}");
            ExitCode::FAILURE
        }
    }
}

/// The files that exist now, each once with every route that it falls under; of the journal its sequences of entries.
fn files(config: &Config) -> Vec<(PathBuf, usize)> {
    let routes: Vec<Selection> = config.routes.iter().map(RouteConfig::selection).collect();
    let roots = Roots::new(&config.tail.allowed_roots, routes.iter().flat_map(|route| &route.files));
    let found = tail::walk(&routes, &roots).found.into_iter();
    let with_routes = |path: PathBuf| {
        tail::routes_of(&routes, &path)
            .into_iter()
            .map(move |route| (path.clone(), route))
            .collect::<Vec<_>>()
    };
    let files = found.flat_map(|found| with_routes(found.path));
    let journals = config.routes.iter().enumerate().flat_map(|(index, route)| {
        let folders = route.journal.as_ref().map(|journal| &journal.source.folders);
        // What cannot be looked at now is told when it is read.
        let found =
            folders.and_then(|folders| tail::journal::listing::list(folders).ok()).unwrap_or_default();
        found.into_iter().map(move |sequence| (PathBuf::from(sequence.to_string()), index))
    });
    files.chain(journals).collect()
}

fn refuse(why: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{why}");
    ExitCode::from(code)
}
