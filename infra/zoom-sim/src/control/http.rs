//! `/_sim/`: the control API over HTTP. JSON in, JSON out; errors are `{"error": "…"}`.

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{ControlError, RawEvent, Selection, of};
use crate::config::Config;
use crate::delivery::Target;
use crate::events::{Disposal, Progress, UserChange};
use crate::faults::NewFault;
use crate::pages;
use crate::recordings::{NewFile, NewRecording};
use crate::sim::Shared;
use crate::users::NewUser;

/// Recordings with thousands of files are described in one body.
const BODY_LIMIT: usize = 64 << 20;

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

type Answer = Result<Json<Value>, ControlError>;

fn answer(value: impl Serialize) -> Answer {
    serde_json::to_value(value)
        .map(Json)
        .map_err(|error| ControlError::Invalid(error.to_string()))
}

fn delivery(id: u64) -> Answer {
    answer(json!({ "delivery": id }))
}

pub(crate) fn router() -> Router<Shared> {
    Router::new()
        .route(
            "/",
            get(|| async { pages::page(StatusCode::OK, &pages::control()) }),
        )
        .route("/_sim/overview", get(overview))
        .route("/_sim/settings", get(settings).patch(change_settings))
        .route("/_sim/clock", get(clock).post(move_clock))
        .route("/_sim/users", get(users).post(create_user))
        .route("/_sim/users/{id}/scopes", post(set_scopes))
        .route("/_sim/users/{id}/deauthorize", post(deauthorize))
        .route("/_sim/users/{id}/remove", post(remove_user))
        .route("/_sim/users/{id}/account", post(move_user))
        .route("/_sim/users/{id}/event", post(user_event))
        .route("/_sim/grants", get(grants).post(authorize))
        .route("/_sim/recordings", get(recordings).post(create_recording))
        .route("/_sim/recordings/{name}", get(recording))
        .route("/_sim/recordings/{name}/complete", post(complete))
        .route("/_sim/recordings/{name}/twin", post(complete))
        .route("/_sim/recordings/{name}/progress", post(progress))
        .route("/_sim/recordings/{name}/transcript", post(transcript))
        .route("/_sim/recordings/{name}/rename", post(rename))
        .route(
            "/_sim/recordings/{name}/download_token",
            post(download_token),
        )
        .route("/_sim/recordings/{name}/{disposal}", post(dispose))
        .route("/_sim/batch", post(batch))
        .route("/_sim/files/{id}", get(file))
        .route("/_sim/files/{id}/replace", post(replace_file))
        .route("/_sim/deliveries", get(deliveries))
        .route("/_sim/deliveries/{id}", get(one_delivery))
        .route("/_sim/deliveries/{id}/duplicate", post(duplicate))
        .route("/_sim/events", post(raw_event))
        .route("/_sim/validate", post(validate))
        .route("/_sim/faults", get(faults).post(arm).delete(clear_faults))
        .route("/_sim/faults/{id}", delete(clear_fault))
        .route("/_sim/requests", get(requests).delete(clear_requests))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(only_local_names))
}

/// Whoever lures a browser to a name of theirs that resolves to this machine is refused here.
async fn only_local_names(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| {
        if port.bytes().all(|byte| byte.is_ascii_digit()) {
            name
        } else {
            host
        }
    });
    if matches!(name, "127.0.0.1" | "localhost" | "[::1]") {
        next.run(request).await
    } else {
        (
            StatusCode::MISDIRECTED_REQUEST,
            Json(json!({ "error": "this is for 127.0.0.1 and localhost only" })),
        )
            .into_response()
    }
}

async fn overview(State(sim): State<Shared>) -> Answer {
    const SHOWN: usize = 60;
    let control = of(&sim);
    let config = control.settings();
    let grants = control.grants();
    let users: Vec<Value> = control
        .users()
        .into_iter()
        .map(|user| {
            let grant = grants.iter().rev().find(|grant| grant.user_id == user.id);
            let state = grant.map_or(json!(null), |grant| grant.death.map_or(json!("live"), |death| json!(death)));
            json!({ "id": user.id, "name": user.display_name(), "email": user.email, "account_id": user.account_id,
                    "account_name": user.account_name, "removed": user.removed, "grant": state })
        })
        .collect();
    let recordings: Vec<Value> = control
        .recordings()
        .into_iter()
        .rev()
        .take(SHOWN)
        .map(|recording| {
            let present = recording.all_files().filter(|file| file.is_present()).count();
            let size: u64 = recording.all_files().map(|file| file.declared_size).sum();
            json!({ "key": recording.key, "uuid": recording.uuid, "topic": recording.topic, "host_id": recording.host_id, "start_time": recording.start_time,
                    "files": recording.all_files().count(), "present": present, "size": size, "processing": recording.processing })
        })
        .collect();
    let deliveries: Vec<Value> = sim
        .deliveries
        .recent(SHOWN)
        .into_iter()
        .map(|delivery| {
            json!({ "id": delivery.id, "event": delivery.event, "request_id": delivery.request_id, "created_at": delivery.created_at, "state": delivery.state,
                    "attempts": delivery.attempts })
        })
        .collect();
    let requests = sim.requests.recent(SHOWN);
    answer(json!({
        "now": control.clock().now(), "offset_seconds": control.clock().offset().as_secs(), "client_id": config.client_id,
        "webhook_url": config.webhook_url, "webhooks_on": config.webhooks_on, "retry_scale": config.retry_scale,
        "users": users, "recordings": recordings, "deliveries": deliveries, "requests": requests, "faults": control.faults(),
    }))
}

