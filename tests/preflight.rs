//! `kinetail check --online`, and the same at start: what would keep records from arriving is found before they wait.

mod support;

use std::fs;

use serde_json::json;
use support::clients::ACCESS_KEY;
use support::endpoint::{Endpoint, Settings, Stream};
use support::logs;
use support::moto::Moto;
use support::process::{Ended, Process, kinetail};
use support::scene::{ARCHIVE, AUDIT, Scene};

/// A folder with a configuration of two destinations.
struct Checked {
    folder: tempfile::TempDir,
    aws: String,
    env: Vec<(&'static str, String)>,
}

impl Checked {
    fn at(url: &str) -> Self {
        let aws = format!("region: us-east-1, endpoint: '{url}', request_timeout: 20s");
        Self { folder: tempfile::tempdir().expect("a folder"), aws, env: Vec::new() }
    }

    fn aws(mut self, more: &str) -> Self {
        self.aws += &format!(", {more}");
        self
    }

    fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// The exit code and what was said.
    async fn check(&self, flags: &[&str]) -> (i32, String) {
        self.check_with("", flags).await
    }

    async fn check_with(&self, audit: &str, flags: &[&str]) -> (i32, String) {
        let aws = &self.aws;
        let config = self.folder.path().join("k.yaml");
        let text = format!(
            "destinations:
  archive: {{type: firehose, stream: {ARCHIVE}, packing: newline, {aws}}}
  audit: {{type: kinesis, stream: {AUDIT}, aggregation: none, {aws}{audit}}}
  spare: {{type: directory, path: spare}}
routes: [{{files: /nowhere/*.log, to: [archive, audit, spare]}}]
"
        );
        fs::write(&config, text).expect("written");
        let mut command = kinetail(self.folder.path());
        command.envs(self.env.iter().map(|(name, value)| (*name, value)));
        command.args(["check", "--online", "--config"]).arg(config).args(flags);
        let Ended { status, lines } = Process::start(command).ended().await;
        (status.code().expect("it ended by itself"), lines.join("\n"))
    }
}

fn streams(settings: Settings) -> Settings {
    settings.stream(Stream::firehose(ARCHIVE)).stream(Stream::kinesis(AUDIT).shards(4))
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
}

#[tokio::test]
async fn all_is_good_and_a_test_record_arrives_where_it_was_asked_for() {
    let endpoint = streams(Endpoint::plain()).start().await;
    let checked = Checked::at(&endpoint.url());
    let (code, said) = checked.check(&[]).await;
    assert_eq!(code, 0, "{said}");
    says(
        &said,
        &[
            "archive (firehose archive)\n  ok       connection: the service answers in us-east-1\n  \
             ok       stream: the delivery stream is ACTIVE\n  ok       clock: agrees",
            "audit (kinesis audit)",
            "the data stream is ACTIVE, provisioned, with 4 open shards",
            "record size: 1MiB, as the stream's",
            "--send-test-record",
            "0 problems, 0 warnings",
        ],
    );
    endpoint.look(|account| assert!([ARCHIVE, AUDIT].iter().all(|stream| account.stream(stream).calls == 0)));

    let (code, said) = checked.check(&["--send-test-record"]).await;
    assert_eq!(code, 0, "{said}");
    says(&said, &["writing: the test record was taken"]);
    endpoint.look(|account| {
        for stream in [ARCHIVE, AUDIT] {
            let records: Vec<serde_json::Value> = account.stream(stream).json().collect();
            assert_eq!(records.len(), 1);
            assert_eq!(records[0]["destination"], stream);
        }
        assert!(account.stream(ARCHIVE).records()[0].data.ends_with(b"}\n"));
        assert!(account.stream(AUDIT).records()[0].data.ends_with(b"}"));
    });
}

#[tokio::test]
async fn where_records_are_compressed_the_test_record_is_too() {
    let endpoint = streams(Endpoint::plain()).start().await;
    let checked = Checked::at(&endpoint.url()).aws("compression: gzip");
    let (code, said) = checked.check(&["--send-test-record"]).await;
    assert_eq!(code, 0, "{said}");
    endpoint.look(|account| {
        for stream in [ARCHIVE, AUDIT] {
            assert!(account.stream(stream).records()[0].data.starts_with(&[0x1f, 0x8b]), "{stream}");
            let records: Vec<serde_json::Value> = account.stream(stream).json().collect();
            assert_eq!(records[0]["destination"], stream);
        }
    });
}

#[tokio::test]
async fn streams_that_do_not_fit_are_told_with_what_to_do() {
    let opensearch = json!([{"DestinationId": "1", "AmazonopensearchserviceDestinationDescription": {}}]);
    let archive = Stream::firehose(ARCHIVE)
        .described("Destinations", opensearch)
        .described("DeliveryStreamType", json!("KinesisStreamAsSource"));
    let audit =
        Stream::kinesis(AUDIT).max_record_size(512 << 10).described("StreamStatus", json!("DELETING"));
    let endpoint = Endpoint::plain().stream(archive).stream(audit).start().await;
    let (code, said) = Checked::at(&endpoint.url()).check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(
        &said,
        &[
            "PROBLEM  stream: the delivery stream takes its records from a source of its own (KinesisStreamAsSource)",
            "PROBLEM  packing: `packing: newline` puts many objects into a record, and Amazon OpenSearch Service takes \
             one\n           set `packing: none`",
            "PROBLEM  stream: the data stream is DELETING",
            "PROBLEM  record size: max_record_size is 1MiB, and the stream takes 512KiB\n           set max_record_size",
            "4 problems, 0 warnings",
        ],
    );
}

#[tokio::test]
async fn streams_that_are_not_there_are_named_with_region() {
    let endpoint = Endpoint::plain().start().await;
    let (code, said) = Checked::at(&endpoint.url()).check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(
        &said,
        &["there is no delivery stream archive in us-east-1", "there is no data stream audit", "create it"],
    );
}

#[tokio::test]
async fn who_may_not_look_is_warned_and_who_may_not_write_is_told() {
    let endpoint = streams(Endpoint::plain()).start().await;
    let archive = "arn:aws:firehose:us-east-1:123456789012:deliverystream/archive";
    endpoint.allow(
        ACCESS_KEY,
        json!({"Statement": [
            {"Effect": "Allow", "Action": ["firehose:PutRecordBatch"], "Resource": [archive]},
        ]}),
    );
    let checked = Checked::at(&endpoint.url());
    let (code, said) = checked.check(&[]).await;
    assert_eq!(code, 0, "{said}");
    says(
        &said,
        &[
            "warning  permission: not allowed",
            "allow firehose:DescribeDeliveryStream",
            "0 problems, 2 warnings",
        ],
    );
    let (code, said) = checked.check(&["--send-test-record"]).await;
    assert_eq!(code, 1, "{said}");
    says(
        &said,
        &["ok       writing", "PROBLEM  writing: not allowed", "allow kinesis:PutRecords", "1 problem,"],
    );
}

#[tokio::test]
async fn what_iam_policy_prints_is_all_that_the_preflight_needs_and_every_part_of_it_is_needed() {
    let endpoint = streams(Endpoint::plain()).start().await;
    let checked = Checked::at(&endpoint.url());
    checked.check(&[]).await;
    let mut command = kinetail(checked.folder.path());
    command.args(["iam-policy", "--account", "123456789012", "--config", "k.yaml"]);
    let printed = Process::start(command).ended().await;
    let policy: serde_json::Value = serde_json::from_str(&printed.lines.join("\n")).expect("a policy");
    endpoint.allow(ACCESS_KEY, policy.clone());
    let (code, said) = checked.check(&["--send-test-record"]).await;
    assert_eq!(code, 0, "{said}");
    says(&said, &["0 problems, 0 warnings"]);
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!(statements.len(), 4);
    for (left_out, statement) in statements.iter().enumerate() {
        let mut less = policy.clone();
        less["Statement"].as_array_mut().unwrap().remove(left_out);
        endpoint.allow(ACCESS_KEY, less);
        let (_, said) = checked.check(&["--send-test-record"]).await;
        let action = statement["Action"][0].as_str().unwrap();
        says(&said, &[&format!("allow {action};")]);
        assert_eq!(said.matches("not allowed: ").count(), 1, "{said}");
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_by_how_much() {
    let endpoint = streams(Endpoint::plain()).start().await;
    endpoint.date("Fri, 01 Jan 2010 00:00:00 GMT");
    let (code, said) = Checked::at(&endpoint.url()).check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  clock: this machine's clock is", "ahead of the service's", "chrony"]);
}

#[tokio::test]
async fn what_is_wrong_with_credentials_tls_and_the_network_is_told_with_the_remedy() {
    let endpoint = streams(Endpoint::plain()).access_key("AKIDOTHER", "secret").start().await;
    let (code, said) = Checked::at(&endpoint.url()).check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(
        &said,
        &["PROBLEM  credentials: UnrecognizedClientException", "the access key or its secret is wrong"],
    );

    let none = Checked::at(&endpoint.url()).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    let (code, said) = none.check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  credentials: ", "AWS_WEB_IDENTITY_TOKEN_FILE"]);

    let stranger = streams(Endpoint::tls()).start().await;
    let (code, said) = Checked::at(&stranger.url()).check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  TLS: ", "`ca_bundle` or AWS_CA_BUNDLE"]);

    let (code, said) = Checked::at(&stranger.url()).aws("ca_bundle: /nowhere/ca.pem").check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  TLS: the CA bundle \"/nowhere/ca.pem\" cannot be read"]);

    let bare =
        Checked::at(&stranger.url()).env("SSL_CERT_FILE", "/nowhere/ca.pem").env("SSL_CERT_DIR", "/nowhere");
    let (code, said) = bare.check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(
        &said,
        &[
            "PROBLEM  TLS: this host has no CA certificates (",
            "install the package ca-certificates, or set `ca_bundle`",
        ],
    );
    // Where there is no TLS, none are needed.
    let (code, said) = Checked { aws: Checked::at(&endpoint.url()).aws, ..bare }.check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  credentials: UnrecognizedClientException"]);

    let (code, said) = Checked::at(&stranger.url()).env("HTTPS_PROXY", "ftp://proxy").check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  proxy: HTTPS_PROXY: "]);

    let (code, said) = Checked::at("http://nowhere.invalid").check(&[]).await;
    assert_eq!(code, 1, "{said}");
    says(&said, &["PROBLEM  connection: ", "see that http://nowhere.invalid resolves"]);
}

#[tokio::test]
async fn a_fixed_key_on_many_shards_is_warned_of() {
    let endpoint = streams(Endpoint::plain()).start().await;
    let (code, said) = Checked::at(&endpoint.url()).check_with(", partition_key: one", &[]).await;
    assert_eq!(code, 0, "{said}");
    says(&said, &["warning  partition key: a fixed key puts everything into one of 4 shards"]);
}

#[tokio::test]
async fn moto_is_found_good_too_and_gets_the_test_record() {
    let Some(moto) = Moto::start().await else { return };
    moto.create_delivery_stream(ARCHIVE, "logs", "app/").await;
    moto.create_data_stream(AUDIT, 2).await;
    let (code, said) = Checked::at(moto.url()).check(&["--send-test-record"]).await;
    assert_eq!(code, 0, "{said}");
    says(&said, &["packing: fits Amazon S3", "with 2 open shards", "0 problems"]);
    assert_eq!(said.matches("the test record was taken").count(), 2, "{said}");
    assert_eq!(moto.objects("logs").await.len(), 1);
    assert_eq!(moto.records(AUDIT).await.len(), 1);
}

#[tokio::test]
async fn at_start_the_same_is_said_before_there_is_a_record_and_nothing_waits_for_it() {
    let scene = Scene::on(Endpoint::plain()).await.tail("rotate_wait: 100ms");
    // Looking at the data stream is denied, its records go through.
    let archive = "arn:aws:firehose:eu-central-1:123456789012:deliverystream/archive";
    let audit = "arn:aws:kinesis:eu-central-1:123456789012:stream/audit";
    scene.endpoint.allow(
        ACCESS_KEY,
        json!({"Statement": [
            {"Effect": "Allow", "Action": ["firehose:PutRecordBatch", "firehose:DescribeDeliveryStream"], "Resource": [archive]},
            {"Effect": "Allow", "Action": ["kinesis:PutRecords"], "Resource": [audit]},
        ]}),
    );
    scene.endpoint.date("Fri, 01 Jan 2010 00:00:00 GMT");
    let agent = scene.start().await;
    let told = agent.logged("kinesis:DescribeStreamSummary").await;
    assert!(told.contains("\"preflight\"") && told.contains("\"WARN\"") && told.contains(AUDIT), "{told}");
    agent.logged("this machine's clock is").await;
    let mut writer = logs::containers(&scene.root(), 1).remove(0);
    writer.lines(200);
    scene.arrived(200).await;
    agent.terminate().await;
}

#[tokio::test]
async fn wrong_credentials_are_said_at_start() {
    let endpoint = Endpoint::plain().access_key("AKIDOTHER", "secret");
    let scene = Scene::on(endpoint).await.setting("drain_timeout: 0s");
    let agent = scene.start().await;
    let told = agent.logged("\"preflight\"").await;
    assert!(told.contains("UnrecognizedClientException") && told.contains("access key"), "{told}");
    agent.terminate().await;
}
