//! What must not leave the node, taken out of texts.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::ops::Range;

use super::{Pattern, reach};
use crate::event::{Fields, Value};

/// Takes out fields, or what is found in texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Redact {
    /// The fields that are looked at; without `find`, their whole values are taken out. All fields where it is
    /// empty.
    pub fields: Vec<String>,
    /// What is looked for.
    pub find: Vec<Find>,
    /// What is put in its place.
    pub with: Replacement,
}

/// What is put in place of what is taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// This text.
    Text(String),
    /// An asterisk for every character but so many last ones.
    Mask(usize),
}

/// What is looked for in texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Find {
    pattern: Pattern,
    check: Check,
}

/// What a pattern cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    None,
    /// The check digit of card numbers (ISO/IEC 7812-1).
    Luhn,
    Ipv6,
}

/// What is looked for often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Numbers of payment cards, which begin with 2 to 6 (ISO/IEC 7812-1), with blanks or dashes between their digits or without.
    Card,
    /// E-mail addresses.
    Email,
    /// Addresses of IPv4.
    Ipv4,
    /// Addresses of IPv6.
    Ipv6,
    /// JSON Web Tokens.
    Jwt,
    /// Ids of access keys of AWS, and secret keys that stand behind their name.
    AwsKey,
}

impl Preset {
    fn pattern(self) -> (&'static str, Check) {
        match self {
            Preset::Card => (r"(?-u:\b)[2-6](?:[ -]?\d){12,18}(?-u:\b)", Check::Luhn),
            Preset::Email => (
                r"(?i)[a-z0-9._%+'-]+@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9-]+)*\.[a-z]{2,}",
                Check::None,
            ),
            Preset::Ipv4 => (
                r"(?-u:\b)(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?-u:\b)",
                Check::None,
            ),
            Preset::Ipv6 => (
                r"(?i)[0-9a-f]{0,4}:(?:[0-9a-f]{0,4}:)+(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{1,4})?",
                Check::Ipv6,
            ),
            Preset::Jwt => (r"(?-u:\b)eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*", Check::None),
            Preset::AwsKey => (
                concat!(
                    r"(?-u:\b)(?:AKIA|ASIA)[A-Z2-7]{16}(?-u:\b)",
                    r#"|(?i:secret_?(?:access_?)?key)["']?\s*[=:]\s*["']?[A-Za-z0-9/+]{40}"#
                ),
                Check::None,
            ),
        }
    }
}

impl Find {
    /// What a preset looks for; the error says that its pattern cannot be compiled.
    pub fn preset(preset: Preset) -> Result<Self, String> {
        let (pattern, check) = preset.pattern();
        // `\d` is a digit of ASCII here: the check reads nothing else.
        Ok(Self { pattern: Pattern::new(&pattern.replace(r"\d", "[0-9]"))?, check })
    }

    /// What a pattern finds.
    pub fn pattern(pattern: Pattern) -> Self {
        Self { pattern, check: Check::None }
    }

    /// Where something is found at or after `from`.
    fn next(&self, text: &[u8], mut from: usize) -> Option<Range<usize>> {
        loop {
            let mut found = self.pattern.find(text, from)?;
            from = found.end.max(from + 1);
            let is_it = match self.check {
                Check::None => !found.is_empty(),
                Check::Luhn => is_card(&text[found.clone()]),
                Check::Ipv6 => {
                    // `::1: text`
                    if text[found.clone()].ends_with(b":") && !text[found.clone()].ends_with(b"::") {
                        found.end -= 1;
                    }
                    let before = found.start.checked_sub(1).map(|at| text[at]);
                    let inside = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b':');
                    let address = std::str::from_utf8(&text[found.clone()]).ok();
                    !inside && address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
                }
            };
            if is_it {
                return Some(found);
            }
            if from > text.len() {
                return None;
            }
        }
    }
}

/// The sum of digits by which card numbers are told from others.
fn is_card(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|byte| byte.is_ascii_digit()).map(|byte| u32::from(byte - b'0'));
    let (mut sum, mut any) = (0, 0);
    for (at, digit) in digits.enumerate() {
        any |= digit;
        sum += if at % 2 == 1 { digit * 2 / 10 + digit * 2 % 10 } else { digit };
    }
    any > 0 && sum % 10 == 0
}

