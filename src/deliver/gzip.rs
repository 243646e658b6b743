//! gzip members. Members put one behind the other are one valid gzip file, so what is compressed piece by piece and
//! joined by a service, or by appending to a file, is read as a whole (RFC 1952, section 2.2).

use std::io::{self, Write as _};

use flate2::Compression;
use flate2::write::GzEncoder;

/// These bytes as one member.
///
/// # Errors
///
/// As the encoder's, none in memory.
pub(super) fn member<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    for piece in pieces {
        gzip.write_all(piece)?;
    }
    gzip.finish()
}

/// The most bytes that a member of at most `size` may be made of, whatever they are. What cannot be compressed is
/// stored: 5 bytes for each block of at least 16 KiB, and 18 for the member (RFC 1951 and 1952).
pub(super) fn content_within(size: usize) -> usize {
    size.saturating_sub(64 + size / 2048)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_cannot_be_compressed_stays_within_the_size() {
        let mut rng = fastrand::Rng::with_seed(1);
        for size in [200, 5_000, 100_000, 1_024_000, 10 << 20] {
            let content: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(content_within(size)).collect();
            let made = member(content.chunks(10_007)).unwrap();
            assert!(made.len() <= size, "{} bytes of {size}", made.len());
        }
    }

    #[test]
    fn members_behind_each_other_are_one_file() {
        let members =
            [member([b"a\n".as_slice(), b"b\n"].into_iter()), member([b"c\n".as_slice()].into_iter())];
        let file: Vec<u8> = members.into_iter().flat_map(Result::unwrap).collect();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&file[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\nc\n");
    }
}
