use std::time::Duration;

use http_body_util::BodyExt as _;
use reelay_zoom::{
    ByteRange, ContentRange, DisallowedUrl, Download, DownloadError, DownloadHosts, Endpoints,
    MAX_REDIRECTS, NetworkError, RateLimit, RateLimitKind, RetryAfter, ZoomClient,
};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::server::{
    End, UntouchedPort, closed_port, header, only_request, received, response, serve, serve_raw,
    serve_raw_as_https, target,
};
use crate::{SECRET, assert_redacted, client, impatient_client, secret};

const CONTENT: &[u8] = b"0123456789";
const BEARER: Option<&str> = Some("Bearer S3CRET-bearer");

pub(crate) fn hosts(list: &str) -> DownloadHosts {
    let endpoints = Endpoints::parse("http://127.0.0.1", "http://127.0.0.1").unwrap();
    DownloadHosts::parse(list, &endpoints).unwrap()
}

/// A client with loopback base URLs, so that loopback download hosts are allowed.
fn zoom() -> ZoomClient {
    client("http://127.0.0.1")
}

async fn get(url: &str, range: Option<ByteRange>) -> Result<Download, DownloadError> {
    get_from(&hosts("zoom.us,127.0.0.1,localhost"), url, range).await
}

async fn get_from(
    hosts: &DownloadHosts,
    url: &str,
    range: Option<ByteRange>,
) -> Result<Download, DownloadError> {
    let (url, token) = (SecretString::from(url), secret("bearer"));
    zoom().download(hosts, &url, Some(&token), range).await
}

async fn bytes(mut download: Download) -> Result<Vec<u8>, NetworkError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = download.body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Responds with [`CONTENT`], or the requested range of it.
fn file(request: &Request) -> ResponseTemplate {
    let headers = [
        ("etag", "\"v1\""),
        ("last-modified", "Thu, 01 Jan 2026 09:31:00 GMT"),
        ("accept-ranges", "bytes"),
        ("content-type", "video/mp4"),
    ];
    let Some(range) = header(request, "range") else {
        return response(200, &headers, CONTENT);
    };
    let range = range.strip_prefix("bytes=").unwrap();
    let (first, last) = range.split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let size = CONTENT.len();
    if first >= size {
        return response(416, &[("content-range", &format!("bytes */{size}"))], "");
    }
    let last = last.parse().unwrap_or(usize::MAX).min(size - 1);
    response(206, &headers, &CONTENT[first..=last])
        .append_header("content-range", format!("bytes {first}-{last}/{size}"))
}

fn redirect(status: u16, location: &str) -> ResponseTemplate {
    response(status, &[("location", location)], "")
}

#[tokio::test]
async fn whole_file_is_downloaded_with_metadata() {
    let server = serve(file).await;
    let url = format!("{}/rec/download/S3CRET?k=S3CRET", server.uri());
    let download = get(&url, None).await.unwrap();
    assert!(!format!("{download:?}").contains(SECRET));
    assert_eq!((download.status, download.content_length), (200, Some(10)));
    assert_eq!(download.content_range, None);
    assert_eq!(download.content_type.as_deref(), Some("video/mp4"));
    assert_eq!(download.etag.as_deref(), Some("\"v1\""));
    assert_eq!(download.last_modified.as_deref(), Some("Thu, 01 Jan 2026 09:31:00 GMT"));
    assert!(download.accept_ranges);
    assert!(download.is_authorized);
    assert_eq!(download.final_url.expose_secret(), url);
    assert_eq!(bytes(download).await.unwrap(), CONTENT);
    let request = only_request(&server).await;
    assert_eq!(header(&request, "authorization"), BEARER);
    assert_eq!(header(&request, "accept-encoding"), Some("identity"));
    assert_eq!(header(&request, "range"), None);
    assert_eq!(header(&request, "referer"), None);
}

#[tokio::test]
async fn body_implements_http_body() {
    use http_body::Body as _;
    let server = serve(file).await;
    let download = get(&server.uri(), None).await.unwrap();
    assert_eq!(download.body.size_hint().exact(), Some(10));
    let collected = download.body.collect().await.unwrap().to_bytes();
    assert_eq!(collected.as_ref(), CONTENT);
}

