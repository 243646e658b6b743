//! Stand-ins for what hands out credentials: STS, the metadata service of an instance (IMDSv2) and the agent of
//! EKS Pod Identity, on one port of 127.0.0.1.
//!
//! Every set of credentials has an access key of its own, `AKID1`, `AKID2` and so on, so that a test sees at the
//! endpoint with which of them a request was signed.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::endpoint::patiently;

const IMDS_TOKEN: &str = "imds-token";

/// As the service writes it.
const DOCUMENT: &str = r#"{
  "accountId" : "123456789012", "architecture" : "x86_64", "availabilityZone" : "eu-central-1a",
  "billingProducts" : null, "imageId" : "ami-0a1b", "instanceId" : "i-0c6a", "instanceType" : "m6i.large",
  "privateIp" : "10.0.0.7", "region" : "eu-central-1", "version" : "2017-09-30"
}"#;

/// What was asked for, and what it was asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// AssumeRole: the role, and the access key that signed.
    Role { arn: String, external_id: Option<String>, session: String, signed_with: String },
    /// AssumeRoleWithWebIdentity.
    WebIdentity { arn: String, token: String },
    /// The agent of EKS Pod Identity, with this token.
    PodIdentity { token: String },
    /// The instance's role, with a token of IMDSv2.
    Instance,
}

/// The stand-ins; they end when dropped.
pub struct Identities {
    address: SocketAddr,
    url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

struct State {
    away: bool,
    denied: bool,
    lifetime: Duration,
    /// Each with the access key that was given; none if it was refused.
    asked: Vec<(Asked, Option<String>)>,
    given: u64,
}

impl Identities {
    /// Credentials live an hour unless said.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let url = format!("http://{address}");
        let state = State {
            away: false,
            denied: false,
            lifetime: Duration::from_secs(3600),
            asked: Vec::new(),
            given: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changes: watch::Sender::new(0) });
        let serving = tokio::spawn(serve(listener, shared.clone()));
        Self { address, url, shared, serving }
    }

    /// Where they listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where all of them are.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on credentials live for so long.
    pub fn lifetime(&self, lifetime: Duration) {
        self.shared.state().lifetime = lifetime;
    }

    /// Nobody answers any more, until it is called with `false`.
    pub fn away(&self, away: bool) {
        self.shared.state().away = away;
    }

    /// Everything is refused with 403, until it is called with `false`.
    pub fn deny(&self, denied: bool) {
        self.shared.state().denied = denied;
    }

    /// Everything that was asked so far, each with the access key that was given.
    pub fn asked(&self) -> Vec<(Asked, Option<String>)> {
        self.shared.state().asked.clone()
    }

    /// Waits until this has come true of what was asked.
    pub async fn wait_until(&self, come: impl Fn(&[(Asked, Option<String>)]) -> bool) {
        let mut changes = self.shared.changes.subscribe();
        let event = async {
            loop {
                changes.borrow_and_update();
                if come(&self.shared.state().asked) {
                    return;
                }
                changes.changed().await.expect("the sender lives in `self`");
            }
        };
        patiently(|| format!("{:?}", self.asked()), event).await;
    }
}

