//! A request of the system under test, and the faults on its way.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, FromRequest, Request};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use url::form_urlencoded;

use crate::clock::{iso, later};
use crate::conn::Conn;
use crate::faults::{Fault, Point};
use crate::pages;
use crate::request_log::{Detail, NotSent};
use crate::responses::{ApiError, RateLimit, TokenError, redirect, set_header};
use crate::state::Shared;

const MAX_BODY: usize = 1 << 20;

/// A received request.
pub(crate) struct Call {
    pub(crate) sim: Shared,
    pub(crate) conn: Conn,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// Parameters of a form body, then those of the query.
    pub(crate) params: Vec<(String, String)>,
}

impl FromRequest<Shared> for Call {
    type Rejection = Infallible;

    async fn from_request(request: Request, sim: &Shared) -> Result<Self, Infallible> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, MAX_BODY).await;
        let body = body.unwrap_or_default();
        let query = parts.uri.query().unwrap_or_default();
        let form = form_urlencoded::parse(&body).into_owned();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned();
        let conn = parts.extensions.get::<ConnectInfo<Conn>>();
        Ok(Self {
            sim: Arc::clone(sim),
            conn: conn.map(|info| info.0.clone()).unwrap_or_default(),
            method: parts.method,
            params: form.chain(query).collect(),
            headers: parts.headers,
            uri: parts.uri,
        })
    }
}

impl Call {
    /// The first value of a parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params.iter();
        let (_, value) = params.find(|(key, _)| key == name)?;
        Some(value)
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header(header::AUTHORIZATION)?.split_once(' ')?;
        let is_bearer = scheme.eq_ignore_ascii_case("bearer");
        is_bearer.then_some(token.trim())
    }

    /// A segment of the path, from 0, as it was sent.
    pub(crate) fn segment(&self, index: usize) -> &str {
        let mut segments = self.uri.path().split('/');
        segments.nth(index + 1).unwrap_or_default()
    }

    /// Responds with the active fault at `point`, or with the result of `handler`. Faults that change a
    /// body are passed to the handler.
    pub(crate) async fn respond(
        &self,
        point: Point,
        subjects: &[&str],
        detail: &str,
        handler: impl FnOnce(Option<Fault>) -> Response,
    ) -> Response {
        let mut response = match self.sim.faults.take(point, subjects) {
            Some(Fault::LoseResponse) => {
                handler(None);
                self.close()
            }
            Some(Fault::Close) => self.close(),
            Some(Fault::Hang) => {
                self.sim.stopped().await;
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Some(Fault::Html) => Html(pages::sign_in().into_string()).into_response(),
            Some(Fault::Redirect { to }) => redirect(&to),
            Some(Fault::Respond { status, content_type, body }) => {
                let mut response = (valid(status), body).into_response();
                set_header(&mut response, header::CONTENT_TYPE, content_type);
                response
            }
            Some(Fault::ErrorCode { status, code, form }) => {
                let body = form.body(code, "invalid_grant", "Zoom rejects this request.");
                (valid(status), Json(body)).into_response()
            }
            Some(Fault::RateLimited { retry_after_seconds: None }) => rate_limited(point, false),
            Some(Fault::RateLimited { retry_after_seconds: Some(seconds) }) => {
                let mut response = rate_limited(point, true);
                // Zoom documents a date here, not seconds.
                let end = iso(later(self.sim.clock.now(), seconds));
                set_header(&mut response, header::RETRY_AFTER, end);
                response
            }
            Some(Fault::DailyLimit) => rate_limited(point, true),
            Some(Fault::Status { status }) => error(point, valid(status)),
            Some(Fault::RetryAfter { status, retry_after }) => {
                let mut response = error(point, valid(status));
                set_header(&mut response, header::RETRY_AFTER, retry_after);
                response
            }
            fault => handler(fault),
        };
        if !detail.is_empty() {
            response.extensions_mut().insert(Detail(detail.to_owned()));
        }
        response
    }

    /// Closes the connection, with which the response is lost.
    fn close(&self) -> Response {
        self.conn.close();
        let mut response = StatusCode::OK.into_response();
        response.extensions_mut().insert(NotSent);
        response
    }
}

/// The status, which was checked when the fault was activated.
fn valid(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn rate_limited(point: Point, daily: bool) -> Response {
    let message = if daily {
        "You have reached the maximum daily rate limit for this API. Refer to the response header for details on when you can make another request."
    } else {
        "You have reached the maximum per-second rate limit for this API. Try again later."
    };
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = ApiError::new(status, 429, message).into_response();
    let limit = if point == Point::ListRecordings { RateLimit::Medium } else { RateLimit::Light };
    limit.describe(response.headers_mut(), daily, 0);
    response
}

/// The response with the body that Zoom sends with `status` at `point`.
fn error(point: Point, status: StatusCode) -> Response {
    match (point, status) {
        (Point::TokenExchange | Point::TokenRefresh | Point::Revoke, _) => {
            let error = "invalid_request";
            TokenError { status, code: 4706, reason: None, error }.into_response(None)
        }
        (Point::Download | Point::Content, status) => {
            if status.is_server_error() || status == StatusCode::UNAUTHORIZED {
                return status.into_response();
            }
            (status, Html(pages::no_recording().into_string())).into_response()
        }
        (_, StatusCode::UNAUTHORIZED) => ApiError::invalid_token().into_response(),
        (Point::UsersMe, StatusCode::NOT_FOUND) => ApiError::no_user().into_response(),
        (_, StatusCode::NOT_FOUND) => ApiError::no_recording().into_response(),
        (_, status) => {
            let message = status.canonical_reason().unwrap_or("Error");
            ApiError::new(status, i32::from(status.as_u16()), message).into_response()
        }
    }
}
