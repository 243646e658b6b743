//! What is on disk, on the wire and in the log, for others to see.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::clients::{ACCESS_KEY, SECRET_KEY};
use support::endpoint::{Endpoint, ErrorAnswer, Fault, Rule, Stream};
use support::logs;
use support::process::{Process, kinetail};
use support::scene::{ARCHIVE, AUDIT, Scene};

const QUICKLY: &str = "retry: {initial_backoff: 10ms, max_backoff: 50ms}";

/// Everything below a folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let mut paths = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if path.is_dir() {
            paths.extend(fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
    }
    paths
}

#[tokio::test]
async fn everything_in_data_dir_is_the_owners_alone() {
    let scene = Scene::plain().await.destination(QUICKLY);
    let poison =
        Fault::Poison { text: "line 000003".into(), with: ErrorAnswer::invalid_argument("not valid") };
    scene.endpoint.inject(Rule::new(poison));
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())).stream(AUDIT));
    let mut writers = logs::containers(&scene.root(), 2);
    writers.iter_mut().for_each(|writer| writer.lines(50));
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 98).await;
    agent.logged("\"dead_letter\"").await;
    agent.kill().await;
    // What is damaged goes to quarantine.
    let chunk = below(&scene.data_dir().join("buffer").join(AUDIT))
        .into_iter()
        .find(|path| path.extension().is_some_and(|end| end == "chunk"))
        .expect("records wait");
    fs::write(&chunk, "not a chunk".repeat(100)).unwrap();
    let agent = scene.start().await;
    agent.logged("chunk_quarantined").await;
    agent.kill().await;
    let paths = below(&scene.data_dir());
    for part in ["checkpoint", "node-id", "lock", "buffer", "dead_letters", "quarantine"] {
        assert!(paths.iter().any(|path| path.starts_with(scene.data_dir().join(part))), "no {part}");
    }
    for path in paths {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o7777, wanted, "{}", path.display());
    }
}

#[tokio::test]
async fn an_endpoint_whose_certificate_is_for_another_name_gets_nothing_and_nothing_is_lost() {
    let mut scene = Scene::on(Endpoint::tls_for("elsewhere.example"))
        .await
        .destination(QUICKLY)
        .setting("drain_timeout: 0s");
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(50);
    let agent = scene.start().await;
    scene.endpoint.wait_until(|account| account.failed_handshakes > 3).await;
    let told = agent.logged("destination_denied").await;
    assert!(told.contains("certificate not valid for name"), "{told}");
    agent.terminate().await;
    scene.endpoint.look(|account| {
        assert!([ARCHIVE, AUDIT].iter().all(|stream| account.stream(stream).calls == 0));
    });
    scene.endpoint = Endpoint::tls()
        .stream(Stream::firehose(ARCHIVE))
        .stream(Stream::kinesis(AUDIT).shards(4))
        .start()
        .await;
    let agent = scene.start().await;
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn no_credential_and_no_payload_is_in_the_log_however_much_is_said() {
    const TOKEN: &str = "FwoGZXIvYXdzEBYaDsessionTOKEN";
    const PAYLOAD: &str = "p4yl0ad-of-a-person";
    let scene = Scene::on(Endpoint::tls())
        .await
        .route(&["files: '{root}/app.log'", "start_at: beginning", "process: [parse: json, remove: secret]"])
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms, max_attempts: 20}")
        .setting("log: {level: trace}");
    let mut text = String::new();
    for number in 0..200 {
        text += &format!("{{\"msg\":\"app line {number:06} {PAYLOAD}\",\"secret\":\"{PAYLOAD}\"}}\n");
        text += &format!("{PAYLOAD} is not JSON \u{fffd} {{\"a\": \"{PAYLOAD}\n");
    }
    fs::write(scene.root().join("app.log"), text).unwrap();
    // Everything that is worth a word, a service that quotes what it was sent among it.
    let quoting = ErrorAnswer::invalid_argument(format!("Value '{PAYLOAD}' at 'records.1' is not valid"));
    scene.endpoint.inject(Rule::new(Fault::Poison { text: "line 000111".into(), with: quoting }));
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::access_denied())).times(2));
    scene.endpoint.inject(Rule::new(Fault::Answer(ErrorAnswer::expired_token())).after(2).times(2));
    scene.endpoint.inject(Rule::new(Fault::LoseAnswer).after(4).times(2));
    scene.endpoint.inject(Rule::new(Fault::Garbage { status: 502, body: PAYLOAD.into() }).after(6).times(2));
    let config = scene.root().join("kinetail.yaml");
    fs::write(&config, scene.config()).unwrap();
    let mut command = kinetail(&scene.root());
    command.args(["run", "--once", "--config"]).arg(config).env("AWS_SESSION_TOKEN", TOKEN);
    let ended = Process::start(command).ended().await;
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));
    scene.endpoint.look(|account| {
        assert!(account.stream(AUDIT).distinct() == 199, "{account}");
        assert!(account.access_keys.contains(ACCESS_KEY));
    });
    let log = ended.lines;
    for said in
        ["dead_letter", "destination_denied", "records_failed", "request", "sdk_request", "acknowledged"]
    {
        let said = format!("\"event\":\"{said}\"");
        assert!(log.iter().any(|line| line.contains(&said)), "{said} is not in the log");
    }
    for line in &log {
        for secret in [PAYLOAD, TOKEN, SECRET_KEY, ACCESS_KEY, "AWS4-HMAC", "Signature="] {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let ours = event["target"].as_str().is_some_and(|target| target.starts_with("kinetail"));
        assert!(ours || ["WARN", "ERROR"].iter().any(|level| event["level"] == *level), "{line}");
    }
}
