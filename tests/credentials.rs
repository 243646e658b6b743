//! Where credentials come from, how they are renewed while kinetail runs, and what becomes of records meanwhile.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::endpoint::{Endpoint, Marker};
use support::identity::{Asked, Identities};
use support::logs::{self, Writer};
use support::process::{Agent, Process, kinetail, until};
use support::scene::{ARCHIVE, AUDIT, Scene};

const ROLE: &str = "arn:aws:iam::123456789012:role/kinetail";

/// A scene in which both destinations take their credentials from where the SDK finds them.
async fn scene() -> Scene {
    Scene::on(Endpoint::plain())
        .await
        .tail("rotate_wait: 100ms")
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("drain_timeout: 0s")
}

/// `kinetail run` without the credentials that other tests give it.
fn start(scene: &Scene, config: &str, env: &[(&str, &str)]) -> Process {
    let path = scene.root().join("kinetail.yaml");
    fs::write(&path, config).expect("written");
    let mut command = kinetail(&scene.root());
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env_remove("AWS_REGION")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(env.iter().copied())
        .args(["run", "--config"])
        .arg(path);
    Process::start(command)
}

/// The configuration with these lines for one destination.
fn with(config: &str, destination: &str, lines: &str) -> String {
    let head = format!("  {destination}:\n");
    assert!(config.contains(&head));
    config.replace(&head, &format!("{head}    {lines}\n"))
}

fn write(path: &Path, text: &str) -> PathBuf {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    fs::write(path, text).expect("written");
    path.to_owned()
}

/// Puts another file in place of this one, as a mounted secret is rotated.
fn rotate(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).expect("written");
    fs::rename(&next, path).expect("renamed");
}

fn profile(name: &str, key: &str) -> String {
    format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = secret\naws_session_token = t\n\n")
}

/// What the DaemonSet sets where its Secret is not there: the names of files that do not exist.
const WITHOUT_SECRET: [(&str, &str); 2] = [
    ("AWS_SHARED_CREDENTIALS_FILE", "/var/run/secrets/kinetail-aws/credentials"),
    ("AWS_CONFIG_FILE", "/var/run/secrets/kinetail-aws/config"),
];

/// A run that has delivered some lines.
async fn delivering(scene: &Scene, config: &str, env: &[(&str, &str)]) -> (Process, Writer) {
    let agent = start(scene, config, env);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(300);
    arrived(scene, &writer).await;
    (agent, writer)
}

/// Stand-ins that give credentials so soon expired that the SDK asks for others with every request, and a file with the token
/// that they are shown.
async fn short_lived(scene: &Scene) -> (Identities, PathBuf) {
    let identities = Identities::start().await;
    identities.lifetime(Duration::from_secs(1));
    (identities, write(&scene.root().join("token"), "token-1"))
}

/// Waits until both streams have every line, once.
async fn arrived(scene: &Scene, writer: &Writer) {
    scene.arrived(writer.written().len()).await;
    once(scene, &writer.markers().collect::<Vec<_>>());
}

fn once(scene: &Scene, markers: &[Marker]) {
    scene.endpoint.look(|account| {
        for stream in [ARCHIVE, AUDIT] {
            account.stream(stream).assert_exactly_once(markers.iter().cloned());
        }
    });
}

/// After a kill, what the healthy destination had taken may come again; the other one had taken nothing.
fn once_from_the_buffer(scene: &Scene, writer: &Writer) {
    scene.endpoint.look(|account| {
        account.stream(ARCHIVE).assert_exactly_once(writer.markers());
        account.stream(AUDIT).assert_at_least_once(writer.markers());
    });
}

fn keys(scene: &Scene) -> Vec<String> {
    scene.endpoint.look(|account| account.access_keys.iter().cloned().collect())
}

#[tokio::test]
async fn each_destination_has_its_own_profile_and_a_rotated_file_is_read_again() {
    let scene = scene().await;
    let file = write(
        &scene.root().join("secret/credentials"),
        &(profile("one", "AKIDONE") + &profile("two", "AKIDTWO")),
    );
    let env = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
    let config = with(&with(&scene.config(), ARCHIVE, "profile: one"), AUDIT, "profile: two");
    let (agent, mut writer) = delivering(&scene, &config, &env).await;
    assert_eq!(keys(&scene), ["AKIDONE", "AKIDTWO"]);

    // Both old keys are refused as soon as the file is another: who still used one would be stuck.
    rotate(&file, &(profile("one", "AKIDTHREE") + &profile("two", "AKIDFOUR")));
    scene.endpoint.revoke("AKIDONE");
    scene.endpoint.revoke("AKIDTWO");
    writer.lines(300);
    arrived(&scene, &writer).await;
    assert_eq!(keys(&scene), ["AKIDFOUR", "AKIDONE", "AKIDTHREE", "AKIDTWO"]);
    agent.terminate().await;
}

