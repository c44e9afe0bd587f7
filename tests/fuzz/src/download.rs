//! Responses of download hosts.

use reelay_zoom::{ByteRange, DownloadError, DownloadHosts, Endpoints, ZoomClient};
use secrecy::SecretString;
use url::Url;

use crate::fake_zoom::{
    FILE_PATH, FakeZoom, REDIRECTED_BODY, SECRET, assert_debug_has_no_secret,
    assert_error_has_no_secret, assert_rate_limit, assert_retry_after, header, secret, status,
};
use crate::loopback::{self, Reply};
use crate::oracle::{fields, text};

/// Response headers that the client evaluates. The server sets the headers that frame the body.
const HEADERS: [&str; 8] = [
    "content-type",
    "content-encoding",
    "content-range",
    "etag",
    "last-modified",
    "location",
    "retry-after",
    "x-ratelimit-type",
];

/// First and last byte, and the total size if it is known.
type ContentRange = (u64, u64, Option<u64>);

/// A download is accepted if and only if it holds the requested bytes: no page, no content coding, no other
/// range. No redirect leads to another host.
pub fn download(input: &[u8]) {
    let [range, code, rest] = fields(input);
    let Some(code) = status(code) else {
        return;
    };
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (lines, body) = end.map_or((rest, &[][..]), |at| (&rest[..at], &rest[at + 2..]));
    let has_body = !matches!(code, 204 | 304);
    let mut reply = loopback::reply(code, if has_body { body } else { b"" });
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = text(parts.next().unwrap_or_default()).to_ascii_lowercase();
        if let Some(name) = HEADERS.into_iter().find(|known| *known == name) {
            loopback::add_header(&mut reply, name, parts.next().unwrap_or_default());
        }
    }
    let requested = parse_range(text(range));
    FakeZoom::with(|zoom| {
        let url = format!("http://127.0.0.1:{}{FILE_PATH}?{SECRET}", zoom.port);
        let url = Url::parse(&url).unwrap();
        let is_redirect = matches!(code, 301 | 302 | 303 | 307 | 308);
        let location = header(&reply, "location");
        let target = location.and_then(|location| url.join(text(location)).ok());
        let is_other_port = |to: &Url| to.host() == url.host() && to.port() != url.port();
        if is_redirect && target.as_ref().is_some_and(is_other_port) {
            // The redirect is allowed, but another server may listen on that port.
            return;
        }
        let endpoints = Endpoints::parse("http://127.0.0.1", "http://127.0.0.1").unwrap();
        let hosts = DownloadHosts::parse("127.0.0.1", &endpoints).unwrap();
        let source = SecretString::from(url.as_str());
        let get = async |zoom: &ZoomClient| {
            let token = secret("bearer");
            let mut download = zoom.download(&hosts, &source, Some(&token), requested).await?;
            let mut bytes = Vec::new();
            while let Some(chunk) = download.body.chunk().await.unwrap() {
                bytes.extend_from_slice(&chunk);
            }
            Ok((download, bytes))
        };
        let (result, received) = zoom.call(reply.clone(), get);
        assert!(received.len() <= reelay_zoom::MAX_REDIRECTS + 1);
        for request in &received {
            assert_eq!(request.headers()["authorization"], "Bearer S3CRET-bearer");
            assert_eq!(request.headers()["accept-encoding"], "identity");
        }
        let last = received.last();
        let has_followed = received.len() > 1
            && last.is_some_and(|last| !last.uri().path().starts_with(FILE_PATH));
        match result {
            Ok((download, bytes)) => {
                assert_debug_has_no_secret(&download.body);
                assert_eq!(is_redirect, has_followed, "accepted status {code}");
                if has_followed {
                    let target = target.unwrap();
                    assert_eq!((target.host(), target.port()), (url.host(), url.port()));
                    assert_eq!(bytes, REDIRECTED_BODY);
                    return;
                }
                assert_eq!(bytes, reply.body()[..]);
                let range = download.content_range.map(|r| (r.first, r.last, r.total));
                assert_acceptable(&reply, requested, range);
            }
            Err(error) => {
                assert_error_has_no_secret(&error);
                assert!(!has_followed, "rejected the redirected response: {error}");
                assert_rejectable(&reply, requested, &error);
            }
        }
    });
}

