//! Times as logs write them, and the record's own time taken from a field.

use std::borrow::Cow;

use jiff::civil::DateTime;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};

/// How a time without a year may lie ahead of the time when it was read, because of clocks and zones.
const AHEAD: SignedDuration = SignedDuration::from_hours(48);

/// How a time is written.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeFormat {
    forms: Vec<Form>,
    /// Of times that do not tell their own.
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    /// RFC 3339 and ISO 8601, also with a blank for the `T` and without a zone.
    Iso,
    /// Since 1970, in units of so many nanoseconds, also with a fraction.
    Unix(i64),
    /// Since 1970, in the unit that its number of digits tells.
    AnyUnix,
    /// As strptime(3) takes it.
    Pattern(Cow<'static, str>),
}

/// Formats that have a name.
const NAMED: [(&str, Form); 11] = [
    ("rfc3339", Form::Iso),
    ("unix", Form::Unix(1_000_000_000)),
    ("unix_ms", Form::Unix(1_000_000)),
    ("unix_us", Form::Unix(1_000)),
    ("unix_ns", Form::Unix(1)),
    ("access_log", Form::Pattern(Cow::Borrowed("%d/%b/%Y:%H:%M:%S%.f %z"))),
    ("apache_error", Form::Pattern(Cow::Borrowed("%a %b %d %H:%M:%S%.f %Y"))),
    ("nginx_error", Form::Pattern(Cow::Borrowed("%Y/%m/%d %H:%M:%S%.f"))),
    ("syslog", Form::Pattern(Cow::Borrowed("%b %d %H:%M:%S%.f"))),
    ("klog", Form::Pattern(Cow::Borrowed("%m%d %H:%M:%S%.f"))),
    ("comma", Form::Pattern(Cow::Borrowed("%Y-%m-%d %H:%M:%S,%f"))),
];

impl TimeFormat {
    /// With these formats, tried in turn: names, or patterns of strptime; without any, all that have a name.
    /// `zone` is a name such as `Europe/Berlin`, an offset such as `+02:00`, or UTC. The error is for people.
    pub fn new(formats: &[&str], zone: Option<&str>) -> Result<Self, String> {
        let zone = match zone {
            None => TimeZone::UTC,
            Some(name) => read_zone(name)?,
        };
        if formats.is_empty() {
            let mut forms: Vec<Form> = NAMED.iter().map(|(_, form)| form.clone()).collect();
            forms.retain(|form| !matches!(form, Form::Unix(_)));
            forms.push(Form::AnyUnix);
            return Ok(Self { forms, zone });
        }
        let forms: Result<Vec<Form>, String> = formats.iter().map(|format| Form::new(format)).collect();
        Ok(Self { forms: forms?, zone })
    }

    /// The instant that a text tells. `near` is a time shortly after it, for one without a year.
    pub(super) fn read(&self, text: &str, near: impl Fn() -> Timestamp) -> Option<Timestamp> {
        let text = text.trim();
        self.forms.iter().find_map(|form| match form {
            Form::Iso => iso(text, &self.zone),
            Form::Unix(unit) => unix(text, *unit),
            Form::AnyUnix => unix(text, unit_of(text)?),
            Form::Pattern(pattern) => self.by_pattern(pattern, text, &near),
        })
    }

    fn by_pattern(&self, pattern: &str, text: &str, near: &impl Fn() -> Timestamp) -> Option<Timestamp> {
        let mut parts = BrokenDownTime::parse(pattern, text).ok()?;
        if parts.timestamp().is_some() || parts.year().is_some() {
            return self.instant(&parts);
        }
        let near = near();
        if parts.day().is_none() {
            // A clock's time alone: of the same day.
            let date = near.to_zoned(self.zone.clone()).date();
            parts.set_month(Some(date.month())).ok()?;
            parts.set_day(Some(date.day())).ok()?;
        }
        let latest = near.checked_add(AHEAD).ok()?;
        let this_year = near.to_zoned(self.zone.clone()).year();
        [this_year.checked_add(1)?, this_year, this_year.checked_sub(1)?].into_iter().find_map(|year| {
            parts.set_year(Some(year)).ok()?;
            // The 29th of February is not in every year.
            self.instant(&parts).filter(|instant| *instant <= latest)
        })
    }