#[tokio::test]
async fn requested_range_is_downloaded() {
    let server = serve(file).await;
    for (range, sent, first, last) in [
        (ByteRange::new(0, 3), "bytes=0-3", 0, 3),
        (ByteRange::new(8, 20), "bytes=8-20", 8, 9),
        (Some(ByteRange::starting_at(7)), "bytes=7-", 7, 9),
    ] {
        let content = &CONTENT[first..=last];
        let download = get(&server.uri(), range).await.unwrap();
        assert_eq!(download.status, 206);
        let expected = ContentRange { first: first as u64, last: last as u64, total: Some(10) };
        assert_eq!(download.content_range, Some(expected));
        assert_eq!(download.content_length, Some(content.len() as u64));
        assert_eq!(bytes(download).await.unwrap(), content);
        let requests = received(&server).await;
        assert_eq!(header(requests.last().unwrap(), "range"), Some(sent));
    }
}

#[tokio::test]
async fn server_without_ranges_sends_whole_file() {
    let server = serve(response(200, &[], CONTENT)).await;
    let download = get(&server.uri(), ByteRange::new(2, 3)).await.unwrap();
    assert_eq!((download.status, download.content_range), (200, None));
    assert!(!download.accept_ranges);
}

#[tokio::test]
async fn mismatched_range_is_rejected() {
    let two = ByteRange::new(2, 3);
    for (range, headers) in [
        (None, [("content-range", "bytes 0-1/10")].as_slice()),
        (two, &[]),
        (two, &[("content-range", "bytes 0-1/10")]),
        (two, &[("content-range", "bytes 2-4/10")]),
        (two, &[("content-range", "bytes 2-2/10")]),
        (two, &[("content-range", "S3CRET")]),
        (two, &[("content-type", "multipart/byteranges; boundary=x")]),
        // The requested range with a body of another length.
        (ByteRange::new(2, 9), &[("content-range", "bytes 2-9/10")]),
    ] {
        let server = serve(response(206, headers, "23")).await;
        let error = get(&server.uri(), range).await.unwrap_err();
        assert_eq!(error, DownloadError::RangeMismatch, "{headers:?}");
        assert_redacted(&error);
    }
}

#[tokio::test]
async fn unusable_response_is_classified() {
    use DownloadError::{
        Forbidden, Gone, HtmlInsteadOfFile, InvalidRedirect, NotFound, RangeNotSatisfiable,
        RateLimited, ServerError, Unauthorized, UnexpectedEncoding, UnexpectedStatus,
    };
    let html = ("content-type", "text/html; charset=UTF-8");
    let date = "2026-01-02T00:00:00Z";
    let after_7 = Some(RetryAfter::Delay(Duration::from_secs(7)));
    let limited = |retry_after, kind| RateLimited(RateLimit { retry_after, kind });
    let server_error = |status, retry_after| ServerError { status, retry_after };
    let unsatisfiable = |total| RangeNotSatisfiable { total };
    let unexpected = |status| UnexpectedStatus { status };
    for (status, headers, expected) in [
        (401, [html].as_slice(), Unauthorized),
        (403, &[], Forbidden),
        (404, &[html], NotFound),
        (410, &[], Gone),
        (416, &[("content-range", "bytes */10")], unsatisfiable(Some(10))),
        (416, &[("content-range", "S3CRET")], unsatisfiable(None)),
        (416, &[], unsatisfiable(None)),
        (429, &[], limited(None, None)),
        (
            429,
            &[("retry-after", "7"), ("x-ratelimit-type", "QPS")],
            limited(after_7, Some(RateLimitKind::PerSecond)),
        ),
        (
            429,
            &[("retry-after", date)],
            limited(Some(RetryAfter::Date(date.parse().unwrap())), None),
        ),
        (500, &[], server_error(500, None)),
        (502, &[html], server_error(502, None)),
        (503, &[("retry-after", "7")], server_error(503, after_7)),
        (200, &[html], HtmlInsteadOfFile),
        (200, &[("content-type", " TEXT/HTML")], HtmlInsteadOfFile),
        (200, &[("content-type", "application/xhtml+xml")], HtmlInsteadOfFile),
        (206, &[html], HtmlInsteadOfFile),
        (200, &[("content-encoding", "gzip")], UnexpectedEncoding),
        (204, &[], unexpected(204)),
        (300, &[("location", "/S3CRET")], unexpected(300)),
        (304, &[], unexpected(304)),
        (400, &[], unexpected(400)),
        (302, &[], InvalidRedirect),
    ] {
        let server = serve(response(status, headers, "S3CRET")).await;
        let url = format!("{}/S3CRET?k=S3CRET", server.uri());
        let error = get(&url, None).await.unwrap_err();
        assert_eq!(error, expected, "{status} {headers:?}");
        assert_redacted(&error);
        assert_eq!(received(&server).await.len(), 1);
    }
}

