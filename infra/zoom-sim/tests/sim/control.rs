use std::net::SocketAddr;

use reelay_zoom_sim::{Config, NewRecording, Simulator, StartError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{ADA, BEN, CEM, at, client, get, header, list, sim, sim_with};

async fn call(sim: &Simulator, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut request = client().request(method, at(sim, &format!("_sim/{path}")));
    if let Some(body) = body {
        request = request.json(&body);
    }
    crate::json(request.send().await.expect("response")).await
}

async fn post(sim: &Simulator, path: &str, body: Value) -> Value {
    let (status, value) = call(sim, Method::POST, path, Some(body)).await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

async fn read(sim: &Simulator, path: &str) -> Value {
    let (status, value) = call(sim, Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {value}");
    value
}

#[tokio::test]
async fn recordings_and_users_over_http() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let grant = post(&sim, "grants", json!({ "user_id": ADA })).await;
    assert_eq!(read(&sim, "grants").await["grants"][0]["id"], grant["id"]);

    let files = json!([{ "file_type": "MP4", "size": 5000 }]);
    let new = json!({ "host_id": BEN, "topic": "été", "files": files, "participant_audio": 1 });
    let created = post(&sim, "recordings", new).await;
    let recording = &created["recording"];
    let key = recording["key"].as_str().expect("key");
    let file = recording["files"][0]["id"].as_str().expect("id");
    for (path, body) in [
        ("complete", json!({})),
        ("transcript", json!({ "file_type": "CC" })),
        ("rename", json!({ "topic": "hiver" })),
        ("trash", json!({ "files": [file] })),
        ("recover", json!({})),
        ("delete", json!({ "operator_id": BEN })),
    ] {
        post(&sim, &format!("recordings/{key}/{path}"), body).await;
    }
    // An encoded UUID instead of the key.
    let mut url = sim.url().clone();
    let uuid = recording["uuid"].as_str().expect("uuid");
    url.path_segments_mut().expect("path").push(uuid);
    let renamed = read(&sim, &format!("recordings{}", url.path())).await;
    assert_eq!(renamed["topic"], "hiver");
    post(&sim, "batch", json!({ "recordings": [key], "change": "trash" })).await;
    post(&sim, &format!("users/{BEN}/deauthorize"), json!({})).await;
    post(&sim, "events", json!({ "body": "{\"event\":\"x\"}" })).await;
    let duplicate = json!({ "new_request_id": true });
    post(&sim, "deliveries/1/duplicate", duplicate).await;
    assert_eq!(post(&sim, "validate", json!({})).await["ok"], true);

    let log = read(&sim, "deliveries?settled=true").await;
    let log = list(&log["deliveries"]);
    assert!(log.iter().all(|delivery| delivery["state"] == "delivered"), "{log:?}");
    assert_eq!(log.len(), receiver.all().len());
    let first = read(&sim, "deliveries/1?attempts=1").await;
    assert_eq!(first["attempts"][0]["status"], 200);
    let spec = sim.control().file(file).expect("file");
    let view = read(&sim, &format!("files/{file}")).await;
    assert_eq!((&view["sha256"], &view["size"]), (&spec.sha256().into(), &5000.into()));
    post(&sim, &format!("users/{CEM}/remove"), json!({})).await;
    let overview = read(&sim, "overview").await;
    assert_eq!(overview["users"][0]["grant"], "live");
    assert_eq!(overview["users"][2]["removed"], true);
}

#[tokio::test]
async fn bodies_are_optional() {
    let sim = sim().await;
    Receiver::of(&sim).await;
    post(&sim, "recordings", json!({ "host_id": ADA })).await;
    for path in [
        "recordings/r1/complete",
        "recordings/r1/transcript",
        "recordings/r1/trash",
        "deliveries/1/duplicate",
        "validate",
        "users/-UserCemDiaz0000000003/deauthorize",
    ] {
        let (status, _) = call(&sim, Method::POST, path, None).await;
        assert_eq!(status, 200, "{path}");
    }
}

#[tokio::test]
async fn settings_and_clock_over_http() {
    let sim = sim().await;
    let url = "http://127.0.0.1:1/";
    for (change, status) in [
        (json!({ "webhook_url": url, "retry_scale": 0.5 }), 200),
        (json!({ "retry_scal": 1 }), 400),
    ] {
        let (actual, _) = call(&sim, Method::PATCH, "settings", Some(change)).await;
        assert_eq!(actual, status);
        let settings = sim.control().settings();
        assert_eq!(settings.webhook_url.as_deref(), Some(url));
        assert_eq!(settings.retry_scale, 0.5);
    }
    let clock = post(&sim, "clock", json!({ "advance_seconds": 90 })).await;
    assert_eq!(clock["offset_seconds"], 90);
    let clock = post(&sim, "clock", json!({ "set": "2030-01-01T00:00:00Z" })).await;
    let now = clock["now"].as_str().expect("time");
    assert!(now.starts_with("2030-01-01T00:00:0"), "{now}");
}

#[tokio::test]
async fn faults_over_http() {
    let sim = sim().await;
    let fault = json!({ "at": "users_me", "kind": "status", "status": 500, "times": 2, "skip": 1 });
    let armed = post(&sim, "faults", fault).await;
    for status in [401, 500] {
        let response = get(&at(&sim, "v2/users/me"), "hidden").await;
        assert_eq!(response.status(), status);
    }
    let faults = read(&sim, "faults").await;
    let fault = &faults["faults"][0];
    assert_eq!((&fault["times"], &fault["hits"]), (&1.into(), &1.into()));
    call(&sim, Method::DELETE, &format!("faults/{}", armed["id"]), None).await;
    assert!(sim.control().faults().is_empty());
    let impossible = json!({ "at": "users_me", "kind": "omit_length" });
    let (status, error) = call(&sim, Method::POST, "faults", Some(impossible)).await;
    assert_eq!((status, error["error"].is_string()), (400, true));
}

#[tokio::test]
async fn request_log_has_no_secrets() {
    let sim = sim().await;
    get(&at(&sim, "v2/users/me?secret=1"), "hidden").await;
    let overview = read(&sim, "overview").await;
    let requests = list(&overview["requests"]);
    assert_eq!(requests.len(), 1, "without the control API");
    for (key, value) in [
        ("method", json!("GET")),
        ("path", json!("/v2/users/me")),
        ("authorization", json!("Bearer")),
        ("status", json!(401)),
    ] {
        assert_eq!(requests[0][key], value);
    }
    let text = overview["requests"].to_string();
    assert!(!text.contains("hidden") && !text.contains("secret"));
    sim.control().clear_requests();
    assert!(sim.control().requests().is_empty());
}

#[tokio::test]
async fn forgotten_history_is_gone_and_ids_go_on() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let first = post(&sim, "recordings", json!({ "host_id": ADA })).await;
    sim.control().wait_until_settled().await;
    let event = receiver.last().json();
    let url =
        event["payload"]["object"]["recording_files"][0]["download_url"].as_str().expect("url");
    let (status, _) = call(&sim, Method::DELETE, "history", None).await;
    assert_eq!(status, 200);
    let control = sim.control();
    assert!(control.recordings().is_empty() && control.deliveries().is_empty());
    assert!(control.requests().is_empty());
    assert_eq!(get(url, "").await.status(), StatusCode::NOT_FOUND);
    let second = post(&sim, "recordings", json!({ "host_id": ADA })).await;
    assert_ne!(first["recording"]["key"], second["recording"]["key"]);
    assert_ne!(first["deliveries"], second["deliveries"]);
}

#[tokio::test]
async fn control_needs_a_local_host() {
    let sim = sim().await;
    let page = get(&at(&sim, ""), "").await;
    let policy = header(&page, "content-security-policy");
    assert!(policy.contains("script-src 'sha256-"), "{policy}");
    let page = page.text().await.expect("page");
    assert!(page.contains("Complete a recording"));
    for (host, status) in
        [("evil.example", 421), ("localhost:1", 200), ("[::1]:80", 200), ("127.0.0.1", 200)]
    {
        let request = client().get(at(&sim, "_sim/overview")).header("host", host);
        let response = request.send().await.expect("response");
        assert_eq!(response.status(), status, "{host}");
    }
    let unknown = get(&at(&sim, "unknown"), "").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn other_addresses_are_rejected() {
    let open = Config { bind: SocketAddr::from(([0, 0, 0, 0], 0)), ..Config::default() };
    let error = reelay_zoom_sim::start(open).await.err();
    assert!(matches!(error, Some(StartError::NotLoopback(_))));
}

#[tokio::test]
async fn seed_reproduces_ids() {
    let ids = async || {
        let sim = sim_with(|config| config.seed = Some(7)).await;
        let created = sim.control().create_recording(NewRecording::of(ADA));
        let recording = created.expect("created").recording;
        (recording.uuid, recording.files[0].id.clone())
    };
    assert_eq!(ids().await, ids().await);
}
