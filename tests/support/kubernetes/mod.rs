//! A stand-in for the API server of Kubernetes: lists with resource versions, watches with bookmarks, 410 Gone for versions
//! that it has forgotten, connections that break, answers that do not come. HTTP or HTTPS on a port of 127.0.0.1.

mod objects;
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::objects::{PodObject, namespace};
use super::endpoint::{Certificates, patiently};

/// The node that tests are on.
pub const NODE: &str = "node-1";
/// What the agent must say to be answered, until [`Api::accept_only`] says otherwise.
const TOKEN: &str = "a-service-accounts-token";

/// The API server. Ends when dropped.
pub struct Api {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
    certificates: Option<Certificates>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts changes of the state.
    changes: watch::Sender<u64>,
    /// Grows when all connections are to be cut.
    cuts: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    token: String,
    version: u64,
    /// Changes of this version and before are forgotten.
    forgotten: u64,
    /// By resource (`pods`, `namespaces`, `nodes`).
    objects: Vec<(String, Value)>,
    events: Vec<Event>,
    requests: Vec<Request>,
    /// Answers do not come as long as this is so.
    held: bool,
    /// Watches stay open and tell nothing as long as this is so.
    silent: bool,
    /// Requests for these resources are refused.
    refused: Vec<(String, StatusCode)>,
    /// Connections are not served.
    away: bool,
    /// 410 is said by the status of the answer, and not in the stream.
    gone_by_status: bool,
}

/// A change of an object.
#[derive(Clone)]
struct Event {
    version: u64,
    resource: String,
    kind: &'static str,
    object: Value,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// `/api/v1/pods` and so on.
    pub path: String,
    /// Its parameters, decoded.
    pub query: Vec<(String, String)>,
    /// `accept`.
    pub accept: String,
}

impl Request {
    /// One of its parameters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is a watch.
    pub fn is_watch(&self) -> bool {
        matches!(self.parameter("watch"), Some("true" | "1"))
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.state());
        self.changes.send_modify(|changes| *changes += 1);
        value
    }
}

impl Api {
    /// Without any object but the node.
    pub async fn start() -> Self {
        Self::with(None).await
    }

    /// The same over TLS.
    pub async fn tls() -> Self {
        Self::tls_for("localhost").await
    }

