//! Sources that were written for this project, what becomes of them, and the tables of `docs/migrating.md`.

use std::path::Path;

use super::keys::ALL;
use super::migrate;
use crate::config;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate")
}

/// The sources, each with the file that says what is to come of it.
const SOURCES: [(&str, Option<&str>, &str); 4] = [
    ("agent/agent.json", Some("agent/agent.d"), "agent.yaml"),
    ("fluent-bit/fluent-bit.conf", None, "fluent-bit.yaml"),
    ("fluent-bit-yaml/fluent-bit.yaml", None, "fluent-bit-yaml.yaml"),
    ("fluent-bit-host/td.conf", None, "fluent-bit-host.yaml"),
];

/// After a change that is meant, `KINETAIL_UPDATE_REFERENCE=1 cargo test --lib migrate` writes the files anew.
#[test]
fn a_source_becomes_a_configuration_that_passes() {
    for (source, more, expected) in SOURCES {
        let more = more.map(|more| folder().join(more));
        let migrated = migrate(&folder().join(source), more.as_deref()).unwrap();
        let path = folder().join("expected").join(expected);
        if std::env::var_os("KINETAIL_UPDATE_REFERENCE").is_some() {
            std::fs::write(&path, &migrated.text).unwrap();
        }
        let env = |name: &str| Some(if name == "AWS_REGION" { "eu-central-1" } else { "7" }.to_owned());
        let loaded = config::parse(&migrated.text, expected, &env);
        let loaded = loaded.unwrap_or_else(|errors| panic!("{source}:\n{errors}\n{}", migrated.text));
        assert!(loaded.warnings.is_empty(), "{source}: {}", loaded.warnings);
        let kept = std::fs::read_to_string(&path).unwrap();
        assert!(kept == migrated.text, "{source} becomes\n{}", migrated.text);
    }
}

/// Every key of the sources is in the YAML in some way, or among what is told at the top.
#[test]
fn every_key_of_a_source_is_told_in_the_comments_or_known_to_be_carried_over() {
    let conf = std::fs::read_to_string(folder().join("fluent-bit/fluent-bit.conf")).unwrap();
    let migrated = migrate(&folder().join("fluent-bit/fluent-bit.conf"), None).unwrap();
    for line in conf.lines().filter(|line| line.starts_with("    ")) {
        let key = line.split_whitespace().next().unwrap();
        let carried = ALL.iter().any(|table| table.known(key).is_some_and(|known| known.why.is_empty()));
        let of_other = ["script", "call"].contains(&key);
        assert!(
            carried || of_other || migrated.text.contains(&format!(" {key} ")),
            "{key}:\n{}",
            migrated.text
        );
    }
    assert!(migrated.text.contains("kinetail does not know this key"), "{}", migrated.text);
    assert_eq!(migrated.text.matches("\n# - ").count(), migrated.left_out);
}

#[test]
fn the_agents_metrics_go_where_it_sent_them_unless_it_sent_none() {
    let folder = tempfile::tempdir().unwrap();
    let migrated = |keys: &str| {
        let path = folder.path().join("agent.json");
        let flow = r#"{"filePattern": "/var/log/a.log", "deliveryStream": "a"}"#;
        std::fs::write(&path, format!(r#"{{{keys} "flows": [{flow}]}}"#)).unwrap();
        let migrated = migrate(&path, None).unwrap();
        assert_eq!(migrated.left_out, 0, "{}", migrated.text);
        config::parse(&migrated.text, "test", &|_| None).unwrap().config.cloudwatch
    };
    let usual = migrated("").expect("the Agent sends them unless it is told not to");
    assert_eq!((usual.namespace.as_str(), usual.agent_metrics), ("AWSKinesisAgent", true));
    assert!(usual.metrics.is_empty() && usual.aws.region.is_none());
    let elsewhere = r#""cloudwatch.namespace": "Shop", "cloudwatch.endpoint": "vpce-1.monitoring.eu-west-1.vpce.amazonaws.com","#;
    let elsewhere = migrated(elsewhere).unwrap();
    assert_eq!(elsewhere.namespace, "Shop");
    let endpoint = elsewhere.aws.endpoint.unwrap();
    assert_eq!(endpoint, "https://vpce-1.monitoring.eu-west-1.vpce.amazonaws.com");
    let own = r#""cloudwatch.endpoint": "https://monitoring.eu-west-1.amazonaws.com/","#;
    let own = migrated(own).unwrap().aws;
    assert_eq!((own.region.as_deref(), own.endpoint), (Some("eu-west-1"), None));
    let none = r#""cloudwatch.emitMetrics": false, "cloudwatch.endpoint": "https://h", "cloudwatch.namespace": "Shop","#;
    assert_eq!(migrated(none), None);
}

#[test]
fn what_is_no_source_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        migrate(&path, None).unwrap_err().to_string()
    };
    for (name, text, told) in [
        ("a.json", "{", "is not JSON: EOF"),
        ("a.json", "[]", "is not a JSON object"),
        ("a.json", r#"{"flows": {}}"#, "`flows` is not a list"),
        ("a.json", r#"{"flows": []}"#, "it has no flow that can be carried over"),
        ("a.conf", "[INPUT\n", "line 1: a [ without its ]"),
        ("a.conf", "Name tail\n", "line 1: Name stands in no section"),
        ("a.conf", "[INPUT]\n  @BAD x\n", "line 2: @BAD is no command"),
        ("a.conf", "@INCLUDE a.conf\n", "files include each other"),
        ("a.conf", "@INCLUDE none.conf\n", "none.conf: No such file"),
        ("a.conf", "[OUTPUT]\n  Name stdout\n", "it has no tail or systemd input"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.yaml", "- a", "is not a map of sections"),
        ("a.yaml", "includes: [a.yaml]", "files include each other"),
        ("a.toml", "", "its name does not tell what it is"),
    ] {
        let error = refused(name, text);
        assert!(error.contains(told), "{text}: {error}");
    }
}

/// The rows of each table in `docs/migrating.md`, by its heading.
fn rows(page: &str, heading: &str) -> Vec<(String, String)> {
    let begin = page.find(&format!("\n### {heading}\n")).unwrap_or_else(|| panic!("no table {heading}"));
    let section = &page[begin + 5..];
    let section = section.find("\n##").map_or(section, |end| &section[..end]);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    rows.map(|(key, ours)| (key.to_owned(), ours.trim_end_matches(" |").to_owned())).collect()
}

#[test]
fn the_tables_have_every_key_and_say_what_the_comments_say() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating.md");
    let page = std::fs::read_to_string(page).unwrap();
    for table in ALL {
        let rows = rows(&page, table.name);
        for known in table.keys {
            let row = rows.iter().find(|(key, _)| key == known.key);
            let (_, ours) = row.unwrap_or_else(|| panic!("{}: {} is missing", table.name, known.key));
            let same = if known.why.is_empty() {
                !ours.starts_with("no: ")
            } else {
                *ours == format!("no: {}", known.why)
            };
            assert!(same, "{}: {}: {ours}: {}", table.name, known.key, known.why);
        }
        assert_eq!(rows.len(), table.keys.len(), "{}: {rows:?}", table.name);
    }
}
