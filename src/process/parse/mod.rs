//! Parsers: a message's text taken apart into fields.
//!
//! All but the JSON parser work on bytes, so that a byte that is not UTF-8 costs no more than itself. Values
//! are parts of the text and borrowed from it; only escapes that are taken off make a copy. A parser either
//! takes the whole text or fails: nothing of a line is lost silently.

mod access;
mod pairs;
mod scan;
mod separated;
mod server_error;
mod syslog;

use std::borrow::Cow;

pub use access::AccessLog;
pub use pairs::KeyValue;
pub use separated::{Csv, Groups};
pub use syslog::SyslogForm;

use super::context::Context;
use super::types::{self, Type};
use super::{json, reach};
use crate::event::{Field, Fields, LOG, Value};

/// How a text is taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parser {
    /// One JSON object.
    Json,
    /// Columns.
    Csv(Csv),
    /// A pattern with groups.
    Regex(Groups),
    /// An access log; with `split_request` also the request's method, path and protocol.
    Access {
        /// Which one.
        log: AccessLog,
        /// Whether the request is taken apart, too.
        split_request: bool,
    },
    /// Apache's error log.
    ApacheError,
    /// nginx's error log.
    NginxError,
    /// Syslog.
    Syslog(SyslogForm),
    /// `name=value name="value"`
    Logfmt,
    /// Names and values with separators of one's own.
    KeyValue(KeyValue),
    /// The log of Kubernetes' own components.
    Klog,
}

impl Parser {
    /// What a step with it is called, and where it is counted.
    pub(super) fn step_name(&self) -> &'static str {
        match self {
            Parser::Json => "parse: json",
            Parser::Csv(_) => "parse: csv",
            Parser::Regex(_) => "parse: regex",
            Parser::Access { log: AccessLog::Common, .. } => "parse: common_apache_log",
            Parser::Access { log: AccessLog::Combined, .. } => "parse: combined_apache_log",
            Parser::Access { log: AccessLog::Nginx, .. } => "parse: nginx_access",
            Parser::ApacheError => "parse: apache_error_log",
            Parser::NginxError => "parse: nginx_error",
            Parser::Syslog(_) => "parse: syslog",
            Parser::Logfmt => "parse: logfmt",
            Parser::KeyValue(_) => "parse: key_value",
            Parser::Klog => "parse: klog",
        }
    }

    /// Appends the fields of a text; none if it is not of the form, and then some may have been appended.
    fn parse<'t>(&'t self, text: &'t [u8], into: &mut Vec<Field<'t>>) -> Option<()> {
        match self {
            Parser::Json => {
                let text = Cow::Borrowed(std::str::from_utf8(text).ok()?);
                json::read_fields(&text, into).then_some(())
            }
            Parser::Csv(form) => separated::csv(form, text, into),
            Parser::Regex(groups) => separated::regex(groups, text, into),
            Parser::Access { log, split_request } => access::parse(*log, *split_request, text, into),
            Parser::ApacheError => server_error::apache(text, into),
            Parser::NginxError => server_error::nginx(text, into),
            Parser::Syslog(form) => syslog::parse(*form, text, into),
            Parser::Logfmt => pairs::logfmt(text, into),
            Parser::KeyValue(form) => pairs::key_value(form, text, into),
            Parser::Klog => pairs::klog(text, into),
        }
    }
}

/// A parser, what it is used on and where its fields go.
#[derive(Clone, Debug, PartialEq)]
pub struct Parse {
    /// How the text is taken apart.
    pub parser: Parser,
    /// The field whose text it is; the message's text unless said.
    pub field: Option<String>,
    /// Puts the fields under this one instead of merging them at the top.
    pub under: Option<String>,
    /// Keeps the text beside the parsed fields. Where parsing fails it is always kept.
    pub keep_original: bool,
    /// What the fields of these names become.
    pub types: Vec<(String, Type)>,
}

