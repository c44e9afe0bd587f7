//! Downloads: one request at a time, whole or a range, with the body as a stream.
//!
//! What an answer means, by status:
//!
//! | answer | result |
//! |---|---|
//! | 200, 206 for the range that was asked | [`Download`] |
//! | 200, 206 with an HTML page | [`DownloadError::HtmlInsteadOfFile`]: Zoom's way of saying "gone" or "not with this token" |
//! | 206 for another range, or unasked | [`DownloadError::RangeMismatch`] |
//! | 301, 302, 303, 307, 308 | followed, see [`ZoomClient::download`] |
//! | 401, 403, 404, 410, 416, 429, 5xx | the variant of that name |
//! | any other | [`DownloadError::UnexpectedStatus`] |

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

/// How many redirects one download follows. Zoom makes one.
pub const MAX_REDIRECTS: usize = 5;

/// Bytes of a file, counted from 0, both ends included as in HTTP. Never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: Option<u64>,
}

impl ByteRange {
    /// From `first` to `last`, both included; `None` if `last` comes before `first`.
    pub fn new(first: u64, last: u64) -> Option<Self> {
        (first <= last).then_some(Self {
            first,
            last: Some(last),
        })
    }

    /// From `first` to the end of the file.
    pub fn starting_at(first: u64) -> Self {
        Self { first, last: None }
    }

    /// The first byte.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The last byte, `None` for the end of the file.
    pub fn last(&self) -> Option<u64> {
        self.last
    }

    fn header(&self) -> String {
        match self.last {
            Some(last) => format!("bytes={}-{last}", self.first),
            None => format!("bytes={}-", self.first),
        }
    }

    /// Whether `got` is what was asked: from the same byte, and as far as asked or to the end of the
    /// file.
    fn is_satisfied_by(&self, got: &ContentRange) -> bool {
        let end = got.total.map(|total| total.saturating_sub(1));
        let last = match (self.last, end) {
            (Some(asked), Some(end)) => asked.min(end),
            (Some(asked), None) => asked,
            (None, Some(end)) => end,
            // To the end of a file whose length the server does not tell: nothing to hold it against.
            (None, None) => got.last,
        };
        got.first == self.first && got.last == last
    }
}

/// `Content-Range` of a 206.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte of the body.
    pub first: u64,
    /// The last byte of the body.
    pub last: u64,
    /// Bytes of the whole file, if the server tells.
    pub total: Option<u64>,
}

impl ContentRange {
    fn parse(text: &str) -> Option<Self> {
        let (range, total) = after_unit(text)?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = match total.trim() {
            "*" => None,
            total => Some(number(total)?),
        };
        (first <= last && total.is_none_or(|total| last < total)).then_some(Self {
            first,
            last,
            total,
        })
    }

    /// Bytes of the body.
    pub fn length(&self) -> u64 {
        // `first <= last` is checked where this is made; both at their limits would be 2^64 bytes.
        (self.last - self.first).saturating_add(1)
    }
}

/// The part of a `Content-Range` after its unit, which is `bytes` or nothing we understand.
fn after_unit(text: &str) -> Option<&str> {
    let (unit, rest) = text.trim().split_once(' ')?;
    unit.eq_ignore_ascii_case("bytes").then(|| rest.trim())
}