    fn instant(&self, parts: &BrokenDownTime) -> Option<Timestamp> {
        if parts.timestamp().is_some() || parts.offset().is_some() {
            return parts.to_timestamp().ok();
        }
        if parts.iana_time_zone().is_some() {
            return parts.to_zoned().ok().map(|zoned| zoned.timestamp());
        }
        parts.to_datetime().ok()?.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp())
    }
}

impl Form {
    fn new(format: &str) -> Result<Self, String> {
        if let Some((_, form)) = NAMED.iter().find(|(name, _)| *name == format) {
            return Ok(form.clone());
        }
        if !format.contains('%') {
            let names: Vec<&str> = NAMED.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "{format:?} is not a format of times; write a pattern such as \"%Y-%m-%d %H:%M:%S\", or one \
                 of {}",
                names.join(", ")
            ));
        }
        // What can be written by it can be read by it, except for a few directives.
        let example = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC).checked_add(Span::new().days(45));
        let written = example.and_then(|example| strtime::format(format, &example));
        let read = written.and_then(|written| BrokenDownTime::parse(format, &written));
        match read {
            Ok(parts) if parts.hour().is_some() || parts.timestamp().is_some() => {
                Ok(Form::Pattern(Cow::Owned(format.to_owned())))
            }
            Ok(_) => Err(format!("{format:?} does not hold a time of the day, such as %H:%M:%S")),
            Err(error) => Err(format!("{format:?} is not a format of times: {error}")),
        }
    }
}

fn read_zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" || name == "Z" {
        return Ok(TimeZone::UTC);
    }
    if let Ok(parts) = BrokenDownTime::parse("%:z", name).or_else(|_| BrokenDownTime::parse("%z", name))
        && let Some(offset) = parts.offset()
    {
        return Ok(TimeZone::fixed(offset));
    }
    TimeZone::get(name)
        .map_err(|_| format!("{name:?} is not a time zone; write it like Europe/Berlin, +02:00 or UTC"))
}

fn iso(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    // Without a zone of its own. A date alone is no time.
    let date_time = text.contains(':').then(|| text.parse::<DateTime>().ok())??;
    date_time.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
}

/// The unit of a number of whole seconds, milli-, micro- or nanoseconds of a time after 1973.
fn unit_of(text: &str) -> Option<i64> {
    match text.split('.').next()?.len() {
        9..=10 => Some(1_000_000_000),
        12..=13 => Some(1_000_000),
        15..=16 => Some(1_000),
        18..=19 => Some(1),
        _ => None,
    }
}

