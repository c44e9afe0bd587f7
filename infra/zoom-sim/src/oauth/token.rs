//! `POST /oauth/token` and `POST /oauth/revoke`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::call::Call;
use crate::config::Config;
use crate::faults::Point;
use crate::grants::{Grant, GrantEndReason};
use crate::json::object;
use crate::responses::TokenError;
use crate::sender;
use crate::sync::lock;

/// Exchanges an authorization code or a refresh token.
pub(crate) async fn token(call: Call) -> Response {
    let (point, detail) = match call.param("grant_type") {
        Some("refresh_token") => (Point::TokenRefresh, "refresh"),
        _ => (Point::TokenExchange, "exchange"),
    };
    let user = user_id(&call);
    call.respond(point, &[&user], detail, |_| issue(&call).into_response()).await
}

/// Revokes the grant of a token. Zoom then uninstalls the app and sends `app_deauthorized`.
pub(crate) async fn revoke(call: Call) -> Response {
    let user = user_id(&call);
    call.respond(Point::Revoke, &[&user], "", |_| end_grant(&call).into_response()).await
}

/// The user whom a request is about, or an empty string.
fn user_id(call: &Call) -> String {
    let world = lock(&call.sim.world);
    let code = call.param("code").and_then(|code| world.grants.codes.get(code));
    let token = call.param("refresh_token").or(call.param("token"));
    match code {
        Some(code) => code.user_id.clone(),
        None => token.and_then(|token| world.grants.user_of(token)).unwrap_or_default(),
    }
}

fn issue(call: &Call) -> Result<Response, TokenError> {
    let config = call.sim.config();
    authenticate(call, &config)?;
    match call.param("grant_type") {
        Some("authorization_code") => exchange(call, &config),
        Some("refresh_token") => refresh(call, &config),
        Some(_) => Err(TokenError::new("unsupported_grant_type", "Unsupported grant type")),
        None => Err(TokenError::new("invalid_request", "Bad Request")),
    }
}

/// Checks the client by Basic authentication, or by client id and secret among the parameters.
fn authenticate(call: &Call, config: &Config) -> Result<(), TokenError> {
    let authorization = call.header(header::AUTHORIZATION);
    let basic = authorization.and_then(|value| value.strip_prefix("Basic "));
    let (id, secret) = match basic {
        Some(encoded) => {
            let decoded = STANDARD.decode(encoded).unwrap_or_default();
            let text = String::from_utf8(decoded).unwrap_or_default();
            let (id, secret) = text.split_once(':').unwrap_or_default();
            (Some(id.to_owned()), Some(secret.to_owned()))
        }
        None => {
            (call.param("client_id").map(Into::into), call.param("client_secret").map(Into::into))
        }
    };
    // Both are form-encoded in Basic authentication (RFC 6749, 2.3.1), which many clients omit.
    let is_equal = |given: Option<String>, expected: &str| {
        given.is_some_and(|given| {
            let decoded = percent_encoding::percent_decode_str(&given).decode_utf8_lossy();
            given == expected || decoded == expected
        })
    };
    if is_equal(id, &config.client_id) && is_equal(secret, &config.client_secret) {
        return Ok(());
    }
    let reason = "Invalid client_id or client_secret";
    Err(TokenError::new("invalid_client", reason))
}

fn exchange(call: &Call, config: &Config) -> Result<Response, TokenError> {
    let code = call.param("code").filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| TokenError::new("invalid_request", "Bad Request"))?;
    // As at Zoom, this reason repeats the code: a client that logs it logs a credential.
    let invalid = || TokenError::new("invalid_grant", format!("Invalid authorization code {code}"));
    let issuer = call.sim.issuer(config);
    let mut world = lock(&call.sim.world);
    let world = &mut *world;
    let held = world.grants.codes.get_mut(code).ok_or_else(invalid)?;
    if held.used || held.expires_at <= issuer.now {
        return Err(invalid());
    }
    if call.param("redirect_uri") != Some(&held.redirect_uri) {
        return Err(TokenError::new("invalid_request", "Redirect URI mismatch."));
    }
    let verifier = call.param("code_verifier").unwrap_or_default();
    if held.challenge.as_ref().is_some_and(|challenge| !challenge.matches(verifier)) {
        return Err(TokenError::new("invalid_grant", "Invalid code verifier"));
    }
    held.used = true;
    let mut users = world.users.iter();
    let user = users.find(|user| user.id == held.user_id && !user.removed);
    let user = user.ok_or_else(invalid)?;
    Ok(tokens(call, config, world.grants.authorize(user, &issuer)))
}

fn refresh(call: &Call, config: &Config) -> Result<Response, TokenError> {
    let token = call.param("refresh_token").unwrap_or_default();
    let issuer = call.sim.issuer(config);
    let mut world = lock(&call.sim.world);
    let grant = world.grants.refresh(token, &issuer);
    let grant = grant.ok_or_else(TokenError::invalid_token)?;
    Ok(tokens(call, config, grant))
}

/// The token response. `api_url` names this simulator, so that no client is led to the real API.
fn tokens(call: &Call, config: &Config, grant: &Grant) -> Response {
    let body = object! {
        "access_token": grant.access_token, "token_type": "bearer", "refresh_token": grant.refresh_token,
        "expires_in": config.access_token_seconds, "scope": grant.scopes.join(" "), "api_url": call.sim.base,
    };
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn end_grant(call: &Call) -> Result<Response, TokenError> {
    authenticate(call, &call.sim.config())?;
    let token = call.param("token").unwrap_or_default();
    let user_id = lock(&call.sim.world).grants.user_of(token);
    let user_id = user_id.ok_or_else(TokenError::invalid_token)?;
    sender::send_deauthorized(&call.sim, &user_id, Some(GrantEndReason::Revoked));
    Ok((StatusCode::OK, Json(object! { "status": "success" })).into_response())
}
