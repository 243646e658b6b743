//! The control socket: a Unix socket in `data_dir` that only kinetail's own user can open. What changes anything, or shows
//! what is in records, is asked for here and nowhere else.
//!
//! The protocol is HTTP/1.1 with JSON:
//!
//! | request | answer |
//! |---|---|
//! | `GET /status` | 200 and a [`Status`] with all files, as it is now |
//! | `POST /reload` | 200 and [`Reloaded`], once the configuration counts or was refused |
//! | `POST /buffer/purge` with [`PurgeOf`] | 200 and [`Purged`], once what waited is given up |
//! | `POST /checkpoints` with [`Amend`] | 200 and [`Done`], once it counts and is durable |
//! | `POST /dead-letters/replay` with [`ReplayOf`] | 200 and a [`Replayed`] a line, until no file is left; one at least every second |
//! | `POST /tap` with [`Wanted`] | 200 and a [`Told`] a line, as records pass; one at least every second |
//!
//! What cannot be done is answered with 409 and a [`Problem`]. Whoever can open the socket may ask for everything: its mode is
//! 0600, and `data_dir` belongs to one kinetail.

mod ask;
mod serve;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::UnixListener;
use tokio::sync::watch;

pub use self::ask::{NotAsked, ask, ask_lines};
pub use self::serve::serve;
use super::status::Status;
use super::tap::{Counts, Tapped, Wanted};
use crate::tail::amend::Amend;

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

/// Whose records to give up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeOf {
    /// The destination.
    pub destination: String,
}

/// What was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Records that were neither delivered nor under way.
    pub given_up: u64,
    /// Why a restart might bring them back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What was done, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In words.
    pub done: String,
}

/// Which dead letters to put into the buffer again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayOf {
    /// The destination.
    pub destination: String,
    /// Those of these reasons; of any if there are none.
    #[serde(default)]
    pub reasons: Vec<String>,
}

/// How far a replay is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Letters that are in the buffer.
    pub letters: u64,
    /// Of so many.
    pub of: u64,
    /// Lines that became no record, and letters that cannot be read: they stay dead letters.
    pub no_records: u64,
    /// Files of letters that are not wholly durable in the buffer yet.
    pub files: u64,
    /// There is no room in the buffer now.
    pub waits: bool,
}

/// A line of what a tap is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// A record that passed.
    Record(Passed),
    /// What became of the records so far.
    Counts(Counts),
    /// The same when no more will pass: reading has ended.
    End(Counts),
}

/// A record that passed.
#[derive(Debug, Serialize, Deserialize)]
pub struct Passed {
    /// The route that made it.
    pub route: String,
    /// The file that its line is of.
    pub file: String,
    /// The destinations whose buffers took it.
    pub to: Vec<String>,
    /// As it will be sent; a string if that is no JSON.
    pub record: Box<RawValue>,
}

/// Why something cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// In words, with the remedy.
    pub problem: String,
}

/// What comes of something that takes a while, or why it cannot be done.
pub type Answered<T> = BoxFuture<'static, Result<T, String>>;

/// What is done when it is asked for.
#[derive(Clone)]
pub struct Control {
    /// Loads the configuration again. None if the agent is about to end.
    pub reload: Arc<dyn Fn() -> BoxFuture<'static, Option<Reloaded>> + Send + Sync>,
    /// Tells how it goes. May wait for a moment.
    pub status: Arc<dyn Fn() -> Status + Send + Sync>,
    /// Gives up what waits for a destination, or says why not.
    pub purge: Arc<dyn Fn(PurgeOf) -> Answered<Purged> + Send + Sync>,
    /// Changes how far a file is, or says why not.
    pub amend: Arc<dyn Fn(Amend) -> Answered<Done> + Send + Sync>,
    /// Puts dead letters into the buffer again, or says why not.
    pub replay: Arc<dyn Fn(ReplayOf) -> Answered<watch::Receiver<Replayed>> + Send + Sync>,
    /// Shows records as they pass, or says why not.
    pub tap: Arc<dyn Fn(Wanted) -> Result<Tapped, String> + Send + Sync>,
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::time::Instant;

