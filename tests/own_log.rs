//! kinetail's own log: what it says is documented, and says nothing that it must not.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde_json::Value;
use support::endpoint::{ErrorAnswer, Fault, Marker, Rule};
use support::identity::Identities;
use support::logs;
use support::process::{Agent, Process, kinetail, until};
use support::scene::{ARCHIVE, AUDIT, Scene, markers};
use tokio::process::Command;

/// Of an event the levels and the fields that it has anywhere in the code.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    levels: BTreeSet<String>,
    fields: BTreeSet<String>,
}

type Events = BTreeMap<String, Said>;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// What every line has.
const ALWAYS: [&str; 6] = ["timestamp", "instance", "level", "event", "message", "target"];

fn own(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !entry.ends_with("tests.rs")
        {
            found.push(entry);
        }
    }
}

/// All that the code says, but for its unit tests.
fn in_code() -> Events {
    let mut events = Events::new();
    let mut files = Vec::new();
    sources(&own("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("a source");
        let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        look_into(tokens, &file, &mut events);
    }
    events
}

fn look_into(tokens: TokenStream, file: &Path, events: &mut Events) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else { continue };
        let before = |back: usize| at.checked_sub(back).map(|at| tokens[at].to_string()).unwrap_or_default();
        let (level, bang) = (before(2), before(1));
        if level == "mod" && bang == "tests" {
            continue;
        }
        if bang == "!" && LEVELS.contains(&level.as_str()) && group.delimiter() == Delimiter::Parenthesis {
            note(&level, group.stream(), file, events);
        } else {
            look_into(group.stream(), file, events);
        }
    }
}

/// Takes up what one macro says.
fn note(level: &str, arguments: TokenStream, file: &Path, events: &mut Events) {
    let what = format!("{}: {level}!({arguments})", file.display());
    let arguments: Vec<TokenTree> = arguments.into_iter().collect();
    let (mut event, mut fields) = (None, BTreeSet::new());
    for argument in arguments.split(|token| token.to_string() == ",") {
        let words: Vec<String> =
            argument.iter().map(ToString::to_string).skip_while(|word| word == "%" || word == "?").collect();
        match &words[..] {
            [name, equals, value, ..] if name == "event" && equals == "=" => {
                event = Some(value.trim_matches('"').to_owned());
            }
            // The text, or what is put into it.
            [text, ..] if text.starts_with('"') => break,
            [name] => drop(fields.insert(name.clone())),
            [name, equals, ..] if equals == "=" => drop(fields.insert(name.clone())),
            [] => {}
            other => panic!("{what}: {other:?} is no field"),
        }
    }
    let event = event.unwrap_or_else(|| panic!("{what} has no event"));
    assert!(event.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{what}");
    for field in &fields {
        assert!(!ALWAYS.contains(&field.as_str()), "{what}: {field} is in every line already");
    }
    let said = events.entry(event).or_default();
    said.levels.insert(level.to_owned());
    said.fields.extend(fields);
}

/// The rows of the tables of `docs/events.md`.
fn documented() -> Events {
    let mut events = Events::new();
    let text = fs::read_to_string(own("docs/events.md")).expect("the page");
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, levels, fields, tells] = cells[..] else { panic!("four cells: {row}") };
        assert!(tells.len() > 10, "{row}");
        let words = |cell: &str| -> BTreeSet<String> {
            let words = cell.split(',').map(|word| word.trim().trim_matches('`').to_owned());
            words.filter(|word| !word.is_empty()).collect()
        };
        let said = Said { levels: words(levels), fields: words(fields) };
        assert!(events.insert(name.trim_matches('`').to_owned(), said).is_none(), "twice: {row}");
    }
    events
}

#[test]
fn every_event_is_documented_and_everything_documented_is_an_event() {
    let (said, documented) = (in_code(), documented());
    for (event, said) in &said {
        assert_eq!(documented.get(event), Some(said), "{event} in docs/events.md, left, is said as right");
    }
    let missing: Vec<&String> = documented.keys().filter(|event| !said.contains_key(*event)).collect();
    assert!(missing.is_empty(), "docs/events.md has what is not said: {missing:?}");
}

/// A scene in which the log tells all that `debug` is for.
async fn talkative() -> Scene {
    let scene = Scene::plain().await.setting("log: {level: debug}");
    scene.destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
}

/// What was said of an event about a destination.
fn said<'a>(lines: &[String], event: &'a str, destination: &'a str) -> Vec<Value> {
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("its log is JSON"));
    lines.filter(|said| said["event"] == event && said["destination"] == destination).collect()
}

