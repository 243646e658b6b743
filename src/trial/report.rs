//! What becomes of lines, for people: a record stands in a line of its own as it will be sent, and what is told of it
//! in lines that begin with `#`.

use std::io::{self, Read, Write};
use std::time::SystemTime;

use super::{Did, Log, Look, Made, Stages, look};
use crate::config::{Config, RouteConfig};
use crate::decode::Format;
use crate::process::{Fate, Outcome};
use crate::source::RouteName;

/// How a report ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It tells what becomes of the lines.
    Lines,
    /// No route takes the path.
    NoRoute,
}

/// Runs the lines of `from` through the route that takes the log, or the one that is `chosen`, as if they were read at
/// `read_at`. With `explain` it is told what every step did, and why earlier routes do not take the path.
///
/// # Errors
///
/// When `from` cannot be read or `out` not be written.
pub fn report(
    config: &Config,
    log: &Log,
    chosen: Option<&RouteName>,
    mut from: impl Read,
    read_at: SystemTime,
    explain: bool,
    out: &mut impl Write,
) -> io::Result<Shown> {
    let Look { taken, refused } = look(config, log, chosen);
    let of = log.path().display();
    match taken {
        Some(route) => writeln!(out, "# {of}: {}", heading(route))?,
        None => writeln!(out, "# {of}: no route takes it")?,
    }
    if explain || taken.is_none() {
        for (route, refusal) in refused {
            let patterns: Vec<&str> = route.files.iter().map(|pattern| pattern.as_str()).collect();
            writeln!(out, "#   not {} ({}): {refusal}", route.name, patterns.join(", "))?;
        }
    }
    let Some(first) = taken else { return Ok(Shown::NoRoute) };
    if log.labels().is_none() && first.asks_for_labels() {
        writeln!(
            out,
            "#   if its pod has the labels that this route asks for; say them with --label NAME=VALUE"
        )?;
    }
    let further = config.further_of(first, log.path(), log.pods());
    if further.is_empty() {
        run(config, first, log, from, read_at, explain, out)?;
        return Ok(Shown::Lines);
    }
    let mut lines = Vec::new();
    from.read_to_end(&mut lines)?;
    run(config, first, log, &lines[..], read_at, explain, out)?;
    for route in &further {
        writeln!(out, "# {of}: and {}", heading(route))?;
        run(config, route, log, &lines[..], read_at, explain, out)?;
    }
    Ok(Shown::Lines)
}

/// Runs lines through one route.
fn run(
    config: &Config,
    route: &RouteConfig,
    log: &Log,
    from: impl Read,
    read_at: SystemTime,
    explain: bool,
    out: &mut impl Write,
) -> io::Result<()> {
    let mut stages = Stages::new(config, route, log, 1, read_at, explain);
    let (mut failed, mut counts) = (Ok(()), Counts::default());
    stages.read(from, |made| {
        counts.count(made);
        if failed.is_ok() {
            failed = tell(config, made, explain, out);
        }
    })?;
    failed?;
    let Counts { records, dropped, letters } = counts;
    let messages = records + dropped + letters;
    let name = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    writeln!(
        out,
        "# {}: {}, {dropped} dropped, {}",
        name(messages, "message"),
        name(records, "record"),
        name(letters, "dead letter")
    )
}

#[derive(Default)]
struct Counts {
    records: u64,
    dropped: u64,
    letters: u64,
}

impl Counts {
    fn count(&mut self, made: &Made<'_>) {
        let which = match made.fate {
            Fate::Send if !made.to.is_empty() => &mut self.records,
            Fate::Send | Fate::Drop => &mut self.dropped,
            Fate::DeadLetter(_) => &mut self.letters,
        };
        *which += 1;
    }
}

