//! Putting files of a queue aside, with a report of what is known of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::frame::{self, CHUNK_HEADER};
use super::queue::Shared;
use super::walk::salvage;
use crate::disk::{Report, quarantine, read_exact_at};

/// Moves a chunk that cannot be read, or not wholly, out of the way.
pub(super) fn put_aside_chunk(shared: &Shared, path: &Path, reason: String) -> io::Result<PathBuf> {
    put_aside(shared, path, &Report { kind: "chunk", reason, found: found(path) })
}

/// Moves a file of a queue's folder out of the way.
pub(super) fn put_aside(shared: &Shared, path: &Path, report: &Report) -> io::Result<PathBuf> {
    quarantine(&*shared.disk, &shared.data_dir, path, &format!("{}-", shared.name), report)
}

/// What whole frames tell. The salt is where it would be even if the header is damaged: frames that match it
/// prove it.
fn found(path: &Path) -> Value {
    let mut header = [0; CHUNK_HEADER];
    if File::open(path).and_then(|file| read_exact_at(&file, &mut header, 0)).is_err() {
        return Value::Null;
    }
    let (mut frames, mut records) = (0_u64, 0_u64);
    let mut files: BTreeMap<String, Value> = BTreeMap::new();
    let walked = salvage(path, frame::salt_of(&header), |frame, source| {
        frames += 1;
        records += u64::from(frame.records);
        let file = files.entry(frame.incarnation.to_string()).or_insert_with(|| {
            let source: Value = serde_json::from_slice(source).unwrap_or_default();
            json!({"path": source["path"], "from": frame.from.offset, "records": 0})
        });
        file["to"] = frame.to.offset.into();
        file["records"] = (file["records"].as_u64().unwrap_or_default() + u64::from(frame.records)).into();
    });
    let unread = walked.err().map(|error| error.to_string());
    json!({"whole_frames": frames, "records": records, "files": files, "error": unread})
}
