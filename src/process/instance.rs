//! What is known of the instance of EC2 that this is, and what a step makes of it.
//!
//! Who asks for it, and when, is somebody else's: an [`Instance`] says that it is wanted, is told what was found or
//! that nothing was, and hands it to steps. Asking takes no part in a message's way: the first messages wait for the
//! first answer, all together not longer than [`PATIENCE`]; later ones never wait, whatever becomes of the service.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::reach;
use crate::event::{Fields, Value};

/// How long messages wait for the first answer, from when it is first wanted.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of the instance; clones share it.
#[derive(Clone)]
pub struct Instance(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    told: Condvar,
    /// How often it is to be asked for; none while nobody wants it.
    refresh: watch::Sender<Option<Duration>>,
}

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    /// Until when messages wait for the first answer; none once there was one, good or bad.
    patient_until: Option<Instant>,
}

/// What the metadata service told: names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What every instance has.
    pub fields: Vec<(String, String)>,
    /// Its tags, where it may see them.
    pub tags: Vec<(String, String)>,
}

/// Adds what is known of the instance to the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ec2Metadata {
    /// The field under which it stands; at the top without one.
    pub under: Option<String>,
    /// Whether the instance's tags belong to it.
    pub tags: bool,
    /// After which time it is asked for again.
    pub refresh: Duration,
}

impl Default for Instance {
    fn default() -> Self {
        let shared =
            Shared { state: Mutex::default(), told: Condvar::new(), refresh: watch::Sender::new(None) };
        Self(Arc::new(shared))
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Instance").field(&self.state().known).finish()
    }
}

impl Instance {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that it is wanted, and after which time it is to be asked for again. Of several times the shortest counts.
    pub(super) fn want(&self, refresh: Duration, now: Instant) {
        self.0.refresh.send_if_modified(|wanted| {
            let first = wanted.is_none();
            if first {
                self.state().patient_until = Some(now + PATIENCE);
            }
            let sooner = wanted.is_none_or(|wanted| refresh < wanted);
            if sooner {
                *wanted = Some(refresh);
            }
            sooner
        });
    }

    /// How often it is to be asked for; none while nobody wants it. Changes are seen here.
    pub fn wanted(&self) -> watch::Receiver<Option<Duration>> {
        self.0.refresh.subscribe()
    }

    /// What is known from now on. None says that it cannot be known now; what was known stays.
    pub fn tell(&self, known: Option<Known>) {
        let mut state = self.state();
        if let Some(known) = known {
            state.known = Some(Arc::new(known));
        }
        state.patient_until = None;
        self.0.told.notify_all();
    }

    /// What is known. Waits for the first answer, but not for ever.
    fn known(&self) -> Option<Arc<Known>> {
        let mut state = self.state();
        while let (None, Some(until)) = (&state.known, state.patient_until) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.patient_until = None;
                break;
            }
            state = self.0.told.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.known.clone()
    }
}

impl Ec2Metadata {
    /// Returns `false` if nothing is known, or something else than an object is in the way.
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>, instance: Option<&Instance>) -> bool {
        let Some(known) = instance.and_then(Instance::known) else { return false };
        let tags = if self.tags { &known.tags[..] } else { &[] };
        let members = known.fields.iter().chain(tags);
        match &self.under {
            None => put(fields, members),
            Some(under) => {
                let mut object = Fields::default();
                put(&mut object, members);
                return reach::set(fields, under, Value::Object(object)).is_ok();
            }
        }
        true
    }
}

/// Their names are taken literally: tags have dots in their names.
fn put<'k>(fields: &mut Fields<'_>, members: impl Iterator<Item = &'k (String, String)>) {
    for (name, value) in members {
        fields.set(name.clone(), Value::Text(Cow::Owned(value.clone().into_bytes())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Message;
    use crate::process::{Action, Chain, Fate, OnError, Step, testing};
    use crate::source::Stream;

    const STEP: Ec2Metadata = Ec2Metadata { under: None, tags: true, refresh: Duration::from_secs(3600) };

    fn known(id: &str) -> Known {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Known { fields: vec![pair("instanceId", id)], tags: vec![pair("aws:x.y/z", "a")] }
    }

    fn run(chain: &Chain) -> (String, Fate) {
        let message = Message { start: 0, stream: Stream::Plain, time: None, body: b"x", cut: false };
        let made = chain.run(&testing::context(&message), Fields::default());
        (testing::text(&made.fields), made.fate)
    }

    fn chain(step: Ec2Metadata, instance: &Instance) -> Chain {
        let step = Step { on_error: OnError::Keep, ..Action::Ec2Metadata(step).into() };
        Chain::new(vec![step]).on(instance)
    }

    #[test]
    fn what_is_known_is_added_and_what_comes_later_takes_its_place() {
        let instance = Instance::default();
        let flat = chain(STEP, &instance);
        instance.tell(Some(known("i-1")));
        assert_eq!(run(&flat).0, r#"{"log":"x","instanceId":"i-1","aws:x.y/z":"a"}"#);
        instance.tell(None);
        assert_eq!(
            run(&flat).0,
            r#"{"log":"x","instanceId":"i-1","aws:x.y/z":"a"}"#,
            "an outage costs nothing"
        );
        instance.tell(Some(known("i-2")));
        let under = chain(Ec2Metadata { under: Some("host.ec2".into()), tags: false, ..STEP }, &instance);
        assert_eq!(run(&under).0, r#"{"log":"x","host":{"ec2":{"instanceId":"i-2"}}}"#);
        assert!(under.take_counts().is_empty() && flat.take_counts().is_empty());
    }

    #[test]
    fn a_service_that_does_not_answer_is_not_waited_for_again() {
        let instance = Instance::default();
        let chain = chain(STEP, &instance);
        instance.tell(None);
        assert_eq!(run(&chain), (r#"{"log":"x"}"#.to_owned(), Fate::Send));
        assert_eq!(chain.take_counts()[0].failed, 1);
        assert_eq!(instance.state().patient_until, None, "nobody waits now");
    }

    #[test]
    fn the_first_message_waits_for_the_first_answer() {
        let instance = Instance::default();
        let chain = chain(STEP, &instance);
        // Nothing but the answer ends this wait.
        instance.state().patient_until = Some(Instant::now() + Duration::from_secs(86_400));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| run(&chain).0);
            instance.tell(Some(known("i-1")));
            assert!(waiting.join().unwrap().contains("i-1"));
        });
    }

    #[test]
    fn the_wait_ends_by_itself_and_without_a_service_there_is_none() {
        let instance = Instance::default();
        let waiting = chain(STEP, &instance);
        instance.state().patient_until = Some(Instant::now());
        assert_eq!(run(&waiting).0, r#"{"log":"x"}"#);
        let alone = Chain::new(vec![Action::Ec2Metadata(STEP).into()]);
        assert_eq!(run(&alone).0, r#"{"log":"x"}"#);
        assert_eq!(alone.take_counts()[0].failed, 1);
    }

    #[test]
    fn it_is_wanted_as_often_as_the_most_eager_step_says() {
        let instance = Instance::default();
        let wanted = instance.wanted();
        let _none = Chain::new(vec![Action::AddBrackets.into()]).on(&instance);
        assert_eq!(*wanted.borrow(), None, "nobody wants it");
        for (refresh, expected) in [(3600, 3600), (60, 60), (600, 60)] {
            let _chain = chain(Ec2Metadata { refresh: Duration::from_secs(refresh), ..STEP }, &instance);
            assert_eq!(*wanted.borrow(), Some(Duration::from_secs(expected)));
        }
    }
}
