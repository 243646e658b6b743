//! `kinetail buffer`: what waits on disk for each destination.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::DataDirArgs;
use super::place::{changing, data_dir};
use super::table::{table, time};
use crate::buffer::inspect::{self, ChunkFile, Frame};
use crate::disk::HostDisk;
use crate::source::DestinationName;
use crate::telemetry::control::{PurgeOf, Purged};
use crate::telemetry::progress::{Far, Of, Progress};
use crate::units::ByteSize;

/// `kinetail buffer`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct BufferArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: BufferCommand,
}

/// What can be done with buffers.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum BufferCommand {
    /// List the buffers, or the chunk files of one
    ///
    /// What was appended but not acknowledged is counted as waiting. Every chunk is read through.
    Ls {
        /// Only this destination's, chunk by chunk
        destination: Option<DestinationName>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// List the frames of one chunk file: which lines of which file they hold
    Show {
        /// The destination
        destination: DestinationName,
        /// The chunk's number, as `buffer ls DESTINATION` has it
        chunk: u64,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Read all chunk files through and tell what is damaged
    ///
    /// Exits with 1 if something is. kinetail finds that out by itself when it delivers, and reads those lines again where
    /// their files still have them.
    Verify {
        /// Only this destination's
        destination: Option<DestinationName>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Write the records that wait, a line each, oldest first
    ///
    /// They stay in the buffer, and are delivered all the same.
    Export {
        /// The destination
        destination: DestinationName,
        /// Into this file, which must not exist; to standard output without
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Where its data is.
        #[command(flatten)]
        place: DataDirArgs,
    },
    /// Give up all records that wait for a destination
    ///
    /// Of a running kinetail those that are in the buffer at this moment; requests that are under way are waited for, and what is
    /// read later is delivered. They count as dropped, with the reason `purge`. Export them before if somebody may want them.
    Purge {
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

/// Does it. Exits with 1 if something is damaged or could not be done.
pub fn run(args: &BufferArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let done = match &args.command {
        BufferCommand::Ls { destination: None, place } => list(place, out),
        BufferCommand::Ls { destination: Some(destination), place } => list_chunks(place, destination, out),
        BufferCommand::Show { destination, chunk, place } => show(place, destination, *chunk, out),
        BufferCommand::Verify { destination, place } => verify(place, destination.as_ref(), out),
        BufferCommand::Export { destination, to, place } => {
            export(place, destination, to.as_deref(), out, err)
        }
        BufferCommand::Purge { destination, yes, place } => purge(place, destination, *yes, out, err),
    };
    super::place::ended(done, err)
}

fn list(place: &DataDirArgs, out: &mut dyn Write) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let mut rows = Vec::new();
    let mut all = Vec::new();
    for name in inspect::destinations(&data_dir).map_err(|error| at(&data_dir, &error))? {
        let (mut bytes, mut records, mut waiting, mut damaged) = (0, 0, 0, 0);
        let chunks = chunks(&data_dir, &name)?;
        for chunk in &chunks {
            let contents = read(chunk, |_| Ok(()))?;
            bytes += chunk.bytes;
            records += contents.records;
            waiting += contents.waiting;
            damaged += contents.damaged.len();
        }
        let oldest = chunks.iter().find_map(|chunk| chunk.created).map(time);
        rows.push(vec![
            name.to_string(),
            chunks.len().to_string(),
            ByteSize(bytes).to_string(),
            records.to_string(),
            waiting.to_string(),
            damaged.to_string(),
            oldest.clone().unwrap_or_else(|| "-".into()),
        ]);
        all.push(json!({"destination": name, "chunks": chunks.len(), "bytes": bytes, "records": records,
            "waiting": waiting, "damaged": damaged, "oldest": oldest}));
    }
    let head = ["destination", "chunks", "size", "records", "waiting", "damaged", "oldest"];
    say(place, out, &head, &rows, &json!({"buffers": all}))
}

fn list_chunks(place: &DataDirArgs, name: &DestinationName, out: &mut dyn Write) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    for chunk in chunks(&data_dir, name)? {
        let contents = read(&chunk, |_| Ok(()))?;
        let begun = chunk.created.map(time);
        rows.push(vec![
            chunk.number.to_string(),
            ByteSize(chunk.bytes).to_string(),
            contents.frames.to_string(),
            contents.records.to_string(),
            contents.waiting.to_string(),
            contents.damaged.len().to_string(),
            if chunk.closed { "closed" } else { "open" }.into(),
            begun.clone().unwrap_or_else(|| "-".into()),
        ]);
        all.push(
            json!({"chunk": chunk.number, "path": chunk.path, "bytes": chunk.bytes, "frames": contents.frames,
            "records": contents.records, "waiting": contents.waiting, "damaged": contents.damaged,
            "closed": chunk.closed, "begun": begun}),
        );
    }
    let head = ["chunk", "size", "frames", "records", "waiting", "damaged", "state", "begun"];
    say(place, out, &head, &rows, &json!({"destination": name, "chunks": all}))
}

fn show(
    place: &DataDirArgs,
    name: &DestinationName,
    number: u64,
    out: &mut dyn Write,
) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let chunk = chunks(&data_dir, name)?.into_iter().find(|chunk| chunk.number == number);
    let chunk = chunk
        .ok_or_else(|| format!("{name} has no chunk {number}; `kinetail buffer ls {name}` lists them"))?;
    let (mut rows, mut all) = (Vec::new(), Vec::new());
    let contents = read(&chunk, |frame| {
        let source: Value = serde_json::from_slice(frame.source).unwrap_or_default();
        let path = source["path"].as_str().unwrap_or("?").to_owned();
        let (from, to) = (frame.header.from.offset, frame.header.to.offset);
        let appended = time(crate::buffer::frame::from_millis(frame.header.appended));
        rows.push(vec![
            frame.offset.to_string(),
            frame.header.records.to_string(),
            frame.waiting_records().to_string(),
            from.to_string(),
            to.to_string(),
            appended.clone(),
            path.clone(),
        ]);
        all.push(json!({"offset": frame.offset, "records": frame.header.records, "waiting": frame.waiting_records(),
            "file": path, "incarnation": frame.header.incarnation.to_string(), "from": from, "to": to,
            "appended": appended, "repair": frame.header.repair}));
        Ok(())
    })?;
    let head = ["offset", "records", "waiting", "from", "to", "appended", "file"];
    say(place, out, &head, &rows, &json!({"chunk": number, "frames": all, "damaged": contents.damaged}))
}

fn verify(place: &DataDirArgs, only: Option<&DestinationName>, out: &mut dyn Write) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let names = match only {
        Some(name) => vec![name.clone()],
        None => inspect::destinations(&data_dir).map_err(|error| at(&data_dir, &error))?,
    };
    let (mut rows, mut all, mut good, mut looked_at) = (Vec::new(), Vec::new(), true, 0);
    for name in names {
        for chunk in chunks(&data_dir, &name)? {
            looked_at += 1;
            for offset in read(&chunk, |_| Ok(()))?.damaged {
                good = false;
                rows.push(vec![name.to_string(), chunk.number.to_string(), offset.to_string()]);
                all.push(
                    json!({"destination": name, "chunk": chunk.number, "path": chunk.path, "offset": offset}),
                );
            }
        }
    }
    if good && !place.json {
        writeln!(out, "{looked_at} chunks, none is damaged").map_err(|error| error.to_string())?;
        return Ok(true);
    }
    let found = json!({"chunks": looked_at, "damaged": all});
    say(place, out, &["destination", "chunk", "damaged at"], &rows, &found)?;
    Ok(good)
}

