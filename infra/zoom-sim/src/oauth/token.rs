//! `POST /oauth/token` and `POST /oauth/revoke`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::call::Call;
use crate::config::Config;
use crate::faults::Point;
use crate::grants::{Grant, GrantEndReason, TOKEN_NOT_FOUND};
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
    call.respond(point, &[&user], detail, |_| respond(&call, issue)).await
}

/// Revokes the grant of a token. Zoom then uninstalls the app and sends `app_deauthorized`.
pub(crate) async fn revoke(call: Call) -> Response {
    let user = user_id(&call);
    call.respond(Point::Revoke, &[&user], "", |_| respond(&call, end_grant)).await
}

fn respond(
    call: &Call,
    handler: fn(&Call, &Config, &str) -> Result<Response, TokenError>,
) -> Response {
    let config = call.sim.config();
    let response = authenticate(call, &config).and_then(|client| handler(call, &config, &client));
    response.unwrap_or_else(|error| error.into_response(config.token_error_form))
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

fn issue(call: &Call, config: &Config, client_id: &str) -> Result<Response, TokenError> {
    match call.param("grant_type") {
        Some("authorization_code") => exchange(call, config, client_id),
        Some("refresh_token") => refresh(call, config, client_id),
        Some(_) => Err(TokenError::new(4705, "unsupported_grant_type", "Unsupported grant type")),
        None => Err(TokenError::new(4706, "invalid_request", "Bad Request")),
    }
}

/// Checks the client by Basic authentication, or by client id and secret among the parameters. Returns its
/// id.
fn authenticate(call: &Call, config: &Config) -> Result<String, TokenError> {
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
    let decode = |given: Option<String>| {
        let given = given.unwrap_or_default();
        percent_encoding::percent_decode_str(&given).decode_utf8_lossy().into_owned()
    };
    let id = decode(id);
    if config.secret_of(&id).is_some_and(|expected| decode(secret) == expected) {
        return Ok(id);
    }
    let reason = "Invalid client_id or client_secret";
    Err(TokenError::new(4702, "invalid_client", reason))
}

fn exchange(call: &Call, config: &Config, client_id: &str) -> Result<Response, TokenError> {
    let code = call.param("code").filter(|code| !code.is_empty());
    let code = code.ok_or_else(|| TokenError::new(4706, "invalid_request", "Bad Request"))?;
    // As at Zoom, this reason repeats the code: a client that logs it logs a credential.
    let invalid = |number| {
        TokenError::new(number, "invalid_grant", format!("Invalid authorization code {code}"))
    };
    let issuer = call.sim.issuer(config);
    let mut world = lock(&call.sim.world);
    let world = &mut *world;
    let held = world.grants.codes.get_mut(code).ok_or_else(|| invalid(4734))?;
    if held.used || held.client_id != client_id {
        return Err(invalid(4734));
    }
    if held.expires_at <= issuer.now {
        return Err(invalid(4733));
    }
    if call.param("redirect_uri") != Some(&held.redirect_uri) {
        return Err(TokenError::new(4709, "invalid_request", "Redirect URI mismatch."));
    }
    let verifier = call.param("code_verifier").unwrap_or_default();
    if held.challenge.as_ref().is_some_and(|challenge| !challenge.matches(verifier)) {
        return Err(TokenError::new(4734, "invalid_grant", "Invalid code verifier"));
    }
    held.used = true;
    let mut users = world.users.iter();
    let user = users.find(|user| user.id == held.user_id && !user.removed);
    let user = user.ok_or_else(|| invalid(4735))?;
    Ok(tokens(call, config, world.grants.authorize(user, client_id, &issuer)))
}

fn refresh(call: &Call, config: &Config, client_id: &str) -> Result<Response, TokenError> {
    let token = call.param("refresh_token").unwrap_or_default();
    let issuer = call.sim.issuer(config);
    let mut world = lock(&call.sim.world);
    let grant = world.grants.refresh(token, client_id, &issuer);
    let grant = grant.map_err(TokenError::invalid_token)?;
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

fn end_grant(call: &Call, _: &Config, client_id: &str) -> Result<Response, TokenError> {
    let token = call.param("token").unwrap_or_default();
    let user_id = lock(&call.sim.world).grants.user_of(token);
    let user_id = user_id.ok_or_else(|| TokenError::invalid_token(TOKEN_NOT_FOUND))?;
    sender::send_deauthorized(&call.sim, &user_id, client_id, Some(GrantEndReason::Revoked));
    Ok((StatusCode::OK, Json(object! { "status": "success" })).into_response())
}
