//! The configuration as a whole: text in, settings or messages out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::buffer::{QueueSettings, WhenFull};
use crate::decode::Format;
use crate::deliver::{Aggregation, Destination, Packing, PartitionKey};
use crate::process::{ParseJson, Step};
use crate::tail::{StartAt, Watch};
use crate::units::ByteSize;

fn read(text: &str) -> Result<Loaded, Diagnostics> {
    parse(text, "k.yaml", &|name| match name {
        "REGION" => Some("eu-central-1".to_owned()),
        "RECORDS" => Some("250".to_owned()),
        "TRAP" => Some("[a, b] # {c: d}".to_owned()),
        _ => None,
    })
}

#[track_caller]
fn good(text: &str) -> Config {
    match read(text) {
        Ok(loaded) => loaded.config,
        Err(errors) => panic!("refused:\n{errors}"),
    }
}

/// The messages without the file's name.
fn messages(text: &str) -> Vec<String> {
    let errors = read(text).err().unwrap_or_default();
    errors
        .iter()
        .map(|error| error.to_string().replacen("k.yaml:", "", 1))
        .collect()
}

const DESIGN: &str = r#"
destinations:
  audit:
    type: kinesis
    stream: audit-events
    region: eu-central-1
    partition_key: all
    aggregation: newline
    buffer: {max_size: 4GiB, when_full: drop_oldest}
  archive:
    type: firehose
    stream: app-archive
    packing: newline

routes:
  - name: payments
    files: [/var/log/pods/payments_*/*/*.log]
    format: cri
    process:
      - parse: json
      - parse: {json: {under: app, keep_original: true}}
      - add: {cluster: prod, shard: 7, hot: true, none: null}
      - remove: secret
      - rename: {msg: message}
    to: [audit, archive]
  - files: /var/log/nginx/access.log
    start_at: beginning
    to: archive
"#;

#[test]
fn what_is_written_becomes_settings() {
    let config = good(DESIGN);
    assert_eq!(config.data_dir, Path::new("/var/lib/kinetail"));
    assert_eq!(config.drain_timeout, Duration::from_secs(20));
    assert_eq!(config.tail, crate::tail::TailSettings::default());
    assert_eq!(config.buffer, crate::buffer::BufferSettings::default());
    assert_eq!(config.admin, None);
    let names: Vec<&str> = config.destinations.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["audit", "archive"]);
    assert_eq!(
        config.destinations[0].queue,
        QueueSettings {
            max_size: ByteSize(4 << 30),
            when_full: WhenFull::DropOldest
        }
    );
    let Destination::Kinesis(kinesis) = &config.destinations[0].to else {
        panic!("a data stream");
    };
    assert_eq!(kinesis.partition_key, PartitionKey::Fixed("all".to_owned()));
    assert_eq!(
        kinesis.aggregation,
        Aggregation::Newline {
            max_size: ByteSize(51_200)
        }
    );
    assert_eq!(kinesis.batch.max_age, Duration::from_millis(100));
    let Destination::Firehose(firehose) = &config.destinations[1].to else {
        panic!("a delivery stream");
    };
    let packing = Packing::Newline {
        max_size: ByteSize(1_024_000),
        max_lines: 500,
    };
    assert_eq!(firehose.packing, packing);
    assert_eq!(firehose.batch.target_size, ByteSize(4 << 20));
    let [payments, nginx] = &config.routes[..] else {
        panic!("two routes");
    };
    assert_eq!(payments.format, Format::Cri);
    assert_eq!(payments.start_at, StartAt::End);
    assert_eq!(
        payments.process,
        [
            Step::ParseJson(ParseJson::default()),
            Step::ParseJson(ParseJson {
                under: Some("app".to_owned()),
                keep_original: true
            }),
            Step::Add(vec![
                ("cluster".to_owned(), "prod".into()),
                ("shard".to_owned(), 7.into()),
                ("hot".to_owned(), true.into()),
                ("none".to_owned(), serde_json::Value::Null),
            ]),
            Step::Remove(vec!["secret".to_owned()]),
            Step::Rename([("msg".to_owned(), "message".to_owned())].into()),
        ]
    );
    assert_eq!(nginx.name.as_str(), "route-2");
    assert_eq!(nginx.start_at, StartAt::Beginning);
    assert!(nginx.takes(Path::new("/var/log/nginx/access.log")));
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = r#"
data_dirr: /tmp/x
tail:
  max_line: 1 MegaByte
  watch: inotify
  rotate_wait: 5
destinations:
  archive:
    type: firehose
    stream: app archive
    packed_record: {max_size: 2MiB}
    batch: {max_records: 501}
  audit:
    type: kinesis
    stream: audit
    aggregation: kpl
    external_id: abc
    partition_key: "${kubernetes.pod_id}"
  lake:
    type: firehos
    stream: ${env:NOT_SET}
routes:
  - name: a
    files: [/var/log/*.log, var/log/x]
    to: [archiv]
    process:
      - prase: json
      - parse: jsn
      - add: [a]
  - name: a
    files: [/var/log/[a.log]
    to: [lake]
    format: 7
"#;
    let expected = [
        "2:1: data_dirr: unknown key; did you mean `data_dir`?; allowed here: data_dir, host, tail, buffer, \
         drain_timeout, admin, log, destinations, routes",
    ];
    assert_eq!(messages(text), expected);
}
