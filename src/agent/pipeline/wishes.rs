//! What pods say of their own logs by annotations, as far as a route lets them: which of its lines are left out, and how they
//! are taken apart and joined.
//!
//! It counts from when it is known, for lines that are read after that, and costs a line nothing but a look at its stream.
//! What is not understood is told and counted once, and counts as not said.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use tracing::warn;

use super::lane::{Cursor, Lane};
use super::pods::{PodOfLane, Pods};
use super::{Pipeline, Plan};
use crate::config::{self, RouteConfig};
use crate::decode::{Decoding, Multiline};
use crate::kubernetes::{Pod, PodFacts, Said, Wish};
use crate::process::{Action, Chain, Instance, OnError, Parse, Parser, Step, StepCounts};
use crate::source::Stream;

/// What is remembered of annotations that were told already. Beyond that some are told again.
const TOLD: usize = 4096;

/// What a route lets its pods say, and what it needs for that.
#[derive(Debug, Default)]
pub(in crate::agent) struct Own {
    allowed: Vec<Wish>,
    /// Lines of a pod that does not ask for them are left out.
    opt_in: bool,
    steps: Vec<Step>,
    instance: Option<Instance>,
    /// Its steps with parsers that pods have chosen.
    chains: Vec<(Option<Parser>, Chain)>,
}

/// What counts for one file under one route, for each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    excluded: [bool; Stream::ALL.len()],
    chain: [Option<usize>; Stream::ALL.len()],
}

/// How a file is joined that its pod speaks of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Joined {
    /// By this text.
    said: String,
    decoding: Decoding,
}

impl Own {
    pub(in crate::agent) fn new(route: &RouteConfig, instance: &Instance) -> Self {
        let parses = route.annotations.contains(&Wish::Parser);
        Self {
            allowed: route.annotations.clone(),
            opt_in: route.opt_in,
            steps: if parses { route.process.clone() } else { Vec::new() },
            instance: Some(instance.clone()),
            chains: Vec::new(),
        }
    }

    fn allows(&self, wish: Wish) -> bool {
        self.allowed.contains(&wish) || self.opt_in && wish == Wish::Exclude
    }

    /// Whether it makes no difference what pods say.
    fn is_deaf(&self) -> bool {
        self.allowed.is_empty() && !self.opt_in
    }

    /// The route's steps with this parser in the place of its own. There are as many chains as parsers can be chosen.
    fn chain_with(&mut self, parser: Option<Parser>) -> usize {
        if let Some(at) = self.chains.iter().position(|(other, _)| *other == parser) {
            return at;
        }
        let chain = Chain::new(steps_with(&self.steps, parser.clone()));
        let chain = match &self.instance {
            Some(instance) => chain.on(instance),
            None => chain,
        };
        self.chains.push((parser, chain));
        self.chains.len() - 1
    }
}

/// The parser of a message's text takes the place of the first that there is, under the same conditions for what does not
/// parse; where there is none it comes first. None takes the first away.
fn steps_with(steps: &[Step], parser: Option<Parser>) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let at = parser_of_text(&steps);
    let own = parser.map(|parser| match at.map(|at| &steps[at]) {
        Some(Step { action: Action::Parse(parse), on_error, error_field, .. }) => Step {
            action: Action::Parse(Parse { parser, types: Vec::new(), ..parse.clone() }),
            when: None,
            on_error: *on_error,
            error_field: error_field.clone(),
        },
        _ => Step {
            action: Action::Parse(Parse::with(parser)),
            when: None,
            on_error: OnError::default(),
            error_field: None,
        },
    });
    match (at, own) {
        (Some(at), Some(own)) => steps[at] = own,
        (Some(at), None) => drop(steps.remove(at)),
        (None, Some(own)) => steps.insert(0, own),
        (None, None) => {}
    }
    steps
}

