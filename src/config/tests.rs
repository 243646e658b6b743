//! The configuration as a whole: text in, settings or messages out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::buffer::{QueueSettings, WhenFull};
use crate::decode::Format;
use crate::deliver::{Aggregation, Destination, Packing, PartitionKey};
use crate::process::{ParseJson, Step};
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

const PACKING: &str = "is missing; there is no default, because a wrong guess breaks what reads the records. \
    `packing: newline` puts many lines into a record, each ended by a newline: for S3, Redshift and Splunk, at a \
    small part of the cost, since every record is billed in steps of 5 KB. `packing: none` sends one line a \
    record: for OpenSearch, and for Lambda functions that expect one JSON object a record";

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
    files: ['/var/log/[a.log']
    to: [lake]
    format: 7
"#;
    let packing = format!("8:3: destinations.archive.packing: {PACKING}");
    let expected = [
        "2:1: data_dirr: unknown key; did you mean `data_dir`?; allowed here: data_dir, host, tail, buffer, \
         drain_timeout, admin, log, destinations, routes",
        r#"4:13: tail.max_line: "1 MegaByte" is not a size; write it like 512KiB, 64MiB or 4GiB"#,
        r#"5:10: tail.watch: "inotify" is not known here; allowed: auto, poll"#,
        "6:16: tail.rotate_wait: a time such as 500ms or 5s is needed here, not `5`",
        &packing,
        "10:13: destinations.archive.stream: \"app archive\" is not the name of a stream; AWS allows 1 to 64 of \
         A-Z a-z 0-9 _ . -",
        "11:31: destinations.archive.packed_record.max_size: \"2MiB\" is out of range; it must be 1KiB to \
         1000KiB (the service's limit for a record)",
        "12:26: destinations.archive.batch.max_records: `501` is out of range; it must be 1 to 500 (the \
         service's limit for a request)",
        "16:18: destinations.audit.aggregation: kpl is not available in this version; allowed: none, newline",
        "17:18: destinations.audit.external_id: is for assuming a role; say which by role_arn",
        "18:20: destinations.audit.partition_key: \"${kubernetes.pod_id}\" is a template; templates are not \
         available here in this version; write `random` or a fixed key",
        "20:11: destinations.lake.type: \"firehos\" is not known here; did you mean `firehose`?; allowed: \
         firehose, kinesis, directory",
        "21:13: destinations.lake.stream: the environment variable NOT_SET is not set; set it, or write \
         ${env:NOT_SET:-default}",
        r#"24:29: routes[0].files[1]: "var/log/x" is not an absolute path; begin it with a /"#,
        "25:10: routes[0].to[0]: there is no destination \"archiv\"; did you mean `archive`?; there are: \
         archive, audit, lake",
        "27:9: routes[0].process[0].prase: unknown key; did you mean `parse`?; allowed here: parse, add, \
         remove, rename",
        r#"28:16: routes[0].process[1].parse: "jsn" is not known here; did you mean `json`?; allowed: json"#,
        "29:14: routes[0].process[2].add: a map of keys and values is needed here, not a list",
        r#"30:11: routes[1].name: "a" is also the name of routes[0]; every route needs its own"#,
        "31:13: routes[1].files[0]: \"/var/log/[a.log\" is not a pattern: unclosed character class; missing ']'",
        "33:13: routes[1].format: `7` is not known here; allowed: plain, cri, docker",
    ];
    assert_eq!(messages(text), expected);
}

/// A good file with `more` at its end, so that one thing about it can be wrong.
fn with(more: &str) -> String {
    format!(
        "destinations: {{d: {{type: directory, path: out}}}}\nroutes: [{{files: /var/log/x, to: d}}]\n{more}\n"
    )
}

