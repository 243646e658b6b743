//! The ways to AWS: proxies, CA bundles, IPv6, connections that are kept, and what AWS must allow.

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::clients::ACCESS_KEY;
use support::endpoint::{Endpoint, Settings};
use support::identity::Identities;
use support::logs;
use support::process::{Process, kinetail};
use support::proxy::Proxy;
use support::scene::{ARCHIVE, AUDIT, Scene};
use tokio::process::Command;

const QUICKLY: &str = "retry: {initial_backoff: 10ms, max_backoff: 50ms}";

async fn scene(endpoint: Settings) -> Scene {
    Scene::on(endpoint).await.tail("rotate_wait: 100ms").destination(QUICKLY)
}

/// Delivers some lines with this configuration and environment, each once.
async fn deliver(scene: &Scene, config: &str, env: &[(&str, &str)]) {
    let path = scene.root().join("kinetail.yaml");
    fs::write(&path, config).expect("written");
    let mut command = kinetail(&scene.root());
    command.envs(env.iter().copied()).args(["run", "--once", "--config"]).arg(path);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(500);
    let ended = Process::start(command).ended().await;
    assert!(ended.status.success(), "{}", ended.lines.join("\n"));
    scene.exactly_once(&[&writer]).await;
}

#[tokio::test]
async fn records_go_through_the_proxy_and_past_it_where_no_proxy_says_so() {
    let proxy = Proxy::start().await;
    for (no_proxy, through) in [("", true), ("example.com,127.0.0.1", false)] {
        let scene = scene(Endpoint::tls()).await;
        let before = proxy.asked().len();
        deliver(&scene, &scene.config(), &[("HTTPS_PROXY", proxy.url()), ("NO_PROXY", no_proxy)]).await;
        let asked = proxy.asked().split_off(before);
        assert_eq!(!asked.is_empty(), through, "{asked:?}");
        assert!(asked.iter().all(|host| *host == scene.endpoint.address().to_string()), "{asked:?}");
    }
}

#[tokio::test]
async fn the_variable_for_the_ca_bundle_is_heeded() {
    let scene = scene(Endpoint::tls()).await;
    let bundle = scene.endpoint.ca_bundle().to_str().unwrap().to_owned();
    let config = scene.config().replace(&format!("ca_bundle: '{bundle}'"), "");
    assert!(!config.contains("ca_bundle"));
    deliver(&scene, &config, &[("AWS_CA_BUNDLE", &bundle)]).await;
}

/// As in an image without them.
#[tokio::test]
async fn without_ca_certificates_the_start_says_what_to_install_and_records_wait() {
    let scene = scene(Endpoint::tls()).await.setting("drain_timeout: 0s");
    let bundle = scene.endpoint.ca_bundle().to_str().unwrap().to_owned();
    let path = scene.root().join("kinetail.yaml");
    fs::write(&path, scene.config().replace(&format!("ca_bundle: '{bundle}'"), "")).expect("written");
    // Where the system's certificates are looked for.
    let system = scene.root().join("certificates.pem");
    let mut command = kinetail(&scene.root());
    command.env("SSL_CERT_FILE", &system).args(["run", "--config"]).arg(&path);
    let agent = Process::start(command);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(200);
    for event in ["\"preflight\"", "\"destination_denied\""] {
        let told = agent.line(|line| line.contains(event)).await;
        for part in ["this host has no CA certificates", "ca-certificates", "`ca_bundle`"] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }
    assert!(agent.lines().iter().all(|line| !line.contains("panic")), "{agent}");
    // They are installed, and it goes on by itself.
    fs::copy(&bundle, &system).expect("copied");
    scene.exactly_once(&[&writer]).await;
    agent.terminate().await;
}

#[tokio::test]
async fn records_go_out_over_ipv6() {
    let scene = scene(Endpoint::plain().ipv6()).await;
    assert!(scene.endpoint.url().starts_with("http://[::1]:"));
    deliver(&scene, &scene.config(), &[]).await;
}

/// The binary with a file of the test's for its `/etc/hosts`. None where the system does not let it have one.
async fn with_hosts(hosts: &Path, arguments: &[&str]) -> Option<Command> {
    let script = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", hosts.display());
    let own = |dir: &Path| {
        let environment = kinetail(dir);
        let mut command = Command::new("unshare");
        let variables = environment.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(variables).current_dir(dir);
        command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
        command
    };
    let dir = hosts.parent().expect("a folder");
    let tried = own(dir).arg("true").output().await;
    if let Some(why) = match tried {
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    } {
        assert!(std::env::var_os("CI").is_none(), "CI must let a process have mounts of its own: {why}");
        eprintln!("skipped, as a process may not have mounts of its own: {why}");
        return None;
    }
    let mut command = own(dir);
    command.arg(env!("CARGO_BIN_EXE_kinetail")).args(arguments);
    Some(command)
}

