//! Zoom's side, where a test does by hand what the simulator would.

use std::collections::BTreeSet;

use reelay_zoom_sim::{Created, DeliveryState, NewRecording, Recording};
use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::System;

/// Completes a recording at the simulator, whose events arrive. Nothing is worked off yet.
pub async fn complete(system: &System, new: NewRecording) -> Recording {
    let created = system.zoom().create_recording(new).unwrap();
    arrived(system, &created).await;
    created.recording
}

/// Waits until these deliveries were taken.
pub async fn arrived(system: &System, created: &Created) {
    for id in &created.deliveries {
        let delivery = system.zoom().wait_for_attempts(*id, 1).await.unwrap();
        assert_eq!(
            delivery.state,
            DeliveryState::Delivered,
            "{:?}",
            delivery.attempts
        );
    }
}

/// How often the bytes of a file were asked for.
pub fn fetches(system: &System, file_id: &str) -> usize {
    let requests = system.zoom().requests();
    requests
        .iter()
        .filter(|r| r.path.starts_with("/ssrweb/") && r.detail.as_deref() == Some(file_id))
        .count()
}

/// Everything in the events sent so far that opens something or names a person's address.
pub fn credentials(system: &System) -> BTreeSet<String> {
    let named = named_credentials(system).into_iter();
    named.map(|(_, value)| value).collect()
}

/// The same, each with the name of its field.
pub fn named_credentials(system: &System) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for delivery in system.zoom().deliveries() {
        gather(
            &serde_json::from_str(&delivery.body).unwrap_or_default(),
            &mut found,
        );
    }
    found
}

/// The credentials and addresses in a value, each with the name of its field.
pub fn gather(value: &Value, found: &mut BTreeSet<(String, String)>) {
    const FIELDS: [&str; 7] = [
        "download_token",
        "download_url",
        "play_url",
        "share_url",
        "password",
        "recording_play_passcode",
        "host_email",
    ];
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value {
            Value::String(text) if FIELDS.contains(&name.as_str()) => {
                found.insert((name.clone(), text.clone()));
            }
            other => gather(other, found),
        }),
        Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
        _ => {}
    }
}

/// Posts an event of our own making, signed well and now, and gives the whole answer.
pub async fn ask(system: &System, path: &str, body: &[u8], secret: &str) -> Response {
    let timestamp = system.app.now().as_second().to_string();
    let signature = reelay_zoom_sim::sign(secret, &timestamp, body);
    request(
        system,
        path,
        body,
        "application/json",
        Some((&timestamp, &signature)),
    )
    .await
}

/// Posts a body as Zoom does, signed with a secret, dated so many seconds from now.
pub async fn post(
    system: &System,
    path: &str,
    body: &[u8],
    secret: &str,
    seconds_from_now: i64,
) -> StatusCode {
    let timestamp = (system.app.now().as_second() + seconds_from_now).to_string();
    let signature = reelay_zoom_sim::sign(secret, &timestamp, body);
    post_with(
        system,
        path,
        body,
        "application/json; charset=utf-8",
        Some((&timestamp, &signature)),
    )
    .await
}

/// Posts a body with any headers.
pub async fn post_with(
    system: &System,
    path: &str,
    body: &[u8],
    content_type: &str,
    signature: Option<(&str, &str)>,
) -> StatusCode {
    request(system, path, body, content_type, signature)
        .await
        .status()
}

async fn request(
    system: &System,
    path: &str,
    body: &[u8],
    content_type: &str,
    signature: Option<(&str, &str)>,
) -> Response {
    let mut request = reqwest::Client::new()
        .post(format!("{}{path}", system.stack.url()))
        .header("content-type", content_type)
        .body(body.to_vec());
    if let Some((timestamp, signature)) = signature {
        request = request
            .header("x-zm-request-timestamp", timestamp)
            .header("x-zm-signature", signature);
    }
    request.send().await.unwrap()
}

/// The secret that Zoom signs with.
pub fn secret(system: &System) -> String {
    system.stack.config().secrets.zoom_webhook_secret.clone()
}

/// An event's body for a host, with files at these addresses.
pub fn completed(
    account: &str,
    host: &str,
    uuid: &str,
    files: &[(&str, &str, u64, &str)],
) -> Vec<u8> {
    let files: Vec<_> = files
        .iter()
        .map(|(id, file_type, size, url)| {
            serde_json::json!({
                "id": id, "meeting_id": uuid, "recording_start": "2026-01-01T09:00:10Z",
                "recording_end": "2026-01-01T09:31:00Z", "file_type": file_type, "file_extension": file_type,
                "file_size": size, "download_url": url, "status": "completed", "recording_type": "audio_only"
            })
        })
        .collect();
    serde_json::json!({
        "event": "recording.completed", "event_ts": 1_767_260_000_123_i64,
        "payload": {"account_id": account, "object": {
            "uuid": uuid, "id": 81_234_567_890_u64, "host_id": host, "topic": "Synthetic", "type": 2,
            "start_time": "2026-01-01T09:00:00Z", "duration": 31, "recording_files": files
        }},
        "download_token": "synthetic.download.token"
    })
    .to_string()
    .into_bytes()
}