#[test]
fn what_is_missing_is_named() {
    let destinations = "1:1: destinations: is missing; name at least one place where records go, such as \
        `local: {type: directory, path: …}`";
    let routes =
        "1:1: routes: is missing; say which files go where, such as `- {files: /var/log/*.log, to: NAME}`";
    assert_eq!(messages(""), [destinations, routes]);
    assert_eq!(messages("# nothing\n"), [destinations, routes]);
    assert_eq!(
        messages("destinations: {}\nroutes: []\n"),
        [
            "1:15: destinations: is empty; name at least one place where records go",
            "2:9: routes: is empty; say which files go where"
        ]
    );
    assert_eq!(
        messages("destinations: {d: {type: directory}, e: {path: x}, f: }\nroutes: [{}]\n"),
        [
            "1:16: destinations.d.path: is missing; name the folder under which the files go",
            "1:38: destinations.e.type: is missing; allowed: firehose, kinesis, directory",
            "1:53: destinations.f: a map of keys and values is needed here, not nothing",
            "2:10: routes[0].files: is missing; say which files this route takes, such as `files: /var/log/*.log`",
            "2:10: routes[0].to: is missing; name one or more of the destinations, such as `to: [NAME]`",
        ]
    );
}

#[test]
fn syntax_errors_have_a_place() {
    for (text, place) in [
        ("a: [1, 2\nb: 3\n", "2:2:"),
        ("a: b\n\tc: d\n", "1:4:"),
        ("a: \"x\n", "1:4:"),
        ("a: b: c\n", "1:"),
        ("a: *b\n", "1:"),
        ("a: 1\n---\nb: 2\n", "3:"),
        ("? [a]\n: b\n", "1:3:"),
    ] {
        let errors = messages(text);
        assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
        assert!(errors[0].starts_with(place), "{text:?}: {errors:?}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    assert_eq!(
        messages(&with("tail:\n  watch: poll\n  watch: auto")),
        ["5:3: tail.watch: the key is there twice, first in line 4; keep one"]
    );
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
    assert_eq!(
        (b.stream.as_str(), b.aws.region.as_deref()),
        ("b", Some("eu-west-1"))
    );
    assert_eq!(
        (b.batch.max_records, b.batch.max_age),
        (9, Duration::from_secs(5))
    );
}

#[test]
fn aliases_cannot_grow_without_end() {
    let mut text = "a: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        text.push_str(&format!("b{level}: &a{level} [{before}]\n"));
    }
    assert!(messages(&text)[0].contains("aliases included"));
}

#[test]
fn nesting_cannot_go_on_without_end() {
    assert_eq!(messages(&"[".repeat(10_000)).len(), 1);
    assert!(messages(&"- ".repeat(10_000))[0].contains("deeper than"));
    assert!(messages(&"[".repeat(100))[0].contains("deeper than"));
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
        [Step::Add(vec![
            ("trap".to_owned(), "[a, b] # {c: d}".into()),
            ("five".to_owned(), "5".into()),
            ("six".to_owned(), 6.into()),
            ("price".to_owned(), "5$".into()),
        ])]
    );
}

#[test]
fn an_empty_section_is_as_good_as_none() {
    let config = good(&with("tail:\nbuffer: {}\nadmin:\nlog:\n  level:"));
    assert_eq!(config.tail, crate::tail::TailSettings::default());
    assert_eq!(config.admin, None);
    assert!(good(&with("admin: {}")).admin.is_some());
}

#[test]
fn a_number_where_text_is_needed_is_told_to_be_quoted() {
    assert_eq!(
        messages(&with("host: 815")),
        ["3:7: host: a text is needed here, not `815`; if it is meant as text, put it in quotes"]
    );
    assert_eq!(good(&with("host: '0815'")).host.as_deref(), Some("0815"));
}

