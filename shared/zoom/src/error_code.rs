//! Extraction of Zoom's numeric `code` from response bodies.

use serde_json::Value;

/// Returns the top-level `code`: a number, or a string of digits.
pub(crate) fn parse_code(response: &Value) -> Option<i64> {
    match response.get("code")? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Finds the first `"code":` followed by a number in a body that is not valid JSON. Some of Zoom's error
/// messages contain unescaped quotes.
pub(crate) fn find_code(body: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(body);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find("\"code\"") {
        rest = &rest[at + "\"code\"".len()..];
        if let Some(value) = rest.trim_start().strip_prefix(':') {
            let value = value.trim_start();
            let value = value.strip_prefix('"').unwrap_or(value);
            let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
            if let Ok(code) = value[..digits].parse() {
                return Some(code);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_parsed_from_number_or_string() {
        for (text, code) in [
            (r#"{"code":124,"message":"Invalid access token."}"#, Some(124)),
            (r#"{"message":"","code":"3301"}"#, Some(3301)),
            (r#"{"code":null}"#, None),
            (r#"{"code":1.5}"#, None),
            (r#"{"message":"code"}"#, None),
            (r#"{"object":{"code":5}}"#, None),
            ("[]", None),
        ] {
            assert_eq!(parse_code(&serde_json::from_str(text).unwrap()), code, "{text}");
        }
    }

    #[test]
    fn code_is_found_in_invalid_json() {
        for (text, code) in [
            (r#"{"code":4711,"message":"does not contain scopes:["a:b"]"}"#, Some(4711)),
            (r#"{"message":"scopes ["a"]", "code" : "4711" }"#, Some(4711)),
            (r#"{"message":"the "code" is","code":300"#, Some(300)),
            (r#"{"code":99999999999999999999"#, None),
            (r#"{"code":"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(find_code(text.as_bytes()), code, "{text}");
        }
    }
}
