//! Decoded messages on their way through the routes of their file, to the records of a block.

use std::time::Instant;

use serde_json::{Map, Value};

use super::Plan;
use super::block::Scratch;
use super::lane::Branch;
use super::rate::GivenUp;
use super::tapped::Note;
use crate::agent::casualties::{Casualties, Stake};
use crate::event::{Fields, Message};
use crate::process::{Context, Fate};
use crate::record::Records;
use crate::tail::Bucket;

/// Where decoded messages go.
pub(super) struct Emit<'a> {
    /// One for each route of the file.
    pub(super) branches: &'a mut [Branch],
    pub(super) stakes: &'a [Stake],
    pub(super) plans: &'a [Plan],
    pub(super) records: &'a mut Records,
    pub(super) selected: &'a mut [(usize, Records)],
    /// Which record of the block went where, while somebody looks.
    pub(super) notes: Option<&'a mut Vec<Note>>,
    pub(super) fields: &'a mut Fields<'static>,
    pub(super) time_read: &'a str,
    /// What records carry of the pod.
    pub(super) kubernetes: Option<&'a Map<String, Value>>,
    pub(super) now: Instant,
    /// What may still come out, where the rest is given up.
    pub(super) bucket: Option<&'a mut Bucket>,
    pub(super) given_up: GivenUp,
}

impl Scratch {
    /// Makes room for the records of destinations that do not get all of a block: those with a condition, and those of
    /// a file that falls under several routes.
    pub(super) fn select(&mut self, branches: &[Branch], plans: &[Plan], to: &[usize]) {
        let several = branches.len() > 1;
        let of_its_own = |out: usize| {
            several
                || branches
                    .iter()
                    .any(|branch| plans[branch.route].when.iter().any(|(other, _)| *other == out))
        };
        self.selected.retain(|(out, _)| to.contains(out) && of_its_own(*out));
        for out in to.iter().filter(|out| of_its_own(**out)) {
            match self.selected.iter_mut().find(|(other, _)| other == out) {
                Some((_, records)) => records.clear(),
                None => self.selected.push((*out, Records::default())),
            }
        }
    }
}

impl Emit<'_> {
    /// Takes a message through each route of its file.
    pub(super) fn message(&mut self, message: &Message<'_>, casualties: &mut Casualties) {
        if !self.may_pass(message) {
            return;
        }
        let stakes = self.stakes;
        for (at, stake) in stakes.iter().enumerate() {
            if self.branches[at].wanted {
                casualties.message(message, stake, |message| self.under(at, message));
            }
        }
    }

    /// Whether the route's rate limit lets it through.
    fn may_pass(&mut self, message: &Message<'_>) -> bool {
        let Some(bucket) = &mut self.bucket else { return true };
        let bytes = message.body.len() as u64;
        if bucket.empty_until(self.now).is_some() {
            self.given_up.messages += 1;
            self.given_up.bytes += bytes;
            return false;
        }
        bucket.take(bytes, 1);
        true
    }

    /// Makes the record of one route. Returns the name of a step that makes a dead letter of the message.
    fn under(&mut self, at: usize, message: &Message<'_>) -> Option<&'static str> {
        let several = self.branches.len() > 1;
        let Self { branches, plans, records, selected, notes, fields, time_read, kubernetes, .. } = self;
        let Branch { route, encoder, chosen, nowhere, excluded, .. } = &mut branches[at];
        let plan = &plans[*route];
        if chosen.excludes(message.stream) {
            *excluded += 1;
            return None;
        }
        let chain = plan.chain_of(chosen, message.stream);
        let mut select = |out: usize, records: &Records| {
            let of = selected.iter_mut().filter(|(other, _)| *other == out);
            of.for_each(|(_, selected)| selected.push_last_of(records));
            if let Some(notes) = notes {
                notes.push(Note { record: records.len() - 1, branch: at, out });
            }
        };
        if plan.to.is_empty() {
            *nowhere += 1;
            return None;
        }
        if chain.is_empty() && plan.when.is_empty() {
            records.push_with(|out| {
                encoder.encode(message, time_read, out);
                true
            });
            if several {
                plan.to.iter().for_each(|out| select(*out, records));
            }
            return None;
        }
        let context = Context { message, time_read, kubernetes: *kubernetes };
        let made = chain.run(&context, std::mem::take(*fields));
        let failed = match made.fate {
            Fate::Send => {
                let message = Message { time: made.time.as_deref().or(message.time), ..*message };
                records.push_with(|out| {
                    encoder.encode_fields(&message, &made.fields, time_read, out);
                    true
                });
                let mut wanted = plan.when.len() < plan.to.len();
                if several {
                    let unconditional =
                        plan.to.iter().filter(|out| plan.when.iter().all(|(other, _)| other != *out));
                    unconditional.for_each(|out| select(*out, records));
                }
                for (out, when) in &plan.when {
                    if when.holds(&made.fields, &context) {
                        wanted = true;
                        select(*out, records);
                    }
                }
                *nowhere += u64::from(!wanted);
                None
            }
            Fate::Drop => None,
            Fate::DeadLetter(step) => Some(step.name),
        };
        **fields = made.fields.recycle();
        failed
    }
}
