//! What tests of a configuration tell.

use crate::config;
use crate::trial::run_tests;

const CONFIG: &str = "destinations:
  archive: {type: directory, path: out}
  alerts: {type: directory, path: alerts}
routes:
  - name: app
    files: /var/log/app/*.log
    process:
      - parse: json
      - {drop: {level: debug}}
      - {parse: json, when: {level: strict}, on_error: dead_letter}
    to: [archive, {destination: alerts, when: {level: error}}]
  - name: raw
    files: /var/log/raw
    record: {preset: raw}
    to: archive
tests:
";

/// What the tests below the routes come to.
#[track_caller]
fn told(tests: &str) -> String {
    let text = format!("{CONFIG}{tests}");
    let config = config::parse(&text, "k.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
    run_tests(&config, "k.yaml").iter().map(ToString::to_string).collect()
}

#[test]
fn a_test_that_holds_says_nothing() {
    let tests = r#"
  - name: all that can be said
    path: /var/log/app/a.log
    read_at: 2026-11-21T10:00:00Z
    route: app
    lines:
      - |
        {"level":"error","http":{"status":200,"took":1.0,"tags":["a",1]},"none":null,"a.b":{"c":1}}
        {"level":"debug"}
      - '{"level":"strict"}'
      - no JSON
    expect:
      - record:
          level: error
          http: {status: 200.0, took: 1, tags: [a, 1]}
          http.status: 200
          none: null
          a.b: {c: 1}
          time: 2026-11-21T10:00:00Z
          file: /var/log/app/a.log
        without: [password, http.secret, log]
        to: [alerts, archive]
      - drop: true
      - dead_letter: true
      - {record: {log: no JSON}, to: archive}
  - path: /var/log/raw
    lines: as it was
    expect: {text: as it was}
  - path: /var/log/raw
    lines: []
    expect: []
"#;
    assert_eq!(told(tests), "");
}

#[test]
fn what_differs_is_told_with_its_place_and_the_record() {
    let tests = r#"
  - name: levels
    path: /var/log/app/a.log
    read_at: 2026-11-21T10:00:00Z
    lines: ['{"level":"warn","http":{"status":200}}', '{"level":"debug"}', no JSON, more]
    expect:
      - record: {level: error, http: {status: 500, path: /}, file: /var/log/app/a.log}
        without: [http, secret]
        to: [archive, alerts]
      - record: {level: debug}
      - dead_letter: true
  - path: /var/log/raw
    route: app
    lines: a
    expect: [{text: b}, {drop: true}]
  - path: /var/log/none
    lines: a
    expect: {drop: true}
"#;
    let told = told(tests);
    let id = |line: &str| {
        let (before, id) = line.split_once("\"record_id\":\"").unwrap();
        format!("{before}\"record_id\":\"…{}", &id[32..])
    };
    let told: Vec<String> = told
        .lines()
        .map(|line| if line.contains("record_id") { id(line) } else { line.to_owned() })
        .collect();
    let expected = r#"k.yaml:18:5: tests[0] "levels" failed
  k.yaml:23:25: tests[0].expect[0].record.level
    - "error"
    + "warn"
  k.yaml:23:47: tests[0].expect[0].record.http.status
    - 500
    + 200
  k.yaml:23:58: tests[0].expect[0].record.http.path
    - "/"
    + (no such field)
  k.yaml:24:19: tests[0].expect[0].without[0]
    - (no such field)
    + {"status":200}
  k.yaml:25:13: tests[0].expect[0].to
    - [alerts, archive]
    + [archive]
    line 1 became {"time":"2026-11-21T10:00:00Z","level":"warn","http":{"status":200},"file":"/var/log/app/a.log","host":"host","record_id":"…"}
  k.yaml:26:9: tests[0].expect[1]
    - a record
    + dropped
    line 2 was dropped by process[1] (drop)
  k.yaml:27:9: tests[0].expect[2]
    - a dead letter
    + a record
    line 3 became {"time":"2026-11-21T10:00:00Z","log":"no JSON","file":"/var/log/app/a.log","host":"host","record_id":"…"}
    process[0] (parse: json) failed
  k.yaml:23:7: tests[0].expect: 3 messages are expected, and there are 4
    line 4 became {"time":"2026-11-21T10:00:00Z","log":"more","file":"/var/log/app/a.log","host":"host","record_id":"…"}
    process[0] (parse: json) failed
k.yaml:28:5: tests[1] failed
  k.yaml:29:12: tests[1].route
    - app
    + raw
  k.yaml:31:21: tests[1].expect[0].text
    - b
    + a
    line 1 became a
  k.yaml:31:13: tests[1].expect: 2 messages are expected, and there are 1
k.yaml:32:5: tests[2] failed
  k.yaml:32:5: tests[2]: no route takes /var/log/none
    not app: none of its `files` matches
    not raw: none of its `files` matches"#;
    assert_eq!(told.join("\n"), expected);
}

#[test]
fn labels_decide_the_route_and_are_in_records_and_conditions() {
    let path = "/var/log/pods/shop_web-1_0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0/app/0.log";
    let run = |labels: &str, route: &str, expect: &str| {
        let text = format!(
            "destinations: {{d: {{type: directory, path: out}}, e: {{type: directory, path: more}}}}
kubernetes: {{labels: [team]}}
routes:
  - {{name: team, files: /var/log/pods/*/*/*.log, match: {{labels: {{team: a-*}}}}, to: [d, {{destination: e, when: {{kubernetes.labels.team: a-1}}}}]}}
  - {{name: all, files: /var/log/pods/*/*/*.log, to: d}}
tests: [{{path: {path}, {labels}lines: x, route: {route}, expect: {expect}}}]
"
        );
        let config =
            config::parse(&text, "k.yaml", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config;
        run_tests(&config, "k.yaml").iter().map(ToString::to_string).collect::<String>()
    };
    let of_team = "{record: {kubernetes: {labels: {team: a-1}, host: host}}, to: [d, e]}";
    assert_eq!(run("labels: {team: a-1, other: x}, ", "team", of_team), "");
    assert_eq!(run("labels: {team: a-2}, ", "team", "{record: {kubernetes: {pod_name: web-1}}, to: d}"), "");
    assert_eq!(run("", "all", "{record: {log: x}, without: kubernetes.labels, to: d}"), "", "it has none");
    let wrong = run("labels: {team: b}, ", "team", "{record: {log: x}}");
    assert!(wrong.contains("- team\n    + all\n"), "{wrong}");
}
