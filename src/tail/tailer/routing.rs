//! Which route a file falls under, and what follows from that. Decided when a file is met, and anew for all of them
//! when the configuration is another: at a start, and in a process that goes on.

use std::path::{Path, PathBuf};

use tracing::info;
use xxhash_rust::xxh3::xxh3_64;

use super::super::checkpoint::{Entry, Progress, Status};
use super::super::discovery::{self, Roots, Selection};
use super::super::settings::{StartAt, TailSettings};
use super::beside::Base;
use super::scan::end_of;
use super::{EndWhenMet, Route, Tailer};
use crate::source::{DestinationName, Incarnation, RouteName, Verdict};

impl Tailer {
    /// Takes other routes and settings from now on. What is read stays where it stands, whichever route reads on. Files
    /// that no route takes any more are left; the next scan meets what is new.
    pub fn reroute(&mut self, settings: TailSettings, routes: Vec<Route>) {
        self.selections = routes.iter().map(|route| route.selection.clone()).collect();
        self.roots = roots(&settings, &self.selections);
        (self.settings, self.routes) = (settings, routes);
        // What was found out by the old routes is found out anew.
        self.refused.clear();
        let again = std::mem::take(&mut self.look_again).into_iter().filter_map(|base| {
            let route = discovery::route_of(&self.selections, &base.path)?;
            Some(Base { route, ..base })
        });
        self.look_again = again.collect();
        self.beside.clear();
        self.files.values_mut().for_each(|tracked| tracked.missed = false);
        self.assign();
    }

    /// Files that only an open descriptor holds and none of these routes takes: who leaves them loses what was not read.
    pub fn last_chance(&self, routes: &[Route]) -> Vec<Incarnation> {
        let selections: Vec<Selection> = routes.iter().map(|route| route.selection.clone()).collect();
        let mut files = self.deleted();
        files.retain(|incarnation| {
            self.entry(*incarnation).is_some_and(|entry| route_of(&selections, entry).is_none())
        });
        files
    }

    /// Puts each file that is followed under the route that takes it now. One that none takes is left where it stands:
    /// should a route take it again, it goes on from there.
    pub fn assign(&mut self) {
        self.assign_journals();
        let mut left = Vec::new();
        for (incarnation, tracked) in &mut self.files {
            let entry = &mut tracked.entry;
            if entry.journal.is_some() {
                continue;
            }
            let before = entry.route.clone();
            let taken = route_of(&self.selections, entry).map(|(route, path)| (route, path.to_owned()));
            let following = entry.status == Status::Following;
            let fate =
                following.then(|| put_under_its_route(&self.routes, &self.selections, entry, taken.as_ref()));
            if matches!(fate, Some(Fate::Stays | Fate::Waits)) {
                continue;
            }
            if let Some((route, _)) = &taken
                && entry.status != Status::Ignored
                && self.started.contains(&before)
                && !self.started.contains(&self.routes[*route].name)
            {
                self.handed_over.insert(entry.path.clone());
            }
            if fate == Some(Fate::Left) {
                info!(event = "file_left", path = %entry.path.display(), route = %entry.route, offset = entry.proof.end,
                    "no route takes this file any more; it is left where it stands");
                self.open -= usize::from(tracked.content.take().is_some());
                left.push(*incarnation);
            }
        }
        if !left.is_empty() {
            self.by_path.retain(|_, incarnation| !left.contains(incarnation));
        }
    }

    /// How many files there are of which it is not known yet which routes take them.
    pub fn unrouted(&self) -> usize {
        self.files.values().filter(|tracked| tracked.waits_for_route()).count()
    }