#[expect(clippy::ptr_arg, reason = "only borrowed text can be borrowed from")]
impl Parse {
    /// With a parser, and nothing special.
    pub fn with(parser: Parser) -> Self {
        Self { parser, field: None, under: None, keep_original: false, types: Vec::new() }
    }

    /// Returns `false` if the text is not of the form; then nothing has changed.
    pub(super) fn apply<'a>(&'a self, fields: &mut Fields<'a>, context: &Context<'_>) -> bool {
        let source = self.field.as_deref().unwrap_or(LOG);
        let Some(text) = reach::text(fields, source) else {
            return false;
        };
        match &self.under {
            Some(under) => self.put_under(fields, source, &text, under, context),
            None => self.merge(fields, source, &text, context),
        }
    }

    fn read<'a>(&'a self, text: &Cow<'a, [u8]>, context: &Context<'_>, into: &mut Vec<Field<'a>>) -> bool {
        match text {
            Cow::Borrowed(text) => self.read_part(text, context, into),
            Cow::Owned(text) => {
                let mut own = Vec::new();
                let done = self.read_part(text, context, &mut own);
                into.extend(own.into_iter().map(|field| -> Field<'a> { field.into_owned() }));
                done
            }
        }
    }

    fn read_part<'t>(&'t self, text: &'t [u8], context: &Context<'_>, into: &mut Vec<Field<'t>>) -> bool {
        let first = into.len();
        self.parser.parse(text, into).is_some() && types::convert(&self.types, &mut into[first..], context)
    }

    /// Puts the fields in place of the text.
    fn merge<'a>(
        &'a self,
        fields: &mut Fields<'a>,
        source: &'a str,
        text: &Cow<'a, [u8]>,
        context: &Context<'_>,
    ) -> bool {
        if self.keep_original {
            return fields.append_with(None, |into| {
                let first = into.len();
                let done = self.read(text, context, into);
                // The text keeps its name.
                for field in into[first..].iter_mut().filter(|field| field.name == source) {
                    field.name = Cow::Owned(format!("{LOG}_{source}"));
                }
                done
            });
        }
        if fields.get(source).is_some() {
            return fields.append_with(Some(source), |into| self.read(text, context, into));
        }
        let mut parsed = Vec::new();
        if !self.read(text, context, &mut parsed) {
            return false;
        }
        // Taken from inside its object before a parsed field may take that object's place.
        reach::take(fields, source);
        fields.append_with(None, |into| {
            into.append(&mut parsed);
            true
        })
    }

    /// Puts the fields under one.
    fn put_under<'a>(
        &'a self,
        fields: &mut Fields<'a>,
        source: &'a str,
        text: &Cow<'a, [u8]>,
        under: &'a str,
        context: &Context<'_>,
    ) -> bool {
        let Some(object) = self.object(text, context) else {
            return false;
        };
        // Taken away first, so that `under` may be, or lie in, a new field of the same name.
        let original = if self.keep_original { None } else { reach::take(fields, source) };
        let done = reach::set(fields, under, object).is_ok();
        if let (false, Some(original)) = (done, original)
            && let Err(original) = reach::set(fields, source, original)
        {
            fields.set(source, original);
        }
        done
    }

    fn object<'a>(&'a self, text: &Cow<'a, [u8]>, context: &Context<'_>) -> Option<Value<'a>> {
        if self.parser == Parser::Json && self.types.is_empty() {
            // The object stays the text that it is.
            return match text {
                Cow::Borrowed(text) => {
                    json::object_text(std::str::from_utf8(text).ok()?).map(|text| Value::Raw(text.into()))
                }
                Cow::Owned(text) => {
                    let object = json::object_text(std::str::from_utf8(text).ok()?)?;
                    Some(Value::Raw(Cow::Owned(object.to_owned())))
                }
            };
        }
        let mut object = Fields::default();
        object.append_with(None, |into| self.read(text, context, into)).then_some(Value::Object(object))
    }
}

#[cfg(test)]
mod tests;
