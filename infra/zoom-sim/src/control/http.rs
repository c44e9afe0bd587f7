//! The control API below `/_sim/`. Bodies are JSON; errors are `{"error": "…"}`.

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::uri::Authority;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Control, ControlError, RawEvent, Selection};
use crate::config::Config;
use crate::deliveries::Target;
use crate::events::RecordingChange;
use crate::faults::NewFault;
use crate::pages;
use crate::recordings::{NewFile, NewRecording};

/// Large enough for recordings with thousands of files.
const MAX_BODY: usize = 64 << 20;
/// Entries of each list on the control page.
const MAX_SHOWN: usize = 60;

impl IntoResponse for ControlError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::UnknownUser(_)
            | Self::UnknownRecording(_)
            | Self::UnknownFile(_)
            | Self::UnknownDelivery(_) => StatusCode::NOT_FOUND,
            Self::Exists(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

type Reply = Result<Json<Value>, ControlError>;

fn reply(value: impl Serialize) -> Reply {
    let value = serde_json::to_value(value);
    value.map(Json).map_err(|error| ControlError::Invalid(error.to_string()))
}

fn delivery(id: u64) -> Reply {
    reply(json!({ "delivery": id }))
}

pub(crate) fn router(control: Control) -> Router {
    Router::new()
        .route("/", get(async || pages::page(StatusCode::OK, &pages::control())))
        .route("/_sim/overview", get(overview))
        .route("/_sim/settings", patch(change_settings))
        .route("/_sim/clock", post(move_clock))
        .route("/_sim/history", delete(forget))
        .route("/_sim/users/{id}/deauthorize", post(deauthorize))
        .route("/_sim/users/{id}/remove", post(remove_user))
        .route("/_sim/grants", get(grants).post(authorize))
        .route("/_sim/recordings", post(create_recording))
        .route("/_sim/recordings/{name}", get(recording))
        .route("/_sim/recordings/{name}/complete", post(complete))
        .route("/_sim/recordings/{name}/transcript", post(transcript))
        .route("/_sim/recordings/{name}/rename", post(rename))
        .route("/_sim/recordings/{name}/{change}", post(change_recording))
        .route("/_sim/batch", post(change_recordings))
        .route("/_sim/files/{id}", get(file))
        .route("/_sim/deliveries", get(deliveries))
        .route("/_sim/deliveries/{id}", get(one_delivery))
        .route("/_sim/deliveries/{id}/duplicate", post(duplicate))
        .route("/_sim/events", post(send_raw))
        .route("/_sim/validate", post(validate))
        .route("/_sim/faults", get(faults).post(arm).delete(clear_faults))
        .route("/_sim/faults/{id}", delete(clear_fault))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn(require_local_host))
        .with_state(control)
}

/// Rejects other host names, so that no web page reaches the API by a name that resolves to loopback.
async fn require_local_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let authority = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let name = authority.as_ref().map_or("", Authority::host);
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        return next.run(request).await;
    }
    let error = json!({ "error": "only 127.0.0.1, localhost and [::1] are allowed as Host" });
    (StatusCode::MISDIRECTED_REQUEST, Json(error)).into_response()
}

async fn overview(State(control): State<Control>) -> Reply {
    let config = control.settings();
    let grants = control.grants();
    let users = control.users().into_iter().map(|user| {
        let grant = grants.iter().rev().find(|grant| grant.user_id == user.id);
        let state = grant.map(|grant| grant.end_reason.map_or(json!("live"), |reason| json!(reason)));
        json!({ "id": user.id, "name": user.display_name(), "email": user.email, "account_id": user.account_id,
                "account_name": user.account_name, "removed": user.removed, "grant": state })
    });
    let recordings = control.recordings().into_iter().rev().take(MAX_SHOWN);
    let recordings = recordings.map(|recording| {
        let present = recording.all_files().filter(|file| file.is_present()).count();
        let size: u64 = recording.all_files().map(|file| file.declared_size).sum();
        json!({ "key": recording.key, "uuid": recording.uuid, "topic": recording.topic, "host_id": recording.host_id,
                "start_time": recording.start_time, "files": recording.all_files().count(), "present": present,
                "size": size, "processing": recording.processing })
    });
    let deliveries = control.sim.deliveries.recent(MAX_SHOWN).into_iter().map(|delivery| {
        json!({ "id": delivery.id, "event": delivery.event, "state": delivery.state, "attempts": delivery.attempts })
    });
    reply(json!({
        "now": control.clock().now(), "offset_seconds": control.clock().offset().as_secs(), "client_id": config.client_id,
        "webhook_url": config.webhook_url, "webhooks_enabled": config.webhooks_enabled, "retry_scale": config.retry_scale,
        "users": users.collect::<Vec<_>>(), "recordings": recordings.collect::<Vec<_>>(),
        "deliveries": deliveries.collect::<Vec<_>>(), "requests": control.sim.requests.recent(MAX_SHOWN),
        "faults": control.faults(),
    }))
}