/// Names go away while it runs, and its connections with them; the destination beside it is named by its address.
#[tokio::test]
async fn with_dns_away_in_the_middle_of_a_run_the_buffer_fills_and_it_goes_on_by_itself_when_it_is_back() {
    let scene = scene(Endpoint::plain()).await;
    let hosts = scene.root().join("hosts");
    let known = "127.0.0.1 localhost\n127.0.0.1 firehose.invalid\n";
    fs::write(&hosts, known).expect("written");
    let (archive, rest) =
        scene.config().split_once("  audit:\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let config =
        format!("{}  audit:\n{rest}", archive.replace("http://127.0.0.1", "http://firehose.invalid"));
    let path = scene.root().join("kinetail.yaml");
    fs::write(&path, config).expect("written");
    let Some(mut command) = with_hosts(&hosts, &["run", "--config", "kinetail.yaml"]).await else { return };
    command.env("KINETAIL_LOG", "kinetail=debug");
    let agent = Process::start(command);
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(300);
    scene.arrived(300).await;

    fs::write(&hosts, "127.0.0.1 localhost\n").expect("written");
    scene.endpoint.outage(true);
    writer.lines(300);
    agent.line(|line| line.contains("destination_backing_off")).await;
    scene.endpoint.outage(false);
    agent.line(|line| line.contains("records_failed") && line.contains("dns error")).await;
    writer.lines(300);
    scene.endpoint.wait_until(|account| account.stream(AUDIT).distinct() == 900).await;
    scene.endpoint.look(|account| assert_eq!(account.stream(ARCHIVE).distinct(), 300));
    let kept = scene.in_buffer(ARCHIVE);
    assert!(writer.markers().skip(300).all(|marker| kept.contains(&marker)), "{} lines", kept.len());

    fs::write(&hosts, known).expect("written");
    scene.arrived(900).await;
    scene.endpoint.look(|account| {
        for stream in [ARCHIVE, AUDIT] {
            // An answer that was on its way when the connections were cut brings copies.
            account.stream(stream).assert_at_least_once(writer.markers());
        }
    });
    agent.terminate().await;
}

#[tokio::test]
async fn connections_are_kept_from_request_to_request() {
    let scene = scene(Endpoint::tls()).await.batch("max_age: 50ms, max_records: 2");
    deliver(&scene, &scene.config(), &[]).await;
    scene.endpoint.look(|account| {
        let calls = account.stream(ARCHIVE).calls + account.stream(AUDIT).calls;
        // Four requests of each destination may be under way at once, and the preflight's; each needs a connection.
        assert!(
            calls > 200 && account.connections <= 10,
            "{calls} calls on {} connections",
            account.connections
        );
    });
}

fn policy(scene: &Scene, arguments: &[&str]) -> Value {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kinetail"));
    let path = scene.root().join("kinetail.yaml");
    command.args(["iam-policy", "--account", "123456789012", "--config"]).arg(path).args(arguments);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a policy")
}

#[tokio::test]
async fn what_iam_policy_prints_is_enough_and_no_more_than_needed() {
    let scene = scene(Endpoint::plain()).await;
    fs::write(scene.root().join("kinetail.yaml"), scene.config()).unwrap();
    scene.endpoint.allow(ACCESS_KEY, policy(&scene, &[]));
    deliver(&scene, &scene.config(), &[]).await;

    // What delivers is less; without any one of its statements a destination gets nothing.
    let policy = policy(&scene, &["--without-preflight"]);
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 2);
    for (left_out, statement) in statements.iter().enumerate() {
        let scene = self::scene(Endpoint::plain()).await.setting("drain_timeout: 0s");
        let mut less = policy.clone();
        less["Statement"].as_array_mut().unwrap().remove(left_out);
        scene.endpoint.allow(ACCESS_KEY, less);
        let agent = scene.start().await;
        logs::containers(&scene.root(), 1).remove(0).lines(10);
        let action = statement["Action"][0].as_str().unwrap();
        agent.logged(&format!("is not authorized to perform: {action}")).await;
        agent.terminate().await;
    }
}

#[tokio::test]
async fn a_role_needs_its_own_policy_and_kinetail_only_to_assume_it() {
    let scene = scene(Endpoint::plain()).await;
    let identities = Identities::start().await;
    let role = "arn:aws:iam::123456789012:role/logs";
    let head = format!("  {ARCHIVE}:\n");
    let config = scene.config().replace(&head, &format!("{head}    role_arn: '{role}'\n"));
    fs::write(scene.root().join("kinetail.yaml"), &config).unwrap();
    let own = policy(&scene, &[]);
    assert!(
        own.to_string().contains(&format!(r#""Action":["sts:AssumeRole"],"Resource":["{role}"]"#)),
        "{own}"
    );
    scene.endpoint.allow(ACCESS_KEY, own);
    scene.endpoint.allow("AKID1", policy(&scene, &["--identity", role]));
    deliver(&scene, &config, &[("AWS_ENDPOINT_URL_STS", identities.url())]).await;
}
