//! Which route a file falls under, and what follows from that. Decided when a file is met, and anew for all of them
//! when the configuration is another: at a start, and in a process that goes on.

use std::path::Path;

use tracing::info;

use super::super::checkpoint::{Entry, Progress, Status};
use super::super::discovery::{self, Roots, Selection};
use super::super::settings::TailSettings;
use super::{Route, Tailer};
use crate::source::{DestinationName, Incarnation, RouteName};

impl Tailer {
    /// Takes other routes and settings from now on. What is read stays where it stands, whichever route reads on. Files
    /// that no route takes any more are left; the next scan meets what is new.
    pub fn reroute(&mut self, settings: TailSettings, routes: Vec<Route>) {
        self.selections = routes.iter().map(|route| route.selection.clone()).collect();
        self.roots = roots(&settings, &self.selections);
        (self.settings, self.routes) = (settings, routes);
        // What was found out by the old routes is found out anew.
        self.refused.clear();
        self.look_again.clear();
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
        let mut left = Vec::new();
        for (incarnation, tracked) in &mut self.files {
            let entry = &mut tracked.entry;
            let taken = route_of(&self.selections, entry);
            if let Some((route, _)) = taken
                && entry.status != Status::Ignored
                && self.started.contains(&entry.route)
                && !self.started.contains(&self.routes[route].name)
            {
                self.handed_over.insert(entry.path.clone());
            }
            if entry.status != Status::Following {
                continue;
            }
            if !put_under_its_route(&self.routes, &self.selections, entry) {
                info!(event = "file_left", path = %entry.path.display(), route = %entry.route, offset = entry.proof.end,
                    "no route takes this file any more; it is left where it stands");
                entry.status = Status::Finished;
                self.open -= usize::from(tracked.content.take().is_some());
                left.push(*incarnation);
            }
        }
        if !left.is_empty() {
            self.by_path.retain(|_, incarnation| !left.contains(incarnation));
        }
    }

    /// Whether a route starts for the first time ever, as far as a log goes: what another route has followed before goes
    /// on.
    pub(super) fn is_first(&self, route: usize, path: &Path) -> bool {
        !self.started.contains(&self.routes[route].name) && !self.handed_over.contains(path)
    }

    /// The files that are open.
    pub fn opened(&self) -> Vec<Incarnation> {
        let open = self.files.iter().filter(|(_, tracked)| tracked.is_open());
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

/// Puts a file under the route that takes it now. Returns whether one does.
pub(super) fn put_under_its_route(routes: &[Route], selections: &[Selection], entry: &mut Entry) -> bool {
    let Some((route, path)) = route_of(selections, entry) else { return false };
    let (further, to) = further(routes, route, path);
    entry.route.clone_from(&routes[route].name);
    entry.further = further;
    reconcile_destinations(entry, &to);
    true
}

/// The routes that a file falls under beside its first, and the destinations of all of them.
pub(super) fn further(routes: &[Route], first: usize, path: &Path) -> (Vec<RouteName>, Vec<DestinationName>) {
    let mut to = routes[first].to.clone();
    let mut names = Vec::new();
    let mut goes_on = routes[first].selection.go_on;
    for route in routes[first + 1..].iter().filter(|route| route.selection.takes(path)) {
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
