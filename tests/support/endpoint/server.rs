//! The server: connections, and the way of one request through checks, faults and the account.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::faults::{Fault, Gate};
use super::protocol::{self, ErrorAnswer, MAX_BODY, Operation, Outcomes, Put, Service};
use super::signature::{self, Secrets};
use super::stream::State;
use super::{cloudwatch, firehose, kinesis, policy};

/// What the connections of an endpoint and the test share.
pub(super) struct Shared {
    state: Mutex<State>,
    /// Counts changes of the state, for those who wait for one.
    pub(super) changes: watch::Sender<u64>,
    /// Whether nobody is to be served.
    pub(super) outage: watch::Sender<bool>,
    pub(super) secrets: Secrets,
    pub(super) clock: Clock,
}

/// The clock by which streams are throttled.
pub(super) enum Clock {
    /// tokio's, which a test may pause.
    Tokio(Instant),
    /// One that only the test moves.
    Manual(Mutex<Duration>),
}

impl Clock {
    /// The time since the endpoint started.
    fn now(&self) -> Duration {
        match self {
            Clock::Tokio(start) => start.elapsed(),
            Clock::Manual(now) => *now.lock().expect("no panic while it is held"),
        }
    }
}

impl Shared {
    pub(super) fn new(state: State, secrets: Secrets, clock: Clock) -> Self {
        Self {
            state: Mutex::new(state),
            changes: watch::Sender::new(0),
            outage: watch::Sender::new(false),
            secrets,
            clock,
        }
    }

    /// The state, to look at.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A test that panics in a predicate over the account must not hide its own message behind a poisoned
        // lock in the server's tasks; the state is whole at every moment.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes the state and wakes those who wait for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.changes.send_modify(|changes| *changes += 1);
        value
    }
}

