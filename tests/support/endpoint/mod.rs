//! A test endpoint: Amazon Data Firehose, Amazon Kinesis Data Streams and, of Amazon CloudWatch, PutMetricData inside of the
//! test's process.
//!
//! It speaks the services' protocol (AWS JSON 1.1 over HTTP/1.1, with TLS or without; CloudWatch's is CBOR), holds every request
//! against their published limits, answers as they do, injects faults on request and keeps an exact account of
//! what it took. It needs nothing but its own folder, so benchmarks and examples can use it as well.
//!
//! ```text
//! connection ─► protocol ─► signature ─► limits ─► faults ─► throttle ─► account ─► answer
//! ```
//!
//! - [`Endpoint`] starts and stops it; [`Stream`]s are made before.
//! - [`Rule`]s say which calls a [`Fault`] strikes. A [`Gate`] holds calls until the test lets them go.
//! - [`Account`] tells what was taken. Lines are known by their [`Marker`]s.
//!
//! Nothing is timed: [`Endpoint::wait_until`] wakes on every change of the account. Chances come from a seed, in
//! the order in which calls arrive.
//!
//! Where the services do not publish the text of an error, or which error it is (a data stream's record above
//! its MaxRecordSize), the code is what the documentation of the operation names and the text is our own.

#![allow(dead_code, unused_imports, unreachable_pub, reason = "every user uses a part of it")]

mod account;
mod certificates;
mod cloudwatch;
mod faults;
pub mod firehose;
pub mod kinesis;
mod marker;
mod patience;
mod payload;
mod policy;
mod protocol;
mod server;
mod signature;
mod stream;
mod throttle;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::server::{Clock, Shared};
use self::signature::Secrets;
use self::stream::State;

pub use self::account::{Accepted, Account, Keep, StreamAccount, Tally};
pub use self::certificates::Certificates;
pub use self::cloudwatch::{Metric, PutMetrics};
pub use self::faults::{Fault, Gate, Rule, RuleId};
pub use self::marker::Marker;
pub use self::patience::patiently;
pub use self::protocol::{ErrorAnswer, Service};
pub use self::stream::Stream;
pub use self::throttle::Rate;

/// A running endpoint; it ends when dropped.
pub struct Endpoint {
    shared: Arc<Shared>,
    address: SocketAddr,
    certificates: Option<Certificates>,
    serving: JoinHandle<()>,
}

/// An endpoint to be started.
pub struct Settings {
    /// The name in its certificate.
    tls: Option<&'static str>,
    streams: Vec<Stream>,
    keep: Keep,
    seed: u64,
    secrets: Secrets,
    manual_clock: bool,
    ipv6: bool,
}

impl Settings {
    /// Makes a stream.
    pub fn stream(mut self, stream: Stream) -> Self {
        self.streams.push(stream);
        self
    }

    /// What is kept of the records taken; everything unless said.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// The seed of all chances.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Knows this access key: from then on signatures are computed and held against the request's, and other
    /// access keys are refused.
    pub fn access_key(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.secrets.insert(id.into(), secret.into());
        self
    }

    /// Throttles by a clock that stands still until [`Endpoint::advance`] moves it, in place of tokio's.
    pub fn manual_clock(mut self) -> Self {
        self.manual_clock = true;
        self
    }

