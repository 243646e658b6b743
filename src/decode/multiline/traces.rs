//! Stack traces by tables of rules.

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::Preset;
use super::presets::{NONE, Rule};

/// How many presets can be at work at once.
const PRESETS: usize = Preset::ALL.len();

/// Where a trace may be in the rules of each preset; 0 if it is none of that preset's.
///
/// More than one, as the first lines of different languages' traces are alike: those whose rules do not take a
/// further line drop out.
pub(super) type Candidates = [u8; PRESETS];

/// The compiled rules of presets.
#[derive(Clone, Debug)]
pub(super) struct Traces {
    presets: Vec<Preset>,
    /// Of all presets, for a line where nothing is open.
    first: RegexSet,
    /// The number of the preset and the state then, for each of these.
    first_then: Vec<(usize, u8)>,
    /// For each preset, for each of its states.
    further: Vec<Vec<Further>>,
}

/// For the next line of a trace in some state.
#[derive(Clone, Debug)]
struct Further {
    lines: RegexSet,
    /// The state then, for each of these. The first that matches counts.
    then: Vec<u8>,
}

impl Traces {
    pub(super) fn new(presets: &[Preset]) -> Self {
        let mut presets = presets.to_vec();
        presets.sort_unstable();
        presets.dedup();
        let (mut first, mut first_then, mut further) = (Vec::new(), Vec::new(), Vec::new());
        for (number, preset) in presets.iter().enumerate() {
            let rules = preset.rules();
            let states = states(rules);
            let after = |state: &'static str| -> Vec<&Rule> {
                rules.iter().filter(|rule| rule.from.contains(&state)).collect()
            };
            let number_of = |state| states.iter().position(|other| *other == state).unwrap_or_default() as u8;
            for rule in after(NONE) {
                first.push(rule.line);
                first_then.push((number, number_of(rule.to)));
            }
            let of_state = |state: &&'static str| {
                let rules = after(state);
                Further {
                    lines: compile(rules.iter().map(|rule| rule.line)),
                    then: rules.iter().map(|rule| number_of(rule.to)).collect(),
                }
            };
            further.push(states.iter().map(of_state).collect());
        }
        Self { presets, first: compile(first.into_iter()), first_then, further }
    }

    /// Whether a trace begins with this line.
    pub(super) fn first(&self, line: &[u8]) -> Option<Candidates> {
        // This one takes no memory, and few lines are a trace's.
        if !self.first.is_match(line) {
            return None;
        }
        let mut candidates = Candidates::default();
        for rule in &self.first.matches(line) {
            let (preset, then) = self.first_then[rule];
            if candidates[preset] == 0 {
                candidates[preset] = then;
            }
        }
        Some(candidates)
    }

    /// Whether the trace goes on with this line.
    pub(super) fn next(&self, candidates: Candidates, line: &[u8]) -> Option<Candidates> {
        let mut next = Candidates::default();
        for (preset, states) in self.further.iter().enumerate() {
            let state = usize::from(candidates[preset]);
            if state > 0 {
                let further = &states[state];
                let rule = further.lines.matches(line).iter().next();
                next[preset] = rule.map_or(0, |rule| further.then[rule]);
            }
        }
        (next != Candidates::default()).then_some(next)
    }
}

/// The names of all states; the first is that in which nothing is open.
fn states(rules: &[Rule]) -> Vec<&'static str> {
    let mut states = vec![NONE];
    for state in rules.iter().flat_map(|rule| rule.from.iter().chain([&rule.to])) {
        if !states.contains(state) {
            states.push(state);
        }
    }
    states
}

fn compile(patterns: impl Iterator<Item = &'static str>) -> RegexSet {
    // What the rules tell apart is ASCII; the rest of a line may be any bytes.
    RegexSetBuilder::new(patterns).unicode(false).build().expect("a test compiles every preset")
}

/// Two are equal if their presets are.
impl PartialEq for Traces {
    fn eq(&self, other: &Self) -> bool {
        self.presets == other.presets
    }
}
