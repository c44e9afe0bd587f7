//! Reading by hand what the code under test reads with its parsers.

use jiff::Timestamp;

/// The moment at which everything here happens: 2026-01-01T00:00:00Z.
pub(crate) const NOW: i64 = 1_767_225_600;

/// [`NOW`] as a timestamp.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// Splits an input into `N` fields, one a line; the last takes the rest. Missing ones are empty.
pub(crate) fn fields<const N: usize>(input: &[u8]) -> [&[u8]; N] {
    let mut lines = input.splitn(N, |byte| *byte == b'\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

/// Bytes as text, where the code under test is only ever given text.
pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Whether it has from one to `longest` characters of `[A-Za-z0-9_-]`.
pub(crate) fn is_base64url(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// Whether it is the one way to write 32 bytes in base64url: 43 characters, of the last of which only four
/// bits count.
pub(crate) fn is_256_bits(text: &str) -> bool {
    text.len() == 43
        && is_base64url(text, 43)
        && text.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
}

/// The parts of a URL as it is written: scheme, authority, path, and what follows a `?`.
pub(crate) struct Written<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// Takes a URL apart by the letter of RFC 3986: none without `://`.
pub(crate) fn take_apart(url: &str) -> Option<Written<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let rest = rest.split('#').next().unwrap_or_default();
    let (before, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let slash = before.find('/').unwrap_or(before.len());
    let (authority, path) = before.split_at(slash);
    Some(Written {
        scheme,
        authority,
        path: if path.is_empty() { "/" } else { path },
        query,
    })
}

/// Undoes percent-encoding and `+` in a part of a query.
pub(crate) fn decode(part: &str) -> Vec<u8> {
    let bytes = part.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap());
                at += 3;
                continue;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}
