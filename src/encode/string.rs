//! JSON strings from arbitrary bytes, and JSON text that is put into a line as it is.

use memchr::memchr3;

/// Input bytes between two looks at the room of the buffer; each becomes at most six.
const BLOCK: usize = 64;

/// Writes `text` as a JSON string with its quotes. Returns whether it was UTF-8; what was not is replaced by
/// U+FFFD as [`String::from_utf8_lossy`] does.
pub(super) fn string(text: &[u8], out: &mut Vec<u8>) -> bool {
    out.push(b'"');
    let is_utf8 = std::str::from_utf8(text).is_ok();
    if is_utf8 {
        escape(text, out);
    } else {
        for chunk in text.utf8_chunks() {
            escape(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
    is_utf8
}

/// The two bytes that stand for a byte, or zeroes if it needs the long form or none.
const SHORT: [[u8; 2]; 256] = {
    let mut table = [[0; 2]; 256];
    table[b'"' as usize] = *b"\\\"";
    table[b'\\' as usize] = *b"\\\\";
    table[b'\n' as usize] = *b"\\n";
    table[b'\r' as usize] = *b"\\r";
    table[b'\t' as usize] = *b"\\t";
    table[8] = *b"\\b";
    table[12] = *b"\\f";
    table
};

/// Writes the inside of a JSON string.
///
/// Text is looked at eight bytes at a time and mostly copied in runs. Within a block that has something to
/// escape, eight bytes are always copied whole and those that are not wanted written over: cheaper than
/// copying the few bytes between two quotes by their length.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    let clean_blocks = blocks.iter().take_while(|block| is_clean(*block)).count();
    if clean_blocks == blocks.len() && is_clean(rest) {
        return out.extend_from_slice(text);
    }
    let mut room = Room::new();
    // Where the text begins that is not copied yet.
    let mut clean = 0;
    for (i, block) in blocks.iter().enumerate().skip(clean_blocks) {
        if !is_clean(block) {
            out.extend_from_slice(&text[clean..i * BLOCK]);
            room.escape(block, out);
            clean = (i + 1) * BLOCK;
        }
    }
    out.extend_from_slice(&text[clean..text.len() - rest.len()]);
    room.escape(rest, out);
}

fn is_clean(text: &[u8]) -> bool {
    // Without a branch for each byte, so that it is compiled to vector instructions.
    !text.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

/// Where a block is escaped, with room to copy eight bytes whole behind its end.
struct Room([u8; 6 * BLOCK + 8]);

impl Room {
    fn new() -> Self {
        Self([0; 6 * BLOCK + 8])
    }

    /// Appends a block of at most [`BLOCK`] bytes, escaped.
    fn escape(&mut self, block: &[u8], out: &mut Vec<u8>) {
        let mut end = 0;
        let (words, rest) = block.as_chunks::<8>();
        for bytes in words {
            let mut word = u64::from_le_bytes(*bytes);
            let mut marks = to_escape(word);
            let mut left = 8;
            self.put(end, bytes);
            while marks != 0 {
                let clean = (marks.trailing_zeros() / 8) as usize;
                end = self.put_escaped(end + clean, (word >> (8 * clean)) as u8);
                left -= clean + 1;
                // In two steps, since all 64 bits may go.
                word = (word >> (8 * clean)) >> 8;
                marks = (marks >> (8 * clean)) >> 8;
                self.put(end, &word.to_le_bytes());
            }
            end += left;
        }
        for &byte in rest {
            end = if needs_escape(byte) {
                self.put_escaped(end, byte)
            } else {
                self.put(end, &[byte]);
                end + 1
            };
        }
        out.extend_from_slice(&self.0[..end]);
    }

    fn put<const N: usize>(&mut self, at: usize, bytes: &[u8; N]) {
        self.0[at..at + N].copy_from_slice(bytes);
    }

    /// Returns the end of what was put.
    fn put_escaped(&mut self, at: usize, byte: u8) -> usize {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let short = SHORT[usize::from(byte)];
        if short[0] != 0 {
            self.put(at, &short);
            return at + 2;
        }
        let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
        self.put(at, &[b'\\', b'u', b'0', b'0', high, low]);
        at + 6
    }
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte that needs an escape.
fn to_escape(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const LOW: u64 = ONES * 0x7f;
    // Exact for each byte, as nothing is carried from one into the next: a byte's lower seven bits plus
    // 0x7f reach the high bit unless they are all zero.
    let is_zero = |word: u64| !(((word & LOW) + LOW) | word | LOW);
    let quote = is_zero(word ^ (ONES * b'"' as u64));
    let backslash = is_zero(word ^ (ONES * b'\\' as u64));
    let control = is_zero(word & (ONES * 0xe0));
    quote | backslash | control
}

/// Writes the text of a JSON value so that it stays on one line and every parser takes it: newlines, which
/// can only be white space between its tokens, become blanks, and escaped lone surrogates, which stand for
/// no character, become U+FFFD.
pub(super) fn raw(text: &str, out: &mut Vec<u8>) {
    let mut text = text.as_bytes();
    while let Some(at) = memchr3(b'\n', b'\r', b'\\', text) {
        let (before, rest) = text.split_at(at);
        out.extend_from_slice(before);
        let (replacement, length): (&[u8], usize) = match (rest[0], unit(rest)) {
            (b'\\', None) => (&rest[..rest.len().min(2)], 2),
            (b'\\', Some(0xd800..0xdc00)) if matches!(rest.get(6..).and_then(unit), Some(0xdc00..0xe000)) => {
                (&rest[..12], 12)
            }
            (b'\\', Some(0xd800..0xe000)) => ("\u{fffd}".as_bytes(), 6),
            (b'\\', Some(_)) => (&rest[..6], 6),
            _ => (b" ", 1),
        };
        out.extend_from_slice(replacement);
        text = rest.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

/// The value of the escape of the form `\uXXXX` that `text` begins with.
fn unit(text: &[u8]) -> Option<u32> {
    text.strip_prefix(b"\\u")?
        .first_chunk::<4>()?
        .iter()
        .try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn as_string(text: &[u8]) -> (String, bool) {
        let mut out = b"before ".to_vec();
        let is_utf8 = string(text, &mut out);
        (String::from_utf8(out.split_off(7)).unwrap(), is_utf8)
    }

    fn as_raw(text: &str) -> String {
        let mut out = Vec::new();
        raw(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_escaped_as_json_wants_it() {
        let (made, is_utf8) = as_string(b"a\"b\\c\n\r\t\x08\x0c\0\x1f\x7f/\xc3\xa9");
        assert_eq!(made, "\"a\\\"b\\\\c\\n\\r\\t\\b\\f\\u0000\\u001f\u{7f}/é\"");
        assert!(is_utf8);
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_replaced() {
        assert_eq!(as_string(b"a\xffb\xe2\x82"), ("\"a\u{fffd}b\u{fffd}\"".into(), false));
    }

    #[test]
    fn every_byte_is_right_at_every_place_of_a_block() {
        for length in [1, 7, 8, 9, 63, 64, 65, 130] {
            for at in 0..length {
                for byte in 0..128 {
                    let mut text = vec![b'!'; length];
                    text[at] = byte;
                    let expected = serde_json::to_string(std::str::from_utf8(&text).unwrap()).unwrap();
                    assert_eq!(as_string(&text), (expected, true));
                }
            }
        }
    }

    #[test]
    fn json_text_stays_on_one_line() {
        assert_eq!(as_raw("{\n \"a\":\r\n[1,\n2]}"), "{  \"a\":  [1, 2]}");
    }

    #[test]
    fn escaped_lone_surrogates_are_replaced_and_pairs_stay() {
        for (text, expected) in [
            (r#""\ud83d\ude00""#, r#""\ud83d\ude00""#),
            (r#""\uD83D""#, "\"\u{fffd}\""),
            (r#""\ud83d\ud83d\ude00""#, "\"\u{fffd}\\ud83d\\ude00\""),
            (r#""\ude00\ud83d""#, "\"\u{fffd}\u{fffd}\""),
            (r#""\ud83d\n""#, "\"\u{fffd}\\n\""),
            (r#""\\ud83d""#, r#""\\ud83d""#),
            (r#""\\\ud83dx\"""#, "\"\\\\\u{fffd}x\\\"\""),
            (r#""\u00e9\/""#, r#""\u00e9\/""#),
        ] {
            let made = as_raw(text);
            assert_eq!(made, expected, "{text}");
            assert!(serde_json::from_str::<String>(&made).is_ok(), "{made}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_back_as_their_lossy_text(
            text in prop::collection::vec(prop_oneof![any::<u8>(), 0x20_u8..0x7f, Just(b'"')], 0..300),
        ) {
            let (made, is_utf8) = as_string(&text);
            prop_assert!(!made.bytes().any(|byte| byte < 0x20));
            prop_assert_eq!(serde_json::from_str::<String>(&made).unwrap(), String::from_utf8_lossy(&text));
            prop_assert_eq!(is_utf8, std::str::from_utf8(&text).is_ok());
        }

        #[test]
        fn any_accepted_json_string_is_read_back_from_its_text(
            parts in prop::collection::vec(prop_oneof![
                Just("\\ud83d"), Just("\\ude00"), Just("\\\\"), Just("\\\""), Just("u"), Just("\\u0041"), Just("é"),
            ], 0..12),
        ) {
            let made = as_raw(&format!("\"{}\"", parts.concat()));
            prop_assert!(serde_json::from_str::<String>(&made).is_ok(), "{}", made);
        }
    }
}
