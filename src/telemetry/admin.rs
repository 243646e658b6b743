//! The admin port: `/metrics` and `/livez`. Read-only; it shows no payload and changes nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::liveness::Liveness;

/// What `/metrics` is, as OpenMetrics and as Prometheus' own text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    /// All metrics.
    pub registry: Arc<Registry>,
    /// All heartbeats.
    pub liveness: Liveness,
    /// Called before metrics are shown: what is measured only when somebody looks.
    pub refresh: Arc<dyn Fn() + Send + Sync>,
}

/// Opens the port.
///
/// # Errors
///
/// The address cannot be had; the message says which and what to do.
pub async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        let text = format!("admin port {listen}: {error}; free it, or set another address in admin.listen");
        io::Error::new(error.kind(), text)
    })
}

/// Serves the port, for ever.
///
/// # Errors
///
/// The socket failed.
pub async fn serve(listener: TcpListener, admin: Admin) -> io::Result<()> {
    let router = Router::new().route("/metrics", get(metrics)).route("/livez", get(livez)).with_state(admin);
    axum::serve(listener, router).await
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    (admin.refresh)();
    let mut text = String::new();
    if encode(&mut text, &admin.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("application/openmetrics-text") {
        return ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response();
    }
    ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
}

/// The older format has no end mark, no units and no `info` type; the samples read alike.
fn plain(openmetrics: &str) -> String {
    openmetrics
        .lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# UNIT "))
        .flat_map(|line| {
            [
                line.strip_suffix(" info").map_or(line.into(), |head| format!("{head} gauge").into()),
                std::borrow::Cow::Borrowed("\n"),
            ]
        })
        .collect()
}

async fn livez(State(admin): State<Admin>) -> Response {
    let stuck = admin.liveness.stuck(Instant::now());
    if stuck.is_empty() {
        return "ok\n".into_response();
    }
    let text: String = stuck
        .iter()
        .map(|(name, silent)| format!("{name} has made no progress for {} s\n", silent.as_secs()))
        .collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    async fn serving(liveness: Liveness) -> SocketAddr {
        let mut registry = super::super::metrics::registry();
        let lines = Counter::<u64>::default();
        registry.register("lines", "Lines read", lines.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let refresh = Arc::new(move || {
            lines.inc();
        });
        tokio::spawn(serve(listener, Admin { registry: Arc::new(registry), liveness, refresh }));
        address
    }

    async fn get(address: SocketAddr, path: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_that_was_asked_for() {
        let address = serving(Liveness::default()).await;
        let plain = get(address, "/metrics", "text/plain").await;
        assert!(plain.contains("version=0.0.4") && plain.contains("\nkinetail_lines_total 1\n"), "{plain}");
        assert!(!plain.contains("# EOF"));
        let open = get(address, "/metrics", "application/openmetrics-text;version=1.0.0").await;
        assert!(
            open.contains("openmetrics-text; version=1.0.0") && open.contains("kinetail_lines_total 2"),
            "{open}"
        );
        assert!(open.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn a_stuck_part_turns_liveness_red_and_is_named() {
        let liveness = Liveness::default();
        let address = serving(liveness.clone()).await;
        assert!(get(address, "/livez", "*/*").await.ends_with("ok\n"));
        let _silent = liveness.task("reading", Duration::ZERO);
        let red = get(address, "/livez", "*/*").await;
        assert!(red.starts_with("HTTP/1.1 503") && red.contains("reading has made no progress"), "{red}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named_with_the_way_out() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind(taken.local_addr().unwrap()).await.unwrap_err().to_string();
        assert!(error.contains("admin.listen"), "{error}");
    }
}