/// Takes connections on until it is dropped, which also ends the connections.
pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                if *shared.outage.borrow() {
                    continue;
                }
                shared.change(|state| state.account.connections += 1);
                connections.spawn(until_outage(tls.clone(), socket, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn until_outage(tls: Option<TlsAcceptor>, socket: TcpStream, shared: Arc<Shared>) {
    let mut outage = shared.outage.subscribe();
    tokio::select! {
        biased;
        _ = outage.wait_for(|outage| *outage) => {}
        () = connection(tls, socket, &shared) => {}
    }
}

async fn connection(tls: Option<TlsAcceptor>, socket: TcpStream, shared: &Arc<Shared>) {
    // Answers are small: without this, each would wait for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    match tls {
        None => requests(socket, shared).await,
        Some(tls) => match tls.accept(socket).await {
            Ok(stream) => requests(stream, shared).await,
            Err(_) => shared.change(|state| state.account.failed_handshakes += 1),
        },
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Arc<Shared>) {
    let service = service_fn(|request: Request<Incoming>| async {
        let (head, body) = request.into_parts();
        match Limited::new(body, MAX_BODY).collect().await {
            Ok(body) => {
                let mut answer = answer(shared, &head, &body.to_bytes()).await;
                let date = shared.state().date.clone();
                if let (Ok(answer), Some(date)) = (&mut answer, date) {
                    answer.headers_mut().insert("date", date.parse().expect("a date"));
                }
                answer
            }
            Err(error) if error.is::<LengthLimitError>() => {
                let large = ErrorAnswer::new(413, "RequestEntityTooLargeException", "");
                Ok(shared.refuse(&large))
            }
            Err(_) => Err(Closed),
        }
    });
    // A client that goes away, and a fault that closes the connection, are both as they should be.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed by the test endpoint")
    }
}

impl Error for Closed {}

type Answer = Result<Response<Full<Bytes>>, Closed>;

async fn answer(shared: &Arc<Shared>, head: &Parts, body: &[u8]) -> Answer {
    if head.uri.path() == cloudwatch::PATH {
        return shared.metrics(head, body).await;
    }
    match shared.read(head, body) {
        Err(refused) => Ok(shared.refuse(&refused)),
        Ok((service, Asked::Describe(stream))) => Ok(shared.describe(service, &stream)),
        Ok((service, Asked::Put(operation, put))) => shared.put(service, operation, put).await,
    }
}

/// What a well-formed request asks for.
enum Asked {
    Put(Operation, Put),
    Describe(String),
}

impl Shared {
    fn read(&self, head: &Parts, body: &[u8]) -> Result<(Service, Asked), ErrorAnswer> {
        let (service, operation) = protocol::operation(head)?;
        let access_key = self.access_key(head, body, service.signing_name())?;
        let asked = match (service, operation) {
            (Service::Firehose, Operation::Describe) => Asked::Describe(firehose::read_describe(body)?),
            (Service::Kinesis, Operation::Describe) => Asked::Describe(kinesis::read_describe(body)?),
            (Service::Firehose, put) => Asked::Put(put, firehose::read_put(put, body)?),
            (Service::Kinesis, put) => Asked::Put(put, kinesis::read_put(put, body)?),
        };
        let stream = match &asked {
            Asked::Put(_, put) => &put.stream,
            Asked::Describe(stream) => stream,
        };
        if let Some(allowed) = self.state().policies.get(&access_key) {
            policy::check(allowed, head, stream)?;
        }
        Ok((service, asked))
    }

    /// Who signed a request.
    fn access_key(&self, head: &Parts, body: &[u8], service: &str) -> Result<String, ErrorAnswer> {
        let access_key = signature::check(head, body, service, &self.secrets)?;
        let mut state = self.state();
        if state.revoked.contains(&access_key) {
            return Err(ErrorAnswer::expired_token());
        }
        state.account.access_keys.insert(access_key.clone());
        Ok(access_key)
    }

    async fn metrics(self: &Arc<Self>, head: &Parts, body: &[u8]) -> Answer {
        let read = self.access_key(head, body, cloudwatch::SIGNING_NAME).and_then(|access_key| {
            let put = cloudwatch::read(head, body)?;
            if let Some(allowed) = self.state().policies.get(&access_key) {
                policy::check_metrics(allowed, &put.namespace)?;
            }
            Ok(put)
        });
        let fault = self.state().metrics_fault.clone();
        let outcome = match (read, fault) {
            (Err(refused), _) => {
                self.change(|state| state.account.refused_call(&refused));
                Err(refused)
            }
            (Ok(_), Some(Fault::Answer(with))) => {
                self.change(|state| state.account.failed_metrics += 1);
                Err(with)
            }
            (Ok(put), fault) => {
                if let Some(Fault::Hang(gate)) = fault {
                    self.wait(&gate).await;
                }
                self.change(|state| state.account.metrics.push(put));
                Ok(())
            }
        };
        let request_id = self.state().request_id();
        Ok(cloudwatch::answer(outcome.as_ref().copied(), request_id))
    }

    fn refuse(&self, refused: &ErrorAnswer) -> Response<Full<Bytes>> {
        self.change(|state| {
            state.account.refused_call(refused);
            refused.response(state.request_id())
        })
    }

    fn describe(&self, service: Service, name: &str) -> Response<Full<Bytes>> {
        let described = self.state().find(service, name).map(|stream| {
            let mut answer = match service {
                Service::Firehose => firehose::describe(name),
                Service::Kinesis => kinesis::describe(name, stream.shards, stream.max_record),
            };
            if let Some(description) = answer.as_object_mut().and_then(|answer| answer.values_mut().next()) {
                for (key, value) in &stream.described {
                    description[key] = value.clone();
                }
            }
            answer
        });
        match described {
            Ok(body) => protocol::respond(self.state().request_id(), body.to_string()),
            Err(refused) => self.refuse(&refused),
        }
    }

    async fn put(self: &Arc<Self>, service: Service, operation: Operation, put: Put) -> Answer {
        let single = operation == Operation::PutOne;
        let begun = self.change(|state| state.begin(service, &put, single));
        let (call, plan) = match begun {
            Ok(begun) => begun,
            Err(refused) => return Ok(self.refuse(&refused)),
        };
        if !plan.delay.is_zero() {
            tokio::time::sleep(plan.delay).await;
        }
        match &plan.call {
            Some(Fault::Answer(with) | Fault::Poison { with, .. }) => return Ok(self.fail(&put, with)),
            Some(Fault::Garbage { status, body }) => {
                self.change(|state| state.account_of(&put).call_failed("garbage"));
                let mut response = protocol::respond(0, body.clone());
                *response.status_mut() = StatusCode::from_u16(*status).expect("an HTTP status");
                return Ok(response);
            }
            Some(Fault::DropConnection) => {
                self.change(|state| state.account_of(&put).dropped_connections += 1);
                return Err(Closed);
            }
            Some(Fault::Hang(gate)) => self.wait(gate).await,
            _ => {}
        }
        let outcomes = {
            let now = self.clock.now();
            self.change(|state| state.take(call, &put, &plan, now))
        };
        match &plan.call {
            Some(Fault::LoseAnswer) => {
                self.change(|state| state.account_of(&put).lost_answers += 1);
                return Err(Closed);
            }
            Some(Fault::HoldAnswer(gate)) => self.wait(gate).await,
            _ => {}
        }
        match outcome(service, operation, &outcomes) {
            Ok(body) => Ok(protocol::respond(self.state().request_id(), body.to_string())),
            Err(refused) => Ok(self.fail(&put, &refused)),
        }
    }

    fn fail(&self, put: &Put, with: &ErrorAnswer) -> Response<Full<Bytes>> {
        self.change(|state| {
            state.account_of(put).call_failed(&with.code);
            with.response(state.request_id())
        })
    }

    /// Waits at a gate; counted, also if the client goes away meanwhile.
    async fn wait(self: &Arc<Self>, gate: &Gate) {
        let _waiting = Waiting::new(self.clone());
        gate.passed().await;
    }
}

fn outcome(service: Service, operation: Operation, outcomes: &Outcomes) -> Result<Value, ErrorAnswer> {
    match service {
        Service::Firehose => firehose::answer(operation, outcomes),
        Service::Kinesis => kinesis::answer(operation, outcomes),
    }
}

/// A call that waits at a gate, for as long as this lives.
struct Waiting(Arc<Shared>);

impl Waiting {
    fn new(shared: Arc<Shared>) -> Self {
        shared.change(|state| state.account.waiting += 1);
        Self(shared)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.change(|state| state.account.waiting -= 1);
    }
}