    /// Puts files under their routes that are known only now. Returns those that can be read from now on.
    pub fn decide(&mut self) -> Vec<Incarnation> {
        let mut decided = Vec::new();
        let mut left = Vec::new();
        for (incarnation, tracked) in self.files.iter_mut().filter(|(_, tracked)| tracked.waits_for_route()) {
            let entry = &mut tracked.entry;
            let Some((route, path)) = route_of(&self.selections, entry) else {
                info!(event = "file_left", path = %entry.path.display(), "no route takes this file, as is known now");
                // Should that be forgotten, it must not be taken for decided otherwise: it stays unrouted.
                entry.status = Status::Finished;
                self.open -= usize::from(tracked.content.take().is_some());
                left.push(*incarnation);
                continue;
            };
            if !discovery::is_decided(&self.selections, path) {
                continue;
            }
            let rules = rules_of(&self.routes, path);
            let (further, to) = further(&self.routes, route, path);
            let name = self.routes[route].name.clone();
            info!(event = "file_routed", path = %entry.path.display(), route = %name, "it is known which route takes this file");
            let fresh =
                entry.proof.end == 0 && entry.progress.iter().all(|progress| progress.position.offset == 0);
            if let Some(end) = tracked.end.take().filter(|end| fresh && end.routes.contains(&name)) {
                entry.proof = end.proof;
                entry.progress = to.iter().map(|to| Progress::at(to.clone(), end.position.clone())).collect();
            }
            (entry.route, entry.further, entry.unrouted, entry.rules) = (name, further, false, rules);
            reconcile_destinations(entry, &to);
            decided.push(*incarnation);
        }
        self.by_path.retain(|_, incarnation| !left.contains(incarnation));
        decided
    }

    /// Notes where a file ends that was just met, should a route take it that begins there.
    pub(super) fn note_end(&mut self, incarnation: Incarnation, first: Vec<RouteName>) {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return };
        let Some(content) =
            tracked.content.as_mut().filter(|content| !first.is_empty() && !content.is_gzip())
        else {
            return;
        };
        let end = content.metadata().and_then(|metadata| end_of(content, metadata.len()));
        tracked.end = end.ok().map(|(position, proof)| EndWhenMet { routes: first, position, proof });
    }

    /// The routes that start now, at the end of files that are there.
    pub(super) fn beginning_at_ends(&self, path: &Path) -> Vec<RouteName> {
        let routes = self.routes.iter().enumerate();
        let begin = routes.filter(|(at, route)| route.start_at == StartAt::End && self.is_first(*at, path));
        begin.map(|(_, route)| route.name.clone()).collect()
    }

    /// Whether a file stays under its routes, whatever they would take now: they were chosen by what was known when it was
    /// met, and that may be something else by now.
    pub(super) fn stays(&self, entry: &Entry, path: &Path) -> bool {
        !entry.unrouted
            && self.selections.iter().any(Selection::is_by_more)
            && entry.moved_to.as_deref().unwrap_or(&entry.path) == path
            && entry.rules == rules_of(&self.routes, path)
            && self.routes.iter().any(|route| route.name == entry.route)
    }

    /// A file of the same log of which it is known under which routes it falls.
    pub(super) fn routed_before(&self, path: &Path) -> Option<&Entry> {
        let rules = rules_of(&self.routes, path);
        let known = |entry: &&Entry| {
            let exists = |name: &RouteName| self.routes.iter().any(|route| route.name == *name);
            !entry.unrouted
                && entry.path == path
                && entry.rules == rules
                && entry.status != Status::Ignored
                && exists(&entry.route)
        };
        self.of_logs(&[Some(path)]).map(|tracked| &tracked.entry).find(known)
    }

    /// Puts a file that was left, maybe under another configuration, under the route that takes it now. Returns whether
    /// it is followed again.
    pub(super) fn take_up(&mut self, incarnation: Incarnation) -> bool {
        let Some(tracked) = self.files.get_mut(&incarnation) else { return false };
        let entry = &mut tracked.entry;
        let taken = route_of(&self.selections, entry).map(|(route, path)| (route, path.to_owned()));
        put_under_its_route(&self.routes, &self.selections, entry, taken.as_ref()) != Fate::Left
    }

    /// Whether a route starts for the first time ever, as far as a log goes: what another route has followed before goes
    /// on.
    pub(super) fn is_first(&self, route: usize, path: &Path) -> bool {
        !self.started.contains(&self.routes[route].name) && !self.handed_over.contains(path)
    }

    /// The files that are open, and the sequences of the journal that are read.
    pub fn opened(&self) -> Vec<Incarnation> {
        let open = |tracked: &super::Tracked| {
            tracked.is_open() || tracked.entry.journal.is_some() && tracked.entry.status == Status::Following
        };
        let open = self.files.iter().filter(|(_, tracked)| open(tracked));
        open.map(|(incarnation, _)| *incarnation).collect()
    }
}

