//! What is in a record's data: lines as they are, a KPL aggregate (`aggregation-format.md` of the Kinesis Producer
//! Library), or gzip members. Read here by code of the tests' own, so that it judges what kinetail wrote.

use std::io::Read as _;

use bytes::Bytes;
use md5::{Digest as _, Md5};

const AGGREGATE: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The lines in it, joined by newlines.
pub(super) fn text(data: &Bytes) -> Bytes {
    if data.starts_with(&GZIP) {
        let mut text = Vec::new();
        flate2::read::MultiGzDecoder::new(&data[..]).read_to_end(&mut text).expect("gzip members");
        text.into()
    } else if let Some(message) = aggregate(data) {
        let records = fields(message).filter(|(number, _)| *number == 3);
        let data = records.flat_map(|(_, record)| fields(record)).filter(|(number, _)| *number == 3);
        data.map(|(_, data)| data).collect::<Vec<_>>().join(&b'\n').into()
    } else {
        data.clone()
    }
}

/// The message of an aggregate, if it is one.
fn aggregate(data: &[u8]) -> Option<&[u8]> {
    let (message, checksum) = data.strip_prefix(&AGGREGATE)?.split_last_chunk::<16>()?;
    (checksum[..] == Md5::digest(message)[..]).then_some(message)
}

/// The fields of a message that have a length; numbers are passed over.
fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        loop {
            if message.is_empty() {
                return None;
            }
            let tag = varint(&mut message);
            let value = varint(&mut message);
            if tag & 7 == 2 {
                let (field, rest) = message.split_at(value as usize);
                message = rest;
                return Some((tag >> 3, field));
            }
            assert_eq!(tag & 7, 0, "a number");
        }
    })
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a number ends");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    value
}