impl Plan {
    /// The steps that a message of a stream takes.
    pub(super) fn chain_of(&self, chosen: &Chosen, stream: Stream) -> &Chain {
        let own = chosen.chain[stream as usize].and_then(|at| self.own.chains.get(at));
        own.map_or(&self.chain, |(_, chain)| chain)
    }

    /// What all its steps did since this was last called. A step counts at its place in the route, and a parser that the route
    /// has no place for behind all that it has.
    pub(super) fn take_counts(&self) -> Vec<StepCounts> {
        let mut all = self.chain.take_counts();
        for (parser, chain) in &self.own.chains {
            let place = |counts: StepCounts| StepCounts {
                step: place_of(counts.step, &self.own.steps, parser.is_some()),
                ..counts
            };
            all.extend(chain.take_counts().into_iter().map(place));
        }
        all
    }
}

/// The place of a route's parser of the text.
fn parser_of_text(steps: &[Step]) -> Option<usize> {
    let of_text = |step: &Step| matches!(&step.action, Action::Parse(parse) if parse.field.is_none());
    steps.iter().position(of_text)
}

/// The place in a route of a step of the chain in which a parser stands for the route's own, or none does.
fn place_of(step: usize, steps: &[Step], parses: bool) -> usize {
    match (parser_of_text(steps), parses) {
        (Some(_), true) | (None, false) => step,
        (Some(left_out), false) => step + usize::from(step >= left_out),
        // Behind it stands `to`.
        (None, true) => step.checked_sub(1).unwrap_or(steps.len() + 1),
    }
}

impl Chosen {
    /// Whether a message of this stream is left out.
    pub(super) fn excludes(&self, stream: Stream) -> bool {
        self.excluded[stream as usize]
    }
}

/// What a pod says of one of its files.
pub(super) struct SaidOfFile {
    /// For each of the routes that it falls under.
    pub(super) chosen: Vec<Chosen>,
    pub(super) joined: Option<Joined>,
}

impl Pipeline {
    /// What the pod behind a file says of it, under its routes. `before` is how it is joined so far.
    pub(super) fn said(
        &mut self,
        routes: &[usize],
        pod: Option<&PodOfLane>,
        before: Option<Joined>,
    ) -> SaidOfFile {
        let Some(PodOfLane { pod, facts, .. }) = pod else {
            return SaidOfFile { chosen: vec![Chosen::default(); routes.len()], joined: None };
        };
        let facts = facts.as_deref();
        let chosen = routes.iter().map(|route| self.chosen(*route, pod, facts)).collect();
        let joined = routes.first().and_then(|route| self.joined(*route, pod, facts, before));
        SaidOfFile { chosen, joined }
    }

    /// Goes on by what is known of the file's pod now. Where its lines are joined otherwise, what is open is read again.
    pub(super) fn listen(&mut self, lane: &mut Lane) {
        let routes: Vec<usize> = lane.branches.iter().map(|branch| branch.route).collect();
        let SaidOfFile { chosen, joined } = self.said(&routes, lane.pod.as_ref(), lane.joined.clone());
        for (branch, chosen) in lane.branches.iter_mut().zip(chosen) {
            branch.chosen = chosen;
        }
        if joined == lane.joined {
            return;
        }
        lane.joined = joined;
        let decoding = lane.decoding(&self.plans).clone();
        for cursor in &mut lane.cursors {
            let mut again = Cursor::at(cursor.to.clone(), cursor.position.clone(), cursor.proof, &decoding);
            if let Some(until) = cursor.until.take() {
                again = again.until(until);
            }
            again.blocked = cursor.blocked;
            *cursor = again;
        }
    }

