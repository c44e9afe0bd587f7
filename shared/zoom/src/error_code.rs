//! Extraction of Zoom's numeric error code from response bodies. Zoom calls it `code` or `errorCode`, at the
//! token endpoint and in the REST API alike. The form with `errorCode` is
//! `{"status":false,"errorCode":…,"errorMessage":…,"result":null}`, and can arrive with HTTP 200.

use serde_json::Value;

/// Names of the field with the error code.
const NAMES: [&str; 2] = ["code", "errorCode"];

/// Returns the top-level `code` or `errorCode`: a number, or a string of digits.
pub(crate) fn parse_code(response: &Value) -> Option<i64> {
    NAMES.iter().find_map(|name| match response.get(name)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// Whether a body is an error in the form with `errorCode`, regardless of HTTP status and code.
pub(crate) fn is_refusal(response: &Value) -> bool {
    response.get("status") == Some(&Value::Bool(false))
}

/// Finds the first `"code":` or, without one, `"errorCode":` followed by a number in a body that is not
/// valid JSON. Some of Zoom's error messages contain unescaped quotes.
pub(crate) fn find_code(body: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(body);
    NAMES.iter().find_map(|name| find_number(&text, &format!("\"{name}\"")))
}

fn find_number(mut rest: &str, name: &str) -> Option<i64> {
    while let Some(at) = rest.find(name) {
        rest = &rest[at + name.len()..];
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
            (r#"{"reason":"","error":"invalid_grant","errorCode":4741}"#, Some(4741)),
            (r#"{"status":false,"errorCode":"4702","errorMessage":"","result":null}"#, Some(4702)),
            (r#"{"code":null,"errorCode":null}"#, None),
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
            (r#"{"errorMessage":"no "app" here","errorCode":4717}"#, Some(4717)),
            (r#"{"code":99999999999999999999"#, None),
            (r#"{"code":"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(find_code(text.as_bytes()), code, "{text}");
        }
    }
}
