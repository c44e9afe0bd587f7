use std::collections::BTreeMap;
use std::time::Duration;

use reelay_zoom::{
    ClientCredentials, Endpoints, ExchangeError, NetworkError, OAuthErrorCode, RefreshError,
    RevokeError, Timeouts, TokenPair, TransientError, ZoomClient, authorize_url,
};
use secrecy::ExposeSecret as _;

use crate::server::{
    End, closed_port, header, received, response, serve, serve_raw, serve_raw_as_https, target,
};
use crate::{JSON, SECRET, assert_redacted, client, client_with, impatient_client, secret};

const REDIRECT_URI: &str = "https://reelay.example.test/zoom/callback";
/// base64("SYNTHclientID:S3CRET-client")
const BASIC: &str = "Basic U1lOVEhjbGllbnRJRDpTM0NSRVQtY2xpZW50";
const TOKENS: &str = r#"{"access_token":"S3CRET-access","token_type":"bearer",
    "refresh_token":"S3CRET-refresh","expires_in":3599,
    "scope":"cloud_recording:read:recording user:read:user","api_url":"https://api.zoom.us"}"#;

pub(crate) fn credentials() -> ClientCredentials {
    ClientCredentials { client_id: "SYNTHclientID".to_owned(), client_secret: secret("client") }
}

async fn exchange(zoom: &ZoomClient) -> Result<TokenPair, ExchangeError> {
    zoom.exchange_code(&credentials(), &secret("code"), &secret("verifier"), REDIRECT_URI).await
}

async fn refresh(zoom: &ZoomClient) -> Result<TokenPair, RefreshError> {
    zoom.refresh(&credentials(), &secret("refresh")).await
}

async fn revoke(zoom: &ZoomClient) -> Result<(), RevokeError> {
    zoom.revoke(&credentials(), &secret("access")).await
}

/// Asserts that all three calls fail with `error`.
async fn assert_transient(zoom: &ZoomClient, error: TransientError) {
    let exchange_error = exchange(zoom).await.unwrap_err();
    assert_eq!(exchange_error, ExchangeError::Transient(error));
    assert_redacted(&exchange_error);
    let refresh_error = refresh(zoom).await.unwrap_err();
    assert_eq!(refresh_error, RefreshError::Transient(error));
    let revoke_error = revoke(zoom).await.unwrap_err();
    assert_eq!(revoke_error, RevokeError::Transient(error));
}

/// Decodes a form body or query. Fails on repeated parameters.
fn form(text: &str) -> BTreeMap<String, String> {
    let pairs: Vec<_> = url::form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "repeated parameter");
    map
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[test]
fn authorize_url_has_contract_parameters() {
    // Challenge of the verifier "synthetic-verifier-0123456789-abcdefghijklmnopqrstuvwxyz".
    let challenge = "jFdLyeXA9BjFbh04RGxbCFZt9CAX0-3UMYeHSJG3V-w";
    for (oauth, base, redirect_uri) in [
        ("https://zoom.us", "https://zoom.us/", REDIRECT_URI),
        // The redirect URI is not normalized.
        ("https://zoom.us", "https://zoom.us/", "https://Reelay.test:443"),
        ("http://127.0.0.1:9/sim/", "http://127.0.0.1:9/sim/", REDIRECT_URI),
    ] {
        let endpoints = Endpoints::parse(oauth, oauth).unwrap();
        let (id, state) = ("SYNTHclientID", "a.b-c_d+e/f=");
        let url = authorize_url(&endpoints, id, redirect_uri, state, challenge);
        let path = format!("{base}oauth/authorize?");
        assert!(url.as_str().starts_with(&path), "{url}");
        assert_eq!(
            form(url.query().unwrap()),
            map(&[
                ("response_type", "code"),
                ("client_id", id),
                ("redirect_uri", redirect_uri),
                ("state", state),
                ("code_challenge", challenge),
                ("code_challenge_method", "S256"),
            ])
        );
    }
}

#[tokio::test]
async fn token_response_is_parsed() {
    let server = serve(response(200, &[JSON], TOKENS)).await;
    let pair = exchange(&client(&server.uri())).await.unwrap();
    assert_eq!(pair.access_token.expose_secret(), "S3CRET-access");
    assert_eq!(pair.refresh_token.expose_secret(), "S3CRET-refresh");
    assert_eq!(pair.expires_in, 3599);
    assert_eq!(pair.scope.as_deref(), Some("cloud_recording:read:recording user:read:user"));
    assert!(!format!("{pair:?}{:?}", credentials()).contains(SECRET));
}

