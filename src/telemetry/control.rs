//! The control socket: a Unix socket in `data_dir` that only kinetail's own user can open. What changes anything is asked
//! for here and nowhere else.
//!
//! The protocol is HTTP/1.1 with JSON:
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | 200 and a [`Status`] with all files, as it is now |
//! | `POST /reload` | 200 and [`Reloaded`], once the configuration counts or was refused |
//!
//! Whoever can open the socket may ask for everything: its mode is 0600, and `data_dir` belongs to one kinetail.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};

use super::status::Status;

/// The socket's name in `data_dir`.
const NAME: &str = "control.sock";

/// What came of loading the configuration again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// It counts; otherwise the one before goes on.
    pub applied: bool,
    /// Settings of it that count after a restart only.
    pub after_restart: Vec<String>,
    /// Why it does not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is done when it is asked for.
#[derive(Clone)]
pub struct Control {
    /// Loads the configuration again. None if the agent is about to end.
    pub reload: Arc<dyn Fn() -> BoxFuture<'static, Option<Reloaded>> + Send + Sync>,
    /// Tells how it goes. May wait for a moment.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
}

/// Where the socket is.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

/// Opens the socket, in place of one that an earlier process left. The caller holds `data_dir`.
///
/// # Errors
///
/// It cannot be made; a path of more than some 100 bytes is too long for a socket.
pub fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    // Under its name it is never to be had with another mode.
    let (path, fresh) = (path_in(data_dir), data_dir.join(format!("{NAME}.new")));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    fs::rename(&fresh, &path)?;
    Ok(listener)
}

/// Serves the socket, for ever.
///
/// # Errors
///
/// The socket failed.
pub async fn serve(listener: UnixListener, control: Control) -> io::Result<()> {
    let router =
        Router::new().route("/reload", post(reload)).route("/status", get(status)).with_state(control);
    axum::serve(listener, router).await
}

async fn reload(State(control): State<Control>) -> Result<Json<Reloaded>, StatusCode> {
    (control.reload)().await.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

async fn status(State(control): State<Control>) -> Result<Json<Status>, StatusCode> {
    let told = tokio::task::spawn_blocking(move || (control.status)()).await;
    told.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Why a running kinetail could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// Nobody listens.
    #[error("no kinetail runs with data_dir {data_dir}: {path} {error}")]
    NotRunning {
        /// `data_dir`.
        data_dir: PathBuf,
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// This user may not.
    #[error("{path} may be opened only by the user that kinetail runs as, and by root: {error}")]
    NotAllowed {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It did not answer as it should.
    #[error("{path}: {what}")]
    NoAnswer {
        /// The socket.
        path: PathBuf,
        /// What happened.
        what: String,
    },
}

/// Asks the kinetail that has this `data_dir`.
///
/// # Errors
///
/// See [`NotAsked`].
pub async fn ask<T: for<'a> Deserialize<'a>>(
    data_dir: &Path,
    method: Method,
    target: &str,
) -> Result<T, NotAsked> {
    let path = path_in(data_dir);
    let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => NotAsked::NotAllowed { path: path.clone(), error },
        _ => NotAsked::NotRunning { data_dir: data_dir.to_owned(), path: path.clone(), error },
    })?;
    let failed = |what: String| NotAsked::NoAnswer { path: path.clone(), what };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let request = Request::builder().method(method).uri(target).header("host", "kinetail");
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| failed(error.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
    };
    tokio::pin!(exchange);
    let answered = tokio::select! {
        answered = &mut exchange => answered,
        ended = connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error),
        },
    };
    let (status, body) = answered.map_err(|error| failed(error.to_string()))?;
    if status != StatusCode::OK {
        return Err(failed(format!("it answered {status}; it may be about to end")));
    }
    serde_json::from_slice(&body).map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answering(reloaded: Option<Reloaded>) -> Control {
        Control {
            reload: Arc::new(move || {
                let reloaded = reloaded.clone();
                Box::pin(async move { reloaded })
            }),
            status: Arc::new(|| Status { pid: 17, ..Status::default() }),
        }
    }

    #[tokio::test]
    async fn what_is_asked_is_answered_and_the_socket_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        // Left by a process that was killed.
        fs::write(path_in(folder.path()), "").unwrap();
        fs::write(folder.path().join("control.sock.new"), "").unwrap();
        let reloaded =
            Reloaded { applied: false, after_restart: vec!["log".into()], problem: Some("line 3".into()) };
        let listener = bind(folder.path()).unwrap();
        tokio::spawn(serve(listener, answering(Some(reloaded.clone()))));
        let mode = fs::metadata(path_in(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let answer: Reloaded = ask(folder.path(), Method::POST, "/reload").await.unwrap();
        assert_eq!(answer, reloaded);
        let status: Status = ask(folder.path(), Method::GET, "/status").await.unwrap();
        assert_eq!(status.pid, 17);
        let wrong = ask::<Reloaded>(folder.path(), Method::GET, "/reload").await.unwrap_err().to_string();
        assert!(wrong.contains("405"), "{wrong}");
    }

    #[tokio::test]
    async fn where_nobody_listens_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask::<Reloaded>(folder.path(), Method::POST, "/reload").await.unwrap_err();
        assert!(matches!(error, NotAsked::NotRunning { .. }), "{error}");
        // The process has ended, and its socket stays.
        drop(bind(folder.path()).unwrap());
        let error = ask::<Reloaded>(folder.path(), Method::POST, "/reload").await.unwrap_err();
        assert!(error.to_string().starts_with("no kinetail runs"), "{error}");
    }
}