impl Drop for Identities {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The next access key with its expiry; none where all are refused.
    fn give(&self, asked: Asked) -> Option<(String, String)> {
        let given = {
            let mut state = self.state();
            let key = (!state.denied).then(|| {
                state.given += 1;
                format!("AKID{}", state.given)
            });
            state.asked.push((asked, key.clone()));
            let expiry = Timestamp::try_from(SystemTime::now() + state.lifetime).expect("a time");
            key.map(|key| (key, format!("{expiry:.0}")))
        };
        self.changes.send_modify(|changes| *changes += 1);
        given
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, shared.clone()));
            // A client that goes away is part of the tests.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    if shared.state().away {
        return Err("away");
    }
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let (authorization, token) = (header("authorization"), header("x-aws-ec2-metadata-token"));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = request.into_body().collect().await.map_err(|_| "cut off")?.to_bytes();
    let with_token = token == IMDS_TOKEN;
    Ok(match (method, path.as_str()) {
        (Method::POST, "/") => sts(&String::from_utf8_lossy(&body), &authorization, &shared),
        (Method::GET, "/pod-identity") => {
            let asked = Asked::PodIdentity { token: authorization };
            credentials(shared.give(asked))
        }
        (Method::PUT, "/latest/api/token") => {
            let mut response = text(200, IMDS_TOKEN.into());
            response.headers_mut().insert(
                "x-aws-ec2-metadata-token-ttl-seconds",
                hyper::header::HeaderValue::from_static("21600"),
            );
            response
        }
        // IMDSv1 is refused, as on nodes that are set up well.
        (Method::GET, path) if path.starts_with("/latest/") && !with_token => text(401, String::new()),
        (Method::GET, "/latest/dynamic/instance-identity/document") => text(200, DOCUMENT.into()),
        (Method::GET, "/latest/meta-data/tags/instance") => text(200, "Name\nteam:of".into()),
        (Method::GET, "/latest/meta-data/tags/instance/Name") => text(200, "node 7".into()),
        (Method::GET, "/latest/meta-data/tags/instance/team:of") => text(200, "pay".into()),
        (Method::GET, "/latest/meta-data/placement/region") => text(200, "eu-central-1".into()),
        (Method::GET, "/latest/meta-data/iam/security-credentials/") => text(200, "node-role".into()),
        (Method::GET, "/latest/meta-data/iam/security-credentials/node-role") => {
            credentials(shared.give(Asked::Instance))
        }
        _ => text(404, String::new()),
    })
}

fn sts(body: &str, authorization: &str, shared: &Shared) -> Response<Full<Bytes>> {
    let form: Vec<(String, String)> =
        body.split('&').filter_map(|pair| pair.split_once('=')).map(decoded).collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let named = |name: &str| field(name).unwrap_or_default();
    let signed_with = authorization
        .split_once("Credential=")
        .and_then(|(_, rest)| rest.split('/').next())
        .unwrap_or_default()
        .to_owned();
    let action = named("Action");
    let asked = match action.as_str() {
        "AssumeRoleWithWebIdentity" => {
            Asked::WebIdentity { arn: named("RoleArn"), token: named("WebIdentityToken") }
        }
        "AssumeRole" => Asked::Role {
            arn: named("RoleArn"),
            external_id: field("ExternalId"),
            session: named("RoleSessionName"),
            signed_with,
        },
        other => return text(400, format!("no {other} here")),
    };
    let Some((key, expiry)) = shared.give(asked) else {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
            <Message>Not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>";
        return text(403, error.to_owned());
    };
    text(
        200,
        format!(
            "<{action}Response><{action}Result><Credentials><AccessKeyId>{key}</AccessKeyId>\
             <SecretAccessKey>secret</SecretAccessKey><SessionToken>token of {key}</SessionToken>\
             <Expiration>{expiry}</Expiration></Credentials></{action}Result></{action}Response>"
        ),
    )
}

/// What the metadata service and the agent of Pod Identity answer alike.
fn credentials(given: Option<(String, String)>) -> Response<Full<Bytes>> {
    let Some((key, expiry)) = given else {
        return text(403, String::new());
    };
    let body = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": key,
        "SecretAccessKey": "secret",
        "Token": format!("token of {key}"),
        "AccountId": "123456789012",
        "LastUpdated": "2026-01-01T00:00:00Z",
        "Expiration": expiry,
    });
    text(200, body.to_string())
}

fn text(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("an HTTP status");
    response
}

fn decoded((key, value): (&str, &str)) -> (String, String) {
    let mut text = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let hex =
            |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16)).expect("a digit");
        text.push(match byte {
            b'%' => (hex(bytes.next()) * 16 + hex(bytes.next())) as u8,
            b'+' => b' ',
            byte => byte,
        });
    }
    (key.to_owned(), String::from_utf8(text).expect("UTF-8"))
}
