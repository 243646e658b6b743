//! How a destination stands with us: told by its delivery and by those who ask it, read by whoever looks from outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::deliver::{Class, Failure, Finding, Health, Level};
use crate::telemetry::status::{DestinationState, LastFailure};

/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    health: Health,
    /// It took a record since the start.
    took: bool,
    last_failure: Option<(SystemTime, Failure)>,
    /// What asking it found, beyond that all is well; none before it was asked.
    findings: Option<Vec<Finding>>,
}

impl Default for State {
    fn default() -> Self {
        Self { health: Health::Fine, took: false, last_failure: None, findings: None }
    }
}

/// How a destination does, for people.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct View {
    pub(super) state: DestinationState,
    /// In seconds.
    pub(super) since: Option<f64>,
    pub(super) reason: Option<String>,
    pub(super) findings: Vec<String>,
    pub(super) last_failure: Option<LastFailure>,
}

impl Standing {
    /// After an answer: how it does now, whether it took something, and what it did not take.
    pub(super) fn answered<'a>(
        &self,
        health: &Health,
        took: bool,
        failures: impl Iterator<Item = &'a Failure>,
        wall: SystemTime,
    ) {
        let mut state = self.lock();
        if state.health != *health {
            state.health = health.clone();
        }
        state.took |= took;
        if let Some(failure) = failures.last() {
            state.last_failure = Some((wall, failure.clone()));
        }
    }

    /// What was found by asking it. Returns whether that is news.
    pub(super) fn asked(&self, findings: Vec<Finding>) -> bool {
        let mut state = self.lock();
        let findings: Vec<Finding> =
            findings.into_iter().filter(|finding| finding.level != Level::Good).collect();
        let news = state.findings.as_ref() != Some(&findings);
        state.findings = Some(findings);
        news
    }

    /// Whether it is known that it takes records, or what keeps it from it is found out by sending some.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.lock();
        state.took
            || state.findings.as_ref().is_some_and(|findings| findings.iter().all(|it| !is_problem(it)))
    }

    pub(super) fn view(&self, now: Instant, wall: SystemTime) -> View {
        let state = self.lock();
        let findings = state.findings.as_deref().unwrap_or_default();
        let problem = findings.iter().find(|finding| is_problem(finding));
        let age = |since: &Instant| Some(now.saturating_duration_since(*since).as_secs_f64());
        let (word, since, reason) = match &state.health {
            Health::BackingOff { since, reason } => {
                (DestinationState::BackingOff, age(since), Some(reason.clone()))
            }
            Health::Denied { since, reason } => (DestinationState::Denied, age(since), Some(reason.clone())),
            Health::Fine if state.took => (DestinationState::Fine, None, None),
            Health::Fine => match (problem, &state.findings) {
                (Some(problem), _) if problem.is_of_the_network() => {
                    (DestinationState::BackingOff, None, Some(problem.to_string()))
                }
                (Some(problem), _) => (DestinationState::Denied, None, Some(problem.to_string())),
                (None, Some(_)) => (DestinationState::Fine, None, None),
                (None, None) => (DestinationState::Untried, None, None),
            },
        };
        View {
            state: word,
            since,
            reason,
            findings: findings.iter().map(ToString::to_string).collect(),
            last_failure: state.last_failure.as_ref().map(|(time, failure)| LastFailure {
                time: timestamp(*time),
                age_seconds: wall.duration_since(*time).unwrap_or_default().as_secs(),
                code: failure.code.clone(),
                // What a service says of a record's content may quote it.
                message: if failure.class == Class::Poison { String::new() } else { failure.message.clone() },
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_problem(finding: &Finding) -> bool {
    finding.level == Level::Problem
}

/// As RFC 3339, to the second.
pub(super) fn timestamp(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn finding(level: Level, about: &'static str) -> Finding {
        Finding { level, about, what: "it is so".into(), remedy: "do this".into() }
    }

    fn view(standing: &Standing) -> View {
        standing.view(Instant::now(), SystemTime::now())
    }

    #[test]
    fn before_records_went_out_the_answer_to_a_question_decides() {
        let standing = Standing::default();
        assert_eq!(view(&standing).state, DestinationState::Untried);
        standing.asked(vec![finding(Level::Problem, "connection")]);
        assert_eq!(view(&standing).state, DestinationState::BackingOff);
        assert!(!standing.is_settled());
        assert!(standing.asked(vec![finding(Level::Problem, "credentials"), finding(Level::Good, "clock")]));
        let denied = view(&standing);
        assert_eq!(denied.state, DestinationState::Denied);
        assert_eq!(denied.reason.as_deref(), Some("credentials: it is so; do this"));
        assert_eq!(denied.findings.len(), 1);
        assert!(standing.asked(vec![finding(Level::Warning, "permission")]));
        assert!(!standing.asked(vec![finding(Level::Warning, "permission"), finding(Level::Good, "clock")]));
        assert_eq!(view(&standing).state, DestinationState::Fine);
        assert!(standing.is_settled());
    }

    #[test]
    fn what_became_of_records_says_more_than_an_answer_to_a_question() {
        let standing = Standing::default();
        standing.asked(vec![finding(Level::Problem, "delivery stream")]);
        standing.answered(&Health::Fine, true, std::iter::empty(), SystemTime::now());
        assert_eq!(view(&standing).state, DestinationState::Fine);

        let since = Instant::now();
        let denied = Failure::local(Class::Hold, "AccessDenied", "no");
        let health = Health::Denied { since, reason: denied.to_string() };
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        standing.answered(&health, false, [&denied].into_iter(), wall);
        let seen = standing.view(since + Duration::from_secs(5), wall + Duration::from_secs(7));
        assert_eq!((seen.state, seen.since), (DestinationState::Denied, Some(5.0)));
        let last = seen.last_failure.unwrap();
        assert_eq!(
            (last.time.as_str(), last.age_seconds, &*last.code),
            ("1970-01-01T00:01:00Z", 7, "AccessDenied")
        );
    }

    #[test]
    fn what_a_service_says_of_a_records_content_is_not_shown() {
        let standing = Standing::default();
        let poison = Failure::local(Class::Poison, "InvalidArgument", "record {\"card\": 4711} is bad");
        standing.answered(&Health::Fine, false, [&poison].into_iter(), SystemTime::now());
        assert_eq!(view(&standing).last_failure.unwrap().message, "");
    }
}
