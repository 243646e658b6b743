//! The parts of the agent that run, from their making to their end.

use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Instant, SystemTime};

use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use super::bell::Bell;
use super::data_dir::DataDir;
use super::drive::{Drive, Rewire, Told};
use super::glance::Glance;
use super::instance;
use super::keeper::{Keeper, Work};
use super::open;
use super::outlets::{Outlets, Place};
use super::pipeline::{Own, Pipeline, Plan, Rewired};
use super::reload::ConfigState;
use super::run::{Failure, Options};
use super::status::Running;
use super::totals::Totals;
use super::watched::Watched;
use crate::buffer::{self, DeadLetters, Opened};
use crate::config::{Config, RouteConfig};
use crate::decode::Marker;
use crate::deliver::{CloudWatch, Metrics};
use crate::disk::HostDisk;
use crate::kubernetes::{self, PodStore};
use crate::process::Chain;
use crate::source::DestinationName;
use crate::tail::Watcher;
use crate::telemetry::Liveness;
use crate::telemetry::tap::Taps;

/// What the reading thread is called where the system shows threads.
const READING: &CStr = c"reading";
/// Descriptors for what is not a followed file: connections, chunks, folders that are looked at.
const OTHER_FILES: usize = 256;

/// The parts that run.
pub(super) struct Agent {
    drive: Option<JoinHandle<Drive>>,
    /// Told once all files that are there are followed.
    pub(super) followed: Option<oneshot::Receiver<()>>,
    /// The pipeline, once it has stopped.
    stopped: Option<Drive>,
    /// Tells reading what to do.
    pub(super) tell: Sender<Told>,
    pub(super) outlets: Outlets,
    stop: Arc<AtomicBool>,
    pub(super) bell: Bell,
    pub(super) watched: Watched,
    /// Who looks at records as they pass.
    pub(super) taps: Taps,
    pub(super) liveness: Liveness,
    /// What it runs by.
    pub(super) config: Arc<Config>,
    pub(super) state: ConfigState,
    /// Whether the configuration's file is watched.
    pub(super) watch_config: watch::Sender<bool>,
    /// What is sent to CloudWatch.
    pub(super) cloudwatch: watch::Sender<Option<CloudWatch>>,
    /// What is known of this node's pods.
    pub(super) pods: PodStore,
    /// What of them is to be known.
    pub(super) pods_wanted: watch::Sender<kubernetes::Wanted>,
}

/// A file and a watch need descriptors: no more files may be open than the system lets the process have.
pub(super) fn bounded(mut config: Config) -> Config {
    // The soft limit is made for programs that use select(2).
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES).max(1);
            config.tail.max_open_files = config.tail.max_open_files.min(room);
        }
        Err(error) => warn!(event = "nofile_limit", %error, "the limit of open files could not be raised"),
    }
    config
}

