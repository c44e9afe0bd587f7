//! `GET /v2/meetings/{uuid}/recordings`.

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::{Category, api_error, caller, ok, recording_json};
use crate::conn::Conn;
use crate::faults::Point;
use crate::guard::guarded;
use crate::lock;
use crate::oauth::{Params, param};
use crate::recordings::RecordingFile;
use crate::sim::{Shared, Sim};
use crate::tokens::{DownloadToken, Meeting};
use crate::users::User;

/// The files of one meeting. The path is read raw, for a router decodes it once and so hides whether a
/// UUID was encoded twice.
pub(crate) async fn files(
    State(sim): State<Shared>,
    ConnectInfo(conn): ConnectInfo<Conn>,
    uri: Uri,
    Query(params): Query<Params>,
    headers: HeaderMap,
) -> Response {
    let raw = uri
        .path()
        .strip_prefix("/v2/meetings/")
        .and_then(|rest| rest.strip_suffix("/recordings"))
        .unwrap_or_default();
    let name = meant(raw);
    let subject = super::me::subject(&sim, &headers);
    let subjects = [subject.as_str(), name.as_deref().unwrap_or_default()];
    let scopes = [
        "cloud_recording:read:list_recording_files",
        "recording:read",
    ];
    guarded(
        &sim,
        &conn,
        Point::MeetingRecordings,
        &subjects,
        |_| match caller(&sim, &headers, scopes) {
            Ok(user) => answer(&sim, &user, name.as_deref(), &params),
            Err(refusal) => *refusal,
        },
    )
    .await
}

/// The UUID or number that a path segment means; `None` for a UUID that had to be encoded twice and was
/// encoded once: behind Zoom's gateway its slashes have become part of the path.
fn meant(raw: &str) -> Option<String> {
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .ok()
    };
    let once = decode(raw)?;
    let twice = decode(&once)?;
    let needs_two = twice.starts_with('/') || twice.contains("//");
    (!needs_two || once != twice).then_some(twice)
}

fn answer(sim: &Sim, user: &User, name: Option<&str>, params: &Params) -> Response {
    let Some(name) = name else {
        return api_error(StatusCode::NOT_FOUND, 3001, "Meeting does not exist.");
    };
    let mut world = lock(&sim.world);
    let world = &mut *world;
    let place = world.place(name).filter(|place| {
        let recording = &world.recordings[*place];
        // The handles of the control API are unknown to Zoom's.
        recording.host_id == user.id && recording.key != name
    });
    let Some(recording) = place.map(|place| &world.recordings[place]) else {
        return api_error(
            StatusCode::NOT_FOUND,
            3301,
            "This recording does not exist.",
        );
    };
    if recording.processing {
        return api_error(
            StatusCode::NOT_FOUND,
            3301,
            "The recording is still being processed.",
        );
    }
    if !recording.all_files().any(RecordingFile::is_present) {
        return api_error(
            StatusCode::NOT_FOUND,
            3301,
            "This recording does not exist.",
        );
    }
    let mut body = recording_json(
        &mut world.urls,
        &sim.base,
        &sim.ids,
        recording,
        RecordingFile::is_present,
    );
    let audio: Vec<_> = recording
        .participant_audio
        .iter()
        .filter(|file| file.is_present())
        .collect();
    if !audio.is_empty() {
        let list = audio
            .into_iter()
            .map(|file| {
                let url = world.urls.for_rest(&sim.base, &sim.ids, recording, file);
                recording.participant_json(file, url)
            })
            .collect();
        body = body.list("participant_audio_files", list);
    }
    body = body.put("password", recording.password());
    let asked = param(params, "include_fields").is_some_and(|fields| {
        fields
            .split(',')
            .any(|field| field == "download_access_token")
    });
    if asked {
        let ttl = param(params, "ttl")
            .and_then(|ttl| ttl.parse().ok())
            .unwrap_or(3600_i64)
            .clamp(0, 604_800);
        let meeting = Meeting {
            account_id: &recording.account_id,
            user_id: &recording.host_id,
            uuid: &recording.uuid,
        };
        body = body.put(
            "download_access_token",
            sim.signer
                .download(DownloadToken::Rest, meeting, sim.clock.now(), ttl),
        );
    }
    ok(sim, Category::Light, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        let same = |raw: &str, uuid: &str| assert_eq!(meant(raw).as_deref(), Some(uuid), "{raw}");
        same(
            "%252FajSynthUUID1234567890%253D%253D",
            "/ajSynthUUID1234567890==",
        );
        same(
            "ab%252F%252FcdSynthUUID12345678%253D%253D",
            "ab//cdSynthUUID12345678==",
        );
        same(
            "Ab%2Fcd%2BSynthUUID1234567%3D%3D",
            "Ab/cd+SynthUUID1234567==",
        );
        same(
            "Ab%252Fcd%252BSynthUUID1234567%253D%253D",
            "Ab/cd+SynthUUID1234567==",
        );
        same("81234567890", "81234567890");
        assert_eq!(meant("%2FajSynthUUID1234567890%3D%3D"), None);
        assert_eq!(meant("ab%2F%2FcdSynthUUID12345678%3D%3D"), None);
    }
}
