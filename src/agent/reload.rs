//! Another configuration for a running agent. It is checked as a whole first; a bad one changes nothing. Of a good one
//! only what is different is made anew: see [`Agent::adopt`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::parts::{Agent, bounded, pods_wanted};
use crate::config::{self, Config};
use crate::metric::register;
use crate::telemetry::control::Reloaded;
use crate::telemetry::service_manager;

/// Somebody wants the configuration to be loaded again.
#[derive(Debug)]
pub(super) struct Ask {
    /// Who.
    pub(super) by: &'static str,
    /// Is told what came of it.
    pub(super) answer: Option<oneshot::Sender<Outcome>>,
}

/// How to ask for it; clones ask the same agent.
pub(super) type Asks = mpsc::Sender<Ask>;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It counts from now on. These settings of it count after a restart only.
    Applied { after_restart: Vec<&'static str> },
    /// It does not count; the one before goes on.
    Refused(String),
}

impl From<Outcome> for Reloaded {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Applied { after_restart } => Self {
                applied: true,
                after_restart: after_restart.into_iter().map(str::to_owned).collect(),
                problem: None,
            },
            Outcome::Refused(problem) => {
                Self { applied: false, after_restart: Vec::new(), problem: Some(problem) }
            }
        }
    }
}

/// Which configuration counts, and what became of later ones. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct ConfigState {
    state: Arc<Mutex<Current>>,
    reloads: Family<ByOutcome, Counter>,
    successful: Gauge,
    loaded: Gauge,
    restart_needed: Gauge,
}

/// The configuration that counts.
#[derive(Clone, Debug)]
pub(super) struct Current {
    /// When it was loaded.
    pub(super) loaded: SystemTime,
    /// What is wrong with a later one.
    pub(super) problem: Option<String>,
    /// Settings of it that count after a restart only.
    pub(super) after_restart: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

impl ConfigState {
    /// The configuration that the agent starts with.
    pub(super) fn new(registry: &mut Registry) -> Self {
        let current = Current { loaded: SystemTime::now(), problem: None, after_restart: Vec::new() };
        let state = Self {
            state: Arc::new(Mutex::new(current.clone())),
            reloads: Family::default(),
            successful: Gauge::default(),
            loaded: Gauge::default(),
            restart_needed: Gauge::default(),
        };
        // Their time series begin at zero.
        for outcome in ["applied", "refused"] {
            drop(state.reloads.get_or_create(&ByOutcome { outcome }));
        }
        state.show(&current);
        register!(registry, {
            "config_reloads": state.reloads, "Configurations that were loaded while running, by outcome";
            "config_last_reload_successful": state.successful,
                "Whether the last configuration that was loaded counts (1), or was refused (0)";
            "config_loaded_timestamp_seconds": state.loaded,
                "When the configuration that counts was loaded, since 1970";
            "config_restart_needed": state.restart_needed,
                "Settings of the configuration that count after a restart only";
        });
        state
    }

    /// What counts now.
    pub(super) fn current(&self) -> Current {
        self.lock().clone()
    }

    fn came(&self, outcome: &Outcome) {
        let mut current = self.lock();
        let word = match outcome {
            Outcome::Applied { after_restart } => {
                let after_restart = after_restart.clone();
                *current = Current { loaded: SystemTime::now(), problem: None, after_restart };
                "applied"
            }
            Outcome::Refused(problem) => {
                current.problem = Some(problem.clone());
                "refused"
            }
        };
        self.reloads.get_or_create(&ByOutcome { outcome: word }).inc();
        self.show(&current);
    }

