//! Snapshots of everything that the outside sees: responses, pages, redirects, notifications, failure reasons.
//!
//! Values that differ between runs are replaced by placeholders. A changed snapshot fails the test; after a
//! review, `INSTA_UPDATE=always cargo test -p e2e snapshots` writes the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::SignedDuration;
use reelay_embedded_aws::{Fault as AwsFault, Service};
use reelay_zoom_sim::{
    DeliveryState, Fault, NewFault, NewFile, NewRecording, Point, Recording, RecordingChange,
    Selection,
};
use regex_lite::Regex;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use support::app::ApiResponse;
use support::recordings::recording_id;
use support::zoom::completed_event;
use support::zoom_users::ADA;
use support::{AppWebhook, Browser, System, Visit};

use crate::linking::with_parameter;

/// Headers that every response carries; a snapshot lists only those that are added, changed or absent.
const COMMON: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];

const PATTERNS: [(&str, &str); 19] = [
    (r#""sequence": \d+"#, r#""sequence": "<sequence>""#),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"/\d{4}/\d\d/\d\d/", "/<date>/"),
    (r"(127\.0\.0\.1|localhost)(:|%3A)\d+", "<host>"),
    (r"msg_[A-Za-z0-9_-]{43}", "msg_<id>"),
    (r"v1,[A-Za-z0-9+/]{43}=", "v1,<signature>"),
    (r"(X-Amz-[A-Za-z0-9-]+)=[^&\x22]*", "$1=<value>"),
    (r"zoom_link=[A-Za-z0-9_-]{43}", "zoom_link=<claim>"),
    (r"state=[A-Za-z0-9_-]{76}", "state=<state>"),
    (r"code_challenge=[A-Za-z0-9_-]{43}", "code_challenge=<challenge>"),
    (r"reelay-connect=[A-Za-z0-9_-]{43}", "reelay-connect=<secret>"),
    (r#""crc64nvme": "[A-Za-z0-9+/]{11}=""#, r#""crc64nvme": "<crc>""#),
    (r#""encryptedToken": "[0-9a-f]{64}""#, r#""encryptedToken": "<hmac>""#),
    (r#""meeting_id": "\d+""#, r#""meeting_id": "<number>""#),
    (r#""next_cursor": "[^"]+""#, r#""next_cursor": "<cursor>""#),
    (r#""id": "[^"/<]{20,}""#, r#""id": "<id>""#),
    (r"(?m)^(apigw-requestid|connection|content-length|date): .*\n", ""),
    (r"<style>[^<]*</style>", "<style>…</style>"),
    (r"client_id=[^&\s]+", "client_id=<client id>"),
];

/// Sorts lists of files by type. Reelay sorts them by id, which is random.
fn sort_files(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Array(files)) = fields.get_mut("files") {
                files.sort_by_key(|file| file["file_type"].to_string());
            }
            fields.values_mut().for_each(sort_files);
        }
        Value::Array(items) => items.iter_mut().for_each(sort_files),
        _ => {}
    }
}

/// The text of one snapshot.
#[derive(Default)]
struct Transcript {
    text: String,
    placeholders: Vec<(String, String)>,
}

impl Transcript {
    /// Shows `value` as `<placeholder>`.
    fn hide(&mut self, value: &str, placeholder: &str) {
        self.placeholders.push((value.to_owned(), format!("<{placeholder}>")));
    }

    fn hide_recording(&mut self, recording: &Recording) {
        self.hide(&recording_id(recording), "recording id");
        self.hide(&recording.uuid, "meeting uuid");
        for (number, file) in recording.files.iter().enumerate() {
            self.hide(&file.id, &format!("file {number}"));
        }
    }

    fn title(&mut self, title: &str) {
        writeln!(self.text, "\n## {title}").unwrap();
    }

    fn response(&mut self, title: &str, status: u16, headers: &HeaderMap, body: &str) {
        self.title(title);
        writeln!(self.text, "{status}").unwrap();
        let mut shown = BTreeSet::new();
        for (name, value) in headers {
            let (name, value) = (name.as_str(), value.to_str().unwrap());
            if !COMMON.contains(&(name, value)) {
                shown.insert(format!("{name}: {value}"));
            }
        }
        for (name, _) in COMMON {
            if !headers.contains_key(name) {
                shown.insert(format!("(no {name})"));
            }
        }
        for line in shown {
            writeln!(self.text, "{line}").unwrap();
        }
        match serde_json::from_str(body) {
            Ok(json) => self.json(&json),
            Err(_) if body.is_empty() => {}
            Err(_) => writeln!(self.text, "{}", body.trim_end()).unwrap(),
        }
    }

    fn answer(&mut self, title: &str, answer: &ApiResponse) {
        self.response(title, answer.status, &answer.headers, &answer.body);
    }

    fn visit(&mut self, title: &str, visit: &Visit) {
        self.response(title, visit.status, &visit.headers, &visit.body);
    }

    fn json(&mut self, value: &Value) {
        let mut value = value.clone();
        sort_files(&mut value);
        writeln!(self.text, "{}", serde_json::to_string_pretty(&value).unwrap()).unwrap();
    }

    #[track_caller]
    fn assert(self, name: &str) {
        let mut text = self.text;
        for (value, placeholder) in &self.placeholders {
            text = text.replace(value, placeholder);
        }
        for (pattern, replacement) in PATTERNS {
            let pattern = Regex::new(pattern).unwrap();
            text = pattern.replace_all(&text, replacement).into_owned();
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// Fails every call of one AWS operation.
fn break_aws(system: &System, service: Service, operation: &str) {
    let fault = AwsFault::error(400, "AccessDeniedException");
    let faults = system.faults();
    faults.fail_until_cleared(service, operation, fault);
}

fn repair_aws(system: &System) {
    system.faults().clear_all();
}

async fn disconnect(system: &System, user: &str, link: &Value) -> ApiResponse {
    let path = format!("/v1/links/{}", link["id"].as_str().unwrap());
    system.app.call(Method::DELETE, &path, user).await
}

fn one_file() -> NewRecording {
    NewRecording {
        topic: Some("Weekly".into()),
        duration_minutes: Some(31),
        ..NewRecording::of(ADA).with_files(vec![NewFile::new("MP4", 1_000)])
    }
}

#[tokio::test]
async fn connect_responses() {
    let system = System::start().await;
    let app = &system.app;
    let mut seen = Transcript::default();
    let connect = async |token: &str| system.browser().visit(&app.connect_url(token)).await;

    let spent = app.connect_token_with("alice", json!({"jti": "once"}));
    let mut browser = system.browser();
    let authorize = system.authorize(&mut browser, &spent).await;
    let callback = system.allow(&mut browser, &authorize, ADA).await;
    let claim = browser.visit(&callback).await.claim();
    app.confirm("alice", &claim).await;
    let elsewhere = json!({"return_to": "https://elsewhere.test/"});
    let expired = app.connect_token("alice");

    seen.visit("redirect to Zoom", &connect(&app.connect_token("alice")).await);
    for (title, token) in [
        ("invalid token", "x.y.z".to_owned()),
        ("consumed jti", spent),
        ("return_to not listed", app.connect_token_with("alice", elsewhere)),
    ] {
        seen.visit(title, &connect(&token).await);
    }
    let token = app.connect_token("alice");
    break_aws(&system, Service::DynamoDb, "PutItem");
    seen.visit("DynamoDB fails", &connect(&token).await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(7));
    seen.visit("expired token", &connect(&expired).await);
    seen.assert("connect");
}

/// A consent that Zoom answers, not yet visited.
async fn callback_url(system: &System, browser: &mut Browser) -> String {
    system.callback(browser, "alice", ADA).await
}

#[tokio::test]
async fn callback_responses() {
    let system = System::start().await;
    let (mut seen, mut browser) = (Transcript::default(), system.browser());
    let url = |query: &str| format!("{}/zoom/callback{query}", system.stack.url());

    let callback = callback_url(&system, &mut browser).await;
    seen.visit("another browser", &system.browser().visit(&callback).await);
    seen.visit("consent", &browser.visit(&callback).await);
    seen.visit("consumed session", &browser.visit(&callback).await);
    let callback = callback_url(&system, &mut browser).await;
    let forged = with_parameter(&callback, "state", "forged");
    for (title, url) in [
        ("no parameters", url("")),
        ("repeated parameter", url("?code=a&code=b&state=c")),
        ("forged state", forged),
        ("error without state", url("?error=access_denied")),
        ("code without state", url("?code=a")),
    ] {
        seen.visit(title, &browser.visit(&url).await);
    }
    let authorize = system.authorize(&mut browser, &system.app.connect_token("alice")).await;
    let denied = system.deny(&mut browser, &authorize).await;
    seen.visit("declined at Zoom", &browser.visit(&denied).await);
    for (title, point, fault) in [
        ("exchange fails with 500", Point::TokenExchange, Fault::Status { status: 500 }),
        ("exchange fails with 400", Point::TokenExchange, Fault::Status { status: 400 }),
        ("users/me fails with 500", Point::UsersMe, Fault::Status { status: 500 }),
    ] {
        let callback = callback_url(&system, &mut browser).await;
        system.fail_next(point, fault, 1);
        seen.visit(title, &browser.visit(&callback).await);
    }
    let scopes = Some(vec!["user:read:user".into()]);
    system.zoom().set_scopes(ADA, scopes).unwrap();
    let callback = callback_url(&system, &mut browser).await;
    seen.visit("missing scope", &browser.visit(&callback).await);

    let callback = callback_url(&system, &mut browser).await;
    break_aws(&system, Service::DynamoDb, "DeleteItem");
    seen.visit("DynamoDB fails", &browser.visit(&callback).await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(11));
    seen.visit("expired session", &browser.visit(&callback).await);

    let system = System::with(&[("InstallUrl", "https://app.test/install")]).await;
    let install = format!("{}/zoom/callback?code=a", system.stack.url());
    let visit = system.browser().visit(&install).await;
    seen.visit("code without state, with InstallUrl", &visit);
    seen.assert("callback");
}

#[tokio::test]
async fn webhook_responses() {
    let system = System::start().await;
    let (mut seen, secret) = (Transcript::default(), system.webhook_secret());
    let event = completed_event("AcctAAAAAAAAAAAAAAAAAA", ADA, "Zm9v", &[]);
    let validation =
        br#"{"event":"endpoint.url_validation","payload":{"plainToken":"plain"}}"#.as_slice();
    for path in ["/zoom/webhook", "/zoom/deauthorize"] {
        let mut post = async |title: &str, body: &[u8], secret: &str| {
            let response = system.post_signed(path, body, secret).await;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = response.text().await.unwrap();
            seen.response(&format!("{path}: {title}"), status, &headers, &body);
        };
        post("event", &event, &secret).await;
        post("unknown event", br#"{"event":"meeting.started"}"#, &secret).await;
        post("URL validation", validation, &secret).await;
        post("not an event", b"[]", &secret).await;
        post("wrong signature", &event, "wrong").await;
        break_aws(&system, Service::Sqs, "SendMessage");
        post("SQS fails", &event, &secret).await;
        repair_aws(&system);
    }
    seen.assert("webhook");
}

#[tokio::test]
async fn api_errors() {
    let system = System::start().await;
    let app = &system.app;
    let mut seen = Transcript::default();
    let token = app.api_token("alice");
    let expired = app.api_token("alice");
    let mut claims = app.claims("reelay:api", "alice");
    claims["exp"] = json!(app.now().as_second() + 3600);
    let mut unsubscribed = app.claims("reelay:api", "alice");
    unsubscribed["sub"] = json!("");
    let connect = app.connect_token("alice");
    let long_lived = app.sign(&claims);
    let no_subject = app.sign(&unsubscribed);
    for (title, token) in [
        ("no token", None),
        ("token that is no JWT", Some("x")),
        ("connect token", Some(&*connect)),
        ("token that lives too long", Some(&*long_lived)),
        ("token without a subject", Some(&*no_subject)),
    ] {
        let answer = app.call_with(Method::GET, "/v1/links", token, None).await;
        seen.answer(title, &answer);
    }
    for (method, path, body) in [
        (Method::GET, "/v1/nowhere", None),
        (Method::POST, "/v1/links", None),
        (Method::GET, "/v1/links/confirm", None),
        (Method::GET, "/v1/links/x", None),
        (Method::POST, "/v1/links/confirm", Some("{}")),
        (Method::POST, "/v1/links/confirm", Some(r#"{"claim":"x"}"#)),
        (Method::DELETE, "/v1/links/x", None),
        (Method::GET, "/v1/recordings?limit=0", None),
        (Method::GET, "/v1/recordings?cursor=x", None),
        (Method::GET, "/v1/recordings/x", None),
        (Method::POST, "/v1/recordings/x/download", None),
        (Method::POST, "/v1/backfill", Some("{}")),
        (Method::POST, "/v1/backfill", Some(r#"{"from":"2026-01-02","to":"2026-01-01"}"#)),
        (Method::POST, "/v1/backfill", Some(r#"{"from":"2020-01-01","to":"2026-01-01"}"#)),
    ] {
        let title = format!("{method} {path} {}", body.unwrap_or_default());
        let body = body.map(str::to_owned);
        let answer = app.call_with(method, path, Some(&token), body).await;
        seen.answer(title.trim(), &answer);
    }
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    seen.answer("claim of another user", &app.confirm("bob", &claim).await);
    seen.answer("invalidated claim", &app.confirm("alice", &claim).await);
    break_aws(&system, Service::DynamoDb, "Query");
    seen.answer("DynamoDB fails", &app.get("/v1/links", "alice").await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(7));
    let answer = app.get_with("/v1/links", &expired);
    seen.answer("expired token", &answer.await);
    seen.assert("api_errors");
}

#[tokio::test]
async fn api_responses_and_stored_files() {
    let code = ("ZoomVerificationCode", "0123-abc_DEF");
    let system = System::with(&[code, ("FileTypes", "mp4,m4a")]).await;
    let app = &system.app;
    let mut seen = Transcript::default();
    for path in ["/healthz", "/zoomverify/verifyzoom.html"] {
        let answer = app.call_with(Method::GET, path, None, None).await;
        seen.answer(&format!("GET {path}"), &answer);
    }
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = app.confirm("alice", &claim).await;
    system.process_queues().await;
    seen.answer("POST /v1/links/confirm", &link);
    seen.answer("GET /v1/links", &app.get("/v1/links", "alice").await);

    let mut new = one_file();
    let audio = NewFile { id: Some("AudioThatIsGone".into()), ..NewFile::new("M4A", 500) };
    new.files.as_mut().unwrap().extend([audio, NewFile::new("CHAT", 10)]);
    let gone = NewFault::always(Point::Download, Fault::Status { status: 410 });
    system.zoom().arm(gone.only_for("AudioThatIsGone")).unwrap();
    let recording = system.record(new).await;
    seen.hide_recording(&recording);
    let path = format!("/v1/recordings/{}", recording_id(&recording));
    let list = app.get("/v1/recordings", "alice").await;
    seen.answer("GET /v1/recordings", &list);
    seen.answer("GET /v1/recordings/{id}", &app.get(&path, "alice").await);
    let download = format!("{path}/download");
    let answer = app.call(Method::POST, &download, "alice").await;
    seen.answer("POST /v1/recordings/{id}/download", &answer);
    system.zoom().clear_faults(None);
    system.process_queues().await;

    let mut objects: Vec<_> = system.objects("").await.into_iter().collect();
    // The keys contain random file ids.
    objects.sort_by_key(|(key, _)| key.rsplit('.').next().map(str::to_owned));
    for (key, bytes) in objects {
        seen.title(&format!("object {key}"));
        match serde_json::from_slice(&bytes) {
            Ok(manifest) => seen.json(&manifest),
            Err(_) => {
                let (metadata, content_type, _) = system.head_object(&key).await;
                seen.json(&json!({"content-type": content_type, "metadata": metadata}));
            }
        }
    }
    let body = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    let token = app.api_token("alice");
    let answer = app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body));
    seen.answer("POST /v1/backfill", &answer.await);
    let id = &link.json();
    for title in ["DELETE /v1/links/{id}", "DELETE /v1/links/{id} again"] {
        seen.answer(title, &disconnect(&system, "alice", id).await);
    }
    let end = app.get("/v1/recordings", "alice").await;
    seen.answer("GET /v1/recordings without a link", &end);
    seen.assert("api");
}

#[tokio::test]
async fn unfinished_recordings() {
    let system = System::with(&[("DownloadMode", "on-demand")]).await;
    let mut seen = Transcript::default();
    system.link("alice", ADA).await;
    let recording = system.record(one_file()).await;
    seen.hide_recording(&recording);
    seen.title("detected");
    seen.json(&system.view("alice", &recording).await);
    let path = format!("/v1/recordings/{}/download", recording_id(&recording));
    system.app.call(Method::POST, &path, "alice").await;
    seen.title("queued");
    seen.json(&system.view("alice", &recording).await);
    seen.assert("unfinished_recordings");
}

#[tokio::test]
async fn notifications() {
    let app_webhook = AppWebhook::start().await;
    let system = System::with(&[("AppWebhookUrl", &app_webhook.url)]).await;
    let bus = system.subscribe_to_bus().await;
    let (zoom, mut seen) = (system.zoom(), Transcript::default());
    let link = system.link("alice", ADA).await;
    let recording = system.record(one_file()).await;
    seen.hide_recording(&recording);
    let all = Selection::default();
    zoom.advance(1);
    let renamed = zoom.rename(&recording.key, "Renamed", &all).unwrap();
    system.await_deliveries(&renamed).await;
    for disposal in [
        RecordingChange::Trash,
        RecordingChange::Recover,
        RecordingChange::Trash,
        RecordingChange::Delete,
    ] {
        system.process_queues().await;
        zoom.advance(1);
        let disposed = zoom.change_recording(&recording.key, disposal, &all).unwrap();
        system.await_deliveries(&disposed).await;
    }
    system.process_queues().await;
    let gone = NewFault::always(Point::Download, Fault::Status { status: 410 });
    zoom.arm(gone).unwrap();
    let failing = system.complete_recording(one_file()).await;
    system.process_queues().await;
    seen.hide_recording(&failing);
    disconnect(&system, "alice", &link).await;
    system.process_queues().await;

    system.link("alice", ADA).await;
    let url = zoom.settings().deauthorize_url;
    zoom.change_settings(|config| config.deauthorize_url = None);
    let silent = zoom.deauthorize(ADA).unwrap();
    let delivery = zoom.wait_for_attempts(silent, 1).await.unwrap();
    assert_eq!(delivery.state, DeliveryState::Dropped);
    zoom.change_settings(|config| config.deauthorize_url = url);
    let body = json!({"from": "2026-01-01", "to": "2026-01-02"}).to_string();
    let token = system.app.api_token("alice");
    let backfill = system.app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body));
    assert_eq!(backfill.await.status, 202);
    system.process_queues().await;

    system.link("alice", ADA).await;
    let deauthorized = zoom.deauthorize(ADA).unwrap();
    zoom.wait_for_attempts(deauthorized, 1).await.unwrap();
    system.process_queues().await;

    let mut first = BTreeMap::new();
    for notified in app_webhook.received() {
        let body = notified.json();
        let variant = [&body["type"], &body["data"]["change"], &body["data"]["removed_reason"]];
        let variant: Vec<_> = variant.iter().filter_map(|value| value.as_str()).collect();
        first.entry(variant.join(" ")).or_insert(notified);
    }
    for (title, notified) in first {
        seen.title(&title);
        writeln!(seen.text, "webhook-id: {}", notified.id).unwrap();
        writeln!(seen.text, "webhook-signature: {}", notified.signature).unwrap();
        seen.json(&notified.json());
    }
    let events = system.peek_messages(&bus).await;
    let events = events.iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    let mut activated = events.filter(|event| event["detail-type"] == "link.activated");
    let event = activated.next().unwrap();
    seen.title("the same on the event bus");
    seen.json(&json!({"source": event["source"], "detail-type": event["detail-type"], "detail": event["detail"]}));
    seen.assert("notifications");
}

/// The status and reason that the API shows, and the reasons that the app is notified of.
async fn failure(system: &System, recording: &Recording) -> String {
    let seen = system.view("alice", recording).await;
    let received = system.stack.demo_app().unwrap().received();
    let notified: Vec<_> = received
        .iter()
        .filter(|one| one.kind == "recording.failed")
        .filter(|one| one.body["data"]["recording"]["meeting_uuid"] == recording.uuid)
        .map(|one| one.body["data"]["reason"].as_str().unwrap().to_owned())
        .collect();
    let file = &seen["files"][0];
    format!("{}, {}, {}, notified {notified:?}", seen["status"], file["status"], file["reason"])
}

#[tokio::test]
async fn failure_reasons() {
    let system = System::start().await;
    system.link("alice", ADA).await;
    let mut seen = Transcript::default();
    let status = |status| Fault::Status { status };
    let redirect = |to: &str| Fault::Redirect { to: to.into() };
    for (title, point, fault) in [
        ("401", Point::Download, status(401)),
        ("403 from the CDN", Point::Content, status(403)),
        ("404", Point::Download, status(404)),
        ("410", Point::Download, status(410)),
        ("418 from the CDN", Point::Content, status(418)),
        ("500 from the CDN", Point::Content, status(500)),
        ("HTML page", Point::Download, Fault::Html),
        ("closed connection", Point::Content, Fault::Close),
        ("truncated body", Point::Content, Fault::Truncate { after: 10 }),
        ("length differs", Point::Content, Fault::ContentLength { length: 999 }),
        ("foreign redirect", Point::Download, redirect("https://elsewhere.test/")),
        ("redirect loop", Point::Download, redirect("?again")),
    ] {
        let armed = system.zoom().arm(NewFault::always(point, fault)).unwrap();
        let recording = system.record(one_file()).await;
        writeln!(seen.text, "{title}: {}", failure(&system, &recording).await).unwrap();
        system.zoom().clear_faults(Some(armed));
    }
    for (title, disposal) in
        [("trashed", RecordingChange::Trash), ("deleted", RecordingChange::Delete)]
    {
        let recording = system.complete_recording(one_file()).await;
        let zoom = system.zoom();
        zoom.advance(1);
        let disposed = zoom.change_recording(&recording.key, disposal, &Selection::default());
        system.await_deliveries(&disposed.unwrap()).await;
        system.process_queues().await;
        writeln!(seen.text, "{title}: {}", failure(&system, &recording).await).unwrap();
    }
    for option in [("FileTypes", "chat"), ("MinimumMinutes", "60")] {
        let system = System::with(&[option]).await;
        system.link("alice", ADA).await;
        let recording = system.record(one_file()).await;
        let failure = failure(&system, &recording).await;
        writeln!(seen.text, "{option:?}: {failure}").unwrap();
    }
    seen.assert("failure_reasons");
}
