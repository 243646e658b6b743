//! From what was typed to what the agent is built from: names must resolve, and what is said must fit together.
//! What a single value may be was checked against the schema before; what was refused there is `None` here, and
//! is passed over without another word.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostics::{Findings, Path, did_you_mean};
use super::document::Node;
use super::raw;
use super::settings::{AdminSettings, Config, DestinationConfig, LogFormat, LogSettings, RouteConfig};
use crate::buffer::{BufferSettings, QueueSettings, WhenFull};
use crate::decode::Format;
use crate::deliver::{
    Aggregation, Batch, Compression, Destination, Directory, Firehose, Kinesis, Packing, PartitionKey, Retry,
};
use crate::process::{ParseJson, Step};
use crate::source::{DestinationName, RouteName};
use crate::tail::{Pattern, StartAt, TailSettings, Watch};

/// Makes the configuration. None only if something was reported, here or before.
pub(super) fn validate(
    file: raw::File,
    document: &Node,
    errors: &mut Findings,
    warnings: &mut Findings,
) -> Option<Config> {
    let mut validator = Validator {
        document,
        errors,
        warnings,
    };
    let root = Path::default();
    let buffer = BufferSettings {
        max_size: file.buffer.max_size.0,
        min_disk_free: file.buffer.min_disk_free.0,
        chunk_size: file.buffer.chunk_size.0,
    };
    let entries = file.destinations.map(|entries| entries.0);
    let routes = file.routes.map(|routes| routes.0);
    let names: Option<Vec<&str>> = entries
        .as_ref()
        .map(|entries| entries.iter().map(|(name, _)| name.as_str()).collect());
    let routes = validator.routes(&root.key("routes"), routes.as_deref(), names.as_deref());
    let destinations = validator.destinations(&root.key("destinations"), entries?, &buffer);
    let routes = routes?;
    validator.warn_of_unused(&destinations, &routes);
    Some(Config {
        data_dir: file.data_dir.0,
        host: file.host.map(|host| host.0),
        tail: tail(file.tail),
        buffer,
        drain_timeout: file.drain_timeout.0,
        admin: file.admin.map(|admin| AdminSettings {
            listen: admin.listen.0,
        }),
        log: LogSettings {
            level: file.log.level.map(|level| level.0),
            format: match file.log.format {
                raw::LogStyle::Auto => LogFormat::Auto,
                raw::LogStyle::Text => LogFormat::Text,
                raw::LogStyle::Json => LogFormat::Json,
            },
        },
        destinations,
        routes,
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

    fn warn(&mut self, path: &Path, message: impl Into<String>) {
        let (place, path) = self.document.locate(path);
        self.warnings.add(place, &path, message);
    }

    fn destinations(
        &mut self,
        path: &Path,
        entries: Vec<(String, Option<raw::Destination>)>,
        buffer: &BufferSettings,
    ) -> Vec<DestinationConfig> {
        if entries.is_empty() {
            self.error(path, "is empty; name at least one place where records go");
        }
        let mut destinations = Vec::new();
        for (name, entry) in entries {
            let path = path.key(&name);
            if let Some(Err(message)) = raw::Form::named("name").map(|form| (form.check)(&name)) {
                let place = self.document.locate_key(&path);
                self.errors.add(place, &path, message);
            }
            let made = entry.and_then(|entry| match entry {
                raw::Destination::Firehose(typed) => self.firehose(&path, typed, buffer),
                raw::Destination::Kinesis(typed) => self.kinesis(&path, typed, buffer),
                raw::Destination::Directory(typed) => self.directory(&path, typed, buffer),
            });
            if let Some((to, queue)) = made {
                let name = DestinationName::from(name.as_str());
                destinations.push(DestinationConfig { name, queue, to });
            }
        }
        destinations
    }

    fn firehose(
        &mut self,
        path: &Path,
        typed: raw::Firehose,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let retry = self.retry(path, &typed.retry);
        self.need_role(path, &typed.role_arn, &typed.external_id, &typed.session_name);
        let packed = typed.packed_record.clone();
        if typed.packing == Some(raw::PackingKind::None) && packed.is_some() {
            let message = "has no meaning with `packing: none`, which sends one line a record; leave it out";
            self.error(&path.key("packed_record"), message);
        }
        let packed = packed.unwrap_or_default();
        let aws = typed.aws();
        let to = Firehose {
            stream: typed.stream?.0,
            aws,
            packing: match typed.packing? {
                raw::PackingKind::None => Packing::None,
                raw::PackingKind::Newline => Packing::Newline {
                    max_size: packed.max_size.0,
                    max_lines: packed.max_lines,
                },
            },
            batch: Batch {
                max_records: typed.batch.max_records,
                target_size: typed.batch.target_size.0,
                max_age: typed.batch.max_age.0,
                max_in_flight: typed.max_in_flight,
            },
            retry,
        };
        Some((Destination::Firehose(to), queue))
    }

    fn kinesis(
        &mut self,
        path: &Path,
        typed: raw::Kinesis,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let retry = self.retry(path, &typed.retry);
        self.need_role(path, &typed.role_arn, &typed.external_id, &typed.session_name);
        let aggregated = typed.aggregated_record.clone();
        if typed.aggregation == Some(raw::AggregationKind::None) && aggregated.is_some() {
            let message =
                "has no meaning with `aggregation: none`, which sends one line a record; leave it out";
            self.error(&path.key("aggregated_record"), message);
        }
        let aggregated_size = aggregated.unwrap_or_default().max_size.0;
        let max_record_size = typed.max_record_size.0;
        if typed.aggregation == Some(raw::AggregationKind::Newline) && aggregated_size > max_record_size {
            let message = format!(
                "aggregated_record.max_size ({aggregated_size}) is more than max_record_size ({max_record_size})"
            );
            self.error(&path.key("aggregated_record").key("max_size"), message);
        }
        let aws = typed.aws();
        let to = Kinesis {
            stream: typed.stream?.0,
            aws,
            aggregation: match typed.aggregation? {
                raw::AggregationKind::None => Aggregation::None,
                raw::AggregationKind::Newline => Aggregation::Newline {
                    max_size: aggregated_size,
                },
            },
            partition_key: match typed.partition_key.0 {
                key if key == "random" => PartitionKey::Random,
                key => PartitionKey::Fixed(key),
            },
            max_record_size,
            batch: Batch {
                max_records: typed.batch.max_records,
                target_size: typed.batch.target_size.0,
                max_age: typed.batch.max_age.0,
                max_in_flight: typed.max_in_flight,
            },
            retry,
        };
        Some((Destination::Kinesis(to), queue))
    }

    fn directory(
        &mut self,
        path: &Path,
        typed: raw::Directory,
        buffer: &BufferSettings,
    ) -> Option<(Destination, QueueSettings)> {
        let queue = self.queue(path, &typed.buffer, buffer);
        let to = Directory {
            path: typed.path?.0,
            max_size: typed.max_size.0,
            max_age: typed.max_age.0,
            compression: match typed.compression {
                raw::CompressionKind::None => Compression::None,
                raw::CompressionKind::Gzip => Compression::Gzip,
            },
        };
        Some((Destination::Directory(to), queue))
    }

    fn queue(&mut self, path: &Path, typed: &raw::Queue, buffer: &BufferSettings) -> QueueSettings {
        let path = path.key("buffer").key("max_size");
        let max_size = typed.max_size.0;
        let (chunk, all) = (buffer.chunk_size, buffer.max_size);
        // One chunk is written while the one before is delivered or given up.
        if max_size.0 < chunk.0.saturating_mul(2) {
            let message = format!(
                "its buffer's max_size of {max_size} is less than two chunks of {chunk}; raise it, or lower \
                 buffer.chunk_size"
            );
            self.error(&path, message);
        } else if max_size > all && self.document.locate(&path).1 == path {
            let message = format!("is never reached: all buffers together may take {all} (buffer.max_size)");
            self.warn(&path, message);
        }
        QueueSettings {
            max_size,
            when_full: match typed.when_full {
                raw::WhenQueueFull::Block => WhenFull::Block,
                raw::WhenQueueFull::DropOldest => WhenFull::DropOldest,
            },
        }
    }

    fn retry(&mut self, path: &Path, typed: &raw::RetryPauses) -> Retry {
        let retry = Retry {
            initial_backoff: typed.initial_backoff.0,
            max_backoff: typed.max_backoff.0,
        };
        if retry.initial_backoff > retry.max_backoff {
            let path = path.key("retry");
            self.error(&path, "initial_backoff is longer than max_backoff");
        }
        retry
    }

    /// What concerns an assumed role needs a role.
    fn need_role<A, B, C>(
        &mut self,
        path: &Path,
        role: &Option<A>,
        external_id: &Option<B>,
        session: &Option<C>,
    ) {
        // Where the role's ARN itself was refused, it is there nevertheless.
        if role.is_some() || self.document.locate(&path.key("role_arn")).1 == path.key("role_arn") {
            return;
        }
        for (key, said) in [
            ("external_id", external_id.is_some()),
            ("session_name", session.is_some()),
        ] {
            if said {
                self.error(&path.key(key), "is for assuming a role; say which by role_arn");
            }
        }
    }

    fn routes(
        &mut self,
        path: &Path,
        typed: Option<&[Option<raw::Route>]>,
        destinations: Option<&[&str]>,
    ) -> Option<Vec<RouteConfig>> {
        let typed = typed?;
        if typed.is_empty() {
            self.error(path, "is empty; say which files go where");
        }
        let mut names: BTreeMap<String, usize> = BTreeMap::new();
        let mut earlier: BTreeMap<String, usize> = BTreeMap::new();
        let mut routes = Vec::new();
        for (index, route) in typed.iter().enumerate() {
            let path = path.index(index);
            let Some(route) = route else { continue };
            let name = match &route.name {
                Some(name) => name.0.clone(),
                None => format!("route-{}", index + 1),
            };
            if let Some(first) = names.get(&name) {
                let message =
                    format!("{name:?} is also the name of routes[{first}]; every route needs its own");
                self.error(&path.key("name"), message);
            } else {
                names.insert(name.clone(), index);
            }
            self.warn_of_shadowed(&path, index, route, &mut earlier);
            let files = self.patterns(&path.key("files"), route.files.as_ref());
            let to = self.targets(&path.key("to"), route.to.as_ref(), destinations);
            let process = self.steps(&path.key("process"), &route.process);
            routes.push(RouteConfig {
                name: RouteName::from(name.as_str()),
                files,
                exclude: route.exclude.iter().map(|(_, glob)| glob.0.clone()).collect(),
                format: match route.format {
                    raw::FormatName::Plain => Format::Plain,
                    raw::FormatName::Cri => Format::Cri,
                    raw::FormatName::Docker => Format::Docker,
                },
                start_at: match route.start_at {
                    raw::StartPosition::End => StartAt::End,
                    raw::StartPosition::Beginning => StartAt::Beginning,
                },
                process,
                to,
            });
        }
        Some(routes)
    }

    fn patterns(&mut self, path: &Path, typed: Option<&raw::OneOrMany<raw::Glob>>) -> Vec<Pattern> {
        let Some(typed) = typed else {
            return Vec::new();
        };
        if typed.is_empty() {
            self.error(path, "is empty; name at least one pattern");
        }
        typed.iter().map(|(_, glob)| glob.0.clone()).collect()
    }

    fn targets(
        &mut self,
        path: &Path,
        typed: Option<&raw::OneOrMany<String>>,
        destinations: Option<&[&str]>,
    ) -> Vec<DestinationName> {
        let Some(typed) = typed else {
            return Vec::new();
        };
        if typed.is_empty() {
            self.error(path, "is empty; name at least one destination");
        }
        let mut seen = BTreeSet::new();
        for (index, name) in typed.iter() {
            let path = path.index(index);
            if !seen.insert(name) {
                self.error(&path, format!("{name:?} is there twice; keep one"));
            }
            // Without a list of destinations it is that which is missing.
            let Some(known) = destinations.filter(|known| !known.contains(&name.as_str())) else {
                continue;
            };
            let near = did_you_mean(name, known.iter().copied());
            let known = known.join(", ");
            self.error(
                &path,
                format!("there is no destination {name:?}{near}; there are: {known}"),
            );
        }
        typed
            .iter()
            .map(|(_, name)| DestinationName::from(name.as_str()))
            .collect()
    }

    fn steps(&mut self, path: &Path, typed: &raw::List<raw::Step>) -> Vec<Step> {
        typed
            .iter()
            .map(|(index, step)| self.step(&path.index(index), step))
            .collect()
    }

    fn step(&mut self, path: &Path, typed: &raw::Step) -> Step {
        match typed {
            raw::Step::Parse(raw::Parse::Named(raw::ParserName::Json)) => {
                Step::ParseJson(ParseJson::default())
            }
            raw::Step::Parse(raw::Parse::With(raw::ParseWith::Json(options))) => Step::ParseJson(ParseJson {
                under: options.under.as_ref().map(|field| field.0.clone()),
                keep_original: options.keep_original,
            }),
            raw::Step::Add(fields) => {
                let path = path.key("add");
                self.need_some(&path, fields.0.is_empty());
                let values = fields.0.iter().map(|(name, value)| {
                    self.need_field(&path, name);
                    let value = value.as_ref().map(|value| value.0.clone());
                    (name.clone(), value.unwrap_or_default())
                });
                Step::Add(values.collect())
            }
            raw::Step::Remove(fields) => {
                self.need_some(&path.key("remove"), fields.is_empty());
                Step::Remove(fields.iter().map(|(_, field)| field.0.clone()).collect())
            }
            raw::Step::Rename(fields) => {
                let path = path.key("rename");
                self.need_some(&path, fields.0.is_empty());
                let mut names = BTreeMap::new();
                for (from, to) in &fields.0 {
                    self.need_field(&path, from);
                    let Some(to) = to else { continue };
                    if *from == to.0 {
                        self.error(&path.key(from), "is renamed to itself; leave it out");
                    }
                    names.insert(from.clone(), to.0.clone());
                }
                Step::Rename(names)
            }
        }
    }

    fn need_some(&mut self, path: &Path, empty: bool) {
        if empty {
            self.error(path, "is empty; name at least one field, or leave the step out");
        }
    }

    fn need_field(&mut self, path: &Path, name: &str) {
        if let Some(Err(message)) = raw::Form::named("field").map(|form| (form.check)(name)) {
            let path = path.key(name);
            let place = self.document.locate_key(&path);
            self.errors.add(place, &path, message);
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

    /// A pattern that an earlier route has word for word, and excludes nothing from, never takes a file.
    fn warn_of_shadowed(
        &mut self,
        path: &Path,
        index: usize,
        route: &raw::Route,
        earlier: &mut BTreeMap<String, usize>,
    ) {
        let patterns = || route.files.iter().flat_map(raw::OneOrMany::iter);
        for (at, glob) in patterns() {
            if let Some(first) = earlier.get(glob.0.as_str()) {
                let message = format!("takes nothing: routes[{first}] has the same pattern and comes first");
                self.warn(&path.key("files").index(at), message);
            }
        }
        if route.exclude.is_empty() {
            for (_, glob) in patterns() {
                earlier.entry(glob.0.as_str().to_owned()).or_insert(index);
            }
        }
    }
}

fn tail(typed: raw::Tail) -> TailSettings {
    TailSettings {
        allowed_roots: typed
            .allowed_roots
            .iter()
            .map(|(_, folder)| folder.0.clone())
            .collect(),
        max_line: typed.max_line.0,
        rotate_wait: typed.rotate_wait.0,
        watch: match typed.watch {
            raw::WatchMode::Auto => Watch::Auto,
            raw::WatchMode::Poll => Watch::Poll,
        },
        poll_interval: typed.poll_interval.0,
        forget_after: typed.forget_after.0,
        flush_after: typed.flush_after.0,
    }
}
