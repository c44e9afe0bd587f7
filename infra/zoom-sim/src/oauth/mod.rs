//! OAuth 2.0 as Zoom does it for user-managed apps.

pub(crate) mod authorize;
mod pkce;
pub(crate) mod token;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Config;
use crate::ordered::Object;

pub(crate) use pkce::Challenge;

/// Parameters of a query or a form, in their order.
pub(crate) type Params = Vec<(String, String)>;

/// The first value of a parameter.
pub(crate) fn param<'a>(params: &'a Params, name: &str) -> Option<&'a str> {
    params
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// An error of the token endpoint.
pub(crate) fn token_error(status: StatusCode, reason: Option<&str>, error: &str) -> Response {
    let body = Object::new().put_some("reason", reason).put("error", error);
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Whether the caller is the app: by Basic authentication, or by client id and secret among the parameters.
pub(crate) fn is_the_app(config: &Config, headers: &HeaderMap, params: &Params) -> bool {
    let basic = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Basic "));
    match basic {
        Some(encoded) => {
            let given = STANDARD
                .decode(encoded)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            given
                .as_deref()
                .and_then(|given| given.split_once(':'))
                .is_some_and(|(id, secret)| {
                    // RFC 6749, 2.3.1: both are form-encoded before they are joined; many clients leave that out.
                    let plain = |text: &str| {
                        percent_encoding::percent_decode_str(text)
                            .decode_utf8_lossy()
                            .into_owned()
                    };
                    (id == config.client_id || plain(id) == config.client_id)
                        && (secret == config.client_secret || plain(secret) == config.client_secret)
                })
        }
        None => {
            param(params, "client_id") == Some(config.client_id.as_str())
                && param(params, "client_secret") == Some(config.client_secret.as_str())
        }
    }
}
