//! Security headers, and protection against cross-site requests and DNS rebinding.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, InvalidHeaderValue, ORIGIN, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tower_http::set_header::SetResponseHeaderLayer;
use url::{Origin, Position};

use crate::app::App;

/// Adds the security headers to every response. Pages load video and audio from `media_sources`.
pub(crate) fn add_headers(
    router: Router,
    media_sources: &[String],
) -> Result<Router, InvalidHeaderValue> {
    let policy = HeaderValue::try_from(format!(
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
         media-src {}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        media_sources.join(" ")
    ))?;
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
        // Pages contain one user's data and presigned URLs.
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // `no-referrer` on all pages would make browsers send `Origin: null` with the app's own forms.
        (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    ];
    Ok(headers.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::if_not_present(name, value))
    }))
}

/// Rejects requests for another host name, and forms that another site sent.
pub(crate) async fn restrict_origin(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    let authority = &app.public_url[Position::BeforeHost..Position::AfterPort];
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    if !host.is_some_and(|host| host.eq_ignore_ascii_case(authority.as_bytes())) {
        // Cookies belong to `public_url`, and a foreign host name may be a DNS rebinding attack.
        let text = format!("Open this app at {}", app.public_url);
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if !request.method().is_safe() && !is_same_origin(headers, &app.public_url.origin()) {
        let text = "This form was sent from another site.";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    next.run(request).await
}

/// Whether a browser sent the request from a page of this origin, or a program sent it.
///
/// Programs send neither header, but they hold no user's cookie.
pub(crate) fn is_same_origin(headers: &HeaderMap, origin: &Origin) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    headers
        .get(ORIGIN)
        .is_none_or(|value| value.as_bytes() == origin.ascii_serialization().as_bytes())
}
