//! The files of the repository that show a configuration are good ones.

use std::path::PathBuf;

use super::*;

/// What the reader of marks makes of a file is what serde_yaml makes of it.
#[test]
fn values_are_those_that_serde_yaml_reads() {
    fn value(node: &document::Node) -> serde_yaml::Value {
        match &node.kind {
            document::Kind::List(items) => items.iter().map(value).collect(),
            document::Kind::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.as_str().into(), value(&entry.node)));
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
    for text in examples().into_iter().map(|(_, text)| text).chain([DESIGN.to_owned(), odd.to_owned()]) {
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
        text.push_str(&format!("routes: [{{files: /var/log/x, to: [{}]}}]\n", names.join(", ")));
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

#[test]
fn the_shipped_file_shows_how_the_journal_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kinetail.yaml");
    let text = std::fs::read_to_string(path).expect("a file of the repository");
    let journals = |text: &str| {
        let config = parse(text, "kinetail.yaml", &|_| None).expect("it passes").config;
        config.routes.iter().filter(|route| route.journal.is_some()).count()
    };
    assert_eq!(journals(&text), 0);
    let (before, journal) = text.split_once("  # - name: journal\n").expect("the route");
    assert_eq!(journals(&format!("{before}  - name: journal\n{}", journal.replace("  # ", "  "))), 1);
}

/// What the Debian package installs opens no port before somebody says so.
#[test]
fn the_shipped_file_has_the_admin_port_off_and_shows_how_it_is_turned_on() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kinetail.yaml");
    let text = std::fs::read_to_string(path).expect("a file of the repository");
    let admin = |text: &str| parse(text, "kinetail.yaml", &|_| None).expect("it passes").config.admin;
    assert_eq!(admin(&text), None);
    let on = text.replace("# admin:\n#   listen:", "admin:\n  listen:");
    assert_eq!(admin(&on), Some(crate::config::AdminSettings::default()));
}
