//! Zoom's side, where a test does by hand what the simulator would.

use reqwest::StatusCode;

use crate::System;

/// Posts a body as Zoom does, signed with a secret, dated so many seconds from now.
pub async fn post(system: &System, path: &str, body: &[u8], secret: &str, seconds_from_now: i64) -> StatusCode {
    let timestamp = (system.app.now().as_second() + seconds_from_now).to_string();
    let signature = zoom_sim::sign(secret, &timestamp, body);
    post_with(system, path, body, "application/json; charset=utf-8", Some((&timestamp, &signature))).await
}

/// Posts a body with any headers.
pub async fn post_with(
    system: &System,
    path: &str,
    body: &[u8],
    content_type: &str,
    signature: Option<(&str, &str)>,
) -> StatusCode {
    let mut request = reqwest::Client::new()
        .post(format!("{}{path}", system.stack.url()))
        .header("content-type", content_type)
        .body(body.to_vec());
    if let Some((timestamp, signature)) = signature {
        request = request.header("x-zm-request-timestamp", timestamp).header("x-zm-signature", signature);
    }
    request.send().await.unwrap().status()
}

/// The secret that Zoom signs with.
pub fn secret(system: &System) -> String {
    system.stack.config().secrets.zoom_webhook_secret.clone()
}

/// An event's body for a host, with files at these addresses.
pub fn completed(account: &str, host: &str, uuid: &str, files: &[(&str, &str, u64, &str)]) -> Vec<u8> {
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