#[tokio::test]
async fn other_content_headers_are_accepted() {
    for (name, value) in [
        ("content-type", "text/vtt"),
        ("content-type", "text/plain"),
        ("content-type", "application/octet-stream"),
        ("content-type", "text/html5"),
        ("content-encoding", "identity"),
    ] {
        let server = serve(response(200, &[(name, value)], "x")).await;
        assert!(get(&server.uri(), None).await.is_ok(), "{value}");
    }
}

#[tokio::test]
async fn non_utf8_header_does_not_bypass_checks() {
    for (name, value, expected) in [
        ("content-type", b"text/html; charset=\xff".as_slice(), DownloadError::HtmlInsteadOfFile),
        ("content-encoding", b"gzip, \xff", DownloadError::UnexpectedEncoding),
    ] {
        let value = HeaderValue::from_bytes(value).unwrap();
        let server = serve(response(200, &[], "x").append_header(name, value)).await;
        assert_eq!(get(&server.uri(), None).await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn gzip_content_is_not_decompressed() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice();
    let server = serve(response(200, &[("content-type", "video/mp4")], gzip)).await;
    let download = get(&server.uri(), None).await.unwrap();
    assert_eq!(bytes(download).await.unwrap(), gzip);
}

#[tokio::test]
async fn same_origin_redirect_keeps_authorization() {
    let server = serve(|request: &Request| match target(request) {
        "/a" => redirect(302, "/b?x=1"),
        "/b?x=1" => redirect(307, "c"),
        _ => file(request),
    })
    .await;
    let url = format!("{}/a", server.uri());
    let download = get(&url, ByteRange::new(1, 2)).await.unwrap();
    assert!(download.is_authorized);
    let final_url = format!("{}/c", server.uri());
    assert_eq!(download.final_url.expose_secret(), final_url);
    assert_eq!(bytes(download).await.unwrap(), b"12");
    let requests = received(&server).await;
    assert_eq!(requests.len(), 3);
    for request in requests {
        assert_eq!(header(&request, "authorization"), BEARER);
        assert_eq!(header(&request, "range"), Some("bytes=1-2"));
        assert_eq!(header(&request, "accept-encoding"), Some("identity"));
    }
}

#[tokio::test]
async fn authorization_is_dropped_on_other_host() {
    // Two host names of one server.
    let server = serve(|request: &Request| match target(request) {
        "/a" => {
            let host = header(request, "host").unwrap();
            let host = host.replace("127.0.0.1", "localhost");
            redirect(302, &format!("http://{host}/b?Signature=S3CRET"))
        }
        _ => file(request),
    })
    .await;
    let download = get(&format!("{}/a", server.uri()), None).await.unwrap();
    assert!(!download.is_authorized);
    let final_url = download.final_url.clone();
    let port = server.address().port();
    let expected = format!("http://localhost:{port}/b?Signature=S3CRET");
    assert_eq!(final_url.expose_secret(), expected);
    assert_eq!(bytes(download).await.unwrap(), CONTENT);

    // A later range is requested from the final URL directly, without a token.
    let hosts = hosts("127.0.0.1,localhost");
    let range = ByteRange::new(4, 6);
    let download = zoom().download(&hosts, &final_url, None, range).await.unwrap();
    assert_eq!(bytes(download).await.unwrap(), b"456");

    let requests = received(&server).await;
    let sent: Vec<_> = requests.iter().map(|request| header(request, "authorization")).collect();
    assert_eq!(sent, [BEARER, None, None]);
}

#[tokio::test]
async fn dropped_authorization_is_not_restored() {
    // The first server redirects to the other port and back.
    let (first, other) = (MockServer::start().await, MockServer::start().await);
    let mount = async |server: &MockServer, path: &str, response: ResponseTemplate| {
        wiremock::Mock::given(wiremock::matchers::path(path))
            .respond_with(response)
            .mount(server)
            .await;
    };
    mount(&first, "/a", redirect(302, &format!("{}/away", other.uri()))).await;
    mount(&other, "/away", redirect(302, &format!("{}/home", first.uri()))).await;
    mount(&first, "/home", response(200, &[], CONTENT)).await;
    let download = get(&format!("{}/a", first.uri()), None).await.unwrap();
    assert!(!download.is_authorized);
    let final_url = format!("{}/home", first.uri());
    assert_eq!(download.final_url.expose_secret(), final_url);
    let requests = received(&first).await;
    assert_eq!(header(&requests[0], "authorization"), BEARER);
    assert_eq!(header(&requests[1], "authorization"), None);
    let request = only_request(&other).await;
    assert_eq!(header(&request, "authorization"), None);
}

#[tokio::test]
async fn redirects_are_limited() {
    // "/3" redirects three times; any other path redirects forever.
    let server =
        serve(|request: &Request| match target(request).trim_start_matches('/').parse::<usize>() {
            Ok(0) => response(200, &[], "x"),
            Ok(n) => redirect(301, &format!("/{}", n - 1)),
            Err(_) => redirect(302, "/loop?S3CRET"),
        })
        .await;
    let uri = server.uri();
    let max = MAX_REDIRECTS;
    assert!(get(&format!("{uri}/{max}"), None).await.is_ok());
    for path in [(max + 1).to_string(), "loop?S3CRET".to_owned()] {
        let before = received(&server).await.len();
        let error = get(&format!("{uri}/{path}"), None).await.unwrap_err();
        assert_eq!(error, DownloadError::TooManyRedirects);
        assert_redacted(&error);
        assert_eq!(received(&server).await.len() - before, max + 1);
    }
}

#[tokio::test]
async fn disallowed_host_receives_no_request() {
    let port = UntouchedPort::open();
    let allowed = hosts("zoom.us,127.0.0.1");
    let expected = DownloadError::DisallowedUrl(DisallowedUrl::Host("localhost".to_owned()));
    let url = format!("http://localhost:{}/S3CRET?k=S3CRET", port.port());
    let error = get_from(&allowed, &url, None).await.unwrap_err();
    assert_eq!(error, expected);
    assert_redacted(&error);

    for status in [301, 302, 303, 307, 308] {
        let location = url.clone();
        let server = serve(move |request: &Request| match target(request) {
            "/first" => redirect(status, "/second"),
            _ => redirect(status, &location),
        })
        .await;
        for path in ["first", "second"] {
            let url = format!("{}/{path}", server.uri());
            let error = get_from(&allowed, &url, None).await.unwrap_err();
            assert_eq!(error, expected);
            assert_redacted(&error);
        }
        assert_eq!(received(&server).await.len(), 3);
    }

    // With a remote Zoom, loopback is not allowed even if listed.
    let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    let strict = DownloadHosts::parse("zoom.us,127.0.0.1,localhost", &endpoints).unwrap();
    for host in ["localhost", "127.0.0.1", "user@127.0.0.1", "[::1]"] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://{host}:{}/", port.port());
            let error = get_from(&strict, &url, None).await.unwrap_err();
            assert!(matches!(error, DownloadError::DisallowedUrl(_)));
        }
    }
    port.assert_untouched();
}

