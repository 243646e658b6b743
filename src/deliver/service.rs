//! The destinations behind one door.

use std::io;
use std::sync::Arc;

use super::answer::Answer;
use super::aws::HttpClients;
use super::directory::LocalDirectory;
use super::dispatch::Dispatcher;
use super::entry::Request;
use super::firehose::DeliveryStream;
use super::kinesis::DataStream;
use super::retry::Backoff;
use super::settings::{Destination, Retry};
use super::shape::Shape;
use crate::disk::Disk;
use crate::source::DestinationName;

/// What takes a destination's requests.
#[derive(Debug)]
pub enum Service {
    /// An Amazon Data Firehose delivery stream.
    Firehose(DeliveryStream),
    /// An Amazon Kinesis data stream.
    Kinesis(DataStream),
    /// Local files.
    Directory(LocalDirectory),
}

impl Service {
    /// The service of a destination. It cannot fail and asks nobody: what is missing (a region, credentials,
    /// a folder) is found with the first request, held against the destination's health, and looked for again
    /// with each retry, while the records wait in the buffer.
    pub fn new(
        destination: &Destination,
        name: &DestinationName,
        http: &HttpClients,
        disk: &Arc<dyn Disk>,
    ) -> Self {
        match destination {
            Destination::Firehose(settings) => Self::Firehose(DeliveryStream::new(settings, http, None)),
            Destination::Kinesis(settings) => Self::Kinesis(DataStream::new(settings, http, None)),
            Destination::Directory(settings) => {
                Self::Directory(LocalDirectory::new(settings, name, Arc::clone(disk)))
            }
        }
    }

    /// Sends one request, once, and tells what became of it. Dropped half-way, the request may have been taken
    /// or not, as when the answer is lost.
    pub async fn send(&self, request: &Request) -> Answer {
        match self {
            Self::Firehose(stream) => stream.send(request).await,
            Self::Kinesis(stream) => stream.send(request).await,
            Self::Directory(directory) => directory.send(request).await,
        }
    }

    /// Does what has to be done at times of its own (a directory closes files by age). Never returns; may be
    /// dropped and called anew at any time.
    pub async fn tend(&self) {
        match self {
            Self::Firehose(_) | Self::Kinesis(_) => std::future::pending().await,
            Self::Directory(directory) => directory.tend().await,
        }
    }

    /// Finishes what is open, for a stop. Nothing is lost if it is not called, or fails.
    pub async fn close(&self) -> io::Result<()> {
        match self {
            Self::Firehose(_) | Self::Kinesis(_) => Ok(()),
            Self::Directory(directory) => directory.close().await,
        }
    }
}

impl Dispatcher {
    /// The dispatcher that a destination needs. `rng` draws pauses and partition keys.
    pub fn of(destination: &Destination, rng: fastrand::Rng) -> Self {
        match destination {
            Destination::Firehose(to) => {
                Self::new(Shape::firehose(to), to.batch.max_in_flight, Backoff::from(&to.retry), rng)
                    .limited(to.retry.limits.clone())
                    .rate_limited(to.rate_limit.clone())
            }
            Destination::Kinesis(to) => {
                Self::new(Shape::kinesis(to), to.batch.max_in_flight, Backoff::from(&to.retry), rng)
                    .limited(to.retry.limits.clone())
                    .rate_limited(to.rate_limit.clone())
            }
            // One file is written at a time.
            Destination::Directory(_) => {
                Self::new(Shape::directory(), 1, Backoff::from(&Retry::default()), rng)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::super::dispatch::Next;
    use super::super::settings::{Compression, Directory};
    use super::super::testing::run_of;
    use super::*;
    use crate::units::ByteSize;

    #[tokio::test]
    async fn every_line_offered_is_in_a_file_once_after_the_drain() {
        let folder = tempfile::tempdir().unwrap();
        let destination = Destination::Directory(Directory {
            path: folder.path().to_owned(),
            max_size: ByteSize(10_000),
            max_age: Duration::from_secs(300),
            compression: Compression::None,
        });
        let service = Arc::new(Service::new(
            &destination,
            &"local".into(),
            &HttpClients::default(),
            &crate::disk::HostDisk::shared(),
        ));
        let mut dispatcher = Dispatcher::of(&destination, fastrand::Rng::with_seed(5));
        dispatcher.drain();
        let lines: Vec<String> = (0..5000).map(|number| format!("line {number}")).collect();
        let mut runs = lines.chunks(7);
        let mut acked = 0;
        while acked < lines.len() {
            while dispatcher.room() && dispatcher.held_records() < 500 {
                let Some(chunk) = runs.next() else { break };
                let records: Vec<&[u8]> = chunk.iter().map(String::as_bytes).collect();
                assert!(dispatcher.offer(run_of(1, 0, &records), Duration::ZERO, Instant::now()).is_empty());
            }
            let Next::Send(request) = dispatcher.next(Instant::now()) else {
                panic!("nothing to send, {acked} acknowledged");
            };
            let id = request.id;
            let sending = service.clone();
            let answer = tokio::spawn(async move { sending.send(&request).await }).await.unwrap();
            let settled = dispatcher.answered(id, answer, Instant::now());
            acked += settled.acked.iter().map(crate::record::Run::len).sum::<usize>();
        }
        service.close().await.unwrap();

        let mut found = Vec::new();
        let mut folders = vec![folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.extend(std::fs::read_to_string(path).unwrap().lines().map(str::to_owned));
                }
            }
        }
        found.sort_unstable();
        let mut expected = lines;
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