    /// What a pod says of one of its container's files, under a route.
    fn chosen(&mut self, route: usize, pod: &Pod, facts: Option<&PodFacts>) -> Chosen {
        let mut chosen = Chosen::default();
        let Some(facts) = facts.filter(|_| !self.plans[route].own.is_deaf()) else { return chosen };
        for (name, value, why) in facts.misunderstood() {
            self.pods.refuse(pod, Wish::UNKNOWN, name, value, &why);
        }
        for stream in Stream::ALL {
            let own = &self.plans[route].own;
            let unless_said = own.opt_in;
            chosen.excluded[stream as usize] = unless_said;
            if own.allows(Wish::Exclude)
                && let Some(said) = facts.said(Wish::Exclude, &pod.container, stream)
            {
                chosen.excluded[stream as usize] =
                    self.understood(pod, &said, exclude).unwrap_or(unless_said);
            }
            if self.plans[route].own.allows(Wish::Parser)
                && let Some(said) = facts.said(Wish::Parser, &pod.container, stream)
                && let Some(parser) = self.understood(pod, &said, parser)
            {
                chosen.chain[stream as usize] = Some(self.plans[route].own.chain_with(parser));
            }
        }
        chosen
    }

    /// How a pod wants one of its container's files joined, where its route lets it. None where that is as the route says.
    fn joined(
        &mut self,
        route: usize,
        pod: &Pod,
        facts: Option<&PodFacts>,
        before: Option<Joined>,
    ) -> Option<Joined> {
        let facts = facts.filter(|_| self.plans[route].own.allows(Wish::Multiline))?;
        let said = facts.said(Wish::Multiline, &pod.container, Stream::Plain)?;
        if before.as_ref().is_some_and(|before| before.said == said.value) {
            return before;
        }
        let own = self.understood(pod, &said, |said| multiline(said.value))?;
        let route = &self.plans[route].decoding;
        let own = own.map(|mut own| {
            if let Some(multiline) = &route.multiline {
                (own.flush_after, own.max_size, own.max_lines) =
                    (multiline.flush_after, multiline.max_size, multiline.max_lines);
            }
            Arc::new(own)
        });
        let decoding = Decoding { multiline: own, ..route.clone() };
        Some(Joined { said: said.value.to_owned(), decoding })
    }

    fn understood<T>(
        &mut self,
        pod: &Pod,
        said: &Said<'_>,
        read: impl FnOnce(&Said<'_>) -> Result<T, String>,
    ) -> Option<T> {
        match read(said) {
            Ok(wish) => Some(wish),
            Err(why) => {
                self.pods.refuse(pod, said.what().name(), said.name, said.value, &why);
                None
            }
        }
    }
}

impl Lane {
    /// How its lines become messages.
    pub(super) fn decoding<'d>(&'d self, plans: &'d [Plan]) -> &'d Decoding {
        self.joined.as_ref().map_or(&plans[self.route].decoding, |joined| &joined.decoding)
    }
}

impl Joined {
    pub(super) fn decoding(&self) -> &Decoding {
        &self.decoding
    }
}

fn exclude(said: &Said<'_>) -> Result<bool, String> {
    match said.value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("write \"true\" or \"false\", in quotes".to_owned()),
    }
}

/// The parser; none where the text is to stay as it is.
fn parser(said: &Said<'_>) -> Result<Option<Parser>, String> {
    let name = match said.value {
        "none" if !said.of_fluent_bit => return Ok(None),
        // What Fluent Bit is delivered with and calls otherwise.
        "docker" if said.of_fluent_bit => "json",
        "apache" | "apache2" if said.of_fluent_bit => "combined_apache_log",
        "apache_error" if said.of_fluent_bit => "apache_error_log",
        "nginx" if said.of_fluent_bit => "nginx_access",
        "syslog-rfc3164" | "syslog-rfc3164-local" | "syslog-rfc5424" if said.of_fluent_bit => "syslog",
        name => name,
    };
    config::parser_named(name).map(Some)
}

/// The stack traces; none where each line is a record.
fn multiline(names: &str) -> Result<Option<Multiline>, String> {
    if names == "none" {
        return Ok(None);
    }
    config::traces_named(names.split(',').map(str::trim)).map(Some)
}

