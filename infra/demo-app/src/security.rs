//! What every page is wrapped in: headers for the browser, and refusal of foreign forms.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use url::{Origin, Position, Url};

use crate::App;
use crate::pages::{SCRIPT, STYLE};

/// An entry of `Config::media_sources` is no source of a Content-Security-Policy.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no source of a Content-Security-Policy")]
pub struct BadMediaSource(String);

/// The headers of every page.
#[derive(Clone)]
pub(crate) struct Headers {
    policy: HeaderValue,
}

impl Headers {
    pub(crate) fn new(media_sources: &[String]) -> Result<Self, BadMediaSource> {
        let mut media = String::from("'self'");
        for source in media_sources {
            // A semicolon would begin a directive of its own.
            let plain = |byte: u8| byte.is_ascii_graphic() && !b";,'\"".contains(&byte);
            if source.is_empty() || !source.bytes().all(plain) {
                return Err(BadMediaSource(source.clone()));
            }
            let _ = write!(media, " {source}");
        }
        // The one style sheet and the one script are inline and constant: their hashes admit exactly them,
        // so that HTML smuggled into a page could neither run nor restyle anything.
        let (style, script) = (hash(STYLE), hash(SCRIPT));
        let policy = format!(
            "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; \
             img-src data: {media}; media-src {media}; form-action 'self'; base-uri 'none'; \
             frame-ancestors 'none'"
        );
        let policy = HeaderValue::try_from(&policy).map_err(|_| BadMediaSource(policy))?;
        Ok(Self { policy })
    }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

pub(crate) async fn add_headers(
    State(headers): State<Headers>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let out = response.headers_mut();
    out.insert(CONTENT_SECURITY_POLICY, headers.policy);
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Pages hold what belongs to one user, and presigned addresses.
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("permissions-policy"),
            "camera=(), microphone=(), geolocation=()",
        ),
    ] {
        out.insert(name, HeaderValue::from_static(value));
    }
    // Not `no-referrer` throughout: it would make browsers send `Origin: null` with our own forms.
    // The page that Zoom's users return to, whose address holds a claim, asks for it itself.
    out.entry(REFERRER_POLICY)
        .or_insert(HeaderValue::from_static("same-origin"));
    response
}

/// Keeps the pages to their own address and their forms to their own pages.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !is_our_host(headers, &app.public_url) {
        // Sessions and `return_to` belong to the public address. This also stops pages of another
        // name that was made to point here (DNS rebinding).
        if *request.method() != Method::GET {
            return StatusCode::MISDIRECTED_REQUEST.into_response();
        }
        let mut there = app.public_url.clone();
        there.set_path(request.uri().path());
        there.set_query(request.uri().query());
        return Redirect::temporary(there.as_str()).into_response();
    }
    if !request.method().is_safe() && !is_same_origin(headers, &app.public_url.origin()) {
        return (
            StatusCode::FORBIDDEN,
            "This form was sent from another site.",
        )
            .into_response();
    }
    next.run(request).await
}

fn is_our_host(headers: &HeaderMap, public_url: &Url) -> bool {
    let authority = &public_url[Position::BeforeHost..Position::AfterPort];
    headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

/// Browsers say where a form was sent from. Programs say nothing, but they have no user's cookie either.
pub(crate) fn is_same_origin(headers: &HeaderMap, ours: &Origin) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    match headers.get(ORIGIN).map(HeaderValue::to_str) {
        None => true,
        Some(Ok(origin)) => origin == ours.ascii_serialization(),
        Some(Err(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_source_cannot_add_a_directive() {
        for bad in [
            "",
            "http://a;script-src *",
            "'unsafe-inline'",
            "a b",
            "a,b",
            "ä",
        ] {
            assert!(Headers::new(&[bad.to_owned()]).is_err(), "{bad:?}");
        }
        assert!(Headers::new(&["https://*.s3.amazonaws.com".to_owned()]).is_ok());
    }

    #[test]
    fn forms_of_other_origins_are_told_apart() {
        let ours = Url::parse("http://localhost:4000").expect("a URL").origin();
        for (name, value, same) in [
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            // Another port of the same host, where somebody else may live.
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
            ("origin", "http://localhost:4000", true),
            ("origin", "http://localhost:4001", false),
            ("origin", "null", false),
            ("accept", "*/*", true),
        ] {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]);
            assert_eq!(is_same_origin(&headers, &ours), same, "{name}: {value}");
        }
    }
}
