//! `kinetail plan`: what delivery will cost, and the shards it needs.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::ConfigArgs;
use crate::config;
use crate::generate::{Mix, Sizes};
use crate::plan::{Rate, Scale, plan, report, sample, synthetic};
use crate::units::parse_duration;

/// `kinetail plan`
#[derive(Args, Clone, Debug, PartialEq)]
pub struct PlanArgs {
    /// Where the configuration is.
    #[command(flatten)]
    config: ConfigArgs,
    /// Real logs of one node: a folder that stands for /, or one of this machine that routes name, such as /var/log
    #[arg(long, value_name = "DIR", required_unless_present = "rate", conflicts_with = "rate")]
    sample: Option<PathBuf>,
    /// How long it took to write the sample, such as 1h; from the times in its lines unless said
    #[arg(long, value_name = "TIME", value_parser = time, requires = "sample")]
    period: Option<Duration>,
    /// Instead of a sample: so many lines a second, for each destination
    #[arg(long, value_name = "LINES", value_parser = rate)]
    rate: Option<f64>,
    /// With --rate, how long a line's text is: 300, or evenly between two sizes, such as 100-2KiB
    #[arg(long, default_value = "300", conflicts_with = "sample")]
    size: Sizes,
    /// With --rate, what lines are: json, access, text, stack, long, each with a weight
    #[arg(long, default_value = "json=6,access=2,text=2", conflicts_with = "sample")]
    mix: Mix,
    /// How many nodes there are, each like the one of the sample
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    nodes: u64,
    /// Room on top of the busiest minute, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u16).range(0..=1000))]
    headroom: u16,
}

fn time(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(time),
        Ok(_) => Err("is too short; a second at least is needed".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.01..=1e5).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is not a rate; write lines a second, 0.01 to 100000")),
    }
}

/// Writes the plan to `out`: 0, or 2 where the configuration or the sample cannot be used.
pub fn run(args: PlanArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let loaded = match config::load(&args.config.config) {
        Ok(loaded) => loaded,
        Err(errors) => return refuse(err, &errors),
    };
    let recorded = match (&args.sample, args.rate) {
        (Some(dir), _) => match sample(&loaded.config, dir, args.period) {
            Ok(recorded) => recorded,
            Err(error) => return refuse(err, &error),
        },
        (None, rate) => {
            let rate = Rate { lines: rate.unwrap_or(1.0), sizes: args.size, mix: args.mix };
            synthetic(&loaded.config, &rate)
        }
    };
    let scale = Scale { nodes: args.nodes, headroom: f64::from(args.headroom) / 100.0 };
    let text = report(&loaded.config, &recorded, &plan(&loaded.config, &recorded), scale);
    match out.write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn refuse(err: &mut impl Write, why: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(err, "{why}");
    ExitCode::from(2)
}
