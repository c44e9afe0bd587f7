use std::collections::BTreeMap;
use std::time::Duration;

use reelay_zoom::{
    ClientCredentials, Endpoints, ExchangeError, NetworkError, OAuthErrorCode, RefreshError,
    RevokeError, Timeouts, TokenPair, TransientError, ZoomClient, authorize_url,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::server::{End, Server, nobody, raw};
use crate::{SECRET, assert_discreet, impatient_zoom_at, secret, zoom_at};

const JSON: (&str, &str) = ("content-type", "application/json;charset=UTF-8");
const REDIRECT_URI: &str = "https://reelay.example.test/zoom/callback";

const TOKENS: &str = r#"{"access_token":"S3CRET-access","token_type":"bearer",
    "refresh_token":"S3CRET-refresh","expires_in":3599,
    "scope":"cloud_recording:read:recording user:read:user","api_url":"https://api.zoom.us"}"#;

fn credentials() -> ClientCredentials {
    ClientCredentials {
        client_id: "SYNTHclientID".to_owned(),
        client_secret: secret("client"),
    }
}

async fn exchange(zoom: &ZoomClient) -> Result<TokenPair, ExchangeError> {
    zoom.exchange_code(
        &credentials(),
        &secret("code"),
        &secret("verifier"),
        REDIRECT_URI,
    )
    .await
}

async fn refresh(zoom: &ZoomClient) -> Result<TokenPair, RefreshError> {
    zoom.refresh(&credentials(), &secret("refresh")).await
}

async fn revoke(zoom: &ZoomClient) -> Result<(), RevokeError> {
    zoom.revoke(&credentials(), &secret("access")).await
}

/// A form body or query, decoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let url = url::Url::parse(&format!("http://x/?{text}")).unwrap();
    url.query_pairs().into_owned().collect()
}

fn form(body: &str) -> BTreeMap<String, String> {
    let pairs = pairs(body);
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "no parameter twice");
    map
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

#[test]
fn the_authorize_url_has_exactly_the_parameters_of_the_contract() {
    let endpoints = Endpoints::parse("https://zoom.us", "https://api.zoom.us").unwrap();
    // Of the verifier "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz".
    let challenge = "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w";
    let url = authorize_url(
        &endpoints,
        "SYNTHclientID",
        REDIRECT_URI,
        "a.b-c_d+e/f=",
        challenge,
    );
    assert!(
        url.as_str().starts_with("https://zoom.us/oauth/authorize?"),
        "{url}"
    );
    assert_eq!(
        form(url.query().unwrap()),
        map(&[
            ("response_type", "code"),
            ("client_id", "SYNTHclientID"),
            ("redirect_uri", REDIRECT_URI),
            ("state", "a.b-c_d+e/f="),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ])
    );
    // The text of the redirect URI is kept, though a parser would write it in another way.
    let url = authorize_url(&endpoints, "id", "https://Reelay.test:443", "s", challenge);
    assert_eq!(
        form(url.query().unwrap())["redirect_uri"],
        "https://Reelay.test:443"
    );
    // Below a path, and at another Zoom.
    let endpoints = Endpoints::parse("http://127.0.0.1:9/sim/", "http://127.0.0.1:9").unwrap();
    let url = authorize_url(&endpoints, "id", REDIRECT_URI, "s", challenge);
    assert!(
        url.as_str()
            .starts_with("http://127.0.0.1:9/sim/oauth/authorize?"),
        "{url}"
    );
}

