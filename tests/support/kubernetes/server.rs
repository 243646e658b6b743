//! Connections, and the way of one request.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{Request, Shared};

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(super) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                if shared.state().away {
                    continue;
                }
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                let mut cuts = shared.cuts.subscribe();
                connections.spawn(async move {
                    tokio::select! {
                        () = connection(tls, socket, &shared) => {}
                        _ = cuts.changed() => {}
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Whoever asks may go away at any time, or not trust this server.
async fn connection(tls: Option<TlsAcceptor>, socket: TcpStream, shared: &Arc<Shared>) {
    match tls {
        None => requests(socket, shared).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(socket).await {
                requests(stream, shared).await;
            }
        }
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin, shared: &Arc<Shared>) {
    let service = service_fn(|request| answer(request, Arc::clone(shared)));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: HttpRequest<Incoming>, shared: Arc<Shared>) -> Result<Answer, Infallible> {
    let mut changes = shared.changes.subscribe();
    let query = request.uri().query().unwrap_or_default();
    let header = |name: &str| {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    };
    let asked = Request {
        path: request.uri().path().to_owned(),
        query: query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect(),
        accept: header("accept"),
    };
    shared.change(|state| state.requests.push(asked.clone()));
    while shared.state().held {
        changes.changed().await.expect("the sender lives as long as the server");
    }
    if header("authorization") != format!("Bearer {}", shared.state().token) {
        return Ok(status(StatusCode::UNAUTHORIZED, "Unauthorized"));
    }
    let mut parts = asked.path.trim_start_matches("/api/v1/").split('/');
    let resource = parts.next().unwrap_or_default().to_owned();
    let refused = shared.state().refused.iter().find(|(other, _)| *other == resource).map(|(_, code)| *code);
    if let Some(code) = refused {
        return Ok(status(code, "Forbidden"));
    }
    Ok(match parts.next() {
        Some(name) => get(&shared, &asked, &resource, name),
        None if asked.is_watch() => watch(&shared, &asked, &resource),
        None => list(&shared, &asked, &resource),
    })
}

fn pair(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), decoded(value))
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut all = parts.next().unwrap_or_default().replace('+', " ");
    for part in parts {
        let (code, rest) = part.split_at(2);
        all.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits").into());
        all.push_str(&rest.replace('+', " "));
    }
    all
}

/// An object as it was asked for: whole, or its metadata alone.
fn shown(asked: &Request, object: &Value) -> Value {
    let only_metadata = asked.accept.contains("PartialObjectMetadata");
    if only_metadata {
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
    } else {
        let mut whole = object.clone();
        (whole["kind"], whole["apiVersion"]) = ("Pod".into(), "v1".into());
        whole
    }
}

fn is_selected(asked: &Request, object: &Value) -> bool {
    let selector = asked.parameter("fieldSelector").unwrap_or_default();
    selector.split(',').filter(|one| !one.is_empty()).all(|one| {
        let (field, value) = one.split_once('=').expect("a selector");
        assert_eq!(field, "spec.nodeName", "a field that pods can be selected by");
        object["spec"]["nodeName"] == value
    })
}

fn get(shared: &Shared, asked: &Request, resource: &str, name: &str) -> Answer {
    let state = shared.state();
    let found =
        state.objects.iter().find(|(other, object)| other == resource && object["metadata"]["name"] == name);
    match found {
        Some((_, object)) => json_answer(StatusCode::OK, &shown(asked, object)),
        None => status(StatusCode::NOT_FOUND, "NotFound"),
    }
}

fn list(shared: &Shared, asked: &Request, resource: &str) -> Answer {
    let state = shared.state();
    let items =
        state.objects.iter().filter(|(other, object)| other == resource && is_selected(asked, object));
    let items: Vec<Value> = items.map(|(_, object)| shown(asked, object)).collect();
    let list = json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": state.version.to_string()},
        "items": items,
    });
    json_answer(StatusCode::OK, &list)
}

fn watch(shared: &Arc<Shared>, asked: &Request, resource: &str) -> Answer {
    let from: u64 = asked.parameter("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or_default();
    let gone = status_object(StatusCode::GONE, "Expired");
    let (forgotten, by_status) = {
        let state = shared.state();
        (from < state.forgotten, state.gone_by_status)
    };
    if forgotten && by_status {
        return status(StatusCode::GONE, "Expired");
    }
    let (send, receive) = mpsc::channel(16);
    let (shared, asked, resource) = (Arc::clone(shared), asked.clone(), resource.to_owned());
    tokio::spawn(async move {
        if forgotten {
            let _ = send.send(line(&json!({"type": "ERROR", "object": gone}))).await;
            return;
        }
        tell(&shared, &asked, &resource, from, &send).await;
    });
    let lines = stream::unfold(receive, |mut receive| async {
        let line = receive.recv().await?;
        Some((Ok(Frame::data(line)), receive))
    });
    Response::new(StreamBody::new(lines).boxed())
}

/// Tells of changes until nobody listens.
async fn tell(shared: &Shared, asked: &Request, resource: &str, mut from: u64, send: &mpsc::Sender<Bytes>) {
    let mut changes: watch::Receiver<u64> = shared.changes.subscribe();
    loop {
        let fresh: Vec<_> = {
            let state = shared.state();
            let fresh =
                state.events.iter().filter(|event| event.version > from && event.resource == resource);
            if state.silent { Vec::new() } else { fresh.cloned().collect() }
        };
        for event in fresh {
            from = event.version;
            let object = match event.kind {
                "BOOKMARK" if asked.parameter("allowWatchBookmarks") == Some("true") => event.object,
                "BOOKMARK" => continue,
                _ if !is_selected(asked, &event.object) => continue,
                _ => shown(asked, &event.object),
            };
            if send.send(line(&json!({"type": event.kind, "object": object}))).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = send.closed() => return,
        }
    }
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}

fn status_object(code: StatusCode, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("{reason}: as the test wants it"), "reason": reason, "code": code.as_u16(),
    })
}

fn status(code: StatusCode, reason: &str) -> Answer {
    json_answer(code, &status_object(code, reason))
}

fn json_answer(code: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *answer.status_mut() = code;
    answer.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    answer
}
