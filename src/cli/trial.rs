//! `kinetail try`: what becomes of lines, without a service.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use super::ConfigArgs;
use crate::config;
use crate::source::RouteName;
use crate::trial::{Log, Shown, look, open, report, unrotated};

/// `kinetail try`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct TryArgs {
    /// Where the configuration is.
    #[command(flatten)]
    config: ConfigArgs,
    /// The path of the log in which the lines stand, such as /var/log/pods/…/0.log: it decides the route and is in the
    /// records; the FILE's own unless said
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    path: Option<PathBuf>,
    /// The route to use, whichever takes PATH: for one with `format: journald`, whose entries have no path
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// A label of the pod behind the log, such as team=checkout; once for each. Without any, they may be whatever a route
    /// asks for
    #[arg(long, value_name = "NAME=VALUE", value_parser = label)]
    label: Vec<(String, String)>,
    /// Tell what every step did, and why earlier routes do not take the path
    #[arg(long)]
    explain: bool,
    /// The lines as they stand in a log; gzip is understood. For a route that reads the journal, what
    /// `journalctl --output=export` writes. - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    match text.starts_with('/') {
        true => Ok(PathBuf::from(text)),
        false => Err("is not an absolute path; begin it with a /".to_owned()),
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("is not NAME=VALUE, such as team=checkout".to_owned()),
    }
}

/// Shows what becomes of the lines: 0; 1 where no route takes them; 2 where something cannot be read.
pub fn run(args: &TryArgs, input: impl Read, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let loaded = match config::load(&args.config.config) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(err, &errors),
    };
    let from_input = args.file == Path::new("-");
    let chosen = args.route.as_deref().map(RouteName::from);
    let route = loaded.config.routes.iter().find(|route| Some(&route.name) == chosen.as_ref());
    if let (Some(chosen), None) = (&chosen, route) {
        let names = loaded.config.routes.iter().map(|route| route.name.as_str()).collect::<Vec<_>>();
        return refuse(err, &format!("there is no route {chosen}; there are: {}", names.join(", ")));
    }
    let folder = route.and_then(|route| route.journal.as_ref()?.source.folders.first());
    let path = match &args.path {
        Some(path) => path.clone(),
        None if folder.is_some() => folder.cloned().unwrap_or_default(),
        None if from_input => {
            return refuse(err, &"standard input has no path; say with --path which log its lines stand in");
        }
        None => match std::path::absolute(&args.file) {
            Ok(path) => path,
            Err(error) => return refuse(err, &format!("{}: {error}", args.file.display())),
        },
    };
    // What rotation has left belongs to the route of its log.
    let of = |path: PathBuf| match args.label.is_empty() {
        true => Log::at(path),
        false => Log::of_pod(&loaded.config, path, args.label.iter().cloned().collect()),
    };
    let is_taken = |log: &Log| look(&loaded.config, log, chosen.as_ref()).taken.is_some();
    let log = of(path);
    let log = match unrotated(log.path()).filter(|_| !is_taken(&log)).map(of).filter(is_taken) {
        Some(rotated) => rotated,
        None => log,
    };
    if !args.label.is_empty() && loaded.config.kubernetes.is_none() {
        return refuse(
            err,
            &"--label: the configuration has no section `kubernetes`, so labels are not known",
        );
    }
    let from: Box<dyn Read + '_> = if from_input {
        Box::new(input)
    } else {
        match open(&args.file) {
            Ok(file) => file,
            Err(error) => return refuse(err, &format!("{}: {error}", args.file.display())),
        }
    };
    match report(&loaded.config, &log, chosen.as_ref(), from, SystemTime::now(), args.explain, out) {
        Ok(Shown::Lines) => ExitCode::SUCCESS,
        Ok(Shown::NoRoute) => ExitCode::FAILURE,
        // Whoever reads what is shown may have seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => refuse(err, &format!("{}: {error}", args.file.display())),
    }
}

fn refuse(err: &mut impl Write, why: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(err, "{why}");
    ExitCode::from(2)
}
