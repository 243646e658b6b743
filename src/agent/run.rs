//! Running the agent until it is told to stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::cloudwatch::{CloudWatchMetrics, Sender};
use super::config_file::{ConfigFile, Notices};
use super::controls;
use super::data_dir::DataDirError;
use super::instance;
use super::once;
use super::parts::{Agent, bounded};
use super::reload::{self, Ask, Asks, Outcome};
use crate::config::Config;
use crate::kubernetes;
use crate::tail::Watch;
use crate::telemetry::admin::{self, Admin};
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::ProcessMetrics;
use crate::telemetry::{metrics, service_manager};

/// Before a disk that refused at the start is tried again.
const START_PAUSE: Duration = Duration::from_secs(1);
/// So many may want the configuration to be loaded again before the first of them is heard.
const ASKS: usize = 16;

/// How to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Deliver what the files hold now, then return.
    pub once: bool,
    /// The log of this process.
    pub log: Log,
    /// Where the configuration came from, to be loaded again from there.
    pub file: Option<ConfigFile>,
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
    /// With [`Options::once`]: a signal came before everything was read and delivered.
    #[error("told to stop before everything was read and delivered; the next run goes on from here")]
    Unfinished,
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
    config = bounded(config);
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::System)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::System)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(Failure::System)?;
    let admin = match &config.admin {
        Some(admin) => Some(admin::bind(admin.listen).map_err(Failure::Admin)?),
        None => None,
    };
    let once = options.once;
    let (mut agent, registry, sending) = loop {
        let mut registry = metrics::registry();
        let sending = CloudWatchMetrics::new(&mut registry);
        match Agent::build(&config, &options, &mut registry) {
            Ok(agent) => break (agent, Arc::new(registry), sending),
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
    // What was started after us may write at once: not before its files are followed.
    if let Some(followed) = agent.followed.take() {
        tokio::spawn(async move {
            if followed.await.is_ok() {
                service_manager::ready();
            }
        });
    }
    side.spawn(async move {
        telling.await;
        "what tells the service manager"
    });
    let process = Arc::<ProcessMetrics>::default();
    let sender = Sender::new(
        agent.watched.clone(),
        Arc::clone(&registry),
        Arc::clone(&process),
        agent.cloudwatch.subscribe(),
        sending,
    );
    side.spawn(async move {
        sender.run().await;
        "what sends metrics to CloudWatch"
    });
    if let Some(listener) = admin {
        let (watched, liveness) = (agent.watched.clone(), agent.liveness.clone());
        let refreshed = watched.clone();
        let admin = Admin {
            registry,
            process,
            liveness: agent.liveness.clone(),
            refresh: Arc::new(move || refreshed.refresh()),
            status: Arc::new(move |files| watched.snapshot(&liveness, files)),
        };
        if let Ok(listen) = listener.local_addr() {
            info!(event = "admin_ready", %listen, "metrics are at http://{listen}/metrics");
        }
        let ended = admin::start(listener, admin).map_err(Failure::System)?;
        side.spawn(async move {
            if let Ok(error) = ended.await {
                warn!(event = "admin_ended", %error, "the admin port is closed");
            }
            "the admin port"
        });
    }
    side.spawn(async {
        instance::keep(instance::this()).await;
        "what asks for the instance's metadata"
    });
    let (pods, wanted) = (agent.pods.clone(), agent.pods_wanted.subscribe());
    side.spawn(async move {
        kubernetes::feed(pods, wanted).await;
        "what asks the API of Kubernetes"
    });
    let summary = agent.watched.clone().summarise(options.log.suppressed.clone());
    side.spawn(async move {
        summary.await;
        "the summary"
    });
    let rates = agent.watched.clone().keep_rates();
    side.spawn(async move {
        rates.await;
        "what notes the rates"
    });
    let progress = once.then(|| once::Show::start(agent.watched.clone()));
    let (asks, mut asked) = mpsc::channel(ASKS);
    if let Some(file) = options.file.clone().filter(|_| !once) {
        let watched = agent.watch_config.subscribe();
        side.spawn(watch_file(file, config.tail.watch, watched, asks.clone()));
    }
    controls::serve(&mut side, &agent, asks);
    let reason = loop {
        let ask = tokio::select! {
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
            ended = agent.ended() => {
                ended?;
                break "everything is read";
            }
            Some(ended) = side.join_next() => {
                agent.halt();
                let part = ended.unwrap_or("a part that watches");
                return Err(Failure::Died(part.into()));
            }
            _ = hangup.recv() => Ask { by: "SIGHUP", answer: None },
            Some(ask) = asked.recv() => ask,
        };
        match &options.file {
            Some(file) if !once => reload::reload(&mut agent, file.path().to_owned(), ask).await,
            _ => {
                let problem = "a run that ends with its files does not load its configuration again";
                warn!(event = "reload_ignored", by = ask.by, "{problem}");
                if let Some(answer) = ask.answer {
                    let _ = answer.send(Outcome::Refused(problem.into()));
                }
            }
        }
    };
    let all_read = !reason.starts_with("SIG");
    service_manager::stopping("delivering what is in the buffer");
    info!(event = "stopping", reason, "reading stops; what is in the buffer is delivered");
    let mut patient = once && all_read;
    let all_delivered = loop {
        tokio::select! {
            delivered = agent.drain(patient) => break delivered?,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Asked a second time: at once.
        if !patient {
            break false;
        }
        patient = false;
    };
    if let Some(progress) = progress {
        progress.over().await;
    }
    options.log.suppressed.tell();
    agent.end().await?;
    if once && !(all_read && all_delivered) {
        return Err(Failure::Unfinished);
    }
    Ok(())
}

/// Asks for the configuration to be loaded again whenever its file has changed, as long as that is wanted.
async fn watch_file(
    mut file: ConfigFile,
    how: Watch,
    mut wanted: watch::Receiver<bool>,
    asks: Asks,
) -> &'static str {
    const PART: &str = "what watches the configuration's file";
    let mut notices = None;
    loop {
        if wanted.wait_for(|wanted| *wanted).await.is_err() {
            return PART;
        }
        file.changed(notices.get_or_insert_with(|| Notices::new(how))).await;
        let ask = Ask { by: "the file has changed", answer: None };
        if *wanted.borrow() && asks.send(ask).await.is_err() {
            return PART;
        }
    }
}
