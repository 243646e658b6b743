//! What is wrong is told: all of it, where it is, and how to mend it.

use super::*;

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
    aggregation: protobuf
    external_id: abc
    partition_key: "${kubernetes.pod_id"
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
        "2:1: data_dirr: unknown key; did you mean `data_dir`?; allowed here: data_dir, watch_config, host, tail, buffer, \
         drain_timeout, admin, cloudwatch, log, kubernetes, record, destinations, routes, tests",
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
        "16:18: destinations.audit.aggregation: \"protobuf\" is not known here; allowed: none, kpl, newline",
        "17:18: destinations.audit.external_id: is for assuming a role; say which by role_arn",
        "18:20: destinations.audit.partition_key: \"${kubernetes.pod_id\" has a ${ without its }",
        "20:11: destinations.lake.type: \"firehos\" is not known here; did you mean `firehose`?; allowed: \
         firehose, kinesis, directory",
        "21:13: destinations.lake.stream: the environment variable NOT_SET is not set; set it, or write \
         ${env:NOT_SET:-default}",
        r#"24:29: routes[0].files[1]: "var/log/x" is not an absolute path; begin it with a /"#,
        "25:10: routes[0].to[0]: there is no destination \"archiv\"; did you mean `archive`?; there are: \
         archive, audit, lake",
        "27:9: routes[0].process[0].prase: unknown key; did you mean `parse`?; allowed here: parse, time, \
         single_line, add, add_metadata, ec2_metadata, add_brackets, remove, rename, flatten, nest, keys, redact, truncate, level, drop, keep, sample",
        "28:16: routes[0].process[1].parse: \"jsn\" is not known here; did you mean `json`?; allowed: json, logfmt, \
         common_apache_log, combined_apache_log, apache_error_log, nginx_access, nginx_error, syslog, klog, key_value",
        "29:14: routes[0].process[2].add: a map of keys and values is needed here, not a list",
        r#"30:11: routes[1].name: "a" is also the name of routes[0]; every route needs its own"#,
        "31:13: routes[1].files[0]: \"/var/log/[a.log\" is not a pattern: unclosed character class; missing ']'",
        "33:13: routes[1].format: `7` is not known here; allowed: plain, cri, docker, journald",
    ];
    assert_eq!(messages(text), expected);
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
            "2:10: routes[0].to: is missing; name one or more of the destinations, such as `to: [NAME]`",
            "2:10: routes[0].files: is missing; say which files this route takes, such as `files: /var/log/*.log`",
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
fn a_number_where_text_is_needed_is_told_to_be_quoted() {
    assert_eq!(
        messages(&with("host: 815")),
        ["3:7: host: a text is needed here, not `815`; if it is meant as text, put it in quotes"]
    );
    assert_eq!(good(&with("host: '0815'")).host.as_deref(), Some("0815"));
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
            "destinations: {d: {type: firehose, stream: s, packing: none, compression: gzip}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:75: destinations.d.compression: is for `packing: newline`: what takes one JSON object a record cannot \
             read it compressed",
        ),
        (
            "destinations: {d: {type: kinesis, stream: s, aggregation: kpl, compression: gzip}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:77: destinations.d.compression: does not go with `aggregation: kpl`: no consumer could take compressed \
             aggregates apart; use `aggregation: newline`, or leave it out",
        ),
        (
            "destinations: {d: {type: kinesis, stream: s, aggregation: kpl, ordering: per_key}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:74: destinations.d.ordering: per_key needs a partition_key that records have in common: a template \
             such as \"${kubernetes.pod_name}\", or a fixed one",
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
            "destinations: {d: {type: firehose, stream: s, packing: none, fips: true, dual_stack: false,
  endpoint: 'https://h', role_chain: [{role_arn: 'arn:aws:iam::123456789012:role/hop'}, {external_id: x-1}]}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:68: destinations.d.fips: has no effect beside an endpoint, which says all; leave it out, or \
             name the endpoint that is meant\n\
             2:38: destinations.d.role_chain: leads to no role; the last one to assume is said by role_arn\n\
             2:89: destinations.d.role_chain[1].role_arn: is missing; name the role to assume",
        ),
        (
            "cloudwatch: {namespace: AWS/x, metrics: [kinetail_lag_secs, 'kinetail_lag*'], dimensions: {':a': b, c: ä},
  external_id: x-1, fips: true, endpoint: 'https://h'}
