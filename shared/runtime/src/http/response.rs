//! Responses: JSON, problem details, redirects and documents. All of them forbid caching, content sniffing and
//! referrers.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use lambda_http::{Body, Response};
use reelay_domain::jwt::TokenError;
use serde::Serialize;
use serde_json::json;

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

/// Problem details (RFC 9457), with an additional `code`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the public API documents these codes")]
pub enum Problem {
    TokenMissing,
    TokenInvalid(TokenError),
    RequestInvalid(&'static str),
    /// An unknown field of the body, and the form that the body must have. The code is that of
    /// [`Self::RequestInvalid`].
    UnknownField(String, &'static str),
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
        let sentence;
        let (status, code, title, detail) = match self {
            Self::TokenMissing => (
                StatusCode::UNAUTHORIZED,
                "token_missing",
                "A token is required",
                "Send an API token in the header `Authorization: Bearer`.",
            ),
            Self::TokenInvalid(error) => {
                sentence = error.public_message();
                (StatusCode::UNAUTHORIZED, "token_invalid", "The token is not valid", &*sentence)
            }
            Self::RequestInvalid(detail) => {
                (StatusCode::BAD_REQUEST, "request_invalid", "The request is not valid", detail)
            }
            Self::UnknownField(name, form) => {
                sentence = format!("The field `{name}` is unknown. {form}");
                (StatusCode::BAD_REQUEST, "request_invalid", "The request is not valid", &*sentence)
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
                "This user has no link with this id. `GET /v1/links` lists them.",
            ),
            Self::RecordingNotFound => (
                StatusCode::NOT_FOUND,
                "recording_not_found",
                "There is no such recording",
                "No Zoom user linked to this user has a recording with this id. `GET /v1/recordings` lists them.",
            ),
            Self::RouteNotFound => (
                StatusCode::NOT_FOUND,
                "route_not_found",
                "There is no such route",
                "Paths begin with `/v1` and have no slash at their end. `docs/openapi.yaml` lists them.",
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
                "Another user started this connection, and the claim is no longer valid. Let the user of this session connect.",
            ),
            Self::ClaimExpired => (
                StatusCode::GONE,
                "claim_expired",
                "The claim has expired",
                "The claim is unknown, older than ten minutes, or was used up. Send the value of `zoom_link`, or let the user connect again.",
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
                "Reelay has moved Zoom's copy to the trash. To delete this one as well, repeat the request with \
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
