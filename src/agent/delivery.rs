//! One destination's task: from its queue to its service, and the answers back.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::burial::{Burial, bytes_of};
use super::standing::Standing;
use crate::buffer::{GivenUp, Queue, Reader};
use crate::deliver::{
    Answer, Class, DestinationMetrics, Dispatcher, Failure, Health, HotKey, HotShard, Next, Refused, Request,
    Service, Settled,
};
use crate::record::Run;
use crate::telemetry::Heartbeat;

/// How long to wait before the disk is asked again for what it could not give.
const DISK_PAUSE: Duration = Duration::from_secs(1);
/// After so many bytes of records that become dead letters, which costs a sync, answers get their turn.
const LETTERS_AT_ONCE: usize = 1 << 20;

/// What delivery is told.
pub(super) enum Order {
    /// What to do from now on.
    Phase(Phase),
    /// The destination is another one under the same name. What is under way is waited for, and the rest goes to the
    /// new one.
    Become(Box<Become>),
    /// Give up what is in the buffer now, but for what is under way. The sender is told how much it was.
    Purge(oneshot::Sender<GivenUp>),
}

/// What delivery is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Deliver as records come, in full requests.
    Run,
    /// Nothing more comes: send what there is, and end when it is delivered.
    Drain,
    /// The destination was removed: send what there is, say when it is delivered, and wait for another order.
    Leave,
    /// The destination was removed and its records are kept: send nothing more, and wait for another order.
    Keep,
}

/// What a destination is made of.
pub(super) struct Become {
    pub(super) service: Arc<Service>,
    pub(super) dispatcher: Dispatcher,
    pub(super) standing: Standing,
}

/// One destination's delivery.
pub(super) struct Delivery {
    pub(super) queue: Queue,
    pub(super) reader: Reader,
    /// What the dispatcher before this one did not come to settle, in order.
    pub(super) returned: VecDeque<Run>,
    pub(super) dispatcher: Dispatcher,
    pub(super) service: Arc<Service>,
    pub(super) metrics: DestinationMetrics,
    pub(super) standing: Standing,
    pub(super) burial: Burial,
}

type Sent = (Request, Answer, Duration);

impl Delivery {
    /// Delivers until everything is delivered in [`Phase::Drain`], or nobody can give orders any more; then what is
    /// under way is waited for.
    pub(super) async fn run(mut self, mut orders: UnboundedReceiver<Order>, heart: Heartbeat) {
        let (mut phase, mut next, mut closed, mut said_empty) =
            (Phase::Run, None::<Box<Become>>, false, false);
        let mut purges = Vec::new();
        let mut sending: JoinSet<Sent> = JoinSet::new();
        let mut under_way: BTreeMap<tokio::task::Id, u64> = BTreeMap::new();
        let mut health = self.dispatcher.health().clone();
        loop {
            heart.beat();
            let quiet = closed || phase == Phase::Keep || next.is_some() || !purges.is_empty();
            if quiet && sending.is_empty() {
                if !purges.is_empty() {
                    self.purge(std::mem::take(&mut purges)).await;
                    continue;
                }
                if let Some(next) = next.take() {
                    self.turn_into(*next).await;
                    continue;
                }
                if closed {
                    break;
                }
            }
            if matches!(phase, Phase::Drain | Phase::Leave) {
                self.dispatcher.drain();
            }
            let mut wait = if quiet { self.wait() } else { self.fill() };
            loop {
                let next = if quiet { Next::Idle } else { self.dispatcher.next(Instant::now()) };
                match next {
                    Next::Send(request) => {
                        let id = request.id;
                        self.metrics.sent(self.dispatcher.fill(&request));
                        let service = Arc::clone(&self.service);
                        let task = sending.spawn(async move {
                            let started = Instant::now();
                            let answer = service.send(&request).await;
                            (request, answer, started.elapsed())
                        });
                        under_way.insert(task.id(), id);
                    }
                    Next::Wait(until) => {
                        wait = Some(wait.map_or(until, |wait: Instant| wait.min(until)));
                        break;
                    }
                    Next::Idle => break,
                }
            }
            self.metrics.watch(&mut self.dispatcher);
            let settled = self.dispatcher.held_records() == 0 && sending.is_empty() && self.burial.is_empty();
            let empty = settled && wait.is_none() && !quiet;
            match phase {
                Phase::Drain if empty => break,
                Phase::Leave if empty && !said_empty => {
                    info!(event = "destination_drained", destination = %self.queue.name(), "all that was in the buffer of the removed destination is delivered");
                }
                _ => {}
            }
            said_empty = empty && phase == Phase::Leave;
            let room = !quiet && self.dispatcher.room() && !self.burial.is_full();
            tokio::select! {
                Some(sent) = sending.join_next_with_id() => {
                    let settled = match sent {
                        Ok((task, (request, answer, latency))) => {
                            // It may be on another thread now, which will wait for the disk.
                            heart.beat();
                            under_way.remove(&task);
                            let request_id = answer.request_id.clone();
                            let settled = self.dispatcher.answered(request.id, answer, Instant::now());
                            self.metrics.answered(&request, &settled, latency);
                            self.tell_request(&request, request_id.as_deref(), &settled, latency);
                            settled
                        }
                        Err(died) => {
                            error!(event = "request_died", destination = %self.queue.name(), error = %died, "a request ended without an answer; it is sent again");
                            let Some(id) = under_way.remove(&died.id()) else { continue };
                            let failure = Failure::local(Class::Retry, "Died", died.to_string());
                            self.dispatcher.answered(id, failure.into(), Instant::now())
                        }
                    };
                    self.settle(settled);
                    self.tell_health(&mut health);
                }
                () = self.reader.readable(), if room => {}
                () = at(wait) => {}
                () = self.service.tend() => {}
                order = orders.recv(), if !closed => match order {
                    Some(Order::Phase(told)) => phase = told,
                    Some(Order::Become(told)) => next = Some(told),
                    Some(Order::Purge(asker)) => purges.push(asker),
                    None => closed = true,
                },
                // Still alive, though nothing happens.
                () = tokio::time::sleep(Duration::from_secs(5)) => {}
            }
        }
        heart.rest();
        if let Err(error) = self.service.close().await {
            warn!(event = "close_failed", destination = %self.queue.name(), %error, "what was open could not be finished; the next start does it");
        }
    }

