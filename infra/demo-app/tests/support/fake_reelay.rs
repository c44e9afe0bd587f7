//! Reelay's contract, played from memory: it checks every token as the contract says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::APP_SECRET;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    pub(crate) return_to: Option<String>,
    pub(crate) jti: Option<String>,
}

/// Verifies a token by the contract's section 2.
pub(crate) fn verify(token: &str, audience: &str) -> Option<Claims> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["aud", "exp", "sub"]);
    let key = DecodingKey::from_secret(APP_SECRET.as_bytes());
    let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation).ok()?;
    let claims = claims.claims;
    (claims.exp - claims.iat <= 900).then_some(claims)
}

#[derive(Default)]
pub(crate) struct World {
    /// Of each user.
    pub(crate) links: BTreeMap<String, Vec<Value>>,
    /// Of each user, newest first.
    pub(crate) recordings: BTreeMap<String, Vec<Value>>,
    /// For whom each claim was made; a wrong user burns it.
    pub(crate) claims: BTreeMap<String, String>,
    /// `METHOD path sub body` of every call.
    pub(crate) calls: Vec<String>,
    /// Every token that was accepted.
    pub(crate) tokens: Vec<Claims>,
    /// What presigned addresses lead to.
    pub(crate) objects: BTreeMap<String, (&'static str, Vec<u8>)>,
    /// Whether it is down.
    pub(crate) down: bool,
}

#[derive(Clone)]
pub(crate) struct FakeReelay {
    pub(crate) url: Url,
    world: Arc<Mutex<World>>,
}

impl FakeReelay {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let fake = Self {
            url: format!("http://{address}/stage/").parse().expect("a URL"),
            world: Arc::default(),
        };
        let router = Router::new()
            .route("/stage/zoom/connect", get(connect))
            .route("/stage/v1/links/confirm", post(confirm))
            .route("/stage/v1/links", get(links))
            .route("/stage/v1/links/{link_id}", delete(remove))
            .route("/stage/v1/recordings", get(recordings))
            .route("/stage/v1/recordings/{recording_id}", get(one_recording))
            .route("/stage/v1/recordings/{recording_id}/download", post(accept))
            .route("/stage/v1/backfill", post(accept))
            .route("/bucket/{key}", get(object))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no panic")
    }

    /// The address of an object in the fake's bucket.
    pub(crate) fn presigned(&self, key: &str) -> String {
        let url = self.url.join("/bucket/").and_then(|url| url.join(key));
        url.expect("a key").to_string()
    }
}

pub(crate) fn link(id: &str, status: &str, name: &str) -> Value {
    json!({
        "id": id, "status": status,
        "zoom": {"account_id": "acc", "user_id": "zoom-user", "display_name": name},
        "created_at": "2026-01-01T10:02:03Z", "activated_at": "2026-01-01T10:02:09Z",
    })
}

pub(crate) fn recording(id: &str, topic: &str, status: &str, size: u64, stored: u64) -> Value {
    json!({
        "id": id, "zoom": {"account_id": "acc", "user_id": "zoom-user"},
        "meeting_uuid": "uuid==", "meeting_id": 85_746_065_432_u64, "topic": topic,
        "start_time": "2026-01-01T10:02:03Z", "duration_minutes": 45, "status": status,
        "zoom_state": "present", "size": size, "bytes_stored": stored, "files": [],
    })
}

pub(crate) fn file(
    id: &str,
    kind: &str,
    view: &str,
    status: &str,
    size: u64,
    stored: u64,
) -> Value {
    json!({
        "id": id, "file_type": kind, "recording_type": view, "extension": kind, "size": size,
        "bytes_stored": stored, "status": status,
    })
}

fn problem(status: StatusCode, code: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(),
        "detail": "from the fake", "code": code,
    });
    let kind = [(CONTENT_TYPE, "application/problem+json")];
    (status, kind, body.to_string()).into_response()
}

/// The user whom a good API token names.
struct Caller(String);

impl FromRequestParts<FakeReelay> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, fake: &FakeReelay) -> Result<Self, Response> {
        if fake.world().down {
            return Err(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
        let header = parts.headers.get(AUTHORIZATION);
        let header = header.and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer "));
        let token = token.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "token_missing"))?;
        let claims = verify(token, "reelay:api")
            .ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "token_invalid"))?;
        fake.world().tokens.push(claims.clone());
        Ok(Self(claims.sub))
    }
}

impl FakeReelay {
    fn note(&self, method: &Method, uri: &Uri, user: &str, body: &str) {
        let path = uri.path().trim_start_matches("/stage");
        let call = format!("{method} {path} {user} {body}");
        self.world().calls.push(call.trim_end().to_owned());
    }
}

