use std::time::Duration;

use jiff::civil::date;
use reelay_zoom::{
    ApiError, CODE_RECORDING_NOT_FOUND, CurrentUser, NetworkError, RateLimit, RateLimitKind,
    RecordingsPage, RetryAfter, TransientError, ZoomClient,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::server::{
    End, UntouchedPort, closed_port, header, only_request, received, response, serve, serve_raw,
    target,
};
use crate::{JSON, SECRET, assert_redacted, client, impatient_client, secret};

const MALFORMED: ApiError = ApiError::Transient(TransientError::MalformedResponse);

async fn list(zoom: &ZoomClient, page_token: Option<&str>) -> Result<RecordingsPage, ApiError> {
    let (from, to) = (date(2026, 1, 1), date(2026, 1, 31));
    zoom.list_recordings(&secret("access"), from, to, page_token).await
}

async fn current_user(zoom: &ZoomClient) -> Result<CurrentUser, ApiError> {
    zoom.get_current_user(&secret("access")).await
}

#[tokio::test]
async fn current_user_has_ids_and_name() {
    for (names, display_name) in [
        (r#""display_name":"Sample Host","first_name":"x","last_name":"y""#, "Sample Host"),
        (r#""display_name":"","first_name":"Sample","last_name":"Höst""#, "Sample Höst"),
        (r#""first_name":"Sample""#, "Sample"),
        (r#""last_name":"Host","display_name":null"#, "Host"),
        (r#""display_name":7"#, ""),
        (r#""type":2"#, ""),
    ] {
        let body = format!(
            r#"{{"id":"UserBBBBBBBBBBBBBBBBBB","account_id":"Acct-AAAAAAAAAAAAAAAA_",{names}}}"#
        );
        let server = serve(response(200, &[JSON], body)).await;
        let user = current_user(&client(&server.uri())).await.unwrap();
        assert_eq!(user.user.user_id.as_str(), "UserBBBBBBBBBBBBBBBBBB");
        assert_eq!(user.user.account_id.as_str(), "Acct-AAAAAAAAAAAAAAAA_");
        assert_eq!(user.display_name, display_name, "{names}");
        let request = only_request(&server).await;
        assert_eq!(request.method.as_str(), "GET");
        assert_eq!(target(&request), "/v2/users/me");
        let authorization = header(&request, "authorization");
        assert_eq!(authorization, Some("Bearer S3CRET-access"));
    }
}

#[tokio::test]
async fn current_user_without_valid_ids_is_malformed() {
    for body in [
        r#"{"id":"u"}"#,
        r#"{"account_id":"a"}"#,
        r#"{"id":"u","account_id":""}"#,
        r#"{"id":"u#S3CRET","account_id":"a"}"#,
        r#"{"id":7,"account_id":"a"}"#,
        "[]",
        "null",
        "",
        "<html>S3CRET</html>",
    ] {
        let server = serve(response(200, &[JSON], body)).await;
        let error = current_user(&client(&server.uri())).await.unwrap_err();
        assert_eq!(error, MALFORMED, "{body}");
        assert_redacted(&error);
    }
}

#[tokio::test]
async fn recordings_are_listed_page_by_page() {
    let body = r#"{"from":"2026-01-01","next_page_token":"next+/=","meetings":[
        {"uuid":"a/b==","id":81234567890,"type":"2","password":"S3CRET"},{"uuid":"c","id":"7"}]}"#;
    let server = serve(response(200, &[JSON], body)).await;
    let zoom = client(&server.uri());
    let first = list(&zoom, None).await.unwrap();
    assert_eq!(first.meetings.len(), 2);
    assert_eq!(first.meetings[0]["id"], 81_234_567_890_u64);
    assert_eq!(first.next_page_token.as_deref(), Some("next+/="));
    assert!(!format!("{first:?}").contains(SECRET));
    list(&zoom, first.next_page_token.as_deref()).await.unwrap();
    let requests = received(&server).await;
    let query = "/v2/users/me/recordings?from=2026-01-01&to=2026-01-31&page_size=300\
                 &recording_source_type=cloud_recording_only";
    assert_eq!(target(&requests[0]), query);
    assert_eq!(target(&requests[1]), format!("{query}&next_page_token=next%2B%2F%3D"));
    assert_eq!(header(&requests[1], "authorization"), Some("Bearer S3CRET-access"));
}

#[tokio::test]
async fn last_page_has_no_page_token() {
    for body in [r#"{"meetings":[],"next_page_token":""}"#, r#"{"meetings":[]}"#] {
        let server = serve(response(200, &[JSON], body)).await;
        let last = list(&client(&server.uri()), None).await.unwrap();
        assert_eq!((last.meetings.len(), last.next_page_token), (0, None));
    }
}

#[tokio::test]
async fn total_records_is_optional() {
    for (field, expected) in [
        (r#""total_records":3,"#, Some(3)),
        (r#""total_records":0,"#, Some(0)),
        (r#""total_records":null,"#, None),
        (r#""total_records":-1,"#, None),
        ("", None),
    ] {
        let body = format!(r#"{{{field}"meetings":[]}}"#);
        let server = serve(response(200, &[JSON], body)).await;
        assert_eq!(list(&client(&server.uri()), None).await.unwrap().total_records, expected);
    }
}

#[tokio::test]
async fn refusal_with_status_200_is_an_error_of_every_call() {
    let body = r#"{"status":false,"errorCode":300,"errorMessage":"S3CRET","result":null}"#;
    let server = serve(response(200, &[JSON], body)).await;
    let zoom = client(&server.uri());
    let rejected = ApiError::Rejected { status: 200, code: Some(300) };
    assert_eq!(current_user(&zoom).await.unwrap_err(), rejected);
    assert_eq!(list(&zoom, None).await.unwrap_err(), rejected);
    let uuid = "a".parse().unwrap();
    let meeting = zoom.get_meeting_recordings(&secret("access"), &uuid, 0).await;
    assert_eq!(meeting.unwrap_err(), rejected);
}

#[tokio::test]
async fn list_without_meetings_is_malformed() {
    let huge = format!("{{\"meetings\":[\"{}\"]}}", "x".repeat(8 * 1024 * 1024));
    for body in
        ["{}", r#"{"meetings":null}"#, r#"{"meetings":{}}"#, r#"{"meetings":["#, "[]", &huge]
    {
        let server = serve(response(200, &[JSON], body)).await;
        let error = list(&client(&server.uri()), None).await.unwrap_err();
        assert_eq!(error, MALFORMED, "{body:.80}");
    }
}

#[tokio::test]
async fn meeting_recordings_separate_download_token() {
    let body = r#"{"uuid":"Ab/cd+==","download_access_token":"S3CRET-download","topic":"t"}"#;
    let server = serve(response(200, &[JSON], body)).await;
    let zoom = client(&server.uri());
    let mut tokens = Vec::new();
    for (uuid, ttl, expected) in [
        (
            "Ab/cd+SynthUUID1234567==",
            3600,
            "/v2/meetings/Ab%252Fcd%252BSynthUUID1234567%253D%253D/recordings\
             ?include_fields=download_access_token&ttl=3600",
        ),
        // Capped at Zoom's maximum.
        (
            "Abcd==",
            u32::MAX,
            "/v2/meetings/Abcd%3D%3D/recordings\
             ?include_fields=download_access_token&ttl=604800",
        ),
    ] {
        let meeting = zoom
            .get_meeting_recordings(&secret("access"), &uuid.parse().unwrap(), ttl)
            .await
            .unwrap();
        assert!(!format!("{meeting:?}").contains(SECRET));
        let object = serde_json::json!({"uuid":"Ab/cd+==","topic":"t"});
        assert_eq!(meeting.object, object);
        tokens.push(meeting.download_access_token.unwrap());
        let requests = received(&server).await;
        assert_eq!(target(requests.last().unwrap()), expected);
    }
    assert_eq!(tokens[0].expose_secret(), "S3CRET-download");
}

#[tokio::test]
async fn missing_download_token_is_none() {
    for body in [r#"{"uuid":"a"}"#, r#"{"download_access_token":""}"#] {
        let server = serve(response(200, &[JSON], body)).await;
        let meeting = client(&server.uri())
            .get_meeting_recordings(&secret("access"), &"a".parse().unwrap(), 0)
            .await
            .unwrap();
        assert!(meeting.download_access_token.is_none(), "{body}");
    }
}

#[tokio::test]
async fn error_response_is_classified_by_status_and_code() {
    use ApiError::{MissingScope, Unauthorized};
    let not_found = |code| ApiError::NotFound { code };
    let forbidden = |status, code| ApiError::Forbidden { status, code };
    let rejected = |status, code| ApiError::Rejected { status, code };
    let limited = ApiError::RateLimited(RateLimit::default());
    let server_error = |status| ApiError::Transient(TransientError::ServerError { status });
    for (status, body, expected) in [
        (401, r#"{"code":124,"message":"S3CRET"}"#, Unauthorized),
        (401, "", Unauthorized),
        (401, r#"{"code":200,"message":""}"#, Unauthorized),
        (401, r#"{"code":4700,"message":""}"#, Unauthorized),
        (400, r#"{"code":124}"#, Unauthorized),
        (200, r#"{"code":124}"#, Unauthorized),
        (400, r#"{"code":4711,"message":"[S3CRET]"}"#, MissingScope),
        (401, r#"{"code":4711}"#, MissingScope),
        // Invalid JSON, as Zoom sends it.
        (400, r#"{"code":4711,"message":["user:read"]"}"#, MissingScope),
        (400, r#"{"message":["S3CRET"]","code":4711}"#, MissingScope),
        (400, r#"{"code":4700}"#, MissingScope),
        (403, r#"{"code":"104"}"#, MissingScope),
        (200, r#"{"code":4711}"#, MissingScope),
        (404, r#"{"code":1001}"#, not_found(Some(1001))),
        (400, r#"{"code":1010}"#, not_found(Some(1010))),
        (404, r#"{"code":3001}"#, not_found(Some(3001))),
        (
            404,
            r#"{"code":3301,"message":"Esta grabación no existe."}"#,
            not_found(Some(CODE_RECORDING_NOT_FOUND)),
        ),
        (404, "<html>S3CRET</html>", not_found(None)),
        (404, r#"{"code":300}"#, not_found(Some(300))),
        (200, r#"{"code":3301,"meetings":[]}"#, not_found(Some(3301))),
        (200, r#"{"code":200,"message":"S3CRET"}"#, forbidden(200, Some(200))),
        (200, r#"{"code":200,"message":"a "S3CRET""}"#, forbidden(200, Some(200))),
        (400, r#"{"code":200}"#, forbidden(400, Some(200))),
        (403, "", forbidden(403, None)),
        (403, r#"{"code":9}"#, forbidden(403, Some(9))),
        // The other form of errors, also with HTTP 200.
        (401, r#"{"status":false,"errorCode":401,"errorMessage":"S3CRET"}"#, Unauthorized),
        (200, r#"{"status":false,"errorCode":401,"result":null}"#, Unauthorized),
        (200, r#"{"status":false,"errorCode":"124","result":null}"#, Unauthorized),
        (400, r#"{"status":false,"errorCode":4711,"errorMessage":""}"#, MissingScope),
        (400, r#"{"status":false,"errorCode":200,"result":null}"#, forbidden(400, Some(200))),
        (200, r#"{"status":false,"errorCode":403,"meetings":[]}"#, forbidden(200, Some(403))),
        (200, r#"{"status":false,"errorCode":404}"#, not_found(Some(404))),
        (200, r#"{"status":false,"errorCode":1001,"meetings":[]}"#, not_found(Some(1001))),
        (200, r#"{"status":false,"errorCode":429}"#, limited),
        (200, r#"{"status":false,"errorCode":503}"#, server_error(503)),
        (200, r#"{"status":false,"errorCode":300,"meetings":[]}"#, rejected(200, Some(300))),
        (200, r#"{"status":false,"errorMessage":"S3CRET","meetings":[]}"#, rejected(200, None)),
        (200, r#"{"code":99999,"meetings":[]}"#, rejected(200, Some(99999))),
        (400, r#"{"code":300,"message":""}"#, rejected(400, Some(300))),
        (400, "S3CRET", rejected(400, None)),
        (409, r#"{"code":7}"#, rejected(409, Some(7))),
        (429, "", limited),
        (200, r#"{"code":429}"#, limited),
        (500, r#"{"code":124}"#, server_error(500)),
        (503, "", server_error(503)),
        (302, "", MALFORMED),
    ] {
        // The location must not be followed.
        let headers = [JSON, ("location", "/?S3CRET")];
        let server = serve(response(status, &headers, body)).await;
        let error = list(&client(&server.uri()), None).await.unwrap_err();
        assert_eq!(error, expected, "{status} {body}");
        assert_redacted(&error);
        assert_eq!(received(&server).await.len(), 1, "redirected or retried");
    }
}

#[tokio::test]
async fn code_300_with_page_token_is_invalid_page_token() {
    let server = serve(response(400, &[JSON], r#"{"code":300,"message":""}"#)).await;
    let error = list(&client(&server.uri()), Some("S3CRET-page")).await.unwrap_err();
    assert_eq!(error, ApiError::InvalidPageToken);
    assert_redacted(&error);
}

#[tokio::test]
async fn rate_limit_headers_are_parsed() {
    let midnight = "2026-01-02T00:00:00Z";
    for (retry_after, kind, limit) in [
        (
            midnight,
            "Daily-limit",
            RateLimit {
                retry_after: Some(RetryAfter::Date(midnight.parse().unwrap())),
                kind: Some(RateLimitKind::Daily),
            },
        ),
        (
            "3",
            "QPS",
            RateLimit {
                retry_after: Some(RetryAfter::Delay(Duration::from_secs(3))),
                kind: Some(RateLimitKind::PerSecond),
            },
        ),
        ("S3CRET", "S3CRET", RateLimit::default()),
    ] {
        let headers = [("retry-after", retry_after), ("x-ratelimit-type", kind)];
        let server = serve(response(429, &headers, r#"{"code":429,"message":"S3CRET"}"#)).await;
        let error = list(&client(&server.uri()), None).await.unwrap_err();
        assert_eq!(error, ApiError::RateLimited(limit));
        assert_redacted(&error);
    }
}

#[tokio::test]
async fn network_error_is_transient() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{";
    for (base, error) in [
        (closed_port(), NetworkError::Connect),
        (serve_raw(b"", End::Close).await, NetworkError::ConnectionClosed),
        (serve_raw(half, End::Reset).await, NetworkError::ConnectionClosed),
        (serve_raw(half, End::Stall).await, NetworkError::Timeout),
        (serve_raw(b"", End::Stall).await, NetworkError::Timeout),
    ] {
        let zoom = impatient_client(&base);
        let expected = ApiError::Transient(TransientError::Network(error));
        let error = list(&zoom, None).await.unwrap_err();
        assert_eq!(error, expected, "{base}");
        assert_redacted(&error);
        assert_eq!(current_user(&zoom).await.unwrap_err(), expected, "{base}");
    }
}

#[tokio::test]
async fn invalid_token_is_not_sent() {
    let port = UntouchedPort::open();
    let zoom = client(&format!("http://127.0.0.1:{}", port.port()));
    let token = SecretString::from("S3CRET\r\nx-injected: 1");
    let error = zoom.get_current_user(&token).await.unwrap_err();
    assert_eq!(error, ApiError::Unauthorized);
    port.assert_untouched();
}
