//! The admin port: metrics, health and status for whoever watches from outside. Read-only; it shows no payload and
//! changes nothing.
//!
//! It has a thread and a runtime of its own, and what it shows is gathered on others: `/livez` answers even where every
//! thread of the agent waits for a disk that does not answer.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use super::liveness::Liveness;
use super::metrics::ProcessMetrics;
use super::status::Status;

/// What `/metrics` is, as OpenMetrics and as Prometheus' own text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the admin port shows.
#[derive(Clone)]
pub struct Admin {
    /// All metrics of kinetail.
    pub registry: Arc<Registry>,
    /// Those of its process.
    pub process: Arc<ProcessMetrics>,
    /// All heartbeats.
    pub liveness: Liveness,
    /// Called before metrics are shown: what is measured only when somebody looks. May wait for a disk.
    pub refresh: Arc<dyn Fn() + Send + Sync>,
    /// Makes a status with so many files at most. May wait for a disk.
    pub status: Arc<dyn Fn(usize) -> Status + Send + Sync>,
}

/// Opens the port.
///
/// # Errors
///
/// The address cannot be had; the message says which and what to do.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let bound = TcpListener::bind(listen).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|error| {
        let text = format!("admin port {listen}: {error}; free it, or set another address in admin.listen");
        io::Error::new(error.kind(), text)
    })
}

/// Serves the port, for ever. What is returned ends with what ended it.
///
/// # Errors
///
/// The system has no thread for it.
pub fn start(listener: TcpListener, admin: Admin) -> io::Result<oneshot::Receiver<io::Error>> {
    let (tell, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("admin".into()).spawn(move || {
        let served = runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router(admin)).await
        });
        let error = served.err().unwrap_or_else(|| io::Error::other("the socket is closed"));
        // Whoever does not listen any more does not care.
        let _ = tell.send(error);
    })?;
    Ok(ended)
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/status", get(status))
        .with_state(admin)
}

/// The status page. Whatever a path or an error holds, nothing but what is in the page itself may run or be loaded.
async fn page() -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                          connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers =
        [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, include_str!("page.html")).into_response()
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let made = tokio::task::spawn_blocking(move || {
        (admin.refresh)();
        admin.process.encode(&admin.registry)
    });
    let Ok(Ok(text)) = made.await else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accept.contains("application/openmetrics-text") {
        return ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response();
    }
    ([(header::CONTENT_TYPE, PLAIN)], plain(&text)).into_response()
}

/// The older format has no end mark, no units and no `info` type, and it names a family like its samples: a counter with
/// `_total`.
fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    // The help comes before the type, which decides its name.
    let mut help = None;
    for line in openmetrics.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (end, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                _ => ("", kind),
            };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                text += &format!("# HELP {name}{end} {help}\n");
            }
            text += &format!("# TYPE {name}{end} {kind}\n");
        } else if line != "# EOF" && !line.starts_with("# UNIT ") {
            text += line;
            text.push('\n');
        }
    }
    text
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

/// Whether it is ready, and what is wrong with each part: 503 where it is not.
async fn readyz(State(admin): State<Admin>) -> Response {
    let Some(status) = made(&admin, 0).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let code = if status.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, status.readiness()).into_response()
}

/// `?files=N`: the N files that are the furthest behind; all without.
async fn status(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let files = match query.as_deref().map(|query| query.strip_prefix("files=").map(str::parse)) {
        None => usize::MAX,
        Some(Some(Ok(files))) => files,
        Some(_) => {
            return (StatusCode::BAD_REQUEST, "ask for /api/status or /api/status?files=NUMBER\n")
                .into_response();
        }
    };
    match made(&admin, files).await {
        Some(status) => ([(header::CACHE_CONTROL, "no-store")], Json(status)).into_response(),
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn made(admin: &Admin, files: usize) -> Option<Status> {
    let make = Arc::clone(&admin.status);
    tokio::task::spawn_blocking(move || make(files)).await.ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::telemetry::status::{Destination, DestinationState, File};

    async fn serving(liveness: Liveness) -> SocketAddr {
        let mut registry = super::super::metrics::registry();
        let lines = Counter::<u64>::default();
        registry.register("lines", "Lines read", lines.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let refresh = Arc::new(move || {
            lines.inc();
        });
        let status = Arc::new(|files| {
            let denied = Destination {
                name: "audit".into(),
                state: DestinationState::Denied,
                reason: Some("AccessDeniedException: no".into()),
                ..Destination::default()
            };
            let mut status = Status { destinations: vec![denied], ..Status::default() };
            status.files = vec![File::default(); 3.min(files)];
            status.judge(&[]);
            status
        });
        start(
            listener,
            Admin { registry: Arc::new(registry), process: Arc::default(), liveness, refresh, status },
        )
        .unwrap();
        address
    }

    async fn get(address: SocketAddr, path: &str, accept: &str) -> String {
        ask(address, "GET", path, accept).await
    }

    async fn ask(address: SocketAddr, method: &str, path: &str, accept: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        );
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
        assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
        assert!(
            plain.contains("# HELP kinetail_lines_total Lines read.\n# TYPE kinetail_lines_total counter\n"),
            "{plain}"
        );
        assert!(plain.contains("# TYPE kinetail_build_info gauge\nkinetail_build_info{"), "{plain}");
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
    async fn readiness_names_what_is_wrong_and_the_status_has_as_many_files_as_were_asked_for() {
        let address = serving(Liveness::default()).await;
        let red = get(address, "/readyz", "*/*").await;
        assert!(red.starts_with("HTTP/1.1 503"), "{red}");
        assert!(red.contains("problem: destination audit: denied: AccessDeniedException: no"), "{red}");
        for (path, files) in [("/api/status", 3), ("/api/status?files=1", 1)] {
            let answer = get(address, path, "*/*").await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.contains("application/json") && head.contains("no-store"), "{head}");
            let status: Status = serde_json::from_str(body).unwrap();
            assert_eq!(status.files.len(), files, "{path}");
        }
    }

    #[tokio::test]
    async fn the_port_only_tells_and_has_nothing_of_what_changes_or_shows_lines() {
        let address = serving(Liveness::default()).await;
        let code = async |method: &str, path: &str| {
            let answer = ask(address, method, path, "*/*").await;
            answer.split(' ').nth(1).map(str::to_owned).unwrap()
        };
        for path in ["/", "/metrics", "/livez", "/readyz", "/api/status"] {
            assert_ne!(code("GET", path).await, "404", "{path}");
            for method in ["POST", "PUT", "PATCH", "DELETE"] {
                assert_eq!(code(method, path).await, "405", "{method} {path}");
            }
        }
        // Those of the socket in `data_dir`, and what else somebody might try.
        let elsewhere = [
            "/reload",
            "/tap",
            "/buffer/purge",
            "/checkpoints",
            "/dead-letters/replay",
            "/config",
            "/status",
        ];
        for path in elsewhere {
            for method in ["GET", "POST", "PUT", "DELETE"] {
                assert_eq!(code(method, path).await, "404", "{method} {path}");
            }
        }
    }

    #[tokio::test]
    async fn the_page_has_all_it_needs_in_itself_and_may_load_nothing_else() {
        let answer = get(serving(Liveness::default()).await, "/", "text/html").await;
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("connect-src 'self';"),
            "{policy}"
        );
        assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
        for outside in ["http://", "https://", "src=", "url(", "@import", "=\"//"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named_with_the_way_out() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(taken.local_addr().unwrap()).unwrap_err().to_string();
        assert!(error.contains("admin.listen"), "{error}");
    }
}
