//! Metrics to Amazon CloudWatch, beside everything else: nothing waits for it, and what goes wrong with it is counted and
//! told, no more.
//!
//! - Each interval it takes the text of `/metrics`, makes of it what is sent (`round`), and sends that in calls within the
//!   service's limits, one after the other.
//! - What a call did not take is not kept. A counter is sent as what it rose since it was taken last, so its sum is right
//!   again with the next call that is; what was measured meanwhile is missing. So memory does not grow with an outage.
//! - Measuring may wait for the reading thread, and a mistake in it may panic: it has a thread of its own, for which the
//!   runtime does not wait when the process stops.

mod exposition;
mod round;

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};
use tracing::{info, warn};

use super::watched::Watched;
use crate::deliver::{Class, CloudWatch, CloudWatchClient, Failure, HttpClients, batches};
use crate::metric::register;
use crate::telemetry::metrics::ProcessMetrics;
use round::{Point, Sent};

/// The same failure is told again after this time.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// What is counted of calls.
#[derive(Clone, Debug)]
pub(super) struct CloudWatchMetrics {
    taken: Counter,
    failed: Counter,
    metrics: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

impl CloudWatchMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let requests = Family::<ByOutcome, Counter>::default();
        let of = |outcome| requests.get_or_create_owned(&ByOutcome { outcome });
        let made = Self { taken: of("taken"), failed: of("failed"), metrics: Counter::default() };
        register!(registry, {
            "cloudwatch_requests": requests, "Calls of CloudWatch's PutMetricData, by outcome: taken or failed";
            "cloudwatch_metrics": made.metrics, "Metrics that CloudWatch took, each time that it was sent";
        });
        made
    }
}

/// Who sends metrics.
pub(super) struct Sender {
    watched: Watched,
    registry: Arc<Registry>,
    process: Arc<ProcessMetrics>,
    settings: watch::Receiver<Option<CloudWatch>>,
    metrics: CloudWatchMetrics,
    http: HttpClients,
    sent: Sent,
    /// When which failure was told last.
    told: Option<(String, Instant)>,
}

impl Sender {
    /// Sends by what the settings say from time to time.
    pub(super) fn new(
        watched: Watched,
        registry: Arc<Registry>,
        process: Arc<ProcessMetrics>,
        settings: watch::Receiver<Option<CloudWatch>>,
        metrics: CloudWatchMetrics,
    ) -> Self {
        let (http, sent) = (HttpClients::default(), Sent::default());
        Self { watched, registry, process, settings, metrics, http, sent, told: None }
    }

    /// Does not end.
    pub(super) async fn run(mut self) {
        // Counters begin with the process: what is counted before the first look is sent, too.
        let mut from_start = self.settings.borrow().is_some();
        loop {
            // What it finds it has seen.
            let wanted = self.settings.wait_for(Option::is_some).await.ok().and_then(|wanted| wanted.clone());
            // The agent is gone, and this goes with it.
            let Some(wanted) = wanted else { return pending().await };
            self.send(wanted, from_start).await;
            from_start = false;
        }
    }

    /// Sends until the settings are others; what was counted before this, unless it was begun to be sent, only if
    /// `from_start`.
    async fn send(&mut self, settings: CloudWatch, from_start: bool) {
        let client = Arc::new(CloudWatchClient::new(&settings, &self.http, None));
        info!(
            event = "cloudwatch_started",
            namespace = settings.namespace,
            interval = ?settings.interval,
            "metrics are sent to CloudWatch"
        );
        self.told = None;
        if !from_start && let Some(points) = self.measure(&settings).await {
            self.sent.begin(points);
        }
        let first = tokio::time::Instant::now() + settings.interval;
        let mut ticks = interval_at(first, settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                changed = self.settings.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return pending().await,
                },
            }
            // Other settings wait for its answer: what it took is not to be sent again by them.
            let outcome = self.round(&client, &settings).await;
            self.tell(outcome);
        }
        if self.settings.borrow().is_none() {
            // What is counted from now on is sent to nobody.
            self.sent = Sent::default();
            info!(event = "cloudwatch_ended", "no more metrics are sent to CloudWatch");
        }
    }

    /// Measures and sends once.
    async fn round(&mut self, client: &Arc<CloudWatchClient>, settings: &CloudWatch) -> Result<(), Failure> {
        let at = SystemTime::now();
        let Some(points) = self.measure(settings).await else {
            return Err(Failure::local(Class::Retry, "Unmeasured", "the metrics could not be gathered"));
        };
        self.sent.forget_others(&points);
        let mut points: Vec<Point> = points.into_iter().filter(|point| point.datum.is_sendable()).collect();
        let mut outcome = Ok(());
        for count in batches(points.iter().map(|point| &point.datum)) {
            let next = points.split_off(count);
            let batch = std::mem::replace(&mut points, next);
            let data: Vec<_> = batch.iter().map(|point| point.datum.clone()).collect();
            let client = Arc::clone(client);
            // A defect in a call costs that call. It ends with what waits for it.
            let mut call = JoinSet::new();
            call.spawn(async move { client.put(&data, at).await });
            let answer = call.join_next().await.and_then(Result::ok).unwrap_or_else(|| {
                Err(Failure::local(Class::Retry, "Panic", "a defect; see the log before this line"))
            });
            match answer {
                Ok(()) => {
                    self.metrics.taken.inc();
                    self.metrics.metrics.inc_by(batch.len() as u64);
                    self.sent.took(batch);
                }
                Err(failure) => {
                    self.metrics.failed.inc();
                    outcome = Err(failure);
                }
            }
        }
        outcome
    }

    /// None where measuring panicked, or the system has no thread for it.
    async fn measure(&self, settings: &CloudWatch) -> Option<Vec<Point>> {
        let (watched, registry, process) =
            (self.watched.clone(), Arc::clone(&self.registry), Arc::clone(&self.process));
        let (sent, settings) = (self.sent.clone(), settings.clone());
        let (tell, told) = oneshot::channel();
        let measure = move || {
            watched.refresh();
            let streams = streams(&watched);
            if let Ok(text) = process.encode(&registry) {
                // Whoever asked may be gone.
                let _ = tell.send(sent.points(&exposition::samples(&text), &streams, &settings));
            }
        };
        std::thread::Builder::new().name("cloudwatch".into()).spawn(measure).ok()?;
        told.await.ok()
    }

    fn tell(&mut self, outcome: Result<(), Failure>) {
        match (outcome, &self.told) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => {
                self.told = None;
                info!(event = "cloudwatch_recovered", "CloudWatch takes metrics again");
            }
            (Err(failure), Some((code, at))) if *code == failure.code && at.elapsed() < TOLD_AGAIN => {}
            (Err(failure), _) => {
                warn!(
                    event = "cloudwatch_failed",
                    code = failure.code,
                    error = failure.message,
                    "CloudWatch does not take metrics; logs are not concerned, and it is tried again: {failure}"
                );
                self.told = Some((failure.code, Instant::now()));
            }
        }
    }
}

/// The Kinesis Agent's dimension of each destination that is a stream.
fn streams(watched: &Watched) -> HashMap<String, String> {
    let destinations = watched.destinations();
    let of = |kind: &str, target: &str| match kind {
        "firehose" => Some(format!("DeliveryStream:{target}")),
        // An ARN ends in the name.
        "kinesis" => target.rsplit('/').next().map(|name| format!("KinesisStream:{name}")),
        _ => None,
    };
    let named = destinations.iter().map(|to| (to.queue.name().to_string(), of(to.kind, &to.target)));
    named.filter_map(|(name, stream)| Some((name, stream?))).collect()
}