    use hyper::Method;

    use super::*;
    use crate::record::Records;
    use crate::telemetry::tap::Taps;

    fn answering(reloaded: Option<Reloaded>, taps: &Taps) -> Control {
        let taps = taps.clone();
        Control {
            reload: Arc::new(move || {
                let reloaded = reloaded.clone();
                Box::pin(async move { reloaded })
            }),
            status: Arc::new(|| Status { pid: 17, ..Status::default() }),
            purge: Arc::new(|_| Box::pin(async { Ok(Purged { given_up: 3, problem: None }) })),
            amend: Arc::new(|_| Box::pin(async { Err("no such file".into()) })),
            replay: Arc::new(|of| {
                let (tell, told) = watch::channel(Replayed { of: 2, files: 1, ..Replayed::default() });
                tokio::spawn(async move {
                    // The first is seen before the next one comes.
                    tell.closed().await;
                });
                drop(of);
                Box::pin(async { Ok(told) })
            }),
            tap: Arc::new(move |wanted| taps.open(wanted, Instant::now()).map_err(|why| why.to_string())),
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
        tokio::spawn(serve(listener, answering(Some(reloaded.clone()), &Taps::default())));
        let mode = fs::metadata(path_in(folder.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let answer: Reloaded = ask(folder.path(), Method::POST, "/reload", &()).await.unwrap();
        assert_eq!(answer, reloaded);
        let status: Status = ask(folder.path(), Method::GET, "/status", &()).await.unwrap();
        assert_eq!(status.pid, 17);
        let wrong =
            ask::<Reloaded>(folder.path(), Method::GET, "/reload", &()).await.unwrap_err().to_string();
        assert!(wrong.contains("405"), "{wrong}");
    }

    #[tokio::test]
    async fn where_nobody_listens_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = ask::<Reloaded>(folder.path(), Method::POST, "/reload", &()).await.unwrap_err();
        assert!(matches!(error, NotAsked::NotRunning { .. }), "{error}");
        // The process has ended, and its socket stays.
        drop(bind(folder.path()).unwrap());
        let error = ask::<Reloaded>(folder.path(), Method::POST, "/reload", &()).await.unwrap_err();
        assert!(error.to_string().starts_with("no kinetail runs"), "{error}");
    }

    #[tokio::test]
    async fn a_tap_is_told_record_by_record_until_the_end_and_closed_when_nobody_listens_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let taps = Taps::default();
        tokio::spawn(serve(bind(folder.path()).unwrap(), answering(None, &taps)));
        let wanted = Wanted { rate: 10, ..Wanted::default() };
        let pass = || {
            let mut records = Records::default();
            for text in [&b"{\"log\": 1}"[..], b"plain"] {
                records.push_with(|out| {
                    out.extend_from_slice(text);
                    true
                });
            }
            let (route, name) = ("logs".into(), "audit".into());
            let of = |_, to: &mut Vec<_>| {
                to.push(&name);
                &route
            };
            taps.pass(Path::new("/a.log"), &records, of, Instant::now());
        };
        let mut seen = Vec::new();
        let told = |line: Told| {
            match line {
                // The first line of counts shows that the tap is open.
                Told::Counts(Counts { passed: 0, .. }) => pass(),
                Told::Counts(_) => {}
                Told::Record(passed) => {
                    seen.push(passed.record.get().to_owned());
                    assert_eq!((passed.route, passed.file), ("logs".to_owned(), "/a.log".to_owned()));
                    assert_eq!(passed.to, ["audit"]);
                    taps.close();
                }
                Told::End(counts) => seen.push(counts.passed.to_string()),
            }
            ControlFlow::Continue(())
        };
        ask_lines(folder.path(), "/tap", &wanted, told).await.unwrap();
        assert_eq!(seen, ["{\"log\": 1}", "\"plain\"", "2"]);
        let ended = ask_lines(folder.path(), "/tap", &wanted, |_: Told| ControlFlow::Break(())).await;
        assert!(matches!(&ended, Err(NotAsked::Refused(why)) if why.contains("has ended")), "{ended:?}");
    }
}
