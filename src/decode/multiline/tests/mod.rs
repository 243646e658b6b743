//! Which lines are joined.
//!
//! `traces/` holds logs of real-looking programs: what stands between two lines `%%` is one record.

mod limits;
mod patterns;
mod restarts;
mod traces;

use std::sync::Arc;
use std::time::Instant;

use super::Multiline;
use crate::decode::{Decoder, Decoding, Format};
use crate::source::Stream;

fn decoding(format: Format, multiline: Multiline) -> Decoding {
    Decoding { format, multiline: Some(Arc::new(multiline)), ..Decoding::default() }
}

/// A stream and a text.
type Joined = (Stream, String);

/// What a file becomes when it is read in one go.
fn read(decoding: &Decoding, file: &str) -> Vec<Joined> {
    let (mut decoder, mut joined, mut offset) = (Decoder::of(decoding), Vec::new(), 0);
    let now = Instant::now();
    let mut emit = |message: crate::event::Message<'_>| {
        joined.push((message.stream, String::from_utf8_lossy(message.body).into_owned()));
    };
    for line in file.split_inclusive('\n') {
        let text = line.strip_suffix('\n').unwrap_or(line);
        decoder.line(offset, text.as_bytes(), false, now, &mut emit);
        offset += line.len() as u64;
    }
    decoder.flush(&mut emit);
    assert!(decoder.open().is_empty() && !decoder.wants_text());
    joined
}

/// What a file without a container's format becomes.
fn texts(multiline: Multiline, file: &str) -> Vec<String> {
    read(&decoding(Format::Plain, multiline), file).into_iter().map(|(_, text)| text).collect()
}
