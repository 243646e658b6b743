//! The configuration as a whole: text in, settings or messages out.

mod examples;
mod hostile;
mod journal;
mod mistakes;
mod routing;
mod steps;

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::buffer::{Durability, QueueSettings, WhenFull};
use crate::decode::Format;
use crate::deliver::{Aggregation, Destination, Packing, PartitionKey};
use crate::process::{Action, Parse, Parser};
use crate::tail::StartAt;
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
    errors.iter().map(|error| error.to_string().replacen("k.yaml:", "", 1)).collect()
}

/// A good file with `more` at its end, so that one thing about it can be wrong.
fn with(more: &str) -> String {
    format!(
        "destinations: {{d: {{type: directory, path: out}}}}\nroutes: [{{files: /var/log/x, to: d}}]\n{more}\n"
    )
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
        QueueSettings { max_size: ByteSize(4 << 30), when_full: WhenFull::DropOldest }
    );
    let Destination::Kinesis(kinesis) = &config.destinations[0].to else {
        panic!("a data stream");
    };
    assert_eq!(kinesis.partition_key, PartitionKey::Fixed("all".to_owned()));
    assert_eq!(kinesis.aggregation, Aggregation::Newline { max_size: ByteSize(51_200) });
    assert_eq!(kinesis.batch.max_age, Duration::from_millis(100));
    let Destination::Firehose(firehose) = &config.destinations[1].to else {
        panic!("a delivery stream");
    };
    let packing = Packing::Newline { max_size: ByteSize(1_024_000), max_lines: 500 };
    assert_eq!(firehose.packing, packing);
    assert_eq!(firehose.batch.target_size, ByteSize(1 << 20));
    let [payments, nginx] = &config.routes[..] else {
        panic!("two routes");
    };
    assert_eq!(payments.decoding.format, Format::Cri);
    assert_eq!(payments.start_at, StartAt::End);
    assert_eq!(
        payments.process,
        [
            Action::Parse(Parse::with(Parser::Json)).into(),
            Action::Parse(Parse {
                under: Some("app".to_owned()),
                keep_original: true,
                ..Parse::with(Parser::Json)
            })
            .into(),
            Action::Add(vec![
                ("cluster".to_owned(), "prod".into()),
                ("shard".to_owned(), 7.into()),
                ("hot".to_owned(), true.into()),
                ("none".to_owned(), serde_json::Value::Null),
            ])
            .into(),
            Action::Remove(vec!["secret".to_owned()]).into(),
            Action::Rename([("msg".to_owned(), "message".to_owned())].into()).into(),
        ]
    );
    assert_eq!(nginx.name.as_str(), "route-2");
    assert_eq!(nginx.start_at, StartAt::Beginning);
    assert!(nginx.takes(Path::new("/var/log/nginx/access.log")));
}

#[test]
fn anchors_and_merge_keys_save_writing_the_same_twice() {
    let config = good(
        "destinations:
  a: &a {type: kinesis, stream: a, aggregation: none, region: eu-west-1, batch: &batch {max_age: 5s}}
  b: {<<: *a, stream: b, batch: {<<: [*batch], max_records: 9}}
routes: [{files: /var/log/x, to: [a, b]}]
",
    );
    let Destination::Kinesis(b) = &config.destinations[1].to else {
        panic!("a data stream");
    };
    assert_eq!((b.stream.as_str(), b.aws.region.as_deref()), ("b", Some("eu-west-1")));
    assert_eq!((b.batch.max_records, b.batch.max_age), (9, Duration::from_secs(5)));
}

#[test]
fn a_variable_can_be_a_number_and_never_more_than_a_scalar() {
    let text = "
destinations:
  d: {type: kinesis, stream: s, aggregation: none, region: '${env:REGION}', batch: {max_records: ${env:RECORDS}}}
routes:
  - {files: /x, to: d, process: [{add: {trap: ${env:TRAP}, five: '${env:FIVE:-5}', six: ${env:SIX:-6}}}]}
";
    // Inside a flow map a brace ends a plain scalar: variables are quoted there, or the map is a block.
    assert!(messages(text)[0].contains("not YAML"));
    let text = "
destinations:
  d:
    type: kinesis
    stream: s
    aggregation: none
    region: ${env:REGION}
    profile: ${env:NONE:-}
    batch:
      max_records: ${env:RECORDS}
routes:
  - files: /x
    to: d
    process:
      - add:
          trap: ${env:TRAP}
          five: '${env:FIVE:-5}'
          six: ${env:SIX:-6}
          price: 5$$
";
    let config = good(text);
    let Destination::Kinesis(d) = &config.destinations[0].to else {
        panic!("a data stream");
    };
    assert_eq!(d.batch.max_records, 250);
    assert_eq!(d.aws.region.as_deref(), Some("eu-central-1"));
    assert_eq!(d.aws.profile, None);
    assert_eq!(
        config.routes[0].process,
        [Action::Add(vec![
            ("trap".to_owned(), "[a, b] # {c: d}".into()),
            ("five".to_owned(), "5".into()),
            ("six".to_owned(), 6.into()),
            ("price".to_owned(), "5$".into()),
        ])
        .into()]
    );
}

#[test]
fn an_empty_section_is_as_good_as_none() {
    let config = good(&with("tail:\nbuffer: {}\nadmin:\nlog:\n  level:"));
    assert_eq!(config.tail, crate::tail::TailSettings::default());
    assert_eq!(config.admin, None);
    assert_eq!(good(&with("admin: {}")).admin, Some(AdminSettings::default()));
    assert_eq!(config.cloudwatch, None);
    assert_eq!(good(&with("cloudwatch:")).cloudwatch, None);
    let cloudwatch = good(&with("cloudwatch: {}")).cloudwatch.expect("it is there");
    assert_eq!((cloudwatch.namespace.as_str(), cloudwatch.interval.as_secs()), ("kinetail", 60));
    assert!(cloudwatch.agent_metrics && cloudwatch.dimensions.is_empty());
    assert!(cloudwatch.metrics.iter().any(|it| it.matches("kinetail_lag_seconds")));
}

#[test]
fn buffers_are_synced_when_it_is_said() {
    let sync = |said: &str| good(&with(&format!("buffer: {{sync: {said}}}"))).buffer.sync;
    assert_eq!(sync("always"), Durability::Always);
    assert_eq!(sync("never"), Durability::Never);
    assert_eq!(sync("{every: 250ms}"), Durability::Every(Duration::from_millis(250)));
    assert_eq!(good(&with("")).buffer.sync, Durability::Every(Duration::from_secs(1)));
    for (said, refused) in
        [("sometimes", "always"), ("{every: 1ms}", "10ms to 5m"), ("{}", "every"), ("1s", "always")]
    {
        let messages = messages(&with(&format!("buffer: {{sync: {said}}}")));
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(messages[0].contains("buffer.sync") && messages[0].contains(refused), "{messages:?}");
    }
}

#[test]
fn a_size_may_be_a_number_of_bytes() {
    assert_eq!(good(&with("tail: {max_line: 4096}")).tail.max_line, ByteSize(4096));
    assert_eq!(
        messages(&with("tail: {max_line: 4}")),
        ["3:18: tail.max_line: `4` is out of range; it must be 64B to 64MiB"]
    );
    assert_eq!(
        messages(&with("tail: {max_line: -4}")),
        ["3:18: tail.max_line: a size such as 512KiB or 64MiB is needed here, not `-4`"]
    );
}
