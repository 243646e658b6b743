//! `kinetail generate`: what is typed, and what it says.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::generate::{
    Amount, Generator, LogFormat, Manifest, Mix, Rotation, RotationKind, Settings, Sizes, run as write_logs,
};
use crate::units::{ByteSize, parse_duration};

/// `kinetail generate`
#[derive(Args, Clone, Debug, PartialEq)]
pub struct GenerateArgs {
    /// The folder for the logs and the manifest; not /var/log/pods, where kubelet removes what it does not know
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Lines a second over all logs, or `max`
    #[arg(long, value_name = "LINES", default_value = "100", value_parser = rate)]
    rate: Rate,
    /// How long a line's text is: 300, or evenly between two sizes, such as 100-2KiB
    #[arg(long, default_value = "300")]
    size: Sizes,
    /// What lines are: json, access, text, stack (several lines), long (20 to 60 KiB), each with a weight
    #[arg(long, default_value = "json=6,access=2,text=2")]
    mix: Mix,
    /// How many logs; lines go to them in turn
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    logs: u32,
    /// Who seems to write them
    #[arg(long, value_enum, default_value_t)]
    format: LogFormat,
    /// How logs are rotated
    #[arg(long, value_enum, default_value_t)]
    rotation: RotationKind,
    /// The size at which a log is rotated
    #[arg(long, value_name = "SIZE", default_value = "10MiB")]
    rotate_at: ByteSize,
    /// How many files of a log are kept, the one in use included; older ones are deleted, read or not
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    max_files: u32,
    /// Leave rotated files as they are; otherwise all but the last are compressed, as kubelet does
    #[arg(long)]
    no_compress: bool,
    /// End after so many lines
    #[arg(long, value_name = "COUNT")]
    lines: Option<u64>,
    /// End after this time, such as 10m
    #[arg(long, value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// What chance comes from, to have the same lines again
    #[arg(long)]
    seed: Option<u64>,
}

/// Lines a second; none: as many as can be written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rate(Option<f64>);

fn rate(text: &str) -> Result<Rate, String> {
    if text == "max" {
        return Ok(Rate(None));
    }
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(Rate(Some(rate))),
        _ => Err(format!("{text:?} is not a rate; write lines a second, such as 3000, or max")),
    }
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

impl GenerateArgs {
    fn settings(self) -> Settings {
        Settings {
            dir: self.dir,
            rate: self.rate.0,
            sizes: self.size,
            mix: self.mix,
            logs: self.logs,
            format: self.format,
            rotation: Rotation {
                kind: self.rotation,
                size: self.rotate_at.0,
                max_files: usize::try_from(self.max_files).unwrap_or(usize::MAX),
                compress: !self.no_compress,
            },
            amount: Amount { lines: self.lines, time: self.duration },
            run: u64::from(fastrand::u32(..)),
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        }
    }
}

/// Writes the logs. Where they are, and what was written, goes to `out`.
pub fn run(args: GenerateArgs, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    match generate(args, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(err, "{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate(args: GenerateArgs, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    let settings = args.settings();
    let run = settings.run;
    let manifest = Manifest::path(&settings.dir, run);
    let generator = Generator::new(settings)?;
    let begun =
        format!("run {run:08x}; count with: kinetail count --manifest {} WHAT-ARRIVED", manifest.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let written = runtime.block_on(write_logs(generator, || {
        // What is written is there also if nobody reads where.
        let _ = writeln!(out, "{begun}").and_then(|()| out.flush());
    }))?;
    let lines: u64 = written.logs.iter().map(|log| log.lines).sum();
    writeln!(out, "run {run:08x}: {lines} lines written to {} logs", written.logs.len())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Cli, Command};
    use super::*;

    fn typed(words: &str) -> Result<Settings, String> {
        match Cli::try_parse_from(words.split(' ')) {
            Ok(Cli { command: Command::Generate(args) }) => Ok(args.settings()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_is_typed_becomes_settings() {
        let settings = typed(
            "kinetail generate --dir d --rate max --size 100-2KiB --mix json=1,stack=2 --logs 7 --format docker \
             --rotation copytruncate --rotate-at 1MiB --max-files 2 --no-compress --lines 5 --duration 2m --seed 9",
        )
        .expect("understood");
        assert_eq!((settings.rate, settings.logs, settings.seed), (None, 7, 9));
        assert_eq!(settings.amount, Amount { lines: Some(5), time: Some(Duration::from_secs(120)) });
        let rotation =
            Rotation { kind: RotationKind::Copytruncate, size: 1 << 20, max_files: 2, compress: false };
        assert_eq!(settings.rotation, rotation);
        assert_eq!(typed("kinetail generate --dir d").expect("defaults").rate, Some(100.0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (words, said) in [
            ("--rate 0", "lines a second"),
            ("--rate=-1", "lines a second"),
            ("--size 2KiB-1", "before it begins"),
            ("--mix jsn", "json, access"),
            ("--max-files 1", "1 is not in"),
            ("--duration soon", "500ms"),
        ] {
            let error = typed(&format!("kinetail generate --dir d {words}")).expect_err(words);
            assert!(error.contains(said), "{words}: {error}");
        }
    }
}
