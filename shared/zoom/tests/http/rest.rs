use std::time::Duration;

use jiff::civil::date;
use reelay_zoom::{
    ApiError, CODE_RECORDING_NOT_FOUND, NetworkError, RateLimit, RateLimitKind, RecordingsPage,
    RetryAfter, TransientError, ZoomClient,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::server::{End, Server, nobody, raw};
use crate::{SECRET, assert_discreet, impatient_zoom_at, secret, zoom_at};

const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");

async fn page(zoom: &ZoomClient, token: Option<&str>) -> Result<RecordingsPage, ApiError> {
    zoom.list_recordings(
        &secret("access"),
        date(2026, 1, 1),
        date(2026, 1, 31),
        token,
    )
    .await
}

#[tokio::test]
async fn users_me_is_account_user_and_name() {
    for (names, display_name) in [
        (
            r#""display_name":"Sample Host","first_name":"x","last_name":"y""#,
            "Sample Host",
        ),
        (
            r#""display_name":"","first_name":"Sample","last_name":"Höst""#,
            "Sample Höst",
        ),
        (r#""first_name":"Sample""#, "Sample"),
        (r#""last_name":"Host","display_name":null"#, "Host"),
        (r#""display_name":7"#, ""),
        (r#""type":2"#, ""),
    ] {
        let body = format!(
            r#"{{"id":"UserBBBBBBBBBBBBBBBBBB","account_id":"Acct-AAAAAAAAAAAAAAAA_",{names}}}"#
        );
        let server = Server::answering(200, &[JSON], &body).await;
        let me = zoom_at(&server.base())
            .get_current_user(&secret("access"))
            .await
            .unwrap();
        assert_eq!(me.user.user_id.as_str(), "UserBBBBBBBBBBBBBBBBBB");
        assert_eq!(me.user.account_id.as_str(), "Acct-AAAAAAAAAAAAAAAA_");
        assert_eq!(me.display_name, display_name, "{names}");
        let request = server.only_request();
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("GET", "/v2/users/me")
        );
        assert_eq!(
            request.header("authorization"),
            Some("Bearer S3CRET-access")
        );
    }
}

#[tokio::test]
async fn users_me_without_usable_ids_is_unreadable() {
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
        let server = Server::answering(200, &[JSON], body).await;
        let error = zoom_at(&server.base())
            .get_current_user(&secret("access"))
            .await
            .unwrap_err();
        assert_eq!(
            error,
            ApiError::Transient(TransientError::MalformedResponse),
            "{body}"
        );
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn recordings_come_page_by_page() {
    let body = r#"{"from":"2026-01-01","next_page_token":"next+/=","meetings":[
        {"uuid":"a/b==","id":81234567890,"type":"2","password":"S3CRET"},{"uuid":"c","id":"7"}]}"#;
    let server = Server::answering(200, &[JSON], body).await;
    let zoom = zoom_at(&server.base());
    let first = page(&zoom, None).await.unwrap();
    assert_eq!(first.meetings.len(), 2);
    assert_eq!(first.meetings[0]["id"], 81_234_567_890_u64, "as it came");
    assert_eq!(first.next_page_token.as_deref(), Some("next+/="));
    assert!(!format!("{first:?}").contains(SECRET));
    page(&zoom, first.next_page_token.as_deref()).await.unwrap();
    let seen = server.seen();
    let query = "/v2/users/me/recordings?from=2026-01-01&to=2026-01-31&page_size=300";
    assert_eq!(seen[0].target, query);
    assert_eq!(
        seen[1].target,
        format!("{query}&next_page_token=next%2B%2F%3D")
    );
    assert_eq!(
        seen[1].header("authorization"),
        Some("Bearer S3CRET-access")
    );

    for body in [
        r#"{"meetings":[],"next_page_token":""}"#,
        r#"{"meetings":[]}"#,
    ] {
        let server = Server::answering(200, &[JSON], body).await;
        let last = page(&zoom_at(&server.base()), None).await.unwrap();
        assert_eq!((last.meetings.len(), last.next_page_token), (0, None));
    }
    for body in [
        "{}",
        r#"{"meetings":null}"#,
        r#"{"meetings":{}}"#,
        "{\"meetings\":[",
        "[]",
    ] {
        let server = Server::answering(200, &[JSON], body).await;
        let error = page(&zoom_at(&server.base()), None).await.unwrap_err();
        assert_eq!(
            error,
            ApiError::Transient(TransientError::MalformedResponse),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_meetings_recordings_come_with_their_token_apart() {
    let body = r#"{"uuid":"Ab/cd+==","download_access_token":"S3CRET-download","topic":"t"}"#;
    let server = Server::answering(200, &[JSON], body).await;
    let zoom = zoom_at(&server.base());
    let uuid = "Ab/cd+SynthUUID1234567==".parse().unwrap();
    let meeting = zoom
        .get_meeting_recordings(&secret("access"), &uuid, 3600)
        .await
        .unwrap();
    assert_eq!(
        meeting
            .download_access_token
            .as_ref()
            .unwrap()
            .expose_secret(),
        "S3CRET-download"
    );
    assert_eq!(
        meeting.object,
        serde_json::json!({"uuid":"Ab/cd+==","topic":"t"})
    );
    assert!(!format!("{meeting:?}").contains(SECRET));
    zoom.get_meeting_recordings(&secret("access"), &"Abcd==".parse().unwrap(), u32::MAX)
        .await
        .unwrap();
    let seen = server.seen();
    let query = "include_fields=download_access_token&ttl";
    assert_eq!(
        seen[0].target,
        format!("/v2/meetings/Ab%252Fcd%252BSynthUUID1234567%253D%253D/recordings?{query}=3600")
    );
    assert_eq!(
        seen[1].target,
        format!("/v2/meetings/Abcd%3D%3D/recordings?{query}=604800")
    );

    for body in [r#"{"uuid":"a"}"#, r#"{"download_access_token":""}"#] {
        let server = Server::answering(200, &[JSON], body).await;
        let zoom = zoom_at(&server.base());
        let meeting = zoom
            .get_meeting_recordings(&secret("access"), &uuid, 0)
            .await
            .unwrap();
        assert!(meeting.download_access_token.is_none(), "{body}");
    }
}

#[tokio::test]
async fn refusals_are_told_apart_by_status_and_code() {
    let not_found = |code| ApiError::NotFound { code };
    let no_permission = |code| ApiError::Forbidden { code };
    let other = |status, code| ApiError::Rejected { status, code };
    for (status, body, error) in [
        (
            401,
            r#"{"code":124,"message":"Invalid access token. S3CRET"}"#,
            ApiError::Unauthorized,
        ),
        (401, "", ApiError::Unauthorized),
        (401, r#"{"code":200,"message":""}"#, ApiError::Unauthorized),
        (401, r#"{"code":4700,"message":""}"#, ApiError::Unauthorized),
        (400, r#"{"code":124}"#, ApiError::Unauthorized),
        (200, r#"{"code":124}"#, ApiError::Unauthorized),
        (
            400,
            r#"{"code":4711,"message":"does not contain scopes:[S3CRET]"}"#,
            ApiError::MissingScope,
        ),
        (401, r#"{"code":4711}"#, ApiError::MissingScope),
        (
            400,
            r#"{"code":4711,"message":"scopes:["user:read:user"]"}"#,
            ApiError::MissingScope,
        ),
        (
            400,
            r#"{"message":"scopes:["S3CRET"]","code":4711}"#,
            ApiError::MissingScope,
        ),
        (400, r#"{"code":4700}"#, ApiError::MissingScope),
        (403, r#"{"code":"104"}"#, ApiError::MissingScope),
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
        (
            200,
            r#"{"code":200,"message":"S3CRET"}"#,
            no_permission(Some(200)),
        ),
        (400, r#"{"code":200}"#, no_permission(Some(200))),
        (403, "", no_permission(None)),
        (403, r#"{"code":9}"#, no_permission(Some(9))),
        (200, r#"{"code":4711}"#, ApiError::MissingScope),
        (200, r#"{"code":3301,"meetings":[]}"#, not_found(Some(3301))),
        (
            200,
            r#"{"code":99999,"meetings":[]}"#,
            other(200, Some(99999)),
        ),
        (
            200,
            r#"{"code":200,"message":"a "S3CRET""}"#,
            no_permission(Some(200)),
        ),
        (
            400,
            r#"{"code":300,"message":"The next page token is invalid"}"#,
            other(400, Some(300)),
        ),
        (400, "S3CRET", other(400, None)),
        (409, r#"{"code":7}"#, other(409, Some(7))),
        (429, "", ApiError::RateLimited(RateLimit::default())),
        (
            200,
            r#"{"code":429}"#,
            ApiError::RateLimited(RateLimit::default()),
        ),
        (
            500,
            r#"{"code":124}"#,
            ApiError::Transient(TransientError::ServerError { status: 500 }),
        ),
        (
            503,
            "",
            ApiError::Transient(TransientError::ServerError { status: 503 }),
        ),
        (
            302,
            "",
            ApiError::Transient(TransientError::MalformedResponse),
        ),
    ] {
        // A redirect to follow, if it were followed.
        let server = Server::answering(status, &[JSON, ("location", "/?S3CRET")], body).await;
        let got = page(&zoom_at(&server.base()), None).await.unwrap_err();
        assert_eq!(got, error, "{status} {body}");
        assert_discreet(&got);
        assert_eq!(
            server.seen().len(),
            1,
            "nothing is repeated, no redirect is followed"
        );
    }
}

#[tokio::test]
async fn code_300_means_the_page_token_where_there_is_one() {
    let server = Server::answering(400, &[JSON], r#"{"code":300,"message":""}"#).await;
    let zoom = zoom_at(&server.base());
    let error = page(&zoom, Some("S3CRET-page")).await.unwrap_err();
    assert_eq!(error, ApiError::InvalidPageToken);
    assert_discreet(&error);
    let error = page(&zoom, None).await.unwrap_err();
    assert_eq!(
        error,
        ApiError::Rejected {
            status: 400,
            code: Some(300)
        }
    );
}

#[tokio::test]
async fn rate_limits_say_how_long() {
    let midnight = "2026-01-02T00:00:00Z";
    for (headers, limit) in [
        (
            [
                ("retry-after", midnight),
                ("x-ratelimit-type", "Daily-limit"),
            ]
            .as_slice(),
            RateLimit {
                retry_after: Some(RetryAfter::Date(midnight.parse().unwrap())),
                kind: Some(RateLimitKind::Daily),
            },
        ),
        (
            &[("Retry-After", "3"), ("X-RateLimit-Type", "QPS")],
            RateLimit {
                retry_after: Some(RetryAfter::Delay(Duration::from_secs(3))),
                kind: Some(RateLimitKind::PerSecond),
            },
        ),
        (
            &[("retry-after", "S3CRET"), ("x-ratelimit-type", "S3CRET")],
            RateLimit::default(),
        ),
    ] {
        let server = Server::answering(429, headers, r#"{"code":429,"message":"S3CRET"}"#).await;
        let error = page(&zoom_at(&server.base()), None).await.unwrap_err();
        assert_eq!(error, ApiError::RateLimited(limit));
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn outages_are_outages() {
    let huge = format!("{{\"meetings\":[\"{}\"]}}", "x".repeat(8 * 1024 * 1024));
    let server = Server::answering(200, &[JSON], &huge).await;
    let error = page(&zoom_at(&server.base()), None).await.unwrap_err();
    assert_eq!(
        error,
        ApiError::Transient(TransientError::MalformedResponse)
    );

    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{";
    for (base, network) in [
        (nobody().await, NetworkError::Connect),
        (raw(b"", End::Close).await, NetworkError::ConnectionClosed),
        (raw(half, End::Reset).await, NetworkError::ConnectionClosed),
        (raw(half, End::Silence).await, NetworkError::Timeout),
        (raw(b"", End::Silence).await, NetworkError::Timeout),
    ] {
        let zoom = impatient_zoom_at(&base);
        let outage = ApiError::Transient(TransientError::Network(network));
        let error = page(&zoom, None).await.unwrap_err();
        assert_eq!(error, outage, "{base}");
        assert_discreet(&error);
        assert_eq!(
            zoom.get_current_user(&secret("access")).await.unwrap_err(),
            outage,
            "{base}"
        );
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_sent_is_not_sent() {
    let server = Server::answering(200, &[JSON], "{}").await;
    let token = SecretString::from("S3CRET\r\nx-injected: 1");
    let error = zoom_at(&server.base())
        .get_current_user(&token)
        .await
        .unwrap_err();
    assert_eq!(error, ApiError::Unauthorized);
    assert_eq!(server.connections(), 0);
}
