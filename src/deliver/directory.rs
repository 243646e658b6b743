//! Local files laid out as Firehose writes S3: `YYYY/MM/DD/HH/<name>-1-YYYY-MM-DD-HH-MM-SS-<uuid>`, in UTC,
//! with `.gz` at the end where they are compressed.
//!
//! **Open and closed.** A file that is being written lies at the top of the folder under a name that readers
//! ignore (`.<name>-1-…-<uuid>.open`). It is moved to its place when it reaches its size or age, or at a stop,
//! and is never touched again.
//!
//! **Durability.** A request counts as delivered once its lines are written and synced. With gzip a request is
//! one member; members put behind each other are one valid gzip file.
//!
//! **Recovery.** A file that a crash left open is cut after its last complete line (or gzip member) and moved
//! to its place. A request that was being written at that moment, or whose acknowledgement had not reached the
//! buffer's disk, is sent again by the next start: its copies carry the same record ids, as with AWS.

mod files;

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use self::files::Files;
use super::answer::{Answer, Class, Failure};
use super::entry::Request;
use super::settings::Directory;
use crate::disk::Disk;
use crate::source::DestinationName;

/// A folder of local files.
#[derive(Debug)]
pub struct LocalDirectory {
    files: Arc<Mutex<Files>>,
    written: Notify,
}

impl LocalDirectory {
    /// Nothing is touched before the first request.
    pub fn new(settings: &Directory, name: &DestinationName, disk: Arc<dyn Disk>) -> Self {
        Self {
            files: Arc::new(Mutex::new(Files::new(settings.clone(), name.clone(), disk))),
            written: Notify::new(),
        }
    }

    /// Writes one request.
    pub async fn send(&self, request: &Request) -> Answer {
        let request = request.clone();
        let (now, at) = (Timestamp::now(), Instant::now());
        let result = self.blocking(move |files| files.write(&request, now, at)).await;
        self.written.notify_one();
        match result {
            Ok(()) => Answer::taken(),
            Err(error) => failure(&error).into(),
        }
    }

    /// Closes files that have reached their age, for ever. It may be dropped and called anew at any time.
    pub async fn tend(&self) {
        loop {
            let written = self.written.notified();
            let due = self.files.lock().await.due();
            let Some(due) = due else {
                written.await;
                continue;
            };
            tokio::select! {
                () = written => {}
                () = tokio::time::sleep_until(due) => {
                    let at = Instant::now();
                    if let Err(error) = self.blocking(move |files| files.close_if_due(at)).await {
                        tracing::warn!(event = "file_not_closed", %error, "a file of a directory destination could not be closed yet");
                    }
                }
            }
        }
    }

    /// Closes the open file, for a stop.
    pub async fn close(&self) -> io::Result<()> {
        self.blocking(Files::close).await
    }

    async fn blocking<F>(&self, act: F) -> io::Result<()>
    where
        F: FnOnce(&mut Files) -> io::Result<()> + Send + 'static,
    {
        let mut files = self.files.clone().lock_owned().await;
        tokio::task::spawn_blocking(move || act(&mut files)).await.map_err(io::Error::other)?
    }
}

fn failure(error: &io::Error) -> Failure {
    let class = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::Interrupted => {
            Class::Retry
        }
        _ => Class::Hold,
    };
    Failure::local(class, &format!("{:?}", error.kind()), error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::settings::Compression;
    use super::super::shape::Shape;
    use super::super::testing::{request, run_of};
    use super::*;
    use crate::units::ByteSize;

    fn directory(path: std::path::PathBuf) -> LocalDirectory {
        let settings = Directory {
            path,
            max_size: ByteSize(1 << 20),
            max_age: Duration::from_secs(300),
            compression: Compression::None,
        };
        LocalDirectory::new(&settings, &"archive".into(), crate::disk::HostDisk::shared())
    }

    fn open_files(folder: &std::path::Path) -> usize {
        let names = std::fs::read_dir(folder).unwrap();
        names.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".open")).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_file_is_closed_at_its_age() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Arc::new(directory(folder.path().to_owned()));
        let tending = tokio::spawn({
            let directory = directory.clone();
            async move { directory.tend().await }
        });
        let request = request(Shape::directory(), run_of(1, 0, &[b"one"]));
        assert_eq!(directory.send(&request).await, Answer::taken());
        let begun = Instant::now();
        assert_eq!(open_files(folder.path()), 1);
        while open_files(folder.path()) > 0 {
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        assert!(begun.elapsed() >= Duration::from_secs(290), "{:?}", begun.elapsed());
        assert!(begun.elapsed() <= Duration::from_secs(320), "{:?}", begun.elapsed());
        tending.abort();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_holds_the_records() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "").unwrap();
        let request = request(Shape::directory(), run_of(1, 0, &[b"one"]));
        let answer = directory(path.join("below")).send(&request).await;
        let super::super::Outcome::Failed(failure) = answer.outcome else {
            panic!("it was written where nothing can be");
        };
        assert_eq!(failure.class, Class::Hold);
    }
}
