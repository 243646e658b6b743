//! A service on 127.0.0.1 that answers as a test wants.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the endpoint was asked.
#[derive(Clone, Debug)]
pub(in super::super) struct Asked {
    /// The operation, such as `Firehose_20150804.PutRecordBatch`.
    pub(in super::super) target: String,
    pub(in super::super) user_agent: String,
    pub(in super::super) body: Value,
}

/// How the endpoint answers.
#[derive(Clone, Debug)]
pub(in super::super) enum Reply {
    /// With a status and a JSON body, under the request id `req-1`.
    Json(u16, Value),
    /// With a status and a body of something that is not the service.
    Html(u16),
    /// By closing the connection once it has read the request.
    HangUp,
    /// Never.
    Never,
}

/// Answers every request in the same way and remembers it.
pub(in super::super) struct Endpoint {
    pub(in super::super) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    pub(in super::super) async fn http(reply: Reply) -> Self {
        Self::start(reply, None).await
    }

    pub(in super::super) async fn https(reply: Reply, tls: rustls::ServerConfig) -> Self {
        Self::start(reply, Some(TlsAcceptor::from(Arc::new(tls)))).await
    }

    async fn start(reply: Reply, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = match tls {
            Some(_) => format!("https://localhost:{port}"),
            None => format!("http://127.0.0.1:{port}"),
        };
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let remember = asked.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (reply, remember, tls) = (reply.clone(), remember.clone(), tls.clone());
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(request, reply.clone(), remember.clone()));
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that does not trust the certificate, or hangs up, is part of the tests.
                    match tls {
                        None => drop(http.serve_connection(TokioIo::new(socket), answer).await),
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                drop(http.serve_connection(TokioIo::new(socket), answer).await);
                            }
                        }
                    }
                });
            }
        });
        Self { url, asked }
    }

    /// Everything that was asked so far.
    pub(in super::super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    reply: Reply,
    remember: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let (target, user_agent) = (header("x-amz-target"), header("x-amz-user-agent"));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    remember.lock().unwrap().push(Asked { target, user_agent, body: serde_json::from_slice(&body).unwrap() });
    let (status, kind, body) = match reply {
        Reply::Json(status, body) => (status, "application/x-amz-json-1.1", body.to_string()),
        Reply::Html(status) => (status, "text/html", "<html>proxy</html>".to_owned()),
        Reply::HangUp => return Err("hang up"),
        Reply::Never => std::future::pending().await,
    };
    Ok(Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("x-amzn-requestid", "req-1")
        .body(Full::from(body))
        .unwrap())
}