async fn connect(
    State(fake): State<FakeReelay>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let token = query
        .get("token")
        .and_then(|token| verify(token, "reelay:connect"));
    let Some(claims) = token else {
        let header = [("x-reelay-error", "connect_token_invalid")];
        return (StatusCode::BAD_REQUEST, header, "bad token").into_response();
    };
    // Zoom's consent is skipped: the user is back at once.
    let claim = format!("claim-{}", fake.world().claims.len());
    let mut back: Url = match claims.return_to.as_deref().map(str::parse) {
        Some(Ok(url)) => url,
        _ => return problem(StatusCode::BAD_REQUEST, "return_to_not_allowed"),
    };
    back.query_pairs_mut().append_pair("zoom_link", &claim);
    fake.world().claims.insert(claim, claims.sub.clone());
    fake.world().tokens.push(claims);
    Redirect::to(back.as_str()).into_response()
}

async fn confirm(
    State(fake): State<FakeReelay>,
    Caller(user): Caller,
    Json(body): Json<Value>,
) -> Response {
    let claim = body["claim"].as_str().unwrap_or_default().to_owned();
    let owner = fake.world().claims.get(&claim).cloned();
    match owner {
        None => problem(StatusCode::GONE, "claim_expired"),
        Some(owner) if owner != user => {
            fake.world().claims.remove(&claim);
            problem(StatusCode::FORBIDDEN, "claim_belongs_to_another_user")
        }
        Some(_) => {
            let link = link(&format!("link-{claim}"), "active", "Zoe <Zoom>");
            let mut world = fake.world();
            world.links.entry(user).or_default().push(link.clone());
            Json(link).into_response()
        }
    }
}

async fn links(State(fake): State<FakeReelay>, Caller(user): Caller) -> Json<Value> {
    Json(json!({ "links": fake.world().links.get(&user).cloned().unwrap_or_default() }))
}

async fn remove(
    State(fake): State<FakeReelay>,
    Caller(user): Caller,
    Path(link_id): Path<String>,
    method: Method,
    uri: Uri,
) -> StatusCode {
    fake.note(&method, &uri, &user, "");
    let mut world = fake.world();
    if let Some(links) = world.links.get_mut(&user) {
        links.retain(|link| link["id"] != json!(link_id));
    }
    StatusCode::NO_CONTENT
}

#[derive(Deserialize)]
struct Paging {
    limit: usize,
    cursor: Option<String>,
}

async fn recordings(
    State(fake): State<FakeReelay>,
    Caller(user): Caller,
    Query(Paging { limit, cursor }): Query<Paging>,
) -> Response {
    let all = fake
        .world()
        .recordings
        .get(&user)
        .cloned()
        .unwrap_or_default();
    let start = match cursor
        .as_deref()
        .map(|cursor| cursor.strip_prefix(&format!("{user}+&")))
    {
        None => 0,
        Some(Some(position)) => position.parse().unwrap_or(0),
        Some(None) => return problem(StatusCode::BAD_REQUEST, "cursor_invalid"),
    };
    let end = (start + limit).min(all.len());
    let next = (end < all.len()).then(|| format!("{user}+&{end}"));
    Json(json!({ "recordings": all[start..end], "next_cursor": next })).into_response()
}

async fn one_recording(
    State(fake): State<FakeReelay>,
    Caller(user): Caller,
    Path(recording_id): Path<String>,
) -> Response {
    let all = fake
        .world()
        .recordings
        .get(&user)
        .cloned()
        .unwrap_or_default();
    let found = all.into_iter().find(|r| r["id"] == json!(recording_id));
    let Some(mut found) = found else {
        return problem(StatusCode::NOT_FOUND, "recording_not_found");
    };
    for file in found["files"].as_array_mut().into_iter().flatten() {
        if file["status"] == "stored" {
            let key = file["id"].as_str().unwrap_or_default().to_owned();
            file["url"] = json!(fake.presigned(&key));
            file["url_expires_at"] = json!("2099-01-01T00:00:00Z");
        }
    }
    Json(found).into_response()
}

async fn accept(
    State(fake): State<FakeReelay>,
    Caller(user): Caller,
    method: Method,
    uri: Uri,
    body: String,
) -> Response {
    fake.note(&method, &uri, &user, &body);
    (StatusCode::ACCEPTED, Json(json!({"status": "accepted"}))).into_response()
}

async fn object(State(fake): State<FakeReelay>, Path(key): Path<String>) -> Response {
    match fake.world().objects.get(&key).cloned() {
        Some((kind, bytes)) => ([(CONTENT_TYPE, kind)], bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
