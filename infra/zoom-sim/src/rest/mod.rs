//! The REST API below `/v2`.

pub(crate) mod list;
pub(crate) mod meeting;

use axum::Json;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::call::Call;
use crate::clock::iso;
use crate::faults::{Fault, Point};
use crate::json::{Object, object};
use crate::recordings::{Presence, Recording, RecordingFile};
use crate::responses::{ApiError, RateLimit, set_header};
use crate::state::Sim;
use crate::sync::lock;
use crate::users::User;
use crate::world::Urls;

/// `GET /v2/users/me`: the user of the token.
pub(crate) async fn me(call: Call) -> Response {
    let subject = user_id(&call);
    let handler = |fault| profile(&call, fault).into_response();
    call.respond(Point::UsersMe, &[&subject], "", handler).await
}

fn profile(call: &Call, fault: Option<Fault>) -> Result<Response, ApiError> {
    let user = authorize(call, ["user:read:user", "user:read"])?;
    let mut profile = user.profile(call.sim.clock.now());
    if let Some(Fault::OmitField { field }) = fault {
        profile = profile.without(&[field]);
    }
    Ok(ok(&call.sim, RateLimit::Light, profile))
}

/// The user of the access token, or an empty string.
fn user_id(call: &Call) -> String {
    let token = call.bearer().unwrap_or_default();
    let world = lock(&call.sim.world);
    world.grants.user_of(token).unwrap_or_default()
}

/// The user of the access token, if the grant has one of `scopes`.
fn authorize(call: &Call, scopes: [&str; 2]) -> Result<User, ApiError> {
    let token = call.bearer().unwrap_or_default();
    let world = lock(&call.sim.world);
    let grant = world.grants.by_access(token, call.sim.clock.now());
    let grant = grant.ok_or_else(ApiError::invalid_token)?;
    let mut granted = grant.scopes.iter();
    if !granted.any(|scope| scopes.contains(&scope.as_str())) {
        let scopes = scopes.join(", ");
        let message = format!("Invalid access token, does not contain scopes:[{scopes}].");
        return Err(ApiError::new(StatusCode::BAD_REQUEST, 4711, message));
    }
    let user = world.user(&grant.user_id).filter(|user| !user.removed);
    user.cloned().ok_or_else(ApiError::no_user)
}

/// A 200 response with the headers that Zoom adds.
fn ok(sim: &Sim, limit: RateLimit, body: Object) -> Response {
    let mut response = Json(body).into_response();
    limit.describe(response.headers_mut(), false, 29);
    let name = HeaderName::from_static("x-zm-trackingid");
    set_header(&mut response, name, sim.trace_ids.tracking());
    response
}

/// A recording with those of its files for which `is_shown` holds.
fn recording_json(
    sim: &Sim,
    urls: &mut Urls,
    recording: &Recording,
    is_shown: impl Fn(&RecordingFile) -> bool,
) -> Object {
    // Zoom leaves summaries out of count and size.
    let all = recording.all_files().filter(|it| is_shown(it) && it.file_type != "SUMMARY");
    let (count, size) =
        all.fold((0, 0), |(count, size), file| (count + 1, size + file.declared_size));
    let files: Vec<_> = recording
        .files
        .iter()
        .filter(|file| is_shown(file))
        .map(|file| {
            let url = urls.for_rest(&sim.base, &sim.ids, recording, file);
            let deleted_time = match file.presence {
                Presence::Trashed(at) => Some(iso(at)),
                Presence::Present | Presence::Deleted => None,
            };
            recording.file_json(file, &url).put("deleted_time", deleted_time)
        })
        .collect();
    object! {
        "uuid": recording.uuid, "id": recording.meeting_id, "account_id": recording.account_id,
        "host_id": recording.host_id, "host_email": recording.host_email, "topic": recording.topic,
        "type": 2, "start_time": iso(recording.start_time), "timezone": recording.timezone,
        "duration": recording.duration_minutes, "total_size": size, "recording_count": count,
        "share_url": recording.share_url(), "recording_play_passcode": recording.passcode(),
        "recording_files": files,
    }
}