#[tokio::test]
async fn disallowed_redirect_error_shows_host_only() {
    for (location, part) in [
        ("https://zoom.us.evil.test/?S3CRET", "zoom.us.evil.test"),
        ("https://S3CRET:S3CRET@zoom.us/", "credentials"),
        ("https://zoom.us:8443/?S3CRET", "port 8443"),
        ("http://zoom.us/?S3CRET", "scheme"),
        ("/\\evil.test/S3CRET", "backslash"),
        ("https://[S3CRET", "not a url"),
    ] {
        let server = serve(redirect(302, location)).await;
        let error = get(&server.uri(), None).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_redacted(&error);
    }
}

#[tokio::test]
async fn connection_failure_is_classified() {
    use NetworkError::{Connect, ConnectionClosed, Dns, Other, Timeout, Tls};
    let cut_head = b"HTTP/1.1 200 OK\r\ncontent-le";
    let no_host = "https://no-such-host.invalid".to_owned();
    for (base, error) in [
        (closed_port(), Connect),
        (serve_raw(b"", End::Close).await, ConnectionClosed),
        (serve_raw(b"", End::Reset).await, ConnectionClosed),
        (serve_raw(b"", End::Stall).await, Timeout),
        (serve_raw(cut_head, End::Close).await, ConnectionClosed),
        (serve_raw(b"S3CRET\r\n\r\n", End::Close).await, Other),
        (serve_raw_as_https(b"\x15\x03\x03", End::Close).await, Tls),
        (serve_raw_as_https(b"HTTP/1.1 200 OK\r\n\r\n", End::Close).await, Tls),
        (no_host, Dns),
    ] {
        // Only the stalled server needs a client that gives up early; a TLS handshake may take longer.
        let zoom = match error {
            Timeout => impatient_client("http://127.0.0.1"),
            _ => zoom(),
        };
        let hosts = hosts("127.0.0.1,no-such-host.invalid");
        let url = SecretString::from(format!("{base}/?k=S3CRET"));
        let actual = zoom.download(&hosts, &url, None, None).await.unwrap_err();
        assert_eq!(actual, DownloadError::Network(error), "{base}");
        assert_redacted(&actual);
    }
}

