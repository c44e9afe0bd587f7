//! Zoom's numeric codes in answers.

use serde_json::Value;

/// The top-level `code` of an answer, if it has one: a number, or digits in a string.
pub(crate) fn code_of(answer: &Value) -> Option<i64> {
    match answer.get("code")? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// The same for an answer that is no valid JSON: some of Zoom's errors have unescaped quotes in their
/// message. Looks for the first `"code":` with a number after it.
pub(crate) fn code_in_broken_json(answer: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(answer);
    let mut rest = text.as_ref();
    while let Some(at) = rest.find("\"code\"") {
        rest = &rest[at + "\"code\"".len()..];
        if let Some(value) = rest.trim_start().strip_prefix(':') {
            let value = value.trim_start();
            let value = value.strip_prefix('"').unwrap_or(value);
            let digits = value
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(value.len());
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
    fn codes_are_found_in_whatever_form() {
        for (text, code) in [
            (
                r#"{"code":124,"message":"Invalid access token."}"#,
                Some(124),
            ),
            (r#"{"message":"","code":"3301"}"#, Some(3301)),
            (r#"{"code":null}"#, None),
            (r#"{"code":1.5}"#, None),
            (r#"{"message":"code"}"#, None),
            (r#"{"object":{"code":5}}"#, None),
            ("[]", None),
        ] {
            assert_eq!(
                code_of(&serde_json::from_str(text).unwrap()),
                code,
                "{text}"
            );
        }
    }

    #[test]
    fn codes_are_found_in_broken_json() {
        for (text, code) in [
            (
                r#"{"code":4711,"message":"does not contain scopes:["a:b"]"}"#,
                Some(4711),
            ),
            (
                r#"{"message":"scopes ["a"]", "code" : "4711" }"#,
                Some(4711),
            ),
            (r#"{"message":"the "code" is","code":300"#, Some(300)),
            (r#"{"code":99999999999999999999"#, None),
            (r#"{"code":"#, None),
            ("<html>", None),
            ("", None),
        ] {
            assert_eq!(code_in_broken_json(text.as_bytes()), code, "{text}");
        }
    }
}
