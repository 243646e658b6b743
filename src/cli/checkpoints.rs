//! `kinetail checkpoints`: how far each file is for each destination, as the last checkpoint has it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::DataDirArgs;
use super::buffer::{at, say};
use super::place::{changing, data_dir, ended};
use crate::disk::HostDisk;
use crate::source::DestinationName;
use crate::tail::amend::{self, Amend};
use crate::tail::checkpoint::{self, Checkpoint, Entry, Loaded, Status};
use crate::telemetry::control::Done;

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
    /// Set where reading goes on in a file, also of a running kinetail
    ///
    /// Before where it stands, lines are sent once more, with the same record ids; behind it, lines are passed over.
    Set {
        /// The file's path, or its incarnation as `checkpoints ls` has it
        file: String,
        /// In bytes from its beginning; a line must begin there. Of a journal, the number of an entry
        #[arg(long)]
        offset: u64,
        /// For this destination only
        #[arg(long)]
        destination: Option<DestinationName>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Forget a file, also of a running kinetail
    ///
    /// If it is still there, it is met anew, at once or with the next start: it is read from its beginning, and its records get other ids.
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
            let (file, destination) = (file.clone(), destination.clone());
            change(place, out, &Amend::Set { file, offset: *offset, destination })
        }
        CheckpointsCommand::Forget { file, place } => {
            change(place, out, &Amend::Forget { file: file.clone() })
        }
    };
    ended(done, err)
}

fn load(data_dir: &Path) -> Result<Checkpoint, String> {
    match checkpoint::load(data_dir).map_err(|error| at(data_dir, &error))? {
        Loaded::Checkpoint(checkpoint) => Ok(*checkpoint),
        Loaded::None => Err(format!("{} has no checkpoint", data_dir.display())),
        Loaded::Damaged { path, reason } => Err(format!("{}: {reason}", path.display())),
        Loaded::Newer(newer) => Err(newer.to_string()),
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
                entry.name(),
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
            "route": entry.route, "status": status, "sequence": entry.journal.map(|journal| journal.sequence), "destinations": positions.collect::<Vec<_>>()}));
    }
    let head = ["file", "route", "status", "destination", "read", "delivered", "incarnation"];
    say(place, out, &head, &rows, &json!({"saved": checkpoint.saved, "files": all}))
}

/// Changes how far a file is: in a running kinetail, or else in the checkpoint.
fn change(place: &DataDirArgs, out: &mut dyn Write, change: &Amend) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let Done { done } = changing(&data_dir, "/checkpoints", change, || on_disk(&data_dir, change))?;
    let said = if place.json { writeln!(out, "{}", json!({"done": done})) } else { writeln!(out, "{done}") };
    said.map(|()| true).map_err(|error| error.to_string())
}

fn on_disk(data_dir: &Path, change: &Amend) -> Result<Done, String> {
    let mut checkpoint = load(data_dir)?;
    let incarnation = amend::find(checkpoint.files.iter(), change.file())?;
    let at_it = |entry: &Entry| entry.incarnation == incarnation;
    let index = checkpoint.files.iter().position(at_it).ok_or("it is gone")?;
    let done = match change {
        Amend::Set { offset, destination, .. } => {
            amend::set(&mut checkpoint.files[index], *offset, destination.as_ref())?
        }
        Amend::Forget { .. } => amend::forgotten(&checkpoint.files.remove(index)),
    };
    checkpoint::save(&HostDisk, data_dir, &checkpoint).map_err(|error| at(data_dir, &error))?;
    Ok(Done { done })
}
