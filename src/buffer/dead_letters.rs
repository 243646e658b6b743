//! Records that a destination will never take, kept for people.
//!
//! One file for each destination, `dead_letters/<name>.ndjson`: a JSON object a line with `time`, `destination`,
//! `reason` and the `record` as it would have been sent. A line is synced before the record is acknowledged,
//! so a record is in the buffer or here, and after a crash at worst in both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::disk::{Disk, DiskFile};
use crate::source::DestinationName;

/// The dead letters of one destination.
#[derive(Debug)]
pub struct DeadLetters {
    destination: DestinationName,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    open: Option<(Arc<dyn DiskFile>, u64)>,
}

impl DeadLetters {
    /// In `data_dir`. Nothing is made there before there is a dead letter.
    pub fn new(data_dir: &Path, destination: DestinationName, disk: Arc<dyn Disk>) -> Self {
        let path = data_dir.join("dead_letters").join(format!("{destination}.ndjson"));
        Self { destination, path, disk, open: None }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps records, all for the same reason; durable when it returns.
    ///
    /// # Errors
    ///
    /// The disk failed, and none of them counts as kept.
    pub fn keep<'a>(
        &mut self,
        reason: &str,
        records: impl Iterator<Item = &'a [u8]>,
        now: SystemTime,
    ) -> io::Result<()> {
        let time = jiff::Timestamp::try_from(now).unwrap_or_default().to_string();
        let mut lines = Vec::new();
        for record in records {
            let letter = serde_json::json!({
                "time": time,
                "destination": self.destination.as_str(),
                "reason": reason,
                "record": String::from_utf8_lossy(record),
            });
            serde_json::to_writer(&mut lines, &letter)?;
            lines.push(b'\n');
        }
        let (file, len) = match &mut self.open {
            Some(open) => open,
            None => {
                let opened = self.open_file()?;
                self.open.insert(opened)
            }
        };
        file.write_at(&[&lines], *len)?;
        file.sync()?;
        *len += lines.len() as u64;
        Ok(())
    }

    /// Opens or makes the file, and cuts off a line that a crash left without its end.
    fn open_file(&self) -> io::Result<(Arc<dyn DiskFile>, u64)> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        match self.disk.open(&self.path) {
            Ok(file) => {
                let text = std::fs::read(&self.path)?;
                let whole = memchr::memrchr(b'\n', &text).map_or(0, |newline| newline as u64 + 1);
                file.set_len(whole)?;
                Ok((file, whole))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.disk.create_folder(folder)?;
                let file = self.disk.create(&self.path)?;
                self.disk.sync_folder(folder)?;
                Ok((file, 0))
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::HostDisk;

    #[test]
    fn dead_letters_stay_whole_lines_over_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let open = || DeadLetters::new(folder.path(), "d".into(), HostDisk::shared());
        let mut letters = open();
        letters
            .keep("too large", [b"one".as_slice(), b"t\xffo"].into_iter(), SystemTime::UNIX_EPOCH)
            .unwrap();
        let path = letters.path().to_owned();
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"time\":\"torn");
        std::fs::write(&path, text).unwrap();
        open().keep("poison", [b"three".as_slice()].into_iter(), SystemTime::UNIX_EPOCH).unwrap();
        let letters: Vec<serde_json::Value> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(letters.len(), 3);
        assert_eq!(letters[1]["record"], "t\u{fffd}o");
        assert_eq!(
            (&letters[2]["reason"], &letters[2]["time"]),
            (&"poison".into(), &"1970-01-01T00:00:00Z".into())
        );
    }
}
