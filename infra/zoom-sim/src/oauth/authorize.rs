//! `GET /oauth/authorize`: the consent page and what its buttons do.

use axum::extract::{Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use url::Url;

use super::{Challenge, Params, param};
use crate::clock::later;
use crate::grants::Code;
use crate::lock;
use crate::pages::{self, page};
use crate::sim::Shared;

/// Shows the page, or, with `sim_user` and `sim_decision`, decides at once as the page's buttons would.
pub(crate) async fn authorize(State(sim): State<Shared>, Query(params): Query<Params>) -> Response {
    let config = sim.config();
    // None of these may redirect: an unproven redirect URI would make this an open redirector.
    if param(&params, "client_id") != Some(config.client_id.as_str()) {
        return refuse("Invalid client id", 4702);
    }
    let Some(redirect_uri) = param(&params, "redirect_uri") else {
        return refuse("Invalid redirect", 4700);
    };
    if !config
        .redirect_uris
        .iter()
        .any(|allowed| allowed == redirect_uri)
    {
        return refuse("Invalid redirect", 4709);
    }
    let Ok(target) = Url::parse(redirect_uri) else {
        return refuse("Invalid redirect", 4700);
    };
    if param(&params, "response_type") != Some("code") {
        return refuse("Invalid response type", 4700);
    }
    let Ok(challenge) = Challenge::read(
        param(&params, "code_challenge"),
        param(&params, "code_challenge_method"),
    ) else {
        return refuse("Invalid code challenge method", 4700);
    };
    let state = param(&params, "state");

    match param(&params, "sim_decision") {
        Some("allow") => {
            let mut world = lock(&sim.world);
            let user = match param(&params, "sim_user") {
                Some(id) => world.user(id),
                None => world.users.first(),
            };
            let Some(user_id) = user
                .filter(|user| !user.removed)
                .map(|user| user.id.clone())
            else {
                return refuse("There is no such user", 1001);
            };
            let code = sim.ids.opaque::<32>();
            let expires_at = later(sim.clock.now(), config.code_seconds);
            let held = Code {
                user_id,
                redirect_uri: redirect_uri.into(),
                challenge,
                expires_at,
                used: false,
            };
            world.grants.codes.insert(code.clone(), held);
            go_back(target, &[("code", Some(&code)), ("state", state)])
        }
        Some("deny") => {
            let state = state.filter(|_| config.denial_carries_state);
            go_back(
                target,
                &[("error", Some("access_denied")), ("state", state)],
            )
        }
        _ => {
            let world = lock(&sim.world);
            let users: Vec<_> = world.users.iter().filter(|user| !user.removed).collect();
            page(StatusCode::OK, &pages::consent(&users, &config, &params))
        }
    }
}

fn refuse(what: &str, code: u32) -> Response {
    page(StatusCode::BAD_REQUEST, &pages::authorize_error(what, code))
}

fn go_back(mut target: Url, add: &[(&str, Option<&str>)]) -> Response {
    for (name, value) in add {
        if let Some(value) = value {
            target.query_pairs_mut().append_pair(name, value);
        }
    }
    match HeaderValue::try_from(target.as_str()) {
        Ok(location) => (
            StatusCode::FOUND,
            [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
        )
            .into_response(),
        Err(_) => refuse("Invalid redirect", 4700),
    }
}
