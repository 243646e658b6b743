//! `kinetail check`: all that is wrong with a configuration, or where the files that exist now would go and what its
//! tests come to.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{Config, DestinationConfig, JournalConfig, Loaded, RouteConfig, load};
use crate::decode::Format;
use crate::deliver::Destination;
use crate::trial::run_tests;

/// How many files of one route are named before the rest is only counted.
const FILES_NAMED: usize = 20;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The configuration is good; warnings do not change that.
    Good,
    /// It is not, or cannot be read.
    Refused,
    /// It is good, and one of its tests fails.
    Failed,
    /// It is good, and a destination would not take records.
    Unfit,
}

impl From<Outcome> for ExitCode {
    /// 0 for a good configuration, 2 for one that is not, 1 where a test fails or a destination would not take records.
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => ExitCode::SUCCESS,
            Outcome::Refused => ExitCode::from(2),
            Outcome::Failed | Outcome::Unfit => ExitCode::FAILURE,
        }
    }
}

/// Checks the configuration file `config` and runs its tests. `list` finds the files that exist now, each with the index of the
/// route that it falls to. The report goes to `out`; errors and warnings, one a line, to `err`.
pub fn run(
    config: &Path,
    list: impl FnOnce(&Config) -> Vec<(PathBuf, usize)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Outcome> {
    match load(config) {
        Ok(Loaded { config: made, warnings }) => {
            for warning in &warnings {
                writeln!(err, "warning: {warning}")?;
            }
            let files = list(&made);
            writeln!(out, "{} is good: {}", config.display(), summary(&made, distinct(&files)))?;
            out.write_all(report(&made, files).as_bytes())?;
            tests(&made, config, out, err)
        }
        Err(errors) => {
            for error in &errors {
                writeln!(err, "{error}")?;
            }
            writeln!(err, "{}: {} found", config.display(), counted(errors.len(), "mistake"))?;
            Ok(Outcome::Refused)
        }
    }
}

/// Runs the tests that stand in the configuration.
fn tests(made: &Config, file: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<Outcome> {
    if made.tests.is_empty() {
        return Ok(Outcome::Good);
    }
    let failed = run_tests(made, &file.display().to_string());
    for failed in &failed {
        write!(err, "{failed}")?;
    }
    let tests = counted(made.tests.len(), "test");
    if failed.is_empty() {
        writeln!(out, "\n{tests} passed")?;
        return Ok(Outcome::Good);
    }
    writeln!(err, "{}: {} of {tests} failed", file.display(), failed.len())?;
    Ok(Outcome::Failed)
}

/// A file is there once for each route that it falls under.
fn distinct(files: &[(PathBuf, usize)]) -> usize {
    files.iter().map(|(path, _)| path).collect::<BTreeSet<_>>().len()
}

fn summary(config: &Config, files: usize) -> String {
    format!(
        "{}, {}, {} now",
        counted(config.routes.len(), "route"),
        counted(config.destinations.len(), "destination"),
        counted(files, "file")
    )
}

/// The routes with their destinations as a table, then the files of each route.
fn report(config: &Config, files: Vec<(PathBuf, usize)>) -> String {
    let mut by_route: Vec<Vec<PathBuf>> = vec![Vec::new(); config.routes.len()];
    for (path, route) in files {
        if let Some(paths) = by_route.get_mut(route) {
            paths.push(path);
        }
    }
    let mut text = String::from("\n");
    text.push_str(&table(config, &by_route));
    for (route, mut paths) in config.routes.iter().zip(by_route) {
        paths.sort();
        text.push('\n');
        text.push_str(&files_of(route, &paths));
    }
    text
}

fn table(config: &Config, by_route: &[Vec<PathBuf>]) -> String {
    let head = ["ROUTE", "FORMAT", "FILES", "DESTINATIONS"].map(str::to_owned);
    let rows = config.routes.iter().zip(by_route).map(|(route, paths)| {
        let targets: Vec<String> = route
            .to
            .iter()
            .filter_map(|name| config.destinations.iter().find(|destination| destination.name == *name))
            .map(destination)
            .collect();
        [
            route.name.to_string(),
            format_name(route.decoding.format).to_owned(),
            paths.len().to_string(),
            targets.join(", "),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (name, format, count) = (width(0), width(1), width(2));
    let mut text = String::new();
    for [route, form, files, targets] in &rows {
        let _ = writeln!(text, "{route:name$}  {form:format$}  {files:>count$}  {targets}");
    }
    text
}

pub(super) fn destination(destination: &DestinationConfig) -> String {
    let what = match &destination.to {
        Destination::Firehose(firehose) => format!("firehose {}", firehose.stream),
        Destination::Kinesis(kinesis) => format!("kinesis {}", kinesis.stream),
        Destination::Directory(directory) => format!("directory {}", directory.path.display()),
    };
    format!("{} ({what})", destination.name)
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::Plain => "plain",
        Format::Cri => "cri",
        Format::Docker => "docker",
        Format::Journald => "journald",
    }
}

fn files_of(route: &RouteConfig, paths: &[PathBuf]) -> String {
    if let Some(journal) = &route.journal {
        return journal_of(route, journal, paths);
    }
    if paths.is_empty() {
        let patterns: Vec<&str> = route.files.iter().map(|pattern| pattern.as_str()).collect();
        return format!("{}: no file falls to it now ({})\n", route.name, patterns.join(", "));
    }
    let labels =
        if route.asks_for_labels() { ", if their pods have the labels that it asks for" } else { "" };
    let mut text = format!("{}: {}{labels}\n", route.name, counted(paths.len(), "file"));
    for path in &paths[..paths.len().min(FILES_NAMED)] {
        let _ = writeln!(text, "  {}", printable(path));
    }
    if let Some(more) = paths.len().checked_sub(FILES_NAMED).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more");
    }
    text
}

/// What a route finds of the journal, and of the program that reads it.
fn journal_of(route: &RouteConfig, journal: &JournalConfig, sequences: &[PathBuf]) -> String {
    let mut text = format!("{}: the journal\n", route.name);
    for sequence in sequences {
        let _ = writeln!(text, "  {}", printable(sequence));
    }
    if sequences.is_empty() {
        let folders: Vec<_> = journal.source.folders.iter().map(|folder| printable(folder)).collect();
        let _ = writeln!(text, "  no journal that can be read is there now ({})", folders.join(", "));
    }
    if let Some(program) = journal.source.command.first().map(Path::new).filter(|path| !path.exists()) {
        let _ = writeln!(text, "  {} is not there, which would read it", printable(program));
    }
    text
}

/// A name with control characters could rewrite the terminal.
fn printable(path: &Path) -> String {
    let shown = path.display().to_string();
    if shown.contains(char::is_control) { format!("{shown:?}") } else { shown }
}

pub(super) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The files below `folder`, each with the routes that it falls under.
    fn walk(folder: &Path, config: &Config, found: &mut Vec<(PathBuf, usize)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, config, found);
            } else {
                found.extend(config.routes_of(&path).into_iter().map(|route| (path.clone(), route)));
            }
        }
    }

    fn check(folder: &Path, text: &str) -> (Outcome, String, String) {
        let config = folder.join("k.yaml");
        fs::write(&config, text.replace("ROOT", &folder.display().to_string())).expect("written");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let list = |config: &Config| {
            let mut found = Vec::new();
            walk(folder, config, &mut found);
            found
        };
        let outcome = run(&config, list, &mut out, &mut err).expect("room in memory");
        let plain = |text: Vec<u8>| {
            let text = String::from_utf8(text).expect("text");
            text.replace(&folder.display().to_string(), "ROOT")
        };
        (outcome, plain(out), plain(err))
    }

    #[test]
    fn a_good_configuration_tells_where_each_file_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        for number in 0..25 {
            fs::write(folder.path().join(format!("a{number:02}.log")), "").expect("written");
        }
        fs::write(folder.path().join("b.txt"), "").expect("written");
        fs::write(folder.path().join("b\u{1b}[2J.txt"), "").expect("written");
        let (outcome, out, err) = check(
            folder.path(),
            "destinations:
  archive: {type: firehose, stream: app, packing: newline}
  audit: {type: kinesis, stream: events, aggregation: none}
  spare: {type: directory, path: out}
routes:
  - {name: logs, files: 'ROOT/*.log', format: cri, to: [archive, audit], continue: true}
  - {files: 'ROOT/*.txt', to: audit}
  - {name: none, files: 'ROOT/none/*.log', format: cri, to: archive}
  - {name: more, files: 'ROOT/*4.log', format: cri, to: audit}
",
        );
        assert_eq!(outcome, Outcome::Good);
        let named: String = (0..20).map(|number| format!("  ROOT/a{number:02}.log\n")).collect();
        let expected = format!(
            "ROOT/k.yaml is good: 4 routes, 3 destinations, 27 files now

ROUTE    FORMAT  FILES  DESTINATIONS
logs     cri        25  archive (firehose app), audit (kinesis events)
route-2  plain       2  audit (kinesis events)
none     cri         0  archive (firehose app)
more     cri         3  audit (kinesis events)

logs: 25 files
{named}  and 5 more

route-2: 2 files
  \"ROOT/b\\u{{1b}}[2J.txt\"
  ROOT/b.txt

none: no file falls to it now (ROOT/none/*.log)

more: 3 files
  ROOT/a04.log
  ROOT/a14.log
  ROOT/a24.log
"
        );
        assert_eq!(out, expected);
        assert!(err.starts_with("warning: ROOT/k.yaml:4:3: destinations.spare: no route"), "{err}");
    }

    #[test]
    fn of_a_journal_it_is_told_what_is_there_and_whether_it_can_be_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "destinations: {d: {type: directory, path: out}}
routes: [{name: kubelet, format: journald, journal: {folders: ROOT/journal, command: ROOT/journalctl, units: kubelet}, to: d}]
tests:
  - name: fields are as they are, from the first step on
    path: ROOT/journal
    lines: |
      _SYSTEMD_UNIT=kubelet.service
      MESSAGE=one

      MESSAGE=two
    expect:
      - record: {_SYSTEMD_UNIT: kubelet.service, MESSAGE: one, file: ROOT/journal}
      - {record: {MESSAGE: two}, without: log}
";
        let (outcome, out, err) = check(folder.path(), text);
        assert_eq!((outcome, err.as_str()), (Outcome::Good, ""));
        let told = "kubelet: the journal
  no journal that can be read is there now (ROOT/journal)
  ROOT/journalctl is not there, which would read it
";
        assert!(out.contains(told) && out.contains("kubelet  journald      0  d (directory out)"), "{out}");
    }

    #[test]
    fn what_labels_decide_is_not_told_as_if_it_were_known() {
        let folder = tempfile::tempdir().expect("a folder");
        let pod = folder.path().join("shop_web-1_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app");
        fs::create_dir_all(&pod).expect("made");
        fs::write(pod.join("0.log"), "").expect("written");
        let (_, out, _) = check(
            folder.path(),
            "destinations: {d: {type: directory, path: out}}
kubernetes: {}
routes:
  - {name: team, files: 'ROOT/*/*/*.log', match: {labels: {team: a}}, to: d}
  - {name: all, files: 'ROOT/*/*/*.log', to: d}
",
        );
        assert!(out.contains("team: 1 file, if their pods have the labels that it asks for\n"), "{out}");
        assert!(out.contains("all: 1 file\n"), "{out}");
    }

    #[test]
    fn the_configurations_tests_are_run_and_a_failure_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = "destinations: {d: {type: directory, path: out}}
routes: [{files: /var/log/x, process: [{parse: json}], to: d}]
tests:
  - {path: /var/log/x, lines: '{\"a\":1}', expect: {record: {a: A}}}
  - {path: /var/log/x, lines: no, expect: {record: {log: no}}}
";
        let (outcome, out, err) = check(folder.path(), &text.replace('A', "1"));
        assert_eq!((outcome, err.as_str()), (Outcome::Good, ""));
        assert!(out.ends_with("\n2 tests passed\n"), "{out}");
        let (outcome, out, err) = check(folder.path(), &text.replace('A', "2"));
        assert_eq!(outcome, Outcome::Failed);
        assert!(!out.contains("passed"), "{out}");
        let expected = "ROOT/k.yaml:4:5: tests[0] failed\n  ROOT/k.yaml:4:63: tests[0].expect.record.a\n    - 2\n    + 1\n";
        assert!(err.starts_with(expected), "{err}");
        assert!(err.ends_with("ROOT/k.yaml: 1 of 2 tests failed\n"), "{err}");
    }

    #[test]
    fn a_bad_configuration_is_refused_with_all_its_mistakes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (outcome, out, err) = check(folder.path(), "destinations: {}\nroutes: []\nx: 1\n");
        assert_eq!(outcome, Outcome::Refused);
        assert_eq!(out, "");
        assert_eq!(err.lines().count(), 4, "{err}");
        assert!(err.ends_with("ROOT/k.yaml: 3 mistakes found\n"), "{err}");
    }
}
