//! Building the agent, running it, stopping it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{error, info, warn};

use super::bell::Bell;
use super::burial::Burial;
use super::data_dir::{DataDir, DataDirError};
use super::delivery::{Delivery, Phase};
use super::drive::Drive;
use super::keeper::{Keeper, Work};
use super::open;
use super::pipeline::{Pipeline, Plan};
use super::preflight;
use super::totals::Totals;
use super::watched::Watched;
use crate::buffer::{self, DeadLetters};
use crate::config::{Config, RouteConfig};
use crate::deliver::{Dispatcher, HttpClients, Metrics, Service};
use crate::disk::HostDisk;
use crate::process::Chain;
use crate::source::DestinationName;
use crate::tail::Watcher;
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::{Liveness, Suppressed, metrics, service_manager};

/// Reading looks at its bell at least once a second; a part that is silent for this long is stuck.
const READING_LIMIT: Duration = Duration::from_secs(60);
/// Descriptors for what is not a followed file: connections, chunks, folders that are looked at.
const OTHER_FILES: usize = 256;
/// Before a disk that refused at the start is tried again.
const START_PAUSE: Duration = Duration::from_secs(1);
/// Delivery wakes every five seconds.
const DELIVERY_LIMIT: Duration = Duration::from_secs(60);

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Deliver what the files hold now, then return.
    pub once: bool,
    /// What the log held back, to be told with the summaries.
    pub suppressed: Suppressed,
}

/// Why the agent could not go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// `data_dir` cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What an earlier run left cannot be opened.
    #[error("{path}: {error}")]
    Open {
        /// `data_dir`.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A thread or a signal handler cannot be had.
    #[error("the system refuses what every process needs: {0}")]
    System(io::Error),
    /// The admin port cannot be opened.
    #[error(transparent)]
    Admin(io::Error),
    /// A part of the agent died. Its panic was logged.
    #[error("{0} died; see the log before this line. Nothing that was read is lost")]
    Died(String),
}

impl Failure {
    /// Whether somebody may make room on the disk, or make it writable, while we wait.
    fn may_pass(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let error = match self {
            Self::DataDir(DataDirError::Io { error, .. }) | Self::Open { error, .. } => error,
            _ => return false,
        };
        matches!(error.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    }
}

/// Runs until SIGTERM or SIGINT, or with [`Options::once`] until everything is delivered.
///
/// # Errors
///
/// See [`Failure`]. What was read is in the buffer in any case, and goes out after the next start.
pub async fn run(mut config: Config, options: Options) -> Result<(), Failure> {
    // A file and a watch need descriptors; the soft limit is made for programs that use select(2).
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => {
            let room = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES).max(1);
            config.tail.max_open_files = config.tail.max_open_files.min(room);
        }
        Err(error) => warn!(event = "nofile_limit", %error, "the limit of open files could not be raised"),
    }
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::System)?;
    let admin = match &config.admin {
        Some(admin) => Some(admin::bind(admin.listen).await.map_err(Failure::Admin)?),
        None => None,
    };
    let once = options.once;
    let (mut agent, registry) = loop {
        let mut registry = metrics::registry();
        match Agent::build(&config, &options, &mut registry) {
            Ok(agent) => break (agent, registry),
            Err(failure) if !once && failure.may_pass() => {
                error!(event = "start_postponed", error = %failure, "the disk of data_dir refuses; it is tried again until it takes what is written");
                service_manager::waiting(&failure.to_string());
            }
            Err(failure) => return Err(failure),
        }
        tokio::select! {
            () = tokio::time::sleep(START_PAUSE) => {}
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    };
    let mut side = JoinSet::new();
    let watched = agent.watched.clone();
    let telling = service_manager::keep_telling(agent.liveness.clone(), move || watched.status());
    service_manager::ready();
    side.spawn(async move {
        telling.await;
        "what tells the service manager"
    });
    if let Some(listener) = admin {
        let watched = agent.watched.clone();
        let admin = Admin {
            registry: Arc::new(registry),
            liveness: agent.liveness.clone(),
            refresh: Arc::new(move || watched.refresh()),
        };
        if let Ok(listen) = listener.local_addr() {
            info!(event = "admin_ready", %listen, "metrics are at http://{listen}/metrics");
        }
        side.spawn(async move {
            if let Err(error) = admin::serve(listener, admin).await {
                warn!(event = "admin_ended", %error, "the admin port is closed");
            }
            "the admin port"
        });
    }
    let summary = agent.watched.clone().summarise(options.suppressed);
    side.spawn(async move {
        summary.await;
        "the summary"
    });
    let reason = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        ended = agent.ended() => {
            ended?;
            "everything is read"
        }
        Some(ended) = side.join_next() => {
            agent.halt();
            let part = ended.unwrap_or("a part that watches");
            return Err(Failure::Died(part.into()));
        }
    };
    let patient = once && !reason.starts_with("SIG");
    service_manager::stopping("delivering what is in the buffer");
    info!(event = "stopping", reason, "reading stops; what is in the buffer is delivered");
    let drained = tokio::select! {
        drained = agent.drain(patient) => drained,
        // Asked a second time: at once.
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    };
    drained?;
    agent.end().await
}

