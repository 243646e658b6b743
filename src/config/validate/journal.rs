//! `journal` of a route: what only a route with `format: journald` may say, and the arguments of journalctl.

use std::ffi::OsString;
use std::path::PathBuf;

use super::Validator;
use crate::config::diagnostics::Path;
use crate::config::raw;
use crate::config::settings::JournalConfig;
use crate::process::JournalFields;
use crate::tail::JournalSettings;

impl Validator<'_> {
    /// The journal that a route reads, if it does. Says what does not fit: of files for a journal, and the other way
    /// round.
    pub(super) fn journal(&mut self, path: &Path, route: &raw::Route) -> Option<JournalConfig> {
        if !matches!(route.format, raw::FormatName::Journald) {
            if route.files.is_none() {
                let message = "is missing; say which files this route takes, such as `files: /var/log/*.log`";
                self.error_of_missing(path, "files", message);
            }
            if route.journal.is_some() {
                self.error(&path.key("journal"), "has a meaning only with `format: journald`");
            }
            return None;
        }
        let of_files = [
            ("files", route.files.is_some()),
            ("exclude", !route.exclude.is_empty()),
            ("match", route.pods.is_some()),
            ("annotations", !route.annotations.is_empty()),
            ("multiline", route.multiline.is_some()),
            ("continue", route.go_on),
            ("skip_header_lines", route.skip_header_lines > 0),
        ];
        for (key, said) in of_files {
            if said {
                let message = "has no meaning with `format: journald`, which reads entries and no files; `journal` says \
                               which";
                self.error(&path.key(key), message);
            }
        }
        let typed = route.journal.clone().unwrap_or_default();
        let path = path.key("journal");
        let mut source = JournalSettings::default();
        let folders: Vec<PathBuf> = typed.folders.iter().map(|(_, folder)| folder.0.clone()).collect();
        if !folders.is_empty() {
            source.folders = folders;
        }
        let command: Vec<&str> = typed.command.iter().map(|(_, word)| word.0.as_str()).collect();
        if let Some(program) = command.first() {
            if !program.starts_with('/') {
                let message = format!("{program:?} is not an absolute path; begin it with a /");
                self.error(&path.key("command"), message);
            }
            source.command = command.into_iter().map(OsString::from).collect();
        }
        source.filters = self.filters(&path, &typed);
        let fields = JournalFields {
            message_as_log: typed.message_as_log,
            lowercase: typed.lowercase,
            strip_underscores: typed.strip_underscores,
        };
        Some(JournalConfig { source, fields })
    }

    fn filters(&mut self, path: &Path, typed: &raw::Journal) -> Vec<OsString> {
        let mut filters: Vec<OsString> = Vec::new();
        for (index, unit) in typed.units.iter() {
            if unit.0.contains(['*', '?', '[']) {
                let message = "is a pattern; name each unit, or use `matches` and a step `keep`";
                self.error(&path.key("units").index(index), message);
            }
            filters.push(format!("--unit={}", unit.0).into());
        }
        if let Some(priority) = typed.priority {
            filters.push(format!("--priority={}", priority as u8).into());
        }
        let matches: Vec<(usize, &str)> =
            typed.matches.iter().map(|(index, text)| (index, text.0.as_str())).collect();
        for (at, (index, text)) in matches.iter().enumerate() {
            let path = path.key("matches").index(*index);
            if *text == "+" {
                let between = |other: Option<&(usize, &str)>| other.is_some_and(|(_, text)| *text != "+");
                if !between(at.checked_sub(1).and_then(|before| matches.get(before)))
                    || !between(matches.get(at + 1))
                {
                    self.error(&path, "stands between two alternatives");
                }
            } else if !is_match(text) {
                let message = format!("{text:?} is not FIELD=value; a field's name is of A-Z, 0-9 and _");
                self.error(&path, message);
            }
        }
        if !matches.is_empty() {
            filters.push("--".into());
            filters.extend(matches.into_iter().map(|(_, text)| text.into()));
        }
        filters
    }
}

fn is_match(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name);
    let of_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.is_some_and(|name| !name.is_empty() && name.chars().all(of_name)) && !text.contains('\0')
}
