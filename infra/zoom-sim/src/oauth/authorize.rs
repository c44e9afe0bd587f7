//! `GET /oauth/authorize`: the consent page.

use axum::http::StatusCode;
use axum::response::Response;
use url::Url;

use crate::call::Call;
use crate::clock::later;
use crate::grants::{Challenge, Code};
use crate::pages::{self, page};
use crate::responses::redirect;
use crate::sync::lock;

const CODE_SECONDS: i64 = 300;

/// Shows the page. With `sim_decision` (and `sim_user`) it decides at once, as the page's buttons do.
pub(crate) async fn authorize(call: Call) -> Response {
    let response = decide(&call);
    response.unwrap_or_else(|(message, code)| {
        page(StatusCode::BAD_REQUEST, &pages::authorize_error(message, code))
    })
}

/// An error has a message and Zoom's code. None of them redirects: the redirect URI is not verified yet.
fn decide(call: &Call) -> Result<Response, (&'static str, u32)> {
    let sim = &call.sim;
    let config = sim.config();
    let client_id = call.param("client_id").filter(|id| config.secret_of(id).is_some());
    let client_id = client_id.ok_or(("Invalid client id", 4702))?;
    let redirect_uri = call.param("redirect_uri").ok_or(("Invalid redirect", 4700))?;
    if !config.redirect_uris.iter().any(|allowed| allowed == redirect_uri) {
        return Err(("Invalid redirect", 4709));
    }
    let mut location = Url::parse(redirect_uri).map_err(|_| ("Invalid redirect", 4700))?;
    if call.param("response_type") != Some("code") {
        return Err(("Invalid response type", 4700));
    }
    let method = call.param("code_challenge_method");
    let challenge = Challenge::parse(call.param("code_challenge"), method)
        .map_err(|()| ("Invalid code challenge method", 4700))?;

    let mut world = lock(&sim.world);
    let (name, value) = match call.param("sim_decision") {
        Some("allow") => {
            let user = match call.param("sim_user") {
                Some(id) => world.user(id),
                None => world.users.first(),
            };
            let user = user.filter(|user| !user.removed);
            let code = Code {
                user_id: user.ok_or(("User does not exist", 1001))?.id.clone(),
                client_id: client_id.into(),
                redirect_uri: redirect_uri.into(),
                challenge,
                expires_at: later(sim.clock.now(), CODE_SECONDS),
                used: false,
            };
            let text = sim.ids.opaque::<32>();
            world.grants.codes.insert(text.clone(), code);
            ("code", text)
        }
        // Zoom does not document its response to a denial; this is that of RFC 6749, 4.1.2.1.
        Some("deny") => ("error", "access_denied".to_owned()),
        _ => {
            let users: Vec<_> = world.users.iter().filter(|user| !user.removed).collect();
            let consent = pages::consent(&users, client_id, &config, &call.params);
            return Ok(page(StatusCode::OK, &consent));
        }
    };
    location.query_pairs_mut().append_pair(name, &value);
    if let Some(state) = call.param("state") {
        location.query_pairs_mut().append_pair("state", state);
    }
    Ok(redirect(location.as_str()))
}
