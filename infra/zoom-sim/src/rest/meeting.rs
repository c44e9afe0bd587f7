//! `GET` and `DELETE /v2/meetings/{uuid}/recordings`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;

use super::{authorize, ok, recording_json, user_id};
use crate::call::Call;
use crate::control::{Control, Selection};
use crate::events::RecordingChange;
use crate::faults::Point;
use crate::recordings::RecordingFile;
use crate::responses::{ApiError, RateLimit};
use crate::sync::lock;
use crate::tokens::DownloadToken;

const SCOPES: [&str; 2] = ["cloud_recording:read:list_recording_files", "recording:read"];
const DELETE_SCOPES: [&str; 2] = ["cloud_recording:delete:meeting_recording", "recording:write"];

/// Returns the files of one meeting.
pub(crate) async fn files(call: Call) -> Response {
    // The raw path, because a router decodes it and so hides whether a UUID was encoded twice.
    let name = decode(call.segment(2));
    let user = user_id(&call);
    let subjects = [user.as_str(), name.as_deref().unwrap_or_default()];
    let handler = |_| meeting(&call, name.as_deref()).into_response();
    call.respond(Point::MeetingRecordings, &subjects, "", handler).await
}

/// Moves all files of one meeting to the trash. Reelay never deletes, so nothing else is offered.
pub(crate) async fn trash(call: Call) -> Response {
    let name = decode(call.segment(2));
    let user = user_id(&call);
    let subjects = [user.as_str(), name.as_deref().unwrap_or_default()];
    let handler = |_| move_to_trash(&call, name.as_deref()).into_response();
    call.respond(Point::TrashRecording, &subjects, "", handler).await
}

fn move_to_trash(call: &Call, name: Option<&str>) -> Result<Response, ApiError> {
    let user = authorize(call, DELETE_SCOPES)?;
    let name = name.ok_or_else(ApiError::no_recording)?;
    if call.param("action").is_some_and(|action| action != "trash") {
        let message = "The simulator only moves recordings to the trash.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, 300, message));
    }
    {
        let world = lock(&call.sim.world);
        let recording = world.recording(name).filter(|recording| recording.host_id == user.id);
        let recording = recording.ok_or_else(ApiError::no_recording)?;
        if !recording.all_files().any(RecordingFile::is_present) {
            return Err(ApiError::no_recording());
        }
    }
    let control = Control::new(&call.sim);
    let trashed = control.change_recording(name, RecordingChange::Trash, &Selection::default());
    trashed.map_err(|_| ApiError::no_recording())?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The UUID or number in a path segment. `None` for a UUID that must be encoded twice and is encoded
/// once: its slashes are part of the path behind Zoom's gateway.
fn decode(segment: &str) -> Option<String> {
    let once = percent_decode_str(segment).decode_utf8().ok()?;
    let twice = percent_decode_str(&once).decode_utf8().ok()?;
    let needs_two = twice.starts_with('/') || twice.contains("//");
    (!needs_two || once != twice).then(|| twice.to_string())
}

fn meeting(call: &Call, name: Option<&str>) -> Result<Response, ApiError> {
    let user = authorize(call, SCOPES)?;
    let not_found = |code, message: &str| ApiError::new(StatusCode::NOT_FOUND, code, message);
    let name = name.ok_or_else(|| not_found(3001, "Meeting does not exist."))?;
    let sim = &call.sim;
    let mut world = lock(&sim.world);
    let world = &mut *world;
    let index = world.recording_index(name).ok_or_else(ApiError::no_recording)?;
    let recording = &world.recordings[index];
    // Keys belong to the control API; Zoom does not know them.
    if recording.host_id != user.id || recording.key == name {
        return Err(ApiError::no_recording());
    }
    if recording.processing {
        return Err(not_found(3301, "The recording is still being processed."));
    }
    if !recording.all_files().any(RecordingFile::is_present) {
        return Err(ApiError::no_recording());
    }
    let body = recording_json(sim, &mut world.urls, recording, RecordingFile::is_present);
    let audio = recording.participant_audio.iter().filter(|file| file.is_present());
    let audio: Vec<_> = audio
        .map(|file| {
            let url = world.urls.for_rest(&sim.base, &sim.ids, recording, file);
            recording.participant_json(file, &url)
        })
        .collect();
    let includes_token = call
        .param("include_fields")
        .is_some_and(|fields| fields.split(',').any(|field| field == "download_access_token"));
    let token = includes_token.then(|| {
        let ttl = call.param("ttl").and_then(|ttl| ttl.parse().ok());
        let seconds = ttl.unwrap_or(3600_i64).clamp(0, 604_800);
        let now = sim.clock.now();
        sim.signer.download(DownloadToken::Rest, recording, now, seconds)
    });
    let body = body
        .put("participant_audio_files", (!audio.is_empty()).then_some(audio))
        .put("password", recording.password())
        .put("download_access_token", token);
    Ok(ok(sim, RateLimit::Light, body))
}
