//! Downloading: a URL that wants a token, a redirect to another host, and the bytes there.

pub(crate) mod content;
mod range;
mod signed_url;

use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};

use crate::conn::Conn;
use crate::faults::Point;
use crate::guard::guarded;
use crate::lock;
use crate::oauth::{Params, param};
use crate::pages;
use crate::request_log::Detail;
use crate::rest::{api_error, bearer};
use crate::sim::{Shared, Sim};
use crate::tokens::{DownloadToken, Verdict};
use crate::world::UrlTarget;

/// `/rec/webhook_download/{id}/{suffix}` and `/rec/download/{id}`: checks the token, then redirects.
pub(crate) async fn start(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    Path(path): Path<Vec<(String, String)>>,
    Query(params): Query<Params>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let id = path.first().map(|(_, id)| id.as_str()).unwrap_or_default();
    let from_event = uri.path().starts_with("/rec/webhook_download/");
    let target = lock(&sim.world)
        .urls
        .target(id)
        .filter(|target| target.from_event == from_event)
        .cloned();
    let (file_id, uuid) = names(&sim, target.as_ref());
    let mut response = guarded(&sim, &conn, Point::Download, &[&file_id, &uuid], |_| {
        answer(&sim, id, target.as_ref(), &params, &headers)
    })
    .await;
    response.extensions_mut().insert(Detail(file_id));
    response
}

/// File id and meeting UUID, by which faults can be restricted.
fn names(sim: &Sim, target: Option<&UrlTarget>) -> (String, String) {
    let world = lock(&sim.world);
    let found = target.and_then(|target| world.file(target));
    found
        .map(|(recording, file)| (file.id.clone(), recording.uuid.clone()))
        .unwrap_or_default()
}

fn answer(
    sim: &Sim,
    id: &str,
    target: Option<&UrlTarget>,
    params: &Params,
    headers: &HeaderMap,
) -> Response {
    if param(params, "access_token").is_some() {
        // Tokens in the query are refused since 2023.
        return api_error(StatusCode::UNAUTHORIZED, 124, "Invalid access token.");
    }
    let Some(target) = target else {
        return (
            StatusCode::NOT_FOUND,
            Html(pages::no_recording().into_string()),
        )
            .into_response();
    };
    let sign_in = || Html(pages::sign_in().into_string()).into_response();
    let Some(token) = bearer(headers) else {
        return sign_in();
    };
    match verdict(sim, target, token) {
        Verdict::Bad => return sign_in(),
        Verdict::Expired => return StatusCode::UNAUTHORIZED.into_response(),
        Verdict::Good => {}
    }
    let world = lock(&sim.world);
    let Some((_, file)) = world.file(target).filter(|(_, file)| file.is_present()) else {
        // Zoom answers 200 for a file that is no longer there.
        return Html(pages::no_recording().into_string()).into_response();
    };
    let seconds = sim.config().content_url_seconds;
    let url = signed_url::make(
        sim,
        id,
        &file.download_name(),
        file.spec().kind().content_type(),
        seconds,
    );
    match HeaderValue::try_from(url) {
        Ok(url) => (
            StatusCode::FOUND,
            [
                (header::LOCATION, url),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ],
        )
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Each kind of URL has tokens of its own; REST's also take the host's access token.
fn verdict(sim: &Sim, target: &UrlTarget, token: &str) -> Verdict {
    let now = sim.clock.now();
    if target.from_event {
        return sim
            .signer
            .check(DownloadToken::Webhook, token, &target.uuid, now);
    }
    let world = lock(&sim.world);
    let host = world
        .recording(&target.uuid)
        .map(|recording| recording.host_id.as_str());
    match world.grants.by_access(token, now) {
        Some(grant) if Some(grant.user_id.as_str()) == host => Verdict::Good,
        Some(_) => Verdict::Bad,
        None if world.grants.knew_access(token) => Verdict::Expired,
        None => sim
            .signer
            .check(DownloadToken::Rest, token, &target.uuid, now),
    }
}