#[tokio::test]
async fn what_repeats_is_kept_back_by_its_event_and_the_number_is_told_at_the_end() {
    let scene = Scene::plain().await;
    let elsewhere = tempfile::NamedTempFile::new().expect("a file");
    let folder = scene.root().join("pods/app_web_1/main");
    fs::create_dir_all(&folder).expect("a folder");
    for number in 0..8 {
        symlink(elsewhere.path(), folder.join(format!("{number}.log"))).expect("a link");
    }
    let lines = scene.once().await;
    let of = |event: &str| {
        let wanted = format!("\"event\":\"{event}\"");
        lines.iter().filter(|line| line.contains(&wanted)).collect::<Vec<_>>()
    };
    assert_eq!(of("path_refused").len(), 5);
    let told = of("messages_suppressed");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("\"of\":\"path_refused\",\"count\":3"), "{told:?}");
}

#[tokio::test]
async fn at_debug_each_request_and_each_acknowledgement_is_told() {
    let scene = talkative().await;
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::internal_failure())).stream(AUDIT).times(1));
    let one = Fault::RefuseText { text: "line 000003".into(), with: ErrorAnswer::throughput_exceeded() };
    scene.endpoint.inject(Rule::new(one).stream(AUDIT).after(1).times(1));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(10);
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    let lines = agent.terminate().await.lines;
    let requests = said(&lines, "request", AUDIT);
    let told = |field: &str| requests.iter().map(|request| request[field].clone()).collect::<Vec<_>>();
    assert_eq!(told("outcome"), ["failed", "partial", "taken"]);
    assert_eq!(told("code"), ["InternalFailure", "ProvisionedThroughputExceededException", ""]);
    assert_eq!(
        (told("attempt"), told("entries")),
        (vec![1.into(), 2.into(), 3.into()], vec![10.into(), 10.into(), 1.into()])
    );
    assert_eq!(told("refused"), [10, 1, 0]);
    for request in &requests {
        assert!(request["request_id"].as_str().is_some_and(|id| id.len() > 8), "{request}");
        assert!(request["latency_ms"].is_u64() && request["bytes"].as_u64() > Some(0), "{request}");
    }
    let acknowledged = said(&lines, "acknowledged", AUDIT);
    let records: u64 = acknowledged.iter().filter_map(|said| said["records"].as_u64()).sum();
    assert_eq!(records, 10, "{acknowledged:?}");
}

#[tokio::test]
async fn at_debug_the_sdks_own_requests_and_retries_are_told_without_what_is_secret_in_them() {
    let scene = talkative().await;
    let identities = Identities::start().await;
    identities.away(true);
    let root = scene.root();
    let (config, token) = (root.join("kinetail.yaml"), root.join("token"));
    fs::write(&config, scene.config()).expect("written");
    fs::write(&token, "t0ken-of-the-pod").expect("written");
    let mut command = kinetail(&root);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/kinetail")
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", &token)
        .env("AWS_ENDPOINT_URL_STS", identities.url())
        .args(["run", "--config"])
        .arg(&config);
    let agent = Agent::of(Process::start(command));
    let mut writer = logs::containers(&root, 1).remove(0);
    writer.lines(10);
    let asked = |line: &str, operation: &str| {
        line.contains("sdk_request") && line.contains(&format!("\"operation\":\"{operation}\""))
    };
    const ROLE: &str = "AssumeRoleWithWebIdentity";
    let retry =
        |line: &str| asked(line, ROLE) && line.contains("\"attempt\":2") && line.contains("\"error\"");
    agent.process().line(retry).await;
    identities.away(false);
    scene.exactly_once(&[&writer]).await;
    agent.process().line(|line| asked(line, ROLE) && line.contains("\"status\":200")).await;
    agent.process().line(|line| asked(line, "DescribeStreamSummary")).await;
    let lines = agent.terminate().await.lines;
    for line in &lines {
        assert!(!asked(line, "PutRecords") && !asked(line, "PutRecordBatch"), "told twice: {line}");
        for secret in ["t0ken-of-the-pod", "token of", "AKID", "AWS4-HMAC", "Signature="] {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
    }
}

/// A scene that follows all files of a folder, and whose log would go on for ever: at `debug` each request is a line.
async fn followed_folder() -> Scene {
    talkative().await.setting("admin: {listen: '127.0.0.1:0'}")
}

const ALL: [&str; 2] = ["files: '{root}/logs/*.log'", "start_at: beginning"];

/// `kinetail run` in a shell, with its output where the shell puts it.
fn in_shell(scene: &Scene, redirection: &str) -> Process {
    let root = scene.root();
    fs::create_dir_all(root.join("logs")).expect("a folder");
    fs::write(root.join("kinetail.yaml"), scene.config()).expect("written");
    let ours = kinetail(&root);
    let program = ours.as_std().get_program().to_str().expect("a path").to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {program} run --config kinetail.yaml {redirection}")]);
    command.env_clear().current_dir(&root);
    for (name, value) in ours.as_std().get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    Process::start(command)
}

/// Lines of an application, written to the end of a file.
fn append(path: &Path, numbers: std::ops::Range<u64>) -> Vec<Marker> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(path).expect("a log");
    for number in numbers.clone() {
        file.write_all(format!("app line {number:06}\n").as_bytes()).expect("a line");
    }
    markers("app", numbers)
}

