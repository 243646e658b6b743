//! The bytes of an aggregate: many records in one of a data stream, as the Kinesis Producer Library (KPL) writes
//! them and the Kinesis Client Library, Lambda's de-aggregation modules and Firehose take them apart.
//!
//! ```text
//! F3 89 9A C2 │ AggregatedRecord (protobuf) │ MD5 of that message (16)
//!
//! AggregatedRecord   1  partition_key_table      one key: that of the aggregate itself
//!                    2  explicit_hash_key_table  that of the aggregate itself, if it has one
//!                    3  records                  …
//! Record             1  partition_key_index      always 0
//!                    2  explicit_hash_key_index  always 0, if there is one
//!                    3  data
//! ```
//!
//! (`messages.proto` and `aggregation-format.md` of the Kinesis Producer Library.)
//!
//! A consumer drops a record out of an aggregate whose key falls outside of the shard that it reads. Here all
//! records of an aggregate have one key, which is also the aggregate's own; so they are in the shard that their
//! key falls into, after any resharding too, and no map of the shards is needed.

use md5::{Digest as _, Md5};

/// What an aggregate begins with.
const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const CHECKSUM: usize = 16;

const KEY_TABLE: u8 = 1 << 3 | LEN;
const HASH_KEY_TABLE: u8 = 2 << 3 | LEN;
const RECORDS: u8 = 3 << 3 | LEN;
const KEY_INDEX: u8 = 1 << 3;
const HASH_KEY_INDEX: u8 = 2 << 3;
const DATA: u8 = 3 << 3 | LEN;
/// Protobuf's wire type of what has a length.
const LEN: u8 = 2;

/// The bytes of an aggregate without its records, for keys of these lengths.
pub(super) fn envelope_size(key: usize, hash_key: Option<usize>) -> usize {
    MAGIC.len() + delimited_size(key) + hash_key.map_or(0, delimited_size) + CHECKSUM
}

/// The bytes that a record of this length takes in an aggregate.
pub(super) fn record_size(data: usize, hash_key: bool) -> usize {
    delimited_size(message_size(data, hash_key))
}

/// Appends an aggregate of these records.
pub(super) fn encode<'a>(
    key: &str,
    hash_key: Option<&str>,
    records: impl Iterator<Item = &'a [u8]>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&MAGIC);
    let start = out.len();
    delimited(KEY_TABLE, key.as_bytes(), out);
    if let Some(hash_key) = hash_key {
        delimited(HASH_KEY_TABLE, hash_key.as_bytes(), out);
    }
    for record in records {
        out.push(RECORDS);
        varint(message_size(record.len(), hash_key.is_some()), out);
        out.extend_from_slice(&[KEY_INDEX, 0]);
        if hash_key.is_some() {
            out.extend_from_slice(&[HASH_KEY_INDEX, 0]);
        }
        delimited(DATA, record, out);
    }
    let checksum = Md5::digest(&out[start..]);
    out.extend_from_slice(&checksum);
}

/// The bytes of a `Record`.
fn message_size(data: usize, hash_key: bool) -> usize {
    2 * (1 + usize::from(hash_key)) + delimited_size(data)
}

/// The bytes of a field of this length: its tag, its length and itself.
fn delimited_size(len: usize) -> usize {
    1 + varint_size(len) + len
}

fn delimited(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn varint_size(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let mut out = Vec::new();
        encode("k", Some("7"), [b"one".as_slice(), b""].into_iter(), &mut out);
        let message =
            b"\x0a\x01k\x12\x017\x1a\x09\x08\x00\x10\x00\x1a\x03one\x1a\x06\x08\x00\x10\x00\x1a\x00";
        assert_eq!(out[..4], [0xf3, 0x89, 0x9a, 0xc2]);
        assert_eq!(out[4..out.len() - 16], message[..]);
        assert_eq!(out[out.len() - 16..], Md5::digest(message)[..]);
    }

    #[test]
    fn a_length_takes_seven_bits_a_byte() {
        for (value, bytes) in [
            (0, &[0][..]),
            (127, &[127]),
            (128, &[0x80, 1]),
            (16_383, &[0xff, 0x7f]),
            (16_384, &[0x80, 0x80, 1]),
        ] {
            let mut out = Vec::new();
            varint(value, &mut out);
            assert_eq!((out.as_slice(), varint_size(value)), (bytes, bytes.len()));
        }
    }

    proptest! {
        #[test]
        fn sizes_are_known_before_anything_is_written(
            key in "[a-zé]{1,200}",
            hash_key in prop::option::of("[0-9]{1,39}"),
            lens in prop::collection::vec(prop_oneof![0usize..300, 16_000usize..17_000], 0..20),
        ) {
            let data: Vec<Vec<u8>> = lens.iter().map(|len| vec![b'x'; *len]).collect();
            let mut out = Vec::new();
            encode(&key, hash_key.as_deref(), data.iter().map(Vec::as_slice), &mut out);
            let records: usize = lens.iter().map(|len| record_size(*len, hash_key.is_some())).sum();
            prop_assert_eq!(out.len(), envelope_size(key.len(), hash_key.map(|key| key.len())) + records);
        }
    }
}
