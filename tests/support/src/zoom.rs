//! Zoom's side: recordings, events and what they contain.

use std::collections::BTreeSet;

use reelay_zoom_sim::{Created, DeliveryState, NewRecording, Recording};
use reqwest::Response;
use serde_json::{Value, json};

use crate::System;

impl System {
    /// Completes a recording at the simulator and waits until its events are received.
    pub async fn complete_recording(&self, new: NewRecording) -> Recording {
        let created = self.zoom().create_recording(new).unwrap();
        self.await_deliveries(&created).await;
        created.recording
    }

    /// Waits until these deliveries succeeded.
    pub async fn await_deliveries(&self, created: &Created) {
        for id in &created.deliveries {
            self.await_delivery(*id).await;
        }
    }

    /// Waits until this delivery succeeded.
    pub async fn await_delivery(&self, id: u64) {
        let delivery = self.zoom().wait_for_attempts(id, 1).await.unwrap();
        let attempts = &delivery.attempts;
        assert_eq!(delivery.state, DeliveryState::Delivered, "{attempts:?}");
    }

    /// Completes a recording and processes the queues.
    pub async fn record(&self, new: NewRecording) -> Recording {
        let recording = self.complete_recording(new).await;
        self.process_queues().await;
        recording
    }

    /// Adds a transcript to a recording and processes the queues.
    pub async fn add_transcript(&self, recording: &Recording) -> Created {
        let created = self.zoom().add_transcript(&recording.key, None).unwrap();
        self.await_deliveries(&created).await;
        self.process_queues().await;
        created
    }

    /// Requests to Zoom whose path contains `part`.
    pub fn requests(&self, part: &str) -> usize {
        let requests = self.zoom().requests();
        requests.iter().filter(|request| request.path.contains(part)).count()
    }

    /// Requests for the bytes of a file.
    pub fn fetch_count(&self, file_id: &str) -> usize {
        let requests = self.zoom().requests();
        requests
            .iter()
            .filter(|r| r.path.starts_with("/ssrweb/") && r.detail.as_deref() == Some(file_id))
            .count()
    }

    /// Credentials and e-mail addresses in the events sent so far, each with the name of its field.
    pub fn event_credentials(&self) -> BTreeSet<(String, String)> {
        let mut found = BTreeSet::new();
        for delivery in self.zoom().deliveries() {
            let event = serde_json::from_str(&delivery.body).unwrap_or_default();
            collect_credentials(&event, &mut found);
        }
        found
    }

    /// Asserts that no credential of an event is in any of these texts.
    pub fn assert_no_credentials(&self, texts: &[String]) {
        for (field, credential) in self.event_credentials() {
            let found = texts.iter().any(|text| text.contains(&credential));
            assert!(!found, "{field} {credential} in {texts:?}");
        }
    }

    /// The secret that Zoom signs with.
    pub fn webhook_secret(&self) -> String {
        self.config().secrets.zoom_webhook_secret.clone()
    }

    /// Posts a body that is signed now, and returns the response.
    pub async fn post_signed(&self, path: &str, body: &[u8], secret: &str) -> Response {
        let timestamp = self.app.now().as_second().to_string();
        let signature = reelay_zoom_sim::sign(secret, &timestamp, body);
        let headers = Some((timestamp.as_str(), signature.as_str()));
        self.post_raw(path, body, "application/json", headers).await
    }

    /// Posts a body that is signed now, and returns the status.
    pub async fn post_event(&self, path: &str, body: &[u8], secret: &str) -> u16 {
        self.post_signed(path, body, secret).await.status().as_u16()
    }

    /// Posts a body with these headers: timestamp and signature.
    pub async fn post_raw(
        &self,
        path: &str,
        body: &[u8],
        content_type: &str,
        signature: Option<(&str, &str)>,
    ) -> Response {
        let mut request = reqwest::Client::new()
            .post(format!("{}{path}", self.stack.url()))
            .header("content-type", content_type)
            .body(body.to_vec());
        if let Some((timestamp, signature)) = signature {
            request = request
                .header("x-zm-request-timestamp", timestamp)
                .header("x-zm-signature", signature);
        }
        request.send().await.unwrap()
    }
}

/// Collects credentials and e-mail addresses, each with the name of its field.
fn collect_credentials(value: &Value, found: &mut BTreeSet<(String, String)>) {
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
            other => collect_credentials(other, found),
        }),
        Value::Array(items) => {
            for item in items {
                collect_credentials(item, found);
            }
        }
        _ => {}
    }
}

/// A `recording.completed` event of a host, with files at these URLs: id, type, size, URL.
pub fn completed_event(
    account: &str,
    host: &str,
    uuid: &str,
    files: &[(&str, &str, u64, &str)],
) -> Vec<u8> {
    let file = |(id, file_type, size, url): &(&str, &str, u64, &str)| {
        json!({
            "id": id, "meeting_id": uuid, "recording_start": "2026-01-01T09:00:10Z",
            "recording_end": "2026-01-01T09:31:00Z", "file_type": file_type, "file_extension": file_type,
            "file_size": size, "download_url": url, "status": "completed", "recording_type": "audio_only"
        })
    };
    let files: Vec<_> = files.iter().map(file).collect();
    json!({
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
