//! Validation by the part of JSON Schema that the document uses. A library would add a dozen crates to the build.
//!
//! Stricter than the document: an object has no unlisted fields.

use regex_lite::Regex;
use serde_json::{Map, Value, json};

/// Keywords that do not constrain values.
const ANNOTATIONS: [&str; 2] = ["description", "default"];

/// Validates a value. `document` resolves references.
pub(super) fn validate(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().ok_or("the schema is not an object")?;
    for (keyword, argument) in keywords {
        let is_valid = match keyword.as_str() {
            "$ref" => {
                let pointer = argument.as_str().and_then(|it| it.strip_prefix('#'));
                let referred = pointer.and_then(|pointer| document.pointer(pointer));
                validate(document, referred.ok_or("a reference leads nowhere")?, value)?;
                true
            }
            "type" => match argument {
                Value::Array(types) => types.iter().any(|name| is_type(value, name)),
                name => is_type(value, name),
            },
            "const" => value == argument,
            "enum" => argument.as_array().is_some_and(|values| values.contains(value)),
            "anyOf" => {
                let options = argument.as_array().into_iter().flatten();
                options.map(|option| validate(document, option, value)).any(|it| it.is_ok())
            }
            "properties" | "required" => match value {
                Value::Object(fields) => {
                    validate_fields(document, keywords, fields).map(|()| true)?
                }
                _ => true,
            },
            "additionalProperties" => *argument == false,
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(document, argument, item)?;
                }
                true
            }
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= argument.as_u64().unwrap()),
            "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
            "pattern" => {
                let pattern = Regex::new(argument.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "format" => value.as_str().is_none_or(|text| has_format(text, argument)),
            keyword if ANNOTATIONS.contains(&keyword) => true,
            keyword => return Err(format!("the keyword {keyword} is unknown here")),
        };
        if !is_valid {
            return Err(format!("{keyword} is {argument}, and the value is {value}"));
        }
    }
    Ok(())
}

fn validate_fields(
    document: &Value,
    keywords: &Map<String, Value>,
    fields: &Map<String, Value>,
) -> Result<(), String> {
    let required = keywords.get("required").and_then(Value::as_array).into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{name} is absent"));
        }
    }
    let properties = keywords.get("properties").and_then(Value::as_object);
    for (name, value) in fields {
        match properties.and_then(|properties| properties.get(name)) {
            Some(schema) => {
                validate(document, schema, value).map_err(|error| format!("{name}: {error}"))?;
            }
            // Keywords beside a reference only narrow it.
            None if keywords.contains_key("$ref") => {}
            None => return Err(format!("{name} is not documented")),
        }
    }
    Ok(())
}

fn is_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn has_format(text: &str, format: &Value) -> bool {
    match format.as_str() {
        Some("date-time") => text.parse::<jiff::Timestamp>().is_ok(),
        Some("date") => text.parse::<jiff::civil::Date>().is_ok(),
        Some("uri") => text.parse::<url::Url>().is_ok(),
        _ => false,
    }
}

#[test]
fn values_are_validated_strictly() {
    let document = json!({"defs": {"a": {"type": "object", "required": ["n"], "properties": {"n": {"minimum": 1}}}}});
    let check = |schema: Value, value: Value| validate(&document, &schema, &value).is_ok();
    let object = || json!({"$ref": "#/defs/a", "properties": {"n": {"enum": [1, 2]}}});
    assert!(check(object(), json!({"n": 1})));
    for value in [json!({"n": 0}), json!({"n": 3}), json!({}), json!({"n": 1, "m": 1}), json!(1)] {
        assert!(!check(object(), value.clone()), "{value}");
    }
    let optional = || json!({"type": ["string", "null"], "pattern": "^x", "format": "date"});
    assert!(check(optional(), json!(null)));
    assert!(!check(optional(), json!("2026-01-01")));
    assert!(!check(json!({"items": {"type": "integer"}}), json!([1, "2"])));
    assert!(!check(json!({"const": 1, "typo": 1}), json!(1)), "unknown keyword");
}