fn unix(text: &str, unit: i64) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i128 = whole.parse().ok()?;
    let mut nanoseconds = whole.checked_mul(i128::from(unit))?;
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut weight = i128::from(unit);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    for digit in fraction.bytes() {
        weight /= 10;
        nanoseconds += sign * weight * i128::from(digit - b'0');
    }
    Timestamp::from_nanosecond(nanoseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: &str = "2026-01-02T03:04:05Z";

    fn read(format: &TimeFormat, text: &str) -> Option<String> {
        format.read(text, || NEAR.parse().unwrap()).map(|time| time.to_string())
    }

    fn by(formats: &[&str], zone: Option<&str>, text: &str) -> Option<String> {
        read(&TimeFormat::new(formats, zone).unwrap(), text)
    }

    #[test]
    fn times_that_logs_write_are_read_without_a_format() {
        let any = TimeFormat::new(&[], None).unwrap();
        for (text, expected) in [
            ("2026-10-09T12:34:56.789012345+02:00", "2026-10-09T10:34:56.789012345Z"),
            ("2026-10-09 12:34:56.5", "2026-10-09T12:34:56.5Z"),
            ("2026-10-09 12:34:56,789", "2026-10-09T12:34:56.789Z"),
            ("10/Oct/2026:13:55:36 -0700", "2026-10-10T20:55:36Z"),
            ("10/Oct/2026:13:55:36.123456789 -0700", "2026-10-10T20:55:36.123456789Z"),
            ("Fri Oct 09 12:34:56.789012 2026", "2026-10-09T12:34:56.789012Z"),
            ("2026/10/09 12:34:56", "2026-10-09T12:34:56Z"),
            ("1760000000", "2025-10-09T08:53:20Z"),
            ("1760000000.25", "2025-10-09T08:53:20.25Z"),
            ("1760000000123", "2025-10-09T08:53:20.123Z"),
            ("1760000000123456", "2025-10-09T08:53:20.123456Z"),
            ("1760000000123456789", "2025-10-09T08:53:20.123456789Z"),
        ] {
            assert_eq!(read(&any, text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "soon", "2026-10-09", "7", "2026-13-09T12:34:56Z", "31/Feb/2026:00:00:00 +0000"] {
            assert_eq!(read(&any, text), None, "{text}");
        }
    }

    #[test]
    fn a_missing_year_is_that_of_the_time_it_was_read_at() {
        for (text, expected) in [
            ("Jan  2 03:04:05", "2026-01-02T03:04:05Z"),
            // Written last year and read after New Year.
            ("Dec 31 23:59:59", "2025-12-31T23:59:59Z"),
            // A clock that is somewhat ahead.
            ("Jan  3 03:04:05", "2026-01-03T03:04:05Z"),
            ("Jan  5 03:04:05", "2025-01-05T03:04:05Z"),
        ] {
            assert_eq!(by(&["syslog"], None, text).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(by(&["klog"], None, "1231 23:59:59.5").as_deref(), Some("2025-12-31T23:59:59.5Z"));
        assert_eq!(by(&["syslog"], None, "Feb 30 00:00:00"), None);
    }

    #[test]
    fn the_new_year_comes_where_the_zone_says() {
        let format = TimeFormat::new(&["syslog"], Some("+02:00")).unwrap();
        let near = || "2025-12-31T22:30:00Z".parse().unwrap();
        let time = format.read("Jan  1 00:29:59", near).unwrap();
        assert_eq!(time.to_string(), "2025-12-31T22:29:59Z");
    }

    #[test]
    fn a_time_without_a_zone_is_of_the_zone_that_is_said() {
        let format = ["%Y-%m-%d %H:%M:%S"];
        for (zone, text, expected) in [
            (None, "2026-07-01 12:00:00", "2026-07-01T12:00:00Z"),
            (Some("Europe/Berlin"), "2026-07-01 12:00:00", "2026-07-01T10:00:00Z"),
            (Some("Europe/Berlin"), "2026-01-01 12:00:00", "2026-01-01T11:00:00Z"),
            (Some("-05:30"), "2026-01-01 12:00:00", "2026-01-01T17:30:00Z"),
        ] {
            assert_eq!(by(&format, zone, text).as_deref(), Some(expected), "{zone:?} {text}");
        }
        let own = by(&["rfc3339"], Some("Europe/Berlin"), "2026-07-01T12:00:00Z");
        assert_eq!(own.as_deref(), Some("2026-07-01T12:00:00Z"));
    }

    #[test]
    fn units_of_unix_times_and_several_formats() {
        assert_eq!(by(&["unix_ms"], None, "1500").as_deref(), Some("1970-01-01T00:00:01.5Z"));
        assert_eq!(by(&["unix"], None, "-1.5").as_deref(), Some("1969-12-31T23:59:58.5Z"));
        assert_eq!(by(&["unix"], None, "1.x"), None);
        assert_eq!(by(&["rfc3339", "unix"], None, "1").as_deref(), Some("1970-01-01T00:00:01Z"));
    }

    #[test]
    fn formats_that_read_nothing_are_refused() {
        for (format, message) in [
            ("rfc339", "\"rfc339\" is not a format of times; write a pattern"),
            ("%Y-%m-%d", "does not hold a time of the day"),
            ("%J %H", "is not a format of times"),
        ] {
            let error = TimeFormat::new(&[format], None).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let error = TimeFormat::new(&[], Some("Berlin")).unwrap_err();
        assert!(error.contains("\"Berlin\" is not a time zone"), "{error}");
    }
}