/// Digits and nothing else: `parse` alone would let a `+` pass.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// A download that gave no bytes. It never shows more of a URL than a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownloadError {
    /// The URL, or one that it was redirected to, is not among the admitted ones. Nothing was sent
    /// there.
    #[error("not downloaded: {0}")]
    DisallowedUrl(DisallowedUrl),
    /// More than [`MAX_REDIRECTS`].
    #[error("too many redirects")]
    TooManyRedirects,
    /// A redirect to nowhere.
    #[error("a redirect without a readable target")]
    InvalidRedirect,
    /// 401: the token is expired or was never good.
    #[error("the download token is not accepted")]
    Unauthorized,
    /// 403.
    #[error("the download is forbidden")]
    Forbidden,
    /// 404.
    #[error("the file is not found")]
    NotFound,
    /// 410.
    #[error("the file is gone")]
    Gone,
    /// 416: the file ends before the range begins, so it is not the file that was expected.
    #[error("the range is not within the file")]
    RangeNotSatisfiable {
        /// Bytes of the whole file, if the server tells.
        total: Option<u64>,
    },
    /// 206 with other bytes than asked for, or unasked.
    #[error("the answer is for another range")]
    RangeMismatch,
    /// 429.
    #[error("too many requests")]
    RateLimited(RateLimit),
    /// An HTML page in place of the file: deleted, or not with this token.
    #[error("an html page in place of the file")]
    HtmlInsteadOfFile,
    /// Compressed, though that was declined: neither length nor ranges would mean the file's bytes.
    #[error("the answer is compressed")]
    UnexpectedEncoding,
    /// 5xx.
    #[error("the download host answered {status}")]
    ServerError {
        /// The HTTP status.
        status: u16,
        /// When to come back, if the answer says so.
        retry_after: Option<RetryAfter>,
    },
    /// The connection failed before there was an answer.
    #[error("the download host could not be reached: {0}")]
    Network(NetworkError),
    /// Any other answer.
    #[error("the download host answered {status}")]
    UnexpectedStatus {
        /// The HTTP status.
        status: u16,
    },
}

/// A file, or a range of it, that has begun to arrive.
///
/// The server may answer 200 with the whole file to a request for a range; `content_range` is `None`
/// then. Before ranges of several answers are put together, compare their `etag`, `last_modified` and
/// total length.
#[derive(Debug)]
pub struct Download {
    /// 200, or 206 for a range.
    pub status: u16,
    /// Bytes of this body. Zoom's hosts do not always tell.
    pub content_length: Option<u64>,
    /// Which bytes these are; present exactly with 206, and checked against the range that was asked.
    pub content_range: Option<ContentRange>,
    /// `Content-Type` as sent.
    pub content_type: Option<String>,
    /// `ETag` as sent, quotes included.
    pub etag: Option<String>,
    /// `Last-Modified` as sent.
    pub last_modified: Option<String>,
    /// Whether the server says that it takes ranges (`Accept-Ranges: bytes`). A 206 proves it.
    pub accept_ranges: bool,
    /// Where the bytes come from after all redirects: a credential. Further ranges may be asked of it
    /// directly, while it lives.
    pub final_url: SecretString,
    /// Whether `final_url` was asked with `Authorization`. If not, later requests to it must not have
    /// it either: pass no bearer.
    pub is_authorized: bool,
    /// The bytes.
    pub body: DownloadBody,
}

/// The bytes of a [`Download`], as an [`http_body::Body`] or chunk by chunk. Never decompressed. A body
/// that ends before its declared length ends in [`NetworkError::Broken`], one that stands still in
/// [`NetworkError::Timeout`].
pub struct DownloadBody(reqwest::Body);

impl DownloadBody {
    /// The next bytes, `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, NetworkError> {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await {
            // Trailers, which are the other kind of frame, say nothing to us.
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
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(|error| NetworkError::of(&error))))
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
    /// Starts a download of `url`, with `Authorization: Bearer` if a `bearer` is given.
    ///
    /// Redirects are followed by hand, at most [`MAX_REDIRECTS`], each checked by `hosts` before a
    /// request leaves. `Authorization` goes along only while scheme, host and port are those of `url`;
    /// once dropped it does not come back, even if a redirect leads home.
    pub async fn download(
        &self,
        hosts: &DownloadHosts,
        url: &SecretString,
        bearer_token: Option<&SecretString>,
        range: Option<ByteRange>,
    ) -> Result<Download, DownloadError> {
        let mut target = hosts
            .parse_url(url.expose_secret())
            .map_err(DownloadError::DisallowedUrl)?;
        let mut authorization = match bearer_token {
            Some(token) => Some(bearer(token).ok_or(DownloadError::Unauthorized)?),
            None => None,
        };
        let first = target.clone();
        let mut redirects = 0;
        loop {
            let mut request = self
                .http
                .get(target.url().clone())
                .header(ACCEPT_ENCODING, "identity");
            if let Some(authorization) = &authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            if let Some(range) = &range {
                request = request.header(RANGE, range.header());
            }
            let response = request
                .send()
                .await
                .map_err(|error| DownloadError::Network(NetworkError::of(&error)))?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return accept(response, range, &target, authorization.is_some());
            }
            if redirects == MAX_REDIRECTS {
                return Err(DownloadError::TooManyRedirects);
            }
            redirects += 1;
            let location =
                text(response.headers(), LOCATION).ok_or(DownloadError::InvalidRedirect)?;
            target = hosts
                .parse_location(&target, &location)
                .map_err(DownloadError::DisallowedUrl)?;
            if !target.same_origin(&first) {
                authorization = None;
            }
        }
    }
}