fn export(
    place: &DataDirArgs,
    name: &DestinationName,
    to: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    let chunks = chunks(&data_dir, name)?;
    let mut file = match to {
        Some(path) => {
            let file = File::create_new(path).map_err(|error| at(path, &error))?;
            Some(BufWriter::new(file))
        }
        None => None,
    };
    let (mut records, mut bytes) = (0_u64, 0);
    let of: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
    // Beside records on a terminal a bar would only be in the way.
    let to_terminal = to.is_none() && io::stdout().is_terminal();
    let line = |far: &Far| _ = writeln!(err, "{far}");
    let mut progress = if to_terminal { None } else { Some(Progress::new("export", Of::Bytes, of, line)) };
    for chunk in &chunks {
        read(chunk, |frame| {
            if let Some(progress) = &mut progress {
                progress.at(bytes + frame.offset, of, "");
            }
            for record in frame.waiting() {
                match &mut file {
                    Some(file) => file.write_all(record)?,
                    None => out.write_all(record)?,
                }
                records += 1;
            }
            Ok(())
        })?;
        bytes += chunk.bytes;
    }
    progress.into_iter().for_each(|mut progress| {
        progress.at(of, of, "");
        progress.end();
    });
    if let Some(file) = file {
        let synced =
            file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|error| error.to_string())?;
    }
    let _ = writeln!(err, "{records} records of {} chunks", chunks.len());
    Ok(true)
}