#[test]
fn a_size_may_be_a_number_of_bytes() {
    assert_eq!(
        good(&with("tail: {max_line: 4096}")).tail.max_line,
        ByteSize(4096)
    );
    assert_eq!(
        messages(&with("tail: {max_line: 4}")),
        ["3:18: tail.max_line: `4` is out of range; it must be 64B to 64MiB"]
    );
    assert_eq!(
        messages(&with("tail: {max_line: -4}")),
        ["3:18: tail.max_line: a size such as 512KiB or 64MiB is needed here, not `-4`"]
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    for (text, message) in [
        (
            with("buffer: {chunk_size: 1GiB}"),
            "1:19: destinations.d: its buffer's max_size of 1GiB is less than two chunks of 1GiB; raise it, or lower \
             buffer.chunk_size",
        ),
        (
            "destinations: {d: {type: firehose, stream: s, packing: none, packed_record: {max_lines: 3}}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:77: destinations.d.packed_record: has no meaning with `packing: none`, which sends one line a \
             record; leave it out",
        ),
        (
            "destinations: {d: {type: kinesis, stream: s, aggregation: newline, max_record_size: 32KiB}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:19: destinations.d: aggregated_record.max_size (50KiB) is more than max_record_size (32KiB)",
        ),
        (
            "destinations: {d: {type: kinesis, stream: s, aggregation: none, retry: {initial_backoff: 1m}}}
routes: [{files: /x, to: [d, d]}]"
                .to_owned(),
            "1:72: destinations.d.retry: initial_backoff is longer than max_backoff\n\
             2:30: routes[0].to[1]: \"d\" is there twice; keep one",
        ),
        (
            "destinations: {'a/b': {type: directory, path: x}}\nroutes: [{files: [], to: []}]".to_owned(),
            "1:16: destinations.\"a/b\": \"a/b\" is no name; use 1 to 64 of A-Z a-z 0-9 _ . -\n\
             2:18: routes[0].files: is empty; name at least one pattern\n\
             2:26: routes[0].to: is empty; name at least one destination",
        ),
        (
            "destinations: {d: {type: directory, path: x}}
routes: [{files: /x, to: d, process: [{add: {}}, {rename: {a: a}}, {remove: [a..b]}, {}, {add: {}, remove: x}, parse]}]"
                .to_owned(),
            "2:45: routes[0].process[0].add: is empty; name at least one field, or leave the step out\n\
             2:63: routes[0].process[1].rename.a: is renamed to itself; leave it out\n\
             2:78: routes[0].process[2].remove[0]: \"a..b\" is not the name of a field; write it like level or http.status\n\
             2:86: routes[0].process[3]: is empty; allowed: parse, add, remove, rename\n\
             2:90: routes[0].process[4]: has 2 keys and must have one; write each as an item of its own, with a dash\n\
             2:112: routes[0].process[5]: `parse: …` or `add: …` or `remove: …` or `rename: …` is needed here, not \"parse\"",
        ),
    ] {
        assert_eq!(messages(&text).join("\n"), message, "{text}");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "
buffer: {max_size: 2GiB}
destinations:
  d: {type: directory, path: x}
  e: {type: directory, path: y, buffer: {max_size: 3GiB}}
routes:
  - {files: /x, to: d}
  - {files: [/y, /x], to: d}
";
    let loaded = read(text).expect("a good configuration");
    let warnings: Vec<String> = loaded.warnings.iter().map(Diagnostic::to_string).collect();
    assert_eq!(
        warnings,
        [
            "k.yaml:5:3: destinations.e: no route sends anything here; add it to a route's `to`, or remove it",
            "k.yaml:5:52: destinations.e.buffer.max_size: is never reached: all buffers together may take 2GiB \
             (buffer.max_size)",
            "k.yaml:8:18: routes[1].files[1]: takes nothing: routes[0] has the same pattern and comes first",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_said_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none.yaml");
    let errors = load(&path).expect_err("there is no such file").to_string();
    assert!(
        errors.starts_with(&format!("{}: cannot be read: ", path.display())),
        "{errors}"
    );
    std::fs::write(&path, b"a: 1\nb: \xff\n").expect("written");
    let errors = load(&path).expect_err("not UTF-8").to_string();
    assert!(errors.ends_with("the first wrong byte is in line 2"), "{errors}");
}

/// What the reader of marks makes of a file is what serde_yaml makes of it.
#[test]
fn values_are_those_that_serde_yaml_reads() {
    fn value(node: &document::Node) -> serde_yaml::Value {
        match &node.kind {
            document::Kind::List(items) => items.iter().map(value).collect(),
            document::Kind::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (entry.key.as_str().into(), value(&entry.node)));
                serde_yaml::Value::Mapping(pairs.collect())
            }
            _ => node.scalar().expect("a scalar"),
        }
    }
    let odd = "a: [1, -2, 0x1f, 0o17, 1.5, 1e3, 007, yes, True, false, ~, null, '', \"x\\ny\", 2024-01-01, 1_000, +5]
b: |
  two
  lines
c: >-
  folded
  text
d: plain text
  over lines
e: {x: 18446744073709551615, y: -9223372036854775808, z: .5, w: 1., v: 0b11, u: +.5}
";
    for text in examples()
        .into_iter()
        .map(|(_, text)| text)
        .chain([DESIGN.to_owned(), odd.to_owned()])
    {
        let mut findings = Findings::new("k.yaml");
        let node = document::read(&text, &mut findings).expect("YAML");
        let mut read: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
        read.apply_merge().expect("merge keys of maps");
        assert_eq!(value(&node), read);
    }
}

/// An example that shows a part, with the rest that a file needs.
fn completed(part: &str) -> String {
    let mut text = part.to_owned();
    if !part.contains("destinations:") {
        text.push_str("destinations: {archive: {type: directory, path: out}}\n");
    }
    if !part.contains("routes:") {
        let value: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
        let names = value["destinations"].as_mapping().expect("a map").keys();
        let names: Vec<&str> = names.filter_map(serde_yaml::Value::as_str).collect();
        text.push_str(&format!(
            "routes: [{{files: /var/log/x, to: [{}]}}]\n",
            names.join(", ")
        ));
    }
    text
}

/// The files under `config/` and the examples of the reference.
fn examples() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut examples: Vec<(PathBuf, String)> = ["kinetail.yaml", "local.yaml"]
        .into_iter()
        .map(|name| root.join("config").join(name))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a file of the repository");
            (path, text)
        })
        .collect();
    let reference = root.join("docs/configuration.md");
    let text = std::fs::read_to_string(&reference).expect("a file of the repository");
    for block in text.split("```yaml\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        examples.push((reference.clone(), completed(block)));
    }
    examples
}

