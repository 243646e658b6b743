//! Names that rotation gives: what stands beside a followed file and was once it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// Whether `name` is what a rotation could have made of `base`: `app.log.1`, `app.log-20260131`,
/// `0.log.20260131-101010`, `app.log.old`, `app-20260131.log`, `app.1.log`, each also with `.gz`.
pub fn is_rotated(base: &OsStr, name: &OsStr) -> bool {
    let (base, name) = (base.as_bytes(), name.as_bytes());
    let plain = name.strip_suffix(b".gz").unwrap_or(name);
    if plain == base {
        return plain.len() != name.len();
    }
    if let Some(rest) = plain.strip_prefix(base) {
        return is_stamp(rest) || matches!(rest, b".old" | b".bak" | b".prev" | b"~");
    }
    // logrotate's `extension` keeps the ending: app-20260131.log
    let Some(dot) = base.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else { return false };
    let (stem, ending) = base.split_at(dot);
    plain
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_suffix(ending))
        .is_some_and(|middle| !middle.is_empty() && is_stamp(middle))
}

/// A separator and then numbers, as in `.1`, `-20260131`, `.2026-01-31T10:10:10Z`.
fn is_stamp(text: &[u8]) -> bool {
    let [b'.' | b'-' | b'_', rest @ ..] = text else { return false };
    rest.first().is_some_and(u8::is_ascii_digit)
        && rest.iter().all(|byte| byte.is_ascii_digit() || b".-_:TZ+".contains(byte))
}

/// Whether a file's content begins as gzip does (RFC 1952).
pub fn is_gzip(beginning: &[u8]) -> bool {
    beginning.starts_with(&[0x1f, 0x8b, 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_rotation_makes_are_told_from_other_logs() {
        for (base, name, rotated) in [
            ("app.log", "app.log.1", true),
            ("app.log", "app.log.2.gz", true),
            ("app.log", "app.log.gz", true),
            ("app.log", "app.log-20260131", true),
            ("app.log", "app-20260131.log", true),
            ("app.log", "app.1.log.gz", true),
            ("app.log", "app.log.old", true),
            ("0.log", "0.log.20260131-101010", true),
            ("0.log", "0.log.20260131-101010.gz", true),
            ("0.log", "0.log.20260131-101010.tmp", false),
            ("0.log", "1.log", false),
            ("app.log", "app.log", false),
            ("app.log", "app-server.log", false),
            ("app.log", "app.log.sock", false),
            ("app.log", "application.log", false),
            ("syslog", "syslog.1", true),
            ("syslog", "syslogd", false),
        ] {
            assert_eq!(is_rotated(OsStr::new(base), OsStr::new(name)), rotated, "{base} and {name}");
        }
    }
}