async fn change_settings(
    State(control): State<Control>,
    Json(changes): Json<serde_json::Map<String, Value>>,
) -> Reply {
    let mut result = Ok(());
    control.change_settings(|config| {
        let changed = serde_json::to_value(&*config).and_then(|mut value| {
            if let Some(object) = value.as_object_mut() {
                object.extend(changes);
            }
            serde_json::from_value::<Config>(value)
        });
        result = changed.map(|changed| *config = changed);
    });
    result.map_err(|error| ControlError::Invalid(error.to_string()))?;
    reply(control.settings())
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum ClockChange {
    AdvanceSeconds(i64),
    Set(Timestamp),
}

async fn move_clock(State(control): State<Control>, Json(change): Json<ClockChange>) -> Reply {
    let clock = control.clock();
    match (control.sim.advance_clock.get(), change) {
        (None, ClockChange::AdvanceSeconds(seconds)) => control.advance(seconds),
        (None, ClockChange::Set(at)) => clock.set(at),
        (Some(advance), change) => {
            let seconds = match change {
                ClockChange::AdvanceSeconds(seconds) => seconds,
                ClockChange::Set(at) => at.duration_since(clock.now()).as_secs(),
            };
            advance(seconds).await.map_err(ControlError::Invalid)?;
        }
    }
    reply(json!({ "now": clock.now(), "offset_seconds": clock.offset().as_secs() }))
}

async fn forget(State(control): State<Control>) -> Reply {
    control.forget();
    reply(json!({}))
}

async fn deauthorize(State(control): State<Control>, Path(id): Path<String>) -> Reply {
    delivery(control.deauthorize(&id)?)
}

async fn remove_user(State(control): State<Control>, Path(id): Path<String>) -> Reply {
    control.remove_user(&id)?;
    reply(json!({}))
}

async fn grants(State(control): State<Control>) -> Reply {
    reply(json!({ "grants": control.grants() }))
}

#[derive(Deserialize)]
struct Authorize {
    user_id: String,
}

async fn authorize(State(control): State<Control>, Json(body): Json<Authorize>) -> Reply {
    reply(control.authorize(&body.user_id)?)
}

async fn create_recording(State(control): State<Control>, Json(new): Json<NewRecording>) -> Reply {
    reply(control.create_recording(new)?)
}

async fn recording(State(control): State<Control>, Path(name): Path<String>) -> Reply {
    let recording = control.recording(&name);
    reply(recording.ok_or(ControlError::UnknownRecording(name))?)
}

async fn complete(State(control): State<Control>, Path(name): Path<String>) -> Reply {
    delivery(control.complete(&name)?)
}

async fn transcript(
    State(control): State<Control>,
    Path(name): Path<String>,
    file: Option<Json<NewFile>>,
) -> Reply {
    reply(control.add_transcript(&name, file.map(|Json(file)| file))?)
}

#[derive(Deserialize)]
struct Rename {
    topic: String,
}

async fn rename(
    State(control): State<Control>,
    Path(name): Path<String>,
    Json(body): Json<Rename>,
) -> Reply {
    reply(control.rename(&name, &body.topic, &Selection::default())?)
}

async fn change_recording(
    State(control): State<Control>,
    Path((name, change)): Path<(String, RecordingChange)>,
    selection: Option<Json<Selection>>,
) -> Reply {
    reply(control.change_recording(&name, change, &selection.unwrap_or_default())?)
}

#[derive(Deserialize)]
struct Batch {
    recordings: Vec<String>,
    change: RecordingChange,
}

async fn change_recordings(State(control): State<Control>, Json(batch): Json<Batch>) -> Reply {
    delivery(control.change_recordings(&batch.recordings, batch.change)?)
}

async fn file(State(control): State<Control>, Path(id): Path<String>) -> Reply {
    // The checksum of a large file must not block this thread.
    let wanted = id.clone();
    let view = tokio::task::spawn_blocking(move || control.file_view(&wanted)).await;
    reply(view.ok().flatten().ok_or(ControlError::UnknownFile(id))?)
}

#[derive(Deserialize)]
struct DeliveriesQuery {
    /// Wait until all deliveries are settled.
    #[serde(default)]
    settled: bool,
}

async fn deliveries(State(control): State<Control>, Query(query): Query<DeliveriesQuery>) -> Reply {
    if query.settled {
        tokio::select! {
            () = control.wait_until_settled() => {}
            () = control.sim.stopped() => {}
        }
    }
    reply(json!({ "deliveries": control.deliveries() }))
}

#[derive(Deserialize)]
struct DeliveryQuery {
    /// Wait until this many attempts are complete.
    #[serde(default)]
    attempts: usize,
}

async fn one_delivery(
    State(control): State<Control>,
    Path(id): Path<u64>,
    Query(query): Query<DeliveryQuery>,
) -> Reply {
    tokio::select! {
        _ = control.wait_for_attempts(id, query.attempts) => {}
        () = control.sim.stopped() => {}
    }
    let delivery = control.delivery(id);
    reply(delivery.ok_or(ControlError::UnknownDelivery(id))?)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Duplicate {
    new_request_id: bool,
}

async fn duplicate(
    State(control): State<Control>,
    Path(id): Path<u64>,
    body: Option<Json<Duplicate>>,
) -> Reply {
    let body = body.unwrap_or_default();
    delivery(control.duplicate(id, !body.new_request_id)?)
}

async fn send_raw(State(control): State<Control>, Json(event): Json<RawEvent>) -> Reply {
    delivery(control.send_raw(event))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Validate {
    target: Target,
}

async fn validate(State(control): State<Control>, body: Option<Json<Validate>>) -> Reply {
    reply(control.validate(body.unwrap_or_default().target).await)
}

async fn faults(State(control): State<Control>) -> Reply {
    reply(json!({ "faults": control.faults() }))
}

async fn arm(State(control): State<Control>, Json(fault): Json<NewFault>) -> Reply {
    reply(json!({ "id": control.arm(fault)? }))
}

async fn clear_faults(State(control): State<Control>) -> Reply {
    control.clear_faults(None);
    reply(json!({}))
}

async fn clear_fault(State(control): State<Control>, Path(id): Path<u64>) -> Reply {
    control.clear_faults(Some(id));
    reply(json!({}))
}