pub(super) fn roots(settings: &TailSettings, selections: &[Selection]) -> Roots {
    Roots::new(&settings.allowed_roots, selections.iter().flat_map(|selection| &selection.files))
}

/// The route that takes a file by the name that it has now, or else by the one under which it was met: rotation gives it
/// names that no route knows.
fn route_of<'e>(selections: &[Selection], entry: &'e Entry) -> Option<(usize, &'e Path)> {
    let mut names = entry.moved_to.iter().chain([&entry.path]);
    names.find_map(|path| Some((discovery::route_of(selections, path)?, path.as_path())))
}

/// Under which route a file that is followed is from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Under those that it was under: the same rules count, whatever is known now.
    Stays,
    /// It is not known yet; nothing is read before.
    Waits,
    /// Under the one that takes it now.
    Moves,
    /// No route takes it.
    Left,
}

fn put_under_its_route(
    routes: &[Route],
    selections: &[Selection],
    entry: &mut Entry,
    taken: Option<&(usize, PathBuf)>,
) -> Fate {
    let Some((route, path)) = taken else {
        entry.status = Status::Finished;
        // Should what this was decided by be forgotten, it must not be taken for decided otherwise.
        entry.unrouted = selections.iter().any(Selection::is_by_more);
        return Fate::Left;
    };
    let rules = rules_of(routes, path);
    if !entry.unrouted && rules.is_some() && entry.rules == rules {
        let to = destinations_of(routes, entry);
        reconcile_destinations(entry, &to);
        return Fate::Stays;
    }
    entry.rules = rules;
    entry.unrouted = !discovery::is_decided(selections, path);
    if entry.unrouted {
        return Fate::Waits;
    }
    let (further, to) = further(routes, *route, path);
    entry.route.clone_from(&routes[*route].name);
    entry.further = further;
    reconcile_destinations(entry, &to);
    Fate::Moves
}

/// By which rules it is decided where a file of this path goes; none where its path alone decides. The same as long as the
/// routes that may take it are called and ask for the same, in the same order: others do not matter.
pub(super) fn rules_of(routes: &[Route], path: &Path) -> Option<u64> {
    let mut text = String::new();
    let mut by_more = false;
    for route in routes.iter().filter(|route| route.selection.may_take(path)) {
        let (rule, go_on) = (route.selection.rule(), route.selection.go_on);
        by_more |= rule.is_some();
        text.push_str(&format!("{:?} {rule:?} {go_on}\n", route.name.as_str()));
        if rule.is_none() && !go_on {
            break;
        }
    }
    by_more.then(|| xxh3_64(text.as_bytes()))
}

/// The routes that a file falls under beside its first, and the destinations of all of them.
pub(super) fn further(routes: &[Route], first: usize, path: &Path) -> (Vec<RouteName>, Vec<DestinationName>) {
    let mut to = routes[first].to.clone();
    let mut names = Vec::new();
    let mut goes_on = routes[first].selection.go_on;
    for route in routes[first + 1..].iter().filter(|route| route.selection.verdict(path) == Verdict::Takes) {
        if !goes_on {
            break;
        }
        goes_on = route.selection.go_on;
        names.push(route.name.clone());
        let more: Vec<DestinationName> = route.to.iter().filter(|name| !to.contains(name)).cloned().collect();
        to.extend(more);
    }
    // What stands in place of a destination where a route has none.
    if to.iter().any(|name| !name.as_str().is_empty()) {
        to.retain(|name| !name.as_str().is_empty());
    }
    (names, to)
}

