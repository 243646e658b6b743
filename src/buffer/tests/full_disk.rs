//! A disk without room.

use super::super::*;
use super::{Bench, lines};
use crate::disk::sim::{SimDisk, Weather};

#[test]
fn a_chunk_that_was_begun_can_be_filled_and_closed_on_a_full_disk() {
    let mut bench = Bench::new(20_000);
    let disk = SimDisk::over(bench.folder.path(), 1);
    bench.disk = disk.shared();
    let mut live = bench.open(None, Chain::default());
    assert!(matches!(live.append(1, 0, 100), Append::Done));
    disk.set(Weather::Full);
    let mut line = 100;
    let error = loop {
        match live.append(1, line, line + 100) {
            Append::Done => line += 100,
            Append::Failed(error) => break error,
            Append::Full(_) => panic!("the buffer has room"),
        }
    };
    // The next chunk finds no room; the first is full and closed.
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    let chunks = bench.chunks();
    let len = std::fs::metadata(&chunks[0]).unwrap().len();
    assert!(chunks.len() == 1 && len > 19_000, "{chunks:?}, {len} bytes");
    assert_eq!(live.opened.queue.sync_point().files.len(), 1);
    assert_eq!(live.read(), lines(1, 0..line));
    disk.set(Weather::Fine);
    assert!(matches!(live.append(1, line, line + 100), Append::Done));
    assert_eq!(live.read(), lines(1, line..line + 100));
}
