//! The classic form: sections with keys below each other, `@INCLUDE`, `@SET` and `${VARIABLES}`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::section::{Kind, Section, Source};
use crate::migrate::{MigrateError, read as read_file};

/// Deeper than anyone includes.
const MAX_DEPTH: usize = 10;

pub(super) fn read(file: &Path) -> Result<Source, MigrateError> {
    let mut reader = Reader { source: Source::default(), set: BTreeMap::new() };
    reader.file(file, 0)?;
    Ok(reader.source)
}

/// Puts variables in: those that are set in the source by their values, others as kinetail writes them.
pub(super) fn expand(text: &str, set: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        out.push_str(before);
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        match set.get(name) {
            Some(value) => out.push_str(value),
            None if is_name => out.push_str(&format!("${{env:{name}}}")),
            None => out.push_str(&format!("${{{name}}}")),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The files that an `@INCLUDE` names.
pub(super) fn included(from: &Path, pattern: &str) -> Result<Vec<PathBuf>, MigrateError> {
    let path = from.parent().unwrap_or(Path::new("")).join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let syntax = |what: String| MigrateError::Syntax { path: from.to_owned(), what };
    let glob = GlobBuilder::new(&path.to_string_lossy()).literal_separator(true).build();
    let glob = glob.map_err(|error| syntax(format!("{pattern}: {error}")))?.compile_matcher();
    let folder = path.parent().unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder);
    let entries = entries.map_err(|error| MigrateError::Read { path: folder.to_owned(), error })?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| glob.is_match(file));
    files.sort();
    Ok(files)
}

struct Reader {
    source: Source,
    set: BTreeMap<String, String>,
}

impl Reader {
    fn file(&mut self, file: &Path, depth: usize) -> Result<(), MigrateError> {
        let text = read_file(file)?;
        let syntax = |line: usize, what: &str| MigrateError::Syntax {
            path: file.to_owned(),
            what: format!("line {line}: {what}"),
        };
        if depth > MAX_DEPTH {
            return Err(syntax(1, "files include each other"));
        }
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut open = false;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(title) = line.strip_prefix('[') {
                let title =
                    title.split_once(']').ok_or_else(|| syntax(number, "a [ without its ]"))?.0.trim();
                self.source.sections.push(Section {
                    kind: Kind::named(title),
                    place: format!("{name}:{number}"),
                    title: title.to_owned(),
                    entries: Vec::new(),
                });
                open = true;
                continue;
            }
            let (key, value) = line.split_once(|c: char| c.is_whitespace()).unwrap_or((line, ""));
            let value = value.trim();
            if let Some(command) = key.strip_prefix('@') {
                match command.to_ascii_uppercase().as_str() {
                    "INCLUDE" => {
                        for path in included(file, &expand(value, &self.set))? {
                            self.file(&path, depth + 1)?;
                        }
                        // What follows an included file belongs to no section of this one.
                        open = false;
                    }
                    "SET" => {
                        let (name, value) =
                            value.split_once('=').ok_or_else(|| syntax(number, "write @SET NAME=VALUE"))?;
                        let value = expand(value.trim(), &self.set);
                        self.set.insert(name.trim().to_owned(), value);
                    }
                    _ => return Err(syntax(number, &format!("{key} is no command that is known"))),
                }
                continue;
            }
            let value = expand(value, &self.set);
            match self.source.sections.last_mut().filter(|_| open) {
                Some(section) => section.entries.push((key.to_owned(), value.into())),
                None => return Err(syntax(number, &format!("{key} stands in no section"))),
            }
        }
        Ok(())
    }
}
