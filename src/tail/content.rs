//! The bytes of a followed file, plain or gzip, by their offset in the uncompressed content.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::identity::{Fingerprint, Proof, read_full_at};
use super::siblings::is_gzip;

/// An open file.
#[derive(Debug)]
pub struct Content {
    file: File,
    /// A rotated file that was compressed, and how far it was decompressed.
    gzip: Option<(MultiGzDecoder<File>, u64)>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// This many bytes, to the end of the file as it is now if fewer than were asked for.
    Bytes(usize),
    /// The bytes before the offset are not those that were read before: the file was truncated or replaced.
    Replaced,
}

impl Content {
    /// Takes an open file; whether it is gzip is seen by its first bytes and only if `may_be_gzip`.
    pub fn new(file: File, may_be_gzip: bool) -> io::Result<Self> {
        let mut magic = [0; 3];
        let read = if may_be_gzip { read_full_at(&file, &mut magic, 0)? } else { 0 };
        let gzip =
            if is_gzip(&magic[..read]) { Some((MultiGzDecoder::new(file.try_clone()?), 0)) } else { None };
        Ok(Self { file, gzip })
    }

    /// Whether it is compressed, and so will not grow.
    pub fn is_gzip(&self) -> bool {
        self.gzip.is_some()
    }

    /// The file itself.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Where the open file is now, as far as the kernel tells.
    pub fn path_now(&self) -> Option<std::path::PathBuf> {
        use std::os::fd::AsRawFd;
        std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).ok()
    }

    /// The first bytes, as many as a fingerprint covers.
    pub fn beginning(&mut self) -> io::Result<Vec<u8>> {
        let mut beginning = vec![0; Fingerprint::FULL];
        let read = if self.gzip.is_some() {
            self.gzip_read(&mut beginning, 0)?
        } else {
            read_full_at(&self.file, &mut beginning, 0)?
        };
        beginning.truncate(read);
        Ok(beginning)
    }

    /// A proof of where it ends now. A compressed file is read through for it.
    pub fn end(&mut self) -> io::Result<Proof> {
        if self.gzip.is_none() {
            let len = self.metadata()?.len();
            let start = len.saturating_sub(Proof::FULL as u64);
            let mut tail = vec![0; (len - start) as usize];
            let read = read_full_at(&self.file, &mut tail, start)?;
            return Ok(Proof::of(&tail[..read], start + read as u64));
        }
        let mut block = vec![0; 64 << 10];
        let (mut tail, mut at) = (Vec::new(), 0);
        loop {
            let read = self.gzip_read(&mut block, at)?;
            at += read as u64;
            tail.extend_from_slice(&block[..read]);
            tail.drain(..tail.len().saturating_sub(Proof::FULL));
            if read < block.len() {
                return Ok(Proof::of(&tail, at));
            }
        }
    }

    /// Whether the bytes before this offset are those of the proof.
    pub fn holds(&mut self, proof: &Proof) -> io::Result<bool> {
        let mut nothing = Vec::new();
        Ok(self.read(proof, 0, &mut nothing)? == ReadOutcome::Bytes(0))
    }

    /// Whether it is the content that had this fingerprint and this proof.
    pub fn is(&mut self, fingerprint: Fingerprint, proof: &Proof) -> io::Result<bool> {
        if !fingerprint.matches(&self.beginning()?) {
            return Ok(false);
        }
        self.holds(proof)
    }

    /// Reads up to `want` bytes at the offset of the proof into `buffer`, in place of what is there, after
    /// making sure that the bytes before the offset are still those of the proof.
    pub fn read(&mut self, proof: &Proof, want: usize, buffer: &mut Vec<u8>) -> io::Result<ReadOutcome> {
        let before = usize::from(proof.len);
        buffer.resize(before + want, 0);
        let read = if self.gzip.is_some() {
            self.gzip_read(buffer, proof.start())?
        } else {
            read_full_at(&self.file, buffer, proof.start())?
        };
        buffer.truncate(read);
        if read < before || !proof.holds(&buffer[..before]) {
            return Ok(ReadOutcome::Replaced);
        }
        buffer.drain(..before);
        Ok(ReadOutcome::Bytes(buffer.len()))
    }

    fn gzip_read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (decoder, at) = self.gzip.as_mut().expect("called for gzip only");
        if *at > offset {
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            (*decoder, *at) = (MultiGzDecoder::new(file), 0);
        }
        let read = inflate(decoder, buffer, offset - *at);
        // After an error it is anywhere: the next read begins anew.
        *at = read.as_ref().map_or(u64::MAX, |(passed, filled)| *at + passed + *filled as u64);
        read.map(|(_, filled)| filled)
    }
}

/// Passes over `skip` bytes and fills the buffer as far as it can. Returns how many it passed and filled.
fn inflate(decoder: &mut MultiGzDecoder<File>, buffer: &mut [u8], skip: u64) -> io::Result<(u64, usize)> {
    let passed = io::copy(&mut decoder.by_ref().take(skip), &mut io::sink())?;
    let mut filled = 0;
    while passed == skip && filled < buffer.len() {
        match decoder.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((passed, filled))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn contents(text: &[u8]) -> [Content; 2] {
        let plain = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(plain.path(), text).unwrap();
        let packed = tempfile::NamedTempFile::new().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        std::fs::write(packed.path(), encoder.finish().unwrap()).unwrap();
        [plain, packed].map(|file| Content::new(File::open(file.path()).unwrap(), true).unwrap())
    }

    #[test]
    fn a_compressed_file_reads_like_the_plain_one_in_any_order() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let [mut plain, mut packed] = contents(&text);
        assert!(packed.is_gzip() && !plain.is_gzip());
        for at in [0, 5000, 799_990, 70_000, 70_100] {
            let proof = Proof::of(&text[..at], at as u64);
            let (mut one, mut two) = (Vec::new(), Vec::new());
            assert_eq!(
                plain.read(&proof, 100, &mut one).unwrap(),
                packed.read(&proof, 100, &mut two).unwrap()
            );
            assert_eq!(one, two);
            assert_eq!(one, text[at..(at + 100).min(text.len())]);
        }
    }

    #[test]
    fn a_file_that_shrank_or_changed_before_the_offset_is_not_read() {
        let [mut plain, mut packed] = contents(b"one\ntwo\n");
        for content in [&mut plain, &mut packed] {
            let mut buffer = Vec::new();
            for proof in [Proof::of(b"one\ntoo\n", 8), Proof::of(b"one\ntwo\nthree\n", 14)] {
                assert_eq!(content.read(&proof, 10, &mut buffer).unwrap(), ReadOutcome::Replaced);
            }
            assert_eq!(
                content.read(&Proof::of(b"one\n", 4), 10, &mut buffer).unwrap(),
                ReadOutcome::Bytes(4)
            );
            assert_eq!(buffer, b"two\n");
        }
    }
}
