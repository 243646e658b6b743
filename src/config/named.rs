//! Parsers and stack traces by the names that the configuration has for them, said elsewhere.

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, IntoDeserializer};

use super::raw;
use super::validate::parser_of;
use crate::decode::Multiline;
use crate::process::Parser;

/// A parser that can be named without settings; the error names all that there are.
pub fn parser_named(name: &str) -> Result<Parser, String> {
    named(name).map(parser_of)
}

/// The stack traces of these languages; the error names all that there are.
pub fn traces_named<'n>(names: impl Iterator<Item = &'n str>) -> Result<Multiline, String> {
    let names = names.map(named::<raw::TraceName>);
    let names: Vec<_> = names.map(|name| name.map(Into::into)).collect::<Result<_, String>>()?;
    Ok(Multiline::traces(&names))
}

fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    let text: StrDeserializer<'_, Error> = name.into_deserializer();
    T::deserialize(text).map_err(|error| error.to_string())
}
