//! `[SERVICE]`: the files of parsers, and what is for the whole process.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::section::{Kind, Source};
use super::{classic, yaml};
use crate::migrate::MigrateError;
use crate::migrate::draft::{Draft, Taken, millis, text_of};
use crate::migrate::keys::SERVICE;
use crate::migrate::yaml::Entry;

/// Reads the parsers' files into the source, too.
pub(super) fn translate(source: &mut Source, draft: &mut Draft, file: &Path) -> Result<(), MigrateError> {
    let mut more = Vec::new();
    for section in source.of(Kind::Service) {
        let mut keys = section.taken(&SERVICE);
        for value in keys.take_all("parsers_file") {
            let named = text_of(&value);
            match found(file, &named) {
                Some(path) => more.push(path),
                None => keys.refuse(&format!("parsers_file {named}"), "there is no such file here", draft),
            }
        }
        of_process(&mut keys, draft);
        keys.finish(draft);
    }
    for path in more {
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let read = if is_yaml { yaml::read(&path)? } else { classic::read(&path)? };
        source.sections.extend(read.sections);
    }
    Ok(())
}

/// Where a file of parsers is: as it is named, or beside the configuration, which may have been taken from its host.
fn found(file: &Path, named: &str) -> Option<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let name = Path::new(named).file_name()?;
    [beside.join(named), beside.join(name)].into_iter().find(|path| path.is_file())
}

fn of_process(keys: &mut Taken<'_>, draft: &mut Draft) {
    if let Some(level) = keys.text("log_level") {
        let ours = match level.to_ascii_lowercase().as_str() {
            "off" => "off",
            "error" => "error",
            "warn" | "warning" => "warn",
            "debug" => "debug",
            "trace" => "trace",
            _ => "info",
        };
        draft.top.push(Entry::new("log", json!({"level": ours})));
    }
    if let Some(seconds) = keys.number("grace", draft) {
        let (time, _) = millis(seconds.saturating_mul(1000), 0, 3_600_000);
        draft.top.push(Entry::new("drain_timeout", time));
    }
    let (listen, port) = (keys.text("http_listen"), keys.text("http_port"));
    if keys.switch("http_server", false, draft) {
        let listen = listen.unwrap_or_else(|| "0.0.0.0".to_owned());
        let address = format!("{listen}:{}", port.unwrap_or_else(|| "2020".to_owned()));
        if address.parse::<std::net::SocketAddr>().is_ok() {
            let comment = "/metrics and /livez; the names of the metrics are others.";
            draft.top.push(Entry::commented(comment, "admin", json!({"listen": address})));
        } else {
            keys.refuse(&format!("http_listen {address}"), "is not an IP address and port", draft);
        }
    }
}
