//! A route's steps, compiled.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Action, Condition, Context, Instance, JournalFields, OnError, Step};
use super::{edit, wrap};
use crate::event::{Fields, Message, Value};

/// A route's steps, in order. Shared by all files of the route.
#[derive(Debug, Default)]
pub struct Chain {
    steps: Vec<Compiled>,
    /// What knows of the machine, where steps may ask.
    instance: Option<Instance>,
    /// Messages are entries of the journal, whose fields are called so.
    journal: Option<JournalFields>,
}

/// What the steps made of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processed<'a> {
    /// Its fields, as they are now.
    pub fields: Fields<'a>,
    /// When it was written, RFC 3339, where a step found that out.
    pub time: Option<String>,
    /// Whether it becomes a record.
    pub fate: Fate,
}

/// Whether a message becomes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It does.
    Send,
    /// It is dropped, as the configuration says.
    Drop,
    /// A step that failed says that it becomes a dead letter.
    DeadLetter(Failed),
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its place in the list, from 0.
    pub step: usize,
    /// What it is called in the configuration.
    pub name: &'static str,
}

/// What a step did since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepCounts {
    /// The step's place in the list, from 0.
    pub step: usize,
    /// What it is called in the configuration.
    pub name: &'static str,
    /// How often it failed.
    pub failed: u64,
    /// How many messages it dropped.
    pub dropped: u64,
    /// In how many messages it took something out.
    pub redacted: u64,
}

#[derive(Debug)]
struct Compiled {
    name: &'static str,
    action: Action,
    /// The JSON texts of the values that `add` sets.
    added: Vec<(String, String)>,
    when: Option<Condition>,
    on_error: OnError,
    error_field: Option<String>,
    failed: AtomicU64,
    dropped: AtomicU64,
    redacted: AtomicU64,
}

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Its condition does not hold.
    Skipped,
    /// It could not be done, or not all of it.
    Failed,
    /// It was done, and dropped the message.
    Dropped,
}

/// What came of one step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    Yes,
    /// It could not be done, or not all of it; what was not done has changed nothing.
    No,
    /// It was, and says that the message ends here.
    Dropped,
}

impl From<bool> for Done {
    fn from(done: bool) -> Self {
        if done { Done::Yes } else { Done::No }
    }
}

impl Chain {
    /// Compiles the steps of a route.
    pub fn new(steps: Vec<Step>) -> Self {
        Self { steps: steps.into_iter().map(Compiled::new).collect(), instance: None, journal: None }
    }

    /// The same steps for entries of the journal, which have fields of their own from the beginning.
    #[must_use]
    pub fn of_journal(mut self, fields: Option<JournalFields>) -> Self {
        self.journal = fields;
        self
    }

    /// What a message is made of before the first step.
    pub fn begin<'a>(&self, message: &Message<'a>, spare: Fields<'_>) -> Fields<'a> {
        match &self.journal {
            Some(journal) => journal.of(message, spare),
            None => spare.refill(message),
        }
    }

    /// The same steps on this instance, which is told where one of them wants to know of it. Without an instance such
    /// a step fails.
    #[must_use]
    pub fn on(mut self, instance: &Instance) -> Self {
        for step in &self.steps {
            if let Action::Ec2Metadata(metadata) = &step.action {
                instance.want(metadata.refresh, Instant::now());
            }
        }
        self.instance = Some(instance.clone());
        self
    }

    /// There is nothing to do: messages can be encoded as they are.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.journal.is_none()
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Makes the fields of a message, in the room of `spare`: fields that are no longer needed, or
    /// [`Fields::default`]. After a step that ends a message's way the others are not done.
    pub fn run<'a>(&'a self, context: &Context<'a>, spare: Fields<'_>) -> Processed<'a> {
        self.run_watched(context, spare, |_, _, _, _| {})
    }

    /// [`run`](Self::run), in which each step is shown after its turn: its place, its name, how it went, and what is
    /// made of the message by then.
    pub fn run_watched<'a>(
        &'a self,
        context: &Context<'a>,
        spare: Fields<'_>,
        mut watch: impl FnMut(usize, &'static str, Outcome, &Processed<'a>),
    ) -> Processed<'a> {
        let mut made = Processed { fields: self.begin(context.message, spare), time: None, fate: Fate::Send };
        for (index, step) in self.steps.iter().enumerate() {
            let outcome = step.run(index, &mut made, context, self.instance.as_ref());
            watch(index, step.name, outcome, &made);
            if made.fate != Fate::Send {
                break;
            }
        }
        made
    }

    /// What the steps did since this was last called; those that did nothing of note are left out.
    pub fn take_counts(&self) -> Vec<StepCounts> {
        let counts = |(step, compiled): (usize, &Compiled)| StepCounts {
            step,
            name: compiled.name,
            failed: compiled.failed.swap(0, Ordering::Relaxed),
            dropped: compiled.dropped.swap(0, Ordering::Relaxed),
            redacted: compiled.redacted.swap(0, Ordering::Relaxed),
        };
        let all = self.steps.iter().enumerate().map(counts);
        all.filter(|counts| counts.failed + counts.dropped + counts.redacted > 0).collect()
    }
}

