//! kinetail's own log: what it says is documented, and says nothing that it must not.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use serde_json::Value;
use support::endpoint::{ErrorAnswer, Fault, Rule};
use support::identity::Identities;
use support::logs;
use support::process::{Agent, Process, kinetail};
use support::scene::{AUDIT, Scene};

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
