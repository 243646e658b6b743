//! Parsers, as typed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::Regex;
use super::{Entries, FieldName, OneOrMany, Text};

/// A parser: its name, or its name with settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum Parse {
    /// A parser's name.
    Named(ParserName),
    /// A parser's name and its settings.
    With(ParseWith),
}

/// A parser that can be named without settings.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum ParserName {
    /// a JSON object
    Json,
    /// `name=value` pairs, values with blanks in quotes
    Logfmt,
    /// the common log format of Apache httpd
    CommonApacheLog,
    /// the combined log format of Apache httpd
    CombinedApacheLog,
    /// the error log of Apache httpd
    ApacheErrorLog,
    /// nginx's access log in its `combined` form, with `$http_x_forwarded_for` behind it or without
    NginxAccess,
    /// nginx's error log
    NginxError,
    /// syslog of RFC 3164, of RFC 5424, or of RFC 3164 with a time of RFC 3339
    Syslog,
    /// the log of Kubernetes' own components
    Klog,
    /// names and values with separators of your own
    KeyValue,
}

/// A parser with settings.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum ParseWith {
    /// A JSON object.
    Json(ParseOptions),
    /// Pairs like `name=value`.
    Logfmt(ParseOptions),
    /// Columns with a separator between them, quoted as in RFC 4180.
    Csv(CsvOptions),
    /// A regular expression with groups.
    Regex(RegexOptions),
    /// The common log format of Apache httpd.
    CommonApacheLog(AccessOptions),
    /// The combined log format of Apache httpd.
    CombinedApacheLog(AccessOptions),
    /// The error log of Apache httpd.
    ApacheErrorLog(ParseOptions),
    /// The access log of nginx.
    NginxAccess(AccessOptions),
    /// The error log of nginx.
    NginxError(ParseOptions),
    /// Syslog.
    Syslog(SyslogOptions),
    /// The log of Kubernetes' own components.
    Klog(ParseOptions),
    /// Names and values.
    KeyValue(KeyValueOptions),
}

/// Settings of a parser: its own, and those that all have.
macro_rules! parser_options {
    ($($(#[$attribute:meta])* $name:ident { $($own:tt)* })+) => {
        $(
            $(#[$attribute])*
            #[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
            #[serde(default, deny_unknown_fields)]
            pub(crate) struct $name {
                $($own)*
                /// The field whose text is parsed; the message's text unless said.
                #[schemars(example = &"message")]
                pub(crate) field: Option<FieldName>,
                /// Puts the parsed fields under this one. Without it they become the record's own.
                #[schemars(example = &"app")]
                pub(crate) under: Option<FieldName>,
                /// Keeps the text that was parsed beside the parsed fields.
                pub(crate) keep_original: bool,
                /// What parsed fields become: `int`, `float`, `bool`, `text`, `time`, or `{time: format}`, with
                /// `zone` for times that do not tell theirs. What is empty or `-` becomes null.
                #[schemars(example = serde_json::json!({"bytes": "int", "latency": "float"}))]
                pub(crate) types: Entries<TypeOfField>,
            }

            impl $name {
                /// What all parsers have.
                pub(crate) fn common(&self) -> ParseOptions {
                    ParseOptions {
                        field: self.field.clone(),
                        under: self.under.clone(),
                        keep_original: self.keep_original,
                        types: self.types.clone(),
                    }
                }
            }
        )+
    };
}

parser_options! {
    /// Settings of a parser that has none of its own.
    ParseOptions {}

    /// Settings of `csv`.
    CsvOptions {
        /// The names of the columns in their order. A column that a line lacks is null; what has no name is
        /// dropped.
        #[schemars(
            required,
            example = &["at", "user", "action"],
            extend("x-missing" = "name the columns, such as `fields: [at, user, action]`")
        )]
        pub(crate) fields: Option<OneOrMany<FieldName>>,
        /// What stands between two columns: one character of ASCII; a comma unless said.
        #[schemars(example = &";")]
        pub(crate) delimiter: Option<String>,
    }

    /// Settings of `regex`.
    RegexOptions {
        /// The expression. It is searched for in the text: `^` and `$` make it stand for the whole.
        #[schemars(
            required,
            example = &"^(?<level>[A-Z]+) (?<message>.*)$",
            extend("x-missing" = "write the expression, such as `pattern: '^(?<level>[A-Z]+) (?<message>.*)$'`")
        )]
        pub(crate) pattern: Option<Regex>,
        /// The names of the groups' fields in the order of the groups; a group that took no part is null. Without
        /// it, the named groups, and those that took no part are left out.
        #[schemars(example = &["level", "message"])]
        pub(crate) fields: OneOrMany<FieldName>,
    }

    /// Settings of an access log.
    AccessOptions {
        /// Adds `method`, `path` and `protocol`, taken out of `request`.
        pub(crate) split_request: bool,
    }

    /// Settings of `syslog`.
    SyslogOptions {
        /// How the lines are written.
        pub(crate) form: SyslogFormName,
    }

    /// Settings of `key_value`.
    KeyValueOptions {
        /// What stands between two pairs; a blank unless said.
        #[schemars(example = &";")]
        pub(crate) between_pairs: Option<String>,
        /// What stands between a name and its value; `=` unless said.
        #[schemars(example = &":")]
        pub(crate) between_name_and_value: Option<String>,
    }
}

/// How syslog lines are written.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum SyslogFormName {
    /// as each line tells
    #[default]
    Auto,
    /// `Jan  2 03:04:05 host program[12]: message`
    Rfc3164,
    /// the same with a time such as `2026-01-02T03:04:05.678+01:00`
    Rfc3339,
    /// `<165>1 2026-01-02T03:04:05.678Z host program 12 id [data name="value"] message`
    Rfc5424,
}

/// What a field becomes.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum TypeOfField {
    /// A type's name.
    Named(TypeName),
    /// A time with its format.
    Time(TypeTime),
}

/// A type that needs no settings.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum TypeName {
    /// a whole number
    Int,
    /// a number
    Float,
    /// true or false
    Bool,
    /// a text
    Text,
    /// a time, in any of the formats that have a name
    Time,
}

/// A time with its format.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeTime {
    /// How the time is written, tried in turn: the name of a format, or a pattern of strptime.
    #[schemars(example = &"%d/%b/%Y:%H:%M:%S %z")]
    pub(crate) time: OneOrMany<Text>,
    /// The zone of times that do not tell their own.
    #[schemars(example = &"Europe/Berlin")]
    #[serde(default)]
    pub(crate) zone: Option<String>,
}
