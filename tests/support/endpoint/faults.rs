//! Faults: what goes wrong, for which calls, and how often.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use memchr::memmem;
use tokio::sync::watch;

use super::protocol::{ErrorAnswer, Put};

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call is answered with this error and nothing is taken.
    Answer(ErrorAnswer),
    /// The call is answered with this status and body, as a broken proxy would, and nothing is taken.
    Garbage {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The connection is closed before the records are taken.
    DropConnection,
    /// The records are taken, then the connection is closed without an answer.
    LoseAnswer,
    /// The call waits until the gate is opened and then goes on as if nothing had happened.
    Hang(Gate),
    /// The records are taken; the answer waits until the gate is opened.
    HoldAnswer(Gate),
    /// The call takes this much longer, on tokio's clock: the way to the service and back.
    Delay(Duration),
    /// Each entry is refused with this chance, 0 to 1; the others are taken.
    RefuseEntries {
        /// 1 refuses all.
        chance: f64,
        /// The entry's error; for a call of one record the call's.
        with: ErrorAnswer,
    },
    /// Every entry whose data holds this text is refused; the others are taken.
    RefuseText {
        /// In the raw data, before base64.
        text: Vec<u8>,
        /// The entry's error; for a call of one record the call's.
        with: ErrorAnswer,
    },
    /// A call with a record that holds this text is refused as a whole.
    Poison {
        /// In the raw data, before base64.
        text: Vec<u8>,
        /// The call's error, such as [`ErrorAnswer::invalid_argument`].
        with: ErrorAnswer,
    },
}

/// A fault and the calls that it strikes: all, unless narrowed down.
///
/// Of several rules that match a call, the first that decides about the call as a whole wins; refusals of
/// entries and delays add up.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    stream: Option<String>,
    skip: u64,
    left: Option<u64>,
    chance: f64,
}

impl Rule {
    /// This fault, for every call.
    pub fn new(fault: Fault) -> Self {
        Self { fault, stream: None, skip: 0, left: None, chance: 1.0 }
    }

    /// Only calls for this stream.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.stream = Some(name.into());
        self
    }

    /// The first so many calls that would be struck are spared.
    pub fn after(mut self, calls: u64) -> Self {
        self.skip = calls;
        self
    }

    /// Only so many calls are struck.
    pub fn times(mut self, calls: u64) -> Self {
        self.left = Some(calls);
        self
    }

    /// A call is struck with this chance, 0 to 1, by the endpoint's seed.
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Whether the rule strikes this call, which it then counts.
    fn strikes(&mut self, put: &Put, rng: &mut Rng) -> bool {
        let meant = self.left != Some(0)
            && self.stream.as_ref().is_none_or(|stream| *stream == put.stream)
            && match &self.fault {
                Fault::Poison { text, .. } => put.entries.iter().any(|entry| holds(&entry.data, text)),
                _ => true,
            }
            && (self.chance >= 1.0 || rng.f64() < self.chance);
        if !meant {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        true
    }
}

/// All rules in force.
#[derive(Debug, Default)]
pub(super) struct Rules(Vec<(RuleId, Rule)>);

/// Names a rule, so that it can be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(pub(super) u64);

/// What the rules mean for one call.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// About the call as a whole, if anything.
    pub(super) call: Option<Fault>,
    /// How much longer it takes.
    pub(super) delay: Duration,
    refusals: Vec<Fault>,
}

impl Rules {
    pub(super) fn add(&mut self, id: RuleId, rule: Rule) {
        self.0.push((id, rule));
    }

    pub(super) fn withdraw(&mut self, id: RuleId) {
        self.0.retain(|(other, _)| *other != id);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to this call.
    pub(super) fn plan(&mut self, put: &Put, rng: &mut Rng) -> Plan {
        let mut plan = Plan::default();
        for (_, rule) in &mut self.0 {
            let of_call = !matches!(
                rule.fault,
                Fault::Delay(_) | Fault::RefuseEntries { .. } | Fault::RefuseText { .. }
            );
            // A rule that comes too late to decide keeps its count for a call that it does decide.
            if of_call && plan.call.is_some() || !rule.strikes(put, rng) {
                continue;
            }
            match &rule.fault {
                Fault::Delay(time) => plan.delay += *time,
                refusal @ (Fault::RefuseEntries { .. } | Fault::RefuseText { .. }) => {
                    plan.refusals.push(refusal.clone());
                }
                fault => plan.call = Some(fault.clone()),
            }
        }
        plan
    }
}

impl Plan {
    /// The error with which an entry of this data is refused.
    pub(super) fn refuses(&self, data: &[u8], rng: &mut Rng) -> Option<ErrorAnswer> {
        self.refusals.iter().find_map(|refusal| match refusal {
            Fault::RefuseEntries { chance, with } => (rng.f64() < *chance).then(|| with.clone()),
            Fault::RefuseText { text, with } => holds(data, text).then(|| with.clone()),
            _ => None,
        })
    }
}

fn holds(data: &[u8], text: &[u8]) -> bool {
    memmem::find(data, text).is_some()
}

/// Where calls wait until a test lets them go on. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything go on that waits, and whatever comes later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is open.
    pub(super) async fn passed(&self) {
        let mut open = self.0.subscribe();
        // The sender lives in `self`, so this only ends when the gate is open.
        let _ = open.wait_for(|open| *open).await;
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self.0.borrow() { "Gate(open)" } else { "Gate(closed)" })
    }
}