#[tokio::test]
async fn an_exchange_sends_what_zoom_asks_for() {
    let server = Server::answering(200, &[JSON], TOKENS).await;
    let pair = exchange(&zoom_at(&server.base())).await.unwrap();
    assert_eq!(pair.access_token.expose_secret(), "S3CRET-access");
    assert_eq!(pair.refresh_token.expose_secret(), "S3CRET-refresh");
    assert_eq!(pair.expires_in, 3599);
    assert_eq!(
        pair.scope.as_deref(),
        Some("cloud_recording:read:recording user:read:user")
    );
    assert!(!format!("{pair:?}{:?}", credentials()).contains(SECRET));

    let request = server.only_request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/oauth/token")
    );
    // base64("SYNTHclientID:S3CRET-client")
    let basic = "Basic U1lOVEhjbGllbnRJRDpTM0NSRVQtY2xpZW50";
    assert_eq!(request.header("authorization"), Some(basic));
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(
        form(&request.body),
        map(&[
            ("grant_type", "authorization_code"),
            ("code", "S3CRET-code"),
            ("code_verifier", "S3CRET-verifier"),
            ("redirect_uri", REDIRECT_URI),
        ])
    );
}

#[tokio::test]
async fn a_refresh_and_a_revocation_send_what_zoom_asks_for() {
    let basic = "Basic U1lOVEhjbGllbnRJRDpTM0NSRVQtY2xpZW50";
    let server = Server::answering(200, &[JSON], TOKENS).await;
    let pair = refresh(&zoom_at(&server.base())).await.unwrap();
    assert_eq!(pair.refresh_token.expose_secret(), "S3CRET-refresh");
    let request = server.only_request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/oauth/token")
    );
    assert_eq!(request.header("authorization"), Some(basic));
    assert_eq!(
        form(&request.body),
        map(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", "S3CRET-refresh")
        ])
    );

    let server = Server::answering(200, &[JSON], r#"{"status":"success"}"#).await;
    revoke(&zoom_at(&server.base())).await.unwrap();
    let request = server.only_request();
    assert_eq!(
        (request.method.as_str(), request.target.as_str()),
        ("POST", "/oauth/revoke")
    );
    assert_eq!(request.header("authorization"), Some(basic));
    assert_eq!(
        request.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(form(&request.body), map(&[("token", "S3CRET-access")]));
}

#[tokio::test]
async fn a_pair_needs_both_tokens_and_little_else() {
    for (body, scope) in [
        (
            r#"{"access_token":"a","token_type":"bearer","refresh_token":"r"}"#,
            None,
        ),
        (
            r#"{"access_token":"a","token_type":"Bearer","refresh_token":"r","scope":"x"}"#,
            Some("x"),
        ),
        (
            r#"{"access_token":"a","token_type":"new","refresh_token":"r","more":{}}"#,
            None,
        ),
    ] {
        let server = Server::answering(200, &[JSON], body).await;
        let pair = exchange(&zoom_at(&server.base())).await.unwrap();
        assert_eq!(
            (pair.expires_in, pair.scope.as_deref()),
            (3600, scope),
            "{body}"
        );
    }
    // A number without an end must not overflow what it is added to.
    let body = format!(
        r#"{{"access_token":"a","token_type":"bearer","refresh_token":"r","expires_in":{}}}"#,
        u64::MAX
    );
    let server = Server::answering(200, &[JSON], &body).await;
    let pair = refresh(&zoom_at(&server.base())).await.unwrap();
    assert_eq!(pair.expires_in, 24 * 3600);
    // Long tokens are Zoom's habit.
    let long = "x".repeat(6000);
    let body = format!(
        r#"{{"access_token":"{long}","token_type":"bearer","refresh_token":"{long}","expires_in":1}}"#
    );
    let server = Server::answering(200, &[JSON], &body).await;
    let pair = refresh(&zoom_at(&server.base())).await.unwrap();
    assert_eq!(pair.refresh_token.expose_secret(), long);
}

#[tokio::test]
async fn an_unreadable_answer_is_an_outage_in_which_the_token_may_be_spent() {
    let huge = format!("{{\"access_token\":\"{}\"}}", "x".repeat(9 * 1024 * 1024));
    let html = ("content-type", "text/html");
    let elsewhere = ("location", "/elsewhere?code=S3CRET");
    for (status, headers, body) in [
        (200, [JSON].as_slice(), ""),
        (200, &[JSON], "{"),
        (200, &[JSON], r#""S3CRET""#),
        (
            200,
            &[JSON],
            r#"{"access_token":"S3CRET","token_type":"bearer"}"#,
        ),
        (
            200,
            &[JSON],
            r#"{"refresh_token":"S3CRET","token_type":"bearer"}"#,
        ),
        (
            200,
            &[JSON],
            r#"{"access_token":"S3CRET","token_type":"bearer","refresh_token":""}"#,
        ),
        (
            200,
            &[JSON],
            r#"{"access_token":"","token_type":"bearer","refresh_token":"S3CRET"}"#,
        ),
        (200, &[html], "<html>S3CRET</html>"),
        (200, &[JSON], &huge),
        (302, &[elsewhere], ""),
        (304, &[], ""),
    ] {
        let server = Server::answering(status, headers, body).await;
        let zoom = zoom_at(&server.base());
        let outage = TransientError::MalformedResponse;
        let error = exchange(&zoom).await.unwrap_err();
        assert_eq!(
            error,
            ExchangeError::Transient(outage),
            "{status} {:.80}",
            body
        );
        assert_discreet(&error);
        let error = refresh(&zoom).await.unwrap_err();
        assert_eq!(error, RefreshError::Transient(outage));
        assert_discreet(&error);
        assert!(outage.is_outcome_unknown());
        assert_eq!(
            server.seen().len(),
            2,
            "no redirect is followed, nothing is repeated"
        );
    }
}

#[tokio::test]
async fn refusals_are_told_apart_by_status_and_code() {
    use OAuthErrorCode as Code;
    for (status, body, code) in [
        (
            400,
            r#"{"reason":"Invalid authorization code S3CRET","error":"invalid_grant"}"#,
            Code::InvalidGrant,
        ),
        (
            401,
            r#"{"reason":"Invalid Token!","error":"invalid_grant"}"#,
            Code::InvalidGrant,
        ),
        (400, r#"{"error":"invalid_grant"}"#, Code::InvalidGrant),
        (
            400,
            r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#,
            Code::InvalidClient,
        ),
        (401, r#"{"error":"invalid_client"}"#, Code::InvalidClient),
        (
            400,
            r#"{"reason":"Bad Request","error":"invalid_request"}"#,
            Code::InvalidRequest,
        ),
        (400, r#"{"error":"S3CRET"}"#, Code::Unknown),
        (403, "<html>S3CRET</html>", Code::Unknown),
        (404, "", Code::Unknown),
        (429, r#"{"code":429,"message":"S3CRET"}"#, Code::Unknown),
    ] {
        let server = Server::answering(status, &[JSON], body).await;
        let zoom = zoom_at(&server.base());

        let error = exchange(&zoom).await.unwrap_err();
        assert_eq!(error, ExchangeError::Rejected { status, code }, "{body}");
        assert_discreet(&error);

        let error = refresh(&zoom).await.unwrap_err();
        let expected = match code {
            Code::InvalidGrant => RefreshError::InvalidGrant,
            Code::InvalidClient => RefreshError::InvalidClient,
            code => RefreshError::Rejected { status, code },
        };
        assert_eq!(error, expected, "{body}");
        assert_discreet(&error);

        let error = revoke(&zoom).await.unwrap_err();
        let expected = match code {
            Code::InvalidClient => RevokeError::InvalidClient,
            code => RevokeError::Rejected { status, code },
        };
        assert_eq!(error, expected, "{body}");
        assert_discreet(&error);
        assert_eq!(server.seen().len(), 3, "nothing is repeated");
    }
}

#[tokio::test]
async fn a_refusal_that_breaks_off_is_still_a_refusal() {
    let head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 90\r\n\r\n{\"error\":\"inv";
    let zoom = zoom_at(&raw(head, End::Close).await);
    assert_eq!(
        exchange(&zoom).await.unwrap_err(),
        ExchangeError::Rejected {
            status: 400,
            code: OAuthErrorCode::Unknown
        }
    );
}

#[tokio::test]
async fn server_errors_are_outages_whatever_they_say() {
    for status in [500, 502, 503, 504] {
        let server = Server::answering(
            status,
            &[JSON],
            r#"{"error":"invalid_grant","reason":"S3CRET"}"#,
        )
        .await;
        let zoom = zoom_at(&server.base());
        let outage = TransientError::ServerError { status };
        assert_eq!(
            exchange(&zoom).await.unwrap_err(),
            ExchangeError::Transient(outage)
        );
        assert_eq!(
            refresh(&zoom).await.unwrap_err(),
            RefreshError::Transient(outage)
        );
        assert_eq!(
            revoke(&zoom).await.unwrap_err(),
            RevokeError::Transient(outage)
        );
        assert!(outage.is_outcome_unknown());
        assert_eq!(server.seen().len(), 3, "nothing is repeated");
    }
}

#[tokio::test]
async fn a_dead_connection_says_whether_something_was_sent() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    for (base, network, sent) in [
        (nobody().await, NetworkError::Connect, false),
        (
            raw(b"", End::Close).await,
            NetworkError::ConnectionClosed,
            true,
        ),
        (
            raw(b"", End::Reset).await,
            NetworkError::ConnectionClosed,
            true,
        ),
        (raw(b"", End::Silence).await, NetworkError::Timeout, true),
        (
            raw(half, End::Close).await,
            NetworkError::ConnectionClosed,
            true,
        ),
        (raw(half, End::Silence).await, NetworkError::Timeout, true),
        (
            raw(b"SSH-2.0-x\r\n\r\n", End::Close).await,
            NetworkError::Other,
            true,
        ),
        // TLS to a server that does not speak it, and to one that hangs up.
        (
            raw(b"HTTP/1.1 400 Bad Request\r\n\r\n", End::Close)
                .await
                .replace("http", "https"),
            NetworkError::Tls,
            false,
        ),
        (
            "https://no-such-host.invalid".to_owned(),
            NetworkError::Dns,
            false,
        ),
    ] {
        // Names and connections have their own limit.
        let quick = !matches!(network, NetworkError::Dns | NetworkError::Tls);
        let zoom = if quick {
            impatient_zoom_at(&base)
        } else {
            zoom_at(&base)
        };
        let outage = TransientError::Network(network);
        assert_eq!(outage.is_outcome_unknown(), sent, "{base}");
        let error = exchange(&zoom).await.unwrap_err();
        assert_eq!(error, ExchangeError::Transient(outage), "{base}");
        assert_discreet(&error);
        let error = refresh(&zoom).await.unwrap_err();
        assert_eq!(error, RefreshError::Transient(outage), "{base}");
        assert_discreet(&error);
        let error = revoke(&zoom).await.unwrap_err();
        assert_eq!(error, RevokeError::Transient(outage), "{base}");
        assert_discreet(&error);
    }
}

#[tokio::test]
async fn a_handshake_without_end_is_no_connection() {
    // TCP connects, TLS does not; nothing was sent, whatever it waited for.
    let base = raw(b"", End::Silence).await.replace("http", "https");
    let soon = Timeouts {
        connect: Duration::from_millis(150),
        ..Timeouts::default()
    };
    let zoom = ZoomClient::new(Endpoints::parse(&base, &base).unwrap(), soon).unwrap();
    let outage = TransientError::Network(NetworkError::Connect);
    assert_eq!(
        refresh(&zoom).await.unwrap_err(),
        RefreshError::Transient(outage)
    );
    assert!(!outage.is_outcome_unknown());
}

#[tokio::test]
async fn calls_can_be_spawned() {
    fn sendable<T: Send>(_: &T) {}
    let zoom = zoom_at("https://zoom.us");
    let (credentials, token) = (credentials(), SecretString::from("x"));
    sendable(&zoom.exchange_code(&credentials, &token, &token, ""));
    sendable(&zoom.refresh(&credentials, &token));
    sendable(&zoom.revoke(&credentials, &token));
    sendable(&zoom.get_current_user(&token));
}