/// Where the routes of a file send what is read of it.
pub(super) fn destinations_of(routes: &[Route], entry: &Entry) -> Vec<DestinationName> {
    let under = |route: &&Route| route.name == entry.route || entry.further.contains(&route.name);
    let mut all: Vec<DestinationName> = Vec::new();
    for to in routes.iter().filter(under).flat_map(|route| &route.to) {
        if !all.contains(to) {
            all.push(to.clone());
        }
    }
    // What stands in place of a destination where a route has none.
    if all.iter().any(|name| !name.as_str().is_empty()) {
        all.retain(|name| !name.as_str().is_empty());
    }
    all
}

/// How far a file is for the destinations of its routes. It may stand elsewhere for one that it no longer goes to, which
/// concerns nobody until it does again.
pub(super) fn progress<'a>(routes: &[Route], entry: &'a Entry) -> impl Iterator<Item = &'a Progress> {
    let under = |route: &&Route| route.name == entry.route || entry.further.contains(&route.name);
    let goes_to =
        move |progress: &&Progress| routes.iter().filter(under).any(|route| route.to.contains(&progress.to));
    entry.progress.iter().filter(goes_to)
}

/// Gives an entry progress for every destination of its route. One that was added to the configuration begins
/// where the others are; one that comes back, where it was, but lines that a route without destinations dropped
/// meanwhile stay dropped.
pub(super) fn reconcile_destinations(entry: &mut Entry, to: &[DestinationName]) {
    let furthest =
        entry.progress.iter().map(|progress| &progress.position).max_by_key(|position| position.offset);
    let furthest = furthest.cloned().unwrap_or_default();
    // What stood in place of a destination is of no more use once there is one.
    let nowhere = |progress: &Progress| progress.to.as_str().is_empty() && !to.contains(&progress.to);
    if let Some(at) = entry.progress.iter().position(nowhere) {
        let dropped = entry.progress.remove(at);
        // What a destination that was behind still lacks comes first, and then all that follows.
        let (began, ended) = (dropped.buffered.offset, dropped.position);
        for progress in &mut entry.progress {
            if (began..ended.offset).contains(&progress.position.offset) {
                progress.position = ended.clone();
            }
        }
    }
    for name in to {
        if !entry.progress.iter().any(|progress| progress.to == *name) {
            entry.progress.push(Progress::at(name.clone(), furthest.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::{Only, Pattern};

    fn route(name: &str, files: &str, rule: Option<&str>, go_on: bool) -> Route {
        let only = rule.map(|rule| Only::those(|_| true).once_known(rule, |_| Verdict::Unknown));
        let files = vec![Pattern::new(files).unwrap()];
        let selection = Selection { files, exclude: Vec::new(), only, go_on };
        Route { name: name.into(), selection, journal: None, start_at: StartAt::End, to: Vec::new() }
    }

    #[test]
    fn the_rules_are_the_same_as_long_as_the_routes_that_may_take_a_file_ask_for_the_same() {
        let rules = |routes: &[Route]| rules_of(routes, Path::new("/pods/a.log"));
        let all = || route("all", "/pods/*.log", None, false);
        let team = |name: &str, rule: &str| route(name, "/pods/*.log", Some(rule), false);
        let elsewhere = || route("nginx", "/nginx/*.log", Some("x"), false);
        assert_eq!(rules(&[all()]), None, "the path decides");
        assert_eq!(rules(&[all(), team("team", "a")]), None, "it never comes to the labels");
        let first = rules(&[team("team", "a"), all()]);
        assert!(first.is_some());
        assert_eq!(rules(&[elsewhere(), team("team", "a"), all(), elsewhere()]), first);
        for others in [
            vec![team("team", "b"), all()],
            vec![team("other", "a"), all()],
            vec![team("team", "a")],
            vec![team("first", "b"), team("team", "a"), all()],
            vec![route("team", "/pods/*.log", Some("a"), true), all()],
        ] {
            assert_ne!(rules(&others), first);
        }
    }
}