/// The table of answers.
fn accept(
    response: Response,
    range: Option<ByteRange>,
    target: &AllowedUrl,
    authorized: bool,
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
                .and_then(|text| number(after_unit(&text)?.strip_prefix("*/")?));
            return Err(DownloadError::RangeNotSatisfiable { total });
        }
        StatusCode::TOO_MANY_REQUESTS => {
            return Err(DownloadError::RateLimited(RateLimit::read(headers)));
        }
        status if status.is_server_error() => {
            return Err(DownloadError::ServerError {
                status: status.as_u16(),
                retry_after: RetryAfter::read(headers),
            });
        }
        status => {
            return Err(DownloadError::UnexpectedStatus {
                status: status.as_u16(),
            });
        }
    }

    // Bytes that are no text must not hide what stands beside them.
    let lossy = |name| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned());
    let content_type = lossy(CONTENT_TYPE);
    if content_type.as_deref().is_some_and(is_html) {
        return Err(DownloadError::HtmlInsteadOfFile);
    }
    if lossy(CONTENT_ENCODING).is_some_and(|e| !e.trim().eq_ignore_ascii_case("identity")) {
        return Err(DownloadError::UnexpectedEncoding);
    }
    let content_length = text(headers, CONTENT_LENGTH).and_then(|text| number(&text));
    let content_range = if status == StatusCode::PARTIAL_CONTENT {
        let got = text(headers, CONTENT_RANGE)
            .and_then(|text| ContentRange::parse(&text))
            .filter(|got| range.is_some_and(|asked| asked.is_satisfied_by(got)))
            .filter(|got| content_length.is_none_or(|length| length == got.length()))
            .ok_or(DownloadError::RangeMismatch)?;
        Some(got)
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
        is_authorized: authorized,
        body: DownloadBody(response.into()),
    })
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    // Not `to_str`, which refuses UTF-8: a file name in a `Location` may have it.
    std::str::from_utf8(headers.get(name)?.as_bytes())
        .ok()
        .map(str::to_owned)
}

fn is_html(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    ["text/html", "application/xhtml+xml"]
        .iter()
        .any(|html| media_type.eq_ignore_ascii_case(html))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content_range(first: u64, last: u64, total: Option<u64>) -> ContentRange {
        ContentRange { first, last, total }
    }

    #[test]
    fn content_ranges_are_read_strictly() {
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
    }

    #[test]
    fn an_answer_must_be_what_was_asked() {
        let tenth = ByteRange::new(10, 19).unwrap();
        assert!(tenth.is_satisfied_by(&content_range(10, 19, Some(100))));
        assert!(tenth.is_satisfied_by(&content_range(10, 19, None)));
        assert!(
            tenth.is_satisfied_by(&content_range(10, 14, Some(15))),
            "the file ends before"
        );
        assert!(
            !tenth.is_satisfied_by(&content_range(10, 14, Some(100))),
            "short"
        );
        assert!(
            !tenth.is_satisfied_by(&content_range(10, 14, None)),
            "short"
        );
        assert!(!tenth.is_satisfied_by(&content_range(0, 19, Some(100))));
        assert!(!tenth.is_satisfied_by(&content_range(10, 29, Some(100))));
        let rest = ByteRange::starting_at(10);
        assert!(rest.is_satisfied_by(&content_range(10, 99, Some(100))));
        assert!(rest.is_satisfied_by(&content_range(10, 99, None)));
        assert!(!rest.is_satisfied_by(&content_range(10, 98, Some(100))));
        assert_eq!(ByteRange::new(1, 0), None);
        assert_eq!(content_range(0, u64::MAX, None).length(), u64::MAX);
    }

    #[test]
    fn a_body_can_go_into_an_sdk_body() {
        fn sendable<T: Send + Sync + 'static>() {}
        sendable::<DownloadBody>();
        sendable::<Download>();
    }
}
