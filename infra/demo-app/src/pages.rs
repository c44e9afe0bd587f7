//! The pages: rendered here, escaped by the template, alive by one small script.

mod failure;
mod format;
mod home;
mod integrations;
mod layout;
mod notifications;
mod recording;
mod recordings;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{get, post};

pub(crate) use self::failure::Failure;

use crate::security::{self, Headers};
use crate::{App, RETURN_PATH, WEBHOOK_PATH, session, webhook};

/// Inlined into every page; its hash is in the Content-Security-Policy.
pub(crate) const STYLE: &str = include_str!("assets/style.css");

/// Inlined into every page; its hash is in the Content-Security-Policy.
pub(crate) const SCRIPT: &str = include_str!("assets/live.js");

pub(crate) fn router(app: Arc<App>, headers: Headers, port: u16) -> Router {
    let https = app.public_url.scheme() == "https";
    // Its answers keep the claim of the address to themselves.
    let come_back = get(integrations::come_back).layer(map_response(no_referrer));
    Router::new()
        .route("/", get(home::show))
        .route("/sign-in", post(home::sign_in))
        .route("/sign-out", post(home::sign_out))
        .route("/settings/integrations", get(integrations::show))
        .route(
            "/settings/integrations/zoom/connect",
            get(integrations::connect),
        )
        .route(RETURN_PATH, come_back)
        .route(
            "/settings/integrations/zoom/{link_id}/disconnect",
            post(integrations::disconnect),
        )
        .route("/recordings", get(recordings::show))
        .route("/recordings.json", get(recordings::state))
        .route("/recordings/backfill", post(recordings::backfill))
        .route("/recordings/{recording_id}", get(recording::show))
        .route(
            "/recordings/{recording_id}/state.json",
            get(recording::state),
        )
        .route(
            "/recordings/{recording_id}/download",
            post(recording::download),
        )
        .route(
            "/recordings/{recording_id}/files/{file_id}",
            get(recording::text),
        )
        .route(
            "/recordings/{recording_id}/files/{file_id}/captions",
            get(recording::captions),
        )
        .route("/notifications", get(notifications::show))
        .route("/notifications.json", get(notifications::state))
        .fallback(async || Failure::NotFound)
        .layer(session::layer(port, https))
        .layer(from_fn_with_state(Arc::clone(&app), security::guard))
        // Below this line there is no session: Reelay calls, not a browser.
        .route(WEBHOOK_PATH, post(webhook::receive))
        .layer(from_fn_with_state(headers, security::add_headers))
        .with_state(app)
}

async fn no_referrer(mut response: Response) -> Response {
    use axum::http::{HeaderValue, header::REFERRER_POLICY};
    response
        .headers_mut()
        .insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
