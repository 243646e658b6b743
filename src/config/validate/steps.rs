//! `process`: steps that must do something, patterns and times that must compile.

use std::collections::BTreeMap;

use super::Validator;
use crate::config::diagnostics::Path;
use crate::config::raw;
use crate::encode::Layout;
use crate::process::{
    AccessLog, Action, AddMetadata, Csv, Ec2Metadata, Find, Flatten, Groups, KeyValue, Keys, Level, Nest,
    OnError, Parse, Parser, Preset, Redact, Replacement, Sample, SetTime, SingleLine, Step, SyslogForm,
    TimeFormat, Truncate, Type,
};

impl Validator<'_> {
    pub(super) fn steps(&mut self, path: &Path, typed: &raw::List<raw::Step>, layout: &Layout) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, step) in typed.iter() {
            let path = path.index(index);
            let Some(step) = self.step(&path, step) else { continue };
            for name in step.own_names(|name| layout.is_own(name)) {
                let own = name.split('.').next().unwrap_or(name);
                let message = format!(
                    "sets {name:?}, but {own:?} is what the record says of itself: a field of that name is sent as \
                     \"log_{own}\" unless a later step takes it away; use another name, or give the record's own \
                     another one under `record: {{names: …}}`"
                );
                self.warn(&path, message);
            }
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, path: &Path, typed: &raw::Step) -> Option<Step> {
        let raw::BesideStep { when, on_error, error_field } = &typed.beside;
        let when = when.as_ref().map(|when| self.condition(&path.key("when"), when));
        let on_error = match on_error {
            raw::OnErrorName::Keep => OnError::Keep,
            raw::OnErrorName::Drop => OnError::Drop,
            raw::OnErrorName::DeadLetter => OnError::DeadLetter,
        };
        if error_field.is_some() && on_error != OnError::Keep {
            self.error(&path.key("error_field"), "has a meaning only with `on_error: keep`; leave it out");
        }
        let error_field = error_field.as_ref().map(|field| field.0.clone());
        self.action(path, &typed.action).map(|action| Step { action, when, on_error, error_field })
    }

    fn action(&mut self, path: &Path, typed: &raw::StepAction) -> Option<Action> {
        Some(match typed {
            raw::StepAction::Parse(raw::Parse::Named(name)) => Action::Parse(Parse::with(parser_of(*name))),
            raw::StepAction::Parse(raw::Parse::With(with)) => {
                return self.parser(&path.key("parse"), with).map(Action::Parse);
            }
            raw::StepAction::Time(raw::TimeStep::Field(field)) => {
                let format = TimeFormat::new(&[], None).ok()?;
                Action::Time(SetTime { field: field.0.clone(), format, keep: false })
            }
            raw::StepAction::Time(raw::TimeStep::With(with)) => {
                let formats: Vec<&str> = with.format.iter().map(|(_, format)| format.as_str()).collect();
                let format = self.time_format(&path.key("time"), "format", &formats, with.zone.as_deref())?;
                Action::Time(SetTime { field: with.field.as_ref()?.0.clone(), format, keep: with.keep })
            }
            raw::StepAction::SingleLine(lines) => {
                if lines.join.contains(['\n', '\r']) {
                    let message = "holds a line's end; put '\\n' into single quotes for a backslash and an n";
                    self.error(&path.key("single_line").key("join"), message);
                }
                Action::SingleLine(SingleLine { trim: lines.trim, join: lines.join.clone() })
            }
            raw::StepAction::Add(fields) => {
                let path = path.key("add");
                self.need_some(&path, fields.0.is_empty());
                let values = fields.0.iter().map(|(name, value)| {
                    self.need_field(&path, name);
                    let value = value.as_ref().map(|value| value.0.clone());
                    (name.clone(), value.unwrap_or_default())
                });
                Action::Add(values.collect())
            }
            raw::StepAction::AddMetadata(with) => {
                let metadata = with.metadata.as_ref()?.0.iter().map(|(name, value)| {
                    let value = value.as_ref().map(|value| value.0.clone());
                    (name.clone(), value.unwrap_or_default())
                });
                Action::AddMetadata(AddMetadata::new(metadata.collect(), with.timestamp))
            }
            raw::StepAction::Ec2Metadata(with) => Action::Ec2Metadata(Ec2Metadata {
                under: with.under.as_ref().map(|field| field.0.clone()),
                tags: with.tags,
                refresh: with.refresh.0,
            }),
            raw::StepAction::AddBrackets(raw::AddBrackets {}) => Action::AddBrackets,
            raw::StepAction::Remove(fields) => {
                self.need_some(&path.key("remove"), fields.is_empty());
                Action::Remove(fields.iter().map(|(_, field)| field.0.clone()).collect())
            }
            raw::StepAction::Rename(fields) => {
                let path = path.key("rename");
                self.need_some(&path, fields.0.is_empty());
                let mut names = BTreeMap::new();
                for (from, to) in &fields.0 {
                    self.need_field(&path, from);
                    let Some(to) = to else { continue };
                    if *from == to.0 {
                        self.error(&path.key(from), "is renamed to itself; leave it out");
                    }
                    names.insert(from.clone(), to.0.clone());
                }
                Action::Rename(names)
            }
            raw::StepAction::Flatten(flatten) => Action::Flatten(Flatten {
                fields: names_of(&flatten.fields),
                separator: flatten.separator.clone(),
            }),
            raw::StepAction::Nest(nest) => {
                if nest.fields.is_empty() && nest.prefix.is_none() {
                    self.error(&path.key("nest"), "moves nothing; name `fields` or a `prefix`");
                }
                Action::Nest(Nest {
                    under: nest.under.as_ref()?.0.clone(),
                    fields: names_of(&nest.fields),
                    prefix: nest.prefix.as_ref().map(|prefix| prefix.0.clone()),
                })
            }
            raw::StepAction::Keys(keys) => {
                if !keys.lower_case && keys.dots.is_none() {
                    self.error(
                        &path.key("keys"),
                        "changes nothing; say `lower_case: true`, or what `dots` become",
                    );
                }
                if keys.dots.as_ref().is_some_and(|dots| dots.contains('.')) {
                    self.error(&path.key("keys").key("dots"), "holds a dot itself");
                }
                Action::Keys(Keys { lower_case: keys.lower_case, dots: keys.dots.clone() })
            }
            raw::StepAction::Redact(redact) => Action::Redact(self.redact(&path.key("redact"), redact)),
            raw::StepAction::Truncate(truncate) => {
                let fields = truncate.fields.as_ref()?;
                self.need_some(&path.key("truncate").key("fields"), fields.is_empty());
                let max_size = truncate.max_size.as_ref()?.0.0 as usize;
                Action::Truncate(Truncate { fields: names_of(fields), max_size })
            }
            raw::StepAction::Level(level) => {
                self.need_some(&path.key("level").key("from"), level.from.is_empty());
                Action::Level(Level {
                    from: names_of(&level.from),
                    to: level.to.0.clone(),
                    default: level.otherwise.as_ref().map(|level| level.0.clone()),
                })
            }
            raw::StepAction::Drop(condition) => Action::Drop(self.condition(&path.key("drop"), condition)),
            raw::StepAction::Keep(condition) => Action::Keep(self.condition(&path.key("keep"), condition)),
            raw::StepAction::Sample(sample) => Action::Sample(Sample {
                percent: sample.percent?,
                by: sample.by.as_ref().map(|by| by.0.clone()),
            }),
        })
    }

    fn redact(&mut self, path: &Path, typed: &raw::Redact) -> Redact {
        if typed.fields.is_empty() && typed.presets.is_empty() && typed.patterns.is_empty() {
            self.error(path, "takes nothing out; name `fields`, `presets` or `patterns`");
        }
        if typed.with.is_some() && typed.mask_all_but.is_some() {
            self.error(path, "`with` and `mask_all_but` say two different things; keep one");
        }
        let preset = |preset: &raw::PresetName| match preset {
            raw::PresetName::Card => Preset::Card,
            raw::PresetName::Email => Preset::Email,
            raw::PresetName::Ipv4 => Preset::Ipv4,
            raw::PresetName::Ipv6 => Preset::Ipv6,
            raw::PresetName::Jwt => Preset::Jwt,
            raw::PresetName::AwsKey => Preset::AwsKey,
        };
        let mut find = Vec::new();
        for (index, name) in typed.presets.iter() {
            match Find::preset(preset(name)) {
                Ok(one) => find.push(one),
                Err(message) => self.error(&path.key("presets").index(index), message),
            }
        }
        find.extend(typed.patterns.iter().map(|(_, pattern)| Find::pattern(pattern.0.clone())));
        let with = match typed.mask_all_but {
            Some(keep) => Replacement::Mask(keep as usize),
            None => Replacement::Text(typed.with.clone().unwrap_or_else(|| "[redacted]".to_owned())),
        };
        Redact { fields: names_of(&typed.fields), find, with }
    }

    fn parser(&mut self, path: &Path, typed: &raw::ParseWith) -> Option<Parse> {
        use raw::ParseWith as With;
        let access = |log, options: &raw::AccessOptions| {
            let parser = Parser::Access { log, split_request: options.split_request };
            (parser, options.common())
        };
        let (name, (parser, common)) = match typed {
            With::Json(options) => ("json", (Parser::Json, options.common())),
            With::Logfmt(options) => ("logfmt", (Parser::Logfmt, options.common())),
            With::Csv(options) => {
                let path = path.key("csv");
                ("csv", (Parser::Csv(self.csv(&path, options)?), options.common()))
            }
            With::Regex(options) => {
                let path = path.key("regex");
                ("regex", (Parser::Regex(self.groups(&path, options)?), options.common()))
            }
            With::CommonApacheLog(options) => ("common_apache_log", access(AccessLog::Common, options)),
            With::CombinedApacheLog(options) => ("combined_apache_log", access(AccessLog::Combined, options)),
            With::ApacheErrorLog(options) => ("apache_error_log", (Parser::ApacheError, options.common())),
            With::NginxAccess(options) => ("nginx_access", access(AccessLog::Nginx, options)),
            With::NginxError(options) => ("nginx_error", (Parser::NginxError, options.common())),
            With::Syslog(options) => {
                let form = match options.form {
                    raw::SyslogFormName::Auto => SyslogForm::Auto,
                    raw::SyslogFormName::Rfc3164 => SyslogForm::Rfc3164,
                    raw::SyslogFormName::Rfc3339 => SyslogForm::Rfc3339,
                    raw::SyslogFormName::Rfc5424 => SyslogForm::Rfc5424,
                };
                ("syslog", (Parser::Syslog(form), options.common()))
            }
            With::Klog(options) => ("klog", (Parser::Klog, options.common())),
            With::KeyValue(options) => {
                let path = path.key("key_value");
                ("key_value", (Parser::KeyValue(self.key_value(&path, options)), options.common()))
            }
        };
        let types = self.types(&path.key(name).key("types"), &common);
        Some(Parse {
            field: common.field.map(|field| field.0),
            under: common.under.map(|field| field.0),
            keep_original: common.keep_original,
            types,
            ..Parse::with(parser)
        })
    }

    fn csv(&mut self, path: &Path, typed: &raw::CsvOptions) -> Option<Csv> {
        let fields = typed.fields.as_ref()?;
        self.need_some(&path.key("fields"), fields.is_empty());
        let fields: Vec<String> = fields.iter().map(|(_, field)| field.0.clone()).collect();
        self.need_distinct(&path.key("fields"), &fields);
        let delimiter = match typed.delimiter.as_deref().unwrap_or(",").as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => *byte,
            _ => {
                let message = "must be one character of ASCII other than a quote or a line's end, such as \",\" or \
                               \"\\t\"";
                self.error(&path.key("delimiter"), message);
                b','
            }
        };
        Some(Csv { fields, delimiter })
    }

    fn groups(&mut self, path: &Path, typed: &raw::RegexOptions) -> Option<Groups> {
        let pattern = typed.pattern.as_ref()?.0.clone();
        let names: Vec<String> = typed.fields.iter().map(|(_, field)| field.0.clone()).collect();
        self.need_distinct(&path.key("fields"), &names);
        let at = if names.is_empty() { "pattern" } else { "fields" };
        match Groups::new(pattern, &names) {
            Ok(groups) => Some(groups),
            Err(message) => {
                self.error(&path.key(at), message);
                None
            }
        }
    }

    fn key_value(&mut self, path: &Path, typed: &raw::KeyValueOptions) -> KeyValue {
        let mut separator = |key: &str, said: &Option<String>, default: &str| {
            let text = said.as_deref().unwrap_or(default);
            if text.is_empty() {
                self.error(&path.key(key), "is empty; write what stands there, or leave it out");
            }
            text.to_owned()
        };
        let pairs = separator("between_pairs", &typed.between_pairs, " ");
        let pair = separator("between_name_and_value", &typed.between_name_and_value, "=");
        if pairs == pair {
            self.error(path, "between_pairs and between_name_and_value are the same");
        }
        KeyValue { between_pairs: pairs, between_name_and_value: pair }
    }

    fn types(&mut self, path: &Path, typed: &raw::ParseOptions) -> Vec<(String, Type)> {
        let mut types = Vec::new();
        for (name, typed) in &typed.types.0 {
            let kind = match typed {
                None => continue,
                Some(raw::TypeOfField::Named(raw::TypeName::Int)) => Some(Type::Int),
                Some(raw::TypeOfField::Named(raw::TypeName::Float)) => Some(Type::Float),
                Some(raw::TypeOfField::Named(raw::TypeName::Bool)) => Some(Type::Bool),
                Some(raw::TypeOfField::Named(raw::TypeName::Text)) => Some(Type::Text),
                Some(raw::TypeOfField::Named(raw::TypeName::Time)) => {
                    TimeFormat::new(&[], None).ok().map(Type::Time)
                }
                Some(raw::TypeOfField::Time(time)) => {
                    let formats: Vec<&str> = time.time.iter().map(|(_, format)| format.0.as_str()).collect();
                    let format = self.time_format(&path.key(name), "time", &formats, time.zone.as_deref());
                    format.map(Type::Time)
                }
            };
            types.extend(kind.map(|kind| (name.clone(), kind)));
        }
        types
    }

    fn time_format(
        &mut self,
        path: &Path,
        key: &str,
        formats: &[&str],
        zone: Option<&str>,
    ) -> Option<TimeFormat> {
        if let Err(message) = TimeFormat::new(&[], zone) {
            self.error(&path.key("zone"), message);
            return None;
        }
        match TimeFormat::new(formats, zone) {
            Ok(format) => Some(format),
            Err(message) => {
                self.error(&path.key(key), message);
                None
            }
        }
    }

    fn need_distinct(&mut self, path: &Path, names: &[String]) {
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                self.error(path, format!("{name:?} is there twice; every field needs a name of its own"));
            }
        }
    }

    fn need_some(&mut self, path: &Path, empty: bool) {
        if empty {
            self.error(path, "is empty; name at least one field, or leave the step out");
        }
    }

    fn need_field(&mut self, path: &Path, name: &str) {
        if let Some(Err(message)) = raw::Form::named("field").map(|form| (form.check)(name)) {
            let path = path.key(name);
            let place = self.document.locate_key(&path);
            self.errors.add(place, &path, message);
        }
    }
}

fn names_of(fields: &raw::OneOrMany<raw::FieldName>) -> Vec<String> {
    fields.iter().map(|(_, field)| field.0.clone()).collect()
}

/// A parser by its name alone.
pub(in crate::config) fn parser_of(name: raw::ParserName) -> Parser {
    let access = |log| Parser::Access { log, split_request: false };
    match name {
        raw::ParserName::Json => Parser::Json,
        raw::ParserName::Logfmt => Parser::Logfmt,
        raw::ParserName::CommonApacheLog => access(AccessLog::Common),
        raw::ParserName::CombinedApacheLog => access(AccessLog::Combined),
        raw::ParserName::ApacheErrorLog => Parser::ApacheError,
        raw::ParserName::NginxAccess => access(AccessLog::Nginx),
        raw::ParserName::NginxError => Parser::NginxError,
        raw::ParserName::Syslog => Parser::Syslog(SyslogForm::Auto),
        raw::ParserName::Klog => Parser::Klog,
        raw::ParserName::KeyValue => {
            Parser::KeyValue(KeyValue { between_pairs: " ".into(), between_name_and_value: "=".into() })
        }
    }
}
