//! Independent, simple implementations that the targets compare the code under test with.

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reelay_domain::observation::{ObservationSource, ObservedAt};
use sha2::Sha256;

/// Current time of all targets: 2026-01-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600;

/// [`NOW`] as a timestamp.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// An event observed at [`NOW`].
pub(crate) fn observed_at() -> ObservedAt {
    ObservedAt { at: now(), is_own: true, source: ObservationSource::Event }
}

/// Splits an input into `N` fields at line feeds; the last field takes the rest. Missing fields are empty.
pub(crate) fn fields<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut lines = input.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

/// Returns bytes as text, or an empty text if they are not UTF-8.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// HMAC-SHA-256 of the concatenated parts.
pub(crate) fn hmac(secret: &str, message: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Whether a text consists of 1 to `max_length` characters of `[A-Za-z0-9_-]`.
pub(crate) fn is_base64url(text: &str, max_length: usize) -> bool {
    (1..=max_length).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
}

/// Whether a text is the canonical base64url form of 32 bytes: 43 characters, the last with four bits.
pub(crate) fn is_256_bits(text: &str) -> bool {
    text.len() == 43
        && is_base64url(text, 43)
        && text.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
}

/// Components of a URL as written.
pub(crate) struct UrlParts<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// Splits a URL by RFC 3986, appendix B; returns none if it has no authority.
pub(crate) fn split_url(url: &str) -> Option<UrlParts<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let slash = before.find('/').unwrap_or(before.len());
    let (authority, path) = before.split_at(slash);
    Some(UrlParts { scheme, authority, path: if path.is_empty() { "/" } else { path }, query })
}

/// Decodes percent-encoding and `+` in a component of a query.
pub(crate) fn decode(component: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(&component.replace('+', " ")).collect()
}
