//! gzip members. Members put one behind the other are one valid gzip file, so what is compressed piece by piece and
//! joined by a service, or by appending to a file, is read as a whole (RFC 1952, section 2.2).

use std::io::Write as _;

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use super::settings::Compression;

/// These bytes as one member.
pub(super) fn member<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Level::default());
    let written = pieces.try_for_each(|piece| gzip.write_all(piece));
    written.and_then(|()| gzip.finish()).expect("memory takes what is written to it")
}

/// The most bytes that a member of at most `size` may be made of, whatever they are. What cannot be compressed is
/// stored: 5 bytes for each block of at least 16 KiB, and 18 for the member (RFC 1951 and 1952).
pub(super) fn content_within(size: usize) -> usize {
    size.saturating_sub(64 + size / 2048)
}

/// A payload as it is sent.
pub(super) fn as_sent(payload: Vec<u8>, compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => payload,
        Compression::Gzip => member(std::iter::once(payload.as_slice())),
    }
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
            let made = member(content.chunks(10_007));
            assert!(made.len() <= size, "{} bytes of {size}", made.len());
        }
    }

    #[test]
    fn members_behind_each_other_are_one_file() {
        let members =
            [member([b"a\n".as_slice(), b"b\n"].into_iter()), member([b"c\n".as_slice()].into_iter())];
        let file: Vec<u8> = members.into_iter().flatten().collect();
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(&file[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\nc\n");
    }
}
