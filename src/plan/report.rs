//! The plan as a table for each destination.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Recorded, Way};
use crate::config::{Config, DestinationConfig};
use crate::deliver::Destination;

/// What the sample is scaled by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// So many nodes that are like the one of the sample.
    pub nodes: u64,
    /// Room on top of the busiest minute: 0.25 is a quarter.
    pub headroom: f64,
}

/// What is planned, for people.
pub fn report(config: &Config, recorded: &Recorded, plan: &[(String, Vec<Way>)], scale: Scale) -> String {
    let mut text = String::new();
    let a_day = 86_400.0 / recorded.period.as_secs_f64().max(0.001);
    let nodes = match scale.nodes {
        1 => "one node".to_owned(),
        nodes => format!("{nodes} nodes"),
    };
    let _ = writeln!(
        text,
        "{} lines, {}, in {}; a day of {nodes}: {} lines, {}",
        number(recorded.len() as f64),
        bytes(recorded.bytes as f64),
        time(recorded.period),
        number(recorded.len() as f64 * a_day * scale.nodes as f64),
        bytes(recorded.bytes as f64 * a_day * scale.nodes as f64),
    );
    for (name, ways) in plan {
        let entry = config.destinations.iter().find(|entry| entry.name.as_str() == name);
        if let Some(entry) = entry {
            destination(&mut text, entry, ways, scale);
        }
    }
    text
}

fn destination(text: &mut String, entry: &DestinationConfig, ways: &[Way], scale: Scale) {
    let stream = match &entry.to {
        Destination::Firehose(to) => format!("firehose {}", to.stream),
        Destination::Kinesis(to) => format!("kinesis {}", to.stream),
        Destination::Directory(_) => return,
    };
    let _ = writeln!(text, "\n{} ({stream}), a day:", entry.name);
    if ways.iter().all(|way| way.load.lines == 0) {
        let _ = writeln!(text, "  nothing of this goes there");
        return;
    }
    let is_stream = matches!(entry.to, Destination::Kinesis(_));
    let mut head = vec!["", "RECORDS", "REQUESTS", "SENT"];
    head.extend(if is_stream {
        ["25 KB UNITS", "UNITS/PAYLOAD", "ON DEMAND", "SHARDS"].as_slice()
    } else {
        ["BILLED", "BILLED/PAYLOAD"].as_slice()
    });
    let mut rows: Vec<Vec<String>> = vec![head.into_iter().map(str::to_owned).collect()];
    rows.extend(ways.iter().map(|way| row(way, is_stream, scale)));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
    for row in &rows {
        let mut line = format!("  {:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(&widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for way in ways.iter().filter(|way| way.configured) {
        if is_stream {
            let shards = way.load.shards(scale.nodes, scale.headroom);
            let _ = writeln!(
                text,
                "  {} shards: the busiest minute has {}/s and {} records/s, and {:.0} % on top; a shard takes 1 MiB/s \
                 and 1,000 records/s",
                shards.count,
                bytes(shards.bytes),
                number(shards.records),
                scale.headroom * 100.0
            );
        }
        if way.load.refused > 0 {
            let refused = number(way.load.a_day(way.load.refused, scale.nodes));
            let _ =
                writeln!(text, "  {refused} records are too large for the service and become dead letters");
        }
    }
}

fn row(way: &Way, is_stream: bool, scale: Scale) -> Vec<String> {
    let load = &way.load;
    let day = |number: u64| load.a_day(number, scale.nodes);
    let payload = load.payload.max(1) as f64;
    let mark = if way.configured { " *" } else { "" };
    let mut row = vec![
        format!("{}{mark}", way.name),
        number(day(load.records)),
        number(day(load.requests)),
        bytes(day(load.bytes)),
    ];
    if is_stream {
        row.push(number(day(load.billed)));
        row.push(format!("{:.2}", load.billed as f64 * 25.0 * 1024.0 / payload));
        row.push(bytes(day(load.billed_on_demand)));
        row.push(load.shards(scale.nodes, scale.headroom).count.to_string());
    } else {
        row.push(bytes(day(load.billed) * 5.0 * 1024.0));
        row.push(format!("{:.2}", load.billed as f64 * 5.0 * 1024.0 / payload));
    }
    row
}

/// With separators: `1,234,567`.
fn number(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// As bills have it, in decimal units.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KB", "MB", "GB", "TB"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 100.0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests;