#[tokio::test]
async fn a_web_identity_is_renewed_with_the_token_that_was_rotated() {
    let scene = scene().await;
    let (identities, token) = short_lived(&scene).await;
    let env = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", identities.url()),
        WITHOUT_SECRET[0],
        WITHOUT_SECRET[1],
    ];
    let (agent, mut writer) = delivering(&scene, &scene.config(), &env).await;
    let first = Asked::WebIdentity { arn: ROLE.into(), token: "token-1".into() };
    assert!(identities.asked().iter().all(|(asked, _)| *asked == first));

    rotate(&token, "token-2");
    let before = keys(&scene);
    writer.lines(300);
    arrived(&scene, &writer).await;
    let second = Asked::WebIdentity { arn: ROLE.into(), token: "token-2".into() };
    let asked = identities.asked();
    let (_, key) = asked.iter().rfind(|(asked, _)| *asked == second).expect("asked with the new token");
    assert!(!before.contains(key.as_ref().unwrap()));
    assert!(keys(&scene).iter().any(|key| !before.contains(key)), "signed with what the new token gave");
    agent.terminate().await;
}

#[tokio::test]
async fn pod_identity_gives_credentials_for_the_token_of_the_moment() {
    let scene = scene().await;
    let (identities, token) = short_lived(&scene).await;
    let url = format!("{}/pod-identity", identities.url());
    let env = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.to_str().unwrap()),
        WITHOUT_SECRET[0],
        WITHOUT_SECRET[1],
    ];
    let (agent, mut writer) = delivering(&scene, &scene.config(), &env).await;
    rotate(&token, "token-2");
    writer.lines(300);
    arrived(&scene, &writer).await;
    for token in ["token-1", "token-2"] {
        let asked = Asked::PodIdentity { token: token.into() };
        assert!(identities.asked().iter().any(|(it, _)| *it == asked), "{:?}", identities.asked());
    }
    agent.terminate().await;
}

#[tokio::test]
async fn the_instances_role_is_asked_for_by_imdsv2_and_its_region_too() {
    let scene = scene().await;
    let identities = Identities::start().await;
    let env = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", identities.url()),
        WITHOUT_SECRET[0],
        WITHOUT_SECRET[1],
    ];
    let config = scene.config().replace("    region: eu-central-1\n", "");
    let (agent, _) = delivering(&scene, &config, &env).await;
    assert!(identities.asked().iter().all(|(asked, _)| *asked == Asked::Instance));
    assert!(keys(&scene).iter().all(|key| key.starts_with("AKID")));
    agent.terminate().await;
}

