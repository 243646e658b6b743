//! `routes`: names that must differ, destinations that must exist, steps that must do something.

use std::collections::{BTreeMap, BTreeSet};

use super::Validator;
use crate::config::diagnostics::{Path, did_you_mean};
use crate::config::raw;
use crate::config::settings::RouteConfig;
use crate::decode::Format;
use crate::process::{ParseJson, Step};
use crate::source::{DestinationName, RouteName};
use crate::tail::{Pattern, RateLimit, RatePer, StartAt, WhenExceeded};

/// The most patterns of paths in all routes together.
const MAX_PATTERNS: usize = 1000;

impl Validator<'_> {
    pub(super) fn routes(
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
        let patterns = typed.iter().flatten().map(|route| {
            route.files.iter().flat_map(raw::OneOrMany::iter).count() + route.exclude.iter().count()
        });
        let patterns: usize = patterns.sum();
        if patterns > MAX_PATTERNS {
            let message = format!(
                "there are {patterns} patterns in `files` and `exclude`; at most {MAX_PATTERNS} are allowed, since \
                 every file is held against them; join some with {{a,b}} or **"
            );
            self.error(path, message);
        }
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
                rate_limit: self.rate_limit(&path.key("rate_limit"), route.rate_limit.as_ref()),
                process,
                to,
            });
        }
        Some(routes)
    }

    fn rate_limit(&mut self, path: &Path, typed: Option<&raw::Rate>) -> Option<RateLimit> {
        let typed = typed?;
        if typed.bytes.is_none() && typed.lines.is_none() {
            self.error(path, "limits nothing; give `bytes` or `lines` a second, or remove it");
        }
        Some(RateLimit {
            per: match typed.per {
                raw::RateOf::File => RatePer::File,
                raw::RateOf::Route => RatePer::Route,
            },
            bytes: typed.bytes.as_ref().map(|bytes| bytes.0),
            lines: typed.lines,
            when_exceeded: match typed.when_exceeded {
                raw::WhenRateExceeded::Pause => WhenExceeded::Pause,
                raw::WhenRateExceeded::Drop => WhenExceeded::Drop,
            },
        })
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
            self.error(&path, format!("there is no destination {name:?}{near}; there are: {known}"));
        }
        typed.iter().map(|(_, name)| DestinationName::from(name.as_str())).collect()
    }

    fn steps(&mut self, path: &Path, typed: &raw::List<raw::Step>) -> Vec<Step> {
        typed.iter().map(|(index, step)| self.step(&path.index(index), step)).collect()
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
