//! `record`: names that must differ.

use super::Validator;
use crate::config::diagnostics::Path;
use crate::config::raw;
use crate::encode::{Layout, Names};

impl Validator<'_> {
    pub(super) fn record(&mut self, path: &Path, typed: &raw::Record) -> Layout {
        let raw::RecordNames { time, stream, log, truncated, file, host, kubernetes, record_id } =
            &typed.names;
        let all = [time, stream, log, truncated, file, host, kubernetes, record_id];
        let mut names = match typed.preset {
            raw::PresetOfRecord::Raw => {
                if all.into_iter().any(Option::is_some) {
                    self.error(
                        &path.key("names"),
                        "has no meaning with `preset: raw`, which sends the message alone",
                    );
                }
                return Layout::raw();
            }
            raw::PresetOfRecord::FluentBit => Names::fluent_bit(),
            raw::PresetOfRecord::Ecs => Names::ecs(),
        };
        for (said, name) in [
            (time, &mut names.time),
            (stream, &mut names.stream),
            (truncated, &mut names.truncated),
            (file, &mut names.file),
            (host, &mut names.host),
            (kubernetes, &mut names.kubernetes),
            (record_id, &mut names.record_id),
        ] {
            if let Some(said) = said {
                *name = (said.0 != "off").then(|| said.0.clone());
            }
        }
        if let Some(log) = log {
            if log.0 == "off" {
                self.error(
                    &path.key("names").key("log"),
                    "cannot be left out here; a step `remove: log` does that",
                );
            }
            names.log.clone_from(&log.0);
        }
        if let Some(name) = names.doubled() {
            let message = format!("{name:?} would be the name of two things");
            self.error(&path.key("names"), message);
        }
        Layout::named(names, typed.preset == raw::PresetOfRecord::Ecs)
    }
}
