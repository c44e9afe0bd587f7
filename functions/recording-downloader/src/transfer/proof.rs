//! What is looked at before bytes may lie under a key: their beginning, and their checksum.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

/// So many bytes at the beginning of a file say what it is.
pub(crate) const HEAD: usize = 64;

/// A CRC-64/NVME in the making.
pub(crate) fn digest() -> Digest {
    Digest::new(CrcAlgorithm::Crc64Nvme)
}

/// The CRC-64/NVME of bytes in memory.
pub(crate) fn crc(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)
}

/// The CRC-64/NVME of a whole from those of its parts in order: (checksum, bytes) each.
pub(crate) fn combined(parts: impl IntoIterator<Item = (u64, u64)>) -> u64 {
    parts
        .into_iter()
        .reduce(|(whole, length), (part, more)| {
            let whole = checksum_combine(CrcAlgorithm::Crc64Nvme, whole, part, more);
            (whole, length + more)
        })
        .map_or_else(|| crc(&[]), |(whole, _)| whole)
}

/// As S3 writes it.
pub(crate) fn to_base64(crc: u64) -> String {
    STANDARD.encode(crc.to_be_bytes())
}

/// As S3 writes it; `None` for anything else.
pub(crate) fn from_base64(text: &str) -> Option<u64> {
    let bytes: [u8; 8] = STANDARD.decode(text).ok()?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Whether a file begins as its type does; `None` for types of which nothing is known.
pub(crate) fn is_recognised(extension: &str, head: &[u8]) -> Option<bool> {
    match extension {
        "mp4" | "m4a" => Some(head.get(4..8) == Some(b"ftyp")),
        "vtt" => Some(without_mark(head).starts_with(b"WEBVTT")),
        "json" => Some(matches!(
            without_mark(head).trim_ascii_start().first(),
            Some(b'{' | b'[')
        )),
        _ => None,
    }
}

/// Whether the bytes are an HTML page, whatever the answer calls them. No recording is one: it is how a
/// sign-in page or an error looks that came with 200.
pub(crate) fn is_page(head: &[u8]) -> bool {
    let head = without_mark(head).trim_ascii_start();
    [&b"<!doctype html"[..], b"<html"]
        .iter()
        .any(|start| head.len() >= start.len() && head[..start.len()].eq_ignore_ascii_case(start))
}

/// Without UTF-8's byte order mark.
fn without_mark(head: &[u8]) -> &[u8] {
    head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combined_parts_have_the_checksum_of_the_whole() {
        let whole: Vec<u8> = (0..100_000u32).map(|n| (n * 7 % 251) as u8).collect();
        for size in [1, 977, 50_000, 100_000] {
            let parts = whole
                .chunks(size)
                .map(|part| (crc(part), part.len() as u64));
            assert_eq!(combined(parts), crc(&whole), "parts of {size}");
        }
        assert_eq!(combined([]), crc(&[]));
    }

    #[test]
    fn checksums_read_back() {
        let sum = crc(b"123456789");
        // The check value of CRC-64/NVME in the CRC catalogue.
        assert_eq!(sum, 0xae8b_1486_0a79_9888);
        assert_eq!(from_base64(&to_base64(sum)), Some(sum));
        for bad in ["", "AAAA", "AAAAAAAAAAAA", "!"] {
            assert_eq!(from_base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn known_types_are_known_by_their_beginning() {
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
            assert_eq!(
                is_recognised(extension, head),
                expected,
                "{extension} {head:?}"
            );
        }
    }

    #[test]
    fn a_page_is_known_however_it_is_written() {
        for page in [
            &b"<!DOCTYPE html><html>"[..],
            b"  \r\n<!doctype HTML>",
            b"<HTML lang=\"en\">",
            b"\xef\xbb\xbf<html>",
        ] {
            assert!(is_page(page), "{page:?}");
        }
        for other in [
            &b""[..],
            b"<",
            b"<htm",
            b"a <html>",
            b"<?xml",
            b"\0\0\0 ftyp",
        ] {
            assert!(!is_page(other), "{other:?}");
        }
    }
}
