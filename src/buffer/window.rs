//! Mapped parts of chunks: the only `unsafe` code of the crate.
#![expect(unsafe_code, reason = "memory maps; the contract stands at `map`")]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use memmap2::MmapOptions;

/// Maps the bytes `start..end` of a chunk, read-only. They stay mapped as long as any part of the returned
/// [`Bytes`] is held.
///
/// The contract that makes it sound: bytes of a chunk that were once committed are never written again and
/// a chunk is never shortened below them (an unlinked chunk stays mapped), all writers are in this crate, and
/// the folder is 0700. So nobody changes the bytes behind the reference. `end` must not lie beyond the
/// file's length: a caller passes only what was written without error, or read by [`read_through`].
pub(super) fn map(file: &File, start: u64, end: u64) -> io::Result<Bytes> {
    let len = usize::try_from(end - start).map_err(io::Error::other)?;
    if len == 0 {
        return Ok(Bytes::new());
    }
    if file.metadata()?.len() < end {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // SAFETY: see above: committed bytes are never changed or cut off while they can be mapped.
    let map = unsafe { MmapOptions::new().offset(start).len(len).populate().map_copy_read_only(file)? };
    Ok(Bytes::from_owner(map))
}

/// Reads the bytes `start..end` and throws them away. What a disk cannot give is then an error here, where it
/// can be handled, and not a signal when the mapping is touched; what was read stays in the page cache.
pub(super) fn read_through(file: &File, start: u64, end: u64) -> io::Result<()> {
    let mut scratch = vec![0; 256 << 10];
    let mut at = start;
    while at < end {
        let want = usize::try_from(end - at).map_or(scratch.len(), |left| left.min(scratch.len()));
        match file.read_at(&mut scratch[..want], at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => at += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_window_may_begin_anywhere_and_outlives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("chunk");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        // 4 KiB on most machines, 16 or 64 KiB on some of arm64.
        let page = rustix::param::page_size();
        let content: Vec<u8> = (0..4 * page).map(|n| (n % 251) as u8).collect();
        file.write_all(&content).unwrap();
        read_through(&file, 0, content.len() as u64).unwrap();
        let starts = [0, 1, 4_095, 4_096, 4_099, page - 1, page, page + 1, 2 * page + 4_095, 3 * page];
        let ends = |start: usize| [start + 1, start + page, content.len()];
        let parts = starts.into_iter().flat_map(|start| ends(start).map(|end| start..end));
        let windows: Vec<_> =
            parts.map(|part| (map(&file, part.start as u64, part.end as u64).unwrap(), part)).collect();
        std::fs::remove_file(&path).unwrap();
        drop(file);
        for (window, part) in windows {
            assert_eq!(window, content[part.clone()], "{part:?}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_are_an_error_and_not_a_signal() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10).unwrap();
        assert!(map(&file, 0, 11).is_err());
        assert!(read_through(&file, 0, 11).is_err());
    }
}
