//! A log message between decoding and encoding.

use crate::source::Stream;

/// One message as the decoder found it, its parts joined: borrowed from the read buffer where it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The offset of its first line in the file's content; with the stream, what its record id is made of.
    pub start: u64,
    /// The stream that it was written to.
    pub stream: Stream,
    /// When it was written, RFC 3339, as the container runtime told; none for plain files.
    pub time: Option<&'a str>,
    /// Its text without the newline. Not necessarily UTF-8.
    pub body: &'a [u8],
    /// The text was longer than the limit and its end is missing.
    pub cut: bool,
}
