//! Fluent Bit's configuration, in its classic form or in YAML.
//!
//! Its records are routed by tags, kinetail's files by their paths. So each tail input becomes a route, and each systemd
//! input one that reads the journal: filters and outputs whose `Match` takes all of its tags belong to it, others do not, and those that take some of its files
//! are told.

mod classic;
mod filters;
mod modify;
mod outputs;
mod parsers;
mod section;
mod service;
mod systemd;
mod tags;
mod tail;
mod yaml;

use std::path::Path;

use super::MigrateError;
use super::draft::{Draft, Migrated};
use section::{Kind, Source};
use tags::Tags;

pub(super) fn migrate(file: &Path) -> Result<Migrated, MigrateError> {
    let is_yaml = file.extension().is_some_and(|extension| extension != "conf");
    let mut source = if is_yaml { yaml::read(file)? } else { classic::read(file)? };
    let mut draft = Draft::default();
    service::translate(&mut source, &mut draft, file)?;
    let parsers = parsers::Parsers::of(&source, &mut draft);
    translate(&source, &parsers, &mut draft);
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    draft.finish(&format!("{name} of Fluent Bit")).ok_or_else(|| MigrateError::Nothing {
        path: file.to_owned(),
        what: "it has no tail or systemd input whose records go to an output kinesis_firehose or kinesis_streams"
            .to_owned(),
    })
}

fn translate(source: &Source, parsers: &parsers::Parsers, draft: &mut Draft) {
    let inputs: Vec<_> = source.of(Kind::Input).collect();
    let mut all = Vec::new();
    for input in &inputs {
        if input.is_named("systemd") {
            all.push(systemd::tags_of(input));
            systemd::translate(source, input, parsers, draft);
            continue;
        }
        if !input.is_named("tail") {
            draft.leave_out(&input.at(), "the input", "kinetail reads files and the journal alone");
            continue;
        }
        let (_, tags) = tail::tags_of(input);
        all.push(tags);
        tail::translate(source, input, parsers, draft);
    }
    // What no input uses is told, so that no section is passed over in silence.
    let sections = source.sections.iter();
    for section in sections.filter(|section| matches!(section.kind, Kind::Filter | Kind::Output)) {
        let known = match section.kind {
            Kind::Filter => filters::is_known(section),
            _ => outputs::is_known(section),
        };
        let used = all.iter().any(|tags: &Tags| !matches!(section.takes(tags), tags::Takes::None));
        if !known {
            let why = if section.kind == Kind::Filter {
                "there is no filter of this name"
            } else {
                "kinetail delivers to Firehose, Kinesis data streams and local files alone"
            };
            draft.leave_out(&section.at(), &format!("the {}", section.kind.word()), why);
        } else if !used {
            draft.leave_out(
                &section.at(),
                &format!("the {}", section.kind.word()),
                "takes nothing of a tail or systemd input",
            );
        }
    }
    for section in source.of(Kind::Other) {
        draft.leave_out(&section.at(), "the section", "kinetail knows none of this name");
    }
}
