//! `/rec/webhook_download/{id}/{suffix}` and `/rec/download/{id}`.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};

use super::signed_url;
use crate::call::Call;
use crate::faults::Point;
use crate::pages;
use crate::responses::{ApiError, redirect};
use crate::state::Sim;
use crate::sync::lock;
use crate::tokens::{DownloadToken, TokenCheck};
use crate::world::UrlTarget;

/// Checks the token and redirects to the content host.
pub(crate) async fn start(call: Call) -> Response {
    let is_from_event = call.segment(1) == "webhook_download";
    let (target, file_id, uuid) = {
        let world = lock(&call.sim.world);
        let target = world.urls.target(call.segment(2));
        let target = target.filter(|target| target.is_from_event == is_from_event);
        let file = target.and_then(|target| world.file(target));
        let (file_id, uuid) = file
            .map(|(recording, file)| (file.id.clone(), recording.uuid.clone()))
            .unwrap_or_default();
        (target.cloned(), file_id, uuid)
    };
    let handler = |_| locate(&call, target.as_ref());
    call.respond(Point::Download, &[&file_id, &uuid], &file_id, handler).await
}

fn locate(call: &Call, target: Option<&UrlTarget>) -> Response {
    if call.param("access_token").is_some() {
        // Zoom has rejected tokens in the query since 2023.
        return ApiError::invalid_token().into_response();
    }
    let no_recording = || Html(pages::no_recording().into_string());
    let Some(target) = target else {
        return (StatusCode::NOT_FOUND, no_recording()).into_response();
    };
    let sim = &call.sim;
    let check = call.bearer().map_or(TokenCheck::Invalid, |token| check(sim, target, token));
    match check {
        TokenCheck::Valid => {}
        TokenCheck::Invalid => return Html(pages::sign_in().into_string()).into_response(),
        TokenCheck::Expired => return StatusCode::UNAUTHORIZED.into_response(),
    }
    let world = lock(&sim.world);
    match world.file(target) {
        Some((_, file)) if file.is_present() => {
            redirect(&signed_url::sign(sim, call.segment(2), file))
        }
        // Zoom responds with 200 for a file that was removed.
        _ => no_recording().into_response(),
    }
}

/// Each kind of URL has tokens of its own; URLs of REST also accept the host's access token.
fn check(sim: &Sim, target: &UrlTarget, token: &str) -> TokenCheck {
    let now = sim.clock.now();
    let check = |kind| sim.signer.check(kind, token, &target.uuid, now);
    if target.is_from_event {
        return check(DownloadToken::Webhook);
    }
    let world = lock(&sim.world);
    let host = world.recording(&target.uuid).map(|recording| &recording.host_id);
    match world.grants.by_access(token, now) {
        Some(grant) if Some(&grant.user_id) == host => TokenCheck::Valid,
        Some(_) => TokenCheck::Invalid,
        None if world.grants.issued_access(token) => TokenCheck::Expired,
        None => check(DownloadToken::Rest),
    }
}
