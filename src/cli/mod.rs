//! The commands: what can be typed, and the thin functions behind.

pub mod buffer;
pub mod check;
pub mod checkpoints;
pub mod completions;
pub mod count;
pub mod dead_letters;
pub mod generate;
pub mod iam_policy;
pub mod migrate;
pub mod online;
mod place;
pub mod plan;
pub mod reload;
pub mod schema;
pub mod status;
mod table;
pub mod tap;
pub mod trial;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::buffer::BufferArgs;
pub use self::checkpoints::CheckpointsArgs;
pub use self::completions::CompletionsArgs;
pub use self::count::CountArgs;
pub use self::dead_letters::DeadLettersArgs;
pub use self::generate::GenerateArgs;
pub use self::iam_policy::IamPolicyArgs;
pub use self::migrate::MigrateArgs;
pub use self::plan::PlanArgs;
pub use self::status::StatusArgs;
pub use self::tap::TapArgs;
pub use self::trial::TryArgs;
use crate::config::check_log_filter;

/// What was typed.
#[derive(Clone, Debug, Parser, PartialEq)]
#[command(
    name = "kinetail",
    version,
    about = "Ships log files to Amazon Data Firehose and Kinesis data streams",
    long_about = "Follows log files through rotation, turns their lines into JSON records, keeps the records \
                  in a buffer on disk, and delivers them to Amazon Data Firehose delivery streams, Kinesis data \
                  streams or local files.",
    after_help = "The configuration's reference is docs/configuration.md.",
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Follow the configured files and deliver their records
    ///
    /// SIGTERM or SIGINT stops reading (at the end of the files with `tail.read_on_stop`), delivers what it can within `drain_timeout`, and keeps the rest in
    /// the buffer for the next start. With --once it exits with 0 if everything was read and delivered, and with 1 if it was
    /// told to stop before: the next run goes on from there.
    Run(RunArgs),
    /// Have a running kinetail load its configuration again
    ///
    /// It is checked as a whole first: a bad one is told, and the one before goes on. Exits with 0 if it counts, with 1 if
    /// it was refused or no kinetail runs.
    Reload(DataDirArgs),
    /// Tell how a running kinetail does: what is wrong, its routes, its destinations
    Status(StatusArgs),
    /// List the files that a running kinetail follows: route, position, lag, rate, state
    Files(DataDirArgs),
    /// Show records as they pass through a running kinetail, as they will be sent
    ///
    /// A sample of them, a line each; with --json also the route, the file and the destinations of each. Until it is ended, or
    /// reading ends; then it says on standard error how many there were, and how many were not shown. Reading never waits for it.
    Tap(TapArgs),
    /// Look at the buffers on disk: what waits for each destination, what is damaged
    Buffer(BufferArgs),
    /// Look at records that a destination would not take, and at lines that became none
    DeadLetters(DeadLettersArgs),
    /// Look at how far each file is read and delivered, and change that
    Checkpoints(CheckpointsArgs),
    /// Tell all that is wrong with a configuration, run its tests, and tell what it would do with the files that exist now
    ///
    /// Nothing is read from the files and nothing is sent, unless --online asks AWS too. Exits with 0 if all is good,
    /// with 2 if the configuration is not, and with 1 if one of its tests fails or a destination would not take records.
    Check(CheckArgs),
    /// Show what becomes of lines: each record, its destinations, and what every step did
    ///
    /// Lines go through the route that the path falls to, as the agent does it. Nothing is sent. A record stands in a line
    /// of its own as it will be sent; lines that begin with # tell of it. Ids of records are not those that the agent gives.
    /// Exits with 0, with 1 if no route takes the path, and with 2 if something cannot be read.
    Try(TryArgs),
    /// Print the least that AWS must allow for exactly the configured destinations, as an IAM policy
    ///
    /// For kinetail's own identity; a role that is assumed has a policy of its own (`--identity`).
    IamPolicy(IamPolicyArgs),
    /// Tell what delivery will cost, and how many shards it needs, from real logs or from a rate
    ///
    /// Records, requests and billed units a day for each destination, with and without packing, aggregation and
    /// compression. Nothing is sent.
    Plan(PlanArgs),
    /// Print the configuration of the Kinesis Agent or of Fluent Bit as kinetail's
    ///
    /// What the source sent stays as it was; comments tell where something differs, and at the top all that could not be
    /// carried over. docs/migrating.md has tables of all keys.
    Migrate(MigrateArgs),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Print what a shell needs to complete kinetail's commands
    Completions(CompletionsArgs),
    /// Write synthetic container logs, for load tests and drills
    ///
    /// Every line carries a marker, by which `kinetail count` tells what was lost and what came twice. Runs until
    /// all is written, or SIGTERM or SIGINT. docs/operations.md has a drill from beginning to end.
    Generate(GenerateArgs),
    /// Count what became of generated lines: lost, arrived, copies
    ///
    /// Exits with 0 if no line was lost, with 1 if some were, and with 2 if something could not be read.
    Count(CountArgs),
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "KINETAIL_CONFIG",
        default_value = "/etc/kinetail/kinetail.yaml"
    )]
    pub config: PathBuf,
}

/// Which kinetail a command is about.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DataDirArgs {
    /// Where the configuration is, which says where the data is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Where its data is, instead of what the configuration says
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long)]
    pub json: bool,
}

/// `kinetail run`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Deliver what the files hold now, then exit: for cron jobs and backfill
    #[arg(long)]
    pub once: bool,
    /// What of kinetail's own log is written: error, warn, info, debug, trace, or a filter such as
    /// kinetail=debug,warn; wins over `log.level` of the configuration
    // An environment variable that is set and empty is as good as none, so this may be empty; see
    // [`log_level`](Self::log_level).
    #[arg(long, value_name = "LEVEL", env = "KINETAIL_LOG", value_parser = log_filter)]
    log_level: Option<String>,
}

impl RunArgs {
    /// The filter for kinetail's own log, where one was said.
    pub fn log_level(&self) -> Option<&str> {
        self.log_level.as_deref().filter(|level| !level.is_empty())
    }
}

/// `kinetail check`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckArgs {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Ask AWS whether each destination would take records: credentials, region, streams, sizes, packing, clock, TLS
    /// and proxy
    #[arg(long)]
    pub online: bool,
    /// Send each destination of AWS one record to find out whether writing is allowed
    #[arg(long, requires = "online")]
    pub send_test_record: bool,
}

fn log_filter(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        check_log_filter(text)?;
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn what_is_typed_is_understood() {
        let typed = |words: &str| Cli::try_parse_from(words.split(' '));
        let Ok(Command::Run(run)) =
            typed("kinetail run --config a.yaml --once --log-level debug").map(|cli| cli.command)
        else {
            panic!("the command run");
        };
        assert_eq!(run.config.config, PathBuf::from("a.yaml"));
        assert!(run.once);
        assert_eq!(run.log_level(), Some("debug"));
        let Ok(Command::Check(check)) = typed("kinetail check -c b.yaml").map(|cli| cli.command) else {
            panic!("the command check");
        };
        assert_eq!(check.config.config, PathBuf::from("b.yaml"));
        let error = typed("kinetail run --log-level dbug").expect_err("no such level");
        assert!(error.to_string().contains("did you mean `debug`?"), "{error}");
        assert!(typed("kinetail").is_err() && typed("kinetail chekc").is_err());
    }
}