#[tokio::test]
async fn what_is_known_of_the_instance_is_added_and_an_outage_of_the_service_holds_nothing_up() {
    let route = [
        "files: '{root}/pods/*/*/*.log'",
        "format: cri",
        "start_at: beginning",
        "process: [{ec2_metadata: {under: ec2}}]",
    ];
    let scene = scene().await.route(&route);
    let identities = Identities::start().await;
    let env = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", identities.url()),
        ("AWS_ACCESS_KEY_ID", "AKIDBASE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];
    let agent = start(&scene, &scene.config(), &env);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(300);
    arrived(&scene, &writer).await;
    for mut record in scene.records(AUDIT) {
        let time = record["ec2"].as_object_mut().unwrap().remove("metadataTimestamp").unwrap();
        assert!(time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{time}");
        let expected = serde_json::json!({
            "privateIp": "10.0.0.7",
            "availabilityZone": "eu-central-1a",
            "instanceId": "i-0c6a",
            "instanceType": "m6i.large",
            "accountId": "123456789012",
            "amiId": "ami-0a1b",
            "region": "eu-central-1",
            "Name": "node 7",
            "team:of": "pay",
        });
        assert_eq!(record["ec2"], expected);
    }
    agent.terminate().await;

    identities.away(true);
    let agent = start(&scene, &scene.config(), &env);
    writer.lines(100);
    arrived(&scene, &writer).await;
    let without = scene.records(AUDIT).iter().filter(|record| record.get("ec2").is_none()).count();
    assert_eq!(without, 100);
    agent.terminate().await;
}

#[tokio::test]
async fn roles_are_assumed_one_after_the_other_with_external_id_and_session_for_one_destination_alone() {
    let scene = scene().await;
    let identities = Identities::start().await;
    let (hop, last) = ("arn:aws:iam::111111111111:role/hop", "arn:aws:iam::222222222222:role/logs");
    let chain = format!(
        "role_chain: [{{role_arn: '{hop}', external_id: hop-id, session_name: node-7}}]\n    role_arn: '{last}'\n    \
         external_id: last-id"
    );
    let env = [
        ("AWS_ACCESS_KEY_ID", "AKIDBASE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "t"),
        ("AWS_ENDPOINT_URL_STS", identities.url()),
    ];
    let (agent, _) = delivering(&scene, &with(&scene.config(), ARCHIVE, &chain), &env).await;
    let role = |arn: &str, id: &str, session: &str, signed_with: &str| Asked::Role {
        arn: arn.into(),
        external_id: Some(id.into()),
        session: session.into(),
        signed_with: signed_with.into(),
    };
    let asked: Vec<Asked> = identities.asked().into_iter().map(|(asked, _)| asked).collect();
    assert_eq!(
        asked,
        [role(hop, "hop-id", "node-7", "AKIDBASE"), role(last, "last-id", "kinetail", "AKID1")]
    );
    assert_eq!(keys(&scene), ["AKID2", "AKIDBASE"], "the other destination goes by itself");
    agent.terminate().await;
}

/// STS goes away and what it gave is refused in the middle of a run. The destination beside it shows when lines are
/// in the buffers; then their files are deleted and the process is killed, so that only the buffer can have them.
#[tokio::test]
async fn with_sts_away_and_a_403_the_buffer_fills_and_nothing_is_lost() {
    let scene = scene().await;
    let identities = Identities::start().await;
    let token = write(&scene.root().join("token"), "token");
    let file = write(&scene.root().join("credentials"), &profile("fixed", "AKIDFIXED"));
    let env = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", identities.url()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    let config = with(&scene.config(), AUDIT, "profile: fixed");
    let (agent, mut writer) = delivering(&scene, &config, &env).await;

    identities.away(true);
    scene.endpoint.revoke("AKID1");
    writer.lines(700);
    agent.line(|line| line.contains("destination_denied") && line.contains("ExpiredToken")).await;
    agent.line(|line| line.contains("destination_denied") && line.contains("Credentials")).await;
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 1000).await;
    scene.endpoint.look(|account| assert_eq!(account.stream(ARCHIVE).distinct(), 300));
    agent.kill().await;
    fs::remove_dir_all(scene.root().join("pods")).unwrap();

    // It starts with STS still away, and goes on by itself once STS is back.
    let agent = start(&scene, &config, &env);
    agent.line(|line| line.contains("destination_denied") && line.contains("Credentials")).await;
    identities.away(false);
    scene.endpoint.wait_until(|account| account.stream(ARCHIVE).distinct() == 1000).await;
    once_from_the_buffer(&scene, &writer);
    agent.terminate().await;
}

/// The SDK goes on with what the metadata service gave last when it does not answer; so the service refuses that too.
#[tokio::test]
async fn with_the_metadata_service_away_the_buffer_fills_and_it_goes_on_by_itself_when_it_is_back() {
    let scene = scene().await;
    let (identities, _) = short_lived(&scene).await;
    let file = write(&scene.root().join("credentials"), &profile("fixed", "AKIDFIXED"));
    let env = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", identities.url()),
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap()),
    ];
    let (agent, mut writer) = delivering(&scene, &with(&scene.config(), AUDIT, "profile: fixed"), &env).await;

    identities.away(true);
    let given: Vec<String> = identities.asked().into_iter().filter_map(|(_, key)| key).collect();
    given.iter().for_each(|key| scene.endpoint.revoke(key));
    let before = scene.endpoint.look(|account| account.stream(ARCHIVE).distinct());
    writer.lines(400);
    agent.line(|line| line.contains("destination_denied") && line.contains("Credentials")).await;
    // More is taken in while nobody gives credentials; the destination beside it shows when.
    for _ in 0..3 {
        writer.lines(200);
        scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == writer.written().len()).await;
        let kept = scene.in_buffer(ARCHIVE);
        let missing = writer.markers().skip(before).filter(|marker| !kept.contains(marker)).count();
        assert_eq!(missing, 0, "{} of {} lines are in the buffer", kept.len(), writer.written().len());
    }
    scene.endpoint.look(|account| assert_eq!(account.stream(ARCHIVE).distinct(), before));

    identities.away(false);
    arrived(&scene, &writer).await;
    let fresh = keys(&scene).into_iter().find(|key| key != "AKIDFIXED" && !given.contains(key));
    assert!(fresh.is_some(), "signed with what it gave when it was back");
    agent.terminate().await;
}