destinations: {d: {type: directory, path: x}}
routes: [{files: /x, to: d}]"
                .to_owned(),
            "1:25: cloudwatch.namespace: \"AWS/x\" begins with AWS/, which is for the services of AWS\n\
             1:42: cloudwatch.metrics[0]: there is no metric \"kinetail_lag_secs\"; did you mean `kinetail_lag_seconds`?; \
             docs/metrics.md has all of them\n\
             1:92: cloudwatch.dimensions.\":a\": \":a\" is not the name of a dimension; CloudWatch allows 1 to 255 \
             characters of ASCII, no colon first\n\
             1:104: cloudwatch.dimensions.c: \"ä\" is not a dimension's value; CloudWatch allows 1 to 1024 \
             characters of ASCII\n\
             2:16: cloudwatch.external_id: is for assuming a role; say which by role_arn\n\
             2:27: cloudwatch.fips: has no effect beside an endpoint, which says all; leave it out, or name the \
             endpoint that is meant",
        ),
        (
            "destinations: {'a/b': {type: directory, path: x}}\nroutes: [{files: [], to: []}]".to_owned(),
            "1:16: destinations.\"a/b\": \"a/b\" is no name; use 1 to 64 of A-Z a-z 0-9 _ . -\n\
             2:18: routes[0].files: is empty; name at least one pattern",
        ),
        (
            "destinations: {d: {type: directory, path: x}}
routes: [{files: /x, to: d, process: [{add: {}}, {rename: {a: a}}, {remove: [a..b]}, {}, {add: {}, remove: x}, parse]}]"
                .to_owned(),
            "2:45: routes[0].process[0].add: is empty; name at least one field, or leave the step out\n\
             2:63: routes[0].process[1].rename.a: is renamed to itself; leave it out\n\
             2:78: routes[0].process[2].remove[0]: \"a..b\" is not the name of a field; write it like level or http.status\n\
             2:86: routes[0].process[3]: is empty; allowed: parse, time, single_line, add, add_metadata, ec2_metadata, add_brackets, remove, rename, flatten, nest, keys, redact, truncate, level, drop, keep, sample\n\
             2:90: routes[0].process[4]: has 2 keys and must have one; write each as an item of its own, with a dash\n\
             2:112: routes[0].process[5]: `parse: …` or `time: …` or `single_line: …` or `add: …` or `add_metadata: …` or `ec2_metadata: …` or `add_brackets: …` or `remove: …` or `rename: …` or `flatten: …` or `nest: …` or `keys: …` or `redact: …` or `truncate: …` or `level: …` or `drop: …` or `keep: …` or `sample: …` is needed here, not \"parse\"",
        ),
    ] {
        assert_eq!(messages(&text).join("\n"), message, "{text}");
    }
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let text = "
buffer: {max_size: 2GiB}
log: {level: debug, deliver_own_lines: true}
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
            "k.yaml:3:40: log.deliver_own_lines: at this `log.level` each request is a line, which is delivered by another \
             request: where a route takes the file that they are in, this never comes to rest",
            "k.yaml:6:3: destinations.e: no route sends anything here; add it to a route's `to`, or remove it",
            "k.yaml:6:52: destinations.e.buffer.max_size: is never reached: all buffers together may take 2GiB \
             (buffer.max_size)",
            "k.yaml:9:18: routes[1].files[1]: takes nothing: routes[0] has the same pattern and comes first",
        ]
    );
}

#[test]
fn raw_records_of_several_lines_where_newlines_divide_records_are_warned_of() {
    let text = "
destinations:
  packed: {type: firehose, stream: s, packing: newline}
  joined: {type: kinesis, stream: s, aggregation: newline}
  each: {type: firehose, stream: s, packing: none}
  kpl: {type: kinesis, stream: s, aggregation: kpl}
routes:
  - {files: /x, multiline: java, record: {preset: RECORD}, to: [packed, joined, each, kpl]}
  - {files: /y, record: {preset: RECORD}, to: [packed, joined]}
  - {files: /z, multiline: java, process: [single_line: {join: ' '}], record: {preset: RECORD}, to: packed}
";
    let warned = |record: &str| -> Vec<String> {
        let loaded = read(&text.replace("RECORD", record)).expect("a good configuration");
        loaded.warnings.iter().map(Diagnostic::to_string).collect()
    };
    let [packed, joined] = &warned("raw")[..] else { panic!("{:?}", warned("raw")) };
    assert!(packed.starts_with("k.yaml:8:28: routes[0].multiline: joins lines, `preset: raw`"), "{packed}");
    assert!(packed.contains("packed divides records by newlines (packing: newline)"), "{packed}");
    assert!(joined.contains("joined divides records by newlines (aggregation: newline)"), "{joined}");
    assert_eq!(warned("fluent_bit"), [""; 0]);
}

#[test]
fn a_file_that_cannot_be_read_is_said_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("none.yaml");
    let errors = load(&path).expect_err("there is no such file").to_string();
    assert!(errors.starts_with(&format!("{}: cannot be read: ", path.display())), "{errors}");
    std::fs::write(&path, b"a: 1\nb: \xff\n").expect("written");
    let errors = load(&path).expect_err("not UTF-8").to_string();
    assert!(errors.ends_with("the first wrong byte is in line 2"), "{errors}");
}

#[test]
fn a_time_where_sync_wants_a_name_or_a_map_is_told_how_to_write_it() {
    let text =
        "buffer: {sync: 1s}\ndestinations: {a: {type: directory, path: /a}}\nroutes: [{files: /l, to: a}]\n";
    let errors = parse(text, "test", &|_| None).unwrap_err().to_string();
    let expected = r#"test:1:16: buffer.sync: "1s" is not known here; allowed: always, never, or a time between two syncs, such as {every: 1s}"#;
    assert_eq!(errors.lines().next(), Some(expected));
}
