//! `kinetail dead-letters`: records that a destination would not take, and lines that became none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::DataDirArgs;
use super::buffer::{at, is_sure, say};
use super::place::{data_dir, ended, runtime};
use crate::agent::{self, hold};
use crate::disk::HostDisk;
use crate::source::DestinationName;
use crate::telemetry::control::{self, NotAsked, ReplayOf, Replayed};
use crate::telemetry::progress::{Far, Of, Progress};
use crate::units::ByteSize;

/// `kinetail dead-letters`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct DeadLettersArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DeadLettersCommand,
}

/// What can be done with dead letters, also while kinetail runs.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum DeadLettersCommand {
    /// Count the dead letters of each destination, by reason
    Ls {
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Print the dead letters of a destination, oldest first
    Show {
        /// The destination
        destination: DestinationName,
        /// Only those of this reason
        #[arg(long)]
        reason: Option<String>,
        /// No more than so many
        #[arg(long, value_name = "COUNT")]
        limit: Option<usize>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Put the dead letters of a destination into its buffer again, to be delivered under the same record ids
    ///
    /// They are removed from the dead letters once they are durable in the buffer; what fails again becomes a dead letter again.
    /// Lines that became no record (reasons `panic` and `step_failed`) stay. A kinetail that does not run does it with its next
    /// start. Ctrl-C ends the command, not the replay.
    Replay {
        /// The destination
        destination: DestinationName,
        /// Only those of this reason; may be given several times
        #[arg(long)]
        reason: Vec<String>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Remove the dead letters of a destination
    Drop {
        /// The destination
        destination: DestinationName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
}

/// Does it. Exits with 1 if it could not be done.
pub fn run(args: &DeadLettersArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let done = match &args.command {
        DeadLettersCommand::Ls { place } => list(place, out),
        DeadLettersCommand::Show { destination, reason, limit, place } => {
            show(place, destination, reason.as_deref(), limit.unwrap_or(usize::MAX), out)
        }
        DeadLettersCommand::Replay { destination, reason, place } => {
            replay(place, destination, reason, out, err)
        }
        DeadLettersCommand::Drop { destination, yes, place } => drop_all(place, destination, *yes, out, err),
    };
    ended(done, err)
}

fn list(place: &DataDirArgs, out: &mut dyn Write) -> Result<bool, String> {
    let folder = data_dir(place)?.join("dead_letters");
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for name in folders(&folder)? {
        let mut by: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
        each(&folder.join(&name), |line, letter| {
            let reason = letter["reason"].as_str().unwrap_or("?").to_owned();
            let (count, bytes, newest) = by.entry(reason).or_default();
            *count += 1;
            *bytes += line.len() as u64 + 1;
            letter["time"].as_str().unwrap_or("?").clone_into(newest);
            Ok(true)
        })?;
        for (reason, (count, bytes, newest)) in by {
            all.push(json!({"destination": name, "reason": reason, "letters": count, "bytes": bytes, "newest": newest}));
            rows.push(vec![name.clone(), reason, count.to_string(), ByteSize(bytes).to_string(), newest]);
        }
    }
    let head = ["destination", "reason", "letters", "size", "newest"];
    say(place, out, &head, &rows, &json!({"dead_letters": all}))
}

fn show(
    place: &DataDirArgs,
    name: &DestinationName,
    reason: Option<&str>,
    limit: usize,
    out: &mut dyn Write,
) -> Result<bool, String> {
    let folder = data_dir(place)?.join("dead_letters").join(name.as_str());
    let mut shown = 0;
    each(&folder, |line, letter| {
        if reason.is_some_and(|reason| letter["reason"] != reason) {
            return Ok(shown < limit);
        }
        if shown >= limit {
            return Ok(false);
        }
        shown += 1;
        if place.json {
            writeln!(out, "{line}")?;
        } else {
            let text = |key: &str| letter[key].as_str().unwrap_or_default().trim_end().to_owned();
            writeln!(out, "{}  {}: {}", text("time"), text("reason"), text("detail"))?;
            if let Some(file) = letter["origin"]["file"].as_str() {
                let offset = letter["origin"]["offset"].as_u64().map(|offset| format!(" at {offset}"));
                writeln!(out, "  of {file}{}", offset.unwrap_or_default())?;
            }
            writeln!(out, "  {}", text("record"))?;
        }
        Ok(true)
    })?;
    Ok(true)
}

fn replay(
    place: &DataDirArgs,
    name: &DestinationName,
    reasons: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let of = ReplayOf { destination: name.to_string(), reasons: reasons.to_vec() };
    let mut last = Replayed::default();
    let asked = {
        let line = |far: &Far| _ = writeln!(err, "{far}");
        let mut progress = Progress::new("replay", Of::Letters, 0, line);
        let told = |now: Replayed| {
            if now.of > 0 {
                progress.at(now.letters, now.of, if now.waits { "waits for room in the buffer" } else { "" });
            }
            last = now;
            if last.files == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let asked = runtime()?.block_on(control::ask_lines(&data_dir, "/dead-letters/replay", &of, told));
        if last.of > 0 {
            progress.end();
        }
        asked
    };
    let now = match asked {
        Err(NotAsked::NotRunning { .. }) => {
            let _held = hold(&data_dir).map_err(|error| error.to_string())?;
            last = agent::replay_at_next_start(&data_dir, &of, &HostDisk::shared())?;
            false
        }
        Err(error) => return Err(error.to_string()),
        Ok(false) => {
            return Err(format!(
                "kinetail has ended; {} of {} letters are in the buffer, and the next start goes on",
                last.letters, last.of
            ));
        }
        Ok(true) => true,
    };
    let Replayed { letters, of, no_records, .. } = last;
    let removed = if now { of.saturating_sub(letters) } else { 0 };
    if place.json {
        let _ = writeln!(
            out,
            "{}",
            json!({"destination": name, "letters": of, "in_buffer": letters, "removed": removed, "no_records": no_records})
        );
    } else {
        let _ = match now {
            true => writeln!(out, "{letters} letters are in the buffer again"),
            false => writeln!(out, "{of} letters go into the buffer with the next start"),
        };
        if no_records > 0 {
            let _ = writeln!(
                out,
                "{no_records} stay: they are lines of which no record was made, or in a form that is not known here"
            );
        }
    }
    if removed > 0 {
        let _ = writeln!(err, "{removed} were removed by somebody else before they were in the buffer");
    }
    Ok(removed == 0)
}

fn drop_all(
    place: &DataDirArgs,
    name: &DestinationName,
    yes: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<bool, String> {
    let folder = data_dir(place)?.join("dead_letters").join(name.as_str());
    let files = files(&folder)?;
    if !yes && !is_sure(&format!("remove the dead letters of {name}, {} files", files.len()), err)? {
        return Ok(false);
    }
    for path in &files {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path, &error)),
            _ => {}
        }
    }
    if place.json {
        let _ = writeln!(out, "{}", json!({"destination": name, "files": files.len()}));
    } else {
        let _ = writeln!(out, "{} files were removed", files.len());
    }
    Ok(true)
}

fn folders(folder: &Path) -> Result<Vec<String>, String> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| at(folder, &error))?,
    };
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// The files of dead letters in a folder, the oldest first, also those that are being replayed.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let names = folders(folder)?.into_iter();
    let is_one = |name: &String| name.ends_with(".ndjson") || name.ends_with(".replay");
    Ok(names.filter(is_one).map(|name| folder.join(name)).collect())
}

/// Gives every letter to `take`, until it returns false. The last line of a file may be cut off by a crash.
fn each(folder: &Path, mut take: impl FnMut(&str, &Value) -> io::Result<bool>) -> Result<(), String> {
    for path in files(folder)? {
        let file = match File::open(&path) {
            // Moved away meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.map_err(|error| at(&path, &error))?,
        };
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| at(&path, &error))?;
            let Ok(letter) = serde_json::from_str::<Value>(&line) else { continue };
            if !take(&line, &letter).map_err(|error| error.to_string())? {
                return Ok(());
            }
        }
    }
    Ok(())
}
