//! The destinations behind one door.

use std::io;

use super::answer::Answer;
use super::aws::HttpClients;
use super::batch::Shape;
use super::directory::LocalDirectory;
use super::dispatch::Dispatcher;
use super::entry::Request;
use super::firehose::DeliveryStream;
use super::kinesis::DataStream;
use super::retry::Backoff;
use super::settings::{Destination, Retry};
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
    pub fn new(destination: &Destination, name: &DestinationName, http: &HttpClients) -> Self {
        match destination {
            Destination::Firehose(settings) => Self::Firehose(DeliveryStream::new(settings, http, None)),
            Destination::Kinesis(settings) => Self::Kinesis(DataStream::new(settings, http, None)),
            Destination::Directory(settings) => Self::Directory(LocalDirectory::new(settings, name)),
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
            Destination::Firehose(to) => Self::new(
                Shape::firehose(to),
                to.batch.max_in_flight,
                Backoff::from(&to.retry),
                rng,
            ),
            Destination::Kinesis(to) => Self::new(
                Shape::kinesis(to),
                to.batch.max_in_flight,
                Backoff::from(&to.retry),
                rng,
            ),
            // One file is written at a time.
            Destination::Directory(_) => {
                Self::new(Shape::directory(), 1, Backoff::from(&Retry::default()), rng)
            }
        }
    }
}
