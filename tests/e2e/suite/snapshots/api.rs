//! Responses to the app, and the objects in the bucket.

use jiff::SignedDuration;
use reelay_embedded_aws::Service;
use reelay_zoom_sim::{Fault, NewFault, NewFile, Point};
use reqwest::Method;
use serde_json::json;
use support::System;
use support::recordings::recording_id;
use support::zoom_users::ADA;

use super::{Transcript, break_aws, disconnect, one_file, repair_aws};

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
        let response = app.call_with(Method::GET, "/v1/links", token, None).await;
        seen.api_response(title, &response);
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
        (Method::POST, "/v1/backfill", Some(r#"{"from":"2026-01-01","to":"2026-01-02"}"#)),
    ] {
        let title = format!("{method} {path} {}", body.unwrap_or_default());
        let body = body.map(str::to_owned);
        let response = app.call_with(method, path, Some(&token), body).await;
        seen.api_response(title.trim(), &response);
    }
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    seen.api_response("claim of another user", &app.confirm("bob", &claim).await);
    seen.api_response("invalidated claim", &app.confirm("alice", &claim).await);
    break_aws(&system, Service::DynamoDb, "Query");
    seen.api_response("DynamoDB fails", &app.get("/v1/links", "alice").await);
    repair_aws(&system);
    system.advance(SignedDuration::from_mins(7));
    let response = app.get_with("/v1/links", &expired);
    seen.api_response("expired token", &response.await);
    seen.assert("api_errors");
}

#[tokio::test]
async fn api_responses_and_stored_files() {
    let code = ("ZoomVerificationCode", "0123-abc_DEF");
    let system = System::with(&[code, ("FileTypes", "mp4,m4a")]).await;
    let app = &system.app;
    let mut seen = Transcript::default();
    for path in ["/healthz", "/zoomverify/verifyzoom.html"] {
        let response = app.call_with(Method::GET, path, None, None).await;
        seen.api_response(&format!("GET {path}"), &response);
    }
    let claim = system.consent(&mut system.browser(), "alice", ADA).await;
    let link = app.confirm("alice", &claim).await;
    system.process_queues().await;
    seen.api_response("POST /v1/links/confirm", &link);
    seen.api_response("GET /v1/links", &app.get("/v1/links", "alice").await);

    let mut new = one_file();
    let audio = NewFile { id: Some("AudioThatIsGone".into()), ..NewFile::new("M4A", 500) };
    new.files.as_mut().unwrap().extend([audio, NewFile::new("CHAT", 10)]);
    let gone = NewFault::always(Point::Download, Fault::Status { status: 410 });
    system.zoom().arm(gone.only_for("AudioThatIsGone")).unwrap();
    let recording = system.record(new).await;
    seen.hide_recording(&recording);
    let path = format!("/v1/recordings/{}", recording_id(&recording));
    let list = app.get("/v1/recordings", "alice").await;
    seen.api_response("GET /v1/recordings", &list);
    seen.api_response("GET /v1/recordings/{id}", &app.get(&path, "alice").await);
    let download = format!("{path}/download");
    let response = app.call(Method::POST, &download, "alice").await;
    seen.api_response("POST /v1/recordings/{id}/download", &response);
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
    let response = app.call_with(Method::POST, "/v1/backfill", Some(&token), Some(body));
    seen.api_response("POST /v1/backfill", &response.await);
    let id = &link.json();
    for title in ["DELETE /v1/links/{id}", "DELETE /v1/links/{id} again"] {
        seen.api_response(title, &disconnect(&system, "alice", id).await);
    }
    let end = app.get("/v1/recordings", "alice").await;
    seen.api_response("GET /v1/recordings without a link", &end);
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
