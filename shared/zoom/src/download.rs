//! Downloads of whole files and byte ranges, with a streaming body.
//!
//! | response | result |
//! |---|---|
//! | 200, or 206 with the requested range | [`Download`] |
//! | 200 or 206 with an HTML page | [`DownloadError::HtmlInsteadOfFile`]: Zoom's page for a deleted file or a rejected token |
//! | 206 with another range, or without a range request | [`DownloadError::RangeMismatch`] |
//! | 301, 302, 303, 307, 308 | followed, see [`ZoomClient::download`] |
//! | 401, 403, 404, 410, 416, 429, 5xx | the variant for that status |
//! | any other status | [`DownloadError::UnexpectedStatus`] |

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED, LOCATION, RANGE,
};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};

use crate::client::{NetworkError, ZoomClient, bearer};
use crate::hosts::{AllowedUrl, DisallowedUrl, DownloadHosts};
use crate::rate_limit::{RateLimit, RetryAfter};

/// Maximum number of redirects that one download follows. Zoom sends one.
pub const MAX_REDIRECTS: usize = 5;

/// A non-empty byte range with zero-based, inclusive positions (RFC 9110, section 14.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: Option<u64>,
}

impl ByteRange {
    /// Returns the range from `first` to `last`, or `None` if `last` is less than `first`.
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self { first, last: Some(last) })
    }

    /// Returns the range from `first` to the end of the file.
    pub fn starting_at(first: u64) -> Self {
        Self { first, last: None }
    }

    /// Position of the first byte.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Position of the last byte; `None` means the end of the file.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    fn header(&self) -> String {
        match self.last {
            Some(last) => format!("bytes={}-{last}", self.first),
            None => format!("bytes={}-", self.first),
        }
    }

    /// Whether `received` covers this range, cut at the end of the file.
    fn is_satisfied_by(&self, received: &ContentRange) -> bool {
        let end = received.total.map(|total| total.saturating_sub(1));
        let last = match (self.last, end) {
            (Some(last), Some(end)) => last.min(end),
            (Some(last), None) => last,
            (None, Some(end)) => end,
            // The file length is unknown, so any last position is accepted.
            (None, None) => received.last,
        };
        received.first == self.first && received.last == last
    }
}

/// Parsed `Content-Range` header of a 206 response (RFC 9110, section 14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// Position of the first byte in the body.
    pub first: u64,
    /// Position of the last byte in the body.
    pub last: u64,
    /// Size of the whole file in bytes, if the server sends it.
    pub total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = after_unit(text)?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (parse_digits(first)?, parse_digits(last)?);
        let total = match total.trim() {
            "*" => None,
            total => Some(parse_digits(total)?),
        };
        (first <= last && total.is_none_or(|total| last < total)).then_some(Self {
            first,
            last,
            total,
        })
    }

    /// Length of the body in bytes.
    pub fn length(&self) -> u64 {
        // `parse` guarantees first <= last. Saturate because 0..=u64::MAX has 2^64 bytes.
        (self.last - self.first).saturating_add(1)
    }
}

/// Returns the part of a `Content-Range` value after the unit `bytes`; `None` for any other unit.
fn after_unit(text: &str) -> Option<&str> {
    let (unit, rest) = text.trim().split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then(|| rest.trim())
}

/// Parses decimal digits. `str::parse` alone would also accept a leading `+`.
fn parse_digits(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A download that returned no body. Shows at most the host of a URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// [`DownloadHosts`] rejected the URL or a redirect target. No request was sent to it.
    #[error("download url rejected: {0}")]
    DisallowedUrl(DisallowedUrl),
    /// More than [`MAX_REDIRECTS`] redirects.
    #[error("too many redirects")]
    TooManyRedirects,
    /// A redirect without a valid `Location` header.
    #[error("redirect without a valid location")]
    InvalidRedirect,
    /// 401: the token is expired or invalid.
    #[error("download token rejected")]
    Unauthorized,
    /// 403.
    #[error("download forbidden")]
    Forbidden,
    /// 404.
    #[error("file not found")]
    NotFound,
    /// 410.
    #[error("file gone")]
    Gone,
    /// 416: the range starts after the end of the file, so the file is not the expected one.
    #[error("range not satisfiable")]
    RangeNotSatisfiable {
        /// Size of the whole file in bytes, if the server sends it.
        total: Option<u64>,
    },
    /// 206 with other bytes than requested, or without a range request.
    #[error("response range differs from the requested range")]
    RangeMismatch,
    /// 429.
    #[error("download rate limited")]
    RateLimited(RateLimit),
    /// An HTML page instead of the file: the file is deleted or the token is rejected.
    #[error("html page instead of the file")]
    HtmlInsteadOfFile,
    /// A `Content-Encoding` despite `Accept-Encoding: identity`. Length and ranges would refer to
    /// encoded bytes.
    #[error("unexpected content encoding")]
    UnexpectedEncoding,
    /// 5xx.
    #[error("download host responded with status {status}")]
    ServerError {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, if present.
        retry_after: Option<RetryAfter>,
    },
    /// The connection failed before the response header was complete.
    #[error("request to the download host failed: {0}")]
    Network(NetworkError),
    /// Any other status.
    #[error("download host responded with unexpected status {status}")]
    UnexpectedStatus {
        /// HTTP status.
        status: u16,
    },
}

