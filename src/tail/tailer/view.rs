//! Followed files as they are now, for whoever looks from outside.

use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::super::checkpoint::{Entry, Progress, Status};
use super::super::content::Content;
use super::{Place, Tailer, Tracked, routing};

/// A file that is followed.
#[derive(Debug)]
pub struct View<'a> {
    /// What is known of it.
    pub entry: &'a Entry,
    /// How far it is for each destination of its route.
    pub progress: Vec<&'a Progress>,
    /// It is open.
    pub open: bool,
    /// Its path no longer leads to it: it was renamed or deleted, and is read to its end.
    pub away: bool,
    /// The offset at which it ends and when it was written last; none where it is not open, or compressed.
    pub extent: Option<(u64, SystemTime)>,
    /// So many bytes are between two offsets that follow each other: one of a file, some hundred of the journal.
    pub bytes_for_offset: u64,
}

impl Tailer {
    /// Files that are followed, in no order. Asks the system about each that is open.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let following = |tracked: &&Tracked| tracked.entry.status == Status::Following;
        self.files.values().filter(following).map(|tracked| View {
            entry: &tracked.entry,
            progress: routing::progress(&self.routes, &tracked.entry).collect(),
            open: tracked.is_open() || self.journals.extent(tracked.entry.incarnation).is_some(),
            away: tracked.is_open() && tracked.place != Place::AtPath,
            bytes_for_offset: self.bytes_for_offset(&tracked.entry),
            extent: match tracked.entry.journal {
                Some(_) => self.extent_of_journal(&tracked.entry),
                None => tracked.content.as_ref().and_then(extent),
            },
        })
    }
}

fn extent(content: &Content) -> Option<(u64, SystemTime)> {
    if content.is_gzip() {
        return None;
    }
    let metadata = content.metadata().ok()?;
    let since = u64::try_from(metadata.mtime()).unwrap_or_default();
    Some((metadata.len(), UNIX_EPOCH + Duration::from_secs(since)))
}
