//! Checks of a file's first bytes.

/// Number of leading bytes that the checks need.
pub(crate) const HEAD_LENGTH: usize = 64;

/// Whether the first bytes match the file type; `None` for types without a known signature.
pub(crate) fn matches_type(extension: &str, head: &[u8]) -> Option<bool> {
    match extension {
        "mp4" | "m4a" => Some(head.get(4..8) == Some(b"ftyp")),
        "vtt" => Some(strip_bom(head).starts_with(b"WEBVTT")),
        "json" => Some(matches!(strip_bom(head).trim_ascii_start().first(), Some(b'{' | b'['))),
        _ => None,
    }
}

/// Whether the bytes are an HTML page, regardless of `Content-Type`. No recording is one: Zoom sends sign-in
/// and error pages with status 200.
pub(crate) fn is_html(head: &[u8]) -> bool {
    let head = strip_bom(head).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|start| head.len() >= start.len() && head[..start.len()].eq_ignore_ascii_case(start))
}

/// Removes a UTF-8 byte order mark.
fn strip_bom(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_recognised_by_signature() {
        for (extension, head, expected) in [
            ("mp4", &b"\0\0\0\x20ftypisom"[..], Some(true)),
            ("m4a", b"\0\0\0\x1cftypM4A ", Some(true)),
            ("mp4", b"ftyp", Some(false)),
            ("mp4", b"", Some(false)),
            ("vtt", b"WEBVTT\n\n", Some(true)),
            ("vtt", b"\xef\xbb\xbfWEBVTT", Some(true)),
            ("vtt", b"WEBVT", Some(false)),
            ("json", b"\n {\"a\":1}", Some(true)),
            ("json", b"[", Some(true)),
            ("json", b"null", Some(false)),
            ("txt", b"10:00:00 hello", None),
        ] {
            assert_eq!(matches_type(extension, head), expected, "{extension} {head:?}");
        }
    }

    #[test]
    fn html_is_recognised_in_every_spelling() {
        for (head, expected) in [
            (&b"<!DOCTYPE html><html>"[..], true),
            (b"  \r\n<!doctype HTML>", true),
            (b"<HTML lang=\"en\">", true),
            (b"\xef\xbb\xbf<html>", true),
            (b"", false),
            (b"<", false),
            (b"<htm", false),
            (b"a <html>", false),
            (b"<?xml", false),
            (b"\0\0\0 ftyp", false),
        ] {
            assert_eq!(is_html(head), expected, "{head:?}");
        }
    }
}
