//! The side that asks.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use super::{Problem, path_in};

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
    /// It cannot be done.
    #[error("{0}")]
    Refused(String),
}

/// Asks the kinetail that has this `data_dir`. `body` is `()` where the request has none.
///
/// # Errors
///
/// See [`NotAsked`].
pub async fn ask<T: for<'a> Deserialize<'a>>(
    data_dir: &Path,
    method: Method,
    target: &str,
    body: &impl Serialize,
) -> Result<T, NotAsked> {
    let asked = Asked::new(data_dir, method, target, body).await?;
    let body = asked.answer.into_body().collect().await.map_err(|error| no_answer(&asked.path, &error))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| no_answer(&asked.path, &error))
}

/// Asks for something that is told line by line, until `told` has enough of it or no more comes; that the process ends is an
/// end, too. Returns whether `told` had enough.
///
/// # Errors
///
/// See [`NotAsked`].
pub async fn ask_lines<T: for<'a> Deserialize<'a>>(
    data_dir: &Path,
    target: &str,
    body: &impl Serialize,
    mut told: impl FnMut(T) -> ControlFlow<()>,
) -> Result<bool, NotAsked> {
    let asked = Asked::new(data_dir, Method::POST, target, body).await?;
    let (mut answer, mut text) = (asked.answer.into_body(), Vec::new());
    while let Some(Ok(frame)) = answer.frame().await {
        text.extend_from_slice(frame.data_ref().map_or(&[][..], |bytes| bytes));
        while let Some(newline) = memchr::memchr(b'\n', &text) {
            let line: Vec<u8> = text.drain(..=newline).collect();
            let line = serde_json::from_slice(&line).map_err(|error| no_answer(&asked.path, &error))?;
            if told(line).is_break() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// A request that was answered well.
struct Asked {
    path: PathBuf,
    answer: Response<Incoming>,
    /// Has to live as long as the answer is read.
    _sender: SendRequest<Full<Bytes>>,
}

impl Asked {
    async fn new(
        data_dir: &Path,
        method: Method,
        target: &str,
        body: &impl Serialize,
    ) -> Result<Self, NotAsked> {
        let path = path_in(data_dir);
        let stream = UnixStream::connect(&path).await.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => NotAsked::NotAllowed { path: path.clone(), error },
            _ => NotAsked::NotRunning { data_dir: data_dir.to_owned(), path: path.clone(), error },
        })?;
        let failed = |error: &dyn std::fmt::Display| no_answer(&path, error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
        // What goes wrong with it shows in the answer.
        tokio::spawn(connection);
        let body = serde_json::to_vec(body).map_err(|error| failed(&error))?;
        let request = Request::builder().method(method).uri(target).header("host", "kinetail");
        let request = request.header("content-type", "application/json").body(Full::from(body));
        let request = request.map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let asked = Self { path: path.clone(), answer, _sender: sender };
        match status {
            StatusCode::OK => Ok(asked),
            StatusCode::CONFLICT => Err(NotAsked::Refused(asked.problem().await?)),
            StatusCode::NOT_FOUND => {
                Err(failed(&"it does not know this request; it may be of an older version"))
            }
            status => Err(failed(&format!("it answered {status}; it may be about to end"))),
        }
    }

    async fn problem(mut self) -> Result<String, NotAsked> {
        let body = self.answer.body_mut().collect().await.map_err(|error| no_answer(&self.path, &error))?;
        let problem: Problem =
            serde_json::from_slice(&body.to_bytes()).map_err(|error| no_answer(&self.path, &error))?;
        Ok(problem.problem)
    }
}

fn no_answer(path: &Path, error: &dyn std::fmt::Display) -> NotAsked {
    NotAsked::NoAnswer { path: path.to_owned(), what: error.to_string() }
}
