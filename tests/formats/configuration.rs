//! A configuration that an earlier version took means the same to this one: what it says, and what it leaves unsaid.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{keep::write_json, versions};

/// Every key with the defaults that count where it is not said: some count in one form of a section only.
type Keys = BTreeMap<String, BTreeSet<String>>;

/// Keeps those of the version at hand.
pub(super) fn keep(folder: &Path) {
    write_json(&folder.join("keys.json"), &keys());
    fs::write(folder.join("config.yaml"), include_str!("config.yaml")).expect("a file");
}

fn keys() -> Keys {
    let out = Command::new(env!("CARGO_BIN_EXE_kinetail")).arg("schema").output().expect("it runs");
    let schema: Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let mut keys = Keys::new();
    collect(&schema, "", &mut keys);
    for (name, part) in schema["$defs"].as_object().expect("its parts") {
        collect(part, name, &mut keys);
    }
    keys
}

/// Of the order and the nesting of forms in the schema nothing is kept, as they say nothing to those who write a configuration.
fn collect(part: &Value, at: &str, keys: &mut Keys) {
    match part {
        Value::Object(fields) => {
            let word = part.pointer("/properties/type/const").and_then(Value::as_str);
            let at = word.map_or_else(|| at.to_owned(), |word| format!("{at}({word})"));
            for (name, key) in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let at = format!("{at}.{name}");
                collect(key, &at, keys);
                let default = key.get("default").map_or_else(|| "none".into(), Value::to_string);
                keys.entry(at).or_default().insert(default);
            }
            let inside = fields
                .iter()
                .filter(|(name, _)| !["properties", "$defs", "default"].contains(&name.as_str()));
            inside.for_each(|(_, value)| collect(value, &at, keys));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, at, keys)),
        _ => {}
    }
}

/// A minor version below 1.0 that takes a key away or changes a default says so in the changelog, and takes it out of what was kept.
#[test]
fn every_key_of_an_earlier_version_is_there_with_the_default_that_it_had() {
    let now = keys();
    for version in versions() {
        let kept = fs::read_to_string(version.join("keys.json")).expect("its keys");
        let kept: Keys = serde_json::from_str(&kept).expect("JSON");
        assert!(kept.len() > 100, "{} keys in {}", kept.len(), version.display());
        for (key, defaults) in &kept {
            let now = now.get(key).unwrap_or_else(|| panic!("{key} of {} is gone", version.display()));
            assert!(
                defaults.is_subset(now),
                "{key} of {}: {defaults:?} then, {now:?} now",
                version.display()
            );
        }
    }
}

#[test]
fn a_configuration_of_an_earlier_version_does_what_its_tests_say() {
    for version in versions() {
        let path = version.join("config.yaml");
        let mut check = Command::new(env!("CARGO_BIN_EXE_kinetail"));
        let out = check.args(["check", "--config"]).arg(&path).output().expect("it runs");
        let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{}: {said}", path.display());
        // A file without tests would be good as well.
        let text = fs::read_to_string(&path).expect("a configuration");
        assert!(text.matches("expect:").count() >= 8, "{}", path.display());
    }
}
