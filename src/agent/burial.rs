//! Records that a destination will not get, on their way to its dead letters.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tracing::{error, warn};

use crate::buffer::{DeadLetters, Letter, Origin};
use crate::deliver::Refused;
use crate::record::Run;
use crate::source::DestinationName;

/// How long to wait before dead letters are tried again that could not be kept.
const PAUSE: Duration = Duration::from_secs(1);
/// How much waits for that at most, before no more records are taken from the buffer: others of the
/// destination go on meanwhile.
const MOST_RUNS: usize = 1000;
const MOST_BYTES: usize = 8 << 20;
/// The most that is kept with one sync.
const AT_ONCE: usize = 1 << 20;

/// The dead letters of one destination, and records that wait to become some: they stay in the buffer.
pub(super) struct Burial {
    destination: DestinationName,
    letters: DeadLetters,
    waiting: Vec<Refused>,
    again: Option<Instant>,
}

impl Burial {
    pub(super) fn new(destination: DestinationName, letters: DeadLetters) -> Self {
        Self { destination, letters, waiting: Vec::new(), again: None }
    }

    /// Makes dead letters of these, and of those that wait and are due. Returns what may leave the buffer.
    pub(super) fn bury(&mut self, refused: Vec<Refused>, now: Instant, wall: SystemTime) -> Vec<Run> {
        self.waiting.extend(refused);
        if self.waiting.is_empty() || self.again.is_some_and(|again| now < again) {
            return Vec::new();
        }
        self.again = None;
        let mut buried = Vec::new();
        while !self.waiting.is_empty() {
            let mut bytes = 0;
            let count = self.waiting.iter().take_while(|letter| {
                let fits = bytes == 0 || bytes + letter.run.data().len() <= AT_ONCE;
                bytes += letter.run.data().len();
                fits
            });
            let count = count.count();
            if let Err(error) = self.letters.keep(self.waiting[..count].iter().flat_map(letters_of), wall) {
                error!(event = "dead_letter_failed", destination = %self.destination, waiting = self.waiting.len(), %error,
                    "dead letters cannot be kept; their records stay in the buffer, and it is tried again");
                self.again = Some(now + PAUSE);
                break;
            }
            buried.extend(self.waiting.drain(..count).map(|letter| {
                // What the service says of a record may quote it: that is in the letter, and not in the log.
                warn!(event = "dead_letter", destination = %self.destination, records = letter.run.len(),
                    reason = letter.reason.word(), code = letter.reason.code(), folder = %self.letters.folder().display(),
                    "records that the destination will not get are kept as dead letters");
                letter.run
            }));
        }
        buried
    }

    /// Gives up what waits.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.again = None;
    }

    /// When what waits is tried again; none if nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }

    /// Whether so much waits that no more records may be taken on.
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= MOST_RUNS || bytes_of(&self.waiting) >= MOST_BYTES
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// The bytes of records that were refused.
pub(super) fn bytes_of(refused: &[Refused]) -> usize {
    refused.iter().map(|letter| letter.run.data().len()).sum()
}

fn letters_of(refused: &Refused) -> impl Iterator<Item = Letter<'_>> {
    let Refused { run, reason } = refused;
    (0..run.len()).map(|index| {
        let record = run.record(index);
        Letter {
            reason: reason.word(),
            detail: reason.to_string(),
            origin: Origin::of_record(record),
            record: String::from_utf8_lossy(record).into_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::buffer::{DeadLetterSettings, WhenFull};
    use crate::deliver::Reason;
    use crate::disk::HostDisk;
    use crate::units::ByteSize;

    /// One record of so many bytes.
    fn refused(number: u32, bytes: usize) -> Refused {
        let data = format!("{{\"record_id\":\"{number}\",\"log\":\"{}\"}}\n", "x".repeat(bytes));
        let end = u32::try_from(data.len()).unwrap();
        let run = Run::new(
            7,
            number,
            Bytes::copy_from_slice(&end.to_le_bytes()),
            data.into(),
            SystemTime::UNIX_EPOCH,
        );
        Refused { run, reason: Reason::TooLarge { size: bytes, limit: 1 } }
    }

    fn ordinals(runs: &[Run]) -> Vec<u32> {
        runs.iter().flat_map(Run::ordinals).collect()
    }

    #[test]
    fn a_record_stays_in_the_buffer_while_its_dead_letter_has_no_room_and_goes_when_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let settings = DeadLetterSettings { max_size: ByteSize(1 << 20), when_full: WhenFull::Block };
        let letters = DeadLetters::new(folder.path(), "d".into(), settings, HostDisk::shared());
        let place = letters.folder();
        let mut burial = Burial::new("d".into(), letters);
        let (mut now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        assert_eq!(ordinals(&burial.bury(vec![refused(0, 600_000)], now, wall)), [0]);
        assert!(burial.bury(vec![refused(1, 600_000)], now, wall).is_empty());
        assert_eq!(burial.due(), Some(now + PAUSE));
        assert!(!burial.is_empty() && !burial.is_full(), "others go on");
        std::fs::remove_file(place.join("0000000001.ndjson")).unwrap();
        assert!(burial.bury(vec![refused(2, 10)], now, wall).is_empty(), "not before it is due");
        now += PAUSE;
        assert_eq!(ordinals(&burial.bury(Vec::new(), now, wall)), [1, 2]);
        assert!(burial.is_empty() && burial.due().is_none());
        let kept = std::fs::read_to_string(place.join("0000000001.ndjson")).unwrap();
        assert_eq!(kept.lines().count(), 2);
        let letter: serde_json::Value = serde_json::from_str(kept.lines().next().unwrap()).unwrap();
        assert_eq!((&letter["reason"], &letter["origin"]["record_id"]), (&"too_large".into(), &"1".into()));
    }

    #[test]
    fn what_waits_for_room_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dead_letters"), "a file in the way").unwrap();
        let letters =
            DeadLetters::new(folder.path(), "d".into(), DeadLetterSettings::default(), HostDisk::shared());
        let mut burial = Burial::new("d".into(), letters);
        let (now, wall) = (Instant::now(), SystemTime::UNIX_EPOCH);
        let mut held = 0;
        while !burial.is_full() {
            assert!(burial.bury(vec![refused(held, 10_000)], now, wall).is_empty());
            held += 1;
        }
        assert!(held <= 1000, "{held} records wait");
    }
}
