//! The destinations while the agent runs: each has a queue, dead letters and a delivery, which goes on through whatever
//! becomes of the configuration. One that is removed stays until its queue is empty, so that it can come back at any
//! time with all that it had.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{Id, JoinSet};
use tracing::info;

use super::bell::Bell;
use super::burial::Burial;
use super::delivery::{Become, Delivery, Order, Phase};
use super::preflight::Asked;
use super::standing::Standing;
use super::status::kind_and_target;
use super::watched::{Watched, WatchedDestination};
use super::{open, preflight};
use crate::buffer::{Budget, DeadLetters, Opened, Queue, Reader, RemovedDestinations};
use crate::config::{Config, DestinationConfig};
use crate::deliver::{Dispatcher, HttpClients, Metrics, Service};
use crate::disk::Disk;
use crate::source::DestinationName;
use crate::telemetry::Liveness;

/// Where buffers are opened, and what they share.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) data_dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) budget: Arc<Budget>,
    pub(super) bell: Bell,
}

/// All of them, and what a new one is made with.
pub(super) struct Outlets {
    place: Place,
    liveness: Liveness,
    /// After how long without progress a delivery is stuck. One that goes on shows some every five seconds.
    stuck_after: Duration,
    metrics: Metrics,
    watched: Watched,
    http: HttpClients,
    all: Vec<Outlet>,
    pub(super) deliveries: JoinSet<DestinationName>,
    /// Deliveries that were told to end.
    gone: HashSet<Id>,
    /// Asks destinations how they are; ends with the agent.
    preflight: JoinSet<()>,
}

/// One of them.
struct Outlet {
    config: DestinationConfig,
    queue: Queue,
    letters: DeadLetters,
    standing: Standing,
    orders: UnboundedSender<Order>,
    phase: Phase,
    delivery: Id,
}

impl Place {
    /// The dead letters of a destination.
    pub(super) fn letters(&self, destination: &DestinationConfig) -> DeadLetters {
        let (name, settings) = (destination.name.clone(), destination.dead_letters.clone());
        DeadLetters::new(&self.data_dir, name, settings, Arc::clone(&self.disk))
    }

    /// Opens the buffers of the destinations that there are none of, with their dead letters.
    ///
    /// # Errors
    ///
    /// One of them cannot be opened. Nothing has changed then.
    pub(super) fn open(
        &self,
        config: &Config,
        there: &[DestinationName],
    ) -> io::Result<Vec<(Opened, DeadLetters)>> {
        let fresh = config.destinations.iter().filter(|to| !there.contains(&to.name));
        let open = |to: &DestinationConfig| {
            let queue = open::queue(config, to, None, &self.data_dir, &self.disk, &self.budget, &self.bell)?;
            Ok((queue, self.letters(to)))
        };
        fresh.map(open).collect()
    }
}