#[tokio::test]
async fn incomplete_body_is_error() {
    let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n012".as_slice();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n012\r\n".as_slice();
    for (bytes, end, expected) in [
        (sized, End::Close, NetworkError::ConnectionClosed),
        (sized, End::Stall, NetworkError::Timeout),
        (chunked, End::Close, NetworkError::ConnectionClosed),
        (chunked, End::Stall, NetworkError::Timeout),
    ] {
        let url = SecretString::from(serve_raw(bytes, end).await);
        let mut download = impatient_client("http://127.0.0.1")
            .download(&hosts("127.0.0.1"), &url, None, None)
            .await
            .unwrap();
        let chunk = download.body.chunk().await.unwrap().unwrap();
        assert_eq!(chunk.as_ref(), b"012");
        let error = download.body.chunk().await.unwrap_err();
        assert_eq!(error, expected);
        assert_redacted(&error);
    }
    // A reset can discard bytes that were sent before it, the response header included.
    let base = serve_raw(sized, End::Reset).await;
    let closed = NetworkError::ConnectionClosed;
    match get(&base, None).await {
        Ok(download) => assert_eq!(bytes(download).await, Err(closed)),
        Err(error) => assert_eq!(error, DownloadError::Network(closed)),
    }
}

#[tokio::test]
async fn body_without_length_ends_at_close() {
    let base = serve_raw(b"HTTP/1.1 200 OK\r\n\r\n012", End::Close).await;
    let download = get(&base, None).await.unwrap();
    assert_eq!(download.content_length, None);
    assert_eq!(bytes(download).await.unwrap(), b"012");
}

#[tokio::test]
async fn parallel_ranges_use_separate_connections() {
    // The server responds once per connection and never completes a body.
    let response = b"HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-9/10\r\n\
        content-length: 10\r\n\r\n012";
    let url = SecretString::from(serve_raw(response, End::Stall).await);
    let (zoom, hosts) = (zoom(), hosts("127.0.0.1"));
    let mut downloads = Vec::new();
    for _ in 0..4 {
        let range = ByteRange::new(0, 9);
        let download = zoom.clone().download(&hosts, &url, None, range).await;
        downloads.push(download.unwrap());
    }
    assert!(downloads.iter().all(|download| download.content_range.is_some()));
}

#[tokio::test]
async fn invalid_token_is_not_sent() {
    let port = UntouchedPort::open();
    let token = SecretString::from("S3CRET\r\nx-injected: 1");
    let url = SecretString::from(format!("http://127.0.0.1:{}", port.port()));
    let error = zoom().download(&hosts("127.0.0.1"), &url, Some(&token), None).await.unwrap_err();
    assert_eq!(error, DownloadError::Unauthorized);
    assert_redacted(&error);
    port.assert_untouched();
}