    /// Listens on `::1` in place of 127.0.0.1.
    pub fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Listens on a free port of this machine and serves, on the runtime that it is called in.
    pub async fn start(self) -> Endpoint {
        let host: IpAddr = if self.ipv6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        let listener = TcpListener::bind((host, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let certificates = self.tls.map(Certificates::make);
        let clock = if self.manual_clock {
            Clock::Manual(Mutex::new(Duration::ZERO))
        } else {
            Clock::Tokio(Instant::now())
        };
        let state = State::new(self.streams, self.keep, self.seed, Duration::ZERO);
        let shared = Arc::new(Shared::new(state, self.secrets, clock));
        let serving = tokio::spawn(server::serve(
            listener,
            certificates.as_ref().map(Certificates::acceptor),
            shared.clone(),
        ));
        Endpoint { shared, address, certificates, serving }
    }
}

impl Endpoint {
    /// An endpoint over TLS; clients trust it by [`Endpoint::ca_bundle`].
    pub fn tls() -> Settings {
        Self::tls_for("localhost")
    }

    /// The same with a certificate for another name than the one by which clients come.
    pub fn tls_for(name: &'static str) -> Settings {
        Settings { tls: Some(name), ..Self::plain() }
    }

    /// An endpoint over plain HTTP.
    pub fn plain() -> Settings {
        Settings {
            tls: None,
            streams: Vec::new(),
            keep: Keep::default(),
            seed: 0,
            secrets: Secrets::new(),
            manual_clock: false,
            ipv6: false,
        }
    }

    /// Where it is, as an `endpoint` setting takes it; both services are at the same place.
    pub fn url(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The PEM file of the authority to trust; only with TLS.
    pub fn ca_bundle(&self) -> &Path {
        self.certificates.as_ref().expect("an endpoint over plain HTTP has no authority").ca_bundle()
    }

    /// From now on, this goes wrong.
    pub fn inject(&self, rule: Rule) -> RuleId {
        self.shared.change(|state| state.add_rule(rule))
    }

    /// From now on, this goes wrong no more. Calls that it struck already stay struck.
    pub fn withdraw(&self, rule: RuleId) {
        self.shared.change(|state| state.rules().withdraw(rule));
    }

    /// From now on, this goes wrong with metrics, if anything: an answer, or hanging.
    pub fn metrics_fault(&self, fault: Option<Fault>) {
        self.shared.change(|state| state.metrics_fault = fault);
    }

    /// From now on, nothing goes wrong.
    pub fn heal(&self) {
        self.shared.change(|state| {
            state.rules().clear();
            state.metrics_fault = None;
        });
        self.shared.outage.send_replace(false);
    }

    /// From now on, answers carry this date, such as `Sat, 21 Nov 2026 10:00:00 GMT`.
    pub fn date(&self, date: &str) {
        self.shared.change(|state| state.date = Some(date.to_owned()));
    }

    /// From now on, this access key's credentials are too old.
    pub fn revoke(&self, access_key: &str) {
        self.shared.change(|state| state.revoked.insert(access_key.to_owned()));
    }

    /// From now on, this access key may do what the policy allows and nothing else; all may do all before.
    pub fn allow(&self, access_key: &str, policy: serde_json::Value) {
        self.shared.change(|state| state.policies.insert(access_key.to_owned(), policy));
    }

    /// Closes all connections, and every new one at once, until it is called with `false`.
    pub fn outage(&self, outage: bool) {
        self.shared.outage.send_replace(outage);
    }

    /// Moves the clock by which streams are throttled.
    pub fn advance(&self, time: Duration) {
        match &self.shared.clock {
            Clock::Manual(now) => *now.lock().expect("no panic while it is held") += time,
            Clock::Tokio(_) => panic!("tokio's clock is moved by tokio::time::advance"),
        }
    }

    /// The account as it is now.
    pub fn account(&self) -> Account {
        self.shared.state().account.clone()
    }

    /// Looks at the account as it is now, without copying it. Calls wait meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Account) -> T) -> T {
        look(&self.shared.state().account)
    }

    /// Waits until something is true of the account; looks again at each of its changes. Fails with the numbers
    /// of the account if it never comes true.
    pub async fn wait_until(&self, come: impl FnMut(&Account) -> bool) {
        self.wait_until_or(come, Account::to_string).await;
    }

    /// The same; `tells` says what is wrong if it never comes true.
    pub async fn wait_until_or(
        &self,
        mut come: impl FnMut(&Account) -> bool,
        tells: impl FnOnce(&Account) -> String,
    ) {
        let mut changes = self.shared.changes.subscribe();
        let event = async {
            loop {
                changes.borrow_and_update();
                if self.look(&mut come) {
                    return;
                }
                changes.changed().await.expect("the sender lives in `self`");
            }
        };
        patiently(|| self.look(tells), event).await;
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