    /// The same, asked under this name or address.
    pub async fn tls_for(name: &str) -> Self {
        Self::with(Some(Certificates::make(name))).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    async fn with(certificates: Option<Certificates>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            state: Mutex::new(State { token: TOKEN.into(), version: 1000, ..State::default() }),
            changes: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
        });
        let tls = certificates.as_ref().map(Certificates::acceptor);
        let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&shared)));
        let api = Self { address, shared, serving, certificates };
        let labels = json!({"topology.kubernetes.io/zone": "eu-central-1a", "kubernetes.io/hostname": NODE});
        api.put("nodes", json!({"metadata": {"name": NODE, "labels": labels}}));
        api
    }

    /// The variables by which a pod is told where this server is.
    pub fn variables(&self) -> [(String, String); 2] {
        [
            ("KUBERNETES_SERVICE_HOST".into(), self.address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT".into(), self.address.port().to_string()),
        ]
    }

    /// The files of a pod's service account.
    pub fn account(&self) -> Vec<(&'static str, Vec<u8>)> {
        let certificates = self.certificates.as_ref().expect("in a cluster it is asked over TLS");
        let ca = std::fs::read(certificates.ca_bundle()).expect("its certificate");
        vec![
            ("/var/run/secrets/kubernetes.io/serviceaccount/token", TOKEN.into()),
            ("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", ca),
            ("/var/run/secrets/kubernetes.io/serviceaccount/namespace", b"kinetail".to_vec()),
        ]
    }

    /// Lines of YAML that configure it, under `kubernetes`, of which these are more.
    pub fn config(&self, token_file: &std::path::Path, more: &str) -> String {
        std::fs::write(token_file, TOKEN).expect("the token is written");
        let (scheme, ca_file) = match &self.certificates {
            Some(certificates) => ("https", format!(", ca_file: '{}'", certificates.ca_bundle().display())),
            None => ("http", String::new()),
        };
        format!(
            "kubernetes:\n  node: {NODE}\n  api: {{url: '{scheme}://{}', token_file: '{}'{ca_file}}}\n{}",
            self.address,
            token_file.display(),
            more.lines().map(|line| format!("  {line}\n")).collect::<String>(),
        )
    }

    /// An object is, or has changed.
    pub fn put(&self, resource: &str, mut object: Value) {
        self.shared.change(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            let is_it = |(other, there): &(String, Value)| other == resource && same(there, &object);
            let at = state.objects.iter().position(is_it);
            let kind = if at.is_some() { "MODIFIED" } else { "ADDED" };
            match at {
                Some(at) => state.objects[at].1 = object.clone(),
                None => state.objects.push((resource.to_owned(), object.clone())),
            }
            state.events.push(Event { version: state.version, resource: resource.to_owned(), kind, object });
        });
    }

    /// A pod is, or has changed.
    pub fn pod(&self, pod: &PodObject) {
        self.put("pods", pod.object());
    }

    /// A pod is gone.
    pub fn delete_pod(&self, pod: &PodObject) {
        let mut object = pod.object();
        self.shared.change(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.objects.retain(|(resource, there)| resource != "pods" || !same(there, &object));
            let (version, resource) = (state.version, "pods".to_owned());
            state.events.push(Event { version, resource, kind: "DELETED", object });
        });
    }

    /// Time goes by without a change of pods: those who watch them are told the version.
    pub fn bookmark(&self) {
        self.shared.change(|state| {
            state.version += 50;
            let metadata = json!({"resourceVersion": state.version.to_string(), "creationTimestamp": null});
            let object =
                json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {}, "status": {}});
            let (version, resource) = (state.version, "pods".to_owned());
            state.events.push(Event { version, resource, kind: "BOOKMARK", object });
        });
    }

    /// Forgets all versions up to now. Who wants to go on from there is told so in the stream, or by the answer's status.
    pub fn forget(&self, by_status: bool) {
        self.shared.change(|state| {
            state.version += 1;
            state.forgotten = state.version;
            state.gone_by_status = by_status;
        });
    }

    /// All connections break.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All connections break, and no others are served, or they are again.
    pub fn away(&self, away: bool) {
        self.shared.change(|state| state.away = away);
        if away {
            self.cut();
        }
    }

    /// Requests are taken and not answered, or they are again.
    pub fn hold(&self, held: bool) {
        self.shared.change(|state| state.held = held);
    }

    /// Watches tell nothing, though no connection breaks, or they tell again.
    pub fn silence(&self, silent: bool) {
        self.shared.change(|state| state.silent = silent);
    }

    /// Another token counts from now on, as when the one before has expired; connections that were opened with that end.
    pub fn accept_only(&self, token: &str) {
        self.shared.change(|state| state.token = token.into());
        self.cut();
    }

    /// Requests for a resource are refused.
    pub fn refuse(&self, resource: &str, with: StatusCode) {
        self.shared.change(|state| state.refused.push((resource.to_owned(), with)));
    }

    /// The requests that came.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// Waits until requests came of which this holds.
    pub async fn asked(&self, what: &str, holds: impl Fn(&[Request]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        let event = async {
            while !holds(&self.requests()) {
                changes.changed().await.expect("the sender lives in `self`");
            }
        };
        patiently(|| format!("{what}; asked: {:#?}", self.requests()), event).await;
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Whether two are versions of one object.
fn same(one: &Value, other: &Value) -> bool {
    ["namespace", "name", "uid"].iter().all(|key| one["metadata"][*key] == other["metadata"][*key])
}