/// The parts that run.
struct Agent {
    drive: Option<JoinHandle<Drive>>,
    /// The pipeline, once it has stopped.
    stopped: Option<Drive>,
    deliveries: JoinSet<DestinationName>,
    phase: watch::Sender<Phase>,
    stop: Arc<AtomicBool>,
    bell: Bell,
    drain_timeout: Duration,
    watched: Watched,
    liveness: Liveness,
    /// Asks destinations how they are; ends with the agent.
    _preflight: JoinSet<()>,
}

impl Agent {
    fn build(config: &Config, options: &Options, registry: &mut Registry) -> Result<Self, Failure> {
        let disk = HostDisk::shared();
        let data_dir = Arc::new(DataDir::open(&*disk, &config.data_dir)?);
        let failed = |error| Failure::Open { path: config.data_dir.clone(), error };
        let bell = Bell::default();
        let totals = Totals::default();
        totals.register(registry);
        let liveness = Liveness::default();
        let open::State { tailer, appenders, chains, turn } =
            open::open(config, &data_dir, &disk, &bell, Instant::now(), SystemTime::now()).map_err(failed)?;
        let names: Vec<DestinationName> = config.destinations.iter().map(|to| to.name.clone()).collect();
        let plans = config.routes.iter().map(|route| plan(route, &names)).collect();
        let host = config.host.clone().unwrap_or_else(host_name);
        let letters: Vec<DeadLetters> = config
            .destinations
            .iter()
            .map(|to| {
                let (name, settings) = (to.name.clone(), to.dead_letters.clone());
                DeadLetters::new(&data_dir.path, name, settings, Arc::clone(&disk))
            })
            .collect();
        let pipeline = Pipeline::new(
            tailer,
            plans,
            appenders,
            letters.clone(),
            config.tail.clone(),
            data_dir.node,
            host,
            turn,
            totals.clone(),
        );
        let durability = config.buffer.sync;
        let work = Work::new(Arc::clone(&disk), data_dir.path.clone(), durability, totals.clone());
        let keeper = Keeper::start(work, bell.clone()).map_err(Failure::System)?;
        let ring = bell.clone();
        let watcher = Watcher::new(config.tail.watch, move || ring.ring());
        let stop = Arc::new(AtomicBool::new(false));
        let mut drive = Drive::new(
            pipeline,
            keeper,
            watcher,
            bell.clone(),
            Arc::clone(&stop),
            Arc::clone(&disk),
            Arc::clone(&data_dir),
            config.buffer.clone(),
            config.tail.poll_interval,
            options.once,
        );
        let (phase, told) = watch::channel(Phase::Run);
        let http = HttpClients::default();
        let metrics = Metrics::default();
        metrics.register(registry);
        let mut deliveries = JoinSet::new();
        let mut services = Vec::new();
        let (mut queues, mut destination_metrics) = (Vec::new(), Vec::new());
        for ((destination, (queue, chain)), letters) in config.destinations.iter().zip(chains).zip(&letters) {
            let metrics = metrics.of(&destination.name);
            destination_metrics.push(metrics.clone());
            let service = Arc::new(Service::new(&destination.to, &destination.name, &http, &disk));
            services.push((destination.name.clone(), Arc::clone(&service)));
            let delivery = Delivery {
                reader: buffer::reader(&queue, chain),
                queue: queue.clone(),
                dispatcher: Dispatcher::of(&destination.to, fastrand::Rng::new()),
                service: Arc::clone(&service),
                metrics,
                burial: Burial::new(destination.name.clone(), letters.clone()),
            };
            let (told, name) = (told.clone(), destination.name.clone());
            let heart = liveness.task(format!("delivery to {name}"), DELIVERY_LIMIT);
            deliveries.spawn(async move {
                delivery.run(told, heart).await;
                name
            });
            queues.push(queue);
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
        let heart = liveness.task("reading", READING_LIMIT);
        let drive = tokio::task::spawn_blocking(move || {
            drive.begin();
            drive.run(&heart)
        });
        Ok(Self {
            drive: Some(drive),
            stopped: None,
            deliveries,
            phase,
            stop,
            bell,
            drain_timeout: config.drain_timeout,
            watched: Watched::new(queues, letters, totals, destination_metrics, registry),
            liveness,
            _preflight: preflight::start(services),
        })
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
    async fn ended(&mut self) -> Result<(), Failure> {
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
            Some(ended) = self.deliveries.join_next() => match ended {
                Ok(name) => format!("the delivery to {name}"),
                Err(died) => format!("a delivery ({died})"),
            },
        };
        self.halt();
        Err(Failure::Died(died))
    }

    /// Tells reading to stop.
    fn halt(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.alarm();
    }

    /// Stops reading and delivers what is in the buffer, until all is delivered or, unless `patient`, until
    /// `drain_timeout` has passed.
    async fn drain(&mut self, patient: bool) -> Result<(), Failure> {
        self.halt();
        self.read().await?;
        self.phase.send_replace(Phase::Drain);
        let deliveries = &mut self.deliveries;
        let all = async {
            while let Some(ended) = deliveries.join_next().await {
                ended.map_err(|died| Failure::Died(format!("a delivery ({died})")))?;
            }
            Ok(())
        };
        if patient {
            return all.await;
        }
        tokio::time::timeout(self.drain_timeout, all).await.unwrap_or_else(|_| {
            warn!(event = "drain_timed_out", drain_timeout = ?self.drain_timeout,
                "drain_timeout has passed; what was not delivered stays in the buffer for the next start");
            Ok(())
        })
    }

    /// Writes the last checkpoint and says how it ended.
    async fn end(mut self) -> Result<(), Failure> {
        self.halt();
        self.deliveries.shutdown().await;
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
        format: route.format,
        chain: Chain::new(route.process.clone()),
        rate: route.rate_limit,
        layout: route.layout.clone(),
        to: route.to.iter().filter_map(out).collect(),
        when: route.when.iter().filter_map(|(name, when)| Some((out(name)?, when.clone()))).collect(),
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn names_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

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
        agent.deliveries.spawn(async { panic!("a mistake") });
        let part = died_of(agent).await;
        assert!(part.contains("delivery") && part.contains("a mistake"), "{part}");
    }

    #[tokio::test]
    async fn a_delivery_that_ends_by_itself_ends_the_agent() {
        let folder = tempfile::tempdir().unwrap();
        let mut agent = agent(&folder);
        agent.deliveries.spawn(async { DestinationName::from("local") });
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
