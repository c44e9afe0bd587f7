//! `POST /oauth/token` and `POST /oauth/revoke`.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{Params, is_the_app, param, token_error};
use crate::config::Config;
use crate::conn::Conn;
use crate::control::departures;
use crate::faults::Point;
use crate::grants::{DeathCause, Grant, Mint};
use crate::guard::guarded;
use crate::lock;
use crate::ordered::Object;
use crate::request_log::Detail;
use crate::sim::{Shared, Sim};

/// The parameters of body and query together; the body comes first.
fn merge(query: Params, body: &[u8]) -> Params {
    url::form_urlencoded::parse(body)
        .into_owned()
        .chain(query)
        .collect()
}

/// Exchanges a code or a refresh token.
pub(crate) async fn token(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    Query(query): Query<Params>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let params = merge(query, &body);
    let (point, name) = match param(&params, "grant_type") {
        Some("refresh_token") => (Point::TokenRefresh, "refresh"),
        _ => (Point::TokenExchange, "exchange"),
    };
    let subject = subject(&sim, &params);
    let subjects = [subject.as_str()];
    let handler = |_| answer(&sim, &headers, &params);
    let mut response = guarded(&sim, &conn, point, &subjects, handler).await;
    response.extensions_mut().insert(Detail(name.into()));
    response
}

/// The user whom a call is about; faults can be restricted to one.
fn subject(sim: &Sim, params: &Params) -> String {
    let world = lock(&sim.world);
    let by_code = param(params, "code").and_then(|code| world.grants.codes.get(code));
    let by_token = ["refresh_token", "token"]
        .iter()
        .find_map(|name| param(params, name));
    match by_code {
        Some(code) => code.user_id.clone(),
        None => by_token
            .and_then(|token| world.grants.owner_of(token))
            .unwrap_or_default(),
    }
}

fn answer(sim: &Sim, headers: &HeaderMap, params: &Params) -> Response {
    let config = sim.config();
    let bad = StatusCode::BAD_REQUEST;
    if !is_the_app(&config, headers, params) {
        return token_error(
            bad,
            Some("Invalid client_id or client_secret"),
            "invalid_client",
        );
    }
    match param(params, "grant_type") {
        Some("authorization_code") => exchange(sim, &config, params),
        Some("refresh_token") => refresh(sim, &config, params),
        Some(_) => token_error(
            bad,
            Some("Unsupported grant type"),
            "unsupported_grant_type",
        ),
        None => token_error(bad, Some("Bad Request"), "invalid_request"),
    }
}

fn exchange(sim: &Sim, config: &Config, params: &Params) -> Response {
    let bad = StatusCode::BAD_REQUEST;
    let Some(code) = param(params, "code").filter(|code| !code.is_empty()) else {
        return token_error(bad, Some("Bad Request"), "invalid_request");
    };
    // As at Zoom, this reason repeats the code: whoever logs it logs a credential.
    let invalid = || {
        token_error(
            bad,
            Some(&format!("Invalid authorization code {code}")),
            "invalid_grant",
        )
    };
    let now = sim.clock.now();
    let mut world = lock(&sim.world);
    let world = &mut *world;
    let Some(held) = world.grants.codes.get_mut(code) else {
        return invalid();
    };
    if held.used || held.expires_at <= now {
        return invalid();
    }
    if param(params, "redirect_uri") != Some(held.redirect_uri.as_str()) {
        return token_error(bad, Some("Redirect URI mismatch."), "invalid_request");
    }
    let proven = match (&held.challenge, param(params, "code_verifier")) {
        (None, _) => true,
        (Some(challenge), Some(verifier)) => challenge.is_met_by(verifier),
        (Some(_), None) => false,
    };
    if !proven {
        return token_error(bad, Some("Invalid code verifier"), "invalid_grant");
    }
    held.used = true;
    let user_id = held.user_id.clone();
    let Some(user) = world
        .users
        .iter()
        .find(|user| user.id == user_id && !user.removed)
    else {
        return invalid();
    };
    let mint = Mint {
        config,
        ids: &sim.ids,
        signer: &sim.signer,
        now,
    };
    issued(config, &sim.base, world.grants.authorize(user, &mint))
}

fn refresh(sim: &Sim, config: &Config, params: &Params) -> Response {
    let mint = Mint {
        config,
        ids: &sim.ids,
        signer: &sim.signer,
        now: sim.clock.now(),
    };
    let mut world = lock(&sim.world);
    match param(params, "refresh_token").and_then(|token| world.grants.refresh(token, &mint)) {
        Some(grant) => issued(config, &sim.base, grant),
        None => token_error(
            StatusCode::BAD_REQUEST,
            Some("Invalid Token!"),
            "invalid_grant",
        ),
    }
}

/// `api_url` names this simulator: nobody is sent out to the real API from here.
fn issued(config: &Config, base: &str, grant: &Grant) -> Response {
    let body = Object::new()
        .put("access_token", &grant.access_token)
        .put("token_type", "bearer")
        .put("refresh_token", &grant.refresh_token)
        .put("expires_in", config.access_token_seconds)
        .put("scope", grant.scopes.join(" "))
        .put("api_url", base);
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// Ends the grant behind a token, which at Zoom uninstalls the app, and so tells the app of it.
pub(crate) async fn revoke(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    Query(query): Query<Params>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let params = merge(query, &body);
    let handler = |_| {
        if !is_the_app(&sim.config(), &headers, &params) {
            return token_error(
                StatusCode::BAD_REQUEST,
                Some("Invalid client_id or client_secret"),
                "invalid_client",
            );
        }
        let owner =
            param(&params, "token").and_then(|token| lock(&sim.world).grants.owner_of(token));
        let Some(user_id) = owner else {
            return token_error(
                StatusCode::BAD_REQUEST,
                Some("Invalid Token!"),
                "invalid_grant",
            );
        };
        departures::end_grant(&Arc::clone(&sim), &user_id, DeathCause::Revoked);
        Json(Object::new().put("status", "success")).into_response()
    };
    let subject = subject(&sim, &params);
    guarded(&sim, &conn, Point::Revoke, &[&subject], handler).await
}