#[tokio::test]
async fn requests_follow_rfc_6749() {
    let server = serve(response(200, &[JSON], TOKENS)).await;
    let zoom = client(&server.uri());
    exchange(&zoom).await.unwrap();
    refresh(&zoom).await.unwrap();
    revoke(&zoom).await.unwrap();
    let expected = [
        (
            "/oauth/token",
            map(&[
                ("grant_type", "authorization_code"),
                ("code", "S3CRET-code"),
                ("code_verifier", "S3CRET-verifier"),
                ("redirect_uri", REDIRECT_URI),
            ]),
        ),
        (
            "/oauth/token",
            map(&[("grant_type", "refresh_token"), ("refresh_token", "S3CRET-refresh")]),
        ),
        ("/oauth/revoke", map(&[("token", "S3CRET-access")])),
    ];
    let requests = received(&server).await;
    assert_eq!(requests.len(), expected.len());
    for (request, (path, parameters)) in requests.iter().zip(expected) {
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!(target(request), path);
        assert_eq!(header(request, "authorization"), Some(BASIC));
        assert_eq!(header(request, "content-type"), Some("application/x-www-form-urlencoded"));
        let body = std::str::from_utf8(&request.body).unwrap();
        assert_eq!(form(body), parameters);
    }
}

#[tokio::test]
async fn optional_token_response_fields_have_defaults() {
    let huge = u64::MAX.to_string();
    for (fields, expires_in, scope) in [
        (r#""token_type":"bearer""#, 3600, None),
        (r#""token_type":"Bearer","scope":"x""#, 3600, Some("x")),
        (r#""token_type":"new","more":{}"#, 3600, None),
        // Capped, so that the expiry time cannot overflow.
        (&format!(r#""token_type":"bearer","expires_in":{huge}"#), 24 * 3600, None),
    ] {
        let body = format!(r#"{{"access_token":"a","refresh_token":"r",{fields}}}"#);
        let server = serve(response(200, &[JSON], body)).await;
        let pair = exchange(&client(&server.uri())).await.unwrap();
        let actual = (pair.expires_in, pair.scope.as_deref());
        assert_eq!(actual, (expires_in, scope), "{fields}");
    }
}

#[tokio::test]
async fn long_tokens_are_accepted() {
    let long = "x".repeat(6000);
    let body = format!(
        r#"{{"access_token":"{long}","token_type":"bearer","refresh_token":"{long}","expires_in":1}}"#
    );
    let server = serve(response(200, &[JSON], body)).await;
    let pair = refresh(&client(&server.uri())).await.unwrap();
    assert_eq!(pair.refresh_token.expose_secret(), long);
}

#[tokio::test]
async fn malformed_response_leaves_outcome_unknown() {
    let huge = format!("{{\"access_token\":\"{}\"}}", "x".repeat(9 * 1024 * 1024));
    let without = |missing: &str| TOKENS.replace(missing, "x_");
    for (status, header, body) in [
        (200, JSON, String::new()),
        (200, JSON, "{".to_owned()),
        (200, JSON, r#""S3CRET""#.to_owned()),
        (200, JSON, without("refresh_token")),
        (200, JSON, without("access_token")),
        (200, JSON, TOKENS.replace("S3CRET-refresh", "")),
        (200, JSON, TOKENS.replace("S3CRET-access", "")),
        (200, ("content-type", "text/html"), "<html>S3CRET</html>".to_owned()),
        (200, JSON, huge),
        (302, ("location", "/elsewhere?code=S3CRET"), String::new()),
        (304, JSON, String::new()),
    ] {
        let server = serve(response(status, &[header], body.clone())).await;
        let zoom = client(&server.uri());
        let error = TransientError::MalformedResponse;
        let exchange_error = exchange(&zoom).await.unwrap_err();
        assert_eq!(exchange_error, ExchangeError::Transient(error), "{status} {body:.80}");
        assert_redacted(&exchange_error);
        let refresh_error = refresh(&zoom).await.unwrap_err();
        assert_eq!(refresh_error, RefreshError::Transient(error));
        assert_redacted(&refresh_error);
        assert!(error.is_outcome_unknown());
        // Neither redirected nor retried.
        assert_eq!(received(&server).await.len(), 2);
    }
}

#[tokio::test]
async fn error_response_is_classified_by_status_and_code() {
    use OAuthErrorCode as Code;
    for (status, body, code) in [
        (
            400,
            r#"{"reason":"Invalid authorization code S3CRET","error":"invalid_grant"}"#,
            Code::InvalidGrant,
        ),
        (401, r#"{"error":"invalid_grant"}"#, Code::InvalidGrant),
        (400, r#"{"error":"invalid_client"}"#, Code::InvalidClient),
        (401, r#"{"error":"invalid_client"}"#, Code::InvalidClient),
        (400, r#"{"error":"invalid_request"}"#, Code::InvalidRequest),
        (400, r#"{"error":"S3CRET"}"#, Code::Unknown),
        (403, "<html>S3CRET</html>", Code::Unknown),
        (404, "", Code::Unknown),
        (429, r#"{"code":429,"message":"S3CRET"}"#, Code::Unknown),
        (400, r#"{"reason":"S3CRET","error":"invalid_grant","errorCode":4741}"#, Code::GrantEnded),
        (400, r#"{"code":4735,"message":"S3CRET"}"#, Code::GrantEnded),
        (400, r#"{"error":"invalid_grant","errorCode":4711}"#, Code::ScopesChanged),
        (400, r#"{"code":4717,"message":"S3CRET"}"#, Code::AppDisabled),
        (200, r#"{"status":false,"errorCode":4702,"errorMessage":"S3CRET"}"#, Code::InvalidClient),
        (200, r#"{"status":false,"errorCode":9999,"errorMessage":"S3CRET"}"#, Code::Unknown),
    ] {
        let server = serve(response(status, &[JSON], body)).await;
        let zoom = client(&server.uri());

        let error = exchange(&zoom).await.unwrap_err();
        assert_eq!(error, ExchangeError::Rejected { status, code }, "{body}");
        assert_redacted(&error);

        let error = refresh(&zoom).await.unwrap_err();
        let expected = match code {
            Code::InvalidGrant => RefreshError::InvalidGrant,
            Code::GrantEnded => RefreshError::GrantEnded,
            Code::InvalidClient => RefreshError::InvalidClient,
            code => RefreshError::Rejected { status, code },
        };
        assert_eq!(error, expected, "{body}");
        assert_redacted(&error);

        let error = revoke(&zoom).await.unwrap_err();
        let expected = match code {
            Code::InvalidClient => RevokeError::InvalidClient,
            code => RevokeError::Rejected { status, code },
        };
        assert_eq!(error, expected, "{body}");
        assert_redacted(&error);
        assert_eq!(received(&server).await.len(), 3, "retried");
    }
}

#[tokio::test]
async fn incomplete_error_body_is_still_rejection() {
    let head = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 90\r\n\r\n{\"error\":\"inv";
    let zoom = client(&serve_raw(head, End::Close).await);
    assert_eq!(
        exchange(&zoom).await.unwrap_err(),
        ExchangeError::Rejected { status: 400, code: OAuthErrorCode::Unknown }
    );
}

#[tokio::test]
async fn server_error_ignores_response_body() {
    for status in [500, 502, 503, 504] {
        let body = r#"{"error":"invalid_grant","reason":"S3CRET"}"#;
        let server = serve(response(status, &[JSON], body)).await;
        let error = TransientError::ServerError { status };
        assert_transient(&client(&server.uri()), error).await;
        assert!(error.is_outcome_unknown());
        assert_eq!(received(&server).await.len(), 3, "retried");
    }
}

#[tokio::test]
async fn success_without_json_confirms_nothing() {
    for body in ["<!doctype html><title>Sign in</title>", "", "\"success\"", "{\"status\":"] {
        let server = serve(response(200, &[JSON], body)).await;
        let zoom = client(&server.uri());
        assert_transient(&zoom, TransientError::MalformedResponse).await;
    }
}

#[tokio::test]
async fn network_error_tells_whether_request_was_sent() {
    use NetworkError::{Connect, ConnectionClosed, Dns, Other, Timeout, Tls};
    let half = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{";
    for (base, error, is_sent) in [
        (closed_port(), Connect, false),
        (serve_raw(b"", End::Close).await, ConnectionClosed, true),
        (serve_raw(b"", End::Reset).await, ConnectionClosed, true),
        (serve_raw(b"", End::Stall).await, Timeout, true),
        (serve_raw(half, End::Close).await, ConnectionClosed, true),
        (serve_raw(half, End::Stall).await, Timeout, true),
        (serve_raw(b"SSH-2.0-x\r\n\r\n", End::Close).await, Other, true),
        (serve_raw_as_https(b"HTTP/1.1 400 Bad Request\r\n\r\n", End::Close).await, Tls, false),
        ("https://no-such-host.invalid".to_owned(), Dns, false),
    ] {
        // DNS and TLS are limited by the connect timeout only.
        let zoom = match error {
            Dns | Tls => client(&base),
            _ => impatient_client(&base),
        };
        let error = TransientError::Network(error);
        assert_eq!(error.is_outcome_unknown(), is_sent, "{base}");
        assert_transient(&zoom, error).await;
    }
}

#[tokio::test]
async fn stalled_tls_handshake_is_connect_error() {
    let base = serve_raw_as_https(b"", End::Stall).await;
    let timeouts = Timeouts { connect: Duration::from_millis(150), ..Timeouts::default() };
    let error = TransientError::Network(NetworkError::Connect);
    assert_transient(&client_with(&base, timeouts), error).await;
    assert!(!error.is_outcome_unknown());
}