#[tokio::test]
async fn credentials_that_are_revoked_early_are_replaced_without_a_restart() {
    let scene = scene().await;
    let identities = Identities::start().await;
    let token = write(&scene.root().join("token"), "token");
    let env = [
        ("AWS_ROLE_ARN", ROLE),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
        ("AWS_ENDPOINT_URL_STS", identities.url()),
    ];
    let (agent, mut writer) = delivering(&scene, &scene.config(), &env).await;
    let first = keys(&scene);
    first.iter().for_each(|key| scene.endpoint.revoke(key));
    writer.lines(100);
    arrived(&scene, &writer).await;
    assert!(keys(&scene).len() > first.len());
    agent.terminate().await;
}

#[tokio::test]
async fn wrong_credentials_are_said_at_start_and_in_readiness_until_the_right_ones_are_there() {
    let scene = Scene::on(Endpoint::plain().access_key("AKIDRIGHT", "secret"))
        .await
        .destination("retry: {initial_backoff: 10ms, max_backoff: 50ms}")
        .setting("admin: {listen: '127.0.0.1:0'}");
    let wrong = profile("one", "AKIDWRONG") + &profile("two", "AKIDRIGHT");
    let file = write(&scene.root().join("credentials"), &wrong);
    let env = [("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap())];
    let config = with(&with(&scene.config(), ARCHIVE, "profile: one"), AUDIT, "profile: two");
    let agent = Agent::of(start(&scene, &config, &env));
    let told = agent.logged("\"preflight\"").await;
    assert!(told.contains(ARCHIVE) && told.contains("UnrecognizedClientException"), "{told}");
    until(async || agent.get("/readyz").await.1.contains("destination audit: fine")).await;
    // Before there is a line.
    let (code, text) = agent.get("/readyz").await;
    assert!(code == 503 && text.contains("problem: destination archive: denied"), "{code}: {text}");
    assert!(text.contains("UnrecognizedClientException"), "{text}");

    rotate(&file, &wrong.replace("AKIDWRONG", "AKIDRIGHT"));
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(100);
    scene.arrived(100).await;
    until(async || agent.get("/readyz").await.0 == 200).await;
    once(&scene, &writer.markers().collect::<Vec<_>>());
    agent.terminate().await;
}

#[tokio::test]
async fn a_role_that_may_not_be_assumed_is_told_with_what_sts_said_and_tried_until_it_may() {
    let scene = scene().await;
    let identities = Identities::start().await;
    identities.deny(true);
    let env = [
        ("AWS_ACCESS_KEY_ID", "AKIDBASE"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL_STS", identities.url()),
    ];
    let config = with(&scene.config(), ARCHIVE, &format!("role_arn: {ROLE}"));
    let agent = start(&scene, &config, &env);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(100);
    let told = agent.line(|line| line.contains("destination_denied")).await;
    assert!(told.contains("Not authorized to perform sts:AssumeRole"), "{told}");
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 100).await;
    identities.deny(false);
    arrived(&scene, &writer).await;
    agent.terminate().await;
}

#[tokio::test]
async fn without_dns_the_buffer_fills_and_goes_out_once_names_are_known() {
    let scene = scene().await;
    let env = [("AWS_ACCESS_KEY_ID", "AKIDBASE"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let endpoint = format!("endpoint: '{}'", scene.endpoint.url());
    let (archive, audit) =
        scene.config().split_once("  audit:\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let nowhere =
        format!("{}  audit:\n{audit}", archive.replace(&endpoint, "endpoint: 'http://nowhere.invalid'"));
    let agent = start(&scene, &nowhere, &env);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(500);
    let told = agent.line(|line| line.contains("destination_backing_off")).await;
    assert!(told.contains("dns error"), "{told}");
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 500).await;
    agent.kill().await;
    fs::remove_dir_all(scene.root().join("pods")).unwrap();
    let agent = start(&scene, &scene.config(), &env);
    scene.arrived(500).await;
    once_from_the_buffer(&scene, &writer);
    agent.terminate().await;
}
