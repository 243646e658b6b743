//! Delivery on a clock that a test moves: the real dispatcher, client and request bodies, and the endpoint's
//! throttling, without waiting for anything but the network of this machine.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use kinetail::config;
use kinetail::deliver::{
    Answer, DataStream, DeliveryStream, Destination, DestinationMetrics, Dispatcher, HotShard, HttpClients,
    Metrics, Next, Request, Service,
};
use kinetail::record::{Records, Run};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use super::clients::{ACCESS_KEY, REGION, SECRET_KEY};
use super::endpoint::{Endpoint, Settings};

/// How long a service takes to answer.
const LATENCY: Duration = Duration::from_millis(30);

/// A dispatcher, an endpoint, and the time on both.
pub struct Simulation {
    pub endpoint: Endpoint,
    pub dispatcher: Dispatcher,
    service: Service,
    now: Instant,
    /// Answers that are on their way, by the time of their coming.
    answers: BTreeMap<(Instant, u64), (Request, Answer)>,
    offered: u32,
    registry: Registry,
    metrics: DestinationMetrics,
    /// The shards that were found to be hot.
    pub hot: Vec<HotShard>,
}

impl Simulation {
    /// For a destination of these settings, such as `type: kinesis, stream: audit, aggregation: kpl`.
    pub async fn start(endpoint: Settings, destination: &str) -> Self {
        let endpoint = endpoint.manual_clock().start().await;
        let text = format!(
            "data_dir: /tmp/d\ndestinations:\n  out: {{{destination}, region: {REGION}, endpoint: '{}'}}\n\
             routes:\n  - {{name: r, files: '/tmp/*.log', to: out}}\n",
            endpoint.url(),
        );
        let config = config::parse(&text, "simulated", &|_| None).expect("a good configuration").config;
        let destination = &config.destinations[0].to;
        let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test");
        let credentials = Some(SharedCredentialsProvider::new(credentials));
        let http = HttpClients::default();
        let service = match destination {
            Destination::Firehose(settings) => {
                Service::Firehose(DeliveryStream::new(settings, &http, credentials))
            }
            Destination::Kinesis(settings) => Service::Kinesis(DataStream::new(settings, &http, credentials)),
            Destination::Directory(_) => panic!("no service of AWS"),
        };
        let dispatcher = Dispatcher::of(destination, fastrand::Rng::with_seed(3));
        let (metrics, mut registry) = (Metrics::default(), Registry::with_prefix("kinetail"));
        metrics.register(&mut registry);
        Self {
            endpoint,
            dispatcher,
            service,
            now: Instant::now(),
            answers: BTreeMap::new(),
            offered: 0,
            registry,
            metrics: metrics.of(&"out".into()),
            hot: Vec::new(),
        }
    }

    /// A number of the destination's metrics, by name and labels as they are written there.
    pub fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("metrics are text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().expect("a number")
    }

    /// Offers records, which nobody may refuse.
    pub fn offer<'a>(&mut self, records: impl Iterator<Item = &'a [u8]>) {
        let mut made = Records::default();
        for record in records {
            made.push_with(|out| {
                out.extend_from_slice(record);
                true
            });
        }
        let (ends, data) = (Bytes::copy_from_slice(made.ends()), Bytes::copy_from_slice(made.data()));
        let run = Run::new(1, self.offered, ends, data, SystemTime::UNIX_EPOCH);
        self.offered += run.len() as u32;
        assert!(self.dispatcher.offer(run, Duration::ZERO, self.now).is_empty());
    }

    /// Lets so much time pass. `backlog` is asked whenever there is room, and offers more.
    pub async fn pass(&mut self, time: Duration, mut backlog: impl FnMut(&mut Self)) {
        let end = self.now + time;
        loop {
            while self.answers.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
                let Some(((_, id), (request, answer))) = self.answers.pop_first() else { break };
                let settled = self.dispatcher.answered(id, answer, self.now);
                self.metrics.answered(&request, &settled, LATENCY);
                self.hot.extend(settled.hot_shard);
            }
            while self.dispatcher.room() {
                let held = self.dispatcher.held_records();
                backlog(self);
                if self.dispatcher.held_records() == held {
                    break;
                }
            }
            let waits = match self.dispatcher.next(self.now) {
                Next::Send(request) => {
                    let answer = self.service.send(&request).await;
                    self.answers.insert((self.now + LATENCY, request.id), (request, answer));
                    continue;
                }
                Next::Wait(until) => until,
                Next::Idle => end,
            };
            let answer = self.answers.first_key_value().map(|((at, _), _)| *at);
            let next = answer.map_or(waits, |at| at.min(waits)).min(end);
            self.endpoint.advance(next.saturating_duration_since(self.now));
            self.now = self.now.max(next);
            if self.now >= end && answer.is_none_or(|at| at > end) && waits >= end {
                return;
            }
        }
    }
}
