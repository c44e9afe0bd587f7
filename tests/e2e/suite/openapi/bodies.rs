//! Responses and notifications of a running system, compared with the schemas.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{
    ErrorForm, Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange, Selection,
};
use reqwest::Method;
use serde_json::{Value, json};
use support::app::ApiResponse;
use support::recordings::recording_id;
use support::zoom_users::ADA;
use support::{AppWebhook, System, Visit};

use super::document::{Document, Operation};

/// A system, and the responses that it has given.
struct Scene {
    system: System,
    document: Document,
    seen: BTreeMap<Operation, BTreeSet<u16>>,
}

impl Scene {
    async fn open(parameters: &[(&str, &str)]) -> Self {
        let system = System::with(parameters).await;
        Self { system, document: Document::load(), seen: BTreeMap::new() }
    }

    #[track_caller]
    fn note(&mut self, method: &str, path: &str, response: &ApiResponse) {
        let operation = (method.to_owned(), path.to_owned());
        self.document.assert_response(&operation, response);
        self.seen.entry(operation).or_default().insert(response.status);
    }

    /// Sends a request as Alice's app. `path` is as in the document; `id` and `query` complete it.
    async fn send(&mut self, route: &str, id: &str, query: &str, body: Option<Value>) -> Value {
        let token = self.system.app.api_token("alice");
        self.send_with(Some(&token), route, id, query, body).await
    }

    async fn send_with(
        &mut self,
        token: Option<&str>,
        route: &str,
        id: &str,
        query: &str,
        body: Option<Value>,
    ) -> Value {
        let (method, path) = route.split_once(' ').unwrap();
        let target = path.replace("{link_id}", id).replace("{recording_id}", id);
        let target = format!("{target}{query}");
        let sent = Method::from_bytes(method.as_bytes()).unwrap();
        let body = body.map(|body| body.to_string());
        let response = self.system.app.call_with(sent, &target, token, body).await;
        self.note(method, path, &response);
        serde_json::from_str(&response.body).unwrap_or_default()
    }

    #[track_caller]
    fn note_visit(&mut self, path: &str, visit: Visit) {
        let Visit { status, headers, body, .. } = visit;
        let content_type =
            headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let content_type = content_type.unwrap_or_default();
        self.note("GET", path, &ApiResponse { status, headers, content_type, body });
    }

    async fn post_signed(&mut self, path: &str, secret: &str) {
        let body = json!({"event": "endpoint.url_validation", "event_ts": 1, "payload": {"plainToken": "plain"}});
        let response = self.system.post_signed(path, body.to_string().as_bytes(), secret).await;
        let headers = response.headers().clone();
        let content_type =
            headers.get("content-type").map(|value| value.to_str().unwrap().to_owned());
        let response = ApiResponse {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            headers,
            body: response.text().await.unwrap(),
        };
        self.note("POST", path, &response);
    }

    /// Fails all calls of an AWS service.
    fn break_aws(&self, service: Service) {
        let fault = AwsFault::error(400, "AccessDeniedException");
        self.system
            .faults()
            .decide_with(move |called, _| (called == service).then(|| fault.clone()));
    }
}

fn recorded() -> NewRecording {
    let files = vec![NewFile::new("MP4", 1_000), NewFile::new("CHAT", 10)];
    NewRecording { topic: Some("Weekly".into()), ..NewRecording::of(ADA).with_files(files) }
}

