use std::net::SocketAddr;

use reelay_zoom_sim::{Config, StartError};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::receiver::Receiver;
use crate::{ADA, BEN, CEM, at, client, sim, sim_with};

async fn call(
    sim: &reelay_zoom_sim::Simulator,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = client().request(method, at(sim, &format!("_sim/{path}")));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("answer");
    (
        response.status().as_u16(),
        response.json().await.expect("JSON"),
    )
}

#[tokio::test]
async fn the_whole_story_over_http() {
    let sim = sim().await;
    let receiver = Receiver::of(&sim).await;
    let post = async |path: &str, body: Value| {
        let (status, value) = call(&sim, Method::POST, path, Some(body)).await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    };
    let user = post(
        "users",
        json!({ "first_name": "Zoë", "account_id": "Acct_Northwind00000001" }),
    )
    .await;
    assert_eq!(user["id"].as_str().map(str::len), Some(22));
    post(
        &format!("users/{ADA}/scopes"),
        json!({ "scopes": ["user:read:user"] }),
    )
    .await;
    assert_eq!(
        post("grants", json!({ "user_id": ADA })).await["scopes"],
        json!(["user:read:user"])
    );

    let created = post("recordings", json!({ "host_id": user["id"], "topic": "été", "files": [{ "file_type": "MP4", "size": 5000 }], "participant_audio": 1 })).await;
    let recording = &created["recording"];
    let key = recording["key"].as_str().expect("key");
    let file = recording["files"][0]["id"].as_str().expect("id");
    for (path, body) in [
        ("twin", json!({})),
        ("transcript", json!({ "file_type": "CC" })),
        ("progress", json!({ "progress": "stopped" })),
        ("rename", json!({ "topic": "hiver" })),
        ("trash", json!({ "files": [file] })),
        ("recover", json!({})),
        ("delete", json!({ "operator_id": BEN })),
        ("download_token", json!({ "seconds": 60 })),
    ] {
        post(&format!("recordings/{key}/{path}"), body).await;
    }
    // A UUID works too, encoded.
    let uuid: String = reqwest::Url::parse("http://x")
        .map(|mut url| {
            url.path_segments_mut()
                .expect("path")
                .push(recording["uuid"].as_str().expect("uuid"));
            url.path()[1..].to_owned()
        })
        .expect("URL");
    assert_eq!(
        call(&sim, Method::GET, &format!("recordings/{uuid}"), None)
            .await
            .1["topic"],
        "hiver"
    );
    post("batch", json!({ "recordings": [key], "disposal": "trash" })).await;
    post(
        &format!("users/{BEN}/deauthorize"),
        json!({ "event_only": true }),
    )
    .await;
    post(
        &format!("users/{BEN}/event"),
        json!({ "change": "deleted" }),
    )
    .await;
    post("events", json!({ "body": "{\"event\":\"x\"}" })).await;
    post("deliveries/1/duplicate", json!({ "new_request_id": true })).await;
    assert_eq!(post("validate", json!({})).await["ok"], true);

    let (_, log) = call(&sim, Method::GET, "deliveries?settled=true", None).await;
    let log = log["deliveries"].as_array().expect("list").clone();
    assert!(
        log.iter().all(|delivery| delivery["state"] == "delivered"),
        "{log:?}"
    );
    assert_eq!(log.len(), receiver.all().len());
    let (_, first) = call(&sim, Method::GET, "deliveries/1?attempts=1", None).await;
    assert_eq!(first["attempts"][0]["status"], 200);
    let spec = sim.control().file(file).expect("known");
    let (_, view) = call(&sim, Method::GET, &format!("files/{file}"), None).await;
    assert_eq!(
        (&view["sha256"], &view["size"]),
        (&spec.sha256().into(), &5000.into())
    );
    assert_ne!(
        post(&format!("files/{file}/replace"), json!({ "size": 6000 })).await["etag"],
        spec.etag()
    );
    post(&format!("users/{CEM}/remove"), json!({})).await;
    let (_, overview) = call(&sim, Method::GET, "overview", None).await;
    assert_eq!(overview["users"][2]["removed"], true);
}