impl Replacement {
    fn put(&self, text: &[u8], into: &mut Vec<u8>) {
        match self {
            Replacement::Text(with) => into.extend_from_slice(with.as_bytes()),
            Replacement::Mask(keep) => {
                let text = String::from_utf8_lossy(text);
                let count = text.chars().count();
                let keep = if *keep < count { *keep } else { 0 };
                into.extend(std::iter::repeat_n(b'*', count - keep));
                let shown: String = text.chars().skip(count - keep).collect();
                into.extend_from_slice(shown.as_bytes());
            }
        }
    }
}

impl Redact {
    /// Returns whether something was taken out.
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>) -> bool {
        let mut took = false;
        if self.fields.is_empty() {
            fields.values_mut().for_each(|value| took |= self.value(value));
            return took;
        }
        for name in &self.fields {
            let Some(mut value) = reach::get(fields, name).map(Cow::into_owned) else { continue };
            if self.find.is_empty() {
                let whole = reach::plain(&value).unwrap_or_default();
                let mut with = Vec::new();
                self.with.put(&whole, &mut with);
                value = Value::Text(Cow::Owned(with));
                took = true;
            } else {
                took |= self.value(&mut value);
            }
            // What can be read under a name can be set under it.
            let _ = reach::set(fields, name, value);
        }
        took
    }

    fn value(&self, value: &mut Value<'_>) -> bool {
        match value {
            Value::Text(text) => {
                let redacted = self.text(text);
                redacted.map(|redacted| *text = Cow::Owned(redacted)).is_some()
            }
            Value::Raw(json) => {
                let redacted = self.json(json);
                redacted.map(|redacted| *json = Cow::Owned(redacted)).is_some()
            }
            Value::Object(fields) => {
                let mut took = false;
                fields.values_mut().for_each(|value| took |= self.value(value));
                took
            }
        }
    }

    /// The text without what is looked for; none if nothing was found.
    fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut changed: Option<Vec<u8>> = None;
        for find in &self.find {
            let text = changed.as_deref().unwrap_or(text);
            let mut made = Vec::new();
            let mut done = 0;
            while let Some(found) = find.next(text, done) {
                made.extend_from_slice(&text[done..found.start]);
                self.with.put(&text[found.clone()], &mut made);
                done = found.end;
            }
            if done > 0 {
                made.extend_from_slice(&text[done..]);
                changed = Some(made);
            }
        }
        changed
    }

    /// The strings and numbers of a JSON text, names of inner objects included, each as a text of its own.
    fn json(&self, json: &str) -> Option<String> {
        let bytes = json.as_bytes();
        let mut made = String::new();
        let (mut copied, mut at) = (0, 0);
        while at < bytes.len() {
            let end = match bytes[at] {
                b'"' => string_end(bytes, at),
                b'-' | b'0'..=b'9' => at + number_len(&bytes[at..]),
                _ => {
                    at += 1;
                    continue;
                }
            };
            let token = &json[at..end];
            let plain = reach::string(token).unwrap_or(Cow::Borrowed(token));
            if let Some(redacted) = self.text(plain.as_bytes()) {
                made.push_str(&json[copied..at]);
                made.push_str(&serde_json::Value::from(String::from_utf8_lossy(&redacted)).to_string());
                copied = end;
            }
            at = end;
        }
        (copied > 0).then(|| made + &json[copied..])
    }
}

/// Behind the string that begins here, in valid JSON.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at..]) {
        at += found;
        if json[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    json.len()
}

