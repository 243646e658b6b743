//! The bytes of a chunk.
//!
//! ```text
//! chunk   header (64) │ frame │ frame │ … │ footer (32, once sealed)
//! frame   header (128) │ source │ ends (4 a record) │ data
//! ```
//!
//! All numbers are little-endian. A frame holds the records that one turn made of one file, and, under
//! checksums of its own, what that turn means for the file's position: `from` is where the file stood in this
//! destination's buffer before, `to` where it stands with the frame. `from` of a frame is `to` of the file's
//! last one, so a frame that is missing, wherever it was, shows as a break in the chain.
//!
//! | chunk header | | |
//! |---|---|---|
//! | 0 | magic | `FF 'K' 'T' 'L' 'C' 'H' 'K' 0A`: a byte that is never in text, and one that a text-mode copy would change |
//! | 8 | version | 1; magic and version lie there in every version |
//! | 12 | salt | random; part of every frame header's checksum, so that no log line can pass for a frame |
//! | 16 | number | the chunk's number, which is also its name |
//! | 24 | created | milliseconds since 1970 |
//! | 32 | destination | xxh3 of its name, so that a chunk moved into another folder is noticed |
//! | 40 | – | zero |
//! | 60 | checksum | CRC-32 of bytes 0..60 |
//!
//! | frame header | | |
//! |---|---|---|
//! | 0 | magic | `FF 'K' 'F' 'R'` |
//! | 4 | checksum | CRC-32 of bytes 8..128 and the salt |
//! | 8 | body length | of source, ends and data |
//! | 12 | body checksum | CRC-32 |
//! | 16 | turn | grows with every turn of the agent, over all destinations and restarts |
//! | 24 | appended | milliseconds since 1970 |
//! | 32 | first | the number of its first record in the chunk |
//! | 36 | records | |
//! | 40 | source length | |
//! | 44 | flags | 1: `from` is mid-line; 2: `to` is mid-line; 4: a repair, outside the file's chain |
//! | 48 | incarnation | of the file |
//! | 64 | from | offset, then where the groups of the three streams began (all ones: none) |
//! | 96 | to | likewise |
//!
//! | footer | | |
//! |---|---|---|
//! | 0 | magic | `FF 'K' 'E' 'N'` |
//! | 4 | records | in the chunk |
//! | 8 | length | of the chunk without the footer |
//! | 16 | oldest | when its first record was appended, milliseconds since 1970 |
//! | 24 | – | zero |
//! | 28 | checksum | CRC-32 of bytes 0..28 and the salt |

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::source::{Incarnation, OpenGroup, Position, Stream};

/// The version that is written, and the only one so far.
pub const VERSION: u32 = 1;
pub const CHUNK_HEADER: usize = 64;
pub const FRAME_HEADER: usize = 128;
pub const FOOTER: usize = 32;

const CHUNK_MAGIC: [u8; 8] = *b"\xFFKTLCHK\n";
const FRAME_MAGIC: [u8; 4] = *b"\xFFKFR";
const FOOTER_MAGIC: [u8; 4] = *b"\xFFKEN";
const NO_GROUP: u64 = u64::MAX;

/// A body is at most this long: a turn's records stay far below, and a damaged length is noticed before it is
/// believed.
pub const MAX_BODY: u32 = 1 << 30;

/// The beginning of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    pub salt: u32,
    pub number: u64,
    pub created: u64,
    pub destination: u64,
}

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    #[error("not a chunk")]
    NotAChunk,
    #[error("a chunk of version {0}, which this kinetail cannot read")]
    Version(u32),
    #[error("a checksum does not match")]
    Checksum,
    #[error("the end is missing")]
    Short,
    #[error("the disk cannot read it")]
    Unreadable,
}

impl ChunkHeader {
    pub fn encode(&self) -> [u8; CHUNK_HEADER] {
        let mut out = [0; CHUNK_HEADER];
        out[0..8].copy_from_slice(&CHUNK_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.salt.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.created.to_le_bytes());
        out[32..40].copy_from_slice(&self.destination.to_le_bytes());
        let checksum = crc32fast::hash(&out[..60]);
        out[60..64].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes = bytes.get(..CHUNK_HEADER).ok_or(FormatError::Short)?;
        if bytes[0..8] != CHUNK_MAGIC {
            return Err(FormatError::NotAChunk);
        }
        let version = u32_at(bytes, 8);
        // Of a newer version no more is known than where it says so.
        if version > VERSION && version <= u32::from(u8::MAX) {
            return Err(FormatError::Version(version));
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(FormatError::Checksum);
        }
        if version != VERSION {
            return Err(FormatError::Version(version));
        }
        Ok(Self {
            salt: u32_at(bytes, 12),
            number: u64_at(bytes, 16),
            created: u64_at(bytes, 24),
            destination: u64_at(bytes, 32),
        })
    }
}