/// Every route gives every response that the document lists for it, and no other.
#[tokio::test]
async fn responses_are_as_documented() {
    let code = ("ZoomVerificationCode", "0123-abc_DEF");
    let mut scene = Scene::open(&[code, ("FileTypes", "mp4")]).await;
    let (mut browser, app) = (scene.system.browser(), scene.system.app.clone());

    // Linking.
    let connect = browser.visit(&app.connect_url(&app.connect_token("alice"))).await;
    let authorize = connect.location.clone().unwrap();
    scene.note_visit("/zoom/connect", connect);
    let callback = scene.system.allow(&mut browser, &authorize, ADA).await;
    let returned = browser.visit(&callback).await;
    let claim = returned.claim();
    scene.note_visit("/zoom/callback", returned);
    let confirm = "POST /v1/links/confirm";
    let link = scene.send(confirm, "", "", Some(json!({"claim": claim}))).await;
    let link = link["id"].as_str().unwrap().to_owned();
    scene.system.process_queues().await;
    let recording = scene.system.record(recorded()).await;
    let recording = recording_id(&recording);
    scene.send("GET /v1/links", "", "", None).await;

    // Every read and every action.
    scene.send("GET /v1/links/{link_id}/reconciliation", &link, "", None).await;
    scene.system.maintain_after(SignedDuration::from_hours(25)).await;
    scene.system.pass(SignedDuration::from_mins(1)).await;
    let report = scene.send("GET /v1/links/{link_id}/reconciliation", &link, "", None).await;
    assert!(report["reconciled_at"].is_string(), "{report}");
    let list = scene.send("GET /v1/recordings", "", "?limit=1&status=stored", None).await;
    assert_eq!(list["recordings"].as_array().map(Vec::len), Some(1), "{list}");
    let shown = scene.send("GET /v1/recordings/{recording_id}", &recording, "", None).await;
    let files = json!({"files": [shown["files"][0]["id"]]});
    scene.send("POST /v1/recordings/{recording_id}/download", &recording, "", Some(files)).await;
    let feed = scene.send("GET /v1/notifications", "", "", None).await;
    let cursor = format!("?cursor={}", feed["next_cursor"].as_str().unwrap());
    let days = json!({"from": "2026-01-01", "to": "2026-01-02"});
    scene.send("POST /v1/backfill", "", "", Some(days.clone())).await;

    // Errors of the caller.
    for (method, path) in scene.document.operations() {
        if path.starts_with("/v1") {
            let route = format!("{method} {path}");
            scene.send_with(None, &route, "x", "", None).await;
            scene.send_with(Some("x"), &route, "x", "", None).await;
            scene.send(&route, "x", "?nothing=known", None).await;
            scene
                .send(&route, "x", "", (path == "/v1/links/confirm").then(|| json!({"claim": "x"})))
                .await;
        }
    }
    scene.send("GET /v1/recordings", "", "?cursor=x", None).await;
    scene.send("GET /v1/notifications", "", "?limit=0", None).await;
    let claim = scene.system.consent(&mut browser, "bob", ADA).await;
    app.confirm("bob", &claim).await;
    scene.send("DELETE /v1/recordings/{recording_id}", &recording, "", None).await;
    app.disconnect_all("bob").await;
    let claim = scene.system.consent(&mut browser, "bob", ADA).await;
    scene.send(confirm, "", "", Some(json!({"claim": claim}))).await;

    // Failures of Reelay's own dependencies.
    let callback = scene.system.callback(&mut browser, "alice", ADA).await;
    scene.break_aws(Service::DynamoDb);
    for (method, path) in scene.document.operations() {
        if path.starts_with("/v1") {
            let body = match path.as_str() {
                "/v1/links/confirm" => Some(json!({"claim": claim})),
                "/v1/backfill" => Some(days.clone()),
                _ => None,
            };
            let id = if path.contains("link_id") { &link } else { &recording };
            scene.send(&format!("{method} {path}"), id, "", body).await;
        }
    }
    let visit = browser.visit(&app.connect_url(&app.connect_token("alice"))).await;
    scene.note_visit("/zoom/connect", visit);
    scene.note_visit("/zoom/callback", browser.visit(&callback).await);
    scene.break_aws(Service::SecretsManager);
    scene.system.advance(SignedDuration::from_hours(1));
    for path in ["/zoom/webhook", "/zoom/deauthorize"] {
        scene.post_signed(path, "another").await;
    }
    scene.system.faults().clear_all();
    scene.system.advance(SignedDuration::from_mins(2));

    // Browsers, Zoom and monitors.
    scene.note_visit("/zoom/connect", browser.visit(&app.connect_url("x")).await);
    let callback = format!("{}/zoom/callback", scene.system.stack.url());
    scene.note_visit("/zoom/callback", browser.visit(&callback).await);
    for path in ["/zoom/webhook", "/zoom/deauthorize"] {
        let secret = scene.system.webhook_secret();
        scene.post_signed(path, &secret).await;
        scene.post_signed(path, "another").await;
    }
    for path in ["/healthz", "/zoomverify/verifyzoom.html"] {
        scene.send_with(None, &format!("GET {path}"), "", "", None).await;
    }
    let without_code = System::start().await;
    let file = "/zoomverify/verifyzoom.html";
    let absent = without_code.app.call_with(Method::GET, file, None, None).await;
    scene.note("GET", file, &absent);

    // Links that end.
    scene.send("DELETE /v1/recordings/{recording_id}", &recording, "", None).await;
    scene.send("DELETE /v1/links/{link_id}", &link, "", None).await;
    scene.send("POST /v1/backfill", "", "", Some(days)).await;
    scene.system.advance(SignedDuration::from_hours(24 * 31));
    scene.send("GET /v1/notifications", "", &cursor, None).await;

    for operation in scene.document.operations() {
        let documented: BTreeSet<u16> = scene.document.statuses(&operation).into_iter().collect();
        let seen = scene.seen.remove(&operation).unwrap_or_default();
        assert_eq!(seen, documented, "{operation:?}");
    }
}

