//! `kinetail checkpoints`: how far each file is for each destination, as the last checkpoint has it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::DataDirArgs;
use super::buffer::{at, say};
use super::place::{data_dir, ended};
use crate::agent::hold;
use crate::disk::{HostDisk, read_exact_at};
use crate::source::{DestinationName, Position};
use crate::tail::checkpoint::{self, Checkpoint, Entry, Loaded, Status};
use crate::tail::identity::Proof;

/// `kinetail checkpoints`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckpointsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: CheckpointsCommand,
}

/// What can be done with checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum CheckpointsCommand {
    /// List the files and their positions
    Ls {
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Set where reading goes on in a file. No kinetail may run
    ///
    /// Before where it stands, lines are sent once more, with the same record ids; behind it, lines are passed over.
    Set {
        /// The file's path, or its incarnation as `checkpoints ls` has it
        file: String,
        /// In bytes from its beginning; a line must begin there
        #[arg(long)]
        offset: u64,
        /// For this destination only
        #[arg(long)]
        destination: Option<DestinationName>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Forget a file. No kinetail may run
    ///
    /// If it is still there, the next start meets it anew: it is read from its beginning, and its records get other ids.
    Forget {
        /// The file's path, or its incarnation as `checkpoints ls` has it
        file: String,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
}

/// Does it. Exits with 1 if it could not be done.
pub fn run(args: &CheckpointsArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let done = match &args.command {
        CheckpointsCommand::Ls { place } => list(place, out),
        CheckpointsCommand::Set { file, offset, destination, place } => {
            change(place, out, |all| set(all, file, *offset, destination.as_ref()))
        }
        CheckpointsCommand::Forget { file, place } => change(place, out, |all| forget(all, file)),
    };
    ended(done, err)
}

fn load(data_dir: &Path) -> Result<Checkpoint, String> {
    match checkpoint::load(data_dir).map_err(|error| at(data_dir, &error))? {
        Loaded::Checkpoint(checkpoint) => Ok(*checkpoint),
        Loaded::None => Err(format!("{} has no checkpoint", data_dir.display())),
        Loaded::Damaged { path, reason } => Err(format!("{}: {reason}", path.display())),
    }
}

fn list(place: &DataDirArgs, out: &mut dyn Write) -> Result<bool, String> {
    let mut checkpoint = load(&data_dir(place)?)?;
    checkpoint.files.sort_by(|a, b| a.path.cmp(&b.path));
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for entry in &checkpoint.files {
        let status = match entry.status {
            Status::Following => "following",
            Status::Finished => "finished",
            Status::Ignored => "ignored",
        };
        for progress in &entry.progress {
            rows.push(vec![
                entry.path.display().to_string(),
                entry.route.to_string(),
                status.into(),
                progress.to.to_string(),
                progress.position.offset.to_string(),
                progress.delivered.offset.to_string(),
                entry.incarnation.to_string(),
            ]);
        }
        let positions = entry.progress.iter().map(|progress| {
            json!({"destination": progress.to, "offset": progress.position.offset,
                "delivered": progress.delivered.offset})
        });
        all.push(json!({"path": entry.path.to_string_lossy(), "incarnation": entry.incarnation.to_string(),
            "route": entry.route, "status": status, "destinations": positions.collect::<Vec<_>>()}));
    }
    let head = ["file", "route", "status", "destination", "read", "delivered", "incarnation"];
    say(place, out, &head, &rows, &json!({"saved": checkpoint.saved, "files": all}))
}

/// Changes the checkpoint of a kinetail that does not run.
fn change(
    place: &DataDirArgs,
    out: &mut dyn Write,
    change: impl FnOnce(&mut Checkpoint) -> Result<String, String>,
) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let _held = hold(&data_dir).map_err(|error| error.to_string())?;
    let mut checkpoint = load(&data_dir)?;
    let done = change(&mut checkpoint)?;
    checkpoint::save(&HostDisk, &data_dir, &checkpoint).map_err(|error| at(&data_dir, &error))?;
    let said = if place.json { writeln!(out, "{}", json!({"done": done})) } else { writeln!(out, "{done}") };
    said.map(|()| true).map_err(|error| error.to_string())
}

/// The one file of this path that is followed, or else the one that has this path or incarnation.
fn find(checkpoint: &Checkpoint, file: &str) -> Result<usize, String> {
    let named = |entry: &Entry| entry.path == Path::new(file) || entry.incarnation.to_string() == file;
    let mut found: Vec<usize> =
        (0..checkpoint.files.len()).filter(|index| named(&checkpoint.files[*index])).collect();
    if found.len() > 1 {
        found.retain(|index| checkpoint.files[*index].status == Status::Following);
    }
    match found[..] {
        [index] => Ok(index),
        [] => Err(format!("no file is known as {file}; `kinetail checkpoints ls` lists them")),
        _ => Err(format!(
            "several files are known as {file}; name the incarnation, which `kinetail checkpoints ls` lists"
        )),
    }
}

fn forget(checkpoint: &mut Checkpoint, file: &str) -> Result<String, String> {
    let index = find(checkpoint, file)?;
    let entry = checkpoint.files.remove(index);
    Ok(format!("{} ({}) is forgotten", entry.path.display(), entry.incarnation))
}

fn set(
    checkpoint: &mut Checkpoint,
    file: &str,
    offset: u64,
    only: Option<&DestinationName>,
) -> Result<String, String> {
    let index = find(checkpoint, file)?;
    let entry = &mut checkpoint.files[index];
    let path = entry.moved_to.clone().unwrap_or_else(|| entry.path.clone());
    let open = File::open(&path).map_err(|error| at(&path, &error))?;
    let len = open.metadata().map_err(|error| at(&path, &error))?.len();
    if offset > len {
        return Err(format!("{} has only {len} bytes", path.display()));
    }
    let mut before = vec![0; offset.min(Proof::FULL as u64) as usize];
    let start = offset - before.len() as u64;
    read_exact_at(&open, &mut before, start).map_err(|error| at(&path, &error))?;
    if before.last().is_some_and(|byte| *byte != b'\n') {
        return Err(format!("no line of {} begins at {offset}", path.display()));
    }
    let mut count = 0;
    for progress in &mut entry.progress {
        if only.is_none_or(|only| progress.to == *only) {
            progress.position = Position::at(offset);
            count += 1;
        }
    }
    if count == 0 {
        return Err(format!("{} does not go to that destination", path.display()));
    }
    if offset > entry.proof.end {
        entry.proof = Proof::of(&before, offset);
    }
    (entry.status, entry.settled, entry.vanished) = (Status::Following, None, None);
    Ok(format!("{} is read from {offset} on, for {count} destinations", path.display()))
}
