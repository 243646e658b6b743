//! A client of a service that is made when it is first needed, and made anew when what it came from has changed.
//!
//! The SDK reads its configuration and credentials files once, and keeps what credentials it has until their own
//! expiry. So a client is thrown away, and the next request makes another, when
//!
//! - one of those files, or the CA bundle, is another than when the client was made (a mounted secret was
//!   rotated), or
//! - the service said that it does not know or like the credentials ([`Link::doubt`]): they may have been replaced
//!   early, in a place that cannot be watched.
//!
//! Connections belong to [`HttpClients`](super::HttpClients) and outlive the client.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::super::answer::{Answer, Outcome};
use super::super::settings::Aws;
use super::ConnectError;

/// A client that is made when it is needed.
#[derive(Debug)]
pub(in super::super) struct Link<C> {
    made: Mutex<Option<Made<C>>>,
    /// Rises with each doubt.
    doubts: AtomicU64,
}

#[derive(Debug)]
struct Made<C> {
    client: C,
    sources: Sources,
    doubts: u64,
}

impl<C> Default for Link<C> {
    fn default() -> Self {
        Self { made: Mutex::default(), doubts: AtomicU64::default() }
    }
}

impl<C: Clone> Link<C> {
    /// The client, made by `connect` where there is none or it is out of date. Only one is made at a time.
    pub(in super::super) async fn get(
        &self,
        settings: &Aws,
        connect: impl AsyncFnOnce() -> Result<C, ConnectError>,
    ) -> Result<C, ConnectError> {
        let mut made = self.made.lock().await;
        let doubts = self.doubts.load(Ordering::Acquire);
        if let Some(made) = &*made
            && made.doubts == doubts
            && !made.sources.changed()
        {
            return Ok(made.client.clone());
        }
        // Looked at before they are read: what changes meanwhile is seen the next time.
        let env = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let sources = Sources::of(super::ca_bundle(settings), env);
        let client = connect().await?;
        *made = Some(Made { client: client.clone(), sources, doubts });
        Ok(client)
    }

    /// Looks whether an answer gives reason to doubt the credentials, and if so makes a new client for the next
    /// request.
    pub(in super::super) fn heed(&self, answer: Answer) -> Answer {
        if let Outcome::Failed(failure) = &answer.outcome
            && failure.is_of_credentials()
        {
            self.doubts.fetch_add(1, Ordering::AcqRel);
        }
        answer
    }
}

/// The files that the SDK reads once, each as it was.
#[derive(Debug)]
struct Sources(Vec<(PathBuf, Option<Stamp>)>);

impl Sources {
    /// Where the SDK looks for them.
    fn of(ca_bundle: Option<PathBuf>, env: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let set = |name: &str| env(name).filter(|path| !path.as_os_str().is_empty());
        let files = [("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials"), ("AWS_CONFIG_FILE", ".aws/config")];
        let paths = files
            .into_iter()
            .filter_map(|(name, usual)| set(name).or_else(|| set("HOME").map(|home| home.join(usual))));
        Self(paths.chain(ca_bundle).map(|path| (path.clone(), Stamp::of(&path))).collect())
    }

    fn changed(&self) -> bool {
        self.0.iter().any(|(path, stamp)| *stamp != Stamp::of(path))
    }
}

/// What tells that a file is not what it was. Links are followed: Kubernetes rotates a mounted secret by turning a
/// link to another folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// None for a file that cannot be looked at.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::answer::{Class, Failure};
    use super::*;

    #[tokio::test]
    async fn a_client_is_kept_until_its_credentials_are_doubted() {
        let link = Link::default();
        let made = std::cell::Cell::new(0);
        let get = async || {
            link.get(&Aws::default(), async || {
                made.set(made.get() + 1);
                Ok(made.get())
            })
            .await
            .unwrap()
        };
        let said = |code: &str| link.heed(Failure::local(Class::Hold, code, "").into());
        assert_eq!(get().await, 1);
        for code in ["AccessDeniedException", "InternalFailure", "ResourceNotFoundException"] {
            said(code);
        }
        link.heed(Answer::taken());
        assert_eq!(get().await, 1);
        for (count, code) in
            (2..).zip(["ExpiredTokenException", "UnrecognizedClientException", "Credentials"])
        {
            said(code);
            assert_eq!((get().await, get().await), (count, count), "{code}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_made_is_tried_again() {
        let link = Link::<u8>::default();
        assert!(link.get(&Aws::default(), async || Err(ConnectError::NoRegion)).await.is_err());
        assert_eq!(link.get(&Aws::default(), async || Ok(5)).await.unwrap(), 5);
    }

    #[test]
    fn a_mounted_secret_that_was_rotated_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let env = |name: &str| match name {
            "AWS_SHARED_CREDENTIALS_FILE" => Some(dir.path().join("credentials")),
            "HOME" => Some(dir.path().to_owned()),
            _ => None,
        };
        let look = || Sources::of(Some(dir.path().join("ca.pem")), env);
        let sources = look();
        assert_eq!(sources.0[1].0, dir.path().join(".aws/config"));
        assert!(!sources.changed());
        // As the kubelet does it: files in a folder that a link leads to.
        for version in ["1", "2"] {
            std::fs::create_dir(dir.path().join(version)).unwrap();
            std::fs::write(dir.path().join(version).join("credentials"), "[default]\n").unwrap();
        }
        std::os::unix::fs::symlink("1", dir.path().join("data")).unwrap();
        std::os::unix::fs::symlink("data/credentials", dir.path().join("credentials")).unwrap();
        assert!(sources.changed(), "it was not there before");
        let sources = look();
        assert!(!sources.changed());
        std::os::unix::fs::symlink("2", dir.path().join("other")).unwrap();
        std::fs::rename(dir.path().join("other"), dir.path().join("data")).unwrap();
        assert!(sources.changed());
        let sources = look();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        std::fs::write(dir.path().join(".aws/config"), "").unwrap();
        assert!(sources.changed());
        let sources = look();
        std::fs::write(dir.path().join("ca.pem"), "").unwrap();
        assert!(sources.changed());
    }
}