/// A response whose header was accepted and whose body has not been read yet.
///
/// A server may respond to a range request with 200 and the whole file; `content_range` is `None` then.
/// Before combining ranges of several responses, compare their `etag`, `last_modified` and total size.
#[derive(Debug)]
pub struct Download {
    /// 200, or 206 for a range.
    pub status: u16,
    /// Length of this body in bytes, if the server sends it.
    pub content_length: Option<u64>,
    /// Range of this body. Present exactly with 206, and equal to the requested range.
    pub content_range: Option<ContentRange>,
    /// `Content-Type` header.
    pub content_type: Option<String>,
    /// `ETag` header, including quotes.
    pub etag: Option<String>,
    /// `Last-Modified` header.
    pub last_modified: Option<String>,
    /// Whether the server sends `Accept-Ranges: bytes`. A 206 proves range support without it.
    pub accept_ranges: bool,
    /// URL after all redirects. It is a credential; further ranges can be requested from it directly
    /// until it expires.
    pub final_url: SecretString,
    /// Whether the request to `final_url` carried `Authorization`. If not, later requests to it must
    /// not carry it either: pass no bearer token.
    pub is_authorized: bool,
    /// Body.
    pub body: DownloadBody,
}

/// Body of a [`Download`], readable as an [`http_body::Body`] or chunk by chunk.
///
/// The bytes are never decompressed. A body that ends before its declared length fails with
/// [`NetworkError::ConnectionClosed`], a stalled one with [`NetworkError::Timeout`].
pub struct DownloadBody(reqwest::Body);

impl DownloadBody {
    /// Reads the next chunk; `None` at the end of the body.
    ///
    /// # Errors
    /// [`NetworkError`] if the connection fails before the body is complete.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetworkError> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            // The other kind of frame is trailers, which are ignored.
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

impl Body for DownloadBody {
    type Data = Bytes;
    type Error = NetworkError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, NetworkError>>> {
        Pin::new(&mut self.0).poll_frame(cx).map(|frame| {
            frame.map(|frame| frame.map_err(|error| NetworkError::from_reqwest(&error)))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for DownloadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DownloadBody").finish_non_exhaustive()
    }
}

impl ZoomClient {
    /// Requests `url`, with `Authorization: Bearer` if `bearer_token` is given, and returns the response
    /// once its header is accepted.
    ///
    /// Follows at most [`MAX_REDIRECTS`] redirects and checks each target with `hosts` before sending a
    /// request. `Authorization` is dropped at the first target whose scheme, host or port differ from
    /// `url`, and is not sent again even if a later redirect returns to that origin.
    ///
    /// # Errors
    /// [`DownloadError`]; the module documentation maps each response to its variant.
    pub async fn download(
        &self,
        hosts: &DownloadHosts,
        url: &SecretString,
        bearer_token: Option<&SecretString>,
        range: Option<ByteRange>,
    ) -> Result<Download, DownloadError> {
        let mut target =
            hosts.parse_url(url.expose_secret()).map_err(DownloadError::DisallowedUrl)?;
        let mut authorization = match bearer_token {
            Some(token) => Some(bearer(token).ok_or(DownloadError::Unauthorized)?),
            None => None,
        };
        let origin = target.clone();
        let http = self.http().map_err(DownloadError::Network)?;
        let mut redirects = 0;
        loop {
            let mut request = http.get(target.url().clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some(range) = &range {
                request = request.header(RANGE, range.header());
            }
            let response = request
                .send()
                .await
                .map_err(|error| DownloadError::Network(NetworkError::from_reqwest(&error)))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return check_response(response, range, &target, authorization.is_some());
            }
            if redirects == MAX_REDIRECTS {
                return Err(DownloadError::TooManyRedirects);
            }
            redirects += 1;
            let location =
                text(response.headers(), LOCATION).ok_or(DownloadError::InvalidRedirect)?;
            target =
                hosts.parse_location(&target, &location).map_err(DownloadError::DisallowedUrl)?;
            if !target.has_same_origin(&origin) {
                authorization = None;
            }
        }
    }
}

/// Maps a response to a [`Download`] or to its error, as in the module documentation.
fn check_response(
    response: Response,
    requested: Option<ByteRange>,
    target: &AllowedUrl,
    is_authorized: bool,
) -> Result<Download, DownloadError> {
    let status = response.status();
    let headers = response.headers();
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        StatusCode::UNAUTHORIZED => return Err(DownloadError::Unauthorized),
        StatusCode::FORBIDDEN => return Err(DownloadError::Forbidden),
        StatusCode::NOT_FOUND => return Err(DownloadError::NotFound),
        StatusCode::GONE => return Err(DownloadError::Gone),
        StatusCode::RANGE_NOT_SATISFIABLE => {
            let total = text(headers, CONTENT_RANGE)
                .and_then(|text| parse_digits(after_unit(&text)?.strip_prefix("*/")?));
            return Err(DownloadError::RangeNotSatisfiable { total });
        }
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(DownloadError::RateLimited(RateLimit::from_headers(headers)));
        }
        status if status.is_server_error() => {
            return Err(DownloadError::ServerError {
                status: status.as_u16(),
                retry_after: RetryAfter::from_headers(headers),
            });
        }
        status => {
            return Err(DownloadError::UnexpectedStatus { status: status.as_u16() });
        }
    }

