//! Scalars with a form of their own. Each reads itself from text, and is known to the schema by the name of
//! its form (`format`), so that the file is checked against the schema with the same reader.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::aws::{
    read_dimension_value, read_endpoint, read_firehose_stream, read_hash_key, read_kinesis_stream,
    read_namespace, read_partition_key, read_region, read_role_arn, read_sts,
};
use crate::deliver::MetricPattern;
use crate::kubernetes::NamePattern;
use crate::process;
use crate::tail::Pattern;
use crate::units::{ByteSize, format_duration, parse_duration};

macro_rules! scalars {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident($inner:ty), $format:literal, $what:literal,
            $read:expr, $write:expr;
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub(crate) struct $name(pub(crate) $inner);

            impl $name {
                fn read(text: &str) -> Result<Self, String> {
                    let read: fn(&str) -> Result<$inner, String> = $read;
                    read(text).map(Self)
                }
            }

            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let text = String::deserialize(deserializer)?;
                    Self::read(&text).map_err(serde::de::Error::custom)
                }
            }

            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let write: fn(&$inner) -> String = $write;
                    serializer.serialize_str(&write(&self.0))
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn inline_schema() -> bool {
                    true
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "format": $format })
                }
            }
        )+

        const FORMS: &[Form] = &[
            $(Form { name: $format, what: $what, check: |text| $name::read(text).map(drop) }),+
        ];
    };
}

/// What is known of a scalar's form by its name in the schema.
pub(crate) struct Form {
    name: &'static str,
    /// For messages: "a size such as 64MiB".
    pub(crate) what: &'static str,
    /// Why a text is not of this form.
    pub(crate) check: fn(&str) -> Result<(), String>,
}

impl Form {
    pub(crate) fn named(name: &str) -> Option<&'static Form> {
        FORMS.iter().find(|form| form.name == name)
    }
}

scalars! {
    /// Bytes.
    Size(ByteSize), "size", "a size such as 512KiB or 64MiB",
        |text| text.parse().map_err(display), ToString::to_string;
    /// A time to the millisecond.
    Time(Duration), "duration", "a time such as 500ms or 5s",
        |text| parse_duration(text).map_err(display), |time| format_duration(*time);
    /// Text that says something.
    Text(String), "text", "a text",
        read_text, Clone::clone;
    /// A path of the file system.
    FilePath(PathBuf), "path", "a path",
        |text| read_text(text).map(PathBuf::from), |path| path.display().to_string();
    /// An absolute folder.
    Folder(PathBuf), "folder", "an absolute path",
        read_folder, |path| path.display().to_string();
    /// A pattern of absolute paths.
    Glob(Pattern), "path-pattern", "a pattern of paths such as /var/log/**/*.log",
        |text| Pattern::new(text).map_err(display), |pattern| pattern.as_str().to_owned();
    /// A name of a destination or route.
    Name(String), "name", "a name",
        read_name, Clone::clone;
    /// A dotted name of a field.
    FieldName(String), "field", "the name of a field",
        read_field, Clone::clone;
    /// A pattern of a pod's, namespace's or container's name.
    NameGlob(NamePattern), "name-pattern", "a pattern of a name such as shop-*",
        NamePattern::new, |pattern| pattern.as_str().to_owned();
    /// A regular expression.
    Regex(process::Pattern), "regex", "a regular expression",
        process::Pattern::new, |pattern| pattern.as_str().to_owned();
    /// The name of a delivery stream.
    FirehoseStream(String), "firehose-stream", "the name of a delivery stream",
        read_firehose_stream, Clone::clone;
    /// The name or ARN of a data stream.
    KinesisStream(String), "kinesis-stream", "the name or ARN of a data stream",
        read_kinesis_stream, Clone::clone;
    /// A partition key.
    Key(String), "partition-key", "`random`, `content_hash`, a template or a fixed key",
        read_partition_key, Clone::clone;
    /// What takes the place of a partition key's hash.
    HashKey(String), "hash-key", "a number, or a template of one",
        read_hash_key, Clone::clone;
    /// A region of AWS.
    Region(String), "aws-region", "a region such as eu-central-1",
        read_region, Clone::clone;
    /// A URL of a service.
    Endpoint(String), "endpoint", "a URL such as https://host",
        read_endpoint, Clone::clone;
    /// The ARN of a role.
    RoleArn(String), "role-arn", "a role's ARN such as arn:aws:iam::123456789012:role/name",
        read_role_arn, Clone::clone;
    /// What a role's trust policy asks for.
    ExternalId(String), "external-id", "an external id",
        |text| read_sts(text, "an external id", 1224, "+=,.@:/-_"), Clone::clone;
    /// The name of an assumed role's session.
    SessionName(String), "session-name", "a session's name",
        |text| read_sts(text, "a session's name", 64, "+=,.@-_"), Clone::clone;
    /// A namespace of CloudWatch.
    Namespace(String), "cloudwatch-namespace", "a namespace of CloudWatch such as kinetail",
        read_namespace, Clone::clone;
    /// The value of a dimension of CloudWatch.
    DimensionValue(String), "cloudwatch-dimension", "the value of a dimension",
        read_dimension_value, Clone::clone;
    /// A name of metrics.
    MetricName(MetricPattern), "metric-name", "the name of a metric such as kinetail_lag_seconds, or kinetail_lag_*",
        MetricPattern::new, |name| name.as_str().to_owned();
    /// An address and port to listen on.
    Listen(SocketAddr), "listen-address", "an address and port such as 127.0.0.1:9602",
        read_listen, ToString::to_string;
    /// What of kinetail's own log is written.
    LogFilter(String), "log-filter", "a level such as info, or a filter such as kinetail=debug,warn",
        read_log_filter, Clone::clone;
}