async fn change(system: &System, recording: &Recording, change: RecordingChange) {
    system.zoom().advance(1);
    let all = Selection::default();
    let created = system.zoom().change_recording(&recording.key, change, &all).unwrap();
    system.await_deliveries(&created).await;
    system.process_queues().await;
}

/// Notifications of every type are sent, and are as documented, in the feed too.
#[tokio::test]
async fn notifications_are_as_documented() {
    let app_webhook = AppWebhook::start().await;
    let mut scene = Scene::open(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let system = &scene.system;
    system.link("alice", ADA).await;
    let recording = system.record(recorded()).await;
    change(system, &recording, RecordingChange::Trash).await;
    let gone = NewFault::always(Point::Download, Fault::Status { status: 410 });
    let gone = system.zoom().arm(gone).unwrap();
    system.record(recorded()).await;
    system.zoom().clear_faults(Some(gone));
    let plan = Fault::ErrorCode { status: 400, code: 200, form: ErrorForm::Api };
    let plan = system.fail(Point::ListRecordings, plan);
    let days = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    system.app.post("/v1/backfill", "alice", days).await;
    system.process_queues().await;
    system.zoom().clear_faults(Some(plan));
    system.advance(SignedDuration::from_mins(1));
    let feed = scene.send("GET /v1/notifications", "", "?limit=100", None).await;
    scene.system.app.disconnect_all("alice").await;
    scene.system.process_queues().await;

    scene.system.link("alice", ADA).await;
    let zoom = scene.system.zoom();
    zoom.change_settings(|config| config.deauthorize_url = None);
    let silent = zoom.deauthorize(ADA).unwrap();
    zoom.wait_for_attempts(silent, 1).await.unwrap();
    let days = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    scene.system.app.post("/v1/backfill", "alice", days).await;
    scene.system.process_queues().await;

    let types: BTreeSet<_> = app_webhook.types().into_iter().collect();
    let documented = scene.document.json["webhooks"].as_object().unwrap().keys().cloned();
    assert_eq!(types, documented.collect());
    let listed = &scene.document.json["components"]["schemas"]["NotificationType"]["enum"];
    let listed: BTreeSet<String> = serde_json::from_value(listed.clone()).unwrap();
    assert_eq!(types, listed);
    for received in app_webhook.received() {
        scene.document.assert_notification(&received.json());
    }
    let feed = feed["notifications"].as_array().unwrap();
    assert!(feed.len() > 8, "{feed:?}");
}