    // Lossy: a non-UTF-8 byte in the value must not bypass these checks.
    let lossy = |name| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned());
    let content_type = lossy(CONTENT_TYPE);
    if content_type.as_deref().is_some_and(is_html) {
        return Err(DownloadError::HtmlInsteadOfFile);
    }
    if lossy(CONTENT_ENCODING).is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
        return Err(DownloadError::UnexpectedEncoding);
    }
    let content_length = text(headers, CONTENT_LENGTH).and_then(|text| parse_digits(&text));
    let content_range = if status == StatusCode::PARTIAL_CONTENT {
        let received = text(headers, CONTENT_RANGE)
            .and_then(|text| ContentRange::parse(&text))
            .filter(|received| requested.is_some_and(|range| range.is_satisfied_by(received)))
            .filter(|received| content_length.is_none_or(|length| length == received.length()))
            .ok_or(DownloadError::RangeMismatch)?;
        Some(received)
    } else {
        None
    };
    Ok(Download {
        status: status.as_u16(),
        content_length,
        content_range,
        content_type,
        etag: text(headers, ETAG),
        last_modified: text(headers, LAST_MODIFIED),
        accept_ranges: text(headers, ACCEPT_RANGES)
            .is_some_and(|unit| unit.trim().eq_ignore_ascii_case("bytes")),
        final_url: SecretString::from(target.url().as_str()),
        is_authorized,
        body: DownloadBody(response.into()),
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    // `to_str` accepts ASCII only, but a `Location` may contain a UTF-8 file name.
    std::str::from_utf8(headers.get(name)?.as_bytes()).ok().map(str::to_owned)
}

fn is_html(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"].iter().any(|html| media_type.eq_ignore_ascii_case(html))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_range(first: u64, last: u64, total: Option<u64>) -> ContentRange {
        ContentRange { first, last, total }
    }

    #[test]
    fn content_range_is_parsed_strictly() {
        for (text, range) in [
            ("bytes 0-9/100", Some(content_range(0, 9, Some(100)))),
            ("Bytes 0-9/*", Some(content_range(0, 9, None))),
            ("bytes 99-99/100", Some(content_range(99, 99, Some(100)))),
            ("bytes 99-100/100", None),
            ("bytes 9-0/100", None),
            ("bytes */100", None),
            ("bytes -9/100", None),
            ("bytes +0-9/100", None),
            ("items 0-9/100", None),
            ("bytes=0-9/100", None),
            ("bytes 0-18446744073709551616/*", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(text), range, "{text}");
        }
        assert_eq!(content_range(0, u64::MAX, None).length(), u64::MAX);
    }

    #[test]
    fn response_range_must_match_request() {
        let bounded = ByteRange::new(10, 19).unwrap();
        let open = ByteRange::starting_at(10);
        for (requested, (first, last, total), is_satisfied) in [
            (bounded, (10, 19, Some(100)), true),
            (bounded, (10, 19, None), true),
            // The file ends inside the requested range.
            (bounded, (10, 14, Some(15)), true),
            (bounded, (10, 14, Some(100)), false),
            (bounded, (10, 14, None), false),
            (bounded, (0, 19, Some(100)), false),
            (bounded, (10, 29, Some(100)), false),
            (open, (10, 99, Some(100)), true),
            (open, (10, 99, None), true),
            (open, (10, 98, Some(100)), false),
        ] {
            let received = content_range(first, last, total);
            assert_eq!(
                requested.is_satisfied_by(&received),
                is_satisfied,
                "{requested:?} {received:?}"
            );
        }
        assert_eq!(ByteRange::new(1, 0), None);
    }

    #[test]
    fn download_is_send_and_sync() {
        fn assert_send_sync<T: Send + Sync + 'static>() {}
        assert_send_sync::<Download>();
    }
}
