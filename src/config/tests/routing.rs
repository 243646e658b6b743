//! Routes: which pods' logs, and to which destinations.

use super::*;
use crate::encode::{Layout, Names};
use crate::kubernetes::Wish;
use crate::process::{Condition, Test};

fn route(keys: &str) -> String {
    format!(
        "destinations: {{a: {{type: directory, path: x}}, b: {{type: directory, path: y}}}}\nroutes:\n- {{files: '/var/log/pods/*/*/*.log', {keys}}}\n"
    )
}

#[test]
fn a_route_takes_the_pods_that_match() {
    let text = route("match: {namespace: [shop-*, pay], container: app}, to: [a, b]");
    let config = good(&text);
    let takes = |namespace: &str, container: &str| {
        let path = format!("/var/log/pods/{namespace}_web-0_0c6a3d8e/{container}/0.log");
        config.routes[0].takes(Path::new(&path))
    };
    assert!(takes("shop-eu", "app") && takes("pay", "app"));
    assert!(!takes("shop", "app") && !takes("pay", "proxy"));
    assert!(good(&route("to: [a, b]")).routes[0].takes(Path::new("/var/log/pods/x/y/z.log")));
}

#[test]
fn labels_are_asked_for_only_where_the_api_is() {
    let with = |keys: &str| format!("kubernetes: {{}}\n{}", route(&format!("{keys}, to: [a, b]")));
    let config = good(&with("match: {labels: {team: [a, b-*]}, on_unknown: leave}"));
    let pods = config.routes[0].pods.as_ref().unwrap();
    let labels = |team: &str| [("team".to_owned(), team.to_owned())].into();
    assert!(
        pods.has_labels(&labels("a")) && pods.has_labels(&labels("b-1")) && !pods.has_labels(&labels("c"))
    );
    assert!(!pods.has_labels(&Default::default()));
    let told = |text: &str| read(text).unwrap_err().to_string();
    let without = told(&route("match: {labels: {team: a}}, to: [a, b]"));
    assert!(without.contains("match.labels: needs a section `kubernetes`"), "{without}");
    let idle = told(&with("match: {pod: a, on_unknown: take}"));
    assert!(idle.contains("match.on_unknown: has a meaning only with `labels`"), "{idle}");
    let empty = told(&with("match: {labels: {team: []}}"));
    assert!(empty.contains("match.labels.team: is empty"), "{empty}");
}

#[test]
fn a_node_of_which_nothing_is_said_is_the_host() {
    for (node, is) in [("node-1", Some("node-1")), ("${env:NODE_NAME:-}", None)] {
        let config = good(&format!("kubernetes:\n  node: {node}\n{}", route("to: [a, b]")));
        assert_eq!(config.kubernetes.unwrap().node.as_deref(), is, "{node}");
    }
}

#[test]
fn pods_say_nothing_of_their_logs_unless_a_route_lets_them() {
    let with = |keys: &str| format!("kubernetes: {{}}\n{}", route(&format!("{keys}to: [a, b]")));
    let silent = good(&with(""));
    assert_eq!((silent.routes[0].annotations.len(), silent.kubernetes.unwrap().wishes), (0, false));
    let heard = good(&with("annotations: [exclude, multiline], "));
    assert_eq!(heard.routes[0].annotations, [Wish::Exclude, Wish::Multiline]);
    assert!(heard.kubernetes.unwrap().wishes, "annotations are kept");
    let asked = good(&with("annotations: [parser, opt_in], "));
    assert_eq!((&*asked.routes[0].annotations, asked.routes[0].opt_in), (&[Wish::Parser][..], true));
    assert!(!heard.routes[0].opt_in);
    assert!(
        good(&with("annotations: opt_in, ")).kubernetes.unwrap().wishes,
        "annotations are kept for this alone"
    );
    let labels =
        format!("{}tests: [{{path: /x, labels: {{a: b}}, lines: x, expect: []}}]\n", route("to: [a, b]"));
    let labels = read(&labels).unwrap_err().to_string();
    assert!(labels.contains("tests[0].labels: needs a section `kubernetes`"), "{labels}");
    let without = read(&route("annotations: parser, to: [a, b]")).unwrap_err().to_string();
    assert!(without.contains("annotations: needs a section `kubernetes`"), "{without}");
}

fn config_when() -> Vec<(crate::source::DestinationName, Condition)> {
    let when = Condition::Field { name: "level".into(), test: Test::OneOf(vec!["error".into()]) };
    vec![("b".into(), when)]
}