fn number_len(json: &[u8]) -> usize {
    json.iter().take_while(|byte| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::{fields, text};

    fn redact(names: &[&str], find: Vec<Find>, with: Replacement) -> Redact {
        Redact { fields: names.iter().map(|name| name.to_string()).collect(), find, with }
    }

    fn x() -> Replacement {
        Replacement::Text("X".into())
    }

    /// What is left of a text.
    fn left(preset: Preset, text: &str) -> String {
        let step = redact(&[], vec![Find::preset(preset).unwrap()], x());
        let mut made = Fields::default();
        made.set("log", Value::text(text.as_bytes()));
        step.apply(&mut made);
        let text = reach::text(&made, "log").unwrap();
        String::from_utf8(text.into_owned()).unwrap()
    }

    #[test]
    fn presets_find_what_they_are_for_and_nothing_else() {
        for (preset, text, expected) in [
            (
                Preset::Card,
                "pay 4111111111111111, 5500-0000-0000-0004 or 3400 0000 0000 009.",
                "pay X, X or X.",
            ),
            (
                Preset::Card,
                "order 4111111111111112 at 1760000000123 is 0000000000000000",
                "order 4111111111111112 at 1760000000123 is 0000000000000000",
            ),
            (Preset::Card, "id94111111111111111x", "id94111111111111111x"),
            (Preset::Email, "from <a.b+c@mail.example.org>, not @x or a@b", "from <X>, not @x or a@b"),
            (
                Preset::Ipv4,
                "10.0.0.1:80 255.255.255.255 1.2.3 256.1.1.1 v1.2.3.4",
                "X:80 X 1.2.3 256.1.1.1 v1.2.3.4",
            ),
            (
                Preset::Ipv6,
                "[2001:db8::7]:443 ::1: fe80::1%eth0 at 12:34:56 ::ffff:10.0.0.1",
                "[X]:443 X: X%eth0 at 12:34:56 X",
            ),
            (Preset::Ipv6, "std::vec::Vec x::y 1:2", "std::vec::Vec x::y 1:2"),
            (Preset::Jwt, "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_x, eyJ.x", "Bearer X, eyJ.x"),
            (Preset::AwsKey, "key AKIAIOSFODNN7EXAMPLE and AKIAshort", "key X and AKIAshort"),
            (Preset::AwsKey, "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY;", "aws_X;"),
        ] {
            assert_eq!(left(preset, text), expected, "{preset:?}");
        }
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_another() {
        for part in ["1", ":", "a@", "1.", "eyJ", "4 ", "::", "a.", "AKIA", "secret_key="] {
            let text = part.repeat((1 << 17) / part.len());
            for preset in
                [Preset::Card, Preset::Email, Preset::Ipv4, Preset::Ipv6, Preset::Jwt, Preset::AwsKey]
            {
                left(preset, &text);
            }
        }
    }

    #[test]
    fn whole_fields_are_taken_out_or_masked() {
        let start = r#"{"password":"s3cret","user":{"ssn":"123-45-6789","pin":1234,"o":{}},"n":1}"#;
        let mut made = fields(start);
        let names = ["password", "user.ssn", "user.pin", "user.o", "none"];
        let step = redact(&names, vec![], x());
        step.apply(&mut made);
        assert_eq!(text(&made), r#"{"password":"X","user":{"ssn":"X","pin":"X","o":"X"},"n":1}"#);
        let mut made = fields(start);
        let step = redact(&["user.ssn", "user.pin"], vec![], Replacement::Mask(4));
        step.apply(&mut made);
        assert_eq!(
            text(&made),
            r#"{"password":"s3cret","user":{"ssn":"*******6789","pin":"****","o":{}},"n":1}"#
        );
    }

    #[test]
    fn objects_lists_and_numbers_are_looked_through() {
        let start = r#"{"a":{"b":["x \"4111111111111111\" y",{"c":4111111111111111}],"n":1.50e3},"u":"\u0034111111111111111","ok":"\u00e9"}"#;
        let card = || vec![Find::preset(Preset::Card).unwrap()];
        let mut made = fields(start);
        let step = redact(&[], card(), x());
        step.apply(&mut made);
        assert_eq!(text(&made), r#"{"a":{"b":["x \"X\" y",{"c":"X"}],"n":1.50e3},"u":"X","ok":"\u00e9"}"#);
        let mut made = fields(start);
        let step = redact(&["u"], card(), Replacement::Mask(4));
        step.apply(&mut made);
        assert!(
            text(&made).contains(r#""u":"************1111""#)
                && text(&made).contains(r#""c":4111111111111111"#)
        );
    }

    #[test]
    fn patterns_of_ones_own_are_replaced() {
        let find = vec![
            Find::pattern(Pattern::new("(?i)token=[^ &]*").unwrap()),
            Find::pattern(Pattern::new("z*").unwrap()),
        ];
        let mut made = fields(r#"{"log":"GET /?TOKEN=abc&x=zz"}"#);
        let step = redact(&[], find, x());
        step.apply(&mut made);
        assert_eq!(text(&made), r#"{"log":"GET /?X&x=X"}"#);
    }
}
