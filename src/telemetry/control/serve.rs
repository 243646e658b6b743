//! The side that answers.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use hyper::StatusCode;
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::{Control, Passed, Problem, PurgeOf, Reloaded, ReplayOf, Replayed, Told};
use crate::tail::amend::Amend;
use crate::telemetry::status::Status;
use crate::telemetry::tap::{Sample, Tapped, Wanted};

/// A line is written at least so often, so that an end that is gone is noticed, and whoever waits sees what for.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Serves the socket, for ever.
///
/// # Errors
///
/// The socket failed.
pub async fn serve(listener: UnixListener, control: Control) -> io::Result<()> {
    let router = Router::new()
        .route("/reload", post(reload))
        .route("/status", get(status))
        .route("/buffer/purge", post(purge))
        .route("/checkpoints", post(amend))
        .route("/dead-letters/replay", post(replay))
        .route("/tap", post(tap))
        .with_state(control);
    axum::serve(listener, router).await
}

async fn reload(State(control): State<Control>) -> Result<Json<Reloaded>, StatusCode> {
    (control.reload)().await.map(Json).ok_or(StatusCode::SERVICE_UNAVAILABLE)
}

async fn status(State(control): State<Control>) -> Result<Json<Status>, StatusCode> {
    let told = tokio::task::spawn_blocking(move || (control.status)()).await;
    told.map(Json).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn purge(State(control): State<Control>, Json(of): Json<PurgeOf>) -> Response {
    answer((control.purge)(of).await)
}

async fn amend(State(control): State<Control>, Json(change): Json<Amend>) -> Response {
    answer((control.amend)(change).await)
}

async fn replay(State(control): State<Control>, Json(of): Json<ReplayOf>) -> Response {
    match (control.replay)(of).await {
        Ok(told) => Body::from_stream(progress(told)).into_response(),
        Err(problem) => refused(problem),
    }
}

fn answer(done: Result<impl Serialize, String>) -> Response {
    done.map_or_else(refused, |done| Json(done).into_response())
}

/// How a replay goes, from where it is now to its end.
fn progress(told: watch::Receiver<Replayed>) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((Some(told), true), async |(told, first)| {
        let mut told = told?;
        if !first {
            // Where nothing happens, it is said again.
            timeout(SIGN_OF_LIFE, told.changed()).await.unwrap_or(Ok(())).ok()?;
        }
        let now = told.borrow_and_update().clone();
        let over = now.files == 0;
        Some((Ok(Bytes::from(line(&now))), ((!over).then_some(told), false)))
    })
}

async fn tap(State(control): State<Control>, Json(wanted): Json<Wanted>) -> Response {
    match (control.tap)(wanted) {
        Ok(tapped) => Body::from_stream(lines(tapped)).into_response(),
        Err(problem) => refused(problem),
    }
}

fn refused(problem: String) -> Response {
    (StatusCode::CONFLICT, Json(Problem { problem })).into_response()
}

/// What a tap is told, as it comes.
fn lines(tapped: Tapped) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let first = Told::Counts(tapped.counts());
    let first = stream::once(async move { Ok(Bytes::from(line(&first))) });
    let rest = stream::unfold(Some(tapped), async |tapped| {
        let mut tapped = tapped?;
        let mut text = Vec::new();
        let due = Instant::now() + SIGN_OF_LIFE;
        let goes_on = match timeout_at(due, tapped.next()).await {
            Ok(None) => false,
            Ok(Some(samples)) => {
                samples.into_iter().for_each(|sample| text.extend(line(&Told::Record(passed(sample)))));
                true
            }
            Err(_) => true,
        };
        let counts = tapped.counts();
        text.extend(line(&if goes_on { Told::Counts(counts) } else { Told::End(counts) }));
        Some((Ok(Bytes::from(text)), goes_on.then_some(tapped)))
    });
    stream::StreamExt::chain(first, rest)
}

fn passed(sample: Sample) -> Passed {
    let Sample { route, file, to, record } = sample;
    let text = String::from_utf8_lossy(&record).into_owned();
    let record = RawValue::from_string(text)
        .or_else(|_| serde_json::value::to_raw_value(&String::from_utf8_lossy(&record)));
    Passed {
        route: route.to_string(),
        file: file.display().to_string(),
        to: to.iter().map(ToString::to_string).collect(),
        record: record.unwrap_or_default(),
    }
}

fn line(told: &impl Serialize) -> Vec<u8> {
    // What cannot be said in JSON is left out; there is nothing of the kind.
    let mut line = serde_json::to_vec(told).unwrap_or_default();
    line.push(b'\n');
    line
}
