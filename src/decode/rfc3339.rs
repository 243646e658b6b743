//! The times that container runtimes write.

/// The length of the RFC 3339 time that `text` begins with: `2026-01-02T03:04:05`, a fraction of up to nine
/// digits or none, and `Z` (containerd, Docker) or a numeric offset (CRI-O). What follows it is not looked at.
///
/// Fields must be in their ranges (a leap second included), but a month's length is not checked: the time is
/// passed on as it was written and not computed with.
pub(super) fn prefix(text: &[u8]) -> Option<usize> {
    let fixed: &[u8; 20] = text.first_chunk()?;
    let shape = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if shape.iter().any(|&(at, byte)| fixed[at] != byte) {
        return None;
    }
    pair(fixed[0], fixed[1])?;
    pair(fixed[2], fixed[3])?;
    let in_range = (1..=12).contains(&pair(fixed[5], fixed[6])?)
        && (1..=31).contains(&pair(fixed[8], fixed[9])?)
        && pair(fixed[11], fixed[12])? <= 23
        && pair(fixed[14], fixed[15])? <= 59
        && pair(fixed[17], fixed[18])? <= 60;
    if !in_range {
        return None;
    }
    let mut at = 19;
    if fixed[at] == b'.' {
        let digits = text[20..].iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        at = 20 + digits;
    }
    match *text.get(at)? {
        b'Z' => Some(at + 1),
        b'+' | b'-' => {
            let zone: &[u8; 5] = text[at + 1..].first_chunk()?;
            let in_range = pair(zone[0], zone[1])? <= 23 && zone[2] == b':' && pair(zone[3], zone[4])? <= 59;
            in_range.then_some(at + 6)
        }
        _ => None,
    }
}

fn pair(tens: u8, ones: u8) -> Option<u8> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| tens * 10 + ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_all_runtimes_are_recognised() {
        for time in [
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.1Z",
            "2026-12-31T23:59:60.123456789Z",
            "2026-01-02T03:04:05.123456789+02:00",
            "2026-01-02T03:04:05-11:30",
        ] {
            assert_eq!(prefix(time.as_bytes()), Some(time.len()), "{time}");
            assert_eq!(prefix(format!("{time} stdout F").as_bytes()), Some(time.len()));
            for cut in 0..time.len() {
                assert_eq!(prefix(&time.as_bytes()[..cut]), None, "{}", &time[..cut]);
            }
        }
    }

    #[test]
    fn what_is_not_a_time_is_not_taken_for_one() {
        for text in [
            "",
            "2026-01-02 03:04:05Z",
            "2026-13-02T03:04:05Z",
            "2026-00-02T03:04:05Z",
            "2026-01-32T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:60:05Z",
            "2026-01-02T03:04:61Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05+0200",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05 stdout F x",
            "202x-01-02T03:04:05Z",
            "20 6-01-02T03:04:05Z",
        ] {
            assert_eq!(prefix(text.as_bytes()), None, "{text}");
        }
    }
}
