//! The body of a request, written once, straight from the buffer.
//!
//! The SDK would copy each record into a blob, encode that into a string, and put the string into the body. Here
//! a record's bytes are encoded from the mapped chunk into the body itself, which then takes the place of the
//! one that the SDK made of a request without records. Signing, sending and the answer stay the SDK's.

use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use base64_simd::{Out, STANDARD};
use bytes::Bytes;

use super::answer::{Class, Failure};
use super::entry::{Entry, Request};

/// The body of a request to put these entries (`PutRecordBatch`, `PutRecords`). `member` is how the service calls
/// the stream's name: `DeliveryStreamName`, `StreamName` or `StreamARN`.
pub fn encode(member: &str, name: &str, entries: &[Entry]) -> Bytes {
    // Each record stands between some words; a key may need escapes, of which the services allow few.
    let size: usize = entries.iter().map(|entry| entry.sent_size().div_ceil(3) * 4 + 128).sum();
    let mut body = Vec::with_capacity(size + name.len() + 64);
    body.extend_from_slice(b"{\"");
    body.extend_from_slice(member.as_bytes());
    body.extend_from_slice(b"\":");
    string(name, &mut body);
    body.extend_from_slice(b",\"Records\":[");
    let mut scratch = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        body.extend_from_slice(if index == 0 { b"{\"Data\":\"" } else { b",{\"Data\":\"" });
        if entry.is_plain() {
            base64(entry.pieces(), &mut body);
        } else {
            append(entry.made(&mut scratch), &mut body);
        }
        body.push(b'"');
        if let Some(key) = entry.partition_key() {
            body.extend_from_slice(b",\"PartitionKey\":");
            string(&key, &mut body);
        }
        if let Some(number) = entry.explicit_hash_key() {
            body.extend_from_slice(b",\"ExplicitHashKey\":");
            string(number, &mut body);
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// [`encode`], away from the runtime where it is work for more than a moment: compression would keep other requests
/// and the answers waiting.
pub(super) async fn of(member: &'static str, name: &str, request: &Request) -> Result<Bytes, Failure> {
    if !request.entries.iter().any(Entry::is_compressed) {
        return Ok(encode(member, name, &request.entries));
    }
    let (name, entries) = (name.to_owned(), Arc::clone(&request.entries));
    tokio::task::spawn_blocking(move || encode(member, &name, &entries))
        .await
        .map_err(|died| Failure::local(Class::Retry, "Died", died.to_string()))
}

/// Puts a body in the place of the one that the SDK made.
pub(super) fn replace(request: &mut HttpRequest, body: Bytes) {
    request.headers_mut().insert("content-length", body.len().to_string());
    *request.body_mut() = SdkBody::from(body);
}

fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text can be written to memory");
}

/// Encodes pieces as if they were one.
fn base64<'a>(pieces: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    // What is left of the pieces before: less than three bytes, which make four characters.
    let mut open = [0; 3];
    let mut held = 0;
    for mut piece in pieces {
        if held > 0 {
            let taken = piece.len().min(3 - held);
            open[held..held + taken].copy_from_slice(&piece[..taken]);
            held += taken;
            piece = &piece[taken..];
            if held < 3 {
                continue;
            }
            append(&open, out);
        }
        let whole = piece.len() / 3 * 3;
        append(&piece[..whole], out);
        held = piece.len() - whole;
        open[..held].copy_from_slice(&piece[whole..]);
    }
    append(&open[..held], out);
}

fn append(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + STANDARD.encoded_length(bytes.len()), 0);
    let _ = STANDARD.encode(bytes, Out::from_slice(&mut out[start..]));
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_are_encoded_as_if_they_were_one(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..6),
        ) {
            let mut out = b"before".to_vec();
            base64(pieces.iter().map(Vec::as_slice), &mut out);
            let expected = general_purpose::STANDARD.encode(pieces.concat());
            prop_assert_eq!(String::from_utf8(out.split_off(6)).unwrap(), expected);
        }
    }
}