impl Agent {
    pub(super) fn build(
        config: &Config,
        options: &Options,
        registry: &mut Registry,
    ) -> Result<Self, Failure> {
        let config = Arc::new(config.clone());
        let disk = HostDisk::shared();
        let data_dir = Arc::new(DataDir::open(&*disk, &config.data_dir)?);
        let failed = |error| Failure::Open { path: config.data_dir.clone(), error };
        let bell = Bell::default();
        let totals = Totals::default();
        totals.register(registry);
        let liveness = Liveness::default();
        let stuck_after = config.admin.clone().unwrap_or_default().stuck_after;
        let of_pods = kubernetes::Metrics::default();
        of_pods.register(registry);
        let news = bell.clone();
        let pods = PodStore::new(of_pods, move || news.ring());
        let pods_wanted = pods_wanted(&config);
        // Before the first file is read.
        pods.follow(&pods_wanted);
        let open::State { tailer, appenders, chains, turn, budget, replays } =
            open::open(&config, &data_dir, &disk, &bell, &pods, Instant::now(), SystemTime::now())
                .map_err(failed)?;
        let place =
            Place { data_dir: data_dir.path.clone(), disk: Arc::clone(&disk), budget, bell: bell.clone() };
        let names: Vec<DestinationName> = config.destinations.iter().map(|to| to.name.clone()).collect();
        tell_of_others(&config.data_dir, &names);
        let plans = config.routes.iter().map(|route| plan(route, &names)).collect();
        let letters: Vec<DeadLetters> = config.destinations.iter().map(|to| place.letters(to)).collect();
        let taps = Taps::default();
        let pipeline = Pipeline::new(
            tailer,
            plans,
            appenders,
            letters.clone(),
            config.tail.clone(),
            data_dir.node,
            host(&config),
            turn,
            totals.clone(),
        )
        .shown_to(taps.clone())
        .replaying(replays);
        let own_log = options.log.mark.as_deref().filter(|_| !config.log.deliver_own_lines);
        let mut pipeline = pipeline.leaving_out(own_log.map(Marker::new));
        pipeline.know_pods(pods.clone());
        let work = Work::new(Arc::clone(&disk), data_dir.path.clone(), config.buffer.sync, totals.clone());
        let heart = liveness.task("writing checkpoints", stuck_after);
        let keeper = Keeper::start(work, bell.clone(), heart).map_err(Failure::System)?;
        let ring = bell.clone();
        let watcher = Watcher::new(config.tail.watch, move || ring.ring());
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = channel();
        let glance = Glance::new(bell.clone());
        let mut drive = Drive::new(
            pipeline,
            keeper,
            watcher,
            bell.clone(),
            glance.clone(),
            Arc::clone(&stop),
            Arc::clone(&disk),
            Arc::clone(&data_dir),
            config.buffer.clone(),
            &config.tail,
            options.once,
            told,
        );
        drive.read_on_stop(&config);
        let metrics = Metrics::default();
        metrics.register(registry);
        let state = ConfigState::new(registry);
        let top_files = config.admin.as_ref().map_or(0, |admin| admin.top_files);
        let watched = Watched::new(totals, glance, Running::new(state.clone()), top_files, registry);
        watched.follow(&config);
        let mut outlets = Outlets::new(place, liveness.clone(), stuck_after, metrics, watched.clone());
        for ((destination, (queue, chain)), letters) in config.destinations.iter().zip(chains).zip(letters) {
            let reader = buffer::reader(&queue, chain);
            outlets.start(destination, queue, reader, letters);
        }
        info!(
            event = "started",
            version = env!("CARGO_PKG_VERSION"),
            routes = config.routes.len(),
            destinations = config.destinations.len(),
            data_dir = %config.data_dir.display(),
            "kinetail {} follows {} and delivers to {}",
            env!("CARGO_PKG_VERSION"),
            names_of(config.routes.iter().map(|route| route.name.as_str())),
            names_of(names.iter().map(DestinationName::as_str)),
        );
        let heart = liveness.task("reading", stuck_after);
        let (begun, followed) = oneshot::channel();
        let drive = tokio::task::spawn_blocking(move || {
            if let Err(error) = rustix::thread::set_name(READING) {
                debug!(event = "thread_unnamed", %error);
            }
            drive.begin(&heart);
            // Nobody may wait for it.
            let _ = begun.send(());
            drive.run(&heart)
        });
        Ok(Self {
            drive: Some(drive),
            followed: Some(followed),
            stopped: None,
            tell,
            outlets,
            stop,
            bell,
            watched,
            taps,
            liveness,
            watch_config: watch::Sender::new(config.watch_config),
            cloudwatch: watch::Sender::new(config.cloudwatch.clone()),
            config,
            state,
            pods,
            pods_wanted: watch::Sender::new(pods_wanted),
        })
    }

    /// Has reading go on by another configuration. None if it has stopped.
    pub(super) async fn rewire(
        &self,
        config: Arc<Config>,
        fresh: Vec<(Opened, DeadLetters)>,
    ) -> Option<Rewired> {
        let (done, wait) = oneshot::channel();
        let host = host(&config);
        self.tell.send(Told::Rewire(Rewire { config, host, fresh, done })).ok()?;
        self.bell.ring();
        wait.await.ok()
    }

    /// Waits until the pipeline has stopped.
    async fn read(&mut self) -> Result<(), Failure> {
        let Some(drive) = &mut self.drive else { return Ok(()) };
        let stopped = drive.await.map_err(|died| Failure::Died(format!("the reading thread ({died})")))?;
        self.drive = None;
        self.stopped = Some(stopped);
        Ok(())
    }

    /// Waits until everything was read. A part that ends before it is told to is a failure.
    pub(super) async fn ended(&mut self) -> Result<(), Failure> {
        let Some(drive) = &mut self.drive else { return Ok(()) };
        let died = tokio::select! {
            drive = drive => match drive {
                Ok(stopped) => {
                    self.drive = None;
                    self.stopped = Some(stopped);
                    return Ok(());
                }
                Err(died) => format!("the reading thread ({died})"),
            },
            Some(died) = self.outlets.ended() => died,
        };
        self.halt();
        Err(Failure::Died(died))
    }

