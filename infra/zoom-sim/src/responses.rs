//! Zoom's error responses and rate limit headers.

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json::object;

/// An error of the REST API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) code: i32,
    pub(crate) message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: i32, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn invalid_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 124, "Invalid access token.")
    }

    pub(crate) fn no_user() -> Self {
        Self::new(StatusCode::NOT_FOUND, 1001, "User does not exist.")
    }

    pub(crate) fn no_recording() -> Self {
        let message = "This recording does not exist.";
        Self::new(StatusCode::NOT_FOUND, 3301, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = object! { "code": self.code, "message": self.message };
        (self.status, Json(body)).into_response()
    }
}

/// Form of an error body with one of Zoom's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorForm {
    /// `{"reason","error","errorCode"}`.
    Oauth,
    /// `{"code","message"}`.
    Api,
    /// `{"status":false,"errorCode","errorMessage","result":null}`.
    Result,
}

impl ErrorForm {
    /// `error` appears in the OAuth form alone.
    pub(crate) fn body(self, code: u32, error: &str, message: &str) -> Value {
        match self {
            Self::Oauth => json!({ "reason": message, "error": error, "errorCode": code }),
            Self::Api => json!({ "code": code, "message": message }),
            Self::Result => {
                json!({ "status": false, "errorCode": code, "errorMessage": message, "result": null })
            }
        }
    }
}

/// An error of the token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenError {
    pub(crate) status: StatusCode,
    /// Zoom's number, which the body shows in some forms.
    pub(crate) code: u32,
    pub(crate) reason: Option<String>,
    pub(crate) error: &'static str,
}

impl TokenError {
    pub(crate) fn new(code: u32, error: &'static str, reason: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, reason: Some(reason.into()), error }
    }

    pub(crate) fn invalid_token(code: u32) -> Self {
        Self::new(code, "invalid_grant", "Invalid Token!")
    }

    /// The response: with the number in `form`, or without one.
    pub(crate) fn into_response(self, form: Option<ErrorForm>) -> Response {
        let headers = [(header::CACHE_CONTROL, "no-store")];
        match form {
            Some(form) => {
                let message = self.reason.as_deref().unwrap_or_default();
                let body = form.body(self.code, self.error, message);
                (self.status, headers, Json(body)).into_response()
            }
            None => {
                let body = object! { "reason": self.reason, "error": self.error };
                (self.status, headers, Json(body)).into_response()
            }
        }
    }
}

/// A rate limit category of Zoom's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateLimit {
    Light,
    Medium,
}

impl RateLimit {
    /// Adds the headers that describe the limit.
    pub(crate) fn describe(self, headers: &mut HeaderMap, daily: bool, remaining: u32) {
        let (category, limit) = match self {
            Self::Light => ("Light", "30"),
            Self::Medium => ("Medium", "20"),
        };
        for (name, value) in [
            ("x-ratelimit-category", category),
            ("x-ratelimit-type", if daily { "Daily-limit" } else { "QPS" }),
            ("x-ratelimit-limit", limit),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.insert("x-ratelimit-remaining", remaining.into());
    }
}

/// Inserts a header; a value that is not valid in a header is left out.
pub(crate) fn set_header(response: &mut Response, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

/// A redirect that must not be cached; a bad gateway if `location` is not valid in a header.
pub(crate) fn redirect(location: &str) -> Response {
    let Ok(location) = HeaderValue::try_from(location) else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let no_store = HeaderValue::from_static("no-store");
    let headers = [(header::LOCATION, location), (header::CACHE_CONTROL, no_store)];
    (StatusCode::FOUND, headers).into_response()
}