/// The beginning of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub body_len: u32,
    pub body_crc: u32,
    pub turn: u64,
    pub appended: u64,
    pub first: u32,
    pub records: u32,
    pub source_len: u32,
    pub repair: bool,
    pub incarnation: Incarnation,
    pub from: Position,
    pub to: Position,
}

impl FrameHeader {
    pub fn encode(&self, salt: u32) -> [u8; FRAME_HEADER] {
        let mut out = [0; FRAME_HEADER];
        out[0..4].copy_from_slice(&FRAME_MAGIC);
        out[8..12].copy_from_slice(&self.body_len.to_le_bytes());
        out[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        out[16..24].copy_from_slice(&self.turn.to_le_bytes());
        out[24..32].copy_from_slice(&self.appended.to_le_bytes());
        out[32..36].copy_from_slice(&self.first.to_le_bytes());
        out[36..40].copy_from_slice(&self.records.to_le_bytes());
        out[40..44].copy_from_slice(&self.source_len.to_le_bytes());
        let flags =
            u32::from(self.from.mid_line) | u32::from(self.to.mid_line) << 1 | u32::from(self.repair) << 2;
        out[44..48].copy_from_slice(&flags.to_le_bytes());
        out[48..64].copy_from_slice(&self.incarnation.0.to_le_bytes());
        encode_position(&self.from, &mut out[64..96]);
        encode_position(&self.to, &mut out[96..128]);
        let checksum = salted_crc(&out[8..], salt);
        out[4..8].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8], salt: u32) -> Result<Self, FormatError> {
        let bytes = bytes.get(..FRAME_HEADER).ok_or(FormatError::Short)?;
        if bytes[0..4] != FRAME_MAGIC || salted_crc(&bytes[8..], salt) != u32_at(bytes, 4) {
            return Err(FormatError::Checksum);
        }
        let flags = u32_at(bytes, 44);
        let header = Self {
            body_len: u32_at(bytes, 8),
            body_crc: u32_at(bytes, 12),
            turn: u64_at(bytes, 16),
            appended: u64_at(bytes, 24),
            first: u32_at(bytes, 32),
            records: u32_at(bytes, 36),
            source_len: u32_at(bytes, 40),
            repair: flags & 4 != 0,
            incarnation: Incarnation(u128::from_le_bytes(bytes[48..64].try_into().expect("16 bytes"))),
            from: decode_position(&bytes[64..96], flags & 1 != 0),
            to: decode_position(&bytes[96..128], flags & 2 != 0),
        };
        let fixed = u64::from(header.source_len) + 4 * u64::from(header.records);
        let numbers = header.first.checked_add(header.records);
        if header.body_len > MAX_BODY || fixed > u64::from(header.body_len) || numbers.is_none() {
            return Err(FormatError::Checksum);
        }
        Ok(header)
    }

    /// Header and body.
    pub fn frame_len(&self) -> u64 {
        FRAME_HEADER as u64 + u64::from(self.body_len)
    }
}

/// Checks a body against its header: the checksum, and that the ends grow and close with the data.
pub fn check_body(header: &FrameHeader, body: &[u8]) -> Result<(), FormatError> {
    if body.len() != header.body_len as usize {
        return Err(FormatError::Short);
    }
    if crc32fast::hash(body) != header.body_crc {
        return Err(FormatError::Checksum);
    }
    let ends_at = header.source_len as usize;
    let data_at = ends_at + 4 * header.records as usize;
    let mut last = 0;
    for end in body[ends_at..data_at].as_chunks::<4>().0 {
        let end = u32::from_le_bytes(*end);
        if end <= last {
            return Err(FormatError::Checksum);
        }
        last = end;
    }
    if last as usize == body.len() - data_at { Ok(()) } else { Err(FormatError::Checksum) }
}

/// Where a chunk's header says its salt, whether or not the rest of it can be believed.
pub fn salt_of(header: &[u8; CHUNK_HEADER]) -> u32 {
    u32_at(header, 12)
}

/// Where the next frame header could begin in bytes that are damaged at their start.
pub fn find_frame(bytes: &[u8], salt: u32) -> Option<usize> {
    memchr::memmem::find_iter(bytes, &FRAME_MAGIC).find(|at| FrameHeader::decode(&bytes[*at..], salt).is_ok())
}

/// The end of a sealed chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    pub records: u32,
    pub len: u64,
    pub oldest: u64,
}

impl Footer {
    pub fn encode(&self, salt: u32) -> [u8; FOOTER] {
        let mut out = [0; FOOTER];
        out[0..4].copy_from_slice(&FOOTER_MAGIC);
        out[4..8].copy_from_slice(&self.records.to_le_bytes());
        out[8..16].copy_from_slice(&self.len.to_le_bytes());
        out[16..24].copy_from_slice(&self.oldest.to_le_bytes());
        let checksum = salted_crc(&out[..28], salt);
        out[28..32].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8], salt: u32) -> Result<Self, FormatError> {
        let bytes = bytes.get(..FOOTER).ok_or(FormatError::Short)?;
        if bytes[0..4] != FOOTER_MAGIC || salted_crc(&bytes[..28], salt) != u32_at(bytes, 28) {
            return Err(FormatError::Checksum);
        }
        Ok(Self { records: u32_at(bytes, 4), len: u64_at(bytes, 8), oldest: u64_at(bytes, 16) })
    }
}

