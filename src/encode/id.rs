//! The ids of records.

use xxhash_rust::xxh3::xxh3_128;

use crate::record::RecordId;
use crate::source::{Incarnation, Stream};

/// The id of the message that starts at `start` in a stream of a file's incarnation on a node.
///
/// XXH3 in its 128-bit form (seed 0, default secret) over 41 bytes, integers big-endian:
///
/// | bytes | what |
/// |---|---|
/// | 0..16 | the node's id, minted once and kept in `data_dir` |
/// | 16..32 | the file's incarnation |
/// | 32..40 | the offset of the message's first line in the uncompressed content |
/// | 40 | the number of the stream: 0 plain, 1 stdout, 2 stderr |
///
/// So an id does not depend on the file's name, on the route, or on how often the line was read.
pub fn record_id(node: u128, incarnation: Incarnation, start: u64, stream: Stream) -> RecordId {
    Ids::new(node, incarnation).of(start, stream)
}

/// The ids of one incarnation's records.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    input: [u8; 41],
}

impl Ids {
    pub(super) fn new(node: u128, incarnation: Incarnation) -> Self {
        let mut input = [0; 41];
        input[..16].copy_from_slice(&node.to_be_bytes());
        input[16..32].copy_from_slice(&incarnation.0.to_be_bytes());
        Self { input }
    }

    pub(super) fn of(&self, start: u64, stream: Stream) -> RecordId {
        let mut input = self.input;
        input[32..40].copy_from_slice(&start.to_be_bytes());
        input[40] = stream as u8;
        RecordId(xxh3_128(&input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_change_between_versions() {
        let id = record_id(1, Incarnation(2), 3, Stream::Stdout);
        assert_eq!(std::str::from_utf8(&id.hex()).unwrap(), "419021d11d0f5c14bb2739e65c3413b1");
    }

    #[test]
    fn whatever_differs_makes_another_id() {
        let ids = [
            record_id(1, Incarnation(2), 3, Stream::Stdout),
            record_id(2, Incarnation(2), 3, Stream::Stdout),
            record_id(1, Incarnation(3), 3, Stream::Stdout),
            record_id(1, Incarnation(2), 4, Stream::Stdout),
            record_id(1, Incarnation(2), 3, Stream::Stderr),
            record_id(1, Incarnation(2), 3, Stream::Plain),
        ];
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }
}