fn purge(
    place: &DataDirArgs,
    name: &DestinationName,
    yes: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<bool, String> {
    let data_dir = data_dir(place)?;
    if !inspect::destinations(&data_dir).map_err(|error| at(&data_dir, &error))?.contains(name) {
        return Err(format!("{name} has no buffer in {}", data_dir.display()));
    }
    if !yes && !is_sure(&format!("give up all records that wait for {name}"), err)? {
        return Ok(false);
    }
    let of = PurgeOf { destination: name.to_string() };
    let Purged { given_up, problem } = changing(&data_dir, "/buffer/purge", &of, || {
        let given_up = inspect::give_up(&data_dir, name, &HostDisk).map_err(|error| error.to_string())?;
        Ok(Purged { given_up, problem: None })
    })?;
    if place.json {
        let _ = writeln!(out, "{}", json!({"destination": name, "given_up": given_up}));
    } else {
        let _ = writeln!(out, "{given_up} records were given up; the next checkpoint removes their chunks");
    }
    if let Some(problem) = &problem {
        let _ = writeln!(
            err,
            "that could not be noted on disk, and after a restart they might be sent: {problem}"
        );
    }
    Ok(problem.is_none())
}

/// Asks a person. In a script there is none: `--yes` has to be said.
pub(super) fn is_sure(what: &str, err: &mut dyn Write) -> Result<bool, String> {
    if !io::stdin().is_terminal() {
        return Err(format!("to {what} without being asked, say --yes"));
    }
    let _ = write!(err, "{what}? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(|error| error.to_string())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Says it in JSON, or as a table.
pub(super) fn say(
    place: &DataDirArgs,
    out: &mut dyn Write,
    head: &[&str],
    rows: &[Vec<String>],
    json: &Value,
) -> Result<bool, String> {
    let said = if place.json { writeln!(out, "{json}") } else { out.write_all(table(head, rows).as_bytes()) };
    said.map(|()| true).map_err(|error| error.to_string())
}

pub(super) fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn chunks(data_dir: &Path, name: &DestinationName) -> Result<Vec<ChunkFile>, String> {
    inspect::chunks(data_dir, name).map_err(|error| at(data_dir, &error))
}

/// Reads a chunk through. One that was delivered and removed meanwhile holds nothing.
fn read(
    chunk: &ChunkFile,
    visit: impl FnMut(&Frame<'_>) -> io::Result<()>,
) -> Result<inspect::Contents, String> {
    match chunk.read(visit) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(inspect::Contents::default()),
        contents => contents.map_err(|error| at(&chunk.path, &error)),
    }
}
