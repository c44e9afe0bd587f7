//! Events that could not be parsed. Only a scan of their bytes says which user they are about.

use crate::ids::ZoomUser;

/// Finds the user that an event names, by the first `account_id` and the first `host_id` or `user_id`.
pub fn find_zoom_user(body: &[u8]) -> Option<ZoomUser> {
    let text = String::from_utf8_lossy(body);
    let find = |name| member(&text, name)?.parse().ok();
    let user_id = find("host_id").or_else(|| member(&text, "user_id")?.parse().ok())?;
    Some(ZoomUser { account_id: member(&text, "account_id")?.parse().ok()?, user_id })
}

/// The value of the first text member of this name. Ids need no escapes.
fn member<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{name}\"");
    text.match_indices(&key).find_map(|(at, _)| {
        let value = text[at + key.len()..].trim_start().strip_prefix(':')?;
        value.trim_start().strip_prefix('"')?.split_once('"').map(|(value, _)| value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_in_broken_json() {
        for (body, expected) in [
            (r#"{"account_id":"A","host_id":"u"#, None),
            (r#"{"account_id":"A","host_id":"u","#, Some("A#u")),
            (r#"{"account_id" : "A" ,"user_id":  "u"}"#, Some("A#u")),
            (r#"{"account_id":7,"account_id":"A","host_id":"u"}"#, Some("A#u")),
            (r#"{"account_id":"A","host_id":"../x","user_id":"u"}"#, Some("A#u")),
            (r#"{"account_id":"A"}"#, None),
            ("\"account_id\"", None),
        ] {
            let found = find_zoom_user(body.as_bytes()).map(|user| user.key());
            assert_eq!(found.as_deref(), expected, "{body}");
        }
        assert!(find_zoom_user(b"\xff\"account_id\":\"A\"\xff\"host_id\":\"u\"").is_some());
    }
}
