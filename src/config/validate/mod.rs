//! From what was typed to what the agent is built from: names must resolve, and what is said must fit
//! together. What a single value may be was checked against the schema before; what was refused there is
//! `None` here, and is passed over without another word.

mod cases;
mod cloudwatch;
mod condition;
mod destinations;
mod journal;
mod multiline;
mod record;
mod routes;
mod steps;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use self::steps::parser_of;
use super::diagnostics::{Findings, Path};
use super::document::Node;
use super::raw;
use super::settings::{AdminSettings, Config, DestinationConfig, LogFormat, LogSettings, RouteConfig};
use crate::buffer::{BufferSettings, RemovedDestinations};
use crate::decode::Limits;
use crate::deliver::{Aggregation, Destination, Firehose, Kinesis, Packing};
use crate::kubernetes::KubernetesSettings;
use crate::process::Action;
use crate::source::DestinationName;
use crate::tail::{TailSettings, Watch};

/// Makes the configuration. None only if something was reported, here or before.
pub(super) fn validate(
    file: raw::File,
    document: &Node,
    errors: &mut Findings,
    warnings: &mut Findings,
) -> Option<Config> {
    let mut validator = Validator { document, errors, warnings };
    let root = Path::default();
    let buffer = BufferSettings {
        max_size: file.buffer.max_size.0,
        min_disk_free: file.buffer.min_disk_free.0,
        chunk_size: file.buffer.chunk_size.0,
        sync: file.buffer.sync.into(),
        removed_destinations: match file.buffer.removed_destinations {
            raw::WhenRemoved::Drain => RemovedDestinations::Drain,
            raw::WhenRemoved::Keep => RemovedDestinations::Keep,
        },
    };
    let entries = file.destinations.map(|entries| entries.0);
    let routes = file.routes.map(|routes| routes.0);
    let names: Option<Vec<&str>> =
        entries.as_ref().map(|entries| entries.iter().map(|(name, _)| name.as_str()).collect());
    let layout = validator.record(&root.key("record"), &file.record);
    let limits = Limits { max_message: usize::try_from(file.tail.max_line.0.0).unwrap_or(usize::MAX) };
    let has_api = file.kubernetes.is_some();
    let routes =
        validator.routes(&root.key("routes"), routes.as_deref(), names.as_deref(), &layout, limits, has_api);
    let tests =
        validator.cases(&root.key("tests"), &file.tests, routes.as_deref(), names.as_deref(), has_api);
    let cloudwatch = file.cloudwatch.map(|typed| validator.cloudwatch(&root.key("cloudwatch"), &typed));
    let destinations = validator.destinations(&root.key("destinations"), entries?, &buffer);
    let routes = routes?;
    validator.warn_of_unused(&destinations, &routes);
    validator.warn_of_divided(&destinations, &routes);
    validator.warn_of_endless_log(&file.log);
    Some(Config {
        data_dir: file.data_dir.0,
        watch_config: file.watch_config,
        host: file.host.map(|host| host.0),
        tail: tail(file.tail),
        buffer,
        drain_timeout: file.drain_timeout.0,
        admin: file.admin.map(|admin| AdminSettings {
            listen: admin.listen.0,
            stuck_after: admin.stuck_after.0,
            top_files: admin.top_files,
        }),
        cloudwatch,
        log: LogSettings {
            level: file.log.level.map(|level| level.0),
            format: match file.log.format {
                raw::LogStyle::Auto => LogFormat::Auto,
                raw::LogStyle::Text => LogFormat::Text,
                raw::LogStyle::Json => LogFormat::Json,
            },
            deliver_own_lines: file.log.deliver_own_lines,
        },
        kubernetes: file.kubernetes.map(|kubernetes| {
            let wishes = routes.iter().any(|route| !route.annotations.is_empty() || route.opt_in);
            Arc::new(KubernetesSettings { wishes, ..kubernetes.settings() })
        }),
        destinations,
        routes,
        tests,
    })
}

struct Validator<'a> {
    document: &'a Node,
    errors: &'a mut Findings,
    warnings: &'a mut Findings,
}