fn display(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn read_text(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty; write a value, or leave the key out".to_owned());
    }
    if text.contains('\0') {
        return Err("holds a NUL character".to_owned());
    }
    Ok(text.to_owned())
}

fn read_folder(text: &str) -> Result<PathBuf, String> {
    if text.starts_with('/') {
        Ok(PathBuf::from(read_text(text)?))
    } else {
        Err(format!("{text:?} is not an absolute path; begin it with a /"))
    }
}

/// A name becomes a folder of `data_dir` and a label of metrics.
fn read_name(text: &str) -> Result<String, String> {
    let fits = (1..=64).contains(&text.len()) && only(text, "_.-") && text != "." && text != "..";
    if fits {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no name; use 1 to 64 of A-Z a-z 0-9 _ . -"))
    }
}

fn read_field(text: &str) -> Result<String, String> {
    if text.split('.').any(str::is_empty) {
        return Err(format!("{text:?} is not the name of a field; write it like level or http.status"));
    }
    Ok(text.to_owned())
}

fn read_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is not an IP address and port; write it like 127.0.0.1:9602, 0.0.0.0:9602 or [::]:9602"
        )
    })
}

fn read_log_filter(text: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word.trim()));
    // tracing takes a lone word that is no level for the name of a module, and then logs nothing else.
    let lone = text.split(',').find(|part| !part.contains(['=', '[', ':']) && !is_level(part));
    if let Some(word) = lone {
        let near = crate::config::diagnostics::did_you_mean(word, LEVELS);
        return Err(format!("{word:?} is not a level{near}; levels are {}", LEVELS.join(", ")));
    }
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is not a log filter: {error}")),
    }
}

pub(super) fn only(text: &str, others: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[track_caller]
    pub(crate) fn check(form: &str, good: &[&str], bad: &[&str]) {
        let form = Form::named(form).expect("a form of this name");
        for text in good {
            assert_eq!((form.check)(text), Ok(()), "{text}");
        }
        for text in bad {
            assert!((form.check)(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_fit_a_folder() {
        check("name", &["a", "audit-1", "a.b_c"], &["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)]);
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        check(
            "log-filter",
            &["info", "WARN", "kinetail=debug,warn", "kinetail::tail=trace,off"],
            &["infoo", "kinetail=loud", "warn,debgu", ""],
        );
    }
}
