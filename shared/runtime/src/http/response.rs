//! Responses: JSON, problem details, redirects, and pages for people. All of them forbid caching, content
//! sniffing and referrers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::json;

/// Header with the error code of a page.
pub const ERROR_HEADER: &str = "x-reelay-error";

const HEADERS: [(&str, &str); 5] = [
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-frame-options", "DENY"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
];

fn respond(status: StatusCode, content_type: Option<&'static str>, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if let Some(content_type) = content_type {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    respond(status, None, Body::Empty)
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    match serde_json::to_string(body) {
        Ok(text) => respond(status, Some("application/json"), Body::Text(text)),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A response with an HTML document, unescaped: the caller escapes it.
pub fn html(status: StatusCode, document: String) -> Response<Body> {
    respond(status, Some("text/html; charset=utf-8"), Body::Text(document))
}

/// A redirect, or 500 if the location is not a valid header value.
pub fn redirect(location: &str) -> Response<Body> {
    match HeaderValue::from_str(location) {
        Ok(location) => {
            let mut response = empty(StatusCode::FOUND);
            response.headers_mut().insert(LOCATION, location);
            response
        }
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A page that explains an error to the user, in place of a redirect. It repeats nothing of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the texts below describe them")]
pub enum ErrorPage {
    ConnectTokenInvalid,
    ConnectTokenExpired,
    ConnectTokenSpent,
    ReturnToNotAllowed,
    StateInvalid,
    SessionExpired,
    SessionSpent,
    WrongBrowser,
    AccessDenied,
    InstallRestart,
    Unavailable,
}

impl ErrorPage {
    /// The code in the [`ERROR_HEADER`].
    pub fn code(self) -> &'static str {
        match self {
            Self::ConnectTokenInvalid => "connect_token_invalid",
            Self::ConnectTokenExpired => "connect_token_expired",
            Self::ConnectTokenSpent => "connect_token_spent",
            Self::ReturnToNotAllowed => "return_to_not_allowed",
            Self::StateInvalid => "state_invalid",
            Self::SessionExpired => "session_expired",
            Self::SessionSpent => "session_spent",
            Self::WrongBrowser => "wrong_browser",
            Self::AccessDenied => "access_denied",
            Self::InstallRestart => "install_restart",
            Self::Unavailable => "unavailable",
        }
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::ConnectTokenInvalid => (
                "This link to connect Zoom is not valid",
                "Nothing was connected. Go back to your app and press its “Connect Zoom” button again.",
            ),
            Self::ConnectTokenExpired => (
                "This link to connect Zoom has expired",
                "It is valid for a few minutes. Go back to your app and press its “Connect Zoom” button again.",
            ),
            Self::ConnectTokenSpent => (
                "This link has already been used",
                "Your Zoom account may already be connected: check your app’s settings. To connect another account, press the “Connect Zoom” button there again.",
            ),
            Self::ReturnToNotAllowed => (
                "This app asked us to send you to an address that is not on its list",
                "Nothing was connected. Please tell the app’s support that its return address is not allowed.",
            ),
            Self::StateInvalid => (
                "This response from Zoom is not valid",
                "Nothing was connected. Go back to your app and press its “Connect Zoom” button again.",
            ),
            Self::SessionExpired => (
                "This took longer than ten minutes",
                "Nothing was connected. Go back to your app and press its “Connect Zoom” button again.",
            ),
            Self::SessionSpent => (
                "This response from Zoom has already been used",
                "If you reloaded the page, your Zoom account is probably connected: check your app’s settings.",
            ),
            Self::WrongBrowser => (
                "You started in another browser",
                "Nothing was connected. Open your app in this browser, sign in, and press its “Connect Zoom” button. If somebody sent you a link that led here, close this page.",
            ),
            Self::AccessDenied => (
                "Zoom was not connected",
                "The request was declined at Zoom. If you change your mind, go back to your app and press its “Connect Zoom” button again.",
            ),
            Self::InstallRestart => (
                "One step is missing",
                "You started at Zoom’s Marketplace. To finish, sign in to the app that you want to connect, and press “Connect Zoom” in its settings.",
            ),
            Self::Unavailable => (
                "This is temporarily unavailable",
                "Nothing was connected. Please try again in a minute.",
            ),
        }
    }

    /// Builds the response: 400, or 503 for [`Self::Unavailable`].
    pub fn into_response(self) -> Response<Body> {
        let status = match self {
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        let (title, text) = self.text();
        let code = self.code();
        let html = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
             <body>\n<main>\n<h1>{title}</h1>\n<p>{text}</p>\n<p class=\"code\">{code}</p>\n</main>\n</body>\n</html>\n"
        );
        let mut response = self::html(status, html);
        response
            .headers_mut()
            .insert(HeaderName::from_static(ERROR_HEADER), HeaderValue::from_static(code));
        response
    }
}

const STYLE: &str = ":root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;place-items:center;\
font:1rem/1.6 system-ui,sans-serif;background:light-dark(#f4f5f7,#15171a);color:light-dark(#1c1f23,#e8eaed)}\
main{max-width:30rem;margin:1rem;padding:2.5rem;border-radius:1rem;background:light-dark(#fff,#1f2226);\
box-shadow:0 1px 3px #0003}h1{font-size:1.4rem;line-height:1.3;margin:0 0 1rem}p{margin:0}\
.code{margin-top:1.5rem;font:.8rem ui-monospace,monospace;opacity:.6}";

/// Problem details (RFC 9457), with an additional `code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the public API documents these codes")]
pub enum Problem {
    TokenMissing,
    TokenInvalid(&'static str),
    RequestInvalid(&'static str),
    CursorInvalid,
    LinkNotFound,
    RecordingNotFound,
    RouteNotFound,
    MethodNotAllowed,
    ClaimBelongsToAnotherUser,
    ClaimExpired,
    NoActiveLink,
    RecordingShared,
    OnlyCopy,
    CursorExpired,
    Unavailable,
}

impl Problem {
    /// Builds the response.
    pub fn into_response(self) -> Response<Body> {
        let (status, code, title, detail) = match self {
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "token_missing",
                "A token is required",
                "Send an API token in the header `Authorization: Bearer`.",
            ),
            Self::TokenInvalid(detail) => {
                (StatusCode::UNAUTHORIZED, "token_invalid", "The token is not valid", detail)
            }
            Self::RequestInvalid(detail) => {
                (StatusCode::BAD_REQUEST, "request_invalid", "The request is not valid", detail)
            }
            Self::CursorInvalid => (
                StatusCode::BAD_REQUEST,
                "cursor_invalid",
                "The cursor is not valid",
                "Use a `next_cursor` that this user received, or start without a cursor.",
            ),
            Self::LinkNotFound => (
                StatusCode::NOT_FOUND,
                "link_not_found",
                "There is no such link",
                "This user has no link with this id.",
            ),
            Self::RecordingNotFound => (
                StatusCode::NOT_FOUND,
                "recording_not_found",
                "There is no such recording",
                "No Zoom user linked to this user has a recording with this id.",
            ),
            Self::RouteNotFound => (
                StatusCode::NOT_FOUND,
                "route_not_found",
                "There is no such route",
                "Check the path against the API documentation.",
            ),
            Self::MethodNotAllowed => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "The method is not allowed",
                "Use a method of the `Allow` header.",
            ),
            Self::ClaimBelongsToAnotherUser => (
                StatusCode::FORBIDDEN,
                "claim_belongs_to_another_user",
                "The claim belongs to another user",
                "Another user started this connection. The claim is no longer valid.",
            ),
            Self::ClaimExpired => (
                StatusCode::GONE,
                "claim_expired",
                "The claim has expired",
                "A claim is valid for ten minutes and one link. Let the user connect again.",
            ),
            Self::NoActiveLink => (
                StatusCode::CONFLICT,
                "no_active_link",
                "No active link",
                "The user has no active link to Zoom. Let the user connect first.",
            ),
            Self::RecordingShared => (
                StatusCode::CONFLICT,
                "recording_shared",
                "Another user has this recording too",
                "A link of another app user covers the recording. Delete it once that link is gone.",
            ),
            Self::OnlyCopy => (
                StatusCode::CONFLICT,
                "only_copy",
                "This is the only copy",
                "Zoom's copy is in the trash or deleted. To delete this one as well, repeat the request with \
                 `?only_copy=true`.",
            ),
            Self::CursorExpired => (
                StatusCode::GONE,
                "cursor_expired",
                "The cursor has expired",
                "Notifications are kept for 30 days. Start without a cursor, and read the current state from \
                 `GET /v1/links` and `GET /v1/recordings`.",
            ),
            Self::Unavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "This is temporarily unavailable",
                "A service that the API depends on is unavailable. Try again.",
            ),
        };
        let body = json!({"type": format!("urn:reelay:problem:{code}"), "title": title, "status": status.as_u16(), "detail": detail, "code": code});
        let mut response =
            respond(status, Some("application/problem+json"), Body::Text(body.to_string()));
        if status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