impl Validator<'_> {
    fn error(&mut self, path: &Path, message: impl Into<String>) {
        let (place, path) = self.document.locate(path);
        self.errors.add(place, &path, message);
    }

    /// Of a key that is not there, at the place of what lacks it.
    fn error_of_missing(&mut self, owner: &Path, key: &str, message: impl Into<String>) {
        let (place, _) = self.document.locate(owner);
        self.errors.add(place, &owner.key(key), message);
    }

    fn warn(&mut self, path: &Path, message: impl Into<String>) {
        let (place, path) = self.document.locate(path);
        self.warnings.add(place, &path, message);
    }

    fn warn_of_endless_log(&mut self, log: &raw::Log) {
        let tells_of_requests =
            log.level.as_ref().is_some_and(|level| level.0.contains("debug") || level.0.contains("trace"));
        if log.deliver_own_lines && tells_of_requests {
            let path = Path::default().key("log").key("deliver_own_lines");
            let message = "at this `log.level` each request is a line, which is delivered by another request: where a \
                           route takes the file that they are in, this never comes to rest";
            self.warn(&path, message);
        }
    }

    fn warn_of_unused(&mut self, destinations: &[DestinationConfig], routes: &[RouteConfig]) {
        let used: BTreeSet<&DestinationName> = routes.iter().flat_map(|route| &route.to).collect();
        for destination in destinations {
            if !used.contains(&destination.name) {
                let path = Path::default().key("destinations").key(destination.name.as_str());
                let place = self.document.locate_key(&path);
                let message = "no route sends anything here; add it to a route's `to`, or remove it";
                self.warnings.add(place, &path, message);
            }
        }
    }

    /// A raw record of several lines is not told apart from several records where newlines are all that divides them.
    fn warn_of_divided(&mut self, destinations: &[DestinationConfig], routes: &[RouteConfig]) {
        let divides = |name: &DestinationName| {
            let destination = destinations.iter().find(|destination| destination.name == *name)?;
            match &destination.to {
                Destination::Firehose(Firehose { packing: Packing::Newline { .. }, .. }) => {
                    Some("packing: newline")
                }
                Destination::Kinesis(Kinesis { aggregation: Aggregation::Newline { .. }, .. }) => {
                    Some("aggregation: newline")
                }
                Destination::Directory(_) => Some("its files are of lines"),
                Destination::Firehose(_) | Destination::Kinesis(_) => None,
            }
        };
        for (index, route) in routes.iter().enumerate() {
            let one_line = route.process.iter().any(|step| {
                use Action::{Add, AddMetadata, Ec2Metadata, Nest, Parse, SingleLine};
                let made = &step.action;
                matches!(made, SingleLine(_) | Parse(_) | Add(_) | AddMetadata(_) | Ec2Metadata(_) | Nest(_))
            });
            if route.decoding.multiline.is_none() || !route.layout.is_raw() || one_line {
                continue;
            }
            for (name, by) in route.to.iter().filter_map(|name| Some((name, divides(name)?))) {
                let path = Path::default().key("routes").index(index).key("multiline");
                let message = format!(
                    "joins lines, `preset: raw` keeps the newlines between them, and {name} divides records by newlines \
                     ({by}): its readers find each line by itself; take another preset, or a step `single_line`"
                );
                self.warn(&path, message);
            }
        }
    }
}

fn tail(typed: raw::Tail) -> TailSettings {
    TailSettings {
        allowed_roots: typed.allowed_roots.iter().map(|(_, folder)| folder.0.clone()).collect(),
        max_line: typed.max_line.0,
        rotate_wait: typed.rotate_wait.0,
        watch: match typed.watch {
            raw::WatchMode::Auto => Watch::Auto,
            raw::WatchMode::Poll => Watch::Poll,
        },
        poll_interval: typed.poll_interval.0,
        forget_after: typed.forget_after.0,
        flush_after: typed.flush_after.0,
        max_open_files: typed.max_open_files as usize,
        max_held_deleted: typed.max_held_deleted.0,
        group_memory: typed.group_memory.0,
        read_on_stop: typed.read_on_stop,
    }
}
