//! Names that rotation gives: what stands beside a followed file and was once it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

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

/// Which log a file is of: equal for all names that rotation gives to files of one log, its own name among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogKey(u128);

impl LogKey {
    /// By a file's path.
    pub fn of(path: &Path) -> Self {
        let mut hash = Xxh3::new();
        hash.update(path.parent().unwrap_or(Path::new("")).as_os_str().as_bytes());
        hash.update(b"/");
        let (stem, ending) = log_of(path.file_name().unwrap_or_default());
        hash.update(stem);
        hash.update(ending);
        Self(hash.digest128())
    }
}

/// The name without all that rotations could have added to it: the parts before that and after it. Names of
/// different logs may come out the same, as those of `web-1.log` and `web-2.log`.
fn log_of(name: &OsStr) -> (&[u8], &[u8]) {
    let mut log = name.as_bytes();
    while let Some(shorter) = without_end(log) {
        log = shorter;
    }
    // logrotate's `extension` keeps the ending: app-20260131.log
    let dot = log.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0);
    let Some((mut stem, ending)) = dot.map(|dot| log.split_at(dot)) else { return (log, b"") };
    while let Some(shorter) = without_stamp(stem) {
        stem = shorter;
    }
    (stem, ending)
}

fn without_end(name: &[u8]) -> Option<&[u8]> {
    [&b".gz"[..], b".old", b".bak", b".prev", b"~"]
        .iter()
        .find_map(|suffix| name.strip_suffix(*suffix))
        .filter(|rest| !rest.is_empty())
        .or_else(|| without_stamp(name))
}

/// Without everything that a stamp can be made of, so that a name which ends like that and one to which a stamp
/// was added come out the same.
fn without_stamp(name: &[u8]) -> Option<&[u8]> {
    let end = name.iter().rposition(|byte| !is_of_stamp(*byte)).map_or(1, |last| last + 1);
    (end < name.len()).then(|| &name[..end])
}

fn is_of_stamp(byte: u8) -> bool {
    byte.is_ascii_digit() || b".-_:TZ+".contains(&byte)
}

/// A separator and then numbers, as in `.1`, `-20260131`, `.2026-01-31T10:10:10Z`.
fn is_stamp(text: &[u8]) -> bool {
    let [b'.' | b'-' | b'_', rest @ ..] = text else { return false };
    rest.first().is_some_and(u8::is_ascii_digit) && rest.iter().all(|byte| is_of_stamp(*byte))
}

/// Whether a file's content begins as gzip does (RFC 1952).
pub fn is_gzip(beginning: &[u8]) -> bool {
    beginning.starts_with(&[0x1f, 0x8b, 8])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            let folder = Path::new("/var/log");
            let of_one_log = LogKey::of(&folder.join(base)) == LogKey::of(&folder.join(name));
            assert_eq!(of_one_log, rotated || base == name, "{base} and {name}");
        }
    }

    proptest! {
        #[test]
        fn what_a_rotation_could_have_made_is_of_the_same_log(
            base in "[a-c1Z][a-c12.~_Z-]{0,6}(\\.log|\\.gz|\\.old|\\.1)?",
            stamp in "[._-][0-9][0-9TZ:.-]{0,3}|\\.old|\\.bak|~|",
            gzip in any::<bool>(),
        ) {
            let gz = if gzip { ".gz" } else { "" };
            let mut names = vec![format!("{base}{stamp}{gz}")];
            if let Some((stem, ending)) = base.rsplit_once('.') {
                names.push(format!("{stem}{stamp}.{ending}{gz}"));
            }
            for name in names.iter().filter(|name| is_rotated(OsStr::new(&base), OsStr::new(name))) {
                prop_assert_eq!(LogKey::of(Path::new(&base)), LogKey::of(Path::new(name)), "{} {}", base, name);
            }
        }
    }
}
