//! Helpers for JSON values.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::TemplateError;

/// Deserializes the properties of the resource `name`.
pub(super) fn deserialize<T: DeserializeOwned>(
    value: Value,
    name: &str,
) -> Result<T, TemplateError> {
    serde_json::from_value(value).map_err(|error| TemplateError::Resource {
        resource: name.to_owned(),
        reason: error.to_string(),
    })
}

/// A scalar as text, which is the type of every value in CloudFormation.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Merges maps recursively. Other values of `over` replace those of `base`.
pub(super) fn merge(base: &Value, over: Value) -> Value {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            let mut map = base.clone();
            for (key, value) in over {
                let value = match map.get(&key) {
                    Some(base) => merge(base, value),
                    None => value,
                };
                map.insert(key, value);
            }
            Value::Object(map)
        }
        (_, over) => over,
    }
}

/// Removes and returns a map's entry; an empty map if there is none.
pub(super) fn take(value: &mut Value, key: &str) -> Value {
    let entry = value.get_mut(key).map(Value::take);
    entry.unwrap_or_else(|| Value::Object(Map::new()))
}