impl Compiled {
    fn new(step: Step) -> Self {
        let name = step.name();
        let added = match &step.action {
            Action::Add(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
            }
            _ => Vec::new(),
        };
        Self {
            name,
            action: step.action,
            added,
            when: step.when,
            on_error: step.on_error,
            error_field: step.error_field,
            failed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            redacted: AtomicU64::new(0),
        }
    }

    fn run<'a>(
        &'a self,
        index: usize,
        made: &mut Processed<'a>,
        context: &Context<'_>,
        instance: Option<&Instance>,
    ) -> Outcome {
        if self.when.as_ref().is_some_and(|when| !when.holds(&made.fields, context)) {
            return Outcome::Skipped;
        }
        match self.apply(made, context, instance) {
            Done::Yes => Outcome::Done,
            Done::Dropped => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                made.fate = Fate::Drop;
                Outcome::Dropped
            }
            Done::No => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                match self.on_error {
                    OnError::Keep => {
                        if let Some(field) = &self.error_field {
                            made.fields.set(&**field, Value::text(self.name.as_bytes()));
                        }
                    }
                    OnError::Drop => {
                        self.dropped.fetch_add(1, Ordering::Relaxed);
                        made.fate = Fate::Drop;
                    }
                    OnError::DeadLetter => {
                        made.fate = Fate::DeadLetter(Failed { step: index, name: self.name });
                    }
                }
                Outcome::Failed
            }
        }
    }

    fn apply<'a>(
        &'a self,
        made: &mut Processed<'a>,
        context: &Context<'_>,
        instance: Option<&Instance>,
    ) -> Done {
        let fields = &mut made.fields;
        let dropped_if = |dropped| if dropped { Done::Dropped } else { Done::Yes };
        match &self.action {
            Action::Parse(parse) => parse.apply(fields, context).into(),
            Action::Time(time) => time.apply(made, context).into(),
            Action::SingleLine(lines) => lines.apply(fields).into(),
            Action::Add(_) => edit::add(fields, &self.added).into(),
            Action::AddMetadata(metadata) => {
                metadata.apply(made, context);
                Done::Yes
            }
            Action::Ec2Metadata(metadata) => metadata.apply(fields, instance).into(),
            Action::AddBrackets => wrap::add_brackets(fields).into(),
            Action::Remove(names) => {
                edit::remove(fields, names);
                Done::Yes
            }
            Action::Rename(names) => edit::rename(fields, names).into(),
            Action::Flatten(flatten) => {
                flatten.apply(fields);
                Done::Yes
            }
            Action::Nest(nest) => nest.apply(fields).into(),
            Action::Keys(keys) => {
                keys.apply(fields);
                Done::Yes
            }
            Action::Redact(redact) => {
                if redact.apply(fields) {
                    self.redacted.fetch_add(1, Ordering::Relaxed);
                }
                Done::Yes
            }
            Action::Truncate(truncate) => truncate.apply(fields).into(),
            Action::Level(level) => level.apply(fields).into(),
            Action::Drop(condition) => dropped_if(condition.holds(fields, context)),
            Action::Keep(condition) => dropped_if(!condition.holds(fields, context)),
            Action::Sample(sample) => dropped_if(!sample.keeps(fields, context)),
            #[cfg(test)]
            Action::PanicOver(poison) => {
                let text = super::reach::text(fields, crate::event::LOG).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(poison.as_str()), "over {text}");
                Done::Yes
            }
        }
    }
}

#[cfg(test)]
mod tests;
