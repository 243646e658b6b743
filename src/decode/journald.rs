//! Entries of systemd's journal.

use jiff::Timestamp;

use crate::journal::{EntryFields, REALTIME};

/// When journald took an entry, RFC 3339 in UTC, and the entry's fields without that.
pub(super) fn parse(entry: &[u8]) -> (Option<String>, &[u8]) {
    let mut fields = EntryFields::of(entry);
    match fields.next() {
        Some((REALTIME, micros)) => (time(micros), fields.rest()),
        _ => (None, entry),
    }
}

fn time(micros: &[u8]) -> Option<String> {
    let micros: i64 = str::from_utf8(micros).ok()?.parse().ok()?;
    Some(Timestamp::from_microsecond(micros).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_time_and_the_rest() {
        let (time, rest) = parse(b"__REALTIME_TIMESTAMP=1700000000000250\nMESSAGE=x\n");
        assert_eq!((time.as_deref(), rest), (Some("2023-11-14T22:13:20.00025Z"), &b"MESSAGE=x\n"[..]));
        assert_eq!(parse(b"MESSAGE=x\n"), (None, &b"MESSAGE=x\n"[..]));
        for bad in ["", "soon", "-", "99999999999999999999"] {
            let entry = format!("__REALTIME_TIMESTAMP={bad}\nA=1\n");
            assert_eq!(parse(entry.as_bytes()), (None, &b"A=1\n"[..]), "{bad}");
        }
        assert_eq!(parse(b""), (None, &b""[..]));
    }
}