/// Waits until a file has a line of this event.
async fn written(path: &Path, event: &str) -> String {
    let wanted = format!("\"event\":\"{event}\"");
    let find = || {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find(|line| line.contains(&wanted)).map(str::to_owned)
    };
    until(async || find().is_some()).await;
    find().expect("it was there")
}

/// All records are those of the application.
fn nothing_else_came(scene: &Scene, expected: usize) {
    for stream in [ARCHIVE, AUDIT] {
        assert_eq!(scene.records(stream).len(), expected, "{:?}", scene.records(stream).last());
    }
}

#[tokio::test]
async fn a_log_that_goes_to_a_followed_file_comes_to_rest_and_costs_no_line_of_others_in_it() {
    let scene = followed_folder().await.route(&ALL);
    let path = scene.root().join("logs/app.log");
    let process = in_shell(&scene, "2>>logs/app.log");
    written(&path, "ready").await;
    let mut expected = append(&path, 0..10);
    scene.exactly(expected.clone()).await;
    // By now it has read what it said of these.
    expected.extend(append(&path, 10..20));
    scene.exactly(expected).await;
    let said = written(&path, "own_log_met").await;
    process.terminate().await;
    nothing_else_came(&scene, 20);
    assert!(said.contains("logs/app.log"), "{said}");
    let text = fs::read_to_string(&path).expect("the log");
    assert_eq!(text.matches("own_log_met").count(), 1, "{text}");
    // What it said was no cause of anything: its requests are those for the application's lines.
    let requests = text.matches("\"event\":\"request\"").count();
    assert!((2..=40).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn a_log_that_a_container_runtime_writes_into_a_followed_file_comes_to_rest() {
    let scene = followed_folder().await;
    let folder = scene.root().join("pods/kinetail_kinetail-7x_0a1b/kinetail");
    fs::create_dir_all(&folder).expect("a folder");
    let agent = scene.spawn();
    // As the runtime does it: what the container writes to its standard error, line by line.
    let runtime = async {
        let mut log = fs::File::create(folder.join("0.log")).expect("a log");
        let mut read = 0;
        loop {
            let (next, line) = agent.process().line_after(read, |_| true).await;
            read = next;
            writeln!(log, "2026-01-01T00:00:00.000000000Z stderr F {line}").expect("a line");
        }
    };
    let story = async {
        let mut writer = logs::containers(&scene.root(), 1).remove(0);
        for _ in 0..3 {
            writer.lines(10);
            scene.exactly_once(&[&writer]).await;
        }
        agent.logged("own_log_met").await;
        let lines = || agent.metric("kinetail_own_log_lines_total");
        until(async || lines().await > 10.0).await;
        writer.lines(10);
        scene.exactly_once(&[&writer]).await;
    };
    tokio::select! {
        () = runtime => {}
        () = story => {}
    }
    let lines = agent.terminate().await.lines;
    nothing_else_came(&scene, 40);
    assert_eq!(lines.iter().filter(|line| line.contains("\"event\":\"own_log_met\"")).count(), 1);
}

#[tokio::test]
async fn a_log_in_text_is_known_too_and_who_wants_its_lines_gets_them() {
    let scene = Scene::plain().await.setting("log: {format: text}").route(&ALL);
    let path = scene.root().join("logs/kinetail.log");
    let process = in_shell(&scene, "2>>logs/kinetail.log");
    let found = || fs::read_to_string(&path).unwrap_or_default().contains("own_log_met");
    until(async || found()).await;
    let expected = append(&scene.root().join("logs/app.log"), 0..10);
    scene.exactly(expected).await;
    process.terminate().await;
    nothing_else_came(&scene, 10);

    let scene = Scene::plain().await.setting("log: {deliver_own_lines: true}").route(&ALL);
    let process = in_shell(&scene, "2>>logs/kinetail.log");
    let delivered = |stream: &str| {
        let records = scene.records(stream);
        records.iter().any(|record| record["log"].as_str().is_some_and(|log| log.contains("\"ready\"")))
    };
    until(async || delivered(ARCHIVE) && delivered(AUDIT)).await;
    process.terminate().await;
}