#[test]
fn every_example_passes() {
    let examples = examples();
    assert!(examples.len() > 10, "the reference has examples");
    for (path, text) in examples {
        let loaded = parse(&text, &path.display().to_string(), &|_| None);
        match loaded {
            Ok(loaded) => assert!(loaded.warnings.is_empty(), "{}", loaded.warnings),
            Err(errors) => panic!("{errors}\n{text}"),
        }
    }
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "destinations",
        "routes",
        "type",
        "firehose",
        "kinesis",
        "directory",
        "files",
        "to",
        "tail",
        "process",
        "parse",
        "json",
        "add",
        "rename",
        "remove",
        "max_size",
        "buffer",
        "a",
        "1",
        "-1",
        "1.5",
        "true",
        "null",
        "~",
        "''",
        "\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        "- ",
        "-",
        "\n",
        "\n  ",
        "\n    ",
        "&a",
        "*a",
        "<<",
        "<<: *a",
        "!t",
        "!!str",
        "|",
        ">",
        "#",
        "?",
        ",",
        "${env:X}",
        "$",
        "${",
        "---",
        "...",
        "%",
        "\t",
        "\r\n",
        "\u{feff}",
        "\u{0}",
        "ä",
        "64MiB",
        "5s",
    ];
    prop_oneof![
        proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        ".{0,4}"
    ]
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(.|\n){0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mixture_of_yaml_makes_it_panic(words in proptest::collection::vec(word(), 0..60)) {
        let _ = read(&words.concat());
    }

    #[test]
    fn a_good_file_with_a_word_replaced_never_panics(at in 0usize..60, with in word()) {
        let mut words: Vec<&str> = DESIGN.split_inclusive(' ').collect();
        let at = at % words.len();
        words[at] = &with;
        let _ = read(&words.concat());
    }
}
