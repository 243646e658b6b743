//! The ways to deliver to a destination that are worth comparing.

use crate::deliver::{Aggregation, Compression, Destination, Firehose, Kinesis, Packing};
use crate::units::ByteSize;

/// The limits of what the configuration does not say: the defaults of the reference.
const FIREHOSE_SIZE: ByteSize = ByteSize(1000 << 10);
const AGGREGATE_SIZE: ByteSize = ByteSize(50 << 10);
const COMPRESSED_AGGREGATE_SIZE: ByteSize = ByteSize(500 << 10);

/// The variants of a destination's settings, each under the name that the configuration gives it; none for local files,
/// which cost nothing. The configured way keeps its limits, the others have the defaults.
pub(super) fn of(to: &Destination) -> Option<Vec<(&'static str, Destination)>> {
    let mut variants = match to {
        Destination::Directory(_) => return None,
        Destination::Firehose(to) => firehose(to),
        Destination::Kinesis(to) => kinesis(to),
    };
    // Limits that the user set stand in their own row.
    if let Some(configured) = variants.iter_mut().find(|(_, variant)| same_way(variant, to)) {
        configured.1 = to.clone();
    }
    Some(variants)
}

fn firehose(to: &Firehose) -> Vec<(&'static str, Destination)> {
    let with = |packing, compression| Destination::Firehose(Firehose { packing, compression, ..to.clone() });
    let packed = |max_lines| Packing::Newline { max_size: FIREHOSE_SIZE, max_lines };
    vec![
        ("packing: newline", with(packed(500), Compression::None)),
        ("packing: newline, compression: gzip", with(packed(100_000), Compression::Gzip)),
        ("packing: none", with(Packing::None, Compression::None)),
    ]
}

fn kinesis(to: &Kinesis) -> Vec<(&'static str, Destination)> {
    let with =
        |aggregation, compression| Destination::Kinesis(Kinesis { aggregation, compression, ..to.clone() });
    let (usual, compressed) = (AGGREGATE_SIZE, COMPRESSED_AGGREGATE_SIZE);
    vec![
        ("aggregation: kpl", with(Aggregation::Kpl { max_size: usual }, Compression::None)),
        ("aggregation: newline", with(Aggregation::Newline { max_size: usual }, Compression::None)),
        (
            "aggregation: newline, compression: gzip",
            with(Aggregation::Newline { max_size: compressed }, Compression::Gzip),
        ),
        ("aggregation: none", with(Aggregation::None, Compression::None)),
    ]
}

/// Whether two destinations differ in limits at most.
pub(super) fn same_way(one: &Destination, other: &Destination) -> bool {
    use std::mem::discriminant;
    match (one, other) {
        (Destination::Firehose(one), Destination::Firehose(other)) => {
            discriminant(&one.packing) == discriminant(&other.packing) && one.compression == other.compression
        }
        (Destination::Kinesis(one), Destination::Kinesis(other)) => {
            discriminant(&one.aggregation) == discriminant(&other.aggregation)
                && one.compression == other.compression
        }
        _ => false,
    }
}
