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
        let at = path.key("names");
        for (key, said, name) in [
            ("time", time, &mut names.time),
            ("stream", stream, &mut names.stream),
            ("truncated", truncated, &mut names.truncated),
            ("file", file, &mut names.file),
            ("host", host, &mut names.host),
            ("kubernetes", kubernetes, &mut names.kubernetes),
            ("record_id", record_id, &mut names.record_id),
        ] {
            if let Some(said) = said {
                *name = self.name_or_off(&at.key(key), said);
            }
        }
        if let Some(log) = log {
            match self.name_or_off(&at.key("log"), log) {
                Some(log) => names.log = log,
                None => {
                    self.error(&at.key("log"), "cannot be left out here; a step `remove: log` does that");
                }
            }
        }
        if let Some(name) = names.doubled() {
            let message = format!("{name:?} would be the name of two things");
            self.error(&path.key("names"), message);
        }
        Layout::named(names, typed.preset == raw::PresetOfRecord::Ecs)
    }

    fn name_or_off(&mut self, path: &Path, typed: &raw::NameOrOff) -> Option<String> {
        match typed {
            raw::NameOrOff::Switch(false) => None,
            raw::NameOrOff::Name(name) if name == "off" => None,
            raw::NameOrOff::Name(name) if !name.trim().is_empty() => Some(name.clone()),
            raw::NameOrOff::Switch(true) | raw::NameOrOff::Name(_) => {
                self.error(path, "is no name; write one, or `off`");
                // Not what was meant, but no name that is there twice either.
                Some(path.to_string())
            }
        }
    }
}