/// Parses `5-9` or `5-`.
fn parse_range(text: &str) -> Option<ByteRange> {
    let (first, last) = text.split_once('-')?;
    let first = first.parse().ok()?;
    match last {
        "" => Some(ByteRange::starting_at(first)),
        last => ByteRange::new(first, last.parse().ok()?),
    }
}

/// Whether the headers describe a page or a content coding instead of the file.
fn is_page_or_encoded(reply: &Reply) -> bool {
    let value = |name| {
        let value = header(reply, name).unwrap_or_default();
        value.to_ascii_lowercase()
    };
    let (media_type, coding) = (value("content-type"), value("content-encoding"));
    let media_type = media_type.split(|byte| *byte == b';').next();
    let media_type = media_type.unwrap_or_default().trim_ascii();
    media_type == b"text/html"
        || media_type == b"application/xhtml+xml"
        || !(coding.is_empty() || coding == b"identity")
}

/// Parses `bytes 5-9/10` strictly (RFC 9110, section 14.4).
fn content_range(reply: &Reply) -> Option<ContentRange> {
    let value = std::str::from_utf8(header(reply, "content-range")?).ok()?;
    let (unit, rest) = value.split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let number = |text: &str| -> Option<u64> {
        let text = text.trim();
        let is_number = text.bytes().all(|b| b.is_ascii_digit());
        is_number.then(|| text.parse().ok())?
    };
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = match total.trim() {
        "*" => None,
        total => Some(number(total)?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

fn body_length(reply: &Reply) -> u64 {
    u64::try_from(reply.body().len()).unwrap()
}

fn assert_acceptable(reply: &Reply, requested: Option<ByteRange>, parsed: Option<ContentRange>) {
    assert!(!is_page_or_encoded(reply), "accepted a page or a coding");
    if reply.status() == 200 {
        assert_eq!(parsed, None);
        return;
    }
    assert_eq!(reply.status(), 206);
    let requested = requested.expect("a 206 without a requested range is rejected");
    assert_eq!(content_range(reply), parsed);
    let (first, last, total) = parsed.unwrap();
    assert_eq!(first, requested.first());
    assert_eq!((last - first).checked_add(1), Some(body_length(reply)));
    let end = total.map(|total| total - 1);
    let expected_last = [requested.last(), end].into_iter().flatten().min();
    assert_eq!(last, expected_last.unwrap_or(last));
}

fn assert_rejectable(reply: &Reply, requested: Option<ByteRange>, error: &DownloadError) {
    match (reply.status().as_u16(), error) {
        (200, _) => assert!(is_page_or_encoded(reply), "rejected a whole file: {error}"),
        (206, DownloadError::RangeMismatch) => {
            let range = requested.zip(content_range(reply));
            let is_exact = range.is_some_and(|(requested, (first, last, total))| {
                let expected =
                    total.map(|total| requested.last().unwrap_or(u64::MAX).min(total - 1));
                first == requested.first()
                    && expected == Some(last)
                    && last - first + 1 == body_length(reply)
            });
            assert!(!is_exact, "rejected the requested range");
        }
        (206, _) => assert!(is_page_or_encoded(reply), "{error}"),
        (429, DownloadError::RateLimited(limit)) => assert_rate_limit(limit, reply),
        (500.., DownloadError::ServerError { retry_after, .. }) => {
            assert_retry_after(*retry_after, reply);
        }
        (
            300..=399,
            DownloadError::DisallowedUrl(_)
            | DownloadError::InvalidRedirect
            | DownloadError::TooManyRedirects
            | DownloadError::UnexpectedStatus { .. },
        )
        | (401, DownloadError::Unauthorized)
        | (403, DownloadError::Forbidden)
        | (404, DownloadError::NotFound)
        | (410, DownloadError::Gone)
        | (416, DownloadError::RangeNotSatisfiable { .. }) => {}
        (code, DownloadError::UnexpectedStatus { status }) => assert_eq!(*status, code),
        (code, error) => panic!("status {code} gave {error}"),
    }
}