#[tokio::test]
async fn bodies_are_optional_where_they_say_nothing() {
    let sim = sim().await;
    Receiver::of(&sim).await;
    call(
        &sim,
        Method::POST,
        "recordings",
        Some(json!({ "host_id": ADA })),
    )
    .await;
    for path in [
        "recordings/r1/twin",
        "recordings/r1/transcript",
        "recordings/r1/trash",
        "deliveries/1/duplicate",
        "validate",
        "users/-UserCemDiaz0000000003/deauthorize",
    ] {
        assert_eq!(call(&sim, Method::POST, path, None).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn settings_clock_and_faults_over_http() {
    let sim = sim().await;
    let (status, settings) = call(
        &sim,
        Method::PATCH,
        "settings",
        Some(json!({ "webhook_url": "http://127.0.0.1:1/", "retry_scale": 0.5 })),
    )
    .await;
    assert_eq!((status, &settings["retry_scale"]), (200, &0.5.into()));
    assert_eq!(
        sim.control().settings().webhook_url.as_deref(),
        Some("http://127.0.0.1:1/")
    );
    assert_eq!(
        call(
            &sim,
            Method::PATCH,
            "settings",
            Some(json!({ "retry_scal": 1 }))
        )
        .await
        .0,
        400
    );

    let (_, clock) = call(
        &sim,
        Method::POST,
        "clock",
        Some(json!({ "advance_seconds": 90 })),
    )
    .await;
    assert_eq!(clock["offset_seconds"], 90);
    let (_, clock) = call(
        &sim,
        Method::POST,
        "clock",
        Some(json!({ "set": "2030-01-01T00:00:00Z" })),
    )
    .await;
    assert!(
        clock["now"]
            .as_str()
            .expect("time")
            .starts_with("2030-01-01T00:00:0")
    );

    let (_, armed) = call(
        &sim,
        Method::POST,
        "faults",
        Some(json!({ "at": "users_me", "kind": "status", "status": 500, "times": 2 })),
    )
    .await;
    assert_eq!(
        client()
            .get(at(&sim, "v2/users/me"))
            .send()
            .await
            .expect("answer")
            .status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let (_, faults) = call(&sim, Method::GET, "faults", None).await;
    assert_eq!(
        (
            &faults["faults"][0]["times"],
            &faults["faults"][0]["struck"]
        ),
        (&1.into(), &1.into())
    );
    call(
        &sim,
        Method::DELETE,
        &format!("faults/{}", armed["id"]),
        None,
    )
    .await;
    assert!(sim.control().faults().is_empty());
    let (status, refused) = call(
        &sim,
        Method::POST,
        "faults",
        Some(json!({ "at": "users_me", "kind": "omit_length" })),
    )
    .await;
    assert_eq!((status, refused["error"].is_string()), (400, true));
}

#[tokio::test]
async fn the_request_log_tells_no_secrets() {
    let sim = sim().await;
    client()
        .get(at(&sim, "v2/users/me?secret=1"))
        .bearer_auth("hidden")
        .send()
        .await
        .expect("answer");
    let (_, log) = call(&sim, Method::GET, "requests", None).await;
    assert_eq!(
        log["requests"].as_array().map(Vec::len),
        Some(1),
        "control requests are not in it"
    );
    let entry = &log["requests"][0];
    assert_eq!(
        (
            &entry["method"],
            &entry["path"],
            &entry["authorization"],
            &entry["status"]
        ),
        (
            &"GET".into(),
            &"/v2/users/me".into(),
            &"Bearer".into(),
            &401.into()
        )
    );
    assert!(!log.to_string().contains("hidden") && !log.to_string().contains("secret"));
    call(&sim, Method::DELETE, "requests", None).await;
    assert!(sim.control().requests().is_empty());
}

#[tokio::test]
async fn the_page_is_served_to_local_names_only() {
    let sim = sim().await;
    let page = client().get(at(&sim, "")).send().await.expect("answer");
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .expect("text")
            .contains("script-src 'sha256-")
    );
    assert!(
        page.text()
            .await
            .expect("page")
            .contains("Complete a recording")
    );
    for (host, status) in [
        ("evil.example", 421),
        ("localhost:1", 200),
        ("[::1]:80", 200),
        ("127.0.0.1", 200),
    ] {
        let answer = client()
            .get(at(&sim, "_sim/overview"))
            .header("host", host)
            .send()
            .await
            .expect("answer");
        assert_eq!(answer.status(), status, "{host}");
    }
}

#[tokio::test]
async fn loopback_only_and_repeatable() {
    let open = Config {
        bind: SocketAddr::from(([0, 0, 0, 0], 0)),
        ..Config::default()
    };
    assert!(matches!(
        reelay_zoom_sim::start(open).await,
        Err(StartError::NotLoopback(_))
    ));
    let ids = async || {
        let sim = sim_with(|config| config.seed = Some(7)).await;
        let recording = sim
            .control()
            .create_recording(reelay_zoom_sim::NewRecording {
                send: false,
                ..reelay_zoom_sim::NewRecording::of(ADA)
            })
            .expect("created")
            .recording;
        (recording.uuid, recording.files[0].id.clone())
    };
    assert_eq!(ids().await, ids().await);
}
