//! `kinetail check --online`: whether the destinations would take records.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::check::{Outcome, counted, destination};
use crate::config::{Config, DestinationConfig, load};
use crate::deliver::{Destination, Finding, HttpClients, Level, Service, TestRecord};
use crate::disk::HostDisk;

/// Asks every destination of AWS of the configuration file, all at the same time, and writes what was found to
/// `out`. With `send`, each gets a record that says what it is.
///
/// # Errors
///
/// `out` cannot be written, or the system gives no runtime.
pub fn run(config: &Path, send: bool, out: &mut impl Write) -> io::Result<Outcome> {
    let Ok(loaded) = load(config) else { return Ok(Outcome::Refused) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(ask(&loaded.config, send));
    let (mut problems, mut warnings) = (0, 0);
    for (entry, findings) in loaded.config.destinations.iter().zip(found) {
        if matches!(entry.to, Destination::Directory(_)) {
            continue;
        }
        writeln!(out, "\n{}", destination(entry))?;
        for finding in &findings {
            out.write_all(line(finding).as_bytes())?;
            problems += usize::from(finding.level == Level::Problem);
            warnings += usize::from(finding.level == Level::Warning);
        }
    }
    writeln!(out, "\n{}, {}", counted(problems, "problem"), counted(warnings, "warning"))?;
    Ok(if problems == 0 { Outcome::Good } else { Outcome::Unfit })
}

/// What was found of each destination, in the order of the configuration.
async fn ask(config: &Config, send: bool) -> Vec<Vec<Finding>> {
    let (http, disk) = (HttpClients::default(), HostDisk::shared());
    let mut asking = JoinSet::new();
    for (index, entry) in config.destinations.iter().enumerate() {
        let service = Service::new(&entry.to, &entry.name, &http, &disk);
        let record = if send { TestRecord::Send(record(config, entry)) } else { TestRecord::None };
        asking.spawn(async move { (index, service.preflight(&record).await) });
    }
    let mut found = asking.join_all().await;
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, findings)| findings).collect()
}

/// A record that whoever meets it can tell from others.
fn record(config: &Config, entry: &DestinationConfig) -> String {
    let host = config
        .host
        .clone()
        .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    serde_json::json!({
        "log": "test record of kinetail check --online --send-test-record",
        "time": Timestamp::now().to_string(),
        "host": host,
        "destination": entry.name.as_str(),
    })
    .to_string()
}

fn line(finding: &Finding) -> String {
    let level = match finding.level {
        Level::Good => "ok",
        Level::Warning => "warning",
        Level::Problem => "PROBLEM",
    };
    let remedy = match finding.remedy.as_str() {
        "" => String::new(),
        remedy => format!("           {remedy}\n"),
    };
    format!("  {level:<7}  {}: {}\n{remedy}", finding.about, finding.what)
}
