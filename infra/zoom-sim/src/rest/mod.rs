//! The REST API below `/v2`.

pub(crate) mod list;
pub(crate) mod me;
pub(crate) mod meeting;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::ids::Ids;
use crate::lock;
use crate::ordered::Object;
use crate::recordings::{FileStyle, Recording, RecordingFile};
use crate::sim::Sim;
use crate::users::User;
use crate::world::Urls;

/// Zoom's rate limit categories, as far as they are met here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Category {
    Light,
    Medium,
}

impl Category {
    /// Writes the headers that tell how much is left.
    pub(crate) fn describe(self, headers: &mut HeaderMap, daily: bool, remaining: u32) {
        let (category, limit) = match self {
            Self::Light => ("Light", "30"),
            Self::Medium => ("Medium", "20"),
        };
        let mut put = |name: &'static str, value: &'static str| {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        };
        put("x-ratelimit-category", category);
        put(
            "x-ratelimit-type",
            if daily { "Daily-limit" } else { "QPS" },
        );
        put("x-ratelimit-limit", limit);
        headers.insert(
            HeaderName::from_static("x-ratelimit-remaining"),
            remaining.into(),
        );
    }
}

/// An error of the API.
pub(crate) fn api_error(status: StatusCode, code: i32, message: &str) -> Response {
    (
        status,
        Json(Object::new().put("code", code).put("message", message)),
    )
        .into_response()
}

/// The user behind the request's access token, if it has one of these scopes.
fn caller(sim: &Sim, headers: &HeaderMap, scopes: [&str; 2]) -> Result<User, Box<Response>> {
    let refuse = |response: Response| Err(Box::new(response));
    let token = bearer(headers).unwrap_or_default();
    let world = lock(&sim.world);
    let Some(grant) = world.grants.by_access(token, sim.clock.now()) else {
        return refuse(api_error(
            StatusCode::UNAUTHORIZED,
            124,
            "Invalid access token.",
        ));
    };
    if !grant
        .scopes
        .iter()
        .any(|scope| scopes.contains(&scope.as_str()))
    {
        let message = format!(
            "Invalid access token, does not contain scopes:[{}].",
            scopes.join(", ")
        );
        return refuse(api_error(StatusCode::BAD_REQUEST, 4711, &message));
    }
    match world.user(&grant.user_id) {
        Some(user) if !user.removed => Ok(user.clone()),
        _ => refuse(api_error(
            StatusCode::NOT_FOUND,
            1001,
            "User does not exist.",
        )),
    }
}

/// The token of `Authorization: Bearer`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// A good answer with the headers that Zoom adds.
fn ok(sim: &Sim, category: Category, body: &Object) -> Response {
    let mut response = Json(body).into_response();
    category.describe(response.headers_mut(), false, 29);
    if let Ok(id) =
        HeaderValue::try_from(format!("v=2.0;clid=us06;rid=WEB_{}", sim.noise.hex::<16>()))
    {
        response
            .headers_mut()
            .insert(HeaderName::from_static("x-zm-trackingid"), id);
    }
    response
}

/// A recording as REST shows it, with the files that `show` picks.
fn recording_json(
    urls: &mut Urls,
    base: &str,
    ids: &Ids,
    recording: &Recording,
    show: impl Fn(&RecordingFile) -> bool,
) -> Object {
    let shown: Vec<_> = recording.files.iter().filter(|file| show(file)).collect();
    let size: u64 = recording
        .all_files()
        .filter(|file| show(file))
        .map(|file| file.declared_size)
        .sum();
    let audio = recording
        .participant_audio
        .iter()
        .filter(|file| show(file))
        .count();
    let files = shown
        .iter()
        .map(|file| {
            let url = urls.for_rest(base, ids, recording, file);
            let object = recording.file_json(file, FileStyle::Full, url);
            match file.presence {
                crate::recordings::Presence::Trashed(at) => {
                    object.put("deleted_time", crate::clock::iso(at))
                }
                _ => object,
            }
        })
        .collect();
    Object::new()
        .put("uuid", &recording.uuid)
        .put("id", recording.meeting_id)
        .put("account_id", &recording.account_id)
        .put("host_id", &recording.host_id)
        .put("host_email", &recording.host_email)
        .put("topic", &recording.topic)
        .put("type", recording.kind)
        .put("start_time", crate::clock::iso(recording.start_time))
        .put("timezone", &recording.timezone)
        .put("duration", recording.duration_minutes)
        .put("total_size", size)
        .put("recording_count", shown.len() + audio)
        .put("share_url", recording.share_url())
        .put("recording_play_passcode", recording.passcode())
        .list("recording_files", files)
}