    fn show(&self, current: &Current) {
        self.successful.set(current.problem.is_none().into());
        let loaded = current.loaded.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.loaded.set(loaded.as_secs() as i64);
        self.restart_needed.set(current.after_restart.len() as i64);
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads the file and has the agent go on by it, if it is good.
pub(super) async fn reload(agent: &mut Agent, path: PathBuf, ask: Ask) {
    info!(event = "reloading", by = ask.by, path = %path.display(), "the configuration is loaded again");
    service_manager::reloading();
    let adopted = match tokio::task::spawn_blocking(move || config::load(&path)).await {
        Err(died) => Err(died.to_string()),
        Ok(Err(mistakes)) => Err(mistakes.to_string().trim_end().to_owned()),
        Ok(Ok(loaded)) => {
            for warning in &loaded.warnings {
                warn!(event = "configuration_warning", "{warning}");
            }
            agent.adopt(loaded.config).await
        }
    };
    let (outcome, difference) = match adopted {
        Ok(Adopted { after_restart, difference }) => (Outcome::Applied { after_restart }, difference),
        Err(problem) => (Outcome::Refused(problem), None),
    };
    // What the log tells is in the metrics by then.
    agent.state.came(&outcome);
    match &outcome {
        Outcome::Refused(problem) => {
            error!(
                event = "reload_refused",
                problem, "the configuration is not loaded, and the one before goes on: {problem}"
            );
            service_manager::reloaded("the configuration was refused; the one before goes on");
        }
        Outcome::Applied { after_restart } => {
            match difference {
                None => {
                    info!(event = "reloaded", "nothing in the configuration has changed that can change now");
                }
                Some(Difference { added, removed, changed, routes, cloudwatch }) => info!(
                    event = "reloaded",
                    ?added,
                    ?removed,
                    ?changed,
                    routes,
                    cloudwatch,
                    "the configuration was loaded again and counts from now on"
                ),
            }
            if !after_restart.is_empty() {
                warn!(
                    event = "restart_needed",
                    settings = after_restart.join(", "),
                    "these settings were changed and count only after a restart: {}",
                    after_restart.join(", ")
                );
            }
            service_manager::reloaded("the configuration was loaded again");
        }
    }
    if let Some(answer) = ask.answer {
        // Whoever asked may be gone.
        let _ = answer.send(outcome);
    }
}

/// Puts those settings back that cannot change while the process runs, and names them.
pub(super) fn keep_fixed(before: &Config, next: &mut Config) -> Vec<&'static str> {
    let mut fixed = Vec::new();
    let mut keep = |name, differs: bool| {
        if differs {
            fixed.push(name);
        }
    };
    keep("data_dir", next.data_dir != before.data_dir);
    keep("admin", next.admin != before.admin);
    keep("log", next.log != before.log);
    next.data_dir.clone_from(&before.data_dir);
    next.admin.clone_from(&before.admin);
    next.log.clone_from(&before.log);
    fixed
}

/// A configuration that counts from now on.
struct Adopted {
    /// Settings that count only after a restart.
    after_restart: Vec<&'static str>,
    /// None where nothing has changed that can change now.
    difference: Option<Difference>,
}

/// What is different, for the log.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    routes: bool,
    cloudwatch: bool,
}

impl Difference {
    fn between(before: &Config, next: &Config) -> Self {
        let mut difference = Self {
            routes: before.routes != next.routes,
            cloudwatch: before.cloudwatch != next.cloudwatch,
            ..Self::default()
        };
        for to in &next.destinations {
            match before.destinations.iter().find(|other| other.name == to.name) {
                None => difference.added.push(to.name.to_string()),
                Some(other) if other != to => difference.changed.push(to.name.to_string()),
                Some(_) => {}
            }
        }
        let removed =
            before.destinations.iter().filter(|to| !next.destinations.iter().any(|now| now.name == to.name));
        difference.removed = removed.map(|to| to.name.to_string()).collect();
        difference
    }
}

impl Agent {
    /// Goes on by another configuration.
    ///
    /// Buffers of new destinations are opened first: where that fails, nothing has changed. Then reading changes to the
    /// new routes between two of its turns and makes that durable. Only then does delivery change: a destination that is
    /// the same does not notice.
    async fn adopt(&mut self, next: Config) -> Result<Adopted, String> {
        let mut next = bounded(next);
        let after_restart = keep_fixed(&self.config, &mut next);
        if next == *self.config {
            return Ok(Adopted { after_restart, difference: None });
        }
        let next = Arc::new(next);
        let (place, there, wanted) = (self.outlets.place().clone(), self.outlets.names(), Arc::clone(&next));
        let opened = tokio::task::spawn_blocking(move || place.open(&wanted, &there)).await;
        let fresh = match opened.map_err(std::io::Error::other).flatten() {
            Ok(fresh) => fresh,
            Err(error) => {
                let path = self.config.data_dir.display();
                return Err(format!("{path}: the buffer of a new destination cannot be opened: {error}"));
            }
        };
        self.outlets.place().budget.set_max(next.buffer.max_size.0);
        let wanted = pods_wanted(&next);
        if wanted != *self.pods_wanted.borrow() {
            // What is read by the next configuration waits for what that wants to know.
            self.pods.follow(&wanted);
            self.pods_wanted.send_replace(wanted);
        }
        let letters: Vec<_> = fresh.iter().map(|(_, letters)| letters.clone()).collect();
        let Some(rewired) = self.rewire(Arc::clone(&next), fresh).await else {
            return Err("reading has stopped".into());
        };
        self.outlets.forget(&rewired.gone);
        self.outlets.follow(&next);
        for ((queue, reader), letters) in rewired.readers.into_iter().zip(letters) {
            if let Some(to) = next.destinations.iter().find(|to| to.name == *queue.name()) {
                self.outlets.start(to, queue, reader, letters);
            }
        }
        let difference = Some(Difference::between(&self.config, &next));
        self.watched.follow(&next);
        self.config = next;
        self.watch_config.send_replace(self.config.watch_config);
        self.cloudwatch.send_if_modified(|now| {
            let differs = *now != self.config.cloudwatch;
            now.clone_from(&self.config.cloudwatch);
            differs
        });
        Ok(Adopted { after_restart, difference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        config::parse(text, "test", &|_| None).unwrap_or_else(|errors| panic!("{errors}")).config
    }

    fn of(destinations: &str, rest: &str) -> Config {
        config(&format!(
            "destinations: {{{destinations}}}\nroutes: [{{files: /var/log/a.log, to: [a]}}]\n{rest}"
        ))
    }

    const A: &str = "a: {type: directory, path: /a}";

    #[test]
    fn settings_that_cannot_change_are_put_back_and_named() {
        let before = of(A, "data_dir: /data");
        let mut next = of(A, "data_dir: /other\nadmin: {}\nlog: {level: debug}\nhost: b");
        assert_eq!(keep_fixed(&before, &mut next), ["data_dir", "admin", "log"]);
        assert_eq!((&next.data_dir, &next.admin, &next.log), (&before.data_dir, &None, &before.log));
        assert_eq!(next.host.as_deref(), Some("b"));
        assert!(keep_fixed(&before, &mut next).is_empty());
    }

    #[test]
    fn what_is_different_is_named() {
        let before = of(&format!("{A}, b: {{type: directory, path: /b}}"), "");
        let next = of("a: {type: directory, path: /z}, c: {type: directory, path: /c}", "");
        let difference = Difference::between(&before, &next);
        assert_eq!(
            difference,
            Difference {
                added: vec!["c".into()],
                removed: vec!["b".into()],
                changed: vec!["a".into()],
                ..Difference::default()
            }
        );
        assert_eq!(Difference::between(&before, &before), Difference::default());
        let metrics = of(&format!("{A}, b: {{type: directory, path: /b}}"), "cloudwatch: {namespace: x}");
        let difference = Difference::between(&before, &metrics);
        assert_eq!(difference, Difference { cloudwatch: true, ..Difference::default() });
    }

    #[test]
    fn a_refused_configuration_shows_until_one_counts_again() {
        let mut registry = Registry::default();
        let state = ConfigState::new(&mut registry);
        let shown = |text: &str| {
            let mut all = String::new();
            prometheus_client::encoding::text::encode(&mut all, &registry).unwrap();
            assert!(all.lines().any(|line| line == text), "{text}\nis not in\n{all}");
        };
        shown("config_last_reload_successful 1");
        state.came(&Outcome::Refused("line 3".into()));
        assert_eq!(state.current().problem.as_deref(), Some("line 3"));
        shown("config_last_reload_successful 0");
        shown(r#"config_reloads_total{outcome="refused"} 1"#);
        state.came(&Outcome::Applied { after_restart: vec!["data_dir"] });
        assert_eq!(state.current().problem, None);
        shown("config_last_reload_successful 1");
        shown("config_restart_needed 1");
    }
}