impl Outlets {
    pub(super) fn new(
        place: Place,
        liveness: Liveness,
        stuck_after: Duration,
        metrics: Metrics,
        watched: Watched,
    ) -> Self {
        Self {
            place,
            liveness,
            stuck_after,
            metrics,
            watched,
            http: HttpClients::default(),
            all: Vec::new(),
            deliveries: JoinSet::new(),
            gone: HashSet::new(),
            preflight: JoinSet::new(),
        }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Those that are there, also removed ones that are not empty.
    pub(super) fn names(&self) -> Vec<DestinationName> {
        self.all.iter().map(|outlet| outlet.config.name.clone()).collect()
    }

    /// Starts the delivery of a destination.
    pub(super) fn start(
        &mut self,
        config: &DestinationConfig,
        queue: Queue,
        reader: Reader,
        letters: DeadLetters,
    ) {
        let name = config.name.clone();
        let metrics = self.metrics.of(&name);
        let standing = Standing::default();
        let Become { service, dispatcher, .. } = self.make(config, &standing);
        let (kind, target) = kind_and_target(&config.to);
        let (orders, told) = unbounded_channel();
        self.watched.add(WatchedDestination {
            kind,
            target,
            removed: false,
            standing: standing.clone(),
            queue: queue.clone(),
            letters: letters.clone(),
            metrics: metrics.clone(),
            orders: orders.downgrade(),
        });
        let delivery = Delivery {
            reader,
            queue: queue.clone(),
            returned: Default::default(),
            dispatcher,
            service,
            metrics,
            standing: standing.clone(),
            burial: Burial::new(name.clone(), letters.clone()),
        };
        let heart = self.liveness.task(format!("delivery to {name}"), self.stuck_after);
        let delivery = self.deliveries.spawn(async move {
            delivery.run(told, heart).await;
            name
        });
        let (config, delivery) = (config.clone(), delivery.id());
        self.all.push(Outlet { config, queue, letters, standing, orders, phase: Phase::Run, delivery });
    }

    /// What a destination is delivered with. It is also asked how it is.
    fn make(&mut self, config: &DestinationConfig, standing: &Standing) -> Become {
        let service = Arc::new(Service::new(&config.to, &config.name, &self.http, &self.place.disk));
        let asked = Asked {
            destination: config.name.clone(),
            service: Arc::clone(&service),
            standing: standing.clone(),
        };
        preflight::start(&mut self.preflight, asked);
        let dispatcher = Dispatcher::of(&config.to, fastrand::Rng::new());
        Become { service, dispatcher, standing: standing.clone() }
    }

    /// Gives every destination that there was what the configuration says of it now, or tells it that it was removed.
    pub(super) fn follow(&mut self, config: &Config) {
        let mut all = std::mem::take(&mut self.all);
        for outlet in &mut all {
            match config.destinations.iter().find(|to| to.name == outlet.config.name) {
                Some(now) => self.change(outlet, now, config),
                None => {
                    self.watched.removed(&outlet.config.name);
                    outlet.remove(config.buffer.removed_destinations);
                }
            }
        }
        self.all = all;
    }

    fn change(&mut self, outlet: &mut Outlet, now: &DestinationConfig, config: &Config) {
        outlet.queue.set_limits(now.queue.clone(), config.buffer.chunk_size.0);
        outlet.letters.set_limits(now.dead_letters.clone());
        let returns = outlet.phase != Phase::Run;
        if returns || outlet.config.to != now.to {
            // What is said of the one before does not hold for this one.
            outlet.standing = Standing::default();
            let next = self.make(now, &outlet.standing);
            self.watched.change(now, outlet.standing.clone());
            outlet.tell(Order::Become(Box::new(next)));
        }
        if returns {
            outlet.phase = Phase::Run;
            outlet.tell(Order::Phase(Phase::Run));
        }
        outlet.config = now.clone();
    }

    /// Lets go of destinations of which nothing is left.
    pub(super) fn forget(&mut self, gone: &[DestinationName]) {
        let ids = self.all.iter().filter(|outlet| gone.contains(&outlet.config.name));
        self.gone.extend(ids.map(|outlet| outlet.delivery));
        self.all.retain(|outlet| !gone.contains(&outlet.config.name));
        self.watched.forget(gone);
    }

    /// Tells of a delivery that ended although nobody told it to.
    pub(super) async fn ended(&mut self) -> Option<String> {
        loop {
            match self.deliveries.join_next_with_id().await? {
                Ok((id, _)) if self.gone.remove(&id) => {}
                Ok((_, name)) => return Some(format!("the delivery to {name}")),
                Err(died) => return Some(format!("a delivery ({died})")),
            }
        }
    }

    /// For a stop: delivers everything that is in the buffers but what is to be kept there.
    pub(super) async fn drain(&mut self) -> Result<(), String> {
        self.all.retain(|outlet| outlet.phase != Phase::Keep);
        self.all.iter().for_each(|outlet| outlet.tell(Order::Phase(Phase::Drain)));
        while let Some(ended) = self.deliveries.join_next().await {
            ended.map_err(|died| format!("a delivery ({died})"))?;
        }
        Ok(())
    }

    /// Ends everything at once.
    pub(super) async fn end(&mut self) {
        self.deliveries.shutdown().await;
    }
}

impl Outlet {
    fn tell(&self, order: Order) {
        // Should the delivery have died, the agent is about to.
        let _ = self.orders.send(order);
    }

    fn remove(&mut self, then: RemovedDestinations) {
        let phase = match then {
            RemovedDestinations::Drain => Phase::Leave,
            RemovedDestinations::Keep => Phase::Keep,
        };
        if self.phase == phase {
            return;
        }
        self.phase = phase;
        self.tell(Order::Phase(phase));
        let (destination, records) = (&self.config.name, self.queue.stats().records);
        match then {
            RemovedDestinations::Drain => {
                info!(event = "destination_removed", %destination, records, "the destination is not in the configuration any more; what is in its buffer is delivered");
            }
            RemovedDestinations::Keep => {
                info!(event = "destination_removed", %destination, records, "the destination is not in the configuration any more; what is in its buffer is kept until it is again");
            }
        }
    }
}