async fn settings(State(sim): State<Shared>) -> Answer {
    answer(sim.config())
}

async fn change_settings(
    State(sim): State<Shared>,
    Json(patch): Json<serde_json::Map<String, Value>>,
) -> Answer {
    let control = of(&sim);
    let mut outcome = Ok(());
    control.change_settings(|config| {
        let merged = serde_json::to_value(&*config).and_then(|mut value| {
            if let Some(object) = value.as_object_mut() {
                object.extend(patch);
            }
            serde_json::from_value::<Config>(value)
        });
        match merged {
            Ok(merged) => *config = merged,
            Err(error) => outcome = Err(ControlError::Invalid(error.to_string())),
        }
    });
    outcome?;
    answer(control.settings())
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Move {
    AdvanceSeconds(i64),
    Set(Timestamp),
}

async fn clock(State(sim): State<Shared>) -> Answer {
    answer(json!({ "now": sim.clock.now(), "offset_seconds": sim.clock.offset().as_secs() }))
}

async fn move_clock(state: State<Shared>, Json(to): Json<Move>) -> Answer {
    match to {
        Move::AdvanceSeconds(seconds) => of(&state).advance(seconds),
        Move::Set(at) => state.clock.set(at),
    }
    clock(state).await
}

async fn users(State(sim): State<Shared>) -> Answer {
    answer(json!({ "users": of(&sim).users() }))
}

async fn create_user(State(sim): State<Shared>, Json(new): Json<NewUser>) -> Answer {
    answer(of(&sim).create_user(new)?)
}

#[derive(Deserialize)]
struct Scopes {
    scopes: Option<Vec<String>>,
}

async fn set_scopes(
    State(sim): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<Scopes>,
) -> Answer {
    of(&sim).set_scopes(&id, body.scopes)?;
    answer(json!({}))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Deauthorize {
    /// Send the event and leave the grant alone.
    event_only: bool,
}

async fn deauthorize(
    State(sim): State<Shared>,
    Path(id): Path<String>,
    body: Option<Json<Deauthorize>>,
) -> Answer {
    let control = of(&sim);
    delivery(if body.unwrap_or_default().event_only {
        control.send_deauthorized_only(&id)?
    } else {
        control.deauthorize(&id)?
    })
}

async fn remove_user(State(sim): State<Shared>, Path(id): Path<String>) -> Answer {
    of(&sim).remove_user(&id)?;
    answer(json!({}))
}

#[derive(Deserialize)]
struct MoveUser {
    account_id: String,
}

async fn move_user(
    State(sim): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<MoveUser>,
) -> Answer {
    of(&sim).move_user(&id, &body.account_id)?;
    answer(json!({}))
}

#[derive(Deserialize)]
struct UserEvent {
    change: UserChange,
}

async fn user_event(
    State(sim): State<Shared>,
    Path(id): Path<String>,
    Json(body): Json<UserEvent>,
) -> Answer {
    delivery(of(&sim).send_user_event(&id, body.change)?)
}

async fn grants(State(sim): State<Shared>) -> Answer {
    answer(json!({ "grants": of(&sim).grants() }))
}

#[derive(Deserialize)]
struct Authorize {
    user_id: String,
}

async fn authorize(State(sim): State<Shared>, Json(body): Json<Authorize>) -> Answer {
    answer(of(&sim).authorize(&body.user_id)?)
}

async fn recordings(State(sim): State<Shared>) -> Answer {
    answer(json!({ "recordings": of(&sim).recordings() }))
}

async fn create_recording(State(sim): State<Shared>, Json(new): Json<NewRecording>) -> Answer {
    answer(of(&sim).create_recording(new)?)
}

async fn recording(State(sim): State<Shared>, Path(name): Path<String>) -> Answer {
    answer(
        of(&sim)
            .recording(&name)
            .ok_or(ControlError::UnknownRecording(name))?,
    )
}

async fn complete(State(sim): State<Shared>, Path(name): Path<String>) -> Answer {
    delivery(of(&sim).complete(&name)?)
}

#[derive(Deserialize)]
struct ProgressBody {
    progress: Progress,
}

async fn progress(
    State(sim): State<Shared>,
    Path(name): Path<String>,
    Json(body): Json<ProgressBody>,
) -> Answer {
    delivery(of(&sim).progress(&name, body.progress)?)
}

async fn transcript(
    State(sim): State<Shared>,
    Path(name): Path<String>,
    file: Option<Json<NewFile>>,
) -> Answer {
    answer(of(&sim).add_transcript(&name, file.map(|Json(file)| file))?)
}

#[derive(Deserialize)]
struct Rename {
    topic: String,
    #[serde(default)]
    operator_id: Option<String>,
}

async fn rename(
    State(sim): State<Shared>,
    Path(name): Path<String>,
    Json(body): Json<Rename>,
) -> Answer {
    let selection = Selection {
        operator_id: body.operator_id,
        ..Selection::default()
    };
    answer(of(&sim).rename(&name, &body.topic, &selection)?)
}

#[derive(Deserialize)]
struct TokenLife {
    seconds: i64,
}

async fn download_token(
    State(sim): State<Shared>,
    Path(name): Path<String>,
    Json(body): Json<TokenLife>,
) -> Answer {
    answer(json!({ "download_token": of(&sim).download_token(&name, body.seconds)? }))
}

async fn dispose(
    State(sim): State<Shared>,
    Path((name, disposal)): Path<(String, Disposal)>,
    selection: Option<Json<Selection>>,
) -> Answer {
    answer(of(&sim).dispose(&name, disposal, &selection.unwrap_or_default())?)
}

#[derive(Deserialize)]
struct Batch {
    recordings: Vec<String>,
    disposal: Disposal,
}

async fn batch(State(sim): State<Shared>, Json(body): Json<Batch>) -> Answer {
    delivery(of(&sim).dispose_batch(&body.recordings, body.disposal)?)
}

async fn file(State(sim): State<Shared>, Path(id): Path<String>) -> Answer {
    // The checksums read the whole file, which would keep this thread from everything else.
    let control = of(&sim);
    let wanted = id.clone();
    let view = tokio::task::spawn_blocking(move || control.file_view(&wanted)).await;
    answer(view.ok().flatten().ok_or(ControlError::UnknownFile(id))?)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Replace {
    size: Option<u64>,
}

async fn replace_file(
    State(sim): State<Shared>,
    Path(id): Path<String>,
    body: Option<Json<Replace>>,
) -> Answer {
    let spec = of(&sim).replace_file(&id, body.unwrap_or_default().size)?;
    answer(json!({ "etag": spec.etag(), "size": spec.size() }))
}

#[derive(Deserialize)]
struct Which {
    #[serde(default)]
    settled: bool,
}

async fn deliveries(State(sim): State<Shared>, Query(which): Query<Which>) -> Answer {
    let control = of(&sim);
    if which.settled {
        tokio::select! {
            () = control.settled() => {}
            () = sim.stopped() => {}
        }
    }
    answer(json!({ "deliveries": control.deliveries() }))
}

#[derive(Deserialize)]
struct Attempts {
    /// Wait until so many attempts have come to an end.
    #[serde(default)]
    attempts: usize,
}

async fn one_delivery(
    State(sim): State<Shared>,
    Path(id): Path<u64>,
    Query(wanted): Query<Attempts>,
) -> Answer {
    let control = of(&sim);
    tokio::select! {
        _ = control.attempted(id, wanted.attempts) => {}
        () = sim.stopped() => {}
    }
    answer(
        control
            .delivery(id)
            .ok_or(ControlError::UnknownDelivery(id))?,
    )
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Duplicate {
    new_request_id: bool,
}

async fn duplicate(
    State(sim): State<Shared>,
    Path(id): Path<u64>,
    body: Option<Json<Duplicate>>,
) -> Answer {
    delivery(of(&sim).duplicate(id, !body.unwrap_or_default().new_request_id)?)
}

async fn raw_event(State(sim): State<Shared>, Json(event): Json<RawEvent>) -> Answer {
    delivery(of(&sim).send_raw(event))
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Validate {
    target: Target,
}

async fn validate(State(sim): State<Shared>, body: Option<Json<Validate>>) -> Answer {
    answer(of(&sim).validate(body.unwrap_or_default().target).await)
}

async fn faults(State(sim): State<Shared>) -> Answer {
    answer(json!({ "faults": of(&sim).faults() }))
}

async fn arm(State(sim): State<Shared>, Json(fault): Json<NewFault>) -> Answer {
    answer(json!({ "id": of(&sim).arm(fault)? }))
}

async fn clear_faults(State(sim): State<Shared>) -> Answer {
    of(&sim).clear_faults(None);
    answer(json!({}))
}

async fn clear_fault(State(sim): State<Shared>, Path(id): Path<u64>) -> Answer {
    of(&sim).clear_faults(Some(id));
    answer(json!({}))
}

async fn requests(State(sim): State<Shared>) -> Answer {
    answer(json!({ "requests": of(&sim).requests() }))
}

async fn clear_requests(State(sim): State<Shared>) -> Answer {
    of(&sim).clear_requests();
    answer(json!({}))
}
