//! `kinetail status` and `kinetail files`: how a running agent does, as it tells over its socket.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use hyper::Method;
use serde_json::json;

use super::DataDirArgs;
use super::place::{asking, data_dir, ended};
use super::table::table;
use crate::telemetry::status::{File, Status};
use crate::units::ByteSize;

/// Between two looks of `--watch`.
const EVERY: Duration = Duration::from_secs(2);
/// Clears a terminal, and goes to its upper left corner.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// `kinetail status`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct StatusArgs {
    /// Look again every two seconds, until it is ended
    #[arg(long, short)]
    pub watch: bool,
    /// Where its data is.
    #[command(flatten)]
    pub place: DataDirArgs,
}

/// Prints the status. Exits with 1 if the agent is not ready, or does not run.
pub fn run(args: &StatusArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    loop {
        let status = match ask(&args.place) {
            Ok(status) => status,
            Err(why) => return ended(Err(why), err),
        };
        let text = match serde_json::to_string(&status) {
            Ok(json) if args.place.json => format!("{json}\n"),
            _ => text(&status),
        };
        let clear = if args.watch && !args.place.json { CLEAR } else { "" };
        let said = write!(out, "{clear}{text}").and_then(|()| out.flush());
        if !args.watch || said.is_err() {
            return ended(said.map(|()| status.ready).map_err(|error| error.to_string()), err);
        }
        sleep(EVERY);
    }
}

/// Prints the files. Exits with 1 if no agent runs.
pub fn files(args: &DataDirArgs, out: &mut dyn Write, err: &mut dyn Write) -> ExitCode {
    let said = ask(args).and_then(|status| {
        let text = if args.json {
            format!("{}\n", json!({"files": status.files}))
        } else {
            files_table(&status.files)
        };
        out.write_all(text.as_bytes()).map(|()| true).map_err(|error| error.to_string())
    });
    ended(said, err)
}

fn ask(place: &DataDirArgs) -> Result<Status, String> {
    data_dir(place).and_then(|data_dir| asking(&data_dir, Method::GET, "/status"))
}

fn text(status: &Status) -> String {
    let mut text = format!(
        "kinetail {}, process {}, for {}: {}\n",
        status.version,
        status.pid,
        seconds(status.uptime_seconds as f64),
        if status.ready { "ready" } else { "not ready" }
    );
    for problem in &status.problems {
        let _ = writeln!(text, "{}: {problem}", if problem.unready { "problem" } else { "warning" });
    }
    let routes: Vec<Vec<String>> = status
        .routes
        .iter()
        .map(|route| {
            vec![
                route.name.clone(),
                route.files.to_string(),
                format!("{:.0}/s", route.lines_per_second),
                size(route.bytes_per_second) + "/s",
                size(route.behind_bytes as f64),
                seconds(route.behind_seconds),
                route.to.join(", "),
            ]
        })
        .collect();
    let _ =
        write!(text, "\n{}", table(&["route", "files", "lines", "bytes", "behind", "since", "to"], &routes));
    let destinations: Vec<Vec<String>> = status
        .destinations
        .iter()
        .map(|to| {
            vec![
                to.name.clone(),
                to.state.text().to_owned(),
                format!("{:.0}/s", to.records_per_second),
                size(to.bytes_per_second) + "/s",
                to.backlog.records.to_string(),
                size(to.backlog.bytes as f64),
                seconds(to.lag_seconds),
                to.dead_letters.to_string(),
                to.reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    let head = ["destination", "state", "records", "bytes", "wait", "buffer", "lag", "dead", "why"];
    let _ = write!(text, "\n{}", table(&head, &destinations));
    text
}

fn files_table(files: &[File]) -> String {
    let rows: Vec<Vec<String>> = files
        .iter()
        .map(|file| {
            let read = file.destinations.iter().map(|to| to.offset).min();
            vec![
                file.moved_to.as_ref().unwrap_or(&file.path).clone(),
                file.route.clone(),
                file.state.text().to_owned(),
                read.map_or_else(|| "-".into(), |read| read.to_string()),
                size(file.behind_bytes as f64),
                seconds(file.behind_seconds),
                size(file.bytes_per_second) + "/s",
            ]
        })
        .collect();
    table(&["file", "route", "state", "read", "behind", "since", "rate"], &rows)
}

fn size(bytes: f64) -> String {
    ByteSize(bytes.max(0.0) as u64).to_string()
}

/// A time in its two largest units.
fn seconds(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::status::{Backlog, Destination, FilePosition, FileState, Route};

    #[test]
    fn a_status_says_what_is_wrong_first_and_then_how_each_does() {
        let mut status = Status {
            version: "1.2.3".into(),
            uptime_seconds: 3_725,
            routes: vec![Route { name: "logs".into(), files: 3, behind_bytes: 2048, ..Route::default() }],
            destinations: vec![Destination {
                name: "audit".into(),
                backlog: Backlog { records: 12, ..Backlog::default() },
                ..Destination::default()
            }],
            ..Status::default()
        };
        status.judge(&[]);
        let text = text(&status);
        assert!(text.starts_with("kinetail 1.2.3, process 0, for 1 h 2 min: not ready\nproblem: "), "{text}");
        assert!(text.contains("\nROUTE") && text.contains("2KiB"), "{text}");
        assert!(
            text.contains("\nDESTINATION") && text.contains("not tried yet") && text.contains("  12  "),
            "{text}"
        );
    }

    #[test]
    fn a_file_is_listed_where_it_is_now_with_its_slowest_position() {
        let at = |offset| FilePosition { name: "d".into(), offset, delivered: 0 };
        let file = File {
            path: "/var/log/a.log".into(),
            moved_to: Some("/var/log/a.log.1".into()),
            state: FileState::Blocked,
            destinations: vec![at(700), at(300)],
            behind_seconds: 90.0,
            route: "logs".into(),
            bytes_per_second: 3.0 * 1024.0,
            ..File::default()
        };
        let text = files_table(&[file]);
        let cells = |line: &str| -> Vec<String> {
            line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
        };
        let [head, row] = [0, 1].map(|at| cells(text.lines().nth(at).unwrap()));
        let of = |column: &str| &row[head.iter().position(|it| it == column).unwrap()];
        assert_eq!((of("ROUTE").as_str(), of("RATE").as_str()), ("logs", "3KiB/s"), "{text}");
        assert!(
            text.contains("/var/log/a.log.1") && text.contains("blocked") && text.contains("300"),
            "{text}"
        );
        assert!(text.contains("1 min 30 s") && !text.contains("700"), "{text}");
    }
}