fn heading(route: &RouteConfig) -> String {
    let format = match route.decoding.format {
        Format::Plain => "plain",
        Format::Cri => "cri",
        Format::Docker => "docker",
        Format::Journald => "journald",
    };
    let steps = match route.process.len() {
        0 => "no steps".to_owned(),
        1 => "1 step".to_owned(),
        steps => format!("{steps} steps"),
    };
    let to = route.to.iter().map(|name| {
        let when = route.when.iter().any(|(other, _)| other == name);
        format!("{name}{}", if when { " (when its condition holds)" } else { "" })
    });
    let to: Vec<String> = to.collect();
    let to = if to.is_empty() { "nowhere: its messages are dropped".to_owned() } else { to.join(", ") };
    format!("route {}, format {format}, {steps}, to {to}", route.name)
}

fn tell(config: &Config, made: &Made<'_>, explain: bool, out: &mut impl Write) -> io::Result<()> {
    let names: Vec<&str> = made
        .to
        .iter()
        .filter_map(|index| config.destinations.get(*index))
        .map(|destination| destination.name.as_str())
        .collect();
    let ended = made.steps.last().map(place);
    let fate = match (made.fate, ended) {
        (Fate::Send, _) if names.is_empty() => "dropped: no destination's condition holds".to_owned(),
        (Fate::Send, _) => format!("to {}", names.join(", ")),
        (Fate::Drop, Some(step)) => format!("dropped by {step}"),
        (Fate::Drop, None) => "dropped: the route has no destinations".to_owned(),
        (Fate::DeadLetter(_), step) => {
            format!("a dead letter of every destination, by {}", step.unwrap_or_default())
        }
    };
    let marks = [(made.message.cut, "cut"), (made.message.time.is_none(), "without a time of its own")];
    let marks: Vec<&str> = marks.into_iter().filter_map(|(is, mark)| is.then_some(mark)).collect();
    let marks = if explain && !marks.is_empty() { format!(" ({})", marks.join(", ")) } else { String::new() };
    writeln!(out, "# line {}{marks}: {fate}", made.line)?;
    for did in made.steps {
        // A failure is worth telling in any case: the record may look as if all was well.
        if explain || did.outcome == Outcome::Failed {
            step(did, out)?;
        }
    }
    if made.fate == Fate::Send && !names.is_empty() {
        out.write_all(made.record)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn place(did: &Did) -> String {
    format!("process[{}] ({})", did.step, did.name)
}

fn step(did: &Did, out: &mut impl Write) -> io::Result<()> {
    let went = match did.outcome {
        Outcome::Done if did.changes.is_empty() && did.time.is_none() => "changed nothing",
        Outcome::Done => "done",
        Outcome::Skipped => "passed over, its `when` does not hold",
        Outcome::Failed => "failed",
        Outcome::Dropped => "dropped the message",
    };
    writeln!(out, "#   {}: {went}", place(did))?;
    if let Some(time) = &did.time {
        writeln!(out, "#     the record's time is {time}")?;
    }
    for change in &did.changes {
        let name = &change.name;
        match (&change.before, &change.after) {
            (Some(before), Some(after)) => writeln!(out, "#     ~ {name}: {before} becomes {after}")?,
            (Some(before), None) => writeln!(out, "#     - {name}: {before}")?,
            (None, after) => writeln!(out, "#     + {name}: {}", after.as_deref().unwrap_or_default())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const POD: &str = "/var/log/pods/shop_web-1_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app/0.log";
    const CONFIG: &str = "
host: node-1
destinations:
  archive: {type: directory, path: out}
  alerts: {type: directory, path: alerts}
routes:
  - {name: nginx, files: /var/log/nginx/*.log, to: archive}
  - name: shop
    files: /var/log/pods/*/*/*.log
    match: {namespace: shop}
    format: cri
    record: {names: {record_id: off, file: off, kubernetes: off}}
    process:
      - parse: json
        on_error: dead_letter
      - drop: {level: debug}
      - time: at
      - rename: {msg: message}
        when: {msg: {exists: true}}
    to: [archive, {destination: alerts, when: {level: error}}]
  - {name: none, files: /var/log/none/*, to: []}
  - {name: picky, files: /var/log/picky, to: [{destination: alerts, when: {level: error}}]}
";

    fn tried(path: &str, lines: &str, explain: bool) -> (Shown, String) {
        let config = config::parse(CONFIG, "test", &|_| None).unwrap().config;
        let mut out = Vec::new();
        let at = SystemTime::UNIX_EPOCH;
        let shown = report(&config, &Log::at(path), None, lines.as_bytes(), at, explain, &mut out).unwrap();
        (shown, String::from_utf8(out).unwrap())
    }

    const LINES: &str = r#"2026-11-21T10:00:00Z stdout F {"level":"error","msg":"a","at":"2026-11-21T09:59:59Z"}
2026-11-21T10:00:01Z stderr P {"level":
2026-11-21T10:00:01Z stderr F "debug"}
2026-11-21T10:00:02Z stdout F {"level":"info"}
2026-11-21T10:00:03Z stdout F no JSON
"#;

    #[test]
    fn records_stand_alone_and_what_became_of_the_others_is_told() {
        let (shown, text) = tried(POD, LINES, false);
        assert_eq!(shown, Shown::Lines);
        let expected = format!(
            r#"# {POD}: route shop, format cri, 4 steps, to archive, alerts (when its condition holds)
# line 1: to archive, alerts
{{"time":"2026-11-21T09:59:59Z","stream":"stdout","level":"error","message":"a","host":"node-1"}}
# line 2: dropped by process[1] (drop)
# line 4: to archive
#   process[2] (time): failed
{{"time":"2026-11-21T10:00:02Z","stream":"stdout","level":"info","host":"node-1"}}
# line 5: a dead letter of every destination, by process[0] (parse: json)
#   process[0] (parse: json): failed
# 4 messages: 2 records, 1 dropped, 1 dead letter
"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn what_every_step_did_is_explained() {
        let (_, text) = tried(POD, LINES.lines().next().unwrap(), true);
        let expected = format!(
            r##"# {POD}: route shop, format cri, 4 steps, to archive, alerts (when its condition holds)
#   not nginx (/var/log/nginx/*.log): none of its `files` matches
# line 1: to archive, alerts
#   process[0] (parse: json): done
#     - log: "{{\"level\":\"error\",\"msg\":\"a\",\"at\":\"2026-11-21T09:59:59Z\"}}"
#     + level: "error"
#     + msg: "a"
#     + at: "2026-11-21T09:59:59Z"
#   process[1] (drop): changed nothing
#   process[2] (time): done
#     the record's time is 2026-11-21T09:59:59Z
#     - at: "2026-11-21T09:59:59Z"
#   process[3] (rename): done
#     - msg: "a"
#     + message: "a"
{{"time":"2026-11-21T09:59:59Z","stream":"stdout","level":"error","message":"a","host":"node-1"}}
# 1 message: 1 record, 0 dropped, 0 dead letters
"##
        );
        assert_eq!(text, expected);
        let (_, text) = tried(POD, "2026-11-21T10:00:00Z stdout F {\"level\":\"info\"}", true);
        assert!(text.contains("process[3] (rename): passed over, its `when` does not hold"), "{text}");
        let (_, text) = tried("/var/log/nginx/a.log", "a", true);
        assert!(text.contains("# line 1 (without a time of its own): to archive\n"), "{text}");
    }

    #[test]
    fn a_path_without_a_route_and_a_route_without_destinations_are_told() {
        let (shown, text) = tried("/var/log/pods/a/b/0.log", "a", false);
        assert_eq!(shown, Shown::NoRoute);
        let expected = "# /var/log/pods/a/b/0.log: no route takes it
#   not nginx (/var/log/nginx/*.log): none of its `files` matches
#   not shop (/var/log/pods/*/*/*.log): its `match` does not hold: the path is not that of a container's log
#   not none (/var/log/none/*): none of its `files` matches
#   not picky (/var/log/picky): none of its `files` matches
";
        assert_eq!(text, expected);
        let (_, text) = tried("/var/log/none/x", "a\nb", false);
        assert!(
            text.contains("to nowhere: its messages are dropped\n# line 1: dropped: the route has"),
            "{text}"
        );
        assert!(text.ends_with("# 2 messages: 0 records, 2 dropped, 0 dead letters\n"), "{text}");
        let (_, text) = tried("/var/log/picky", "a", false);
        assert!(text.contains("# line 1: dropped: no destination's condition holds\n"), "{text}");
    }
}
