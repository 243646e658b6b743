//! The ids of records.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::record::RecordId;
use crate::source::{Incarnation, RouteName, Stream};

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
///
/// A file may fall under several routes, each of which makes a record of its own of a message. Those of the first have
/// this id; for those of a further one, `further`, the seed is the XXH3 of 64 bits of the route's name.
pub fn record_id(
    node: u128,
    incarnation: Incarnation,
    further: Option<&RouteName>,
    start: u64,
    stream: Stream,
) -> RecordId {
    Ids::new(node, incarnation).under(further).of(start, stream)
}

/// The ids of one incarnation's records.
#[derive(Clone, Debug)]
pub(super) struct Ids {
    input: [u8; 41],
    seed: u64,
}

impl Ids {
    pub(super) fn new(node: u128, incarnation: Incarnation) -> Self {
        let mut input = [0; 41];
        input[..16].copy_from_slice(&node.to_be_bytes());
        input[16..32].copy_from_slice(&incarnation.0.to_be_bytes());
        Self { input, seed: 0 }
    }

    /// The same for the records of a further route of the file.
    pub(super) fn under(mut self, further: Option<&RouteName>) -> Self {
        self.seed = further.map_or(0, |route| xxh3_64(route.as_str().as_bytes()));
        self
    }

    pub(super) fn of(&self, start: u64, stream: Stream) -> RecordId {
        let mut input = self.input;
        input[32..40].copy_from_slice(&start.to_be_bytes());
        input[40] = stream as u8;
        RecordId(xxh3_128_with_seed(&input, self.seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_do_not_change_between_versions() {
        let id = record_id(1, Incarnation(2), None, 3, Stream::Stdout);
        assert_eq!(std::str::from_utf8(&id.hex()).unwrap(), "419021d11d0f5c14bb2739e65c3413b1");
        let id = record_id(1, Incarnation(2), Some(&"audit".into()), 3, Stream::Stdout);
        assert_eq!(std::str::from_utf8(&id.hex()).unwrap(), "9f9cc0c50024143531c81b87510667b3");
    }

    #[test]
    fn whatever_differs_makes_another_id() {
        let ids = [
            record_id(1, Incarnation(2), None, 3, Stream::Stdout),
            record_id(2, Incarnation(2), None, 3, Stream::Stdout),
            record_id(1, Incarnation(3), None, 3, Stream::Stdout),
            record_id(1, Incarnation(2), None, 4, Stream::Stdout),
            record_id(1, Incarnation(2), None, 3, Stream::Stderr),
            record_id(1, Incarnation(2), None, 3, Stream::Plain),
            record_id(1, Incarnation(2), Some(&"a".into()), 3, Stream::Stdout),
            record_id(1, Incarnation(2), Some(&"b".into()), 3, Stream::Stdout),
        ];
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len());
    }
}