    /// Goes on with another service, to which everything goes that the one before did not take.
    async fn turn_into(&mut self, next: Become) {
        if let Err(error) = self.service.close().await {
            warn!(event = "close_failed", destination = %self.queue.name(), %error, "what was open at the destination as it was could not be finished");
        }
        (self.service, self.standing) = (next.service, next.standing);
        let before = std::mem::replace(&mut self.dispatcher, next.dispatcher);
        let unsettled = before.into_runs().into_iter();
        self.returned = unsettled.chain(self.returned.drain(..)).collect();
    }

    /// Gives up everything that is in the buffer; nothing is under way.
    async fn purge(&mut self, askers: Vec<oneshot::Sender<GivenUp>>) {
        self.dispatcher.forget();
        self.returned.clear();
        self.burial.forget();
        self.reader.forget();
        let queue = self.queue.clone();
        let given_up = tokio::task::spawn_blocking(move || queue.give_up()).await.unwrap_or_default();
        warn!(event = "buffer_purged", destination = %self.queue.name(), records = given_up.records,
            "all records that waited were given up, as was asked for");
        if let Some(error) = &given_up.not_noted {
            warn!(event = "ack_not_written", destination = %self.queue.name(), %error,
                "that records were given up could not be noted on disk; after a restart they would be sent");
        }
        let mut given_up = Some(given_up);
        for asker in askers {
            // Whoever asked second finds nothing more; whoever asked may be gone.
            let _ = asker.send(given_up.take().unwrap_or_default());
        }
    }

    /// Takes nothing. Returns when to look again at dead letters that wait.
    fn wait(&mut self) -> Option<Instant> {
        self.bury(Vec::new());
        self.burial.due()
    }

    /// Takes records from the queue as long as there is room. Returns when to look again, whatever happens.
    fn fill(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let mut again = None;
        let mut refused = Vec::new();
        while self.dispatcher.room() && !self.burial.is_full() {
            if bytes_of(&refused) >= LETTERS_AT_ONCE {
                again = Some(now);
                break;
            }
            let returned = self.returned.pop_front();
            match returned.map_or_else(|| self.reader.next_run(), |run| Ok(Some(run))) {
                Ok(Some(run)) => {
                    let age = run.age(SystemTime::now());
                    refused.extend(self.dispatcher.offer(run, age, now));
                }
                Ok(None) => break,
                Err(error) => {
                    error!(event = "buffer_unreadable", destination = %self.queue.name(), %error, "the buffer cannot be read; it is tried again");
                    again = Some(now + DISK_PAUSE);
                    break;
                }
            }
        }
        self.metrics.refused(&refused);
        self.bury(refused);
        again.into_iter().chain(self.burial.due()).min()
    }

