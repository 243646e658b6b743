//! `routes`: names that must differ, destinations that must exist.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Validator;
use crate::config::diagnostics::{Path, did_you_mean};
use crate::config::raw;
use crate::config::settings::RouteConfig;
use crate::decode::{Decoding, Format, Limits};
use crate::encode::Layout;
use crate::kubernetes::{OnUnknown, PodPattern};
use crate::process::Condition;
use crate::source::{DestinationName, RouteName};
use crate::tail::{Pattern, RateLimit, RatePer, StartAt, WhenExceeded};

/// The most patterns of paths in all routes together.
const MAX_PATTERNS: usize = 1000;

pub(super) const NEEDS_API: &str =
    "needs a section `kubernetes`: this is known from the API alone; `kubernetes: {}` will do";

impl Validator<'_> {
    pub(super) fn routes(
        &mut self,
        path: &Path,
        typed: Option<&[Option<raw::Route>]>,
        destinations: Option<&[&str]>,
        layout: &Layout,
        limits: Limits,
        has_api: bool,
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
            self.warn_of_further(&path, index, route, typed);
            let journal = self.journal(&path, route);
            let files = self.patterns(&path.key("files"), route.files.as_ref());
            let (to, when) = self.targets(&path.key("to"), route.to.as_ref(), destinations);
            let record = route.record.as_ref().map(|record| self.record(&path.key("record"), record));
            let pods = route.pods.as_ref().map(|pods| self.pods(&path.key("match"), pods, has_api));
            if !route.annotations.is_empty() && !has_api {
                self.error(&path.key("annotations"), NEEDS_API);
            }
            let layout = record.unwrap_or_else(|| layout.clone());
            let multiline =
                route.multiline.as_ref().map(|multiline| self.multiline(&path.key("multiline"), multiline));
            let process = self.steps(&path.key("process"), &route.process, &layout);
            if route.skip_header_lines > 0 && !matches!(route.format, raw::FormatName::Plain) {
                self.error(
                    &path.key("skip_header_lines"),
                    "has a meaning only with `format: plain`: a container's log begins with no header",
                );
            }
            routes.push(RouteConfig {
                journal,
                name: RouteName::from(name.as_str()),
                files,
                go_on: route.go_on,
                exclude: route.exclude.iter().map(|(_, glob)| glob.0.clone()).collect(),
                pods,
                annotations: route.annotations.iter().filter_map(|(_, name)| name.wish()).collect(),
                opt_in: route.annotations.iter().any(|(_, name)| *name == raw::WishName::OptIn),
                decoding: Decoding {
                    format: match route.format {
                        raw::FormatName::Plain => Format::Plain,
                        raw::FormatName::Cri => Format::Cri,
                        raw::FormatName::Docker => Format::Docker,
                        raw::FormatName::Journald => Format::Journald,
                    },
                    limits,
                    multiline: multiline.map(Arc::new),
                },
                start_at: match route.start_at {
                    raw::StartPosition::End => StartAt::End,
                    raw::StartPosition::Beginning => StartAt::Beginning,
                },
                rate_limit: self.rate_limit(&path.key("rate_limit"), route.rate_limit.as_ref()),
                process,
                layout,
                skip_header_lines: route.skip_header_lines,
                to,
                when,
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

    /// The destinations of a route, and the conditions of those that have one.
    fn targets(
        &mut self,
        path: &Path,
        typed: Option<&raw::OneOrMany<raw::Target>>,
        destinations: Option<&[&str]>,
    ) -> (Vec<DestinationName>, Vec<(DestinationName, Condition)>) {
        let (mut to, mut conditions) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for (index, target) in typed.into_iter().flat_map(raw::OneOrMany::iter) {
            let path = path.index(index);
            let (name, when) = match target {
                raw::Target::Named(name) => (name, None),
                raw::Target::With(with) => {
                    let Some(name) = &with.destination else { continue };
                    (name, with.when.as_ref().map(|when| self.condition(&path.key("when"), when)))
                }
            };
            if !seen.insert(name) {
                self.error(&path, format!("{name:?} is there twice; keep one"));
            }
            to.push(DestinationName::from(name.as_str()));
            conditions.extend(when.map(|when| (DestinationName::from(name.as_str()), when)));
            // Without a list of destinations it is that which is missing.
            let Some(known) = destinations.filter(|known| !known.contains(&name.as_str())) else {
                continue;
            };
            let near = did_you_mean(name, known.iter().copied());
            let known = known.join(", ");
            self.error(&path, format!("there is no destination {name:?}{near}; there are: {known}"));
        }
        (to, conditions)
    }

    fn pods(&mut self, path: &Path, typed: &raw::PodMatch, has_api: bool) -> PodPattern {
        let names =
            |typed: &raw::OneOrMany<raw::NameGlob>| typed.iter().map(|(_, name)| name.0.clone()).collect();
        let (namespaces, pods, containers): (Vec<_>, Vec<_>, Vec<_>) =
            (names(&typed.namespace), names(&typed.pod), names(&typed.container));
        let labels =
            typed.labels.0.iter().filter_map(|(name, typed)| Some((name.clone(), names(typed.as_ref()?))));
        let labels: Vec<(String, Vec<_>)> = labels.collect();
        if namespaces.is_empty() && pods.is_empty() && containers.is_empty() && typed.labels.0.is_empty() {
            self.error(path, "is empty; name a `namespace`, `pod`, `container` or `labels`, or leave it out");
        }
        for (name, patterns) in &labels {
            if patterns.is_empty() {
                self.error(
                    &path.key("labels").key(name),
                    "is empty; name what it must be, or * for anything",
                );
            }
        }
        if !labels.is_empty() && !has_api {
            self.error(&path.key("labels"), NEEDS_API);
        }
        let on_unknown = match typed.on_unknown {
            raw::WhenUnknown::Wait => OnUnknown::Wait,
            raw::WhenUnknown::Take => OnUnknown::Take,
            raw::WhenUnknown::Leave => OnUnknown::Leave,
        };
        if labels.is_empty() && on_unknown != OnUnknown::Wait {
            self.error(
                &path.key("on_unknown"),
                "has a meaning only with `labels`; all else is known from the path",
            );
        }
        PodPattern { namespaces, pods, containers, labels, on_unknown }
    }

    /// `continue` needs a route to go on to; and a file is read only as its first route says.
    fn warn_of_further(&mut self, path: &Path, index: usize, route: &raw::Route, all: &[Option<raw::Route>]) {
        if route.go_on && index + 1 == all.len() {
            self.warn(&path.key("continue"), "has no meaning in the last route, which no other follows");
        }
        let patterns = |route: &raw::Route| -> Vec<Pattern> {
            route.files.iter().flat_map(raw::OneOrMany::iter).map(|(_, glob)| glob.0.clone()).collect()
        };
        let here = patterns(route);
        let before = all[..index].iter().enumerate().filter_map(|(at, before)| Some((at, before.as_ref()?)));
        for (at, before) in before.filter(|(_, before)| before.go_on) {
            let meet =
                patterns(before).iter().any(|other| here.iter().any(|pattern| pattern.may_meet(other)));
            let as_said = |route: &raw::Route| {
                let raw::Route { format, multiline, start_at, skip_header_lines, rate_limit, .. } = route;
                format!("{format:?} {multiline:?} {start_at:?} {skip_header_lines} {rate_limit:?}")
            };
            if meet && as_said(before) != as_said(route) {
                let message = format!(
                    "reads files otherwise than routes[{at}], which looks further (`continue: true`): what routes[{at}] \
                     takes, too, is read as that says; let `format`, `multiline`, `start_at`, `skip_header_lines` and \
                     `rate_limit` of both be alike, or let their `files` differ"
                );
                self.warn(path, message);
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
        if route.exclude.is_empty() && route.pods.is_none() && !route.go_on {
            for (_, glob) in patterns() {
                earlier.entry(glob.0.as_str().to_owned()).or_insert(index);
            }
        }
    }
}