    /// Tells reading to stop.
    pub(super) fn halt(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.alarm();
    }

    /// Stops reading and delivers what is in the buffer, until all is delivered or, unless `patient`, until
    /// `drain_timeout` has passed. Returns whether all is delivered. Given up, it can be called again.
    pub(super) async fn drain(&mut self, patient: bool) -> Result<bool, Failure> {
        self.halt();
        self.read().await?;
        let outlets = &mut self.outlets;
        let all = async { outlets.drain().await.map(|()| true).map_err(Failure::Died) };
        if patient {
            return all.await;
        }
        tokio::time::timeout(self.config.drain_timeout, all).await.unwrap_or_else(|_| {
            warn!(event = "drain_timed_out", drain_timeout = ?self.config.drain_timeout,
                "drain_timeout has passed; what was not delivered stays in the buffer for the next start");
            Ok(false)
        })
    }

    /// Writes the last checkpoint and says how it ended.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        self.halt();
        self.outlets.end().await;
        self.read().await?;
        if let Some(mut drive) = self.stopped.take() {
            let ended = tokio::task::spawn_blocking(move || drive.end());
            ended.await.map_err(|died| Failure::Died(format!("the last checkpoint ({died})")))?;
        }
        self.watched.say_stopped();
        Ok(())
    }
}

pub(super) fn plan(route: &RouteConfig, destinations: &[DestinationName]) -> Plan {
    let out = |name: &DestinationName| destinations.iter().position(|other| other == name);
    Plan {
        name: route.name.clone(),
        decoding: route.decoding.clone(),
        header_lines: route.skip_header_lines,
        chain: Chain::new(route.process.clone()).on(instance::this()).of_journal(route.journal_fields()),
        own: Own::new(route, instance::this()),
        rate: route.rate_limit,
        layout: route.layout.clone(),
        to: route.to.iter().filter_map(out).collect(),
        when: route.when.iter().filter_map(|(name, when)| Some((out(name)?, when.clone()))).collect(),
    }
}

/// What of this node's pods is to be known.
pub(super) fn pods_wanted(config: &Config) -> kubernetes::Wanted {
    let settings = config.kubernetes.clone()?;
    let node = settings.node.clone().unwrap_or_else(|| host(config));
    Some((settings, node))
}

/// What records carry as `host`.
fn host(config: &Config) -> String {
    let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    config.host.clone().unwrap_or_else(own)
}

/// Says which buffers have records though no destination has their name.
fn tell_of_others(data_dir: &Path, names: &[DestinationName]) {
    for (name, bytes) in buffer::others(data_dir, names) {
        warn!(event = "buffer_kept", destination = %name, bytes,
            "the buffer of a destination that is not in the configuration still holds chunks; they are kept: name the \
             destination again to deliver them, or remove them");
    }
}

fn names_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::telemetry::metrics;

    fn agent(folder: &tempfile::TempDir) -> Agent {
        let root = folder.path().display();
        let text = format!(
            "data_dir: {root}/data\ndestinations:\n  local: {{type: directory, path: {root}/out}}\n\
             routes:\n  - {{name: logs, files: '{root}/*.log', to: [local]}}\n"
        );
        let config = config::parse(&text, "test", &|_| None).unwrap().config;
        Agent::build(&config, &Options::default(), &mut metrics::registry()).unwrap()
    }

    /// That the others were told to stop is shown by the test's end: the runtime waits for the reading thread.
    async fn died_of(mut agent: Agent) -> String {
        match agent.ended().await {
            Err(Failure::Died(part)) => part,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_delivery_that_dies_ends_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        agent.outlets.deliveries.spawn(async { panic!("a mistake") });
        let part = died_of(agent).await;
        assert!(part.contains("delivery") && part.contains("a mistake"), "{part}");
    }

    #[tokio::test]
    async fn a_delivery_that_ends_by_itself_ends_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        agent.outlets.deliveries.spawn(async { DestinationName::from("local") });
        assert_eq!(died_of(agent).await, "the delivery to local");
    }

    #[tokio::test]
    async fn a_reading_thread_that_dies_ends_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        let reading = agent.drive.replace(tokio::task::spawn_blocking(|| panic!("a mistake")));
        agent.halt();
        reading.unwrap().await.unwrap();
        assert!(died_of(agent).await.starts_with("the reading thread"));
    }
}