    /// For whoever follows single requests, and for the service's support, who ask for the id.
    fn tell_request(&self, request: &Request, id: Option<&str>, settled: &Settled, latency: Duration) {
        let (outcome, refused) = (settled.outcome(request).word(), settled.failed_entries());
        let code = settled.failures.first().map_or("", |(failure, _)| failure.code.as_str());
        debug!(event = "request", destination = %self.queue.name(), outcome, code, request_id = id.unwrap_or_default(),
            attempt = request.attempt(), entries = request.entries.len(), refused, bytes = request.size,
            latency_ms = latency.as_millis() as u64, "a request is over");
    }

    fn settle(&mut self, settled: Settled) {
        let failures = settled.failures.iter().map(|(failure, _)| failure);
        let took = settled.delivered_records > 0;
        self.standing.answered(self.dispatcher.health(), took, failures, SystemTime::now());
        for (failure, entries) in &settled.failures {
            if failure.class == Class::Hold {
                warn!(event = "destination_denied", destination = %self.queue.name(), code = %failure.code, reason = %failure.message,
                    "the destination does not take records; they are kept, and it is tried again slowly");
            } else {
                // What a service says of a record's content may quote it.
                let reason = if failure.class == Class::Poison { "" } else { &failure.message };
                debug!(event = "records_failed", destination = %self.queue.name(), code = %failure.code, reason, entries,
                    "records were not taken");
            }
        }
        if let Some(hot) = &settled.hot_shard {
            self.tell_hot(hot);
        }
        self.ack(&settled.acked);
        self.bury(settled.refused);
    }

    fn tell_hot(&self, HotShard { shard, refused, times_average, key }: &HotShard) {
        let destination = self.queue.name();
        let round = |number: f64| (number * 100.0).round() / 100.0;
        let times_average = round(*times_average);
        match key {
            Some(HotKey { key, share }) => {
                let share = round(*share);
                warn!(event = "hot_shard", %destination, %shard, refused, times_average, key, share,
                    "a shard refuses records, and this partition key has the largest part of what goes there: a finer key spreads them");
            }
            None => {
                warn!(event = "hot_shard", %destination, %shard, refused, times_average,
                    "a shard refuses records, and more goes there than to others; no key stands out: see how the stream's shards divide the hash keys");
            }
        }
    }

    fn ack(&self, runs: &[Run]) {
        let mut ranges: BTreeMap<u64, Vec<Range<u32>>> = BTreeMap::new();
        for run in runs {
            let of_chunk = ranges.entry(run.chunk()).or_default();
            let run = run.ordinals();
            match of_chunk.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => of_chunk.push(run),
            }
        }
        for (chunk, ranges) in ranges {
            match self.queue.ack(chunk, &ranges) {
                Ok(()) => {
                    let records: u32 = ranges.iter().map(|range| range.end - range.start).sum();
                    debug!(event = "acknowledged", destination = %self.queue.name(), chunk, records,
                        "records that need not be sent any more are noted in the buffer");
                }
                Err(error) => warn!(event = "ack_not_written", destination = %self.queue.name(), %error,
                    "a delivery could not be noted on disk; after a restart its records would be sent again"),
            }
        }
    }

    /// Makes dead letters of records that the destination will not get.
    fn bury(&mut self, refused: Vec<Refused>) {
        let buried = self.burial.bury(refused, Instant::now(), SystemTime::now());
        self.ack(&buried);
    }

    fn tell_health(&self, told: &mut Health) {
        let now = self.dispatcher.health();
        if std::mem::discriminant(told) == std::mem::discriminant(now) {
            return;
        }
        match now {
            Health::Fine => {
                info!(event = "destination_fine", destination = %self.queue.name(), "records are taken again")
            }
            Health::BackingOff { reason, .. } => {
                warn!(event = "destination_backing_off", destination = %self.queue.name(), reason = %reason, "delivery is slowed down");
            }
            Health::Denied { reason, .. } => {
                error!(event = "destination_denied", destination = %self.queue.name(), reason = %reason, "the destination refuses us; records are kept");
            }
        }
        *told = now.clone();
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}
