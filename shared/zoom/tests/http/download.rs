use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::response::Response;
use http_body_util::BodyExt as _;
use reelay_zoom::{
    ByteRange, ContentRange, DisallowedUrl, Download, DownloadError, DownloadHosts, Endpoints,
    MAX_REDIRECTS, NetworkError, RateLimit, RateLimitKind, RetryAfter, ZoomClient,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::server::{End, Seen, Server, nobody, raw, response};
use crate::{SECRET, assert_discreet, impatient_zoom_at, secret, zoom_at};

fn hosts(list: &str) -> DownloadHosts {
    let endpoints = Endpoints::parse("http://127.0.0.1", "http://127.0.0.1").unwrap();
    DownloadHosts::parse(list, &endpoints).unwrap()
}

/// A client whose Zoom is on loopback; where exactly does not matter to downloads.
fn zoom() -> ZoomClient {
    zoom_at("http://127.0.0.1")
}

async fn get(url: &str, range: Option<ByteRange>) -> Result<Download, DownloadError> {
    let hosts = hosts("zoom.us,127.0.0.1,localhost");
    zoom()
        .download(
            &hosts,
            &SecretString::from(url),
            Some(&secret("bearer")),
            range,
        )
        .await
}

async fn bytes(mut download: Download) -> Result<Vec<u8>, NetworkError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = download.body.chunk().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// A file server that honours `Range`.
fn file(request: &Seen, content: &[u8]) -> Response {
    let validators = [
        ("etag", "\"v1\""),
        ("last-modified", "Thu, 01 Jan 2026 09:31:00 GMT"),
        ("accept-ranges", "bytes"),
        ("content-type", "video/mp4"),
    ];
    let Some(range) = request.header("range") else {
        return response(200, &validators, content.to_vec());
    };
    let (first, last) = range
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    let first: usize = first.parse().unwrap();
    let last = last.parse().unwrap_or(usize::MAX).min(content.len() - 1);
    if first >= content.len() {
        let range = format!("bytes */{}", content.len());
        return response(416, &[("content-range", &range)], "");
    }
    let range = format!("bytes {first}-{last}/{}", content.len());
    let mut response = response(206, &validators, content[first..=last].to_vec());
    response
        .headers_mut()
        .insert("content-range", range.parse().unwrap());
    response
}

#[tokio::test]
async fn a_whole_file_arrives_with_all_that_is_known_of_it() {
    let server = Server::start(|request| file(request, b"0123456789")).await;
    let url = format!("{}/rec/download/S3CRET?k=S3CRET", server.base());
    let download = get(&url, None).await.unwrap();
    assert!(!format!("{download:?}").contains(SECRET));
    assert_eq!((download.status, download.content_length), (200, Some(10)));
    assert_eq!(download.content_range, None);
    assert_eq!(download.content_type.as_deref(), Some("video/mp4"));
    assert_eq!(download.etag.as_deref(), Some("\"v1\""));
    assert_eq!(
        download.last_modified.as_deref(),
        Some("Thu, 01 Jan 2026 09:31:00 GMT")
    );
    assert!(download.accept_ranges);
    assert!(download.is_authorized);
    assert_eq!(download.final_url.expose_secret(), url);
    assert_eq!(bytes(download).await.unwrap(), b"0123456789");
    let request = server.only_request();
    assert_eq!(
        request.header("authorization"),
        Some("Bearer S3CRET-bearer")
    );
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    assert_eq!(request.header("range"), None);
    assert_eq!(request.header("referer"), None);
}

#[tokio::test]
async fn a_body_is_an_http_body() {
    use http_body::Body as _;
    let server = Server::start(|request| file(request, b"0123456789")).await;
    let download = get(&server.base(), None).await.unwrap();
    assert_eq!(download.body.size_hint().exact(), Some(10));
    assert_eq!(
        download.body.collect().await.unwrap().to_bytes().as_ref(),
        b"0123456789"
    );
}

#[tokio::test]
async fn ranges_arrive_as_asked() {
    let server = Server::start(|request| file(request, b"0123456789")).await;
    for (range, header, got, content) in [
        (
            ByteRange::new(0, 3),
            "bytes=0-3",
            (0, 3),
            b"0123".as_slice(),
        ),
        (ByteRange::new(8, 20), "bytes=8-20", (8, 9), b"89"),
        (Some(ByteRange::starting_at(7)), "bytes=7-", (7, 9), b"789"),
    ] {
        let download = get(&server.base(), range).await.unwrap();
        assert_eq!(download.status, 206);
        assert_eq!(
            download.content_range,
            Some(ContentRange {
                first: got.0,
                last: got.1,
                total: Some(10)
            })
        );
        assert_eq!(download.content_length, Some(content.len() as u64));
        assert_eq!(bytes(download).await.unwrap(), content);
        assert_eq!(server.seen().last().unwrap().header("range"), Some(header));
    }
    // A server that knows no ranges says so by its status.
    let server = Server::answering(200, &[], "0123456789").await;
    let download = get(&server.base(), ByteRange::new(2, 3)).await.unwrap();
    assert_eq!((download.status, download.content_range), (200, None));
    assert!(!download.accept_ranges);
}

#[tokio::test]
async fn a_206_that_was_not_asked_for_is_refused() {
    let two = ByteRange::new(2, 3);
    for (range, headers) in [
        (None, [("content-range", "bytes 0-1/10")].as_slice()),
        (two, &[]),
        (two, &[("content-range", "bytes 0-1/10")]),
        (two, &[("content-range", "bytes 2-4/10")]),
        (two, &[("content-range", "bytes 2-2/10")]),
        (two, &[("content-range", "S3CRET")]),
        (two, &[("content-type", "multipart/byteranges; boundary=x")]),
        // The range as asked, with a body of another length.
        (ByteRange::new(2, 9), &[("content-range", "bytes 2-9/10")]),
    ] {
        let server = Server::answering(206, headers, "23").await;
        let error = get(&server.base(), range).await.unwrap_err();
        assert_eq!(error, DownloadError::RangeMismatch, "{headers:?}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn every_answer_has_its_error() {
    let html = ("content-type", "text/html; charset=UTF-8");
    let in_7 = Some(RetryAfter::Delay(Duration::from_secs(7)));
    let server_error = |status| DownloadError::ServerError {
        status,
        retry_after: None,
    };
    for (status, headers, error) in [
        (401, [html].as_slice(), DownloadError::Unauthorized),
        (403, &[], DownloadError::Forbidden),
        (404, &[html], DownloadError::NotFound),
        (410, &[], DownloadError::Gone),
        (
            416,
            &[("content-range", "bytes */10")],
            DownloadError::RangeNotSatisfiable { total: Some(10) },
        ),
        (
            416,
            &[("content-range", "S3CRET")],
            DownloadError::RangeNotSatisfiable { total: None },
        ),
        (416, &[], DownloadError::RangeNotSatisfiable { total: None }),
        (429, &[], DownloadError::RateLimited(RateLimit::default())),
        (
            429,
            &[("retry-after", "7"), ("x-ratelimit-type", "QPS")],
            DownloadError::RateLimited(RateLimit {
                retry_after: in_7,
                kind: Some(RateLimitKind::PerSecond),
            }),
        ),
        (
            429,
            &[("retry-after", "2026-01-02T00:00:00Z")],
            DownloadError::RateLimited(RateLimit {
                retry_after: Some(RetryAfter::Date("2026-01-02T00:00:00Z".parse().unwrap())),
                kind: None,
            }),
        ),
        (500, &[], server_error(500)),
        (502, &[html], server_error(502)),
        (
            503,
            &[("retry-after", "7")],
            DownloadError::ServerError {
                status: 503,
                retry_after: in_7,
            },
        ),
        (200, &[html], DownloadError::HtmlInsteadOfFile),
        (
            200,
            &[("content-type", " TEXT/HTML")],
            DownloadError::HtmlInsteadOfFile,
        ),
        (
            200,
            &[("content-type", "application/xhtml+xml")],
            DownloadError::HtmlInsteadOfFile,
        ),
        (206, &[html], DownloadError::HtmlInsteadOfFile),
        (
            200,
            &[("content-encoding", "gzip")],
            DownloadError::UnexpectedEncoding,
        ),
        (204, &[], DownloadError::UnexpectedStatus { status: 204 }),
        (
            300,
            &[("location", "/S3CRET")],
            DownloadError::UnexpectedStatus { status: 300 },
        ),
        (304, &[], DownloadError::UnexpectedStatus { status: 304 }),
        (400, &[], DownloadError::UnexpectedStatus { status: 400 }),
        (302, &[], DownloadError::InvalidRedirect),
    ] {
        let server = Server::answering(status, headers, "S3CRET").await;
        let url = format!("{}/S3CRET?k=S3CRET", server.base());
        let got = get(&url, None).await.unwrap_err();
        assert_eq!(got, error, "{status} {headers:?}");
        assert_discreet(&got);
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(|request| file(request, b"0123456789")).await;
    let error = get(&server.base(), ByteRange::new(10, 11))
        .await
        .unwrap_err();
    assert_eq!(
        error,
        DownloadError::RangeNotSatisfiable { total: Some(10) }
    );
}

#[tokio::test]
async fn types_that_merely_look_like_html_pass() {
    for kind in [
        "text/vtt",
        "text/plain",
        "application/octet-stream",
        "text/html5",
    ] {
        let server = Server::answering(200, &[("content-type", kind)], "x").await;
        assert!(get(&server.base(), None).await.is_ok(), "{kind}");
    }
    let server = Server::answering(200, &[("content-encoding", "identity")], "x").await;
    assert!(get(&server.base(), None).await.is_ok());
}

#[tokio::test]
async fn bytes_that_are_no_text_hide_neither_a_page_nor_a_compression() {
    for (name, value, error) in [
        (
            "content-type",
            b"text/html; charset=\xff".as_slice(),
            DownloadError::HtmlInsteadOfFile,
        ),
        (
            "content-encoding",
            b"gzip, \xff",
            DownloadError::UnexpectedEncoding,
        ),
    ] {
        let server = Server::start(move |_| {
            let mut response = response(200, &[], "x");
            let value = HeaderValue::from_bytes(value).unwrap();
            response.headers_mut().insert(name, value);
            response
        })
        .await;
        assert_eq!(get(&server.base(), None).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn compressed_bytes_are_never_unpacked() {
    // Content that is itself gzip is a file like any other.
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".as_slice();
    let server =
        Server::start(|request| file(request, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03")).await;
    let download = get(&server.base(), None).await.unwrap();
    assert_eq!(bytes(download).await.unwrap(), gzip);
}

#[tokio::test]
async fn redirects_within_one_origin_keep_the_authorization() {
    let server = Server::start(|request| match request.target.as_str() {
        "/a" => response(302, &[("location", "/b?x=1")], ""),
        "/b?x=1" => response(307, &[("location", "c")], ""),
        _ => file(request, b"0123456789"),
    })
    .await;
    let url = format!("{}/a", server.base());
    let download = get(&url, ByteRange::new(1, 2)).await.unwrap();
    assert!(download.is_authorized);
    assert_eq!(
        download.final_url.expose_secret(),
        format!("{}/c", server.base())
    );
    assert_eq!(bytes(download).await.unwrap(), b"12");
    for request in server.seen() {
        assert_eq!(
            request.header("authorization"),
            Some("Bearer S3CRET-bearer")
        );
        assert_eq!(
            request.header("range"),
            Some("bytes=1-2"),
            "{}",
            request.target
        );
        assert_eq!(request.header("accept-encoding"), Some("identity"));
    }
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn authorization_is_dropped_when_the_host_changes() {
    // 127.0.0.1 and localhost are one server here, but two hosts.
    let server = Server::start(|request| {
        let host = request.header("host").unwrap();
        match request.target.as_str() {
            "/a" => {
                let to = format!(
                    "http://{}/b?Signature=S3CRET",
                    host.replace("127.0.0.1", "localhost")
                );
                response(302, &[("location", &to)], "")
            }
            _ => file(request, b"0123456789"),
        }
    })
    .await;
    let download = get(&format!("{}/a", server.base()), None).await.unwrap();
    assert!(!download.is_authorized);
    let final_url = download.final_url.clone();
    let localhost = format!("http://localhost:{}/b?Signature=S3CRET", server.port);
    assert_eq!(final_url.expose_secret(), localhost);
    assert_eq!(bytes(download).await.unwrap(), b"0123456789");
    let seen = server.seen();
    assert_eq!(
        seen[0].header("authorization"),
        Some("Bearer S3CRET-bearer")
    );
    assert_eq!(seen[1].header("authorization"), None);

    // And a later range goes straight there, without.
    let hosts = hosts("127.0.0.1,localhost");
    let range = ByteRange::new(4, 6);
    let download = zoom()
        .download(&hosts, &final_url, None, range)
        .await
        .unwrap();
    assert_eq!(bytes(download).await.unwrap(), b"456");
    assert_eq!(server.seen()[2].header("authorization"), None);
}

#[tokio::test]
async fn authorization_is_dropped_when_the_port_changes_and_never_comes_back() {
    let first = Arc::new(std::sync::OnceLock::<String>::new());
    let home = first.clone();
    let other = Server::start(move |_| {
        response(
            302,
            &[("location", &format!("{}/home", home.get().unwrap()))],
            "",
        )
    })
    .await;
    let away = format!("{}/away", other.base());
    let server = Server::start(move |request| match request.target.as_str() {
        "/a" => response(302, &[("location", &away)], ""),
        _ => file(request, b"0123456789"),
    })
    .await;
    first.set(server.base()).unwrap();
    let download = get(&format!("{}/a", server.base()), None).await.unwrap();
    assert!(!download.is_authorized);
    assert_eq!(
        download.final_url.expose_secret(),
        format!("{}/home", server.base())
    );
    assert_eq!(
        server.seen()[0].header("authorization"),
        Some("Bearer S3CRET-bearer")
    );
    assert_eq!(other.only_request().header("authorization"), None);
    assert_eq!(server.seen()[1].header("authorization"), None);
}

#[tokio::test]
async fn redirects_have_an_end() {
    // /n redirects n times.
    let server = Server::start(
        |request| match request.target.trim_start_matches('/').parse() {
            Ok(0) => response(200, &[], "x"),
            Ok(n) => response(301, &[("location", &format!("/{}", n - 1))], ""),
            Err(_) => response(302, &[("location", "/loop?S3CRET")], ""),
        },
    )
    .await;
    let url = |n: &str| format!("{}/{n}", server.base());
    assert!(get(&url(&MAX_REDIRECTS.to_string()), None).await.is_ok());
    let error = get(&url(&(MAX_REDIRECTS + 1).to_string()), None)
        .await
        .unwrap_err();
    assert_eq!(error, DownloadError::TooManyRedirects);
    let before = server.seen().len();
    let error = get(&url("loop?S3CRET"), None).await.unwrap_err();
    assert_eq!(error, DownloadError::TooManyRedirects);
    assert_discreet(&error);
    assert_eq!(server.seen().len() - before, MAX_REDIRECTS + 1);
}

#[tokio::test]
async fn nothing_leaves_to_a_refused_host() {
    let evil = Server::answering(200, &[], "x").await;
    let hosts = hosts("zoom.us,127.0.0.1");
    let refused = DownloadError::DisallowedUrl(DisallowedUrl::Host("localhost".to_owned()));

    // Asked for directly.
    let token = secret("bearer");
    let url = SecretString::from(format!("http://localhost:{}/S3CRET?k=S3CRET", evil.port));
    let error = zoom()
        .download(&hosts, &url, Some(&token), None)
        .await
        .unwrap_err();
    assert_eq!(error, refused);
    assert_discreet(&error);

    // By a redirect, at once and after another one, in every form of redirect.
    for status in [301, 302, 303, 307, 308] {
        let to = url.expose_secret().to_owned();
        let server = Server::start(move |request| match request.target.as_str() {
            "/first" => response(status, &[("location", "/second")], ""),
            _ => response(status, &[("location", &to)], ""),
        })
        .await;
        for path in ["first", "second"] {
            let url = SecretString::from(format!("{}/{path}", server.base()));
            let error = zoom()
                .download(&hosts, &url, Some(&token), None)
                .await
                .unwrap_err();
            assert_eq!(error, refused);
            assert_discreet(&error);
        }
        assert_eq!(server.seen().len(), 3);
    }

    // Loopback is not admitted at all while Zoom is not there.
    let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    let strict = DownloadHosts::parse("zoom.us,127.0.0.1,localhost", &endpoints).unwrap();
    for host in ["localhost", "127.0.0.1", "user@127.0.0.1", "[::1]"] {
        for scheme in ["http", "https"] {
            let url = SecretString::from(format!("{scheme}://{host}:{}/", evil.port));
            let error = zoom()
                .download(&strict, &url, Some(&token), None)
                .await
                .unwrap_err();
            assert!(matches!(error, DownloadError::DisallowedUrl(_)));
        }
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn refusals_name_the_part_and_no_more() {
    for (location, part) in [
        (
            "https://zoom.us.evil.test/?S3CRET",
            "the host zoom.us.evil.test is not among",
        ),
        ("https://S3CRET:S3CRET@zoom.us/", "credentials"),
        ("https://zoom.us:8443/?S3CRET", "port 8443"),
        ("http://zoom.us/?S3CRET", "scheme"),
        ("/\\evil.test/S3CRET", "backslash"),
        ("https://[S3CRET", "not a url"),
    ] {
        let server = Server::answering(302, &[("location", location)], "").await;
        let error = get(&server.base(), None).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn connections_that_fail_before_an_answer() {
    for (base, network) in [
        (nobody().await, NetworkError::Connect),
        (raw(b"", End::Close).await, NetworkError::ConnectionClosed),
        (raw(b"", End::Reset).await, NetworkError::ConnectionClosed),
        (raw(b"", End::Silence).await, NetworkError::Timeout),
        (
            raw(b"HTTP/1.1 200 OK\r\ncontent-le", End::Close).await,
            NetworkError::ConnectionClosed,
        ),
        (
            raw(b"S3CRET\r\n\r\n", End::Close).await,
            NetworkError::Other,
        ),
        (
            raw(b"\x15\x03\x03", End::Close)
                .await
                .replace("http", "https"),
            NetworkError::Tls,
        ),
        (
            raw(b"HTTP/1.1 200 OK\r\n\r\n", End::Close)
                .await
                .replace("http", "https"),
            NetworkError::Tls,
        ),
    ] {
        let hosts = hosts("127.0.0.1");
        let url = SecretString::from(format!("{base}/?k=S3CRET"));
        let impatient = impatient_zoom_at("http://127.0.0.1");
        let error = impatient
            .download(&hosts, &url, None, None)
            .await
            .unwrap_err();
        assert_eq!(error, DownloadError::Network(network), "{base}");
        assert_discreet(&error);
    }
    let url = SecretString::from("https://no-such-host.invalid/?k=S3CRET");
    let error = zoom()
        .download(&hosts("no-such-host.invalid"), &url, None, None)
        .await
        .unwrap_err();
    assert_eq!(error, DownloadError::Network(NetworkError::Dns));
    assert_discreet(&error);
}

#[tokio::test]
async fn bodies_that_break_off_or_stand_still() {
    let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n012".as_slice();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n012\r\n".as_slice();
    for (bytes, end, error) in [
        (sized, End::Close, NetworkError::ConnectionClosed),
        (sized, End::Silence, NetworkError::Timeout),
        (chunked, End::Close, NetworkError::ConnectionClosed),
        (chunked, End::Silence, NetworkError::Timeout),
    ] {
        let base = raw(bytes, end).await;
        let impatient = impatient_zoom_at("http://127.0.0.1");
        let url = SecretString::from(base);
        let mut download = impatient
            .download(&hosts("127.0.0.1"), &url, None, None)
            .await
            .unwrap();
        assert_eq!(
            download.body.chunk().await.unwrap().unwrap().as_ref(),
            b"012"
        );
        let got = download.body.chunk().await.unwrap_err();
        assert_eq!(got, error);
        assert_discreet(&got);
    }
    // A reset may overtake the bytes before it, so only the end of the story is certain.
    let base = raw(sized, End::Reset).await;
    match get(&base, None).await {
        Ok(download) => assert_eq!(bytes(download).await, Err(NetworkError::ConnectionClosed)),
        Err(error) => assert_eq!(
            error,
            DownloadError::Network(NetworkError::ConnectionClosed)
        ),
    }
    // Without a length, a clean end is the end.
    let base = raw(b"HTTP/1.1 200 OK\r\n\r\n012", End::Close).await;
    let download = get(&base, None).await.unwrap();
    assert_eq!(download.content_length, None);
    assert_eq!(bytes(download).await.unwrap(), b"012");
}

#[tokio::test]
async fn ranges_at_once_run_over_connections_of_their_own() {
    // Large enough that none is finished while the next one starts.
    let content: Arc<Vec<u8>> = Arc::new((0..8 << 20).map(|n| (n / 4099) as u8).collect());
    let served = content.clone();
    let server = Server::start(move |request| file(request, &served)).await;
    let (hosts, url, zoom) = (
        hosts("127.0.0.1"),
        SecretString::from(server.base()),
        zoom(),
    );
    let quarter = content.len() as u64 / 4;
    let mut parts = Vec::new();
    for n in 0..4 {
        let range = ByteRange::new(n * quarter, (n + 1) * quarter - 1);
        parts.push(
            zoom.clone()
                .download(&hosts, &url, None, range)
                .await
                .unwrap(),
        );
    }
    assert_eq!(server.connections(), 4);
    let mut all = Vec::new();
    for part in parts {
        assert!(part.content_range.is_some());
        all.extend(bytes(part).await.unwrap());
    }
    assert!(all == *content);
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_not_sent() {
    let server = Server::answering(200, &[], "x").await;
    let token = SecretString::from("S3CRET\r\nx-injected: 1");
    let url = SecretString::from(server.base());
    let error = zoom()
        .download(&hosts("127.0.0.1"), &url, Some(&token), None)
        .await
        .unwrap_err();
    assert_eq!(error, DownloadError::Unauthorized);
    assert_discreet(&error);
    assert_eq!(server.connections(), 0);
}

#[test]
fn downloads_can_be_spawned() {
    fn sendable<T: Send>(_: &T) {}
    let (zoom, hosts, url) = (zoom(), hosts("127.0.0.1"), secret("url"));
    sendable(&zoom.download(&hosts, &url, None, None));
}