#[test]
fn destinations_may_have_conditions_and_may_be_none() {
    let config = good(&route("to: [a, {destination: b, when: {level: error}}]"));
    let names: Vec<&str> = config.routes[0].to.iter().map(|name| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(config.routes[0].when, config_when());
    let config = good(&route("to: []}\n- {files: /x, to: [a, {destination: b}]"));
    assert!(config.routes[0].to.is_empty());
    assert_eq!((config.routes[1].to.len(), config.routes[1].when.len()), (2, 0));
    let alone =
        good(&route("to: {destination: b, when: {level: error}}}\n- {files: /x, to: {destination: a}"));
    assert_eq!((&alone.routes[0].to, &alone.routes[0].when), (&vec!["b".into()], &config_when()));
    assert_eq!((&alone.routes[1].to, alone.routes[1].when.len()), (&vec!["a".into()], 0));
}

#[test]
fn a_route_that_looks_further_shares_its_files_with_later_ones() {
    let warned = |text: &str| {
        let loaded = read(text).unwrap_or_else(|errors| panic!("{errors:?}"));
        loaded.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let two = |first: &str, second: &str| route(&format!("{first}}}\n- {{{second}"));
    let same = "files: '/var/log/pods/*/*/*.log', to: b";
    let text = two("continue: true, to: a", same);
    let config = good(&text);
    assert!(config.routes[0].go_on && !config.routes[1].go_on);
    assert_eq!(config.routes_of(Path::new("/var/log/pods/x/y/z.log")), [0, 1]);
    assert_eq!(warned(&text), [""; 0], "the second takes something");
    assert!(warned(&two("to: a", same))[0].contains("takes nothing"));
    let otherwise = warned(&two("continue: true, format: cri, to: a", same));
    assert!(
        otherwise[0].starts_with("k.yaml:4:3: routes[1]: reads files otherwise than routes[0]"),
        "{otherwise:?}"
    );
    for files in ["/srv/*.log", "/var/log/pods/*/*/*.txt"] {
        let apart = two("continue: true, format: cri, to: a", &format!("files: '{files}', to: b"));
        assert_eq!(warned(&apart), [""; 0], "no file is of both");
    }
    let last = warned(&route("continue: true, to: [a, b]"));
    assert!(last[0].contains("routes[0].continue: has no meaning in the last route"), "{last:?}");
}

#[test]
fn what_is_wrong_with_a_route_is_told() {
    for (keys, told) in [
        ("match: {}, to: a", "routes[0].match: is empty; name a `namespace`, `pod`, `container` or `labels`"),
        ("match: {namespace: '[a'}, to: a", "routes[0].match.namespace: \"[a\" is not a pattern of a name"),
        ("match: {pods: x}, to: a", "routes[0].match.pods: unknown key; did you mean `pod`?"),
        (
            "to: a, record: {preset: raw, names: {log: x}}",
            "routes[0].record.names: has no meaning with `preset: raw`",
        ),
        ("to: a, record: {names: {log: off}}", "routes[0].record.names.log: cannot be left out here"),
        (
            "to: a, record: {names: {host: true}}",
            "routes[0].record.names.host: is no name; write one, or `off`",
        ),
        (
            "to: a, record: {names: {host: ''}}",
            "routes[0].record.names.host: is no name; write one, or `off`",
        ),
        (
            "to: a, record: {names: {host: log}}",
            "routes[0].record.names: \"log\" would be the name of two things",
        ),
        ("to: {when: {x: 1}}", "routes[0].to.destination: is missing; name the destination"),
        ("to: {destination: c}", "routes[0].to: there is no destination \"c\""),
        ("to: {destination: a, wen: {x: 1}}", "routes[0].to.wen: unknown key; did you mean `when`?"),
        (
            "format: cri, skip_header_lines: 1, to: a",
            "routes[0].skip_header_lines: has a meaning only with `format: plain`",
        ),
        ("to: [{when: {x: 1}}]", "routes[0].to[0].destination: is missing; name the destination"),
        ("to: [{destination: c}]", "routes[0].to[0]: there is no destination \"c\""),
        ("to: [a, {destination: a, when: {x: 1}}]", "routes[0].to[1]: \"a\" is there twice; keep one"),
        ("to: [{destination: a, when: {}}]", "routes[0].to[0].when: is empty; say what must hold"),
    ] {
        let messages = messages(&route(keys)).join("\n");
        assert!(messages.starts_with("3:") && messages.contains(told), "{keys}: {messages}");
    }
}

#[test]
fn records_lie_as_their_route_says_or_else_as_the_file_says() {
    let layouts = |text: &str| good(text).routes.into_iter().map(|route| route.layout).collect::<Vec<_>>();
    let text = route("to: [a, b], record: {preset: raw}}\n- {files: /x, to: a");
    assert_eq!(layouts(&text), [Layout::raw(), Layout::default()]);
    let named = Names { record_id: None, log: "msg".into(), ..Names::fluent_bit() };
    let all = format!("record: {{names: {{log: msg, record_id: off}}}}\n{text}");
    assert_eq!(layouts(&all), [Layout::raw(), Layout::named(named, false)]);
    assert_eq!(layouts(&all.replace("record_id: off", "record_id: false")), layouts(&all));
    let ecs = Names { host: Some("host.hostname".into()), ..Names::ecs() };
    let text = route("to: [a, b], record: {preset: ecs, names: {host: host.hostname}}");
    assert_eq!(layouts(&text), [Layout::named(ecs, true)]);
}

#[test]
fn a_test_that_cannot_be_run_is_refused() {
    let tests = "
  - {path: var/log/x, lines: a, expect: []}
  - {path: /var/log/x, lines: a, read_at: noon, route: rout, expect: [{to: dd}, {}, {drop: true, dead_letter: true}]}
  - {path: /var/log/x, expect: {drop: true, record: {a: 1}}}
  - {lines: a, expect: {record: {a: {b: [1, {c: d}]}, n: null}}}
";
    let told = messages(&with(&format!("tests:{tests}")));
    assert_eq!(
        told,
        [
            "4:12: tests[0].path: \"var/log/x\" is not an absolute path; begin it with a /",
            "5:43: tests[1].read_at: \"noon\" is not a time; write it like 2026-11-21T10:00:00Z",
            "5:56: tests[1].route: there is no route \"rout\"; did you mean `route-1`?; there are: route-1",
            "5:76: tests[1].expect[0].to: there is no destination \"dd\"; did you mean `d`?; there are: d",
            "5:81: tests[1].expect[1]: expects nothing; say `record`, `text`, `without`, `to`, `drop: true` or \
             `dead_letter: true`",
            "5:85: tests[1].expect[2]: expects two different things: a record (`record`, `text`, `without`, `to`), \
             `drop` and `dead_letter` exclude each other",
            "6:5: tests[2].lines: is missing; write the lines, such as `lines: ['first', 'second']`",
            "6:32: tests[2].expect: expects two different things: a record (`record`, `text`, `without`, `to`), \
             `drop` and `dead_letter` exclude each other",
            "7:5: tests[3].path: is missing; name the file in which the lines stand, such as `path: \
             /var/log/nginx/access.log`",
        ]
    );
}

#[test]
fn lines_are_joined_by_presets_or_by_patterns() {
    use crate::decode::{LinePatterns, Multiline, Preset};
    use regex::bytes::Regex;

    let multiline = |keys: &str| {
        let config = good(&route(&format!("to: [a, b], multiline: {keys}")));
        config.routes[0].decoding.multiline.as_deref().cloned().unwrap()
    };
    let java = Multiline::traces(&[Preset::Java]);
    assert_eq!(multiline("java"), java);
    assert_eq!(multiline("[java]"), java);
    assert_eq!(multiline("{preset: java}"), java);
    let all = "[node, java, python, go, ruby, dotnet, java]";
    assert_eq!(multiline(all), Multiline::traces(&Preset::ALL));
    let mut limited = java;
    limited.flush_after = std::time::Duration::from_millis(500);
    (limited.max_size, limited.max_lines) = (64 << 10, 200);
    assert_eq!(multiline("{preset: [java], flush_after: 500ms, max_size: 64KiB, max_lines: 200}"), limited);
    let pattern = |text: &str| Some(Regex::new(text).unwrap());
    let patterns = LinePatterns { start: pattern("^S"), continuation: pattern(r"^\s"), end: pattern(";$") };
    assert_eq!(
        multiline(r"{start: '^S', continue: '^\s', end: ';$'}"),
        Multiline::by_patterns(patterns.clone())
    );
    assert_ne!(multiline("{start: '^S'}"), Multiline::by_patterns(patterns));
    assert_eq!(good(&route("to: [a, b]")).routes[0].decoding.multiline, None);
}

#[test]
fn what_is_wrong_with_the_joining_of_lines_is_told() {
    for (keys, told) in [
        ("{}", "routes[0].multiline: joins nothing; give a `preset`, or `start`, `continue` or `end`"),
        ("[]", "routes[0].multiline: is empty; name a preset"),
        ("{flush_after: 1s}", "routes[0].multiline: joins nothing"),
        ("jaba", "routes[0].multiline: \"jaba\" is not known here; did you mean `java`?"),
        ("[java, x]", "routes[0].multiline[1]: \"x\" is not known here"),
        ("{preset: [java, x]}", "routes[0].multiline.preset[1]: \"x\" is not known here"),
        ("{preset: java, start: x}", "routes[0].multiline: has a `preset` and patterns"),
        ("{start: '('}", "routes[0].multiline.start: \"(\" is not a regular expression"),
        (
            "{continuation: x}",
            "routes[0].multiline.continuation: unknown key; allowed here: preset, start, continue",
        ),
        ("{start: x, max_size: 1}", "routes[0].multiline.max_size: `1` is out of range"),
        ("{start: x, max_lines: 1}", "routes[0].multiline.max_lines: `1` is out of range"),
        ("{start: x, flush_after: 2h}", "routes[0].multiline.flush_after: \"2h\" is out of range"),
    ] {
        let messages = messages(&route(&format!("to: [a, b], multiline: {keys}"))).join("\n");
        assert!(messages.starts_with("3:") && messages.contains(told), "{keys}: {messages}");
    }
}