impl Pods {
    fn refuse(&mut self, pod: &Pod, what: &'static str, name: &str, value: &str, why: &str) {
        let one = self.told_by.hash_one((&pod.namespace, &pod.name, name, value));
        if self.told.len() >= TOLD {
            self.told.clear();
        }
        if !self.told.insert(one) {
            return;
        }
        self.store.metrics().annotation_refused(what);
        let value: String = value.chars().take(64).collect();
        warn!(event = "pod_annotation_refused", namespace = %pod.namespace, pod = %pod.name, annotation = name, value, reason = why,
            "an annotation of a pod is not understood and counts as not there: {name}: {value:?}: {why}");
    }
}

/// Which annotations were told, by hashes that nobody can foresee.
pub(super) type ToldBy = RandomState;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parser: Parser) -> Step {
        let action = Action::Parse(Parse { keep_original: true, ..Parse::with(parser) });
        Step { action, when: None, on_error: OnError::Drop, error_field: None }
    }

    #[test]
    fn a_chosen_parser_takes_the_place_of_the_routes_own() {
        let remove = || Step { action: Action::Remove(vec!["a".into()]), ..parse(Parser::Json) };
        let steps = [remove(), parse(Parser::Json), remove()];
        assert_eq!(steps_with(&steps, Some(Parser::Klog)), [remove(), parse(Parser::Klog), remove()]);
        assert_eq!(steps_with(&steps, None), [remove(), remove()]);
        let first = &steps_with(&[remove()], Some(Parser::Klog))[0];
        assert_eq!(
            (&first.action, first.on_error),
            (&Action::Parse(Parse::with(Parser::Klog)), OnError::Keep)
        );
        // The text of another field is another matter.
        let of_field = Step {
            action: Action::Parse(Parse { field: Some("x".into()), ..Parse::with(Parser::Json) }),
            ..parse(Parser::Json)
        };
        assert_eq!(steps_with(std::slice::from_ref(&of_field), Some(Parser::Klog))[1], of_field);
    }

    #[test]
    fn steps_count_at_their_places_in_the_route_whatever_parser_was_chosen() {
        let remove = || Step { action: Action::Remove(vec!["a".into()]), ..parse(Parser::Json) };
        let with_parser = [remove(), parse(Parser::Json), remove()];
        let places = |steps: &[Step], parser: Option<Parser>| -> Vec<usize> {
            let parses = parser.is_some();
            (0..steps_with(steps, parser).len()).map(|step| place_of(step, steps, parses)).collect()
        };
        assert_eq!(places(&with_parser, Some(Parser::Klog)), [0, 1, 2]);
        assert_eq!(places(&with_parser, None), [0, 2]);
        assert_eq!(places(&[remove()], Some(Parser::Klog)), [2, 0]);
        assert_eq!(places(&[remove()], None), [0]);
    }

    #[test]
    fn values_are_read_and_what_is_wrong_has_a_remedy() {
        let pod = |name: &str, value: &str| PodFacts {
            annotations: [(name.to_owned(), value.to_owned())].into(),
            ..PodFacts::default()
        };
        let parser_of = |name: &str, value: &str| {
            let pod = pod(name, value);
            parser(&pod.said(Wish::Parser, "app", Stream::Stdout).expect("it is said"))
        };
        assert_eq!(parser_of("kinetail.io/parser", "klog"), Ok(Some(Parser::Klog)));
        assert_eq!(parser_of("kinetail.io/parser", "none"), Ok(None));
        assert_eq!(parser_of("fluentbit.io/parser", "docker"), Ok(Some(Parser::Json)));
        for (name, value) in [("kinetail.io/parser", "docker"), ("fluentbit.io/parser", "none")] {
            let told = parser_of(name, value).unwrap_err();
            assert!(told.contains("json") && told.contains("nginx_access"), "{told}");
        }
        assert!(multiline("java, python").is_ok_and(|found| found.is_some()));
        assert_eq!(multiline("none"), Ok(None));
        let told = multiline("java, cobol").unwrap_err();
        assert!(told.contains("cobol") && told.contains("dotnet"), "{told}");
    }
}