/// Milliseconds since 1970, as stored.
pub fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The time that was stored.
pub fn from_millis(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

fn encode_position(position: &Position, out: &mut [u8]) {
    out[0..8].copy_from_slice(&position.offset.to_le_bytes());
    for (stream, slot) in Stream::ALL.into_iter().zip(out[8..].chunks_exact_mut(8)) {
        let start =
            position.open.iter().find(|group| group.stream == stream).map_or(NO_GROUP, |group| group.start);
        slot.copy_from_slice(&start.to_le_bytes());
    }
}

fn decode_position(bytes: &[u8], mid_line: bool) -> Position {
    let open = Stream::ALL
        .into_iter()
        .enumerate()
        .map(|(index, stream)| OpenGroup { stream, start: u64_at(bytes, 8 + 8 * index) })
        .filter(|group| group.start != NO_GROUP)
        .collect();
    Position { offset: u64_at(bytes, 0), mid_line, open }
}

fn salted_crc(bytes: &[u8], salt: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes);
    hasher.update(&salt.to_le_bytes());
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position() -> impl Strategy<Value = Position> {
        (0..u64::MAX, any::<bool>(), proptest::collection::vec(0..NO_GROUP, 0..=3)).prop_map(
            |(offset, mid_line, starts)| Position {
                offset,
                mid_line,
                open: Stream::ALL
                    .into_iter()
                    .zip(starts)
                    .map(|(stream, start)| OpenGroup { stream, start })
                    .collect(),
            },
        )
    }

    fn frame_header() -> impl Strategy<Value = FrameHeader> {
        (position(), position(), any::<(u32, u64, u64, u32, bool, u128)>(), 0..1000_u32, 0..1000_u32)
            .prop_map(
                |(from, to, (body_crc, turn, appended, first, repair, incarnation), records, source_len)| {
                    FrameHeader {
                        body_len: source_len + 4 * records + 17,
                        body_crc,
                        turn,
                        appended,
                        // Numbers of records do not go beyond 32 bits.
                        first: first & 0xff_ffff,
                        records,
                        source_len,
                        repair,
                        incarnation: Incarnation(incarnation),
                        from,
                        to,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn a_frame_header_reads_back_as_written(header in frame_header(), salt: u32) {
            prop_assert_eq!(FrameHeader::decode(&header.encode(salt), salt), Ok(header));
        }

        #[test]
        fn a_flipped_bit_in_a_frame_header_is_noticed(header in frame_header(), salt: u32, bit in 0..FRAME_HEADER * 8) {
            let mut bytes = header.encode(salt);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(FrameHeader::decode(&bytes, salt).is_err());
        }

        #[test]
        fn a_frame_of_another_chunk_is_no_frame_of_this_one(header in frame_header(), salt: u32, other: u32) {
            prop_assume!(salt != other);
            prop_assert!(FrameHeader::decode(&header.encode(salt), other).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_in_a_chunk_header_or_footer_is_noticed() {
        let header = ChunkHeader { salt: 1, number: 2, created: 3, destination: 4 };
        assert_eq!(ChunkHeader::decode(&header.encode()), Ok(header));
        let footer = Footer { records: 1, len: 2, oldest: 3 };
        assert_eq!(Footer::decode(&footer.encode(9), 9), Ok(footer));
        for bit in 0..CHUNK_HEADER * 8 {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(ChunkHeader::decode(&bytes).is_err());
        }
        for bit in 0..FOOTER * 8 {
            let mut bytes = footer.encode(9);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Footer::decode(&bytes, 9).is_err());
        }
    }

    #[test]
    fn a_frame_whose_numbers_of_records_are_impossible_is_refused() {
        let header = FrameHeader {
            body_len: 100,
            body_crc: 0,
            turn: 1,
            appended: 0,
            first: u32::MAX,
            records: 2,
            source_len: 0,
            repair: false,
            incarnation: Incarnation(1),
            from: Position::at(0),
            to: Position::at(1),
        };
        assert_eq!(FrameHeader::decode(&header.encode(3), 3), Err(FormatError::Checksum));
    }

    #[test]
    fn a_chunk_of_a_newer_version_is_told_from_a_damaged_one() {
        let mut bytes = ChunkHeader { salt: 1, number: 2, created: 3, destination: 4 }.encode();
        bytes[8..12].copy_from_slice(&7_u32.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(ChunkHeader::decode(&bytes), Err(FormatError::Version(7)));
    }
}
