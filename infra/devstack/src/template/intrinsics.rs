//! Intrinsic functions that need no template, and the syntax of `Fn::Sub`.

use serde_json::{Map, Value};

use super::error::TemplateError;
use super::value::text;

/// Evaluates functions that depend on their resolved arguments alone.
pub(super) fn pure(
    name: &str,
    arguments: &Value,
    mappings: &Value,
) -> Result<Value, TemplateError> {
    let wrong = || TemplateError::Intrinsic(format!("{name} has invalid arguments: {arguments}"));
    let list = arguments.as_array().map(Vec::as_slice).ok_or_else(wrong)?;
    match (name, list) {
        ("Fn::FindInMap", [Value::String(map), first, second]) => {
            let found = text(first)
                .zip(text(second))
                .and_then(|(first, second)| mappings.get(map)?.get(first)?.get(second));
            found.cloned().ok_or_else(wrong)
        }
        _ => Err(TemplateError::Intrinsic(format!(
            "{name} is unsupported or has invalid arguments: {arguments}"
        ))),
    }
}

/// The only entry of a map, which may be an intrinsic function.
pub(super) fn single(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    match (entries.next(), entries.next()) {
        (Some((name, argument)), None) => Some((name, argument)),
        _ => None,
    }
}

/// A part of a `Fn::Sub` pattern.
pub(super) enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
    /// `${!Name}`, which becomes `${Name}`.
    Literal(&'a str),
}

/// Splits a `Fn::Sub` pattern.
pub(super) fn parts(pattern: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(start) = rest.find("${") {
        let Some(length) = rest[start + 2..].find('}') else {
            break;
        };
        let name = &rest[start + 2..start + 2 + length];
        parts.push(Part::Text(&rest[..start]));
        parts.push(match name.strip_prefix('!') {
            Some(literal) => Part::Literal(literal),
            None => Part::Name(name.trim()),
        });
        rest = &rest[start + 2 + length + 1..];
    }
    parts.push(Part::Text(rest));
    parts
}
